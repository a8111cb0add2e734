"""Turns in ``codex app-server``: one process for each profile, its login, its threads, and what a turn does there."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from codex_nb.agent.app_server import REFUSED, AppServer, AppServerEnded, RequestRefused, find_binary
from codex_nb.agent.approvals import McpCall, read_action, read_request
from codex_nb.agent.home import AgentHome, command_overrides, provider_id
from codex_nb.agent.items import AgentItems, read_limits
from codex_nb.auth.credentials import AuthMode
from codex_nb.errors import AccountChanged, AgentFailed, CodexError, RefreshFailed
from codex_nb.files import replace_file
from codex_nb.labels import ApprovalPolicy
from codex_nb.parse import loads
from codex_nb.rendering.visible import visible_line
from codex_nb.session.events import (
    ApprovalRequested,
    ApprovalResolved,
    Notice,
    RetryScheduled,
    StepStarted,
    ToolCallReady,
    ToolFinished,
    ToolStarted,
    TurnFinished,
)
from codex_nb.session.outbound import received, user_message
from codex_nb.session.turn import STOPPED, ToolCallExecution, Turn
from codex_nb.tools.approval import Decision, DecisionKind, Effect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from pathlib import Path

    from codex_nb.agent.app_server import CodexBinary, Message, Messages
    from codex_nb.agent.approvals import Asked
    from codex_nb.auth.credentials import Credentials
    from codex_nb.auth.manager import CredentialManager
    from codex_nb.config.settings import Settings
    from codex_nb.responses.events import RateLimits
    from codex_nb.responses.request import Outbound
    from codex_nb.session.events import Answer, Status, TurnEvent
    from codex_nb.session.thread import Thread
    from codex_nb.session.turn import ModelClient

JsonObject = dict[str, Any]

REFRESH_TIMEOUT_S = 9.0  # the CLI waits 10 s for a new token
INTERRUPT_TIMEOUT_S = 3.0
RESTARTED = "The Codex CLI ended unexpectedly and was started again."
GO_ON = (
    "The program that you run in ended while it was carrying out the user's last request and was started again. Go on "
    "with that request: look at what was already done before you repeat anything."
)
NOT_OFFERED = "The approval policy 'read-only' allows no commands, changes or calls of other programs."
REJECTED = "Declined."
DONE = "Answered."

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


@dataclass(frozen=True)
class ThreadRecord:
    """The CLI's thread that continues one of ours.

    ``count`` items of ours, whose hash is ``digest``, are in it; ``offers`` is the hash of what it offers the model.
    """

    name: str
    thread: str
    count: int
    digest: str
    offers: str

    def continues(self, items: Sequence[Outbound], offers: str) -> bool:
        """Whether the thread holds the beginning of a history, and offers the same."""
        is_beginning = self.count <= len(items) and self.digest == _digest(items[: self.count])
        return self.offers == offers and is_beginning


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


class AgentEngine:
    """The agent of one profile. Its methods run on the engine's thread."""

    def __init__(
        self, settings: Settings, environ: Mapping[str, str], credentials: CredentialManager
    ) -> None:
        self.settings = settings
        self.binary: CodexBinary | None = None
        self._environ = environ
        self._credentials = credentials
        self._folder = settings.codex_home / "codex_nb" / "agent"
        self._home: AgentHome | None = None
        self._server: AppServer | None = None
        self._given: Credentials | None = None  # the credentials that the process has
        self._loaded = set[str]()  # the threads that the process has open
        self._records: dict[str, ThreadRecord] = {}
        self._starting = asyncio.Lock()
        self.refusal: CodexError | None = None  # why no new token was given the last time

    def events(self, turn: Turn) -> AsyncGenerator[TurnEvent, None]:
        """Yield the events of a prepared turn, TurnStarted to TurnFinished."""
        return AgentTurn(
            **{each.name: getattr(turn, each.name) for each in fields(Turn)}, engine=self
        ).events()

    async def find(self) -> CodexBinary:
        """Return the Codex CLI that is used; raises ConfigError."""
        if self.binary is None:
            self.binary = await asyncio.to_thread(find_binary, self._environ)
        return self.binary

    async def server(self) -> AppServer:
        """Return the process, started and signed in with the credentials as they are now; raises CodexError."""
        async with self._starting:
            credentials, self.refusal = await self._credentials.current(), None
            if self._server is not None and not (self._server.is_running and self._may_keep(credentials)):
                await self._stop()
            try:
                if self._server is None:
                    return await self._start(credentials)
                if self._given is None or not self._given.same_bearer(credentials):
                    await self._log_in(self._server, credentials)
            except AppServerEnded as error:
                raise AgentFailed(str(error)) from error
            return self._server

    def _may_keep(self, credentials: Credentials) -> bool:
        """Whether the process can go on with these credentials: of the same account, and handed in by a message."""
        given = self._given
        if given is None or given.mode is not credentials.mode or not given.same_account(credentials):
            return False
        return _has_tokens(credentials) or given.same_bearer(credentials)

    async def _start(self, credentials: Credentials) -> AppServer:
        binary = await self.find()
        home = await asyncio.to_thread(AgentHome.create, self._folder, self.settings, credentials)
        try:
            environ = home.environment(self._environ, credentials, binary)
            server = await AppServer.start(
                binary, environ, home.path, self._answer, command_overrides(self.settings)
            )
            try:
                await self._log_in(server, credentials)
            except BaseException:
                await server.close()
                raise
        except BaseException:
            home.remove()
            raise
        self._home, self._server = home, server
        return server

    @property
    def provider(self) -> str:
        """The provider that the running process asks, by its id."""
        assert self._given is not None  # noqa: S101 -- a process that runs is signed in
        return provider_id(self.settings, self._given)

    async def _log_in(self, server: AppServer, credentials: Credentials) -> None:
        if _has_tokens(credentials):
            try:
                await server.request(
                    "account/login/start", {"type": "chatgptAuthTokens", **_tokens(credentials)}
                )
            except RequestRefused as error:
                raise AgentFailed(
                    f"The Codex CLI did not accept the login of {credentials.label}.",
                    hint="Ask without --agent, or sign in again with %codex login.",
                ) from error
        self._given = credentials

    async def _answer(self, method: str, params: JsonObject) -> JsonObject | None:
        """Answer what the process asks for itself: a new token, of the same account, that was not refused already."""
        given = self._given
        if method != "account/chatgptAuthTokens/refresh" or given is None or not _has_tokens(given):
            return None
        if self.refusal is not None:  # the CLI asks again after every attempt
            return None
        previous = params.get("previousAccountId")
        try:
            async with asyncio.timeout(REFRESH_TIMEOUT_S):
                found = (await self._credentials.retry_after_401(given)).credentials
        except CodexError as error:
            self.refusal = error
            return None
        except TimeoutError:
            self.refusal = RefreshFailed(
                f"No new token came within {REFRESH_TIMEOUT_S:.0f} s, which is as long as the Codex CLI waits.",
                hint="Run the cell again in a moment.",
                permanent=False,
                reason="unreachable",
            )
            return None
        if found is None or found.same_bearer(given) or not _has_tokens(found):
            self.refusal = RefreshFailed("Your login was refused (401).", permanent=True, reason="rejected")
            return None
        if not found.same_account(given) or previous not in {None, found.account.account_id}:
            self.refusal = AccountChanged(
                "A different account is signed in now than the one that began this answer."
            )
            return None
        self._given = found
        return _tokens(found)

    async def look_up(self, method: str, **params: Any) -> JsonObject:
        """Return what the CLI knows of the account, its models or its limits; raises CodexError."""
        server = await self.server()
        try:
            return await server.request(method, params)
        except (AppServerEnded, RequestRefused) as error:
            raise AgentFailed(str(error)) from error

    async def usage(self) -> RateLimits | None:
        """Return the limits as the CLI reads them; None for a login without a plan."""
        if not (await self._credentials.current()).is_chatgpt_backend:
            return None
        found = await self.look_up("account/rateLimits/read")
        by_limit = found.get("rateLimitsByLimitId")
        tables = (
            list(by_limit.values()) if isinstance(by_limit, dict) and by_limit else [found.get("rateLimits")]
        )
        limits = [read_limits(table) for table in tables]
        return replace(limits[0], windows=tuple(window for each in limits for window in each.windows))

    async def models(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """Return the models that the CLI offers: name, display name and reasoning efforts."""
        found, cursor = list[JsonObject](), None
        while True:
            page = await self.look_up("model/list", **({"cursor": cursor} if cursor else {}))
            found += [each for each in page.get("data") or () if isinstance(each, dict)]
            if not (cursor := page.get("nextCursor")):
                break
        return [(str(each.get("model")), str(each.get("displayName")), _efforts(each)) for each in found]

    async def described(self) -> str:
        """Say in a line through which program questions are answered, and as whom it is signed in."""
        account = (await self.look_up("account/read")).get("account") or {}
        who = account.get("email") or {"apiKey": "an API key"}.get(str(account.get("type")))
        binary = await self.find()
        signed_in = f", signed in as {who}" if who else ""
        return visible_line(f"Questions are answered through {binary.label} ({binary.path}){signed_in}.")

    async def open_thread(self, server: AppServer, turn: AgentTurn, known: str = "") -> str:
        """Return the CLI's thread that continues a turn's thread, with all in it that precedes the question.

        ``known`` is the one that the turn has begun in already.
        """
        if known and (known in self._loaded or await self._resume(server, known, turn)):
            return known
        thread = turn.thread
        record = self._record(thread)
        new = list(turn.new_items[:-1])
        if record is not None and record.continues(thread.items, turn.offers):
            missing = [*thread.items[record.count :], *new]
            if record.thread in self._loaded or await self._resume(server, record.thread, turn):
                await self._inject(server, record.thread, missing)
                return record.thread
        started = await server.request("thread/start", turn.thread_start)
        thread_id = str((started.get("thread") or {}).get("id", ""))
        self._loaded.add(thread_id)
        await self._inject(server, thread_id, [*thread.items, *new])
        if record is not None:
            self._remove_rollout(record.thread)
        return thread_id

    async def _resume(self, server: AppServer, thread_id: str, turn: AgentTurn) -> bool:
        try:
            await server.request(
                "thread/resume", {"threadId": thread_id, "excludeTurns": True, **turn.thread_options}
            )
        except RequestRefused:
            return False
        self._loaded.add(thread_id)
        return True

    async def _inject(self, server: AppServer, thread_id: str, items: Sequence[Outbound]) -> None:
        if items:
            await server.request("thread/inject_items", {"threadId": thread_id, "items": list(items)})

    def _record(self, thread: Thread) -> ThreadRecord | None:
        if thread.thread_id not in self._records and thread.is_saved:
            with suppress(OSError, ValueError, TypeError):
                text = self._record_file(thread).read_bytes()
                self._records[thread.thread_id] = ThreadRecord(**loads(text))
        return self._records.get(thread.thread_id)

    def _record_file(self, thread: Thread) -> Path:
        return self._folder / "threads" / f"{thread.thread_id}.json"

    def keep(self, thread: Thread, thread_id: str, offers: str) -> None:
        """Note that a thread of the CLI holds one of ours as it is now."""
        record = ThreadRecord(thread.name, thread_id, len(thread.items), _digest(thread.items), offers)
        self._records[thread.thread_id] = record
        if thread.is_saved:
            file = self._record_file(thread)
            with suppress(OSError):
                file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                replace_file(file, json.dumps(asdict(record)).encode(), flush=False)

    def forget(self, name: str | None) -> None:
        """Delete what the CLI keeps of a thread, None for all. Raises OSError."""
        for file in (self._folder / "threads").glob("*.json"):
            with suppress(ValueError, TypeError):
                record = ThreadRecord(**loads(file.read_bytes()))
                if name in {None, record.name}:
                    self._remove_rollout(record.thread)
                    file.unlink(missing_ok=True)
        self._records = {key: each for key, each in self._records.items() if name not in {None, each.name}}

    def _remove_rollout(self, thread_id: str) -> None:
        for file in (self._folder / "sessions").rglob(f"rollout-*-{thread_id}.jsonl*"):
            file.unlink(missing_ok=True)

    async def drop(self, server: AppServer) -> None:
        """Give up a process that ended or no longer does what it is told."""
        async with self._starting:
            if self._server is server:
                await self._stop(at_once=True)

    async def close(self) -> None:
        """End the process and remove its home."""
        async with self._starting:
            await self._stop()

    async def _stop(self, *, at_once: bool = False) -> None:
        server, home, self._server, self._home, self._given = self._server, self._home, None, None, None
        self._loaded.clear()
        if server is not None:
            await (server.kill() if at_once else server.close())
        if home is not None:
            await asyncio.to_thread(home.remove)


def _efforts(model: JsonObject) -> tuple[str, ...]:
    efforts = model.get("supportedReasoningEfforts")
    found = [each.get("reasoningEffort") for each in efforts if isinstance(each, dict)] if efforts else []
    return tuple(map(str, filter(None, found)))


def _has_tokens(credentials: Credentials) -> bool:
    """Whether the credentials are ChatGPT tokens, which are handed in by a message."""
    return credentials.mode in {AuthMode.CHATGPT, AuthMode.EXTERNAL}


def _tokens(credentials: Credentials) -> JsonObject:
    account = credentials.account
    return {
        "accessToken": credentials.bearer.get_secret_value() if credentials.bearer else "",
        "chatgptAccountId": account.account_id or "",
        "chatgptPlanType": account.plan,
    }


@dataclass(eq=False)
class AgentTurn(Turn):
    """One turn that runs in the Codex CLI: the same start, tools, approvals and end as a turn of the direct engine."""

    engine: AgentEngine = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._agent = AgentItems(self._call_numbers, self.on_limits)
        self._thread_id = ""
        self._turn_id = ""
        self._approved = set[str]()  # the items that our gate has let through

    @property
    def thread_options(self) -> JsonObject:
        """What a thread is opened with each time."""
        policy, sandbox = POLICIES[self.tool_context.rules.policy]
        return {
            "model": self.request.model,
            "modelProvider": self.engine.provider,
            "cwd": str(self._folder),
            "approvalPolicy": policy,
            "sandbox": sandbox,
            "config": {"features.shell_tool": self._has_shell, "web_search": self._search_mode},
        }

    @property
    def offers(self) -> str:
        """What is offered to the model in the thread, as a hash: it stays as it is for the thread's life."""
        return _digest([self.request.tools, self._has_shell])

    @property
    def _search_mode(self) -> str:
        tool = next((tool for tool in self.request.tools if tool["type"] == "web_search"), None)
        if tool is None:
            return "disabled"
        return (
            "indexed"
            if tool.get("indexed_web_access")
            else "live"
            if tool["external_web_access"]
            else "cached"
        )

    @property
    def _has_shell(self) -> bool:
        return self.tool_context.rules.offers(Effect.EXECUTE)

    @property
    def thread_start(self) -> JsonObject:
        """What a new thread is opened with; the tools stay with it."""
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
        return {**self.thread_options, "ephemeral": not self.thread.is_saved, "dynamicTools": tools}

    @property
    def _folder(self) -> Path:
        from pathlib import Path

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
            self._exchange.redact(self.tool_context.clean)
            self._exchange.commit()
            finished = TurnFinished(self._answer(), self._problem, shown=self._shown)
        except (asyncio.CancelledError, KeyboardInterrupt):
            finished = TurnFinished(self._abort("cancelled"), STOPPED)
        except (CodexError, AppServerEnded, RequestRefused) as error:
            failure = error if isinstance(error, CodexError) else AgentFailed(self._clean(str(error)))
            finished = TurnFinished(self._abort("failed"), failure.line, failure.bare())
        except BaseException:
            self._abort("cancelled")
            raise
        if self._thread_id:
            self.engine.keep(self.thread, self._thread_id, self.offers)
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
            for number in self._agent.open_calls:
                yield ToolFinished(number, RESTARTED, ok=False)
            yield RetryScheduled(1, 1, 0.0, RESTARTED)
            if self._agent.has_acted:
                question = [*_user_input(user_message(GO_ON)), *question]
            self._agent.begin_again()
            yield StepStarted(1)

    async def _attempt(
        self, server: AppServer, question: list[JsonObject]
    ) -> AsyncGenerator[TurnEvent, None]:
        thread_id = self._thread_id = await self.engine.open_thread(server, self, self._thread_id)
        has_ended = False
        with server.listen(thread_id) as messages:
            try:
                started = await server.request("turn/start", self._start(thread_id, question))
                self._turn_id = str((started.get("turn") or {}).get("id", ""))
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
        if message.method == "item/tool/call":
            handled = self._run_tool(server, message)
        elif message.request_id is not None:
            handled = self._ask(server, message)
        else:
            for event in self._agent.read(message.method, message.params):
                yield event
            for event in self._unasked(message):
                yield event
            return
        async with aclosing(handled) as events:
            async for event in events:
                yield event

    def _unasked(self, message: Message) -> list[TurnEvent]:
        """Return the events of an action that the CLI does not ask about, and end the turn where it had to ask."""
        item = message.params.get("item")
        if message.method == REFUSED:
            if self.engine.refusal is not None:
                raise self.engine.refusal
            return [_declined(str(message.params.get("method")))]
        has_typed = message.method == "item/commandExecution/terminalInteraction" and message.params.get(
            "stdin"
        )
        if has_typed and self.tool_context.rules.policy is not ApprovalPolicy.ALL:
            raise _unasked_action(f"typed {message.params['stdin']!r} into a running command")
        asked = read_action(item) if isinstance(item, dict) else None
        if asked is None or asked.item_id in self._approved:
            return []
        number, rules = self._agent.number_of(asked.item_id), self.tool_context.rules
        decision = rules.decide(asked.tool.effect, asked.tool.key(asked.arguments))
        if message.method == "item/started" and decision is not None and rules.policy is ApprovalPolicy.ALL:
            self._approved.add(asked.item_id)
            return [ApprovalResolved(number, decision, asked.request(number)), ToolStarted(number)]
        if (
            message.method == "item/completed"
            and isinstance(item, dict)
            and item.get("status") in {"completed", "failed"}
        ):
            raise _unasked_action(f"ran {asked.request(number).code!r}")
        return []

    async def _ask(self, server: AppServer, message: Message) -> AsyncGenerator[TurnEvent, None]:
        """Decide a request as any tool call is decided, and answer it."""
        asked = read_request(message, self._agent.changes_of(str(message.params.get("itemId", ""))))
        if asked is None:
            await server.reply(message, None)
            yield _declined(message.method)
            return
        item_id = asked.item_id
        if isinstance(asked.arguments, McpCall):
            item_id = self._agent.mcp_item(asked.arguments.server, asked.arguments.tool)
        is_item = self._agent.is_open(item_id)
        request = asked.request(self._agent.number_of(item_id))
        decision = self._by_policy(asked)
        unasked = request if decision is not None else None
        if decision is None:
            waiting = self.tool_context.approver.decide(request)
            yield ApprovalRequested(request)
            decision = await waiting
        yield ApprovalResolved(request.call_number, decision, unasked)
        if decision.approved:
            self._approved.add(item_id)
            if not asked.is_question:
                self.tool_context.rules.remember(asked.tool.effect, asked.tool.key(asked.arguments), decision)
            yield ToolStarted(request.call_number)
        else:
            self._agent.refusals[item_id] = decision.message or REJECTED
        await server.reply(message, asked.answer(request, decision))
        if not decision.approved:
            await self._tell(server, decision)
        if not is_item:
            answer = DONE if decision.approved else decision.message or REJECTED
            yield ToolFinished(request.call_number, answer, decision.approved)

    def _by_policy(self, asked: Asked[Any]) -> Decision | None:
        """Return the decision that needs no person; None where one is asked."""
        rules = self.tool_context.rules
        if not rules.offers(asked.tool.effect):
            return Decision(DecisionKind.REJECT, message=NOT_OFFERED, by="policy")
        return None if asked.is_question else rules.decide(asked.tool.effect, asked.tool.key(asked.arguments))

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
        number = self._agent.number_of(call_id)
        if not self._agent.is_open(call_id):
            yield ToolCallReady(number, name, arguments, call_id)
        call = {"type": "function_call", "name": name, "call_id": call_id, "arguments": arguments}
        execution = ToolCallExecution(call, number, self.tool_context)
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

    def _abort(self, status: Status) -> Answer:
        partial = self._agent.partial_text
        self._take_over()
        self._exchange.redact(self.tool_context.clean)
        self._exchange.abort(partial)
        self._status = status
        return self._answer(partial)

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
