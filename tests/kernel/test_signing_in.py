"""A session that expires during a cell, in a real kernel: the contents and order of the saved cell."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from codex_nb.simulator import Call, End, Reply, Say, Simulator
from tests.kernel.front_ends import APPROVE, Answer, AskingFrontEnd, Colab, Console, Headless, Page, left_of
from tests.kernel.kernel_client import RunningKernel, running
from tests.kernel.provision import VERSIONS


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def kernel(sim: Simulator, tmp_path: Path) -> Iterator[RunningKernel]:
    """Start a kernel that is signed in to the simulator."""
    (tmp_path / "config.toml").write_text(sim.config_toml())
    sim.write_login(tmp_path)
    environ = {**os.environ, **sim.environ(), "CODEX_HOME": str(tmp_path)}
    with running(VERSIONS[-1], environ) as kernel:
        assert kernel.run("%load_ext codex_nb")["status"] == "ok"
        assert (
            kernel.run("%%codex --no-context\nHello")["status"] == "ok"
        )  # the words of a first use are said
        sim.requests.clear()
        yield kernel


class SigningPage(Page):
    """A page whose person confirms each code that a sign-in shows, cancels, interrupts, or signs in ``elsewhere``."""

    def __init__(
        self,
        sim: Simulator,
        *,
        cancels: bool = False,
        interrupts: bool = False,
        elsewhere: Callable[[], object] | None = None,
    ) -> None:
        super().__init__()
        self._sim = sim
        self._elsewhere = elsewhere
        self._cancels = cancels
        self._interrupts = interrupts
        self.codes: list[str] = []

    def _hear(
        self, kernel: RunningKernel, comm: str, told: Mapping[str, Any], on_ask: Callable[[str], Answer]
    ) -> None:
        step = told.get("step", {})
        if step.get("kind") == "code":
            if self._cancels:
                self._say(kernel, comm, {"kind": "action", "name": "cancel", "view": "view"})
            elif self._interrupts:
                kernel.manager.interrupt_kernel()
            elif self._elsewhere is not None:
                self._elsewhere()
            elif step["code"] not in self.codes:
                self.codes.append(step["code"])
                self._sim.approve_device_code(step["code"])
        super()._hear(kernel, comm, told, on_ask)


def expire(sim: Simulator) -> None:
    sim.expire_access_tokens()
    sim.expire_refresh_tokens()


def test_a_sign_in_before_the_answer_stands_above_it_and_no_output_is_empty(
    kernel: RunningKernel, sim: Simulator
) -> None:
    expire(sim)
    ran = SigningPage(sim).run(kernel, "%%codex --no-context\nWho are you?", lambda _: APPROVE)
    first, second = left_of(kernel)
    assert ran.status == "ok"
    assert first.startswith("[Signed in as a…@example.com")
    assert "comes from the codex_nb simulator" in second


def test_a_cell_that_waits_for_a_sign_in_goes_on_when_another_program_writes_the_login(
    kernel: RunningKernel, sim: Simulator, tmp_path: Path
) -> None:
    expire(sim)
    page = SigningPage(sim, elsewhere=lambda: sim.write_login(tmp_path))
    ran = page.run(kernel, "%%codex --no-context\nWho are you?", lambda _: APPROVE)
    first, second = left_of(kernel)
    assert (ran.status, sim.requests.count("/deviceauth/usercode")) == ("ok", 1)
    assert first.startswith("[Signed in as a…@example.com")
    assert "comes from the codex_nb simulator" in second


def test_a_session_that_ends_between_two_steps_goes_on_after_the_sign_in_with_what_it_had(
    kernel: RunningKernel, sim: Simulator
) -> None:
    sim.add_replies(
        Reply(stream=(Say("I will look."), Call("run_python", {"code": "print('it', 'ran')"}), End())),
    )

    def approve(_: str) -> Answer:
        expire(sim)
        return APPROVE

    ran = SigningPage(sim).run(kernel, "%%codex --no-context\nDo it.", approve)
    told, printed, signed_in, answer = left_of(kernel)
    assert (ran.status, len(ran.asked)) == ("ok", 1)
    assert told.startswith("I will look.\n\n[Python (done)]")
    assert printed == "it ran\n"
    assert signed_in.startswith("[Signed in as a…@example.com")
    assert "it ran" in answer
    assert kernel.value("[call.output for call in _codex.tool_calls]") == ["it ran"]


def test_a_person_who_cancels_in_the_middle_is_told_below_what_there_was(
    kernel: RunningKernel, sim: Simulator
) -> None:
    sim.add_replies(
        Reply(stream=(Say("I will look."), Call("run_python", {"code": "print('it', 'ran')"}), End())),
    )

    def approve(_: str) -> Answer:
        expire(sim)
        return APPROVE

    ran = SigningPage(sim, cancels=True).run(kernel, "%%codex --no-context\nDo it.", approve)
    told, printed, cancelled, ended, _ = left_of(kernel)
    assert (ran.status, told.splitlines()[0], printed) == ("error", "I will look.", "it ran\n")
    assert cancelled == "[Sign-in cancelled. Nothing was changed.]"
    assert "Sign in again with %codex login.]" in ended


def test_an_interrupt_during_a_sign_in_leaves_no_widget_behind(kernel: RunningKernel, sim: Simulator) -> None:
    expire(sim)
    page = SigningPage(sim, interrupts=True)
    ran = page.run(kernel, "%%codex --no-context\nWho are you?", lambda _: APPROVE)
    cancelled, ended, _ = left_of(kernel)
    assert (ran.status, cancelled) == ("error", "[Sign-in cancelled. Nothing was changed.]")
    assert ended.startswith("[Stopped.")
    assert kernel.value("_codex.status") == "cancelled"


@pytest.mark.parametrize("front_end", [Console(), Colab()], ids=["console", "document"])
@pytest.mark.parametrize(
    ("typed", "is_signed_in"), [("y", False), ("Yes ", False), ("n", True), ("", True), ("what?", True)]
)
def test_signing_out_is_asked_about_where_somebody_can_answer(
    kernel: RunningKernel,
    sim: Simulator,
    tmp_path: Path,
    front_end: AskingFrontEnd,
    typed: str,
    is_signed_in: bool,
) -> None:
    kernel.published.clear()
    ran = front_end.run(kernel, "%codex logout", lambda _: {"typed": typed})
    (question,) = ran.asked
    assert (ran.status, "a…@example.com" in question) == ("ok", True)
    assert (tmp_path / "auth.json").exists() == is_signed_in
    assert (sim.requests.count("/oauth/revoke") == 0) == is_signed_in
    assert ("Signed out of" in left_of(kernel)[-1]) != is_signed_in


def test_where_nobody_can_answer_a_typed_sign_out_is_carried_out(
    kernel: RunningKernel, tmp_path: Path
) -> None:
    kernel.published.clear()
    ran = Headless().run(kernel, "%codex logout", nobody_asks)
    assert (ran.status, (tmp_path / "auth.json").exists()) == ("ok", False)
    assert "a…@example.com" in left_of(kernel)[-1]


def test_who_is_not_signed_in_is_asked_nothing(kernel: RunningKernel, tmp_path: Path) -> None:
    (tmp_path / "auth.json").unlink()
    kernel.published.clear()
    assert Console().run(kernel, "%codex logout", nobody_asks).asked == []
    assert "not signed in" in left_of(kernel)[-1]


def nobody_asks(prompt: str) -> Answer:
    message = f"nothing should ask: {prompt}"
    raise AssertionError(message)
