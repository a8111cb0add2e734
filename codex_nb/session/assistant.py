"""The assistant: one account, one backend, its threads; every question of a notebook or a script goes through it.

Whoever constructs it injects all it works with::

    assistant = Assistant(client=…, identity=…, models=…, threads=ThreadStore(home / "codex_nb" / "threads"),
                          settings=settings, environ=os.environ)
    async for event in assistant.turn(TurnRequest("Why?"), ports=ports, approver=approvals): …
    answer = await assistant.answer(TurnRequest("Why?"), ports=ports, approver=NobodyToAsk())

Every method runs on the engine's thread, but for :meth:`Assistant.redactor`, which any thread may call.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from codex_nb.errors import AccountChanged, CodexError, ContextWindowExceeded
from codex_nb.session.answer_cache import AnswerCache, CachedAnswer, cache_key, cached_events, is_cacheable
from codex_nb.session.compaction import Compactor, account_digest, needs_compaction, switch_account
from codex_nb.session.events import Answer, Notice, TurnFinished, TurnStarted
from codex_nb.session.items import new_uuid
from codex_nb.session.outbound import Redactor, SecretText, TurnRedactor, environment_secrets
from codex_nb.session.prompt import BASE, UntrustedBlock, build_input, project_instructions, request_redactor
from codex_nb.session.resolved_turn import ResolvedTurn
from codex_nb.session.structured_output import value_format
from codex_nb.session.thread import Thread
from codex_nb.session.tool_runner import ToolContext
from codex_nb.session.turn import SchemaMismatch, SignIn, Turn, needs_sign_in, no_login, run_turn
from codex_nb.tools.approval import ApprovalMemory, ApprovalRules
from codex_nb.words import conversation as words
from codex_nb.words import secret_names
from codex_nb.words import sign_in as words_of_sign_in

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from codex_nb.auth.credentials import Credentials
    from codex_nb.config.settings import Settings
    from codex_nb.errors import AuthError
    from codex_nb.responses.limits import RateLimits, Window
    from codex_nb.responses.models import Model
    from codex_nb.session.events import TurnEvent
    from codex_nb.session.notebook_context import TurnRequest
    from codex_nb.session.prompt import ProjectInstructions
    from codex_nb.session.structured_output import ValueFormat
    from codex_nb.session.thread import ThreadStore
    from codex_nb.session.turn import ModelClient
    from codex_nb.tools.approval import Approver
    from codex_nb.tools.base import Ports, ToolSet

NEAR_LIMIT_PERCENT = 90.0


class Identity(Protocol):
    """Whose login signs the requests."""

    async def current(self) -> Credentials:
        """Return the login, renewed when it must be; raises an AuthError."""
        ...

    def peek(self) -> Credentials | None:
        """Return the login that is in memory, without any I/O."""
        ...


class ModelChoice(Protocol):
    """Which model a question goes to."""

    async def choose(self, wanted: str | None = None) -> Model:
        """Return the wanted model, or the account's default; raises ModelUnavailable."""
        ...


class Assistant:
    """Answers questions."""

    def __init__(
        self,
        *,
        client: ModelClient,
        identity: Identity,
        models: ModelChoice,
        threads: ThreadStore,
        settings: Settings,
        environ: Mapping[str, str],
        answers: AnswerCache | None = None,
        instructions: str = BASE,
    ) -> None:
        self._limits: dict[str, RateLimits] = {}  # by the login that they were told to
        self.memory = ApprovalMemory()
        self.threads = threads
        self._client = client
        self._identity = identity
        self._models = models
        self._settings = settings
        self._environ = environ
        self._answers = answers or AnswerCache(None)
        self._compactor = Compactor(client)
        self._instructions = instructions
        self._warned: set[str] = set()
        self._secrets: dict[str, str] = {}
        self._redactor = Redactor({})

    async def turn(
        self, request: TurnRequest, *, ports: Ports, approver: Approver, sign_in: SignIn = no_login
    ) -> AsyncGenerator[TurnEvent, None]:
        """Yield the turn's events; the last one is always TurnFinished, whatever went wrong before.

        ``sign_in`` is asked when the login ends after the first step, and the turn goes on.
        """
        thread = self.threads.open(request.thread) if request.thread else Thread("")
        try:
            async with (
                thread.turn_lock,
                aclosing(self._events(request, thread, ports, approver, sign_in)) as events,
            ):
                async for event in events:
                    yield event
        except CodexError as error:
            answer = Answer("", status="failed", thread=thread.name)
            yield TurnFinished(answer, error.line, error.bare())
        except (asyncio.CancelledError, KeyboardInterrupt):
            yield TurnFinished(Answer("", status="cancelled", thread=thread.name), words.STOPPED)

    async def _events(
        self,
        request: TurnRequest,
        thread: Thread,
        ports: Ports,
        approver: Approver,
        sign_in: SignIn,
    ) -> AsyncGenerator[TurnEvent, None]:
        asked = None if request.schema is None else value_format(request.schema)
        project = await self._project(request)
        resolved = await self._decide(request, thread)
        notices = switch_account(thread, resolved.credentials)
        key = self._key(resolved, asked, project, ports)
        if (stored := await self._stored(request, key, asked, ports)) is not None:
            prompt = request_redactor(self.redactor(resolved.credentials), request)(request.prompt)
            for event in cached_events(stored, resolved, prompt):
                yield event
            return
        if needs_compaction(thread.items, resolved.model.context_window):
            notices += await self._compact(resolved)
        sent_digests = {account_digest(resolved.credentials), *([f"answered:{key[:16]}"] if key else ())}
        for is_repeated in (False, True):
            turn = self._prepare(resolved, asked, project, ports, approver)
            turn = replace(
                turn,
                sent_digests=turn.sent_digests | sent_digests,
                notices=(*notices, *turn.notices),
                sign_in=partial(self._same_account_again, resolved.credentials, sign_in),
            )
            overflowed = False
            async with aclosing(run_turn(turn, self._client)) as events:
                async for event in events:
                    overflowed = not is_repeated and bool(thread.items) and _overflowed(event)
                    if isinstance(event, TurnFinished):
                        if problem := self.threads.take_problem():
                            yield Notice("hint", problem)
                        self._store(key, event.answer)
                    if not overflowed and not (is_repeated and isinstance(event, TurnStarted)):
                        yield event
            if not overflowed:
                return
            notices = await self._compact(resolved)

    def _store(self, key: str | None, answer: Answer) -> None:
        """Store an answer that may stand for a later one; what an earlier run stored is not the newest any more."""
        if key is None or answer.status != "completed":
            return
        if is_cacheable(answer):
            self._answers.keep(key, answer)
        else:
            self._answers.forget(key)

    async def _stored(
        self, request: TurnRequest, key: str | None, asked: ValueFormat | None, ports: Ports
    ) -> CachedAnswer | None:
        """Return the stored answer that may stand for a new one, with its value."""
        stored = self._answers.find(key) if key is not None and not request.fresh else None
        if stored is None or asked is None:
            return stored
        try:
            parsed = await ports.main_thread.call(partial(asked.parse, stored.answer.text))
        except SchemaMismatch:
            return None
        return replace(stored, answer=replace(stored.answer, parsed=parsed))

    async def _same_account_again(self, before: Credentials, sign_in: SignIn, error: AuthError) -> bool:
        """Ask the person to sign in; raises AccountChanged when somebody else would pay for the rest."""
        if not needs_sign_in(error) or not await sign_in(error):
            return False
        now = await self._identity.current()
        if account_digest(now) != account_digest(before):
            raise AccountChanged(words_of_sign_in.begun_with_another_account(before.label, now.label))
        return True

    async def _compact(self, resolved: ResolvedTurn) -> list[Notice]:
        return [Notice("compacted", await self._compactor.compact(resolved.thread, resolved.template))]

    async def _project(self, request: TurnRequest) -> ProjectInstructions:
        return await asyncio.to_thread(
            project_instructions,
            self._settings.codex_home,
            request.folder,
            self._settings.project_doc_max_bytes,
        )

    def _key(
        self, resolved: ResolvedTurn, asked: ValueFormat | None, project: ProjectInstructions, ports: Ports
    ) -> str | None:
        """Return the identity of a question; None where the same words may be about other data."""
        request = resolved.request
        known = [self.redactor(resolved.credentials)(question) for question, _ in request.earlier]
        if not request.use_cache or not (request.context is None or request.context.is_complete(known)):
            return None
        return cache_key(
            resolved,
            tools=self._offered(request, ports).specs(),
            schema=asked.text_format if asked else None,
            instructions=self._instructions + project.text,
        )

    def _offered(self, request: TurnRequest, ports: Ports) -> ToolSet:
        rules = ApprovalRules(request.approval, self.memory)
        return request.tools.only(lambda tool: tool.available(ports) and rules.offers(tool.effect))

    async def answer(self, request: TurnRequest, *, ports: Ports, approver: Approver) -> Answer:
        """Return the turn's answer; raises what made it fail, and CancelledError when the caller was cancelled."""
        async with aclosing(self.turn(request, ports=ports, approver=approver)) as events:
            async for event in events:
                last = event
        if not isinstance(last, TurnFinished):
            raise CodexError(words.NO_RESULT)
        task = asyncio.current_task()
        if last.answer.status == "cancelled" and task is not None and task.cancelling():
            raise asyncio.CancelledError
        if last.answer.status == "failed":
            raise last.failure or CodexError(last.error or words.FAILED)
        return last.answer

    def redactor(self, credentials: Credentials | None = None) -> Redactor:
        """Return what takes secrets out of texts, for the environment and the login as they are now."""
        secrets = environment_secrets(self._environ)
        if login := credentials or self._identity.peek():
            for name, value in (
                (secret_names.LOGIN_TOKEN, login.bearer),
                (secret_names.LOGIN_REFRESH_TOKEN, login.refresh_token),
            ):
                if value is not None:
                    secrets[name] = SecretText(value.get_secret_value())
        if secrets != self._secrets:
            self._redactor, self._secrets = Redactor(secrets), secrets
        return self._redactor

    async def _decide(self, request: TurnRequest, thread: Thread) -> ResolvedTurn:
        credentials = await self._identity.current()
        model = await self._models.choose(request.model or self._settings.model)
        return ResolvedTurn(new_uuid(), request, thread, credentials, model, self._settings)

    def _prepare(
        self,
        resolved: ResolvedTurn,
        asked: ValueFormat | None,
        project: ProjectInstructions,
        ports: Ports,
        approver: Approver,
    ) -> Turn:
        request = resolved.request
        fence, redactor = UntrustedBlock(), self.redactor(resolved.credentials)
        rules = ApprovalRules(request.approval, self.memory)
        tools = self._offered(request, ports)
        opening = build_input(
            request,
            resolved.thread,
            instructions=self._instructions,
            project=project,
            redactor=redactor,
            fence=fence,
            sends_images=resolved.model.supports_images,
        )
        redactor = opening.redactor
        text_format = redactor.within(asked.text_format) if asked else None
        return Turn(
            started=resolved.started,
            request=replace(resolved.template, tools=redactor.within(tools.specs()), text_format=text_format),
            opening=opening.items,
            sent_digests=opening.sent_digests,
            thread=resolved.thread,
            tool_context=ToolContext(
                tools,
                rules,
                approver,
                ports,
                redact := TurnRedactor(redactor),
                fence,
                resolved.model.supports_images,
                redact.learn,
            ),
            notices=resolved.notices(opening),
            parse=asked.parse if asked else None,
            on_limits=self._on_limits,
        )

    @property
    def limits(self) -> RateLimits | None:
        """The newest rate limits that a reply told the login in use."""
        return self._limits.get(self._asking)

    @property
    def _asking(self) -> str:
        known = self._identity.peek()
        return known.identity_key if known is not None else ""

    def _on_limits(self, limits: RateLimits) -> Notice | None:
        self._limits[self._asking] = limits
        for window in limits.windows:
            used = window.used_percent or 0.0
            key = f"{window.limit} {window.label} {window.resets_at}"
            if used >= NEAR_LIMIT_PERCENT and key not in self._warned:
                self._warned.add(key)
                return Notice("limits", _nearly_used(f"{used:.0f}", window))
        return None


def _nearly_used(percent: str, window: Window) -> str:
    if window.resets_at is None:
        return words.limit_used(percent, window.label)
    resets = f"{window.resets_at.astimezone():%a %H:%M}"
    return words.limit_used_until(percent, window.label, resets)


def _overflowed(event: TurnEvent) -> bool:
    """Whether a turn ended because the thread was too long, before the model said anything."""
    return (
        isinstance(event, TurnFinished)
        and isinstance(event.failure, ContextWindowExceeded)
        and not event.answer.items
    )
