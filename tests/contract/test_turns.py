"""The real Codex CLI completes its turns on the simulator."""

from __future__ import annotations

from pathlib import Path

import pytest

from codex_nb.simulator import Call, End, Reply, Say, Scenario, Simulator, Think, error_replies
from tests.contract.cli import CodexCli

SIGNED = "This answer comes from the codex_nb simulator"


@pytest.mark.parametrize("model", ["simulator-classic", "simulator-lite"])
def test_a_turn_of_the_built_in_provider_over_tls(cli: CodexCli, model: str) -> None:
    cli.sim.write_login(cli.home)
    outcome = cli.ask("say hi", "--model", model)
    assert (outcome.code, SIGNED in outcome.text) == (0, True)
    assert outcome.usage["output_tokens"] > 0
    (request,) = cli.sim.requests.to("/responses", "POST")
    assert (request.headers["content-encoding"], request.status, request.outcome) == ("zstd", 200, "answered")
    lite = request.headers.get("x-openai-internal-codex-responses-lite") == "true"
    assert lite == (model == "simulator-lite")
    assert ("tools" in request.body) != lite
    assert [each.status for each in cli.sim.requests.to("/responses", "WEBSOCKET")] == [426]
    assert [each.status for each in cli.sim.requests.to("/wham/accounts/check")] == [200]


def test_a_turn_of_a_custom_provider_over_plain_http(codex_program: Path, tmp_path: Path) -> None:
    with Simulator() as sim:
        cli = CodexCli(codex_program, sim, tmp_path)
        cli.configure(sim.config_toml("custom"))
        sim.write_login(cli.home)
        outcome = cli.ask("say hi")
        (request,) = sim.requests.to("/responses", "POST")
    assert (outcome.code, SIGNED in outcome.text) == (0, True)
    assert "content-encoding" not in request.headers


def test_a_turn_with_an_api_key(cli: CodexCli) -> None:
    cli.configure(cli.sim.config_toml("api"))
    key = cli.sim.write_api_key(cli.home)
    outcome = cli.ask("say hi")
    assert (outcome.code, SIGNED in outcome.text) == (0, True)
    (request,) = cli.sim.requests.to("/responses", "POST")
    assert (request.path, request.headers["authorization"]) == ("/v1/responses", f"Bearer {key}")
    assert cli.sim.requests.count("/models") == 0


def test_a_tool_call_is_run_and_its_whole_history_is_accepted(cli: CodexCli) -> None:
    cli.sim.write_login(cli.home)
    call = Call("exec_command", {"cmd": "echo from-$((40 + 2))"}, "call_1")
    cli.sim.play(
        Scenario(
            (
                Reply(stream=(Think(("I run a command.",)), Say("One moment."), call, End())),
                Reply(stream=(Say("It has run."), End())),
            )
        )
    )
    outcome = cli.ask("run it")
    assert (outcome.code, outcome.text) == (0, "One moment.\nIt has run.")
    _, second = cli.sim.requests.to("/responses", "POST")
    kinds = [item["type"] for item in second.body["input"][-4:]]
    assert kinds == ["reasoning", "message", "function_call", "function_call_output"]
    assert "from-42" in second.body["input"][-1]["output"]


def test_a_resumed_thread_is_recognised_by_the_prompt_cache(cli: CodexCli) -> None:
    cli.sim.write_login(cli.home)
    first = cli.ask("say hi")
    second = cli.ask("and again", "resume", "--last")
    assert (second.code, first.usage["cached_input_tokens"]) == (0, 0)
    assert second.usage["cached_input_tokens"] > 1000
    one, two = cli.sim.requests.to("/responses", "POST")
    assert two.body["input"][: len(one.body["input"])] == one.body["input"]


def test_a_long_thread_is_compacted_by_a_trigger_in_the_input(cli: CodexCli) -> None:
    cli.configure("model_auto_compact_token_limit = 2000\n" + cli.sim.config_toml())
    cli.sim.write_login(cli.home)
    cli.ask("say hi")
    outcome = cli.ask("and again", "resume", "--last")
    assert (outcome.code, "a summary of earlier turns" in outcome.text) == (0, True)
    _, trigger, after = (each.body["input"] for each in cli.sim.requests.to("/responses", "POST"))
    assert trigger[-1] == {"type": "compaction_trigger"}
    assert [item["type"] for item in after].count("compaction") == 1


def test_a_usage_limit_is_understood(cli: CodexCli) -> None:
    cli.sim.write_login(cli.home)
    cli.sim.play(Scenario((error_replies.usage_limit_reached(times=None),)))
    outcome = cli.ask("say hi")
    assert outcome.code == 1
    assert "hit your usage limit" in outcome.words
    assert cli.sim.requests.count("/responses", "POST") == 1


def test_an_answer_that_breaks_off_is_asked_for_again(cli: CodexCli) -> None:
    cli.sim.write_login(cli.home)
    cli.sim.play(
        Scenario((error_replies.cut(Say("half an ans")), Reply(stream=(Say("A whole one."), End()))))
    )
    outcome = cli.ask("say hi")
    assert outcome.code == 0
    assert "A whole one." in outcome.text
    assert [each.outcome for each in cli.sim.requests.to("/responses", "POST")] == ["cut", "answered"]
