from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from codex_nb.auth.credentials import Account, Credentials
from codex_nb.config.settings import ApprovalPolicy
from codex_nb.errors import AccountChanged, AuthError, LoginFailed, RefreshFailed, SignInRequired
from codex_nb.session.events import Notice, TurnEvent, TurnFinished, TurnStarted
from codex_nb.session.prompt import TurnRequest
from codex_nb.tools.approval import DenyAll
from codex_nb.tools.base import Ports, ToolSet
from codex_nb.tools.builtin import run_python
from tests.session.scripted import SameThread, Step, called, delta, outputs, reply, said
from tests.session.test_assistant import LOGIN, Harness

pytestmark = pytest.mark.anyio

OVER = SignInRequired("Your session has ended.")
RUN = reply(called("run_python", {"code": "print(6 * 7)"}))
ANSWER = reply(said("It is 42."))


async def ask(
    home: Path, *scripts: Step, becomes: Credentials | None
) -> tuple[Harness, list[AuthError], TurnFinished]:
    """Ask while the person, when asked to sign in, becomes somebody, or cancels (None)."""
    harness, asked = Harness(home, *scripts), list[AuthError]()

    async def sign_in(error: AuthError) -> bool:
        asked.append(error)
        harness.login.credentials = becomes or harness.login.credentials
        return becomes is not None

    request = TurnRequest("What is it?", tools=ToolSet((run_python,)), approval=ApprovalPolicy.ALL)
    turn = harness.assistant.turn(
        request, ports=Ports(SameThread(), harness.kernel), approver=DenyAll(), sign_in=sign_in
    )
    events: list[TurnEvent] = [event async for event in turn]
    assert isinstance(events[-1], TurnFinished)
    return harness, asked, events[-1]


async def test_a_login_that_ends_between_two_steps_is_renewed_and_nothing_is_done_twice(
    tmp_path: Path,
) -> None:
    again = replace(LOGIN, bearer=SecretStr("fabricated-bearer-of-the-new-login"))
    harness, asked, finished = await ask(tmp_path, RUN, [OVER], ANSWER, becomes=again)
    assert (asked, finished.answer.status, finished.answer.text) == ([OVER], "completed", "It is 42.")
    _, refused, repeated = harness.client.requests
    assert repeated == refused
    assert outputs(repeated.input) == [("call_1", outputs(refused.input)[0][1])]


async def test_another_account_does_not_pay_for_the_rest_of_an_answer(tmp_path: Path) -> None:
    bob = replace(LOGIN, account=Account("acct-2", "user-2", "bob@example.com", "pro"))
    harness, _, finished = await ask(tmp_path, RUN, [OVER], becomes=bob)
    assert (finished.answer.status, len(harness.client.requests)) == ("failed", 2)
    assert isinstance(finished.failure, AccountChanged)
    assert "begun as a…@example.com, and you have signed in as b…@example.com" in str(finished.error)


async def test_a_person_who_does_not_sign_in_gets_the_reason(tmp_path: Path) -> None:
    _, asked, finished = await ask(tmp_path, RUN, [OVER], becomes=None)
    assert (asked, finished.answer.status, finished.failure) == ([OVER], "failed", OVER)


async def test_a_login_that_ends_again_at_once_is_asked_for_once(tmp_path: Path) -> None:
    harness, asked, finished = await ask(tmp_path, RUN, [OVER], [OVER], becomes=LOGIN)
    assert (len(asked), len(harness.client.requests), finished.answer.status) == (1, 3, "failed")


@pytest.mark.parametrize(
    "scripts",
    [
        pytest.param((RUN, [delta("It"), OVER]), id="something was said"),
        pytest.param(
            (RUN, [RefreshFailed("No network.", permanent=False, reason="unreachable")]), id="transient"
        ),
    ],
)
async def test_no_sign_in_is_asked_for_where_it_does_not_help_or_something_was_said(
    tmp_path: Path, scripts: tuple[Step, ...]
) -> None:
    _, asked, finished = await ask(tmp_path, *scripts, becomes=LOGIN)
    assert (asked, finished.answer.status) == ([], "failed")


async def test_a_turn_refused_before_anything_was_said_starts_over_after_one_sign_in(tmp_path: Path) -> None:
    bob = replace(LOGIN, account=Account("acct-2", "user-2", "bob@example.com", "pro"))
    harness, asked, finished = await ask(tmp_path, [OVER], ANSWER, becomes=bob)
    assert (asked, finished.answer.status, finished.answer.text) == ([OVER], "completed", "It is 42.")
    assert len(harness.client.requests) == 2
    _, asked, finished = await ask(tmp_path, [OVER], [OVER], becomes=LOGIN)
    assert (len(asked), finished.answer.status, finished.failure) == (1, "failed", OVER)


async def test_without_a_login_the_user_signs_in_and_a_failed_sign_in_is_the_turns_error(
    tmp_path: Path,
) -> None:
    harness = Harness(tmp_path, ANSWER)
    harness.login.credentials = None

    async def cancelled(_error: AuthError) -> bool:
        raise LoginFailed("The sign-in was cancelled.", reason="cancelled")

    async def sign_in(_error: AuthError) -> bool:
        harness.login.credentials = LOGIN
        return True

    for way, status in ((cancelled, "failed"), (sign_in, "completed")):
        turn = harness.assistant.turn(
            TurnRequest("Why?"),
            ports=Ports(SameThread()),
            approver=DenyAll(),
            sign_in=way,
            hints=(lambda _: "Once.", lambda _: ""),
        )
        events = [event async for event in turn]
        assert isinstance(events[-1], TurnFinished)
        assert events[-1].answer.status == status
    assert isinstance(events[0], TurnStarted)
    assert events[1] == Notice("hint", "Once.")
