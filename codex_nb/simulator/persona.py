"""The default persona: useful on a real notebook, with no model at all.

It reads the request as a model would, looks at a frame with ``run_python`` when that is offered, and reports what it
found. It never hides what it is.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from typing import TYPE_CHECKING, Any

from codex_nb.simulator import reading
from codex_nb.simulator.compaction import compaction_item, read_compaction, summary_of
from codex_nb.simulator.repairs import advice, cells_for, insertion, wants_cells, wants_help
from codex_nb.simulator.reports import code_for, follow_up, report_of, wants_picture
from codex_nb.simulator.scenario import Call, CustomCall, End, Item, Say, Step, Think
from codex_nb.simulator.schemas import example_of
from codex_nb.simulator.situation import understand

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codex_nb.simulator.reading import Offer
    from codex_nb.simulator.repairs import Cell
    from codex_nb.simulator.situation import Situation

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
