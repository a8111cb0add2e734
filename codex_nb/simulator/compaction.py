"""Compaction: a long history becomes one sealed item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codex_nb.simulator.events import new_id
from codex_nb.simulator.reading import messages_of
from codex_nb.simulator.sealed import seal, unseal
from codex_nb.simulator.usage import usage_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_QUOTE_CHARACTERS = 160


def summary_of(items: Sequence[Any]) -> str:
    """What a history was about, in a few lines."""
    earlier = [summary for item in items if (summary := read_compaction(item)) is not None]
    asked = [text for role, text in messages_of(items) if role == "user"]
    lines = [f"- {' '.join(text.split())[-_QUOTE_CHARACTERS:]}" for text in asked[-8:]]
    return "\n".join([*earlier, f"Summary by the simulator of {len(asked)} questions:", *lines])


def compaction_item(items: Sequence[Any], now: float) -> dict[str, Any]:
    """The item that stands for a history."""
    blob = seal({"summary": summary_of(items)}, now)
    return {"type": "compaction", "id": new_id("cmp"), "encrypted_content": blob}


def read_compaction(item: Any) -> str | None:
    """The summary in a compaction item; None for other items."""
    if not isinstance(item, dict) or item.get("type") not in {"compaction", "compaction_summary"}:
        return None
    payload = unseal(str(item.get("encrypted_content", "")))
    return None if payload is None else str(payload.get("summary", ""))


def compacted(body: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The answer of ``/v1/responses/compact``: the user's messages and one compaction item."""
    items = body["input"]
    kept = [item for item in items if isinstance(item, dict) and item.get("role") == "user"]
    output = [*kept, compaction_item(items, now)]
    return {
        "id": new_id("resp"),
        "object": "response.compaction",
        "created_at": int(now),
        "output": output,
        "usage": usage_of(body, output, 0),
    }
