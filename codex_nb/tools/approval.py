"""Approval of tool calls: the request, the decision, who waits for it, and when none is needed."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeVar

from codex_nb.config.settings import ApprovalPolicy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Hashable, Mapping

CallKey = tuple["Hashable", str]
"""A tool and the canonical JSON of a call's arguments."""


class Effect(StrEnum):
    """The most that a tool can do; approval depends on it."""

    NONE = "none"  # shows something in the transcript
    INSPECT = "inspect"  # describes variables, as the notebook context does
    READ = "read"
    DECLARED_READ = "declared_read"  # a function found in the namespace that says of itself that it reads
    ALLOWED = "allowed"  # a tool of an MCP server that config.toml lets run without asking
    EDIT = "edit"
    EXECUTE = "execute"


_UNASKED = frozenset({Effect.NONE, Effect.INSPECT})

# The effects of the tools that the model is offered under each policy.
OFFERED: Mapping[ApprovalPolicy, frozenset[Effect]] = MappingProxyType(
    {
        **dict.fromkeys(ApprovalPolicy, frozenset(Effect)),
        ApprovalPolicy.READ_ONLY: _UNASKED | {Effect.READ},
    }
)


class DecisionKind(StrEnum):
    """What is decided about one tool call."""

    APPROVE = "approve"
    APPROVE_CODE = "approve_code"  # and exactly this call for the rest of the session
    APPROVE_TOOL = "approve_tool"  # and this tool for the rest of the session
    APPROVE_ANSWER = "approve_answer"  # and this tool for the rest of the answer
    REJECT = "reject"
    STOP = "stop"  # reject and end the turn


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """A tool call that needs the user's approval.

    ``call_number`` counts the calls of a turn. ``code`` is exactly what will run, source code or the arguments as JSON;
    ``language`` names it for highlighting; ``editable`` tells whether the user may change it before approval;
    ``summary`` says in one sentence what the call does. ``before`` is the text that ``code`` takes the place of, where
    the call changes one. ``is_question`` tells that the code is the user's own answer to a question, as JSON;
    ``choices`` are what its named answers are chosen from.
    """

    call_number: int
    tool: str
    code: str
    language: str
    summary: str
    editable: bool = False
    before: str | None = None
    is_question: bool = False
    choices: tuple[tuple[str, tuple[object, ...]], ...] = ()


Decider = Literal["user", "session", "all", "policy", "nobody"]


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to an approval request.

    ``code`` replaces the request's code when the user edited it; ``message`` goes to the model with a rejection.
    ``by`` is "user", "session" (what the user allowed earlier in it, of that ``kind``), "all" (the policy that asks
    about nothing), "policy" (it needs no approval) or "nobody" (nobody was there to answer).
    """

    kind: DecisionKind
    code: str | None = None
    message: str = ""
    by: Decider = "user"

    @property
    def approved(self) -> bool:
        """Whether the call may run."""
        return self.kind not in {DecisionKind.REJECT, DecisionKind.STOP}


A_co = TypeVar("A_co", covariant=True)


@dataclass(frozen=True)
class Approved(Generic[A_co]):
    """Arguments that a decision allows to be used: a tool's call takes nothing else.

    Raises ValueError when the decision does not approve.
    """

    arguments: A_co
    decision: Decision

    def __post_init__(self) -> None:
        if not self.decision.approved:
            raise ValueError("the decision does not approve the call")


class ApprovalUnavailable(Exception):
    """The user cannot be asked at the moment; the text gives the reason and what to do."""


class Approver(Protocol):
    """Answers approval requests."""

    def decide(self, request: ApprovalRequest) -> Awaitable[Decision]:
        """Begin to wait for the answer at once, before the returned awaitable is awaited."""
        ...


@dataclass(eq=False, repr=False)
class PendingApprovals:
    """The requests that wait for the user; an answer may come from any thread.

    A request waits from the moment that :meth:`decide` is called. Only a waiting request can be answered, and only
    once: a second click, or a click on a request of the past, decides nothing.
    """

    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _waiting: dict[int, Future[Decision]] = field(default_factory=dict, init=False)

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


NOBODY_THERE = (
    "Nobody could approve this call, so it was declined. "
    "Run the cell interactively, without --background, or pass --approval all."
)


class DenyAll:
    """The approver of a run without a user: it rejects every request and says what to do."""

    async def decide(self, request: ApprovalRequest) -> Decision:
        """Reject the request."""
        del request
        return Decision(DecisionKind.REJECT, message=NOBODY_THERE, by="nobody")


@dataclass
class ApprovalMemory:
    """What the user has allowed for the rest of the session.

    ``tools`` are allowed whole, ``calls`` exactly; ``readers`` are the functions once approved as reading.
    """

    tools: set[Hashable] = field(default_factory=set)
    calls: set[CallKey] = field(default_factory=set)
    readers: set[Hashable] = field(default_factory=set)

    def remember(self, effect: Effect, call: CallKey, decision: Decision) -> None:
        """Keep what a decision allows beyond its own call."""
        if effect is Effect.DECLARED_READ and decision.by == "user":
            self.readers.add(call[0])
        if decision.kind is DecisionKind.APPROVE_TOOL:
            self.tools.add(call[0])
        elif decision.kind is DecisionKind.APPROVE_CODE:
            self.calls.add(call)

    def clear(self, tool: Hashable = None) -> None:
        """Ask again for everything, or for every call of a tool."""
        if tool is None:
            for kept in (self.tools, self.calls, self.readers):
                kept.clear()
        self.tools.discard(tool)
        self.readers.discard(tool)
        self.calls -= {call for call in self.calls if call[0] == tool}

    def allowed(self, call: CallKey) -> Decision | None:
        """Return the earlier decision that covers this call."""
        if call[0] in self.tools:
            return Decision(DecisionKind.APPROVE_TOOL, by="session")
        return Decision(DecisionKind.APPROVE_CODE, by="session") if call in self.calls else None


@dataclass(frozen=True)
class ApprovalRules:
    """Decides without asking where the policy or an earlier decision allows it.

    ``replayed`` are the calls of a saved answer, all of which one decision allowed; ``answer`` are the tools that are
    allowed for the rest of this answer.

    ========= ==== ======= ===== ============= =========== =============
    policy    none inspect read  declared_read allowed     edit, execute
    ========= ==== ======= ===== ============= =========== =============
    ask       runs runs    asked asked         runs        asked
    auto      runs runs    runs  asked once    runs        asked
    all       runs runs    runs  runs          runs        runs
    read-only runs runs    asked not offered   not offered not offered
    ========= ==== ======= ===== ============= =========== =============
    """

    policy: ApprovalPolicy
    memory: ApprovalMemory = field(default_factory=ApprovalMemory)
    replayed: frozenset[CallKey] = frozenset()
    answer: set[Hashable] = field(default_factory=set)

    def remember(self, effect: Effect, call: CallKey, decision: Decision) -> None:
        """Keep what a decision allows beyond its own call."""
        if decision.kind is DecisionKind.APPROVE_ANSWER:
            self.answer.add(call[0])
        self.memory.remember(effect, call, decision)

    def decide(self, effect: Effect, call: CallKey) -> Decision | None:
        """Return the decision on a call of an offered tool, None when the user must be asked."""
        by: Decider
        match self.policy:
            case _ if effect in _UNASKED or effect is Effect.ALLOWED:
                by = "policy"
            case ApprovalPolicy.ALL:
                by = "all"
            case ApprovalPolicy.AUTO if effect is Effect.READ:
                by = "policy"
            case ApprovalPolicy.AUTO if effect is Effect.DECLARED_READ and call[0] in self.memory.readers:
                by = "policy"
            case _ if (earlier := self.memory.allowed(call)) is not None:
                return earlier
            case _ if call in self.replayed or call[0] in self.answer:
                by = "policy"
            case _:
                return None
        return Decision(DecisionKind.APPROVE, by=by)
