"""The default answerer: useful answers on a real notebook, without a model."""

from __future__ import annotations

import json
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codex_nb.simulator import parsed_request as reading
from codex_nb.simulator.canned_answers import (
    advice,
    cells_for,
    code_for,
    example_of,
    follow_up,
    insertion,
    report_of,
    wants_cells,
    wants_help,
    wants_picture,
)
from codex_nb.simulator.events import compaction_item, read_compaction, summary_of
from codex_nb.simulator.parsed_request import Frame
from codex_nb.simulator.scenario import Call, CustomCall, End, Item, Say, Step, Think

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from codex_nb.simulator.canned_answers import Cell
    from codex_nb.simulator.parsed_request import Exchange, Offer


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


SIGNATURE = "_This answer comes from the codex_nb simulator; no model was asked._"

_COMPACTION_PROMPT = re.compile(
    r"context checkpoint compaction|\b(?:summari[sz]e|compact)\b.{0,60}\b(?:conversation|thread|history)\b",
    re.IGNORECASE | re.DOTALL,
)
_FENCE_LINE = re.compile(
    r"^</?[a-z]+-[0-9a-f]{8,}\b[^>]*>$\n?", re.MULTILINE
)  # what clients put around output
Choice = tuple[str, Step]


def answer(body: Mapping[str, Any], pace_s: float = 0.0) -> list[Step]:
    """The steps that answer a request, ``pace_s`` between two deltas."""
    items = body.get("input") or []
    if any(isinstance(item, dict) and item.get("type") == "compaction_trigger" for item in items):
        return [Item(compaction_item(items, time.time())), End()]
    situation = understand(body)
    if situation.text_format.get("type") == "json_schema":
        schema = situation.text_format.get("schema") or {}
        value = json.dumps(example_of(schema, situation.question), ensure_ascii=False)
        return [Say(value, delay_s=pace_s), End()]
    if _COMPACTION_PROMPT.search(situation.question):
        return [Say(f"{summary_of(items)}\n\n{SIGNATURE}", delay_s=pace_s), End()]
    thought, reply = _decide(situation, pace_s)
    return [Think((thought,), pace_s), reply, End()]


def _decide(situation: Situation, pace_s: float) -> tuple[str, Step]:
    """What the persona thinks, and does: a tool call or its answer."""
    choices = (_after_a_call, _named_tool, _mended_cell, _new_cells, _remembered, _look)
    chosen = next((choice for each in choices if (choice := each(situation, pace_s)) is not None), None)
    if chosen is not None:
        return chosen
    thought = "**Reading the notebook**\n\nI say what I see and what I can do."
    return thought, _say(_description(situation), pace_s)


def _after_a_call(situation: Situation, pace_s: float) -> Choice | None:
    exchange = situation.last_exchange
    if exchange is None:
        return None
    output = _FENCE_LINE.sub("", exchange.output).strip()
    if exchange.tool == "insert_cells":
        text = f"I asked for new cells below this one. The notebook says: {output}"
        return "**Reading the notebook's answer**", _say(text, pace_s)
    if exchange.tool != "run_python":
        return "**Reading the output**", _say(f"`{exchange.tool}` gave:\n\n```text\n{output}\n```", pace_s)
    thought = "**Reading the output**\n\nThe code has run; I report its numbers."
    return thought, _say(report_of(situation.frame, output), pace_s)


def _named_tool(situation: Situation, pace_s: float) -> Choice | None:
    tool = situation.named_offer
    if tool is None or tool.kind != "function" or tool.name in {"run_python", "insert_cells"}:
        return None
    arguments = example_of(tool.parameters, situation.question)
    return f"**Calling `{tool.name}`**", Call(tool.name, arguments, _call_id(), pace_s, tool.namespace)


def _new_cells(situation: Situation, pace_s: float) -> Choice | None:
    frame, tool = situation.frame, situation.offer("insert_cells")
    if frame is None or tool is None or not wants_cells(situation.question):
        return None
    return f"**Writing cells about `{frame.name}`**", _insert(tool, cells_for(frame), pace_s)


def _mended_cell(situation: Situation, pace_s: float) -> Choice | None:
    found = advice(f"{situation.context}\n{situation.question}") if wants_help(situation.question) else None
    if found is None:
        return None
    sentence, source = found
    tool = situation.offer("insert_cells")
    thought = f"**Looking at the error**\n\n{sentence}"
    if source is not None and tool is not None:
        return thought, _insert(tool, [("code", source)], pace_s)
    code = f"\n\n```python\n{source}\n```" if source else ""
    return thought, _say(f"{sentence}{code}", pace_s)


def _remembered(situation: Situation, pace_s: float) -> Choice | None:
    frame = situation.frame
    if frame is None or wants_picture(situation.question):
        return None
    earlier = situation.earlier_output(frame)
    said = follow_up(frame, earlier) if earlier is not None else None
    if said is None:
        return None
    return f"**Remembering `{frame.name}`**\n\nI have looked at it before.", _say(said, pace_s)


def _look(situation: Situation, pace_s: float) -> Choice | None:
    frame, tool = situation.frame, situation.offer("run_python")
    if frame is None or tool is None:
        return None
    thought = f"**Looking at `{frame.name}`**\n\nI run code to see its numbers."
    code, call_id = code_for(frame, situation.question), _call_id()
    if tool.kind == "custom":
        return thought, CustomCall(tool.name, code, call_id, pace_s)
    return thought, Call(tool.name, {"code": code}, call_id, pace_s, tool.namespace)


def _insert(tool: Offer, cells: list[Cell], pace_s: float) -> Call:
    return Call(tool.name, insertion(tool, cells), _call_id(), pace_s, tool.namespace)


def _call_id() -> str:
    return f"call_sim{secrets.token_hex(10)}"


def _say(text: str, pace_s: float) -> Say:
    return Say(f"{text}\n\n{SIGNATURE}", delay_s=pace_s)


def _description(situation: Situation) -> str:
    """What the persona says where there is nothing to run."""
    seen = [f"- {line}" for line in _sights(situation)]
    names = ", ".join(f"`{offer.name}`" for offer in situation.offers[:8])
    tools = f"You offer me these tools: {names}." if names else "You offer me no tools."
    question = " ".join(situation.question.split())[:200]
    skills = (
        "With a model behind it this cell would answer. I can look at a data frame when one is defined above, "
        "write cells, mend a misspelt name, fill in a JSON schema, count images and summarise a thread."
    )
    parts = [
        f"You asked: “{question}”" if question else "You sent no question.",
        "What I see:\n\n" + "\n".join(seen) if seen else "I see no notebook with your question.",
        tools,
        skills,
    ]
    return "\n\n".join(parts)


def _sights(situation: Situation) -> list[str]:
    context = situation.context
    sights = []
    if cells := reading.cells_in(context):
        sights.append(f"{cells} cells of a notebook" if cells > 1 else "a cell of a notebook")
    for frame in reading.frames_in(context):
        size = f" ({frame.shape[0]:,} by {frame.shape[1]:,})" if frame.shape else ""
        sights.append(f"the frame `{frame.name}`{size}")
    if errors := reading.errors_in(context):
        sights.append(f"an error: `{errors[-1]}`")
    if situation.images:
        sights.append("one image" if situation.images == 1 else f"{situation.images} images")
    if any(read_compaction(item) is not None for item in situation.items):
        sights.append("a summary of what we said before")
    return sights
