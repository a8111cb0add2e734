"""What is sent: one request of a turn, as the exact JSON body and headers.

Bodies are written so that a prompt cache can work: fixed key order, no clock and no random value in them, and the
input of a later turn begins with the bytes of the earlier one. Key order and names are those of the Codex CLI.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codex_nb.responses.backend import Backend
    from codex_nb.responses.throttle import Throttle

ENCRYPTED_REASONING = "reasoning.encrypted_content"
# What config.toml calls a tier, and what the API calls it.
_SERVICE_TIERS = {"fast": "priority"}


@dataclass(frozen=True)
class ResponsesRequest:
    """One request of a turn.

    ``input`` is the whole history, a developer message first (there is no ``instructions`` field); items are sent as
    they are, in their own key order. ``tools`` are tool specifications. ``text_format`` is a ``json_schema`` format
    (see :func:`json_schema_format`). ``turn_state`` is the last reply's, within one turn only. ``is_lite`` is the
    model's wish for the lite form. ``throttle`` is shared by the requests of a batch; it is not sent.
    """

    model: str
    input: tuple[dict[str, Any], ...]
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: str = "auto"
    parallel_tool_calls: bool = True
    effort: str | None = None
    summary: str | None = None
    verbosity: str | None = None
    service_tier: str | None = None
    text_format: dict[str, Any] | None = None
    prompt_cache_key: str | None = None
    thread_id: str | None = None
    turn_id: str | None = None
    turn_state: str | None = None
    is_lite: bool = False
    throttle: Throttle | None = field(default=None, repr=False, compare=False)

    def continued(self, items: tuple[dict[str, Any], ...]) -> ResponsesRequest:
        """Give the same request with these items, already received, at the end of its input."""
        return replace(self, input=(*self.input, *items)) if items else self


def json_schema_format(schema: dict[str, Any], *, name: str = "codex_output_schema") -> dict[str, Any]:
    """Ask for an answer by a JSON schema, strictly."""
    return {"type": "json_schema", "strict": True, "schema": schema, "name": name}


def request_body(request: ResponsesRequest, backend: Backend) -> bytes:
    """Write the JSON body. Text that is not valid Unicode (half surrogate pairs) becomes question marks."""
    lite = request.is_lite and backend.takes_reasoning
    body: dict[str, Any] = {"model": request.model, "stream": True, "input": list(request.input)}
    if lite and request.tools:
        body["input"].insert(0, _additional_tools(request.tools))
    if request.tools and not lite:
        body["tools"] = list(request.tools)
    if request.tools:
        body["tool_choice"] = request.tool_choice
        body["parallel_tool_calls"] = request.parallel_tool_calls and not lite
    reasoning = _reasoning(request, lite=lite)
    reasons = bool(reasoning) or backend.takes_reasoning
    if reasons:
        body["reasoning"] = reasoning
    body["store"] = backend.keeps_responses
    if reasons:
        body["include"] = [ENCRYPTED_REASONING]
    if request.service_tier is not None:
        body["service_tier"] = _SERVICE_TIERS.get(request.service_tier, request.service_tier)
    if request.prompt_cache_key is not None:
        body["prompt_cache_key"] = request.prompt_cache_key
    text = _text(request)
    if text:
        body["text"] = text
    metadata = _metadata(request)
    if metadata and backend.is_codex:
        body["client_metadata"] = metadata
    return dump_json(body)


def request_headers(request: ResponsesRequest, backend: Backend) -> dict[str, str]:
    """Give the headers of a request, without authorization."""
    headers = {
        "accept": "text/event-stream",
        "accept-encoding": "identity",
        "content-type": "application/json",
    }
    if request.thread_id is not None:
        headers.update(dict.fromkeys(("x-client-request-id", "session-id", "thread-id"), request.thread_id))
    if request.turn_state is not None:
        headers["x-codex-turn-state"] = request.turn_state
    if backend.is_chatgpt:
        headers["x-codex-routing-hint"] = f"model={request.model}"
    if request.is_lite and backend.takes_reasoning:
        headers["x-openai-internal-codex-responses-lite"] = "true"
    return headers | dict(backend.headers)


def dump_json(value: Any) -> bytes:
    """Write compact JSON in the order of the keys, as UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _additional_tools(tools: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """Give the tools as an input item, as lite models take them; its id follows from the tools and so is stable."""
    digest = hashlib.sha256(dump_json(tools)).hexdigest()[:32]
    namespace = {"type": "namespace", "name": "functions", "description": "", "tools": list(tools)}
    return {"type": "additional_tools", "id": f"at_{digest}", "role": "developer", "tools": [namespace]}


def _reasoning(request: ResponsesRequest, *, lite: bool) -> dict[str, str]:
    reasoning = {
        "effort": request.effort,
        "summary": request.summary,
        "context": "all_turns" if lite else None,
    }
    return {key: value for key, value in reasoning.items() if value is not None}


def _text(request: ResponsesRequest) -> dict[str, Any]:
    text = {"verbosity": request.verbosity, "format": request.text_format}
    return {key: value for key, value in text.items() if value is not None}


def _metadata(request: ResponsesRequest) -> dict[str, str]:
    ids = {"thread_id": request.thread_id, "session_id": request.thread_id, "turn_id": request.turn_id}
    return {key: value for key, value in ids.items() if value is not None}
