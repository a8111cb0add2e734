"""The default persona: useful on a real notebook, with no model at all.

It reads the request as a model would, looks at a frame with ``run_python`` when that is offered, and reports what it
found. It never hides what it is.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codex_nb.simulator import reading
from codex_nb.simulator.compaction import compaction_item, read_compaction, summary_of
from codex_nb.simulator.reading import Frame
from codex_nb.simulator.reports import code_for, follow_up, report_of, wants_picture
from codex_nb.simulator.scenario import Call, CustomCall, End, Item, Say, Step, Think
from codex_nb.simulator.schemas import example_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from codex_nb.simulator.reading import Offer

SIGNATURE = "_This answer comes from the codex_nb simulator; no model was asked._"

_COMPACTION_PROMPT = re.compile(
    r"context checkpoint compaction|\b(?:summari[sz]e|compact)\b.{0,60}\b(?:conversation|thread|history)\b",
    re.IGNORECASE | re.DOTALL,
)
_FRAME_NAME = re.compile(r"(?<![\w.])@?(df\w*|\w+_df)\b")
_CALLS = {"function_call", "custom_tool_call"}
_OUTPUTS = {"function_call_output", "custom_tool_call_output"}


@dataclass(frozen=True)
class Situation:
    """What the persona understands of a request."""

    items: Sequence[Any]
    question: str
    context: str
    offers: Sequence[Offer]
    images: int
    outputs: Sequence[Mapping[str, Any]]
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
        calls = [
            item["call_id"]
            for item in self.items
            if isinstance(item, dict)
            and item.get("type") in _CALLS
            and f"{frame.name}.describe()" in str(item.get("arguments") or item.get("input"))
        ]
        outputs = [
            _output_text(item)
            for item in self.items
            if isinstance(item, dict) and item.get("type") in _OUTPUTS and item.get("call_id") in calls
        ]
        return outputs[-1] if outputs else None

    def offer(self, name: str) -> Offer | None:
        """The offered tool of that name."""
        return next((offer for offer in self.offers if offer.name == name), None)


def understand(body: Mapping[str, Any]) -> Situation:
    """Read a request."""
    items = body.get("input") or []
    turn = reading.turn_inputs(items)
    texts = [text for role, text in reading.messages_of(turn) if role == "user"]
    context = "\n".join(text for role, text in reading.messages_of(items) if role == "user")
    outputs = [item for item in reading.since_last_user(items) if item.get("type") in _OUTPUTS]
    text = body.get("text") or {}
    return Situation(
        items=items,
        question=_last_part(turn) or (texts[-1] if texts else ""),
        context=context,
        offers=reading.tools_of(body),
        images=reading.images_in(turn),
        outputs=outputs,
        text_format=text.get("format") or {},
    )


def _last_part(turn: Sequence[Mapping[str, Any]]) -> str:
    """The last text of the last user message: context comes before the question."""
    contents = [item.get("content") for item in turn if item.get("role") == "user"]
    parts = contents[-1] if contents and isinstance(contents[-1], list) else []
    texts = [str(part["text"]) for part in parts if isinstance(part, dict) and "text" in part]
    return texts[-1] if texts else ""


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
    frame, tool = situation.frame, situation.offer("run_python")
    if situation.outputs:
        output = _output_text(situation.outputs[-1])
        text = report_of(frame, output)
        return "**Reading the output**\n\nThe code has run; I report its numbers.", _say(text, pace_s)
    if frame is not None and not wants_picture(situation.question):
        earlier = situation.earlier_output(frame)
        said = follow_up(frame, earlier) if earlier is not None else None
        if said is not None:
            return f"**Remembering `{frame.name}`**\n\nI have looked at it before.", _say(said, pace_s)
    if frame is not None and tool is not None:
        thought = f"**Looking at `{frame.name}`**\n\nThe context describes it; I run code to see its numbers."
        return thought, _call(tool, code_for(frame, situation.question), pace_s)
    thought = "**Reading the notebook**\n\nI say what I see and what I can do."
    return thought, _say(_description(situation), pace_s)


def _call(tool: Offer, code: str, pace_s: float) -> Step:
    call_id = f"call_sim{secrets.token_hex(10)}"
    if tool.kind == "custom":
        return CustomCall(tool.name, code, call_id, pace_s)
    return Call(tool.name, {"code": code}, call_id, pace_s, tool.namespace)


def _say(text: str, pace_s: float) -> Say:
    return Say(f"{text}\n\n{SIGNATURE}", delay_s=pace_s)


def _output_text(item: Mapping[str, Any]) -> str:
    output = item.get("output")
    if isinstance(output, list):
        return "\n".join(str(part["text"]) for part in output if isinstance(part, dict) and "text" in part)
    return str(output or "")


def _description(situation: Situation) -> str:
    """What the persona says where there is nothing to run."""
    seen = [f"- {line}" for line in _sights(situation)]
    names = ", ".join(f"`{offer.name}`" for offer in situation.offers[:8])
    tools = f"You offer me these tools: {names}." if names else "You offer me no tools."
    question = " ".join(situation.question.split())[:200]
    skills = (
        "With a model behind it this cell would answer. I can look at a data frame when one is defined above, "
        "fill in a JSON schema, count images and summarise a thread."
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
