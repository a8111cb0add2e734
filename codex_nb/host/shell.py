"""The user's shell: runs the model's code in its namespace, and knows where outputs go and who can answer."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from codex_nb.host.capture import capturing, displays_are_captured, error_line, replaced
from codex_nb.host.engine import interruptible, uninterruptible

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
    from typing import TextIO

    from codex_nb.host.engine import Mailbox
    from codex_nb.tools.outputs import RunResult


T = TypeVar("T")
_LONGEST_ERROR = 16_000
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
        from codex_nb.tools.outputs import RunResult  # not to be loaded with the extension

        shell = self._shell
        with contextlib.ExitStack() as stack:
            stack.enter_context(_preserved_display_history(shell))
            stack.enter_context(reentrant_loop(shell, code))
            collector = stack.enter_context(capturing(shell))
            # IPython looks for a trailing semicolon in the last cell of its history, which is not this code
            stack.enter_context(replaced(shell.displayhook, "quiet", lambda: _ends_in_semicolon(shell, code)))
            result = interruptible(lambda: shell.run_cell(code, store_history=False))
        error = result.error_before_exec or result.error_in_exec
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        return RunResult(collector.outputs(), None if error is None else error_line(error))

    def show(self, outputs: Sequence[Mapping[str, Any]]) -> None:
        """Show nbformat outputs of an earlier run: errors as text, as nothing has failed now, and nothing that acts."""
        from IPython.display import publish_display_data

        from codex_nb.tools.nbmodel import join_multiline
        from codex_nb.tools.outputs import output_text

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

        import asyncio

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            result: T = self._shell.loop_runner(wait())
            return result
        import nest_asyncio2

        from codex_nb.host.shell_channel import release_deferred_messages

        nest_asyncio2.apply(loop)
        release_deferred_messages(self._shell)
        completed: T = _runner(self._shell, loop)(wait())
        return completed


def _ends_in_semicolon(shell: Any, code: str) -> bool:
    return bool(shell.displayhook.semicolon_at_end_of_expression(code))


@contextlib.contextmanager
def _preserved_display_history(shell: Any) -> Iterator[None]:
    """Restore ``_``, ``Out`` and the outer cell's status after the block."""
    hook, namespace, count = shell.displayhook, shell.user_ns, shell.displayhook.prompt_count
    names = ("_", "__", "___", f"_{count}")
    attributes = {name: getattr(hook, name) for name in names[:3]}
    variables = {name: namespace[name] for name in names if name in namespace}
    history = namespace.get("_oh", {})
    outputs = {count: history[count]} if count in history else {}
    had_traceback = getattr(shell, "_last_traceback_during_displayhook", None)
    try:
        yield
    finally:
        for name, value in attributes.items():
            setattr(hook, name, value)
        for name in names:
            namespace.pop(name, None)
        namespace.update(variables)
        history.pop(count, None)
        history.update(outputs)
        if had_traceback is not None:
            shell._last_traceback_during_displayhook = had_traceback  # noqa: SLF001 - ipykernel would fail the outer cell


@contextlib.contextmanager
def reentrant_loop(shell: Any, code: str) -> Iterator[None]:
    """Let code with a top-level await re-enter the kernel's loop, to which the user's async objects belong."""
    import asyncio

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        yield  # no loop runs here: IPython's own runner may start one
        return
    if not _has_top_level_await(shell, code):
        yield
        return
    import nest_asyncio2

    from codex_nb.host.shell_channel import release_deferred_messages

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
    import asyncio

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        task = loop.create_task(coroutine)
        try:
            return loop.run_until_complete(task)
        except KeyboardInterrupt:
            # otherwise the code would continue in the background; its CancelledError is not shown
            task.cancel()
            with (
                contextlib.suppress(asyncio.CancelledError),
                replaced(shell, "_showtraceback", _no_traceback),
            ):
                loop.run_until_complete(task)
            raise

    return run


def _no_traceback(*_: object) -> None:
    """Show no traceback."""


@dataclass(frozen=True)
class FrontEnd:
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
    is_captured = displays_are_captured(shell)
    if kernel is None:
        return FrontEnd(False, None, is_terminal(sys.stdin), is_captured)
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
        with contextlib.ExitStack() as after_capture, capturing(self._shell) as collector:
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
