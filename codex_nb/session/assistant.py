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
from typing import TYPE_CHECKING, Protocol

from codex_nb.errors import CodexError
from codex_nb.responses.request import ResponsesRequest
from codex_nb.session.answer import Answer
from codex_nb.session.call import Workbench
from codex_nb.session.conversation import Conversation
from codex_nb.session.events import Notice, TurnFinished, TurnStarted
from codex_nb.session.fence import Fence
from codex_nb.session.instructions import BASE
from codex_nb.session.items import new_uuid
from codex_nb.session.opening import Opening, open_exchange
from codex_nb.session.redaction import Redactor, environment_secrets
from codex_nb.session.sections import join_findings
from codex_nb.session.turn import STOPPED, ModelClient, Turn, run_turn
from codex_nb.session.values import value_format
from codex_nb.settings import ApprovalPolicy
from codex_nb.tools.approval import ConsentMemory, ConsentRules

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from codex_nb.auth.credentials import Credentials
    from codex_nb.responses.limits import RateLimits
    from codex_nb.responses.model import Model
    from codex_nb.session.events import TurnEvent
    from codex_nb.session.request import TurnRequest
    from codex_nb.session.threads import ThreadStore
    from codex_nb.settings import Settings
    from codex_nb.tools.approval import Approver
    from codex_nb.tools.tool import Ports

NEAR_LIMIT_PERCENT = 90.0
ALL_HINT = "Approval policy 'all': tool calls run without being asked for."


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
    """Answers questions; ``limits`` are the newest rate limits that a reply told."""

    def __init__(
        self,
        *,
        client: ModelClient,
        identity: Identity,
        models: ModelChoice,
        threads: ThreadStore,
        settings: Settings,
        environ: Mapping[str, str],
        instructions: str = BASE,
    ) -> None:
        self.limits: RateLimits | None = None
        self.memory = ConsentMemory()
        self.threads = threads
        self._client = client
        self._identity = identity
        self._models = models
        self._settings = settings
        self._environ = environ
        self._instructions = instructions
        self._warned: set[str] = set()

    async def turn(
        self, request: TurnRequest, *, ports: Ports, approver: Approver
    ) -> AsyncGenerator[TurnEvent, None]:
        """Yield the turn's events; the last one is always TurnFinished, whatever went wrong before."""
        conversation = self.threads.open(request.thread) if request.thread else Conversation("")
        try:
            async with conversation.turn_lock:
                turn = await self._prepare(request, conversation, ports, approver)
                async with aclosing(run_turn(turn, self._client)) as events:
                    async for event in events:
                        yield event
        except CodexError as error:
            answer = Answer("", status="failed", thread=conversation.name)
            yield TurnFinished(answer, error.line, error)
        except asyncio.CancelledError:
            yield TurnFinished(Answer("", status="cancelled", thread=conversation.name), STOPPED)

    async def answer(self, request: TurnRequest, *, ports: Ports, approver: Approver) -> Answer:
        """Return the turn's answer; raises what made it fail, and CancelledError when the caller was cancelled."""
        async with aclosing(self.turn(request, ports=ports, approver=approver)) as events:
            async for event in events:
                last = event
        if not isinstance(last, TurnFinished):
            raise CodexError("The turn ended without a result.")
        task = asyncio.current_task()
        if last.answer.status == "cancelled" and task is not None and task.cancelling():
            raise asyncio.CancelledError
        if last.answer.status == "failed":
            raise last.failure or CodexError(last.error or "The turn failed.")
        return last.answer

    def redactor(self, credentials: Credentials | None = None) -> Redactor:
        """Return what takes secrets out of texts, for the environment and the login as they are now."""
        secrets = environment_secrets(self._environ)
        if login := credentials or self._identity.peek():
            for name, value in (
                ("the login's token", login.bearer),
                ("the login's refresh token", login.refresh_token),
            ):
                if value is not None:
                    secrets[name] = value.get_secret_value()
        return Redactor(secrets)

    async def _prepare(
        self, request: TurnRequest, conversation: Conversation, ports: Ports, approver: Approver
    ) -> Turn:
        asked = None if request.schema is None else value_format(request.schema)
        credentials = await self._identity.current()
        model = await self._models.choose(request.model or self._settings.model)
        fence, redactor = Fence(), self.redactor(credentials)
        rules = ConsentRules(request.approval, self.memory)
        tools = rules.offered(request.tools.only(lambda tool: tool.available(ports)))
        opening = open_exchange(
            request,
            conversation,
            instructions=self._instructions,
            settings=self._settings,
            redactor=redactor,
            fence=fence,
        )
        started = _started(request, conversation, credentials, model, self._settings)
        template = _template(request, conversation, model, self._settings, started.turn_id)
        return Turn(
            started=started,
            request=replace(template, tools=tools.specs(), text_format=asked.text_format if asked else None),
            opening=opening.items,
            facts=opening.facts,
            conversation=conversation,
            bench=Workbench(tools, rules, approver, ports, redactor, fence, model.supports_images),
            notices=_notices(request, opening),
            parse=asked.parse if asked else None,
            on_limits=self._on_limits,
        )

    def _on_limits(self, limits: RateLimits) -> Notice | None:
        self.limits = limits
        for window in limits.windows:
            used = window.used_percent or 0.0
            key = f"{window.limit} {window.label} {window.resets_at}"
            if used >= NEAR_LIMIT_PERCENT and key not in self._warned:
                self._warned.add(key)
                reset = f", resets {window.resets_at.astimezone():%a %H:%M}" if window.resets_at else ""
                return Notice("limits", f"{used:.0f} % of the {window.label} limit is used{reset}.")
        return None


def _started(
    request: TurnRequest,
    conversation: Conversation,
    credentials: Credentials,
    model: Model,
    settings: Settings,
) -> TurnStarted:
    return TurnStarted(
        turn_id=new_uuid(),
        thread=conversation.name,
        model=model.slug,
        effort=_effort(request, model, settings) or model.default_effort,
        account=credentials.label,
        plan=credentials.account.plan,
        billing=credentials.billing,
    )


def _effort(request: TurnRequest, model: Model, settings: Settings) -> str | None:
    if request.effort is not None:
        return request.effort
    # The settings' effort was chosen with the settings' model in mind; another model need not have it.
    return settings.effort if not model.efforts or settings.effort in model.efforts else None


def _template(
    request: TurnRequest, conversation: Conversation, model: Model, settings: Settings, turn_id: str
) -> ResponsesRequest:
    choice = model.reasoning(
        effort=_effort(request, model, settings), summary=settings.summary, verbosity=settings.verbosity
    )
    return ResponsesRequest(
        model=model.slug,
        input=(),
        parallel_tool_calls=model.supports_parallel_tool_calls,
        effort=choice.effort,
        summary=choice.summary,
        verbosity=choice.verbosity,
        service_tier=settings.service_tier,
        prompt_cache_key=conversation.thread_id,
        thread_id=conversation.thread_id,
        turn_id=turn_id,
        is_lite=model.is_lite,
    )


def _notices(request: TurnRequest, opening: Opening) -> tuple[Notice, ...]:
    notices = []
    if request.context is not None and request.context.cuts:
        notices.append(Notice("context", f"Left out of the context: {'; '.join(request.context.cuts)}."))
    if told := join_findings(opening.findings):
        notices.append(Notice("redacted", told))
    if request.approval is ApprovalPolicy.ALL and len(request.tools):
        notices.append(Notice("hint", ALL_HINT))
    return tuple(notices)
