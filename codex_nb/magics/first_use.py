"""What is said once, before the first question of a home is sent."""

from __future__ import annotations

from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from codex_nb.session.events import Notice, TurnStarted
from codex_nb.words.question import FIRST_USE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from codex_nb.session.events import TurnEvent

MARK = "first-use-told"


async def told_once(
    events: AsyncGenerator[TurnEvent, None], codex_home: Path
) -> AsyncGenerator[TurnEvent, None]:
    """Yield a turn's events, and after its beginning the words of the first use, if this home has not heard them."""
    async with aclosing(events):
        async for event in events:
            yield event
            if isinstance(event, TurnStarted) and is_first(codex_home):
                yield Notice("hint", FIRST_USE)


def is_first(codex_home: Path) -> bool:
    """Whether this is the first question of the home; from then on it is not."""
    mark = codex_home / "codex_nb" / MARK
    if mark.exists():
        return False
    with suppress(OSError):
        mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark.touch(mode=0o600)
    return True
