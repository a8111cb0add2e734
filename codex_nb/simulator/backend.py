"""The ChatGPT backend: ``/responses`` validated as the real one validates it, accounts, models, usage, settings."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from codex_nb.simulator import scenario as refusals
from codex_nb.simulator.answerer import answer
from codex_nb.simulator.events import compacted, unseal
from codex_nb.simulator.handlers import ApiHandler, ChatGptHandler, Handler
from codex_nb.simulator.scenario import Call, CustomCall, Reply, Step, Think

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from codex_nb.simulator.state import World


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


_TURN_STATE = "x-codex-turn-state"


class _Responding(Handler):
    """What both kinds of ``/responses`` do."""

    is_chatgpt: bool

    def get(self) -> None:
        """Refuse the websocket: clients go on over HTTP."""
        self.set_status(426)
        self.set_header("upgrade", "HTTP/1.1")
        self.finish()

    async def post(self) -> None:
        """Answer a request that the backend would accept; refuse the others as it does."""
        refusal = problem_of(self.json_body, self.world, is_chatgpt=self.is_chatgpt)
        self.recorded.answered_by = "refusal" if refusal else "persona"
        await self.play(refusal or self._persona())

    def _persona(self) -> Reply:
        steps = answer(self.json_body, self.world.pace_s)
        thought: str | None = None
        named: list[Step] = []
        for step in steps:
            if isinstance(step, Think):
                thought = thought or "rs_sim_" + secrets.token_hex(16)
                named.append(Think(step.summary, step.delay_s, thought))
            else:
                if isinstance(step, Call | CustomCall) and thought and step.call_id:
                    self.world.reasoning_of_call[step.call_id] = thought
                named.append(step)
        return Reply(stream=tuple(named))

    def stream_headers(self) -> Mapping[str, str]:
        """Name the model, the limits and the state of the turn."""
        state = self.request.headers.get(_TURN_STATE) or "ts_sim_" + secrets.token_urlsafe(16)
        return {
            **super().stream_headers(),
            "openai-model": str(self.json_body.get("model")),
            "openai-processing-ms": "1",
            "x-models-etag": self.world.catalog.etag,
            _TURN_STATE: state,
            **(self.world.limits.headers(self.world.clock()) if self.is_chatgpt else {}),
        }


class ChatGptResponses(_Responding, ChatGptHandler):
    """``/backend-api/codex/responses``."""

    is_chatgpt = True


class ApiResponses(_Responding, ApiHandler):
    """``/v1/responses``."""

    is_chatgpt = False


class Compact(ApiHandler):
    """``POST /v1/responses/compact``: the history as one item."""

    async def post(self) -> None:
        """Give the shortened history; the ChatGPT backend has no such address, it takes a trigger item."""
        if not isinstance(self.json_body.get("input"), list):
            await self.play(refusals.bad_request("Missing required parameter: 'input'."))
            return
        self.write_json(compacted(self.json_body, self.world.clock()))


class AccountsCheck(ChatGptHandler):
    """``GET /wham/accounts/check``: where the workspace lives."""

    def get(self) -> None:
        """Name the person's account."""
        person = self.person
        account = {
            "id": person.account_id,
            "workspace_backend_origin": person.backend_origin,
            "account_routing_override": person.routing_override,
        }
        self.write_json(
            {
                "accounts": [account],
                "account_ordering": [person.account_id],
                "default_account_id": person.account_id,
            }
        )


class Models(ChatGptHandler):
    """``GET /codex/models``: what the account may use."""

    def get(self) -> None:
        """Give the catalog with its etag."""
        catalog = self.world.catalog
        self.set_header("etag", catalog.etag)
        self.write_json({"models": catalog.entries})


class ApiModels(ApiHandler):
    """``GET /v1/models``."""

    def get(self) -> None:
        """Give the list in the API's shape."""
        self.write_json(self.world.catalog.api_list())


class WhamUsage(ChatGptHandler):
    """``GET /wham/usage``: plan and limits."""

    def get(self) -> None:
        """Name plan, windows and credits."""
        person = self.person
        self.write_json(
            {
                "user_id": person.user_id,
                "account_id": person.account_id,
                "email": person.email,
                "plan_type": person.plan,
                **self.world.limits.usage(self.world.clock()),
            }
        )


class ResetCredits(ChatGptHandler):
    """``GET /wham/rate-limit-reset-credits``: none."""

    def get(self) -> None:
        """Say that there are none."""
        self.write_json({"credits": [], "available_count": 0, "total_earned_count": 0})


class UserSettings(ChatGptHandler):
    """``GET /wham/settings/user``."""

    def get(self) -> None:
        """Give no settings at all."""
        self.write_json({})


class InstalledPlugins(ChatGptHandler):
    """``GET /ps/plugins/…``: none."""

    def get(self, *_: str) -> None:
        """Give an empty list."""
        self.write_json({"enabled": False, "plugins": [], "pagination": {"next_page_token": None}})


class AppTools(Handler):
    """``POST /ps/mcp``: an MCP server (JSON-RPC over HTTP) without any tool."""

    def post(self) -> None:
        """Answer what a client asks when it starts; notifications need no answer."""
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


class Analytics(Handler):
    """``POST /codex/analytics-events/events``: taken and forgotten."""

    def post(self) -> None:
        """Thank for the events."""
        self.write_json({}, 202)


class AgentKeys(Handler):
    """``GET /wham/agent-identities/jwks``: the key that verifies agent identities."""

    def get(self) -> None:
        """Give the public key."""
        self.write_json(self.world.agents.jwks())
