"""One turn that runs in the Codex CLI: its events, its approvals, our own tools, and how it ends."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codex_nb.agent.app_server import REFUSED, AppServer, AppServerEnded, RequestRefused
from codex_nb.agent.approvals import McpCall, read_action, read_request
from codex_nb.agent.engine import AgentEngine, WantedThread, digest, servers_config
from codex_nb.agent.items import AgentItems, image_of
from codex_nb.errors import AgentFailed
from codex_nb.labels import ApprovalPolicy
from codex_nb.parse import JsonObject, parse_object
from codex_nb.rendering.sanitize import visible_line
from codex_nb.session.events import (
    ApprovalRequested,
    ApprovalResolved,
    Notice,
    RetryScheduled,
    StepStarted,
    ToolCallReady,
    ToolFinished,
    ToolStarted,
)
from codex_nb.session.mcp import ANSWERED, DECLINED
from codex_nb.session.outbound import received, user_message
from codex_nb.session.turn import STOPPED, ToolCallExecution, Turn
from codex_nb.tools.approval import OFFERED, Decision, DecisionKind, Effect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from codex_nb.agent.app_server import Message, Messages
    from codex_nb.agent.approvals import Asked
    from codex_nb.responses.request import Outbound
    from codex_nb.session.events import Answer, TurnEvent
    from codex_nb.session.prompt import TurnRequest
    from codex_nb.session.turn import ModelClient

INTERRUPT_TIMEOUT_S = 3.0
RESTARTED = "The Codex CLI ended unexpectedly and was started again."
GO_ON = (
    "The program that you run in ended while it was carrying out the user's last request and was started again. Go on "
    "with that request: look at what was already done before you repeat anything."
)
NOT_OFFERED = "The approval policy 'read-only' allows no commands, changes or calls of other programs."
SWITCHED_OFF = "This tool is switched off for the question."
# Items that the CLI does not ask about under the policy "all", whatever they do.
UNASKED = frozenset({"mcpToolCall", "imageGeneration"})

# Our approval policy as the CLI's, with the sandbox that what runs is tried in first.
POLICIES = {
    ApprovalPolicy.ASK: ("untrusted", "workspace-write"),
    ApprovalPolicy.AUTO: ("untrusted", "workspace-write"),
    ApprovalPolicy.READ_ONLY: ("untrusted", "read-only"),
    ApprovalPolicy.ALL: ("never", "workspace-write"),
}
_SANDBOXES: Mapping[str, JsonObject] = {
    "read-only": {"type": "readOnly", "networkAccess": False},
    "workspace-write": {
        "type": "workspaceWrite",
        "writableRoots": [],
        "networkAccess": False,
        "excludeTmpdirEnvVar": False,
        "excludeSlashTmp": False,
    },
}


@dataclass(eq=False)
class AgentTurn(Turn):
    """One turn that runs in the Codex CLI: the same start, tools, approvals and end as a turn of the direct engine."""

    engine: AgentEngine = field(kw_only=True)
    asked: TurnRequest = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._agent = AgentItems(self._call_numbers, self.on_limits, self.engine.token_totals)
        self._thread_id = ""
        self._turn_id = ""
        self._offers = ""
        self._approved = set[str]()  # the items that our gate has let through
        self._asked_numbers = set[int]()

    @classmethod
    def of(cls, turn: Turn, engine: AgentEngine, request: TurnRequest) -> AgentTurn:
        """Return the prepared turn of a request as one that runs in the agent."""
        parts = {each.name: getattr(turn, each.name) for each in fields(Turn)}
        return cls(**parts, engine=engine, asked=request)

    @property
    def _wanted_thread(self) -> WantedThread:
        policy, sandbox = POLICIES[self.tool_context.rules.policy]
        has_shell = self.asked.uses_tools and Effect.EXECUTE in OFFERED[self.tool_context.rules.policy]
        # Of any file, which is not asked about.
        makes_images = self.asked.uses_tools and self.tool_context.rules.policy is ApprovalPolicy.ALL
        settings = self.engine.settings
        servers = servers_config(settings, self.asked)
        options = {
            "model": self.request.model,
            "modelProvider": self.engine.provider,
            "cwd": str(self._folder),
            "approvalPolicy": policy,
            "sandbox": sandbox,
            "config": {
                "features.shell_tool": has_shell,
                "features.image_generation": makes_images,
                "web_search": settings.search_mode(wanted=self.asked.searches) or "disabled",
                **servers,
            },
        }
        tools = [
            {
                "type": "function",
                "name": tool["name"],
                "description": tool["description"],
                "inputSchema": tool["parameters"],
            }
            for tool in self.request.tools
            if tool["type"] == "function"
        ]
        offers = digest([self.request.tools, has_shell, servers])
        return WantedThread(self.thread, self.new_items[:-1], options, tools, offers, makes_images)

    @property
    def _folder(self) -> Path:
        return self.tool_context.ports.folder or Path.cwd()

    async def events(self, client: ModelClient | None = None) -> AsyncGenerator[TurnEvent, None]:
        """Yield the turn's events, TurnStarted to TurnFinished; a cancelled consumer gets the last one, too."""
        del client
        try:
            binary = await self.engine.find()
            yield replace(self.started, through=binary.label)
            for notice in self.notices:
                yield notice
            yield StepStarted(1)
            question = _user_input(self.new_items[-1])
            while True:
                async with aclosing(self._answered(question)) as events:
                    async for event in events:
                        yield event
                self._take_over()
                if self._status != "completed" or not await self._must_ask_again():
                    break
                if self._rejected is not None:
                    yield self._rejected
                question = _user_input(self._exchange.input[-1])
            finished = self._complete()
        except (AppServerEnded, RequestRefused) as error:
            finished = self._end_early(AgentFailed(self._clean(str(error))))
        except BaseException as error:  # noqa: BLE001 -- what does not end a turn is raised again
            finished = self._end_early(error)
        if self._thread_id:
            self.engine.keep(self.thread, self._thread_id, self._offers)
        yield finished

    def _clean(self, text: str) -> str:
        return self.tool_context.redact(text)

    async def _answered(self, question: list[JsonObject]) -> AsyncGenerator[TurnEvent, None]:
        """Yield the events of one question to the CLI, whose process is started again once if it ends."""
        for may_restart in (True, False):
            server = await self.engine.server()
            try:
                async with aclosing(self._attempt(server, question)) as events:
                    async for event in events:
                        yield event
            except AppServerEnded:
                await self.engine.drop(server)
                if not may_restart:
                    raise
            else:
                return
            for number, _ in self._agent.open.values():
                yield ToolFinished(number, RESTARTED, ok=False)
            yield RetryScheduled(1, 1, 0.0, RESTARTED)
            if self._agent.has_acted:
                question = [*_user_input(user_message(GO_ON)), *question]
            self._agent.begin_again()
            yield StepStarted(1)

    async def _attempt(
        self, server: AppServer, question: list[JsonObject]
    ) -> AsyncGenerator[TurnEvent, None]:
        wanted = self._wanted_thread
        self._offers = wanted.offers
        thread_id = self._thread_id = await self.engine.open_thread(server, wanted, self._thread_id)
        has_ended = False
        with server.listen(thread_id) as messages:
            try:
                started = await server.request("turn/start", self._start(thread_id, question))
                self._turn_id = str(parse_object(started.get("turn")).get("id", ""))
                async for message in messages:
                    async with aclosing(self._take(server, message)) as events:
                        async for event in events:
                            yield event
                    if has_ended := bool(self._agent.status):
                        break
                if self._agent.status == "interrupted":
                    await self._end_commands(server)
            except AppServerEnded:
                has_ended = True
                raise
            finally:
                if not has_ended:
                    await asyncio.shield(asyncio.ensure_future(self._interrupt(server, messages)))
        self._conclude()

    def _start(self, thread_id: str, question: list[JsonObject]) -> JsonObject:
        request = self.request
        policy, sandbox = POLICIES[self.tool_context.rules.policy]
        wanted = {
            "threadId": thread_id,
            "input": question,
            "cwd": str(self._folder),
            "approvalPolicy": policy,
            "sandboxPolicy": _SANDBOXES[sandbox],
            "model": request.model,
            "effort": request.effort,
            "summary": request.summary,
            "serviceTier": request.service_tier,
            "outputSchema": (request.text_format or {}).get("schema"),
        }
        return {key: value for key, value in wanted.items() if value is not None}

    async def _take(self, server: AppServer, message: Message) -> AsyncGenerator[TurnEvent, None]:
        """Yield the events of one message of the process, and answer it where it is a request."""
        if message.request_id is None:
            if message.method == "item/completed":
                await self._show_image(parse_object(message.params.get("item")))
            for event in self._agent.read(message.method, message.params):
                yield event
            for event in self._unasked(message):
                yield event
            return
        handle = self._run_tool if message.method == "item/tool/call" else self._ask
        async with aclosing(handle(server, message)) as events:
            async for event in events:
                yield event

    async def _show_image(self, item: JsonObject) -> None:
        """Show an image that the agent has made as an output of the cell."""
        ports = self.tool_context.ports
        if ports.kernel is not None and (data := image_of(item)):
            output = {"output_type": "display_data", "data": data, "metadata": {}}
            await ports.main_thread.call(partial(ports.kernel.show, [output]))

    def _unasked(self, message: Message) -> list[TurnEvent]:
        """Return the events of an action that the CLI does not ask about, and end the turn where it had to ask."""
        method, rules = message.method, self.tool_context.rules
        item = parse_object(message.params.get("item"))
        is_all = rules.policy is ApprovalPolicy.ALL
        if method == REFUSED:
            if self.engine.refusal is not None:
                raise self.engine.refusal
            return [_declined(str(message.params.get("method")))]
        typed = message.params.get("stdin") if method == "item/commandExecution/terminalInteraction" else None
        if typed and not is_all:
            raise _unasked_action(f"typed {typed!r} into a running command")
        if is_all and method == "item/started" and str(item.get("type")) in UNASKED:
            number = self._agent.number_of(str(item.get("id", "")))
            return [ApprovalResolved(number, Decision(DecisionKind.APPROVE, by="all")), ToolStarted(number)]
        asked = read_action(item)
        if asked is None or (asked.item_id and asked.item_id in self._approved):
            return []
        number = self._agent.number_of(asked.item_id)
        decision = rules.decide(asked.tool.effect, asked.tool.key(asked.arguments))
        if is_all and method == "item/started" and decision is not None:
            self._approved.add(asked.item_id)
            return [ApprovalResolved(number, decision, asked.request(number)), ToolStarted(number)]
        if method == "item/completed" and str(item.get("status")) in {"completed", "failed"}:
            raise _unasked_action(f"ran {asked.request(number).code!r}")
        return []

    async def _ask(self, server: AppServer, message: Message) -> AsyncGenerator[TurnEvent, None]:
        """Decide a request as any tool call is decided, and answer it."""
        open_items = {item_id: item for item_id, (_, item) in self._agent.open.items()}
        asked = read_request(message, open_items, self._clean)
        if asked is None:
            await server.reply(message, None)
            yield _declined(message.method)
            return
        number, is_item = self._number_for(asked.item_id)
        request = asked.request(number)
        decision = self._by_policy(asked)
        unasked = request if decision is not None else None
        if decision is None:
            waiting = self.tool_context.approver.decide(request)
            yield ApprovalRequested(request)
            decision = await waiting
        yield ApprovalResolved(request.call_number, decision, unasked)
        if decision.approved:
            if not asked.is_question:  # whose answer allows nothing
                self._approved.add(asked.item_id)
                self.tool_context.rules.remember(asked.tool.effect, asked.tool.key(asked.arguments), decision)
            yield ToolStarted(request.call_number)
        else:
            self._agent.refusals[asked.item_id] = decision.message or DECLINED
        await server.reply(message, asked.answer(request, decision))
        if not decision.approved:
            await self._tell(server, decision)
        if not is_item:
            answer = ANSWERED if decision.approved else decision.message or DECLINED
            yield ToolFinished(request.call_number, answer, decision.approved)

    def _number_for(self, item_id: str) -> tuple[int, bool]:
        """Return the number of a request, and whether it is that of its item: a second one has a number of its own.

        A late click on the first one's answer could decide it otherwise.
        """
        number, is_item = self._agent.number_of(item_id), item_id in self._agent.open
        if number in self._asked_numbers:
            number, is_item = next(self._call_numbers), False
        self._asked_numbers.add(number)
        return number, is_item

    def _by_policy(self, asked: Asked[Any]) -> Decision | None:
        """Return the decision that needs no person; None where one is asked."""
        rules, effect = self.tool_context.rules, asked.tool.effect
        if asked.is_question:
            return None
        if isinstance(call := asked.arguments, McpCall):
            names = {call.server, f"mcp__{call.server}__{call.tool}"}
            if not self.asked.uses_servers or not self.asked.without.isdisjoint(names):
                return Decision(DecisionKind.REJECT, message=SWITCHED_OFF, by="policy")
        if effect not in OFFERED[rules.policy]:
            return Decision(DecisionKind.REJECT, message=NOT_OFFERED, by="policy")
        return rules.decide(effect, asked.tool.key(asked.arguments))

    async def _tell(self, server: AppServer, decision: Decision) -> None:
        """Tell the model what the user says to a rejection; end the turn where that is what they decided."""
        if decision.kind is DecisionKind.STOP:
            await self._request(server, "turn/interrupt", {"turnId": self._turn_id})
        elif decision.by == "user" and decision.message:
            words = _user_input(user_message(self._clean(decision.message)))
            await self._request(server, "turn/steer", {"expectedTurnId": self._turn_id, "input": words})

    async def _request(self, server: AppServer, method: str, params: JsonObject) -> None:
        with suppress(RequestRefused, AgentFailed):  # the turn may have ended meanwhile
            await server.request(
                method, {"threadId": self._thread_id, **params}, timeout_s=INTERRUPT_TIMEOUT_S
            )

    async def _run_tool(self, server: AppServer, message: Message) -> AsyncGenerator[TurnEvent, None]:
        """Run one of our own tools for the model, through the gates that it passes in the direct engine."""
        params = message.params
        name, call_id = str(params.get("tool", "")), str(params.get("callId", ""))
        arguments = json.dumps(params.get("arguments") or {}, ensure_ascii=False)
        number, is_item = self._number_for(call_id)
        if not is_item:
            yield ToolCallReady(number, name, arguments, call_id)
        call = {"type": "function_call", "name": name, "call_id": call_id, "arguments": arguments}
        execution = ToolCallExecution(call, number, self.tool_context, self._call_numbers)
        try:
            async with aclosing(execution.events()) as events:
                async for event in events:
                    yield event
        finally:
            self._agent.calls.append(execution.record)
        output = execution.output["output"] if execution.output else ""
        await server.reply(message, {"contentItems": _content(output), "success": execution.record.ok})
        if execution.stopped:
            await self._request(server, "turn/interrupt", {"turnId": self._turn_id})

    async def _interrupt(self, server: AppServer, messages: Messages) -> None:
        """End the turn in the process, which is given up when it does not obey."""
        try:
            async with asyncio.timeout(INTERRUPT_TIMEOUT_S):
                await server.request("turn/interrupt", {"threadId": self._thread_id, "turnId": self._turn_id})
                async for message in messages:
                    if message.request_id is not None:
                        await server.reply(message, None)
                    elif message.method == "turn/completed":
                        break
                await self._end_commands(server)
        except (TimeoutError, AgentFailed, AppServerEnded, RequestRefused):
            await self.engine.drop(server)

    async def _end_commands(self, server: AppServer) -> None:
        """End the commands that still run: an interrupted turn leaves them running."""
        await self._request(server, "thread/backgroundTerminals/clean", {})

    def _conclude(self) -> None:
        """Take over how the CLI ended its turn; raises the error that it failed with."""
        agent = self._agent
        status, agent.status = agent.status, ""
        if status == "interrupted":
            self._status, self._problem = "cancelled", STOPPED
        elif status != "completed":
            error = agent.error or AgentFailed("The turn failed and no reason was given.")
            raise self.engine.refusal or error

    def _take_over(self) -> None:
        """Move what the CLI has given into the answer and the exchange."""
        items = self._agent.take_items()
        self._items += items
        self._exchange.add(received(item for item in items if item["type"] == "message"))
        self._calls, self._usage = list(self._agent.calls), self._agent.usage

    def _take_partial(self) -> str:
        partial = self._agent.partial_text
        self._take_over()
        return partial

    def _answer(self, partial: str = "") -> Answer:
        answer = super()._answer(partial)
        return replace(answer, model=self._agent.model or answer.model)


def _unasked_action(what: str) -> AgentFailed:
    return AgentFailed(
        f"The Codex CLI {visible_line(what[:200])} without asking, so the turn was stopped.",
        hint="Look for a rule in your Codex configuration that allows it, or ask without --agent.",
    )


def _declined(method: str) -> Notice:
    name = visible_line(method[:80])
    return Notice(
        "hint", f"Codex asked for something that codex_nb does not understand; it was declined: {name}."
    )


def _user_input(message: Outbound) -> list[JsonObject]:
    """Return a message of ours as the input of a turn: its text and its images."""
    parts: list[JsonObject] = []
    for part in message.get("content") or ():
        if part.get("type") == "input_image":
            parts.append({"type": "image", "url": part["image_url"]})
        else:
            parts.append({"type": "text", "text": part.get("text", ""), "text_elements": []})
    return parts


def _content(output: object) -> list[JsonObject]:
    """Return the output of one of our tools as the app-server takes it."""
    if not isinstance(output, list):
        return [{"type": "inputText", "text": str(output)}]
    return [
        {"type": "inputImage", "imageUrl": part["image_url"]}
        if part.get("type") == "input_image"
        else {"type": "inputText", "text": part.get("text", "")}
        for part in output
    ]
