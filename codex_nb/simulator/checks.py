"""What the backend refuses: requests that are not well formed, or whose history does not hold together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codex_nb.simulator import refusals
from codex_nb.simulator.sealed import unseal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from codex_nb.simulator.scenario import Reply
    from codex_nb.simulator.world import World

_CALLS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}
_NOT_ON_CHATGPT = ("max_output_tokens", "temperature", "top_p", "previous_response_id", "metadata", "user")


def problem_of(body: Mapping[str, Any], world: World, *, is_chatgpt: bool) -> Reply | None:
    """The refusal of a request; None when it is fine."""
    if not world.catalog.offers(body.get("model")):
        return refusals.unsupported_model(body.get("model"), is_chatgpt=is_chatgpt)
    items = body.get("input")
    if not isinstance(items, list) or not items:
        return refusals.detail(400, "Input must be a list")
    if body.get("stream") is not True:
        return refusals.detail(400, "Stream must be set to true")
    if is_chatgpt:
        refusal = _chatgpt_problem(body)
        if refusal is not None:
            return refusal
    message = next(_history_problems(items, world), None)
    if message is not None:
        return refusals.bad_request(*message)
    return None


def _chatgpt_problem(body: Mapping[str, Any]) -> Reply | None:
    if body.get("store") is not False:
        return refusals.detail(400, "Store must be set to false")
    for name in _NOT_ON_CHATGPT:
        if body.get(name) is not None:
            return refusals.detail(400, f"Unsupported parameter: {name}")
    return None


def _history_problems(items: Sequence[Any], world: World) -> Iterator[tuple[str, str | None]]:
    """Everything in the history that the backend would refuse: message and code."""
    for index, item in enumerate(items):
        if not isinstance(item, dict) or not ("type" in item or "role" in item):
            yield f"Invalid value: 'input[{index}]' is not an item.", "invalid_value"
    objects = [item for item in items if isinstance(item, dict)]
    yield from _seal_problems(objects)
    yield from _call_problems(objects)
    yield from _reasoning_problems(objects, world)


def _seal_problems(items: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str | None]]:
    for item in items:
        blob = item.get("encrypted_content")
        if item.get("type") in {"reasoning", "compaction"} and blob is not None and unseal(str(blob)) is None:
            message = f"The encrypted content {str(blob)[:6]}... could not be verified."
            yield message, "invalid_encrypted_content"


def _call_problems(items: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str | None]]:
    for call, output in _CALLS.items():
        called = [item.get("call_id") for item in items if item.get("type") == call]
        answered = [item.get("call_id") for item in items if item.get("type") == output]
        for call_id in called:
            if call_id not in answered:
                yield f"No tool output found for function call {call_id}.", None
        for call_id in answered:
            if call_id not in called:
                yield f"No tool call found for function call output with call_id {call_id}.", None


def _reasoning_problems(items: Sequence[Mapping[str, Any]], world: World) -> Iterator[tuple[str, str | None]]:
    """Calls that come back without the reasoning that led to them."""
    echoed = {
        payload.get("reasoning")
        for item in items
        if item.get("type") == "reasoning" and (payload := unseal(str(item.get("encrypted_content", ""))))
    }
    for item in items:
        needed = world.reasoning_of_call.get(str(item.get("call_id")))
        if item.get("type") in _CALLS and needed is not None and needed not in echoed:
            kind, name = item["type"], item.get("id")
            where = f"Item '{name}' of type '{kind}'"
            yield f"{where} was provided without its required 'reasoning' item: '{needed}'.", None
