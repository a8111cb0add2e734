"""Capture: what a piece of code shows while it runs, noted on its way to the user."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import TYPE_CHECKING, Any, TextIO

from codex_nb.host.frontend import displays_are_captured, is_terminal
from codex_nb.host.outputs import OutputFold
from codex_nb.host.tap import listening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


def outputs_are_captured(shell: Any) -> bool:
    """Whether what the cell writes and displays goes elsewhere than to the person before it."""
    kernel, ipykernel = getattr(shell, "kernel", None), sys.modules.get("ipykernel.kernelbase")
    if kernel is None:
        return not is_terminal(sys.stdout)
    if ipykernel is not None and isinstance(kernel, ipykernel.Kernel):
        from ipykernel.iostream import OutStream

        if not isinstance(sys.stdout, OutStream):
            return True
    return not isinstance(shell.display_pub, shell.display_pub_class)


@contextlib.contextmanager
def capturing(shell: Any) -> Iterator[OutputFold]:
    """Note all outputs inside the block; they appear as always.

    Only ``clear_output`` stays inside: it would clear the answer that asked for the code, too.
    """
    fold = OutputFold()
    with contextlib.ExitStack() as stack:
        kernel = getattr(shell, "kernel", None)
        if kernel is None:
            stack.enter_context(_capture_locally(shell, fold))
        else:
            stack.enter_context(_capture_in_kernel(kernel, fold))
            stack.enter_context(_note_what_is_captured(shell, fold))
        stack.enter_context(replaced(shell.display_pub, "clear_output", _clearer(fold)))
        yield fold


def _clearer(fold: OutputFold) -> Callable[..., None]:
    def clear_output(wait: bool = False) -> None:  # noqa: FBT001, FBT002 - IPython's own signature
        _flush_streams()
        fold.clear(wait=wait)

    return clear_output


@contextlib.contextmanager
def _capture_in_kernel(kernel: Any, fold: OutputFold) -> Iterator[None]:
    request = (kernel.get_parent("shell") or {}).get("header", {}).get("msg_id", "")

    def note(kind: str, content: Mapping[str, Any], belongs_to: str) -> None:
        if belongs_to == request:
            fold.add(kind, content)

    _flush_streams()
    with listening(kernel.session, note):
        try:
            yield
        finally:
            _flush_streams()


@contextlib.contextmanager
def _note_what_is_captured(shell: Any, fold: OutputFold) -> Iterator[None]:
    """Note as well what a capture around the block (``%%capture``) keeps from the kernel's messages."""
    with contextlib.ExitStack() as stack:
        for name, redirect in (
            ("stdout", contextlib.redirect_stdout),
            ("stderr", contextlib.redirect_stderr),
        ):
            stream = getattr(sys, name)
            if isinstance(stream, io.StringIO | _Tee):  # a capture may stand within another
                stack.enter_context(redirect(_tee(stream, name, fold)))
        captured = shell.display_pub.outputs if displays_are_captured(shell) else []
        before = len(captured)
        try:
            yield
        finally:
            for content in captured[before:]:
                fold.add("update_display_data" if content.get("update") else "display_data", content)


@contextlib.contextmanager
def _capture_locally(shell: Any, fold: OutputFold) -> Iterator[None]:
    """Without a kernel: note what is written to the streams, displayed and raised, in a terminal's own way."""
    stdout, stderr = _tee(sys.stdout, "stdout", fold), _tee(sys.stderr, "stderr", fold)
    show_traceback, publish = shell._showtraceback, shell.display_pub.publish  # noqa: SLF001 - IPython's hook for it

    def note_traceback(kind: type[BaseException], error: BaseException, lines: Any) -> None:
        frames = [lines] if isinstance(lines, str) else list(lines)
        fold.add("error", {"ename": kind.__name__, "evalue": str(error), "traceback": frames})
        with stdout.paused(), stderr.paused():
            show_traceback(kind, error, lines)

    def note_display(data: dict[str, Any], metadata: Any = None, **more: Any) -> None:
        kind = "update_display_data" if more.get("update") else "display_data"
        content = {"data": data, "metadata": metadata, "transient": more.get("transient")}
        fold.add(kind, content)
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
    """A text stream that tells of everything written to it."""

    def __init__(self, stream: TextIO | _Tee, note: Callable[[str], None]) -> None:
        self._stream = stream
        self._note = note
        self._is_paused = False

    def write(self, text: str) -> int:
        if not self._is_paused:
            self._note(text)
        return self._stream.write(text)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        before, self._is_paused = self._is_paused, True
        try:
            yield
        finally:
            self._is_paused = before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _tee(stream: TextIO | _Tee, name: str, fold: OutputFold) -> _Tee:
    return _Tee(stream, lambda text: fold.add("stream", {"name": name, "text": text}))


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Let ``owner`` have another method inside the block."""
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


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
