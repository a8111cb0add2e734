"""The user's shell: code that the model runs in the user's namespace, shown and captured like a cell's."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from codex_nb.host.capture import capturing, error_line, replaced
from codex_nb.host.shell_channel import release_deferred_messages
from codex_nb.tools.nbmodel import RunResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

_REMEMBERED = 1000
T = TypeVar("T")


class InteractiveKernel:
    """Runs code where the user's cells run; all methods belong to the main thread.

    ``ran`` holds the code of the last runs: it is no part of the user's history, of ``In``, ``Out`` or ``_``.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self.ran: deque[str] = deque(maxlen=_REMEMBERED)

    def namespace(self) -> dict[str, Any]:
        """Return the user's variables, the live mapping itself."""
        namespace: dict[str, Any] = self._shell.user_ns
        return namespace

    def run(self, code: str) -> RunResult:
        """Run ``code`` as a cell: magics, top-level await, the last expression displayed, figures flushed.

        Its outputs appear in the cell that runs now and are returned. An exception is a result, with its traceback
        among the outputs; only KeyboardInterrupt is raised.
        """
        self.ran.append(code)
        shell = self._shell
        with contextlib.ExitStack() as stack:
            stack.enter_context(_display_history_kept(shell))
            stack.enter_context(_reentrant_loop(shell, code))
            fold = stack.enter_context(capturing(shell))
            # IPython looks for the silencing semicolon in the cell of the history: the one that asked, not this one
            stack.enter_context(replaced(shell.displayhook, "quiet", lambda: _ends_in_semicolon(shell, code)))
            result = shell.run_cell(code, store_history=False)
        error = result.error_before_exec or result.error_in_exec
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        return RunResult(fold.outputs(), None if error is None else error_line(error))

    def complete(self, awaitable: Awaitable[T]) -> T:
        """Wait for an awaitable on the user's own loop, to which their async objects belong."""

        async def wait() -> T:
            return await awaitable

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            result: T = self._shell.loop_runner(wait())
            return result
        import nest_asyncio2

        nest_asyncio2.apply(loop)
        release_deferred_messages(self._shell)
        completed: T = _runner(self._shell, loop)(wait())
        return completed


def _ends_in_semicolon(shell: Any, code: str) -> bool:
    return bool(shell.displayhook.semicolon_at_end_of_expression(code))


@contextlib.contextmanager
def _display_history_kept(shell: Any) -> Iterator[None]:
    """Keep ``_``, ``Out`` and the kernel's verdict on the outer cell as they are."""
    hook, namespace, count = shell.displayhook, shell.user_ns, shell.displayhook.prompt_count
    names = ("_", "__", "___", f"_{count}")
    attributes = {name: getattr(hook, name) for name in names[:3]}
    variables = {name: namespace[name] for name in names if name in namespace}
    history = namespace.get("_oh", {})
    outputs = {count: history[count]} if count in history else {}
    failed = getattr(shell, "_last_traceback_during_displayhook", None)
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
        if failed is not None:
            shell._last_traceback_during_displayhook = failed  # noqa: SLF001 - ipykernel would fail the outer cell


@contextlib.contextmanager
def _reentrant_loop(shell: Any, code: str) -> Iterator[None]:
    """Let code with a top-level await re-enter the kernel's loop, to which the user's async objects belong."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        yield  # no loop runs here: IPython's own runner may start one
        return
    if not _awaits(shell, code):
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


def _awaits(shell: Any, code: str) -> bool:
    try:
        transformed = shell.transform_cell(code)
    except Exception:  # noqa: BLE001 - running it will show what is wrong
        return False
    return bool(shell.should_run_async(code, transformed_cell=transformed))


def _runner(shell: Any, loop: asyncio.AbstractEventLoop) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        task = loop.create_task(coroutine)
        try:
            return loop.run_until_complete(task)
        except KeyboardInterrupt:
            # without this the code would go on in the background; its CancelledError is nobody's news
            task.cancel()
            with (
                contextlib.suppress(asyncio.CancelledError),
                replaced(shell, "_showtraceback", _show_nothing),
            ):
                loop.run_until_complete(task)
            raise

    return run


def _show_nothing(*_: object) -> None:
    """Show no traceback."""
