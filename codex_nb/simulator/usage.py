"""Token counts: plausible ones, by characters, with a prompt cache that works like the backend's."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CHARACTERS_PER_TOKEN = 4
_KEPT_INPUTS = 64


def tokens_in(value: object) -> int:
    """About how many tokens the JSON of a value is."""
    return len(json.dumps(value, ensure_ascii=False)) // CHARACTERS_PER_TOKEN


@dataclass
class PromptCache:
    """Remembers inputs by ``prompt_cache_key``: an input that begins with an earlier one is cached up to there."""

    _inputs: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)

    def cached_tokens(self, key: str | None, items: Sequence[object]) -> int:
        """How many tokens of this input are cached; the input is remembered for the next one."""
        if key is None:
            return 0
        texts = tuple(json.dumps(item, ensure_ascii=False) for item in items)
        known = self._inputs.setdefault(key, [])
        best = max((len(old) for old in known if texts[: len(old)] == old), default=0)
        known.append(texts)
        del known[:-_KEPT_INPUTS]
        return sum(len(text) for text in texts[:best]) // CHARACTERS_PER_TOKEN


def usage_of(
    request: Mapping[str, Any], output: Sequence[Mapping[str, Any]], cached_tokens: int
) -> dict[str, Any]:
    """The ``usage`` object of a response."""
    input_tokens = tokens_in(request.get("input")) + tokens_in(request.get("tools") or [])
    reasoning = sum(tokens_in(item.get("summary")) for item in output if item.get("type") == "reasoning")
    visible = sum(tokens_in(item) for item in output if item.get("type") != "reasoning")
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": min(cached_tokens, input_tokens)},
        "output_tokens": visible + reasoning,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": input_tokens + visible + reasoning,
    }
