from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from codex_nb.config.settings import ApprovalPolicy
from codex_nb.tools.approval import (
    OFFERED,
    ApprovalMemory,
    ApprovalRequest,
    ApprovalRules,
    Approved,
    CallKey,
    Decision,
    DecisionKind,
    DenyAll,
    Effect,
    PendingApprovals,
)
from codex_nb.tools.base import FunctionTool, tool

pytestmark = pytest.mark.anyio


def request(tool: str = "run_python", code: str = "1", call_number: int = 1) -> ApprovalRequest:
    return ApprovalRequest(call_number, tool, code, "python", "runs")


async def test_an_answer_from_another_thread_ends_the_wait() -> None:
    approvals = PendingApprovals()
    waiting = approvals.decide(request())
    clicker = threading.Thread(target=approvals.resolve, args=(1, Decision(DecisionKind.APPROVE)))
    clicker.start()
    assert await waiting == Decision(DecisionKind.APPROVE)
    clicker.join()
    assert approvals.waiting == ()


async def test_only_a_waiting_request_can_be_answered_and_only_once() -> None:
    approvals = PendingApprovals()
    approve = Decision(DecisionKind.APPROVE)
    assert not approvals.resolve(1, approve)
    waiting = approvals.decide(request())
    assert approvals.waiting == (1,)
    assert [approvals.resolve(1, approve), approvals.resolve(1, approve)] == [True, False]
    await waiting
    again = approvals.decide(request(code="2"))
    assert isinstance(again, asyncio.Future)
    assert not again.done()
    again.cancel()


async def test_a_withdrawn_request_can_no_longer_be_approved() -> None:
    approvals = PendingApprovals()
    waiting = approvals.decide(request())
    assert isinstance(waiting, asyncio.Future)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0)
    assert not approvals.resolve(1, Decision(DecisionKind.APPROVE))


async def test_with_nobody_to_ask_the_answer_is_no() -> None:
    decision = await DenyAll().decide(request())
    assert (decision.approved, decision.by) == (False, "nobody")


TABLE = {
    ApprovalPolicy.ASK: ("runs", "runs", "asked", "asked", "runs", "asked", "asked"),
    ApprovalPolicy.AUTO: ("runs", "runs", "runs", "asked once", "runs", "asked", "asked"),
    ApprovalPolicy.ALL: ("runs", "runs", "runs", "runs", "runs", "runs", "runs"),
    ApprovalPolicy.READ_ONLY: ("runs", "runs", "asked", *["not offered"] * 4),
}


@pytest.mark.parametrize("policy", ApprovalPolicy)
def test_the_policy_decides_by_the_tools_effect(policy: ApprovalPolicy) -> None:
    rules, call = ApprovalRules(policy), ("a tool", "1")

    def outcome(effect: Effect) -> str:
        if effect not in OFFERED[policy]:
            return "not offered"
        decision = rules.decide(effect, call)
        if decision is not None:
            return "runs" if decision.approved and decision.by in {"policy", "all"} else "refused"
        rules.memory.remember(effect, call, Decision(DecisionKind.APPROVE))
        return "asked" if rules.decide(effect, call) is None else "asked once"

    assert tuple(outcome(effect) for effect in Effect) == TABLE[policy]


def test_what_is_asked_once_is_remembered_of_the_user_alone_and_under_its_policy_alone() -> None:
    memory = ApprovalMemory()
    auto, ask = ApprovalRules(ApprovalPolicy.AUTO, memory), ApprovalRules(ApprovalPolicy.ASK, memory)
    call, effect = ("a tool", "1"), Effect.DECLARED_READ
    memory.remember(effect, call, Decision(DecisionKind.APPROVE, by="policy"))
    assert auto.decide(effect, call) is None
    memory.remember(effect, call, Decision(DecisionKind.APPROVE))
    assert auto.decide(effect, ("a tool", "2")) == Decision(DecisionKind.APPROVE, by="policy")
    assert [ask.decide(effect, call), auto.decide(effect, ("another tool", "1"))] == [None, None]


def test_a_decision_for_the_session_covers_the_tool_or_exactly_the_call() -> None:
    memory = ApprovalMemory()
    rules = ApprovalRules(ApprovalPolicy.ASK, memory)
    memory.remember(Effect.EXECUTE, ("run_python", "a"), Decision(DecisionKind.APPROVE))
    assert not memory.allowed(("run_python", "a"))
    memory.remember(Effect.EXECUTE, ("run_python", "b"), Decision(DecisionKind.APPROVE_CODE))
    assert [bool(memory.allowed(("run_python", code))) for code in "abc"] == [False, True, False]
    assert not memory.allowed(("read_file", "b"))
    memory.remember(Effect.READ, ("read_file", "a"), Decision(DecisionKind.APPROVE_TOOL))
    assert memory.allowed(("read_file", "anything"))
    allowed = rules.decide(Effect.EXECUTE, ("run_python", "b"))
    assert allowed == Decision(DecisionKind.APPROVE_CODE, by="session")
    whole = rules.decide(Effect.READ, ("read_file", "b"))
    assert whole == Decision(DecisionKind.APPROVE_TOOL, by="session")
    memory.clear("run_python")
    assert (rules.decide(Effect.EXECUTE, ("run_python", "b")), bool(memory.tools)) == (None, True)
    assert Effect.EXECUTE not in OFFERED[ApprovalPolicy.READ_ONLY]


def test_memory_knows_a_tool_by_itself_and_a_call_by_its_canonical_arguments() -> None:
    @tool
    def double(number: int, unit: str = "") -> int:
        return 2 * number

    def key(of: FunctionTool, arguments: str) -> CallKey:
        return of.key(of.parse(arguments))

    one = key(double, '{"number": 1, "unit": "m"}')
    assert key(double, '{"unit":"m","number":1}') == one
    assert key(tool(double.function), '{"number": 1, "unit": "m"}') == one
    assert key(double, '{"number": 1}') != one

    @tool(name="double")
    def another(number: int, unit: str = "") -> int:
        return number

    assert key(another, '{"number": 1, "unit": "m"}') != one


class SaysItIsEqual:
    """A function that claims to be any other of its kind, and to have the same hash."""

    def __init__(self) -> None:
        self.__annotations__ = {"number": int}

    def __call__(self, number: int) -> int:
        return number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SaysItIsEqual)

    def __hash__(self) -> int:
        return 1


class HasNoHash:
    """A function that equals nothing and cannot be kept in a set."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.__annotations__ = {"number": int}

    def __call__(self, number: int) -> int:
        return number


@pytest.mark.parametrize("kind", [SaysItIsEqual, HasNoHash])
def test_what_an_object_claims_to_equal_is_not_allowed_with_it(kind: type[Any]) -> None:
    memory = ApprovalMemory()
    one, other = kind(), kind()
    kept, asked = (
        each.key(each.parse('{"number": 1}')) for each in (tool(one, name="f"), tool(other, name="f"))
    )
    memory.remember(Effect.EXECUTE, kept, Decision(DecisionKind.APPROVE_TOOL))
    assert memory.allowed(asked) is None
    again = tool(one, name="f")
    assert memory.allowed(again.key(again.parse('{"number": 2}'))) is not None


@pytest.mark.parametrize("kind", DecisionKind)
def test_only_a_decision_that_approves_makes_arguments_approved(kind: DecisionKind) -> None:
    decision = Decision(kind)
    if decision.approved:
        assert Approved("1", decision).arguments == "1"
    else:
        with pytest.raises(ValueError, match="does not approve"):
            Approved("1", decision)
