"""Scenarios from JSON.

::

    {"name": "a retry", "replies": [
      {"status": 503, "body": {"error": {"code": "server_is_overloaded"}}},
      {"stream": [{"think": {"summary": ["Hm."]}},
                  {"say": {"text": "Hello", "gate": "middle"}},
                  {"call": {"name": "run_python", "arguments": {"code": "1 + 1"}}},
                  {"end": {}}]},
      {"wire": {"chunks": ["HTTP/1.1 2"], "close": true}}
    ]}

A step is an object with one key, the kind of step in snake case. Bytes are written as text, or as
``{"base64": "…"}``.
"""

from __future__ import annotations

import base64
import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from codex_nb.simulator import scenario

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_STEPS: dict[str, type[Any]] = {
    "think": scenario.Think,
    "say": scenario.Say,
    "call": scenario.Call,
    "custom_call": scenario.CustomCall,
    "item": scenario.Item,
    "event": scenario.Event,
    "end": scenario.End,
    "hold": scenario.Hold,
    "pause": scenario.Pause,
    "raw": scenario.Raw,
    "cut": scenario.Cut,
}


def load_scenario(path: Path) -> scenario.Scenario:
    """The scenario in a JSON file; ValueError says what is wrong with it."""
    return scenario_from_json(json.loads(path.read_text(encoding="utf-8")))


def scenario_from_json(value: Mapping[str, Any]) -> scenario.Scenario:
    """The scenario that a JSON object describes; ValueError says what is wrong with it."""
    replies = tuple(_reply(each) for each in value.get("replies", ()))
    return scenario.Scenario(replies, str(value.get("name", "")))


def _reply(value: Mapping[str, Any]) -> scenario.Reply:
    parts = dict(value)
    if parts.get("stream") is not None:
        parts["stream"] = tuple(_step(each) for each in parts["stream"])
    if parts.get("wire") is not None:
        wire = dict(parts["wire"])
        wire["chunks"] = tuple(_bytes(each) for each in wire.get("chunks", ()))
        parts["wire"] = _build(scenario.Wire, wire)
    reply: scenario.Reply = _build(scenario.Reply, parts)
    return reply


def _step(value: Mapping[str, Any]) -> scenario.Step:
    kind, parts = next(iter(value.items())) if len(value) == 1 else ("", {})
    if kind not in _STEPS:
        message = f"a step is an object with one of {', '.join(_STEPS)}, not {sorted(value)}"
        raise ValueError(message)
    parts = dict(parts)
    if kind == "raw":
        parts["data"] = _bytes(parts.get("data", ""))
    if kind == "think":
        parts["summary"] = tuple(parts.get("summary", ()))
    step: scenario.Step = _build(_STEPS[kind], parts)
    return step


def _bytes(value: str | Mapping[str, str]) -> bytes:
    return value.encode() if isinstance(value, str) else base64.b64decode(value["base64"])


def _build(kind: type[Any], parts: Mapping[str, Any]) -> Any:
    known = {each.name for each in fields(kind)}
    unknown = sorted(set(parts) - known)
    if unknown:
        message = f"{kind.__name__} has no {unknown[0]!r}; it has {', '.join(sorted(known))}"
        raise ValueError(message)
    return kind(**parts)
