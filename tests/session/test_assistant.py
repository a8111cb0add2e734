from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from codex_nb.auth.credentials import Account, AuthMode, Credentials
from codex_nb.config.settings import ApprovalPolicy, Provider, Settings
from codex_nb.errors import ConfigError, ModelUnavailable, SignInRequired
from codex_nb.responses.events import LimitsSeen, RateLimits, Window
from codex_nb.responses.models import Model
from codex_nb.session.answer_cache import AnswerCache
from codex_nb.session.assistant import Assistant
from codex_nb.session.events import Notice, StepStarted, TurnEvent, TurnFinished, TurnStarted
from codex_nb.session.prompt import ContextSection, NotebookContext, TurnRequest
from codex_nb.session.thread import ThreadStore
from codex_nb.tools.approval import Approver, DenyAll
from codex_nb.tools.base import Ports, ToolSet
from codex_nb.tools.builtin import run_python
from tests.leaks import assert_no_leak
from tests.pictures import PIXEL, PIXEL_URL
from tests.session.scripted import (
    PaperDocument,
    ProcessKernel,
    SameThread,
    ScriptedClient,
    Step,
    called,
    cancel_at,
    outputs,
    reply,
    said,
    thought,
)

pytestmark = pytest.mark.anyio

TOKEN = "fabricated-bearer-0123456789"
REFRESH = "fabricated-refresh-9876543210"
LOGIN = Credentials(
    AuthMode.CHATGPT,
    Account("acct-1", "user-1", "ada@example.com", "plus"),
    bearer=SecretStr(TOKEN),
    refresh_token=SecretStr(REFRESH),
)
MODEL = Model("gpt-test", efforts=("low", "high"), default_effort="low")


class Login:
    def __init__(self, credentials: Credentials | None = LOGIN) -> None:
        self.credentials = credentials

    async def current(self) -> Credentials:
        if self.credentials is None:
            raise SignInRequired("Not signed in.")
        return self.credentials

    def peek(self) -> Credentials | None:
        return self.credentials


@dataclass
class Models:
    model: Model = MODEL
    wanted: list[str | None] = field(default_factory=list)

    async def choose(self, wanted: str | None = None) -> Model:
        self.wanted.append(wanted)
        if wanted == "gpt-gone":
            raise ModelUnavailable("gpt-gone is not offered.")
        return self.model


class Harness:
    """An assistant with everything that it works with."""

    def __init__(
        self, home: Path, *scripts: Step, environ: dict[str, str] | None = None, **more: Any
    ) -> None:
        self.client = ScriptedClient(list(scripts))
        self.models = Models()
        self.kernel = ProcessKernel()
        self.document: PaperDocument | None = None
        self.login = Login()
        self.settings = Settings(codex_home=home, **more)
        self.assistant = Assistant(
            client=self.client,
            credentials=self.login,
            models=self.models,
            threads=ThreadStore(home / "threads"),
            answers=AnswerCache(home / "answers"),
            settings=self.settings,
            environ=environ or {},
            instructions="Be brief.",
        )

    async def ask(
        self, prompt: str = "hi", *, approver: Approver | None = None, **more: Any
    ) -> list[TurnEvent]:
        request = TurnRequest(prompt, **more)
        document, run = self.document, None if self.document is None else self.document.run
        ports = Ports(SameThread(), self.kernel, document, folder=request.folder, run_cell=run)
        return [e async for e in self.assistant.turn(request, ports=ports, approver=approver or DenyAll())]

    @property
    def sent(self) -> str:
        return json.dumps([request.input for request in self.client.requests], ensure_ascii=False)


def texts(items: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(i["role"], i["content"][-1]["text"]) for i in items if i["type"] == "message"]


async def test_a_question_is_sent_with_instructions_first_and_the_prompt_last(tmp_path: Path) -> None:
    (tmp_path / "AGENTS.md").write_text("Use polars.")
    harness = Harness(tmp_path, reply(said("Hi")), model="gpt-set", summary="auto")
    context = NotebookContext((ContextSection("cell", "Cell 1", "x = 1"),))
    events = await harness.ask("What is x?", thread="nb", context=context)
    started, last = events[0], events[-1]
    assert isinstance(started, TurnStarted)
    assert isinstance(last, TurnFinished)
    assert started == TurnStarted(
        started.turn_id, "nb", "gpt-test", "low", "ada@example.com", "plus", "chatgpt"
    )
    assert last.answer.text == "Hi"
    [request] = harness.client.requests
    roles_and_texts = texts(request.input)
    assert [role for role, _ in roles_and_texts] == ["developer", "developer", "user", "user"]
    assert roles_and_texts[0][1] == "Be brief."
    assert roles_and_texts[1][1].endswith("Use polars.")
    assert "Cell 1\nx = 1" in roles_and_texts[2][1]
    assert roles_and_texts[3][1] == "What is x?"
    assert (request.model, request.effort, request.summary) == ("gpt-test", "low", "auto")
    assert request.thread_id == request.prompt_cache_key == harness.assistant.threads.open("nb").thread_id
    assert request.turn_id == started.turn_id
    assert harness.models.wanted == ["gpt-set"]


async def test_a_policy_that_an_administrator_does_not_allow_sends_nothing(tmp_path: Path) -> None:
    harness = Harness(tmp_path, reply(said("Hi")), allowed_approvals=("on-request",))
    refused = (await harness.ask(approval=ApprovalPolicy.ALL))[-1]
    assert isinstance(refused, TurnFinished)
    assert isinstance(refused.failure, ConfigError)
    assert harness.client.requests == []
    await harness.ask(approval=ApprovalPolicy.AUTO)
    assert len(harness.client.requests) == 1


async def test_a_thread_is_told_only_what_is_new(tmp_path: Path) -> None:
    harness = Harness(tmp_path, reply(said("1")), reply(said("2", "msg_2")))
    first, second = ContextSection("cell", "Cell 1", "x = 1"), ContextSection("cell", "Cell 2", "y = 2")
    await harness.ask("one", thread="nb", context=NotebookContext((first,)))
    await harness.ask("two", thread="nb", context=NotebookContext((first, second)))
    before, after = (request.input for request in harness.client.requests)
    assert after[: len(before)] == before
    added = [text for _, text in texts(after[len(before) + 1 :])]
    assert "Cell 2\ny = 2" in added[0]
    assert "x = 1" not in added[0]
    assert "1 more are unchanged" in added[0]
    assert added[1] == "two"


async def test_a_question_that_the_thread_holds_is_not_told_again_as_context(tmp_path: Path) -> None:
    harness = Harness(tmp_path, reply(said("1")), reply(said("2", "msg_2")))
    await harness.ask("one?", thread="nb")
    earlier = ContextSection("question", "Cell 1", "Question: one?\nAnswer: 1", digest_text="-m gpt\none?")
    await harness.ask("two?", thread="nb", context=NotebookContext((earlier,)))
    assert [text for _, text in texts(harness.client.requests[1].input)] == ["Be brief.", "one?", "1", "two?"]


async def test_a_thread_goes_on_after_a_restart(tmp_path: Path) -> None:
    await Harness(tmp_path, reply(said("1"))).ask("one", thread="nb")
    harness = Harness(tmp_path, reply(said("2", "msg_2")))
    await harness.ask("two", thread="nb")
    assert [text for _, text in texts(harness.client.requests[0].input)] == ["Be brief.", "one", "1", "two"]


async def test_without_a_thread_nothing_is_kept(tmp_path: Path) -> None:
    harness = Harness(tmp_path, reply(said("1")), reply(said("2")))
    await harness.ask("one")
    await harness.ask("two")
    assert [text for _, text in texts(harness.client.requests[1].input)] == ["Be brief.", "two"]
    assert not (tmp_path / "threads").exists()


async def test_no_secret_is_sent_or_kept(tmp_path: Path) -> None:
    environ = {"SERVICE_API_KEY": "fabricated env value 1", "HOME": "/home/ada"}
    secret = {"bearer": TOKEN, "refresh": REFRESH, "env": environ["SERVICE_API_KEY"]}
    told = " ".join(secret.values())
    code = f"print({told!r})"
    harness = Harness(
        tmp_path, reply(called("run_python", {"code": "print(told)"})), reply(said("k")), environ=environ
    )
    harness.kernel.variables["told"] = told
    context = NotebookContext((ContextSection("cell", "Cell 1", code),))
    events = await harness.ask(
        f"Is {told} fine?",
        thread="nb",
        context=context,
        tools=ToolSet((run_python,)),
        approval=ApprovalPolicy.ALL,
    )
    assert_no_leak(harness.sent, secret)
    for file in (tmp_path / "threads").iterdir():
        assert_no_leak(file.read_bytes(), secret)
    notices = [event.text for event in events if isinstance(event, Notice) and event.kind == "redacted"]
    assert len(notices) == 1
    assert "$SERVICE_API_KEY in the notebook" in notices[0]
    assert "the login's token in the question" in notices[0]


async def test_tools_run_under_the_policy_of_the_request(tmp_path: Path) -> None:
    call = reply(called("run_python", {"code": "print(6 * 7)"}))
    harness = Harness(tmp_path, call, reply(said("k")), call, reply(said("k")), reply(said("k")))
    tools = ToolSet((run_python,))
    allowed = await harness.ask(tools=tools, approval=ApprovalPolicy.ALL)
    assert Notice("hint", "Approval policy 'all': tool calls run without asking you.") in allowed
    assert harness.kernel.ran == ["print(6 * 7)"]
    assert "42" in outputs(harness.client.requests[1].input)[0][1]
    await harness.ask(tools=tools, approval=ApprovalPolicy.ASK)
    assert harness.kernel.ran == ["print(6 * 7)"]
    await harness.ask(tools=tools, approval=ApprovalPolicy.READ_ONLY)
    assert [request.tools == () for request in harness.client.requests] == [False] * 4 + [True]


async def test_a_failure_before_the_turn_is_its_last_event_too(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    [event] = await harness.ask(model="gpt-gone")
    assert isinstance(event, TurnFinished)
    assert event.answer.status == "failed"
    assert isinstance(event.failure, ModelUnavailable)


async def test_an_answer_is_returned_or_its_error_raised(tmp_path: Path) -> None:
    harness = Harness(tmp_path, reply(said('{"value": 3}')), [SignInRequired("Gone.")])
    ports = Ports(SameThread())
    answer = await harness.assistant.answer(
        TurnRequest("three?", schema=int), ports=ports, approver=DenyAll()
    )
    assert (answer.parsed, answer.status) == (3, "completed")
    assert harness.client.requests[0].text_format is not None
    with pytest.raises(SignInRequired):
        await harness.assistant.answer(TurnRequest("three?"), ports=ports, approver=DenyAll())


class Endless(asyncio.Event):
    """A point of a script that is reached, and never passed."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()

    async def wait(self) -> bool:
        self.reached.set()
        return await super().wait()


async def test_a_cancelled_caller_is_cancelled(tmp_path: Path) -> None:
    endless = Endless()
    harness = Harness(tmp_path, [endless])
    answer = harness.assistant.answer(TurnRequest("x"), ports=Ports(SameThread()), approver=DenyAll())
    asking = asyncio.ensure_future(answer)
    await endless.reached.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert harness.client.closed == 1


async def test_a_turn_that_is_cancelled_between_any_two_callbacks_of_the_loop_ends(tmp_path: Path) -> None:
    (tmp_path / "AGENTS.md").write_text("Use polars.")

    async def cancelled_at(place: float) -> int:
        endless = Endless()
        harness = Harness(tmp_path / str(place), reply(called("run_python", {"code": "1"})), [endless])
        asking = harness.ask(thread="nb", approval=ApprovalPolicy.ALL, folder=tmp_path)
        count, events = await cancel_at(place, asking, endless.reached)
        last = events[-1] if events else None
        assert last is None or (isinstance(last, TurnFinished) and last.answer.status == "cancelled")
        return count

    count = await cancelled_at(math.inf)
    assert count > 2
    for place in range(1, count):
        await cancelled_at(place)


async def test_turns_of_one_thread_follow_each_other(tmp_path: Path) -> None:
    gate = asyncio.Event()
    harness = Harness(tmp_path, [gate, *reply(said("1"))], reply(said("2", "msg_2")))
    first = asyncio.create_task(harness.ask("one", thread="nb"))
    second = asyncio.create_task(harness.ask("two", thread="nb"))
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, second)
    assert [text for _, text in texts(harness.client.requests[1].input)] == ["Be brief.", "one", "1", "two"]


async def test_a_limit_that_is_near_is_told_once(tmp_path: Path) -> None:
    window = Window(93.0, 300, datetime(2026, 11, 20, tzinfo=UTC))
    limits = RateLimits((window,), plan="plus")
    script = [LimitsSeen(limits), *reply(said("k"))]
    harness = Harness(tmp_path, script, script)
    notices = [e.text for _ in range(2) for e in await harness.ask() if isinstance(e, Notice)]
    assert len(notices) == 1
    assert notices[0].startswith("93 % of the 5 h limit is used; it resets ")
    assert harness.assistant.limits == limits


async def test_an_effort_that_the_models_own_list_lacks_is_lowered_and_that_is_told(tmp_path: Path) -> None:
    harness = Harness(tmp_path, *(reply(said("k")) for _ in range(3)), effort="xhigh")
    events = await harness.ask()
    harness.models.model = replace(MODEL, efforts=("xhigh",))
    silent = [*await harness.ask(), *await harness.ask(effort="low")]
    assert [request.effort for request in harness.client.requests] == ["high", "xhigh", "low"]
    [told] = [event.text for event in events if isinstance(event, Notice)]
    assert told == "gpt-test does not offer the effort 'xhigh': high is used."
    assert not [event for event in silent if isinstance(event, Notice)]


async def test_a_service_tier_that_the_model_lacks_is_told(tmp_path: Path) -> None:
    harness = Harness(tmp_path, *(reply(said("k")) for _ in range(2)), service_tier="fast")
    [told] = [event.text for event in await harness.ask() if isinstance(event, Notice)]
    assert "'fast'" in told
    harness.models.model = replace(MODEL, service_tiers=("priority",))
    assert not [event for event in await harness.ask() if isinstance(event, Notice)]
    assert [request.service_tier for request in harness.client.requests] == [None, "priority"]


async def test_instructions_are_told_again_only_when_they_change(tmp_path: Path) -> None:
    harness = Harness(tmp_path, reply(said("1")), reply(said("2", "m2")), reply(said("3", "m3")))
    (tmp_path / "AGENTS.md").write_text("Old.")
    await harness.ask("one", thread="nb")
    await harness.ask("two", thread="nb")
    (tmp_path / "AGENTS.md").write_text("New.")
    events = await harness.ask("three", thread="nb")
    assert StepStarted(1) in events
    told = [
        text.rsplit("\n", 1)[-1]
        for role, text in texts(harness.client.requests[2].input)
        if role == "developer"
    ]
    assert told == ["Be brief.", "Old.", "New."]


async def test_another_account_goes_on_with_a_thread_without_what_it_cannot_open(tmp_path: Path) -> None:
    harness = Harness(
        tmp_path, reply(thought("hm"), said("1")), reply(said("2", "msg_2")), reply(said("3", "msg_3"))
    )
    await harness.ask("one", thread="nb")
    harness.login.credentials = replace(LOGIN, account=Account("acct-2", "user-2", "bob@example.com", "pro"))
    events = await harness.ask("two", thread="nb")
    assert [event.text[:19] for event in events if isinstance(event, Notice)] == ["A different account"]
    sent = harness.client.requests[1].input
    assert [item["type"] for item in sent] == ["message"] * 4
    assert not any("id" in item for item in sent[:3])
    events = await harness.ask("three", thread="nb")
    assert not any(isinstance(event, Notice) for event in events)
    assert harness.client.requests[2].input[: len(sent)] == sent


def login(**account: Any) -> Credentials:
    """Ada's login with another account."""
    return replace(LOGIN, account=replace(LOGIN.account, **account))


LAB = Provider("lab", "Lab", base_url="https://lab.example/v1")
OTHERS: dict[str, tuple[Credentials, dict[str, Any]]] = {
    "another workspace of the user": (login(account_id="acct-2"), {}),
    "another user of the workspace": (login(user_id="user-2"), {}),
    "ids exchanged": (login(account_id="user-1", user_id="acct-1"), {}),
    "no ids": (login(account_id=None, user_id=None), {}),
    "an API key": (Credentials(AuthMode.API_KEY, Account(), bearer=SecretStr("sk-fabricated-1")), {}),
    "a command's token": (replace(LOGIN, owner="command get-token"), {}),
    "another provider": (LOGIN, {"provider": LAB}),
    "another address of OpenAI": (LOGIN, {"provider": Provider(base_url="https://proxy.example/v1")}),
    "another base URL of ChatGPT": (LOGIN, {"chatgpt_base_url": "https://chat.example/backend-api"}),
}
SAME = {
    "renewed tokens": replace(LOGIN, bearer=SecretStr("fabricated-bearer-2"), refresh_token=None),
    "another e-mail address and plan": login(email="ada@example.org", plan="pro"),
    "a personal access token": replace(LOGIN, mode=AuthMode.PERSONAL_ACCESS_TOKEN),
}


@pytest.mark.parametrize(("credentials", "settings"), OTHERS.values(), ids=OTHERS)
async def test_what_is_encrypted_for_one_account_is_sent_to_no_other_account_or_provider(
    tmp_path: Path, credentials: Credentials, settings: dict[str, Any]
) -> None:
    await Harness(tmp_path, reply(thought("hm"), said("1"))).ask("one", thread="nb")
    other = Harness(tmp_path, reply(said("2", "msg_2")), **settings)
    other.login.credentials = credentials
    events = await other.ask("two", thread="nb")
    assert [event.text[:19] for event in events if isinstance(event, Notice)] == ["A different account"]
    assert [item["type"] for item in other.client.requests[0].input] == ["message"] * 4


@pytest.mark.parametrize("credentials", SAME.values(), ids=SAME)
async def test_the_same_account_goes_on_with_a_thread_as_it_is(
    tmp_path: Path, credentials: Credentials
) -> None:
    await Harness(tmp_path, reply(thought("hm"), said("1"))).ask("one", thread="nb")
    again = Harness(tmp_path, reply(said("2", "msg_2")))
    again.login.credentials = credentials
    events = await again.ask("two", thread="nb")
    assert not any(isinstance(event, Notice) for event in events)
    assert [item["type"] for item in again.client.requests[0].input].count("reasoning") == 1


async def test_a_thread_that_cannot_be_kept_says_so(tmp_path: Path) -> None:
    (tmp_path / "threads").write_text("in the way")
    events = await Harness(tmp_path, reply(said("1"))).ask("one", thread="nb")
    assert isinstance(events[-2], Notice)
    assert "kept in memory only" in events[-2].text
    assert isinstance(events[-1], TurnFinished)
    assert events[-1].answer.status == "completed"


async def test_images_are_not_sent_to_a_model_that_takes_text_only(tmp_path: Path) -> None:
    harness = Harness(tmp_path, reply(said("k")), reply(said("k")))
    picture = (PIXEL_URL,)
    await harness.ask(images=picture)
    assert PIXEL in harness.sent
    harness.client.requests.clear()
    harness.models.model = replace(MODEL, supports_images=False)
    events = await harness.ask(images=picture)
    assert Notice("hint", "gpt-test takes text only: 1 image not sent.") in events
    assert PIXEL not in harness.sent
