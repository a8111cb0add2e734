"""The real Codex CLI completes its turns over a websocket, which is its usual way."""

from __future__ import annotations

import pytest

from codex_nb.simulator import FRAME, WEBSOCKET, Call, End, Reply, Say, Scenario, Think, error_replies
from tests.contract.cli import CodexCli

SIGNED = "This answer comes from the codex_nb simulator"


@pytest.fixture
def cli(cli: CodexCli) -> CodexCli:
    """Let the simulator take websockets."""
    cli.sim.change(websockets=True)
    cli.sim.write_login(cli.home)
    return cli


@pytest.mark.parametrize("model", ["simulator-classic", "simulator-lite"])
def test_a_turn_is_warmed_up_and_answered_in_frames(cli: CodexCli, model: str) -> None:
    outcome = cli.ask("say hi", "--model", model)
    assert (outcome.code, SIGNED in outcome.text) == (0, True)
    assert outcome.usage["output_tokens"] > 0
    assert [each.status for each in cli.sim.requests.to("/responses", WEBSOCKET)] == [101]
    assert cli.sim.requests.count("/responses", "POST") == 0
    prewarm, turn = (each.body for each in cli.sim.requests.to("/responses", FRAME))
    assert (prewarm["generate"], "generate" in turn, "previous_response_id" in turn) == (False, False, True)


def test_a_turn_with_an_api_key_goes_over_its_websocket(cli: CodexCli) -> None:
    cli.configure(cli.sim.config_toml("api"))
    cli.sim.write_api_key(cli.home)
    outcome = cli.ask("say hi")
    assert (outcome.code, SIGNED in outcome.text) == (0, True)
    assert {each.path for each in cli.sim.requests.to("/responses", FRAME)} == {"/v1/responses"}


def test_a_tools_output_is_all_that_follows_its_call(cli: CodexCli) -> None:
    call = Call("exec_command", {"cmd": "echo from-$((40 + 2))"}, "call_1")
    first = Reply(stream=(Think(("I run a command.",)), Say("One moment."), call, End()))
    cli.sim.play(Scenario((first, Reply(stream=(Say("It has run."), End())))))
    outcome = cli.ask("run it")
    assert (outcome.code, outcome.text) == (0, "One moment.\nIt has run.")
    *_, asked, answered = (each.body for each in cli.sim.requests.to("/responses", FRAME))
    assert [item["type"] for item in answered["input"]] == ["function_call_output"]
    assert "from-42" in answered["input"][0]["output"]
    assert answered["previous_response_id"] != asked["previous_response_id"]


@pytest.mark.parametrize(
    "refusal",
    [
        error_replies.previous_response_not_found("resp_1"),
        error_replies.websocket_connection_limit_reached(),
        error_replies.cut(Say("half an ans")),
    ],
    ids=["forgotten", "too old", "cut"],
)
def test_a_lost_connection_is_replaced_and_everything_sent_again(cli: CodexCli, refusal: Reply) -> None:
    cli.sim.play(Scenario((refusal, Reply(stream=(Say("A whole one."), End())))))
    outcome = cli.ask("say hi")
    assert outcome.code == 0
    assert "A whole one." in outcome.text
    assert cli.sim.requests.count("/responses", WEBSOCKET) == 2
    assert "previous_response_id" not in cli.sim.requests.to("/responses", FRAME)[-1].body


def test_a_usage_limit_in_a_frame_is_understood(cli: CodexCli) -> None:
    cli.sim.play(Scenario((error_replies.usage_limit_reached(times=None),)))
    outcome = cli.ask("say hi")
    assert outcome.code == 1
    assert "hit your usage limit" in outcome.words
