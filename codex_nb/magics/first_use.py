"""What is told once: before the first question of a home is sent, and in a kernel."""

from __future__ import annotations

from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from codex_nb.session.events import Notice, TurnStarted
from codex_nb.words.question import FIRST_USE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable
    from pathlib import Path

    from codex_nb.session.events import TurnEvent

    Hint = Callable[[], str]  # what there is to tell, empty for nothing

MARK = "first-use-told"


async def with_hints(
    events: AsyncGenerator[TurnEvent, None], hints: Iterable[Hint]
) -> AsyncGenerator[TurnEvent, None]:
    """Yield a turn's events, and after its beginning what the hints have to say by then."""
    async with aclosing(events):
        async for event in events:
            yield event
            if isinstance(event, TurnStarted):
                for text in (hint() for hint in hints):
                    if text:
                        yield Notice("hint", text)


def first_use(codex_home: Path) -> Hint:
    """Return the hint of a home's first question."""
    return lambda: FIRST_USE if is_first(codex_home) else ""


def is_first(codex_home: Path) -> bool:
    """Whether this is the first question of the home; from then on it is not."""
    mark = codex_home / "codex_nb" / MARK
    if mark.exists():
        return False
    with suppress(OSError):
        mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark.touch(mode=0o600)
    return True
