"""Consent: what is asked, what may be answered, who is waiting for it, and when nobody need be asked."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, assert_never

from codex_nb.config.settings import ApprovalPolicy
from codex_nb.words import tools as words

if TYPE_CHECKING:
    from collections.abc import Awaitable


class Effect(StrEnum):
    """The most that a tool can do; consent is decided by it."""

    NONE = "none"  # something in the transcript; it runs nothing, reads nothing and changes nothing
    READ = "read"
    EDIT = "edit"
    EXECUTE = "execute"


class DecisionKind(StrEnum):
    """The user's word on one tool call."""

    APPROVE = "approve"
    APPROVE_CODE = "approve_code"  # and exactly this code for the rest of the session
    APPROVE_TOOL = "approve_tool"  # and this tool for the rest of the session
    REJECT = "reject"
    STOP = "stop"  # reject and end the turn


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """A tool call that waits for the user.

    ``call_number`` is this side's own name for the call in its turn. ``code`` is exactly what will run (Python for
    run_python, JSON arguments otherwise); ``language`` names it for highlighting; ``editable`` tells whether the user
    may change it before approval; ``summary`` says in one line what the call does.
    """

    call_number: int
    tool: str
    code: str
    language: str
    summary: str
    editable: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to an approval request.

    ``code`` replaces the request's code when the user edited it; ``message`` goes to the model with a rejection;
    ``by`` is "user", "policy" or "nobody" (nobody was there to answer).
    """

    kind: DecisionKind
    code: str | None = None
    message: str = ""
    by: str = "user"

    @property
    def approved(self) -> bool:
        """Whether the call may run."""
        return self.kind in {DecisionKind.APPROVE, DecisionKind.APPROVE_CODE, DecisionKind.APPROVE_TOOL}


class ApprovalUnavailable(Exception):
    """Nobody can be asked at the moment; the text says why, and what to do about it."""


class Approver(Protocol):
    """Whoever answers approval requests."""

    def decide(self, request: ApprovalRequest) -> Awaitable[Decision]:
        """Begin to wait for the answer at once, before the returned awaitable is awaited."""
        ...


class PendingApprovals:
    """The requests that wait for a person; an answer may come from any thread.

    A request waits from the moment that :meth:`decide` is called. Only a waiting request can be answered, and only
    once: a second click, or a click on a request of the past, decides nothing.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[Decision]] = {}

    def decide(self, request: ApprovalRequest) -> Awaitable[Decision]:
        """Return the awaitable of the decision; cancelling it withdraws the request."""
        future: Future[Decision] = Future()
        with self._lock:
            self._waiting[request.call_number] = future
        future.add_done_callback(lambda done: self._forget(request.call_number, done))
        return asyncio.wrap_future(future)

    def resolve(self, call_number: int, decision: Decision) -> bool:
        """Answer a waiting request, from any thread; False when none waits under this number."""
        with self._lock:
            future = self._waiting.get(call_number)
        if future is None:
            return False
        try:
            future.set_result(decision)
        except InvalidStateError:
            return False
        return True

    @property
    def waiting(self) -> tuple[int, ...]:
        """The numbers of the calls that wait, oldest first."""
        with self._lock:
            return tuple(self._waiting)

    def _forget(self, call_number: int, future: Future[Decision]) -> None:
        with self._lock:
            if self._waiting.get(call_number) is future:
                del self._waiting[call_number]


class DenyAll:
    """The approver of a run without a person: it refuses at once and says what to do."""

    async def decide(self, request: ApprovalRequest) -> Decision:
        """Refuse."""
        del request
        return Decision(DecisionKind.REJECT, message=words.NOBODY_THERE, by="nobody")


@dataclass
class ApprovalMemory:
    """What the user has allowed for the rest of the session: whole tools, and exact code."""

    tools: set[str] = field(default_factory=set)
    code: set[tuple[str, str]] = field(default_factory=set)

    def remember(self, request: ApprovalRequest, decision: Decision) -> None:
        """Keep what a decision allows beyond its own call."""
        if decision.kind is DecisionKind.APPROVE_TOOL:
            self.tools.add(request.tool)
        elif decision.kind is DecisionKind.APPROVE_CODE:
            code = request.code if decision.code is None else decision.code
            self.code.add((request.tool, code))

    def allows(self, request: ApprovalRequest) -> bool:
        """Whether an earlier decision covers this request."""
        return request.tool in self.tools or (request.tool, request.code) in self.code


@dataclass(frozen=True)
class ApprovalRules:
    """Decides without asking where a policy or an earlier decision allows it.

    ======== ================== ================== ================== ==================
    policy   shows              looks              changes            runs code
    ======== ================== ================== ================== ==================
    ask      runs               asked              asked              asked
    auto     runs               runs               asked              asked
    all      runs               runs               runs               runs
    never    runs               runs               not offered        not offered
    ======== ================== ================== ================== ==================
    """

    policy: ApprovalPolicy
    memory: ApprovalMemory = field(default_factory=ApprovalMemory)

    def offers(self, effect: Effect) -> bool:
        """Whether the model is told of tools with this effect."""
        return self.policy is not ApprovalPolicy.NEVER or effect in {Effect.NONE, Effect.READ}

    def decide(self, effect: Effect, request: ApprovalRequest) -> Decision | None:
        """Return the decision on a tool's call that needs no person, None when a person must be asked."""
        if effect is Effect.NONE:
            return Decision(DecisionKind.APPROVE, by="policy")
        looks = effect is Effect.READ
        match self.policy:
            case ApprovalPolicy.ALL:
                allowed = True
            case ApprovalPolicy.NEVER if looks:
                allowed = True
            case ApprovalPolicy.NEVER:
                return Decision(DecisionKind.REJECT, message=words.never_runs(request.tool), by="policy")
            case ApprovalPolicy.AUTO:
                allowed = looks or self.memory.allows(request)
            case ApprovalPolicy.ASK:
                allowed = self.memory.allows(request)
            case _:
                assert_never(self.policy)
        return Decision(DecisionKind.APPROVE, by="policy") if allowed else None
