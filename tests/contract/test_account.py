"""The account, models and limits that the real Codex CLI reads from the simulator."""

from __future__ import annotations

from codex_nb.simulator import GRACE, Account, Limits, LimitWindow
from tests.contract.cli import CodexCli


def test_limits_and_plan_are_read(cli: CodexCli) -> None:
    cli.sim.change(limits=Limits(LimitWindow(33.0, 300, 60), LimitWindow(5.0, 10_080, 600), balance="3"))
    cli.sim.write_login(cli.home, GRACE)
    with cli.app_server() as server:
        limits = server.ask("account/rateLimits/read")["rateLimits"]
    windows = [
        (limits[name]["usedPercent"], limits[name]["windowDurationMins"]) for name in ("primary", "secondary")
    ]
    assert windows == [(33, 300), (5, 10_080)]
    assert (limits["planType"], limits["credits"]["balance"]) == (GRACE.plan, "3")


def test_the_account_and_its_routing_are_read(cli: CodexCli) -> None:
    account = Account(email="eve@example.com", plan="pro", routing_override="us")
    cli.sim.write_login(cli.home, account)
    with cli.app_server() as server:
        answer = server.ask("account/read", refreshToken=False)
    assert (answer["account"]["email"], answer["account"]["planType"]) == ("eve@example.com", "pro")
    assert answer["workspaceRouting"]["accountRoutingOverride"] == "us"


def test_the_model_list_takes_the_place_of_the_built_in_one(cli: CodexCli) -> None:
    cli.sim.write_login(cli.home)
    cli.ask("say hi")
    with cli.app_server() as server:
        models = server.ask("model/list")["data"]
    assert [model["id"] for model in models] == ["simulator-classic", "simulator-lite"]
    assert [effort["reasoningEffort"] for effort in models[0]["supportedReasoningEfforts"]] == [
        "low",
        "medium",
        "high",
    ]


def test_a_turn_goes_to_the_origin_of_the_workspace(cli: CodexCli) -> None:
    elsewhere = cli.sim.base_url.replace("127.0.0.1", "localhost")
    cli.sim.write_login(cli.home, Account(backend_origin=elsewhere, routing_override="us_cr"))
    assert cli.ask("say hi").code == 0
    (request,) = cli.sim.requests.to("/responses", "POST")
    assert f"https://{request.headers['host']}" == elsewhere
    assert request.headers["x-openai-account-routing-override"] == "us_cr"
