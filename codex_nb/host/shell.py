"""The user's shell: runs the model's code in its namespace, captures outputs, knows where they go and who can answer.

Outputs are captured by a hook on ``Session.send``, and collected as nbformat dicts.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO, TypeVar

from IPython.core.displaypub import CapturingDisplayPublisher

from codex_nb.host.interrupts import interruptible, uninterruptible
from codex_nb.tools.nbmodel import LONGEST_OUTPUT

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence

    from codex_nb.host.engine import Mailbox
    from codex_nb.tools.describe import RunResult

    Listener = Callable[[str, Mapping[str, Any], str], None]


T = TypeVar("T")
_LONGEST_ERROR = 16_000
OUTER_STATUS = ("_last_traceback_during_displayhook",)  # by which ipykernel fails the cell that runs
# A widget of an earlier kernel cannot be drawn, and a script would run anew.
_ACTIVE_TYPES = frozenset({"application/vnd.jupyter.widget-view+json", "application/javascript"})


def in_forked_child(shell: Any) -> bool:
    """Whether this process is a forked child of the kernel that ``shell`` runs in, and thus has no front end."""
    session = getattr(getattr(shell, "kernel", None), "session", None)
    return getattr(session, "pid", os.getpid()) != os.getpid()


class InteractiveKernel:
    """The user's IPython shell, in which the model's code runs; all methods belong to the main thread.

    The code does not enter the user's history, ``In``, ``Out`` or ``_``. ``on_run`` is told of each code that ran to
    its end, and of what it gave.
    """

    def __init__(
        self, shell: Any, on_run: Callable[[str, RunResult], None] = lambda _code, _result: None
    ) -> None:
        self._shell = shell
        self._on_run = on_run

    def namespace(self) -> dict[str, Any]:
        """Return the user's variables, not a copy."""
        namespace: dict[str, Any] = self._shell.user_ns
        return namespace

    def run(self, code: str) -> RunResult:
        """Run ``code`` as a cell: magics, top-level await, the last expression displayed, figures flushed.

        Its outputs appear in the running cell and are returned. An exception is part of the result, its traceback among
        the outputs; only KeyboardInterrupt is raised.
        """
        result = uninterruptible(lambda: self._run(code))
        self._on_run(code, result)
        return result

    def _run(self, code: str) -> RunResult:
        shell = self._shell

        def is_quiet() -> bool:  # IPython looks for the semicolon in the last cell of its history
            return bool(shell.displayhook.semicolon_at_end_of_expression(code))

        with (
            _preserved_display_history(shell),
            reentrant_loop(shell, code),
            _capturing(shell) as collector,
            replaced(shell.displayhook, "quiet", is_quiet),
        ):
            result = interruptible(lambda: shell.run_cell(code, store_history=False))
        return run_result(result, collector)

    def show(self, outputs: Sequence[Mapping[str, Any]]) -> None:
        """Show nbformat outputs of an earlier run: errors as text, as nothing has failed now, and nothing that acts."""
        from IPython.display import publish_display_data

        from codex_nb.tools.describe import output_text
        from codex_nb.tools.nbmodel import join_multiline

        for output in outputs:
            match output.get("output_type"):
                case "stream":
                    stream = sys.stderr if output.get("name") == "stderr" else sys.stdout
                    stream.write(join_multiline(output.get("text", ""), sys.maxsize))
                case "error":
                    sys.stderr.write(output_text(output, _LONGEST_ERROR) + "\n")
                case _:
                    data = output.get("data") or {}
                    shown = {kind: each for kind, each in data.items() if kind not in _ACTIVE_TYPES}
                    if shown:
                        publish_display_data(shown, output.get("metadata") or {})

    def complete(self, awaitable: Awaitable[T]) -> T:
        """Wait for an awaitable on the user's own loop, to which the user's async objects belong."""

        async def wait() -> T:
            return await awaitable

        with reentrant_loop(self._shell):
            completed: T = self._shell.loop_runner(wait())
        return completed


def run_result(result: Any, collector: OutputCollector) -> RunResult:
    """Return what IPython's result of a cell and its outputs are; raise KeyboardInterrupt if that has ended it."""
    from codex_nb.tools.describe import RunResult  # not to be loaded with the extension

    error = result.error_before_exec or result.error_in_exec
    if isinstance(error, KeyboardInterrupt):
        raise KeyboardInterrupt from error
    return RunResult(collector.outputs(), None if error is None else error_line(error))


@contextlib.contextmanager
def _preserved_display_history(shell: Any) -> Iterator[None]:
    """Restore ``_``, ``Out`` and the outer cell's status after the block."""
    hook, namespace, count = shell.displayhook, shell.user_ns, shell.displayhook.prompt_count
    names = ("_", "__", "___", f"_{count}")
    variables = {name: namespace[name] for name in names if name in namespace}
    history = namespace.get("_oh", {})
    outputs = {count: history[count]} if count in history else {}
    with kept(hook, names[:3]), kept(shell, OUTER_STATUS):
        try:
            yield
        finally:
            for name in names:
                namespace.pop(name, None)
            namespace.update(variables)
            history.pop(count, None)
            history.update(outputs)


@contextlib.contextmanager
def reentrant_loop(shell: Any, code: str | None = None) -> Iterator[None]:
    """Let the shell's runner of coroutines re-enter the kernel's loop, to which the user's async objects belong.

    With ``code`` only if that has a top-level await. Where no loop runs, IPython's own runner may start one.
    """
    from codex_nb.host.shell_channel import release_deferred_messages, running_loop

    loop = running_loop()
    if loop is None or not (code is None or _has_top_level_await(shell, code)):
        yield
        return
    import nest_asyncio2

    nest_asyncio2.apply(loop)
    release_deferred_messages(shell)
    before, shell.loop_runner = shell.loop_runner, _runner(shell, loop)
    try:
        yield
    finally:
        shell.loop_runner = before


def _has_top_level_await(shell: Any, code: str) -> bool:
    try:
        transformed = shell.transform_cell(code)
    except Exception:  # noqa: BLE001 - running it reports the error
        return False
    return bool(shell.should_run_async(code, transformed_cell=transformed))


def _runner(shell: Any, loop: asyncio.AbstractEventLoop) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    import asyncio  # not to be loaded with the extension

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        task = loop.create_task(coroutine)
        try:
            return loop.run_until_complete(task)
        except KeyboardInterrupt:
            # otherwise the code would continue in the background; its CancelledError is not shown
            task.cancel()
            with (
                contextlib.suppress(asyncio.CancelledError),
                replaced(shell, "_showtraceback", lambda *_: None),
            ):
                loop.run_until_complete(task)
            raise

    return run


class FrontEnd(NamedTuple):
    """What the front end that sent the running cell supports.

    ``cell_id`` is set by notebooks (JupyterLab, Notebook 7, VS Code); nbclient, papermill and consoles send none.
    ``allows_input`` is whether ``input()`` reaches the user, ``is_captured`` whether IPython collects displayed
    outputs (``%%capture``) instead of showing them.
    """

    has_kernel: bool
    cell_id: str | None
    allows_input: bool
    is_captured: bool = False

    @property
    def may_have_html(self) -> bool:
        """Whether the outputs go to a notebook."""
        return self.has_kernel and self.cell_id is not None

    @property
    def may_have_widgets(self) -> bool:
        """Whether a widget's front end can be expected to report ready."""
        return self.may_have_html and not self.is_captured


def front_end(shell: Any) -> FrontEnd:
    """Return the front end of the running cell."""
    kernel = getattr(shell, "kernel", None)
    is_captured = _displays_are_captured(shell)
    if kernel is None:
        stdin = getattr(sys, "stdin", None)  # code may delete it
        return FrontEnd(False, None, is_terminal(stdin), is_captured)
    request = current_request(kernel)
    cell_id = (request.get("metadata") or {}).get("cellId")
    allows_input = bool((request.get("content") or {}).get("allow_stdin", False))
    return FrontEnd(True, cell_id, allows_input, is_captured)


def current_request(kernel: Any) -> dict[str, Any]:
    """Return the execute request of the running cell, empty when the kernel has none."""
    try:
        request: dict[str, Any] = kernel.get_parent("shell") or {}
    except (AttributeError, LookupError, TypeError):
        return {}
    return request


class OutputDetectingExecutor:
    """A turn's ``MainThread`` port that calls ``on_outputs`` on the cell's thread after a call that showed outputs.

    As with code that the model runs, ``clear_output`` affects only what the call has shown.
    """

    def __init__(self, mailbox: Mailbox, shell: Any, on_outputs: Callable[[], None]) -> None:
        self._mailbox = mailbox
        self._shell = shell
        self._on_outputs = on_outputs

    async def call(self, function: Callable[[], T]) -> T:
        """Run ``function`` on the cell's thread and return what it returns, or raise what it raised."""
        if getattr(self._shell, "kernel", None) is None:
            return await self._mailbox.call(function)  # a terminal appends only
        return await self._mailbox.call(lambda: uninterruptible(lambda: self._run(function)))

    def _run(self, function: Callable[[], T]) -> T:
        with contextlib.ExitStack() as after_capture, _capturing(self._shell) as collector:
            after_capture.callback(lambda: self._on_outputs() if collector.outputs() else None)
            return interruptible(function)


def outputs_are_captured(shell: Any) -> bool:
    """Whether the cell's printed or displayed outputs are redirected and do not reach the user."""
    kernel, ipykernel = getattr(shell, "kernel", None), sys.modules.get("ipykernel.kernelbase")
    if kernel is None:
        return not _writes_to_terminal(sys.stdout)
    if ipykernel is not None and isinstance(kernel, ipykernel.Kernel):
        from ipykernel.iostream import OutStream

        if not isinstance(sys.stdout, OutStream):
            return True
    return not isinstance(shell.display_pub, shell.display_pub_class)


def _writes_to_terminal(stream: TextIO | None) -> bool:
    """Whether a stream writes to a terminal, and not only claims to be one, as streams do for the sake of colours."""
    try:
        return stream is not None and is_terminal(stream) and os.isatty(stream.fileno())
    except Exception:  # noqa: BLE001 - whatever such a stream raises
        return False


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal; False when it is closed, or anything else that user code has installed."""
    try:
        return stream is not None and stream.isatty() is True
    except Exception:  # noqa: BLE001 - whatever such a stream raises
        return False


OUTPUT_MESSAGES = frozenset(
    {"stream", "display_data", "update_display_data", "execute_result", "error", "clear_output"}
)
_IMAGE_LIMIT = 8_000_000  # characters of base64
_HOOK_ATTRIBUTE = "_codex_nb_iopub_hook"
_log = logging.getLogger(__name__)


@dataclass(eq=False, repr=False)
class _Output:
    """An nbformat output; later messages update a display by its ``display_id``.

    ``omitted`` is the number of characters that a stream which grew too long has lost in its middle.
    """

    content: dict[str, Any]
    display_id: str | None = None
    omitted: int = 0
    size: int = 0

    def __post_init__(self) -> None:
        data = (self.content.get("data") or {}).values()
        self.size = sum(map(_length, data)) + _length(self.content.get("traceback"))


@dataclass(eq=False, repr=False)
class OutputCollector:
    """The outputs of one piece of code, in order, of bounded size.

    ``text_limit`` bounds each stream and each textual mime type in characters, ``count_limit`` the number of outputs
    (the newest are kept). Messages may come from several threads, one at a time.
    """

    text_limit: int = LONGEST_OUTPUT
    count_limit: int = 500
    _outputs: list[_Output] = field(default_factory=list)
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
                self._append(_Output(self._content(kind, content), display_id_of(content)))

    def clear(self, *, wait: bool) -> None:
        """Remove the outputs, at once or (``wait``) when the next one is added."""
        self._clear_next = wait
        if not wait:
            self._outputs.clear()

    def outputs(self) -> tuple[dict[str, Any], ...]:
        """Return the outputs so far as nbformat dicts."""
        return tuple(map(self._shown, list(self._outputs)))

    def size(self) -> int:
        """Return the approximate size in characters."""
        return sum(each.size for each in self._outputs)

    def has_display(self, content: Mapping[str, Any]) -> bool:
        """Whether an ``update_display_data`` message updates one of these outputs."""
        display_id = display_id_of(content)
        return display_id is not None and any(each.display_id == display_id for each in self._outputs)

    def _stream(self, name: str, text: str) -> None:
        last = self._outputs[-1] if self._outputs and not self._clear_next else None
        if last is None or last.content.get("name") != name:
            last = _Output({"output_type": "stream", "name": name, "text": ""})
            self._append(last)
        text, half = last.content["text"] + text, self.text_limit // 2
        if len(text) > 2 * self.text_limit:
            last.omitted += len(text) - 2 * half
            text = text[:half] + text[-half:]
        last.content["text"], last.size = text, len(text)

    def _shown(self, output: _Output) -> dict[str, Any]:
        if output.content["output_type"] != "stream":
            return output.content
        text, half = output.content["text"], self.text_limit // 2
        if output.omitted:
            text = f"{text[:half]}\n… [{output.omitted:,} characters left out] …\n{text[half:]}"
        return {**output.content, "text": text}

    def _append(self, output: _Output) -> None:
        if self._clear_next:
            self.clear(wait=False)
        self._outputs.append(output)
        if len(self._outputs) > self.count_limit:
            del self._outputs[0]

    def _update(self, content: Mapping[str, Any]) -> None:
        display_id = display_id_of(content)
        for index, output in enumerate(self._outputs):
            if display_id is not None and output.display_id == display_id:
                self._outputs[index] = _Output({**output.content, **self._bundle(content)}, display_id)

    def _content(self, kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
        if kind == "error":
            keys = ("ename", "evalue", "traceback")
            return {"output_type": "error", **{key: content.get(key) for key in keys}}
        output = {"output_type": kind, **self._bundle(content)}
        if kind == "execute_result":
            output["execution_count"] = content.get("execution_count")
        return output

    def _bundle(self, content: Mapping[str, Any]) -> dict[str, Any]:
        data = content.get("data") or {}
        fitting = {
            mime: value
            for mime, value in data.items()
            if _length(value) <= (_IMAGE_LIMIT if mime.startswith("image/") else self.text_limit)
        }
        if data and not fitting:
            text = str(data.get("text/plain", "[output too large to store]"))
            fitting = {"text/plain": text[: self.text_limit]}
        return {"data": fitting, "metadata": content.get("metadata") or {}}


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


@dataclass(eq=False, repr=False)
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
def collecting(session: Any, request: str) -> Iterator[OutputCollector]:
    """Collect the outputs that belong to a request inside the block."""
    collector = OutputCollector()

    def note(kind: str, content: Mapping[str, Any], belongs_to: str) -> None:
        if belongs_to == request:
            collector.add(kind, content)

    add_listener(session, note)
    try:
        yield collector
    finally:
        remove_listener(session, note)


def add_listener(session: Any, listener: Listener) -> None:
    """Call ``listener`` (message type, content, id of the request) for every output from now on."""
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
def _capturing(shell: Any) -> Iterator[OutputCollector]:
    """Collect all outputs inside the block; they are shown as usual.

    ``clear_output`` affects only what the block has shown: the answer that asked for the code stays.
    """
    from codex_nb.host.shell_channel import flush_streams

    kernel = getattr(shell, "kernel", None)
    with _capture_locally(shell) if kernel is None else _capture_in_kernel(shell, kernel) as collector:

        def clear_output(wait: bool = False) -> None:  # noqa: FBT001, FBT002 - IPython's own signature
            flush_streams()
            collector.clear(wait=wait)

        with replaced(shell.display_pub, "clear_output", clear_output):
            yield collector


@contextlib.contextmanager
def _capture_in_kernel(shell: Any, kernel: Any) -> Iterator[OutputCollector]:
    """Collect messages, and what an outer capture (``%%capture``) keeps from becoming one."""
    from codex_nb.host.shell_channel import flush_streams

    flush_streams()
    request = str((current_request(kernel).get("header") or {}).get("msg_id", ""))
    with collecting(kernel.session, request) as collector, contextlib.ExitStack() as stack:
        stack.callback(flush_streams)
        for name, redirect in (
            ("stdout", contextlib.redirect_stdout),
            ("stderr", contextlib.redirect_stderr),
        ):
            stream = getattr(sys, name)
            if isinstance(stream, io.StringIO | _Tee):  # captures may be nested
                stack.enter_context(redirect(_tee(stream, name, collector)))
        captured = shell.display_pub.outputs if _displays_are_captured(shell) else []
        before = len(captured)
        try:
            yield collector
        finally:
            for content in captured[before:]:
                collector.add("update_display_data" if content.get("update") else "display_data", content)


@contextlib.contextmanager
def _capture_locally(shell: Any) -> Iterator[OutputCollector]:
    """Collect what is written, displayed and raised without a kernel."""
    collector = OutputCollector()
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
        yield collector


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
def kept(owner: Any, names: Iterable[str]) -> Iterator[None]:
    """Give attributes of ``owner`` the values again that they had before the block."""
    before = {name: getattr(owner, name) for name in names if hasattr(owner, name)}
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


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


def _displays_are_captured(shell: Any) -> bool:
    """Whether IPython collects displayed outputs, as under ``%%capture``."""
    return isinstance(getattr(shell, "display_pub", None), CapturingDisplayPublisher)
