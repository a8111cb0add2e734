"""Output capture: a hook on ``Session.send``, outputs collected as nbformat dicts."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from IPython.core.displaypub import CapturingDisplayPublisher

from codex_nb.host.engine import uninterruptible
from codex_nb.tools.nbmodel import LONGEST_OUTPUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Listener = Callable[[str, Mapping[str, Any], str], None]

T = TypeVar("T")

OUTPUT_MESSAGES = frozenset(
    {"stream", "display_data", "update_display_data", "execute_result", "error", "clear_output"}
)
_IMAGE_LIMIT = 8_000_000  # characters of base64
_HOOK_ATTRIBUTE = "_codex_nb_iopub_hook"
_log = logging.getLogger(__name__)


@dataclass
class _Stream:
    """The text of a stream; when it grows too long for ``limit``, its middle is removed."""

    name: str
    limit: int
    text: str = ""
    omitted: int = 0

    @property
    def size(self) -> int:
        return len(self.text)

    def add(self, more: str) -> None:
        self.text += more
        if len(self.text) > 2 * self.limit:
            half = self.limit // 2
            self.omitted += len(self.text) - 2 * half
            self.text = self.text[:half] + self.text[-half:]

    def output(self) -> dict[str, Any]:
        text = self.text
        if self.omitted:
            half = self.limit // 2
            text = f"{text[:half]}\n… [{self.omitted:,} characters left out] …\n{text[half:]}"
        return {"output_type": "stream", "name": self.name, "text": text}


@dataclass
class _Display:
    """A display, result or error; later messages update it by its ``display_id``."""

    content: dict[str, Any]
    display_id: str | None = None
    size: int = 0

    def __post_init__(self) -> None:
        data = (self.content.get("data") or {}).values()
        self.size = sum(map(_length, data)) + _length(self.content.get("traceback"))

    def output(self) -> dict[str, Any]:
        return self.content


@dataclass
class OutputCollector:
    """The outputs of one piece of code, in order, of bounded size.

    ``text_limit`` bounds each stream and each textual mime type in characters, ``count_limit`` the number of outputs
    (the newest are kept). Messages may come from several threads, one at a time.
    """

    text_limit: int = LONGEST_OUTPUT
    count_limit: int = 500
    _outputs: list[_Stream | _Display] = field(default_factory=list)
    _clear_next: bool = False

    def add(self, kind: str, content: Mapping[str, Any]) -> None:
        """Add a message of one of the :data:`OUTPUT_MESSAGES`."""
        match kind:
            case "clear_output":
                self.clear(wait=bool(content.get("wait")))
            case "update_display_data":
                self._update(content)
            case "stream":
                self._stream(str(content.get("name", "stdout")), str(content.get("text", "")))
            case _:
                self._append(_Display(self._output(kind, content), display_id_of(content)))

    def clear(self, *, wait: bool) -> None:
        """Remove the outputs, at once or (``wait``) when the next one is added."""
        self._clear_next = wait
        if not wait:
            self._outputs.clear()

    def outputs(self) -> tuple[dict[str, Any], ...]:
        """Return the outputs so far as nbformat dicts."""
        return tuple(output.output() for output in list(self._outputs))

    def size(self) -> int:
        """Return the approximate size in characters."""
        return sum(each.size for each in self._outputs)

    def has_display(self, content: Mapping[str, Any]) -> bool:
        """Whether an ``update_display_data`` message updates one of these outputs."""
        display_id = display_id_of(content)
        return any(isinstance(each, _Display) and each.display_id == display_id for each in self._outputs)

    def _stream(self, name: str, text: str) -> None:
        last = self._outputs[-1] if self._outputs and not self._clear_next else None
        if not isinstance(last, _Stream) or last.name != name:
            last = _Stream(name, self.text_limit)
            self._append(last)
        last.add(text)

    def _append(self, output: _Stream | _Display) -> None:
        if self._clear_next:
            self.clear(wait=False)
        self._outputs.append(output)
        if len(self._outputs) > self.count_limit:
            del self._outputs[0]

    def _update(self, content: Mapping[str, Any]) -> None:
        display_id = display_id_of(content)
        for index, output in enumerate(self._outputs):
            if isinstance(output, _Display) and display_id is not None and output.display_id == display_id:
                self._outputs[index] = _Display({**output.content, **self._bundle(content)}, display_id)

    def _output(self, kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
        if kind == "error":
            keys = ("ename", "evalue", "traceback")
            return {"output_type": "error", **{key: content.get(key) for key in keys}}
        output = {"output_type": kind, **self._bundle(content)}
        if kind == "execute_result":
            output["execution_count"] = content.get("execution_count")
        return output

    def _bundle(self, content: Mapping[str, Any]) -> dict[str, Any]:
        data = content.get("data") or {}
        kept = {mime: value for mime, value in data.items() if self._fits(mime, value)}
        if data and not kept:
            kept = {
                "text/plain": str(data.get("text/plain", "[output too large to store]"))[: self.text_limit]
            }
        return {"data": kept, "metadata": content.get("metadata") or {}}

    def _fits(self, mime: str, value: Any) -> bool:
        return _length(value) <= (_IMAGE_LIMIT if mime.startswith("image/") else self.text_limit)


def display_id_of(content: Mapping[str, Any]) -> str | None:
    """Return the id by which later messages update a display."""
    transient = content.get("transient") or {}
    return transient.get("display_id")


def error_line(error: BaseException) -> str:
    """Return the last line of an exception's traceback, even if its ``__str__`` raises."""
    return "".join(traceback.format_exception_only(error)[-1:]).strip()


def _length(value: Any) -> int:
    """Return the approximate length of a JSON value without serializing it."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list | tuple):
        return sum(map(_length, value))
    if isinstance(value, dict):
        return sum(len(key) + _length(each) for key, each in value.items())
    return 8


@dataclass
class _IopubHook:
    """The replaced ``send`` of a session, which reports outputs to its listeners."""

    session: Any
    send: Callable[..., Any]
    listeners: list[Listener] = field(default_factory=list)
    at_reply: dict[str, Callable[[], None]] = field(default_factory=dict)

    def __call__(
        self, stream: Any, message: Any, content: Any = None, parent: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        try:
            uninterruptible(lambda: self._notify(message, content, parent))
        except Exception:  # noqa: BLE001 - the output itself is still sent
            _log.exception("An output could not be recorded.")
        return self.send(stream, message, content, parent, *args, **kwargs)

    def _notify(self, message: Any, content: Any, parent: Any) -> None:
        kind = message["header"]["msg_type"] if isinstance(message, dict) else message
        if kind == "execute_reply" and self.at_reply and not isinstance(message, dict):
            self.at_reply.pop(str(((parent or {}).get("header") or {}).get("msg_id")), lambda: None)()
        if kind not in OUTPUT_MESSAGES:
            return
        if isinstance(message, dict):
            content, parent = message["content"], message.get("parent_header")
        header = (parent or {}).get("header", parent or {})
        for listener in tuple(self.listeners):
            listener(kind, content or {}, str(header.get("msg_id", "")))


@contextlib.contextmanager
def listening(session: Any, listener: Listener) -> Iterator[None]:
    """Call ``listener`` (message type, content, id of the request) for every output inside the block."""
    add_listener(session, listener)
    try:
        yield
    finally:
        remove_listener(session, listener)


def add_listener(session: Any, listener: Listener) -> None:
    """Call ``listener`` for every output from now on."""
    hook = getattr(session, _HOOK_ATTRIBUTE, None)
    if hook is None:
        hook = _IopubHook(session, session.send)
        setattr(session, _HOOK_ATTRIBUTE, hook)
        session.send = hook
    hook.listeners.append(listener)


def at_reply(session: Any, request: str, callback: Callable[[], None]) -> None:
    """Call ``callback`` when the reply to an execute request is sent, provided that anyone listens to the session."""
    hook = getattr(session, _HOOK_ATTRIBUTE, None)
    if hook is not None:
        hook.at_reply[request] = callback


def remove_listener(session: Any, listener: Listener) -> None:
    """Stop calling ``listener``; after the last one the session's own ``send`` is restored."""
    hook = getattr(session, _HOOK_ATTRIBUTE, None)
    if hook is None or listener not in hook.listeners:
        return
    hook.listeners.remove(listener)
    if not hook.listeners and session.__dict__.get("send") is hook:  # someone else may have wrapped it since
        del session.__dict__["send"]
        if session.send != hook.send:
            session.send = hook.send
        delattr(session, _HOOK_ATTRIBUTE)


@contextlib.contextmanager
def capturing(shell: Any) -> Iterator[OutputCollector]:
    """Collect all outputs inside the block; they are shown as usual.

    ``clear_output`` affects only what the block has shown: the answer that asked for the code stays.
    """
    collector = OutputCollector()
    with contextlib.ExitStack() as stack:
        kernel = getattr(shell, "kernel", None)
        if kernel is None:
            stack.enter_context(_capture_locally(shell, collector))
        else:
            stack.enter_context(_capture_in_kernel(kernel, collector))
            stack.enter_context(_collect_captured_outputs(shell, collector))
        stack.enter_context(replaced(shell.display_pub, "clear_output", _clearer(collector)))
        yield collector


def _clearer(collector: OutputCollector) -> Callable[..., None]:
    def clear_output(wait: bool = False) -> None:  # noqa: FBT001, FBT002 - IPython's own signature
        flush_streams()
        collector.clear(wait=wait)

    return clear_output


@contextlib.contextmanager
def _capture_in_kernel(kernel: Any, collector: OutputCollector) -> Iterator[None]:
    request = (kernel.get_parent("shell") or {}).get("header", {}).get("msg_id", "")

    def note(kind: str, content: Mapping[str, Any], belongs_to: str) -> None:
        if belongs_to == request:
            collector.add(kind, content)

    flush_streams()
    with listening(kernel.session, note):
        try:
            yield
        finally:
            flush_streams()


@contextlib.contextmanager
def _collect_captured_outputs(shell: Any, collector: OutputCollector) -> Iterator[None]:
    """Collect what an outer capture (``%%capture``) keeps from becoming a message."""
    with contextlib.ExitStack() as stack:
        for name, redirect in (
            ("stdout", contextlib.redirect_stdout),
            ("stderr", contextlib.redirect_stderr),
        ):
            stream = getattr(sys, name)
            if isinstance(stream, io.StringIO | _Tee):  # captures may be nested
                stack.enter_context(redirect(_tee(stream, name, collector)))
        captured = shell.display_pub.outputs if displays_are_captured(shell) else []
        before = len(captured)
        try:
            yield
        finally:
            for content in captured[before:]:
                collector.add("update_display_data" if content.get("update") else "display_data", content)


@contextlib.contextmanager
def _capture_locally(shell: Any, collector: OutputCollector) -> Iterator[None]:
    """Collect what is written, displayed and raised without a kernel."""
    stdout, stderr = _tee(sys.stdout, "stdout", collector), _tee(sys.stderr, "stderr", collector)
    show_traceback, publish = shell._showtraceback, shell.display_pub.publish  # noqa: SLF001 - IPython's hook for it

    def note_traceback(kind: type[BaseException], error: BaseException, lines: Any) -> None:
        frames = [lines] if isinstance(lines, str) else list(lines)
        collector.add("error", {"ename": kind.__name__, "evalue": str(error), "traceback": frames})
        with stdout.paused(), stderr.paused():
            show_traceback(kind, error, lines)

    def note_display(data: dict[str, Any], metadata: Any = None, **more: Any) -> None:
        kind = "update_display_data" if more.get("update") else "display_data"
        content = {"data": data, "metadata": metadata, "transient": more.get("transient")}
        collector.add(kind, content)
        with stdout.paused(), stderr.paused():
            publish(data, metadata, **more)

    with (
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        replaced(shell, "_showtraceback", note_traceback),
        replaced(shell.display_pub, "publish", note_display),
    ):
        yield


class _Tee:
    """A text stream that reports everything written to it."""

    def __init__(self, stream: TextIO | _Tee | None, note: Callable[[str], None]) -> None:
        self._stream = stream
        self._note = note
        self._is_paused = False

    def write(self, text: str) -> int:
        if not self._is_paused:
            self._note(text)
        return len(text) if self._stream is None else self._stream.write(text)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        before, self._is_paused = self._is_paused, True
        try:
            yield
        finally:
            self._is_paused = before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _tee(stream: TextIO | _Tee | None, name: str, collector: OutputCollector) -> _Tee:
    return _Tee(stream, lambda text: collector.add("stream", {"name": name, "text": text}))


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Replace an attribute of ``owner`` inside the block."""
    was_own = name in vars(owner)
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if was_own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


def flush_streams() -> None:
    """Flush stdout and stderr; errors of streams that user code has installed are ignored."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def displays_are_captured(shell: Any) -> bool:
    """Whether IPython collects displayed outputs, as under ``%%capture``."""
    return isinstance(getattr(shell, "display_pub", None), CapturingDisplayPublisher)
