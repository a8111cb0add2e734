"""Deltas that arrived together, told as one: every step from here to the screen is then taken once for all of them."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from codex_nb.responses.events import Delta

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from codex_nb.responses.events import ServerEvent, UnknownEvent


def merged(events: Sequence[ServerEvent | UnknownEvent]) -> Iterator[ServerEvent | UnknownEvent]:
    """Yield the events in their order; deltas of one part that follow each other become one delta."""
    for _, group in groupby(events, key=_place):
        first, *more = group
        if more:
            text = "".join(event.delta for event in (first, *more) if isinstance(event, Delta))
            first = first.model_copy(update={"delta": text})
        yield first


def _place(event: ServerEvent | UnknownEvent) -> Hashable:
    """Return what deltas of one part share; any other event stands alone."""
    return (event.item_id, event.output_index, event.part) if isinstance(event, Delta) else id(event)
