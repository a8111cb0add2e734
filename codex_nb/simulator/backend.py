"""The endpoints of the ChatGPT backend and the API: ``/responses``, accounts, models, usage, settings.

Requests to ``/responses`` are validated as the real backend validates them, then answered by the canned answerer.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from codex_nb.simulator import error_replies
from codex_nb.simulator.answerer import answer
from codex_nb.simulator.handlers import ApiHandler, ChatGptHandler, Handler
from codex_nb.simulator.parsed_request import input_items
from codex_nb.simulator.responses import compacted, fake_decrypt
from codex_nb.simulator.scenario import FRAME, Call, CustomCall, Reply, Think
from codex_nb.simulator.websocket import WebSocketTurns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from codex_nb.simulator.scenario import Step
    from codex_nb.simulator.state import RecordedRequest, State


# Validation

_OUTPUT_OF_CALL = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}
_UNSUPPORTED_ON_CHATGPT = (
    "max_output_tokens",
    "temperature",
    "top_p",
    "metadata",
    "user",
)


def _validation_error(body: Mapping[str, Any], state: State, *, is_chatgpt: bool) -> Reply | None:
    """The error reply to a request that is not valid; ``body`` has its whole input, as a list."""
    if not state.catalog.accepts(body.get("model")):
        return error_replies.unsupported_model(body.get("model"), is_chatgpt=is_chatgpt)
    items, is_prewarm = body.get("input"), body.get("generate") is False
    if is_chatgpt and (reply := _chatgpt_error(body)) is not None:
        return reply
    if not isinstance(items, list) or not (items or is_prewarm):
        return error_replies.bad_request("Missing required parameter: 'input'.", "missing_required_parameter")
    is_kept = not is_chatgpt and body.get("store") is not False
    error = next(_item_errors(items, state, is_kept=is_kept), None)
    return None if error is None else error_replies.bad_request(*error)


def _chatgpt_http_error(body: Mapping[str, Any]) -> Reply | None:
    """The error reply to what only the API, or a websocket, takes."""
    if not isinstance(body.get("input"), list) or not body["input"]:
        return error_replies.detail(400, "Input must be a list")
    if body.get("stream") is not True:
        return error_replies.detail(400, "Stream must be set to true")
    if body.get("store") is not False:
        return error_replies.detail(400, "Store must be set to false")
    if body.get("previous_response_id") is not None:
        return error_replies.detail(400, "Unsupported parameter: previous_response_id")
    return None


def _chatgpt_error(body: Mapping[str, Any]) -> Reply | None:
    """The error reply to what only the API takes."""
    if body.get("store") is True:
        return error_replies.detail(400, "Store must be set to false")
    for name in _UNSUPPORTED_ON_CHATGPT:
        if body.get(name) is not None:
            return error_replies.detail(400, f"Unsupported parameter: {name}")
    items = body.get("input")
    if isinstance(items, list) and any(_role_of(item) == "system" for item in items):
        return error_replies.detail(400, "System messages are not allowed")
    return None


def _role_of(item: Any) -> Any:
    return item.get("role") if isinstance(item, dict) else None


def _item_errors(items: Sequence[Any], state: State, *, is_kept: bool) -> Iterator[tuple[str, str | None]]:
    """The message and code of every error in the input items."""
    for index, item in enumerate(items):
        if not isinstance(item, dict) or not ("type" in item or "role" in item):
            yield f"Invalid value: 'input[{index}]' is not an item.", "invalid_value"
    objects = [item for item in items if isinstance(item, dict)]
    yield from _encryption_errors(objects)
    yield from _call_errors(objects)
    if is_kept:
        yield from _reasoning_errors(objects, state)


def _encryption_errors(items: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str | None]]:
    for item in items:
        content = item.get("encrypted_content")
        if item.get("type") not in {"reasoning", "compaction"} or content is None:
            continue
        if fake_decrypt(str(content)) is None:
            message = f"The encrypted content {str(content)[:6]}... could not be verified."
            yield message, "invalid_encrypted_content"


def _call_errors(items: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str | None]]:
    for call, output in _OUTPUT_OF_CALL.items():
        called = [item.get("call_id") for item in items if item.get("type") == call]
        answered = [item.get("call_id") for item in items if item.get("type") == output]
        for call_id in called:
            if call_id not in answered:
                yield f"No tool output found for function call {call_id}.", None
        for call_id in answered:
            if call_id not in called:
                yield f"No tool call found for function call output with call_id {call_id}.", None


def _reasoning_errors(items: Sequence[Mapping[str, Any]], state: State) -> Iterator[tuple[str, str | None]]:
    """Errors of calls that are sent back by id without the reasoning item that preceded them.

    Only a server that keeps the items can know that one is missing, and only of a call that it recognises.
    """
    reasoning = [item for item in items if item.get("type") == "reasoning"]
    encrypted = [fake_decrypt(str(item.get("encrypted_content", ""))) or {} for item in reasoning]
    present = {item.get("id") for item in reasoning} | {payload.get("reasoning") for payload in encrypted}
    for item in items:
        needed = state.reasoning_of_call.get(str(item.get("call_id")))
        name = item.get("id")
        if item.get("type") in _OUTPUT_OF_CALL and name and needed is not None and needed not in present:
            kind = item["type"]
            where = f"Item '{name}' of type '{kind}'"
            yield f"{where} was provided without its required 'reasoning' item: '{needed}'.", None


# Responses

_TURN_STATE = "x-codex-turn-state"


class _ResponsesHandler(WebSocketTurns):
    """The behaviour that both ``/responses`` endpoints share."""

    is_chatgpt: bool
    _whole: tuple[RecordedRequest | None, dict[str, Any]] = (None, {})
    _last: tuple[str, Sequence[Any]] = ("", ())  # the last response on this websocket, with its items

    async def post(self) -> None:
        """Answer a valid request; send the backend's error to any other."""
        refusal = self.refusal()
        self.recorded.answered_by = "validation" if refusal else "answerer"
        await self.send_reply(refusal or self.canned_reply())

    @property
    def json_body(self) -> dict[str, Any]:
        """The body, its input with the items of the response that it follows; a text is a message of the user."""
        request, body = self._whole
        if request is not self.recorded:
            body = dict(super().json_body)
            items = body.get("input")
            if not self._is_of_chatgpt_over_http:
                items = input_items(items)
            if isinstance(items, list):
                body["input"] = [*(self._items_before(body.get("previous_response_id")) or ()), *items]
            self._whole = self.recorded, body
        return body

    @property
    def _is_of_chatgpt_over_http(self) -> bool:
        """Whether the rules apply that the ChatGPT backend has for HTTP only."""
        return self.is_chatgpt and self.recorded.method != FRAME

    @property
    def wants_whole(self) -> bool:
        """Whether the API is asked for one object."""
        return not self.is_chatgpt and self.json_body.get("stream") is not True

    def refusal(self) -> Reply | None:
        """The error reply to a request that is not valid."""
        body = self.json_body
        if self._is_of_chatgpt_over_http and (reply := _chatgpt_http_error(body)) is not None:
            return reply
        previous = body.get("previous_response_id")
        if self._items_before(previous) is None:
            return error_replies.previous_response_not_found(previous)
        return _validation_error(body, self.state, is_chatgpt=self.is_chatgpt)

    def _items_before(self, response_id: object) -> Sequence[Any] | None:
        """The items up to and including a response; None when it is known neither here nor anywhere."""
        if response_id is None:
            return ()
        last_id, items = self._last
        return items if response_id == last_id else self.state.responses.find(response_id)

    def keep_response(self, response: Mapping[str, Any]) -> None:
        """Keep a response: on its websocket the last one, and in the API those that are to be stored."""
        body, items = self.json_body, self.json_body.get("input")
        if response["status"] == "failed" or not isinstance(items, list):
            return
        items = [*items, *response["output"]]
        self._last = (response["id"], items)
        if not self.is_chatgpt and body.get("store") is not False:
            size = self.recorded.size + len(json.dumps(response["output"]))
            self.state.responses.keep(response["id"], items, size)

    def canned_reply(self) -> Reply:
        """The canned answer; a call in it is recorded as following its reasoning item."""
        reasoning_id = "rs_sim_" + secrets.token_hex(16)
        steps: list[Step] = []
        for step in answer(self.json_body, self.state.pace_s):
            if isinstance(step, Think):
                steps.append(replace(step, item_id=reasoning_id))
                continue
            if isinstance(step, Call | CustomCall) and step.call_id:
                self.state.reasoning_of_call[step.call_id] = reasoning_id
            steps.append(step)
        return Reply(stream=tuple(steps))

    def handshake_headers(self) -> Mapping[str, str]:
        """Say the state of the turn and of the list of models."""
        headers = self.stream_headers()
        return {name: headers[name] for name in (_TURN_STATE, "x-models-etag")}

    def stream_headers(self) -> Mapping[str, str]:
        """Add the model, the rate limits and the state of the turn."""
        turn_state = self.request.headers.get(_TURN_STATE) or "ts_sim_" + secrets.token_urlsafe(16)
        return {
            **super().stream_headers(),
            "openai-model": str(self.json_body.get("model")),
            "openai-processing-ms": "1",
            "x-models-etag": self.state.catalog.etag,
            _TURN_STATE: turn_state,
            **(self.state.limits.headers(self.state.clock()) if self.is_chatgpt else {}),
        }


class ChatGptResponsesHandler(_ResponsesHandler, ChatGptHandler):
    """``/backend-api/codex/responses``."""

    is_chatgpt = True

    def first_events(self) -> Iterable[Mapping[str, Any]]:
        """Tell the rate limits, which an HTTP response has in its headers."""
        return (self.state.limits.event(self.account.plan, self.state.clock()),)


class ApiResponsesHandler(_ResponsesHandler, ApiHandler):
    """``/v1/responses``."""

    is_chatgpt = False


class CompactHandler(ApiHandler):
    """``POST /v1/responses/compact``; the ChatGPT backend has no such endpoint and takes a trigger item instead."""

    async def post(self) -> None:
        """Return the compacted input."""
        if not isinstance(self.json_body.get("input"), list):
            await self.send_reply(error_replies.bad_request("Missing required parameter: 'input'."))
            return
        self.write_json(compacted(self.json_body, self.state.clock()))


# Accounts, models and usage


class AccountsCheckHandler(ChatGptHandler):
    """``GET /wham/accounts/check``: the workspaces and their routing."""

    def get(self) -> None:
        """Return the account's only workspace."""
        account = self.account
        workspace = {
            "id": account.account_id,
            "workspace_backend_origin": account.backend_origin,
            "account_routing_override": account.routing_override,
        }
        self.write_json(
            {
                "accounts": [workspace],
                "account_ordering": [account.account_id],
                "default_account_id": account.account_id,
            }
        )


class ModelsHandler(ChatGptHandler):
    """``GET /codex/models``: the models that the account may use."""

    def get(self) -> None:
        """Return the catalog, with its ETag."""
        catalog = self.state.catalog
        self.set_header("etag", catalog.etag)
        self.write_json({"models": catalog.entries})


class ApiModelsHandler(ApiHandler):
    """``GET /v1/models``."""

    def get(self) -> None:
        """Return the models in the format of the API."""
        self.write_json(self.state.catalog.api_list())


class ApiModelHandler(ApiHandler):
    """``GET /v1/models/{id}``."""

    async def get(self, slug: str) -> None:
        """Return one model."""
        model = self.state.catalog.api_model(slug)
        if model is None:
            await self.send_reply(error_replies.unsupported_model(slug, is_chatgpt=False))
            return
        self.write_json(model)


class UsageHandler(ChatGptHandler):
    """``GET /wham/usage``: the plan and its rate limits."""

    def get(self) -> None:
        """Return plan, windows and credits."""
        account = self.account
        self.write_json(
            {
                "user_id": account.user_id,
                "account_id": account.account_id,
                "email": account.email,
                "plan_type": account.plan,
                **self.state.limits.usage(self.state.clock()),
            }
        )


# Endpoints that the Codex CLI calls and that have nothing to return


class ResetCreditsHandler(ChatGptHandler):
    """``GET /wham/rate-limit-reset-credits``."""

    def get(self) -> None:
        """Return no credits."""
        self.write_json({"credits": [], "available_count": 0, "total_earned_count": 0})


class UserSettingsHandler(ChatGptHandler):
    """``GET /wham/settings/user``."""

    def get(self) -> None:
        """Return no settings."""
        self.write_json({})


class PluginsHandler(ChatGptHandler):
    """``GET /ps/plugins/…``."""

    def get(self, *_: str) -> None:
        """Return no plugins."""
        self.write_json({"enabled": False, "plugins": [], "pagination": {"next_page_token": None}})


class McpHandler(Handler):
    """``POST /ps/mcp``: an MCP server (JSON-RPC over HTTP) without any tools."""

    def post(self) -> None:
        """Answer the calls that a client makes when it starts; notifications get no answer."""
        call = self.json_body
        results = {
            "initialize": {
                "protocolVersion": (call.get("params") or {}).get("protocolVersion"),
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "codex-nb-simulator", "version": "1"},
            },
            "tools/list": {"tools": []},
            "ping": {},
        }
        if "id" not in call:
            self.set_status(202)
        elif call.get("method") in results:
            self.write_json({"jsonrpc": "2.0", "id": call["id"], "result": results[call["method"]]})
        else:
            error = {"code": -32601, "message": "Method not found"}
            self.write_json({"jsonrpc": "2.0", "id": call["id"], "error": error})


class AnalyticsHandler(Handler):
    """``POST /codex/analytics-events/events``."""

    def post(self) -> None:
        """Accept the events and discard them."""
        self.write_json({}, 202)
