"""What the persona understands of a request: the question, the notebook around it, what happened before."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codex_nb.simulator import reading
from codex_nb.simulator.reading import Frame

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from codex_nb.simulator.reading import Exchange, Offer

_FRAME_NAME = re.compile(r"(?<![\w.])@?(df\w*|\w+_df)\b")


@dataclass(frozen=True)
class Situation:
    """What the persona understands of a request."""

    items: Sequence[Any]
    question: str
    context: str
    offers: Sequence[Offer]
    images: int
    text_format: Mapping[str, Any]

    @property
    def frame(self) -> Frame | None:
        """The frame that the question is about: one that it names, else the last one described."""
        frames = reading.frames_in(self.context)
        named = [
            frame for frame in frames if re.search(rf"(?<!\w){re.escape(frame.name)}(?!\w)", self.question)
        ]
        sized = [frame for frame in frames if frame.shape is not None]
        guessed = [Frame(match[1], "DataFrame") for match in _FRAME_NAME.finditer(self.question)]
        return next(iter(named or guessed or sized[-1:] or frames[-1:]), None)

    def earlier_output(self, frame: Frame) -> str | None:
        """What looking at the frame gave earlier in the thread."""
        exchanges = reading.exchanges_in(self.items)
        looks = [each.output for each in exchanges if f"{frame.name}.describe()" in each.arguments]
        return looks[-1] if looks else None

    @property
    def last_exchange(self) -> Exchange | None:
        """The last tool call of this turn, once it has its output."""
        exchanges = reading.exchanges_in(reading.since_last_user(self.items))
        return exchanges[-1] if exchanges else None

    def offer(self, name: str) -> Offer | None:
        """The offered tool of that name."""
        return next((offer for offer in self.offers if offer.name == name), None)

    @property
    def named_offer(self) -> Offer | None:
        """The offered tool whose name stands in the question."""
        names = set(re.findall(r"[\w-]+", self.question))
        return next((offer for offer in self.offers if offer.name in names), None)


def understand(body: Mapping[str, Any]) -> Situation:
    """Read a request."""
    items = body.get("input") or []
    turn = reading.turn_inputs(items)
    texts = [text for role, text in reading.messages_of(turn) if role == "user"]
    context = "\n".join(text for role, text in reading.messages_of(items) if role == "user")
    text = body.get("text") or {}
    return Situation(
        items=items,
        question=_last_part(turn) or (texts[-1] if texts else ""),
        context=context,
        offers=reading.tools_of(body),
        images=reading.images_in(turn),
        text_format=text.get("format") or {},
    )


def _last_part(turn: Sequence[Mapping[str, Any]]) -> str:
    """The last text of the last user message: context comes before the question."""
    contents = [item.get("content") for item in turn if item.get("role") == "user"]
    parts = contents[-1] if contents and isinstance(contents[-1], list) else []
    texts = [str(part["text"]) for part in parts if isinstance(part, dict) and "text" in part]
    return texts[-1] if texts else ""
