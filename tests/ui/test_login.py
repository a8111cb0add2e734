from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from codex_nb.auth.login import EnterSecret, EnterUserCode, LoginStep, OpenUrl, SignedIn, Waiting
from codex_nb.errors import LoginFailed
from codex_nb.ui.account import LoginWidget, sign_in_by_text
from tests.rendering.hostile import PAYLOADS, payload
from tests.rendering.strict import violations
from tests.ui.fakes import FakeNotebook

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CODE = EnterUserCode("ABCD-1234", "https://auth.example/device", NOW + timedelta(minutes=15))
DONE = SignedIn("ada@example.com", "plus")
KEY = "sk-fabricated-key-0123456789"


class FakeFlow:
    """A sign-in whose steps the test gives; None waits for a submission, an exception is raised."""

    def __init__(self, *steps: LoginStep | LoginFailed | None) -> None:
        self.given: tuple[LoginStep | LoginFailed | None, ...] = steps
        self.submitted: list[SecretStr] = []
        self.cancelled = False
        self._woken = asyncio.Event()

    async def steps(self) -> AsyncIterator[LoginStep]:
        for step in self.given:
            if isinstance(step, LoginFailed):
                raise step
            if step is None:
                await self._woken.wait()
                if self.cancelled:
                    raise LoginFailed("The sign-in was cancelled.", reason="cancelled")
            else:
                yield step

    def submit(self, text: SecretStr) -> None:
        self.submitted.append(text)
        self._woken.set()

    def cancel(self) -> None:
        self.cancelled = True
        self._woken.set()


class Harness:
    """A sign-in widget in a fake notebook; its flows are begun in the order given."""

    def __init__(self, *flows: FakeFlow, **options: Any) -> None:
        self.notebook = FakeNotebook()
        self.flows = list(flows)
        self.started: list[str] = []
        self.widget = LoginWidget(
            self._start,
            reason="Your session has expired.",
            area=self.notebook,
            open_comm=self.notebook.open_comm,
            now=lambda: NOW,
            **options,
        )
        self.widget.show()
        self.comm = self.notebook.comms[0]
        self.comm.ready()

    def _start(self, method: str) -> FakeFlow:
        self.started.append(method)
        return self.flows[len(self.started) - 1]

    @property
    def page(self) -> dict[str, Any]:
        return self.comm.sent[-1]

    async def until(self, kind: str) -> dict[str, Any]:
        async with asyncio.timeout(5):
            while self.page["step"]["kind"] != kind:  # noqa: ASYNC110 -- a fake page tells nobody of its change
                await asyncio.sleep(0)
        return self.page

    def names(self) -> list[str]:
        return [command["name"] for command in self.page["actions"]]


async def test_a_code_is_shown_with_its_page_and_time_and_the_cell_continues() -> None:
    harness = Harness(FakeFlow(CODE, None, DONE))
    run = asyncio.create_task(harness.widget.run())
    page = await harness.until("code")
    step = page["step"]
    assert (step["code"], step["href"], step["expires_in"]) == ("ABCD-1234", CODE.url, 900)
    assert page["reason"] == "Your session has expired."
    assert harness.names() == ["again", "cancel", "browser", "api_key"]
    harness.flows[0].submit(SecretStr("the page was visited"))
    assert await run == DONE
    harness.widget.finish()
    harness.comm.says("replaced")
    assert harness.notebook.standing()[0]["text/plain"] == "[Signed in as a…@example.com (ChatGPT Plus).]"
    assert harness.comm.closed


@pytest.mark.parametrize("step", [CODE, OpenUrl("https://auth.example/a", can_paste=False)])
@pytest.mark.parametrize(
    ("cell_waits", "promise"),
    [(True, "The cell then continues automatically."), (False, "Your account then appears here.")],
)
async def test_only_a_waiting_cell_is_said_to_continue(
    step: LoginStep, cell_waits: bool, promise: str
) -> None:
    harness = Harness(FakeFlow(step, None), cell_waits=cell_waits)
    run = asyncio.create_task(harness.widget.run())
    page = await harness.until("code" if step is CODE else "open")
    assert page["step"]["text"].endswith(f". {promise}")
    harness.comm.says("action", name="cancel")
    await run


async def test_a_new_code_starts_over() -> None:
    harness = Harness(FakeFlow(CODE, None), FakeFlow(DONE))
    run = asyncio.create_task(harness.widget.run())
    await harness.until("code")
    harness.comm.says("action", name="again")
    assert await run == DONE
    assert (harness.started, harness.flows[0].cancelled) == (["device", "device"], True)


async def test_cancelling_changes_nothing_and_says_so() -> None:
    harness = Harness(FakeFlow(CODE, None))
    run = asyncio.create_task(harness.widget.run())
    await harness.until("code")
    harness.comm.says("action", name="cancel")
    assert await run is None
    harness.widget.finish()
    assert harness.notebook.standing()[0]["text/plain"] == "[Sign-in cancelled. Nothing was changed.]"


async def test_a_failure_is_shown_and_can_be_tried_again_from_another_thread() -> None:
    harness = Harness(
        FakeFlow(LoginFailed("The page refused.", reason="refused", hint="Ask again.")), FakeFlow(DONE)
    )
    run = asyncio.create_task(harness.widget.run())
    page = await harness.until("failed")
    assert (page["step"]["text"], page["step"]["hint"]) == ("The page refused.", "Ask again.")
    threading.Thread(target=harness.comm.says, args=("action",), kwargs={"name": "again"}).start()
    assert await run == DONE


async def test_another_login_method_starts_when_it_is_chosen() -> None:
    harness = Harness(
        FakeFlow(CODE, None), FakeFlow(OpenUrl("https://auth.example/a?b=1", can_paste=True), None, DONE)
    )
    run = asyncio.create_task(harness.widget.run())
    await harness.until("code")
    harness.comm.says("action", name="browser")
    step = (await harness.until("open"))["step"]
    assert (step["href"], step["can_paste"]) == ("https://auth.example/a?b=1", True)
    harness.comm.says("submit", buffers=[b"http://localhost:1455/auth/callback?code=x"])
    assert await run == DONE
    assert harness.started == ["device", "browser"]


async def test_a_key_goes_to_the_flow_and_nowhere_else(caplog: pytest.LogCaptureFixture) -> None:
    harness = Harness(
        FakeFlow(CODE, None), FakeFlow(EnterSecret("OpenAI API key"), None, Waiting("Checking …"), DONE)
    )
    run = asyncio.create_task(harness.widget.run())
    await harness.until("code")
    harness.comm.says("action", name="api_key")
    assert (await harness.until("secret"))["step"]["what"] == "OpenAI API key"
    harness.comm.says("submit", buffers=[memoryview(KEY.encode())])
    assert await run == DONE
    harness.widget.finish()
    harness.comm.ready("v2")
    everything = f"{harness.comm.sent}{[output.shown for output in harness.notebook.outputs]}{caplog.text}"
    everything += f"{vars(harness.widget)}{harness.flows[1].submitted}"
    assert KEY not in everything
    assert [text.get_secret_value() for text in harness.flows[1].submitted] == [KEY]


async def test_a_reloaded_page_shows_the_step_again() -> None:
    harness = Harness(FakeFlow(CODE, None, DONE))
    run = asyncio.create_task(harness.widget.run())
    page = await harness.until("code")
    harness.comm.ready("v2")
    assert harness.page == page | {"view": "v2"}
    harness.comm.says("action", name="cancel")
    await run


async def test_an_address_that_is_not_of_the_web_is_no_link() -> None:
    harness = Harness(FakeFlow(OpenUrl("javascript:window.pwned=1", can_paste=False), None))
    run = asyncio.create_task(harness.widget.run())
    step = (await harness.until("open"))["step"]
    assert step["href"] == ""
    harness.comm.says("action", name="cancel")
    await run


@pytest.mark.parametrize("name", PAYLOADS)
async def test_no_hostile_account_or_plan_gets_through_in_the_saved_output(name: str) -> None:
    text = payload(name)
    harness = Harness(FakeFlow(SignedIn(text, text, text)))
    await harness.widget.run()
    harness.widget.finish()
    assert violations(harness.notebook.standing()[0]["text/html"]) == []


async def test_the_same_flow_runs_as_text() -> None:
    written: list[str] = []
    assert await sign_in_by_text(FakeFlow(CODE, DONE), written.append, no_question) == DONE
    assert "ABCD-1234" in written[0]
    assert CODE.url in written[0]
    assert written[1] == "Signed in as a…@example.com (ChatGPT Plus)."


@pytest.mark.parametrize("step", [CODE, OpenUrl("https://auth.example.com/login", can_paste=True)])
async def test_text_says_that_the_account_follows_where_no_cell_waits(step: LoginStep) -> None:
    written: list[str] = []
    await sign_in_by_text(FakeFlow(step, DONE), written.append, no_question, cell_waits=False)
    assert "Your account then appears here." in written[0]
    assert "This cell" not in written[0]


@pytest.mark.parametrize(
    "step",
    [
        EnterUserCode("AB\x1b]52;c;ZXZpbA==\x07CD", "https://a.example/\x9b2J", CODE.expires_at),
        OpenUrl("https://a.example/\x1b[2J", can_paste=True, note="Not \u202ethis."),
        SignedIn("ada\x1b[31m@example.com", "plus\u2066", "Note\x07"),
    ],
    ids=lambda step: type(step).__name__,
)
async def test_what_a_service_says_in_a_step_is_only_read_in_a_terminal(step: LoginStep) -> None:
    written: list[str] = []
    await sign_in_by_text(FakeFlow(step, DONE), written.append, no_question)
    assert [line for line in "".join(written).splitlines() if not line.isprintable()] == []


async def test_a_key_is_asked_for_without_showing_it() -> None:
    prompts: list[str] = []

    async def ask_hidden(prompt: str) -> str:
        prompts.append(prompt)
        return KEY

    flow = FakeFlow(EnterSecret("OpenAI API key"), None, DONE)
    written: list[str] = []
    assert await sign_in_by_text(flow, written.append, ask_hidden) == DONE
    assert prompts == ["OpenAI API key (hidden): "]
    assert KEY not in "".join(written)


async def no_question(prompt: str) -> str:
    raise AssertionError(prompt)


async def test_a_login_from_elsewhere_ends_the_sign_in_also_after_a_failure() -> None:
    appears = asyncio.Event()

    async def elsewhere() -> SignedIn:
        await appears.wait()
        return DONE

    failed = FakeFlow(LoginFailed("The device code expired before it was confirmed.", reason="expired"))
    for flow, shown in ((FakeFlow(CODE, None), "code"), (failed, "failed")):
        appears.clear()
        harness = Harness(flow, elsewhere=elsewhere)
        run = asyncio.create_task(harness.widget.run())
        await harness.until(shown)
        appears.set()
        assert await run == DONE
        harness.widget.finish()
        assert harness.notebook.standing()[0]["text/plain"] == "[Signed in as a…@example.com (ChatGPT Plus).]"
