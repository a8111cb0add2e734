"""The assistant: one account, one backend, its threads; every question of a notebook or a script goes through it.

Whoever constructs it injects all it works with::

    assistant = Assistant(client=…, credentials=…, models=…, threads=ThreadStore(home / "codex_nb" / "threads"),
                          answers=AnswerCache(home / "codex_nb" / "answers"), settings=settings, environ=os.environ)
    async for event in assistant.turn(TurnRequest("Why?"), ports=ports, approver=approvals): …
    answer = await assistant.answer(TurnRequest("Why?"), ports=ports, approver=DenyAll())

Every method runs on the engine's thread, but for :meth:`Assistant.redactor`, which any thread may call.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary, WeakSet

from codex_nb.config.settings import ApprovalPolicy
from codex_nb.errors import AccountChanged, CodexError, ContextWindowExceeded, LoginFailed
from codex_nb.labels import ULTRA, date_time, short_account
from codex_nb.responses.models import COST_UNKNOWN, price_table
from codex_nb.responses.request import ResponsesRequest, choose_backend
from codex_nb.session.answer_cache import (
    NOT_COMPARED,
    RUNS_AGAIN,
    SAME,
    Replay,
    cache_key,
    cached_events,
    calls_to_run,
    code_digest,
    is_in_notebook,
    replay_request,
)
from codex_nb.session.events import (
    REPLAY_CALL,
    Answer,
    ApprovalRequested,
    ApprovalResolved,
    Notice,
    StepStarted,
    TurnFinished,
    TurnStarted,
)
from codex_nb.session.known_values import SecretText, secrets_of_namespace
from codex_nb.session.outbound import (
    Redactor,
    TurnRedactor,
    UntrustedBlock,
    environment_secrets,
    new_uuid,
    secret_values_in,
    stored_secrets,
)
from codex_nb.session.prompt import (
    BASE,
    QUESTION,
    ProjectInstructions,
    build_input,
    describe_redactions,
    read_project,
    redacted_places,
    request_redactor,
)
from codex_nb.session.structured_output import SchemaMismatch, value_format
from codex_nb.session.thread import Compactor, Thread, account_digest, switch_account
from codex_nb.session.thread_file import past_turns
from codex_nb.session.turn import STOPPED, SignIn, ToolContext, Turn, needs_sign_in, no_login
from codex_nb.tools.approval import OFFERED, ApprovalMemory, ApprovalRules, Decision, DecisionKind
from codex_nb.tools.skills import skill_tool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
    from pathlib import Path

    from codex_nb.auth.credentials import Credentials
    from codex_nb.auth.manager import CredentialManager
    from codex_nb.config.settings import Settings
    from codex_nb.errors import AuthError
    from codex_nb.parse import JsonObject
    from codex_nb.responses.events import RateLimits
    from codex_nb.responses.models import Model, ReasoningChoice
    from codex_nb.responses.request import Backend, Throttle
    from codex_nb.session.answer_cache import AnswerCache, CachedAnswer, CacheKey
    from codex_nb.session.events import TurnEvent
    from codex_nb.session.mcp import McpServers
    from codex_nb.session.prompt import TurnInput, TurnRequest
    from codex_nb.session.structured_output import ValueFormat
    from codex_nb.session.thread import ThreadStore
    from codex_nb.session.turn import ModelClient
    from codex_nb.tools.approval import Approver, CallKey
    from codex_nb.tools.base import Ports, Tool, ToolSet

    Hint = Callable[[ProjectInstructions], str]  # returns the text of a notice, or an empty one for none

NEAR_LIMIT_PERCENT = 90.0
TOO_LARGE = "not saved for Run All: too much data to compare"


class ModelChoice(Protocol):
    """Chooses the model of a question."""

    async def choose(self, wanted: str | None = None) -> Model:
        """Return the requested model, or the account's default; raises ModelUnavailable."""
        ...


class Agent(Protocol):
    """Another program in which a prepared turn can run: Codex's own agent."""

    def events(self, turn: Turn, request: TurnRequest) -> AsyncGenerator[TurnEvent, None]:
        """Yield the events of the request's turn, TurnStarted to TurnFinished."""
        ...

    def forget(self, thread: str | None) -> None:
        """Delete what it keeps of a thread, None for all. Raises OSError."""
        ...


@dataclass(frozen=True)
class ResolvedTurn:
    """One turn's choices, each made by the first that states one: the request, the settings, the model.

    ``instructions`` are ours, followed by those of the project. ``search_mode`` is how the model may search the web,
    None for not at all.
    """

    turn_id: str
    request: TurnRequest
    thread: Thread
    credentials: Credentials
    model: Model
    settings: Settings
    project: ProjectInstructions
    instructions: str
    value_format: ValueFormat | None
    search_mode: str | None = None
    news: tuple[str, ...] = ()

    @property
    def effort(self) -> str | None:
        """The requested effort, None for the model's default."""
        return self.request.effort or self.settings.effort

    @property
    def choice(self) -> ReasoningChoice:
        """The reasoning options to send."""
        settings = self.settings
        return self.model.reasoning(
            effort=self.effort, summary=settings.summary, verbosity=settings.verbosity
        )

    @property
    def service_tier(self) -> str | None:
        """The service tier to send."""
        return self.model.sent_tier(self.settings.service_tier)

    @property
    def has_listed_prices(self) -> bool:
        """Whether the questions are paid for one by one, at the prices that OpenAI publishes."""
        is_standard = self.service_tier in {None, "default", "auto"}
        return self.credentials.billing != "chatgpt" and self.settings.provider.is_built_in and is_standard

    @property
    def cannot_search(self) -> bool:
        """Whether there is no such tool: models of the lite form search by a tool of the CLI's."""
        return self.model.is_lite and not self.request.agent

    @property
    def text_format(self) -> dict[str, Any] | None:
        """The format of the answer's text, where a value is wanted."""
        return self.value_format.text_format if self.value_format is not None else None

    @property
    def search_tool(self) -> tuple[JsonObject, ...]:
        """The backend's own tool for a web search, as the CLI sends it; an agent has one of its own, used alike."""
        mode = self.search_mode
        if mode is None or self.cannot_search:
            return ()
        return (
            {
                "type": "web_search",
                "external_web_access": mode != "cached",
                **({"indexed_web_access": True} if mode == "indexed" else {}),
                **self.settings.search_options,
                **({"search_content_types": ["text", "image"]} if self.model.searches_images else {}),
            },
        )

    @property
    def started(self) -> TurnStarted:
        """The first event of the turn."""
        return TurnStarted(
            turn_id=self.turn_id,
            thread=self.thread.name,
            model=self.model.slug,
            effort=self.choice.effort,
            account=self.credentials.label,
            plan=self.credentials.account.plan,
            billing=self.credentials.billing,
            footer=self.request.footer,
            returns_value=self.value_format is not None,
            not_saved=TOO_LARGE if self.request.context and self.request.context.over_budget else "",
        )

    @property
    def template(self) -> ResponsesRequest:
        """The request of each step, without input and tools."""
        choice = self.choice
        return ResponsesRequest(
            model=self.model.slug,
            input=(),
            parallel_tool_calls=self.model.supports_parallel_tool_calls,
            effort=choice.effort,
            summary=choice.summary,
            verbosity=choice.verbosity,
            service_tier=self.service_tier,
            prompt_cache_key=self.thread.thread_id,
            thread_id=self.thread.thread_id,
            turn_id=self.turn_id,
            is_lite=self.model.is_lite,
            is_reasoning=self.model.is_reasoning,
            throttle=self.request.throttle,
        )

    def notices(self, turn_input: TurnInput) -> tuple[Notice, ...]:
        """The notices at the start: what is not sent, what was redacted, what runs without approval.

        What holds for the notebook and not for this question is told once in a thread.
        """
        request, model, notices = self.request, self.model.slug, []
        if (context := request.context) is not None:
            asked, others = context.not_sent[: context.asked], context.not_sent[context.asked :]
            if not_sent := (*asked, *self._new(others)):
                notices.append(Notice("context", f"Not sent: {'; '.join(not_sent)}."))
            notices += [Notice("context", f"{remark}.") for remark in context.remarks]
        notices += [Notice("context", problem) for problem in turn_input.problems]
        of_question = redacted_places(each for each in turn_input.redactions if each.place == QUESTION)
        of_notebook = redacted_places(each for each in turn_input.redactions if each.place != QUESTION)
        if redacted := describe_redactions([*of_question, *self._new(of_notebook)]):
            notices.append(Notice("redacted", redacted))
        if count := turn_input.images_unsent:
            images = f"{count} image{'s' if count > 1 else ''}"
            notices.append(Notice("hint", f"{model} takes text only: {images} not sent."))
        sent, not_offered = self.choice.effort, []
        if self.effort not in {None, ULTRA, sent}:
            not_offered.append(f"{model} does not offer the effort {self.effort!r}: {sent} is used.")
        if (tier := self.settings.service_tier) and self.service_tier is None:
            not_offered.append(f"{model} does not offer the service tier {tier!r}: none is requested.")
        notices += [Notice("hint", text) for text in self._new(not_offered)]
        if request.searches and self.cannot_search:
            notices.append(
                Notice("hint", f"{model} cannot search the web here; choose another model: %codex models.")
            )
        if request.approval is ApprovalPolicy.ALL and len(request.tools):
            notices.append(Notice("hint", "Approval policy 'all': tool calls run without asking you."))
        notices += [Notice("hint", text) for text in self.news]
        return tuple(notices)

    def _new(self, facts: Iterable[str]) -> list[str]:
        """Return the facts that have not been told in this thread yet."""
        new = [each for each in facts if each not in self.thread.told]
        self.thread.told.update(new)
        return new


@dataclass(frozen=True)
class Preview:
    """The first request that a turn would send, and what is new in it.

    ``compacts`` tells that the thread would be compacted before.
    """

    request: ResponsesRequest
    new: TurnInput
    compacts: bool


@dataclass
class _BatchReading:
    """What is read once for all questions of a batch; None until it is read."""

    secrets: set[str] | None = None
    project: ProjectInstructions | None = None


@dataclass(eq=False)
class _TurnRun:
    """One call of :meth:`Assistant.turn`, over all the attempts that it takes.

    A turn is attempted again after a compaction, when its thread did not fit the model, and after a sign-in, when the
    credentials were refused before anything was answered; each of them once. ``key`` is set when the answer that the
    model gives is to be cached.
    """

    request: TurnRequest
    thread: Thread
    ports: Ports
    approver: Approver
    sign_in: SignIn
    resolved: ResolvedTurn | None = None
    key: CacheKey | None = None
    must_compact: bool = False
    _may_compact: bool = True
    _signed_in: bool = False
    _answered: bool = False
    _shown: set[TurnEvent] = field(default_factory=set)

    @property
    def project(self) -> ProjectInstructions:
        """The instructions that the turn sends."""
        return self.resolved.project if self.resolved is not None else ProjectInstructions()

    def is_new(self, event: TurnEvent) -> bool:
        """Whether an event is to be shown: an earlier attempt may have shown the same start and notices."""
        if isinstance(event, TurnStarted | Notice):
            if event in self._shown:
                return False
            self._shown.add(event)
        elif not isinstance(event, StepStarted):
            self._answered = True
        return True

    def failed(self, error: CodexError) -> TurnFinished:
        """Return the end of an attempt that failed before its turn began; a compaction may be what failed."""
        self._may_compact = False
        return TurnFinished(Answer("", status="failed", thread=self.thread.name), error.line, error.bare())

    async def recover(self, finished: TurnFinished) -> TurnFinished | None:
        """Return the end of the turn, or None when it is to be attempted again."""
        failure = finished.failure
        if isinstance(failure, ContextWindowExceeded):
            self.must_compact = self._may_compact and bool(self.thread.items) and not finished.answer.items
            self._may_compact = False
            return None if self.must_compact else finished
        if not needs_sign_in(failure) or self._answered or self._signed_in:
            return finished
        try:
            self._signed_in = await self.sign_in(failure)
        except LoginFailed as error:
            return replace(finished, error=error.line, failure=error.bare())
        self.resolved, self.must_compact, self._may_compact = None, False, True
        return None if self._signed_in else finished


class Assistant:
    """Answers questions; one for each profile."""

    def __init__(
        self,
        *,
        client: ModelClient,
        credentials: CredentialManager,
        models: ModelChoice,
        threads: ThreadStore,
        answers: AnswerCache,
        settings: Settings,
        environ: Mapping[str, str],
        agent: Agent | None = None,
        instructions: str = BASE,
    ) -> None:
        self._limits: dict[str, RateLimits] = {}  # by the credentials that received them
        self.memory = ApprovalMemory()
        self.threads = threads
        self._client = client
        self._credentials = credentials
        self._models = models
        self._settings = settings
        self._environ = environ
        self._answers = answers
        self._agent = agent
        self._compactor = Compactor(client.stream)
        self._instructions = instructions
        self._warned: set[str] = set()
        self._runs: WeakSet[_TurnRun] = WeakSet()  # of the turns that have not ended
        self._secrets: tuple[dict[str, str], frozenset[str]] = ({}, frozenset())
        self._redactor = self._known = Redactor({})
        self._servers: McpServers | None = None
        self._batches: WeakKeyDictionary[Throttle, _BatchReading] = WeakKeyDictionary()

    @property
    def is_busy(self) -> bool:
        """Whether a turn has not ended yet."""
        return bool(self._runs)

    async def turn(
        self,
        request: TurnRequest,
        *,
        ports: Ports,
        approver: Approver,
        sign_in: SignIn = no_login,
        hints: Iterable[Hint] = (),
    ) -> AsyncGenerator[TurnEvent, None]:
        """Yield the turn's events; the last one is always TurnFinished, whatever failed before it.

        ``sign_in`` is called once when the credentials are refused, and the turn goes on. ``hints`` give notices to
        show at the turn's start.
        """
        thread = self._thread(request)
        self._runs.add(run := _TurnRun(request, thread, ports, approver, sign_in))
        finished: TurnFinished | None = None
        while finished is None:
            ended = None
            try:
                async with thread.turn_lock, aclosing(await self._attempt(run)) as events:
                    async for event in events:
                        if isinstance(event, TurnFinished):
                            ended = event
                        elif run.is_new(event):
                            yield event
                            if isinstance(event, TurnStarted):
                                for text in filter(None, (hint(run.project) for hint in hints)):
                                    yield Notice("hint", text)
            except CodexError as error:
                ended = run.failed(error)
            except (asyncio.CancelledError, KeyboardInterrupt):
                ended = TurnFinished(Answer("", status="cancelled", thread=thread.name), STOPPED)
            finished = await run.recover(ended) if ended else None
        if run.key is not None:
            self._answers.update(run.key, finished.answer, self._known.within)
        if problem := thread.take_problem():
            yield Notice("hint", problem)
        yield replace(finished, cost=self._cost(run, finished.answer))

    async def _attempt(self, run: _TurnRun) -> AsyncGenerator[TurnEvent, None]:
        """Resolve and prepare a turn; return its events, or those of a cached answer."""
        resolved, notices = run.resolved, list[Notice]()
        if is_first := resolved is None:
            self._settings.ensure_allowed(run.request.approval)
            resolved = run.resolved = await self.resolve(run.request, run.thread)
            notices += switch_account(run.thread, self._account(resolved.credentials))
            run.key = self._cache_key(resolved, run.ports)
        redact = self._turn_redactor(resolved, await self._namespace_secrets(run))
        if is_first and (cached := await self._cached(resolved, run)) is not None:
            return self._replay(cached, resolved, run, redact)
        run.thread.redact(redact)
        agent = self._agent if run.request.agent else None
        is_full = agent is None and run.thread.needs_compaction(resolved.model.context_window)
        if run.must_compact or is_full:
            notices.append(await self._compactor.compact(run.thread, resolved.template))
        turn = self._prepare(resolved, run, notices, redact)
        return turn.events(self._client) if agent is None else agent.events(turn, run.request)

    async def _replay(
        self, cached: CachedAnswer, resolved: ResolvedTurn, run: _TurnRun, redact: TurnRedactor
    ) -> AsyncGenerator[TurnEvent, None]:
        """Yield the events of a turn that gives a cached answer again, its calls included."""
        request, thread = run.request, run.thread
        calls = calls_to_run(cached.answer, self._offered(resolved.request, run.ports)) or []
        rules = ApprovalRules(request.approval, self.memory)
        asked = any(rules.decide(tool.effect, tool.key(arguments)) is None for tool, arguments in calls)
        decision = Decision(DecisionKind.APPROVE, by="policy")
        if asked and not self._answers.approves(code_digest(calls)):
            yield resolved.started
            waiting = run.approver.decide(approval := replay_request(calls))
            yield ApprovalRequested(approval)
            decision = await waiting
            yield ApprovalResolved(REPLAY_CALL, decision)
        if decision.kind is DecisionKind.STOP:
            yield TurnFinished(Answer("", status="cancelled", thread=thread.name), STOPPED)
            return
        if not calls or not decision.approved:
            run.key = None
            shown = cached_events(
                *(cached, resolved.started, thread),
                prompt=redact(request.prompt),
                account=self._account(resolved.credentials),
                ports=run.ports,
                refusal=None if decision.approved else replace(decision, message="", by="nobody"),
            )
        else:
            shown = self._run_again(cached, calls, decision, resolved, run, redact)
        async with aclosing(shown) as events:
            async for event in events:
                yield event

    async def _run_again(
        self,
        cached: CachedAnswer,
        calls: list[tuple[Tool[Any], Any]],
        decision: Decision,
        resolved: ResolvedTurn,
        run: _TurnRun,
        redact: TurnRedactor,
    ) -> AsyncGenerator[TurnEvent, None]:
        """Yield the events of a turn whose calls are those of a cached answer, as long as they show the same."""
        keys = [(tool, tool.key(arguments)) for tool, arguments in calls]
        for tool, key in keys:
            self.memory.remember(tool.effect, key, decision)
        if decision.kind is DecisionKind.APPROVE_CODE:
            self._answers.approve(code_digest(calls))
        replay = Replay(
            cached,
            is_known=cached.key.digest in run.thread.sent_digests,
            redact=redact,
        )
        notice = Notice("cached", RUNS_AGAIN.format(moment=cached.moment))
        turn = self._prepare(resolved, run, [notice], redact, replay, frozenset(key for _, key in keys))
        async with aclosing(turn.events(self._client)) as events:
            async for event in events:
                if isinstance(event, TurnFinished) and event.answer.status == "completed" and replay.is_same:
                    run.key = None
                    more = NOT_COMPARED.format(count=replay.not_compared) if replay.not_compared else ""
                    yield Notice("cached", f"{SAME} {more}".strip())
                yield event

    async def _cached(self, resolved: ResolvedTurn, run: _TurnRun) -> CachedAnswer | None:
        """Return the cached answer that serves instead of a new one, with its value."""
        cached = self._answers.find(run.key) if run.key is not None and not run.request.fresh else None
        if cached is None or calls_to_run(cached.answer, self._offered(resolved.request, run.ports)) is None:
            return None
        if not await is_in_notebook(cached, run.ports.document):
            return None
        if resolved.value_format is None:
            return cached
        try:
            read = partial(resolved.value_format.read, cached.answer.text)
            parsed, shown = await run.ports.main_thread.call(read)
        except SchemaMismatch:
            return None
        return replace(cached, answer=replace(cached.answer, parsed=parsed), shown=shown)

    async def _sign_in_again(self, before: Credentials, sign_in: SignIn, error: AuthError) -> bool:
        """Ask the user to sign in during an answer; raises AccountChanged when a different account did."""
        if not needs_sign_in(error) or not await sign_in(error):
            return False
        now = await self._credentials.current()
        if now.identity_key != before.identity_key:
            raise AccountChanged(
                f"This answer was begun as {short_account(before.label)}, "
                f"and you have signed in as {short_account(now.label)}.",
                hint="Run the cell again to use the new account for the whole answer.",
            )
        return True

    def _cache_key(self, resolved: ResolvedTurn, ports: Ports) -> CacheKey | None:
        """Return the key of a question; None when the same text may be about other data."""
        request, redact = resolved.request, self.redactor(resolved.credentials)
        known = [redact(question) for question, _ in request.earlier]
        may_use = request.use_cache and not request.agent
        if not may_use or not (request.context is None or request.context.is_complete(known)):
            return None
        anywhere = self._offered(request, ports).only(lambda tool: not tool.needs_notebook)
        return cache_key(
            request,
            replace(
                resolved.template,
                tools=(*anywhere.specs(), *resolved.search_tool),
                text_format=resolved.text_format,
            ),
            account=resolved.credentials,
            provider=self._provider(resolved.credentials),
            instructions=resolved.instructions,
        )

    def _provider(self, credentials: Credentials) -> Backend:
        return choose_backend(self._settings, is_chatgpt_auth=credentials.is_chatgpt_backend)

    def _account(self, credentials: Credentials) -> str:
        return account_digest(credentials, self._provider(credentials))

    async def parameters(self, request: TurnRequest) -> dict[str, Any]:
        """Return what answers depend on besides their prompts, in questions that have nothing but a prompt."""
        resolved = await self.resolve(request)
        return {
            "provider": self._settings.provider.id,
            "billing": resolved.credentials.billing,
            "model": resolved.model.slug,
            "effort": resolved.choice.effort,
            "schema": resolved.text_format,
            "instructions": resolved.instructions,
        }

    async def requests(
        self, questions: Iterable[TurnRequest], *, ports: Ports, approver: Approver
    ) -> AsyncGenerator[ResponsesRequest, None]:
        """Yield the request of each question, as it leaves for the model, without sending it.

        The questions differ in nothing but their prompts: model, schema and project are resolved once.
        """
        resolved: ResolvedTurn | None = None
        for question in questions:
            thread = Thread("")
            if resolved is None:
                resolved = await self.resolve(question)
            asked = replace(question, tools=resolved.request.tools)
            resolved = replace(resolved, turn_id=new_uuid(), request=asked, thread=thread)
            run = _TurnRun(question, thread, ports, approver, no_login, resolved)
            redact = self._turn_redactor(resolved, await self._namespace_secrets(run))
            turn = self._prepare(resolved, run, [], redact)
            yield replace(turn.request, input=tuple(turn.new_items), prompt_cache_key=None, thread_id=None)

    async def first_request(self, request: TurnRequest) -> ResponsesRequest | None:
        """Return the beginning of a question's request; None where a saved answer may serve instead."""
        if request.use_cache and not request.fresh and not self._answers.is_empty:
            return None
        return (await self.resolve(request, self._thread(request))).template

    def _offered(self, request: TurnRequest, ports: Ports) -> ToolSet:
        effects = OFFERED[request.approval]
        return request.tools.only(
            lambda tool: (
                tool.is_available(ports) and tool.effect in effects and tool.name not in request.without
            )
        )

    async def answer(self, request: TurnRequest, *, ports: Ports, approver: Approver) -> Answer:
        """Return the turn's answer; raises the error it failed with, and CancelledError for a cancelled caller."""
        async with aclosing(self.turn(request, ports=ports, approver=approver)) as events:
            [finished] = [event async for event in events if isinstance(event, TurnFinished)]
        task = asyncio.current_task()
        if finished.answer.status == "cancelled" and task is not None and task.cancelling():
            raise asyncio.CancelledError
        if finished.answer.status == "failed":
            raise finished.failure or CodexError(finished.error or "The turn failed.")
        return finished.answer

    async def preview(self, request: TurnRequest, ports: Ports) -> Preview:
        """Return the request that a turn would begin with; nothing is sent of it, and its thread stays as it is.

        Without a login, the model is the one in the settings.
        """
        thread, project = self._thread(request), await self.project(request)
        template, model = ResponsesRequest(request.model or self._settings.model or "", ()), None
        search: tuple[JsonObject, ...] = ()
        with suppress(CodexError):
            resolved = await self.resolve(request, thread, project)
            request, model, search = resolved.request, resolved.model, resolved.search_tool
            template = replace(resolved.template, text_format=resolved.text_format)
        turn_input = build_input(
            request,
            thread,
            instructions=self._instructions,
            project=project,
            redactor=request_redactor(self.redactor(), request).merged_with(self._known),
            untrusted=UntrustedBlock("CODE"),  # a preview stays the same; a turn has a random word there
            sends_images=model is None or model.supports_images,
        )
        redact = TurnRedactor(turn_input.redactor)
        sent = replace(
            template,
            input=(*redact.items(thread.items), *turn_input.items),
            tools=turn_input.redactor.within((*self._offered(request, ports).specs(), *search)),
            text_format=turn_input.redactor.within(template.text_format),
        )
        return Preview(
            sent, turn_input, thread.needs_compaction(model.context_window if model is not None else None)
        )

    async def compact(self, request: TurnRequest, secrets: Iterable[str]) -> tuple[Notice, ...]:
        """Compact the thread of a request without asking anything; ``secrets`` are values to remove from it.

        Raises CodexError, also for a thread in which nothing has been asked since it was compacted.
        """
        thread = self.threads.open(request.thread or "")
        async with thread.turn_lock:
            if not past_turns(thread.items):
                raise CodexError(
                    "There is nothing to compact in this thread.", hint="Ask with %%codex first."
                )
            resolved = await self.resolve(request, thread)
            switched = switch_account(thread, self._account(resolved.credentials))
            thread.redact(self._turn_redactor(resolved, secrets))
            notice = await self._compactor.compact(thread, resolved.template)
        problem = thread.take_problem()
        return (*switched, notice, *([Notice("hint", problem)] if problem else ()))

    @property
    def replay_approvals(self) -> int:
        """How many saved answers may run their code again without asking."""
        return self._answers.approvals

    def forget_approvals(self) -> None:
        """Ask again for everything that the user has allowed, in this session and for saved answers; raises OSError."""
        self.memory.clear()
        self._answers.forget_approvals()

    async def forget(self, thread: str | None) -> int:
        """Delete a thread, None for all, with the answers saved of it; return their number. Raises OSError."""
        self.threads.forget(thread)
        if self._agent is not None:
            self._agent.forget(thread)
        return self._answers.forget(thread)

    def redactor(self, credentials: Credentials | None = None) -> Redactor:
        """Return the redactor for the environment and the credentials as they are now."""
        secrets = environment_secrets(self._environ)
        if current := credentials or self._credentials.peek():
            for name, value in (
                ("the login's token", current.bearer),
                ("the login's refresh token", current.refresh_token),
            ):
                if value is not None:
                    secrets[name] = SecretText(value.get_secret_value())
        stored = stored_secrets(self._settings.codex_home, self._environ)
        if (secrets, stored) != self._secrets:
            self._redactor = Redactor(secrets).with_secrets(stored, "a stored login")
            self._secrets = (secrets, stored)
        return self._redactor

    def redactor_for_elsewhere(self, namespace: Mapping[str, Any]) -> Redactor:
        """Return the redactor for prompts that another process will ask: what is secret here is not known there."""
        return self.redactor().merged_with(self._known).with_secrets(secrets_of_namespace(namespace))

    async def _namespace_secrets(self, run: _TurnRun) -> set[str]:
        """Return what the variables hold, for a question without context, and once for all questions of a batch."""
        kernel, reading = run.ports.kernel, self._reading(run.request)
        if kernel is None or run.request.context is not None:
            return set()
        if reading.secrets is None:
            reading.secrets = await run.ports.main_thread.call(
                lambda: secrets_of_namespace(kernel.namespace())
            )
        return reading.secrets

    def _reading(self, request: TurnRequest) -> _BatchReading:
        """Return what the questions of the request's batch share; a question of no batch shares nothing."""
        reading = _BatchReading()
        return self._batches.setdefault(request.throttle, reading) if request.throttle else reading

    def _turn_redactor(self, resolved: ResolvedTurn, variables: Iterable[str]) -> TurnRedactor:
        """Return the redactor of a turn, which knows every secret in what is sent, and those of earlier turns."""
        request = resolved.request
        texts = [request.prompt, resolved.project.whole, *(text for _, text in request.data)]
        redactor = request_redactor(self.redactor(resolved.credentials), request).merged_with(self._known)
        redact = TurnRedactor(redactor, self._keep)
        redact.learn(variables)
        redact.learn(secret_values_in(texts))
        self._keep(redact.redactor)
        return redact

    def _keep(self, redactor: Redactor) -> None:
        self._known = redactor

    async def project(self, request: TurnRequest) -> ProjectInstructions:
        """Read what Codex's own files tell the model of a question, once for all questions of a batch.

        An agent may be left to read them itself.
        """
        if request.agent and self._settings.agent_config == "own":
            return ProjectInstructions()
        reading = self._reading(request)
        if reading.project is None:
            reading.project = await read_project(self._settings, request, self._environ)
        return reading.project

    def _thread(self, request: TurnRequest) -> Thread:
        return self.threads.open(request.thread) if request.thread else Thread("")

    async def resolve(
        self,
        request: TurnRequest,
        thread: Thread | None = None,
        project: ProjectInstructions | None = None,
    ) -> ResolvedTurn:
        """Return what a question would be asked with, now. Raises CodexError.

        ``thread`` None is for one of no thread; ``project`` None reads the project's instructions.
        """
        wanted = None if request.schema is None else value_format(request.schema)
        settings = self._settings
        project = await self.project(request) if project is None else project
        if project.skills:
            request = replace(request, tools=request.tools.with_tools([skill_tool(project.skills)]))
        news: tuple[str, ...] = ()
        search_mode = settings.search_mode(wanted=request.searches)  # an administrator may not allow it
        reads_own = request.agent and settings.agent_config == "own"  # the agent has the servers itself, then
        if request.uses_servers and settings.mcp_servers and not reads_own:
            states = await self.servers().required(request.without)
            news = tuple(self.servers().news(states))
            offered = [tool for state in states for tool in state.tools if tool.name not in request.without]
            if request.agent:  # which keeps the names that begin with mcp__ to itself
                offered = [replace(tool, name=tool.name.replace("mcp__", "mcp_", 1)) for tool in offered]
            request = replace(request, tools=request.tools.with_tools(offered))
        credentials = await self._credentials.current()
        model = await self._models.choose(request.model or settings.model)
        if settings.model_context_window is not None:
            model = replace(model, context_window=settings.model_context_window)
        return ResolvedTurn(
            turn_id=new_uuid(),
            request=request,
            thread=thread or Thread(""),
            credentials=credentials,
            model=model,
            settings=settings,
            project=project,
            instructions=self._instructions + project.whole,
            value_format=wanted,
            search_mode=search_mode,
            news=news,
        )

    def servers(self) -> McpServers:
        """Return the MCP servers of the configuration."""
        if self._servers is None:
            from codex_nb.session.mcp import McpServers

            self._servers = McpServers(self._settings, self._environ)
        return self._servers

    async def close(self) -> None:
        """End the MCP servers."""
        if self._servers is not None:
            await self._servers.close()

    def _prepare(
        self,
        resolved: ResolvedTurn,
        run: _TurnRun,
        notices: list[Notice],
        redact: TurnRedactor,
        replay: Replay | None = None,
        replayed: frozenset[CallKey] = frozenset(),
    ) -> Turn:
        request = resolved.request
        untrusted, tools = UntrustedBlock(), self._offered(request, run.ports)
        turn_input = build_input(
            request,
            resolved.thread,
            instructions=self._instructions,
            project=resolved.project,
            redactor=redact.redactor,
            untrusted=untrusted,
            sends_images=resolved.model.supports_images,
        )
        redactor = turn_input.redactor
        redact.use(redactor)
        answered = {run.key.digest} if run.key else set()
        return Turn(
            started=resolved.started,
            request=replace(
                resolved.template,
                tools=redactor.within((*tools.specs(), *resolved.search_tool)),
                text_format=redactor.within(resolved.text_format),
            ),
            new_items=turn_input.items,
            sent_digests=turn_input.sent_digests | answered | {self._account(resolved.credentials)},
            thread=resolved.thread,
            tool_context=ToolContext(
                tools,
                ApprovalRules(request.approval, self.memory, replayed),
                run.approver,
                run.ports,
                redact,
                untrusted,
                resolved.model.supports_images,
                lambda values: redact.learn({*values, *environment_secrets(self._environ).values()}),
            ),
            notices=(*notices, *resolved.notices(turn_input)),
            value_format=resolved.value_format,
            on_limits=self._on_limits,
            sign_in=partial(self._sign_in_again, resolved.credentials, run.sign_in),
            replay=replay,
        )

    @property
    def limits(self) -> RateLimits | None:
        """The newest rate limits received for the credentials in use."""
        return self._limits.get(self._asking)

    @property
    def _asking(self) -> str:
        known = self._credentials.peek()
        return known.identity_key if known is not None else ""

    def _cost(self, run: _TurnRun, answer: Answer) -> str:
        """Return what an answer cost by the price table, or how much of the plan's limits is used after it."""
        resolved, usage = run.resolved, answer.usage
        if resolved is None or not usage.input_tokens:
            return ""
        if answer.billing == "chatgpt":
            windows = self.limits.windows if self.limits is not None else ()
            used = [(each.label, each.used_percent) for each in windows if each.limit == "codex"]
            return ", ".join(
                f"{label} limit {share:.0f} % used" for label, share in used if share is not None
            )
        return price_table().estimate(answer.model, usage) if resolved.has_listed_prices else COST_UNKNOWN

    def _on_limits(self, limits: RateLimits) -> Notice | None:
        self._limits[self._asking] = limits
        for window in limits.windows:
            used = window.used_percent or 0.0
            key = f"{window.limit} {window.label} {window.resets_at}"
            if used >= NEAR_LIMIT_PERCENT and key not in self._warned:
                self._warned.add(key)
                resets = f"; it resets {date_time(window.resets_at)}" if window.resets_at else ""
                return Notice("limits", f"{used:.0f} % of the {window.label} limit is used{resets}.")
        return None


FIRST_USE = (
    "Before your first question: codex_nb sends your question, the cells above it with their outputs and a "
    "description of your variables (with secrets removed) to OpenAI with your login. {instructions}A ChatGPT login "
    "uses Codex's own backend, which is not a public API and may change. %codex context shows exactly what is sent. "
    "Shown once."
)
FIRST_USE_MARK = "first-use-told"


def first_use_notice(codex_home: Path, project: ProjectInstructions) -> str:
    """Return the privacy notice before the first question of a CODEX_HOME, and an empty text from then on."""
    mark = codex_home / "codex_nb" / FIRST_USE_MARK
    if mark.exists():
        return ""
    with suppress(OSError):
        mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark.touch(mode=0o600)
    files = ", ".join(map(str, (*project.files, *(skill.file for skill in project.skills))))
    return FIRST_USE.format(instructions=f"It also sends {files}. " if files else "")
