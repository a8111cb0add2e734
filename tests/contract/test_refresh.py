"""The real Codex CLI refreshes its login at the simulator, and understands why a refresh is rejected."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from codex_nb.simulator import Simulator
from codex_nb.simulator.credentials import TokenSet
from tests.contract.cli import CodexCli
from tests.contract.test_logins import ca_of


def reasons(sim: Simulator) -> list[str]:
    return [each.body["refresh_reason"] for each in sim.requests.to("/oauth/token")]


def test_a_token_about_to_expire_is_renewed_before_the_turn(cli: CodexCli) -> None:
    before = cli.sim.write_login(cli.home, lifetime_s=100)
    assert cli.ask("say hi").code == 0
    assert reasons(cli.sim) == ["proactive_expiry"]
    assert cli.auth["tokens"]["refresh_token"] != before.refresh_token
    (request,) = cli.sim.requests.to("/responses", "POST")
    assert request.headers["authorization"] == f"Bearer {cli.auth['tokens']['access_token']}"


def test_a_refused_token_is_renewed_and_the_request_repeated(cli: CodexCli) -> None:
    before = cli.sim.write_login(cli.home)
    cli.sim.expire_access_tokens()
    assert cli.ask("say hi").code == 0
    assert (reasons(cli.sim), cli.sim.refreshes) == (["unauthorized_recovery"], 1)
    assert cli.auth["tokens"]["refresh_token"] != before.refresh_token


def spend(cli: CodexCli, tokens: TokenSet) -> None:
    body = {"grant_type": "refresh_token", "refresh_token": tokens.refresh_token}
    answer = httpx.post(f"{cli.sim.issuer}/oauth/token", json=body, verify=ca_of(cli), trust_env=False)
    assert answer.status_code == 200
    cli.sim.expire_access_tokens()
    cli.sim.requests.clear()


def age(cli: CodexCli, _: TokenSet) -> None:
    cli.sim.expire_access_tokens()
    cli.sim.expire_refresh_tokens()


def revoke(cli: CodexCli, tokens: TokenSet) -> None:
    cli.sim.revoke(tokens.refresh_token)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spend, "your refresh token was already used"),
        (age, "your refresh token has expired"),
        (revoke, "your refresh token was revoked"),
    ],
)
def test_a_login_that_cannot_be_renewed_is_explained(
    cli: CodexCli, spoil: Callable[[CodexCli, TokenSet], None], words: str
) -> None:
    spoil(cli, cli.sim.write_login(cli.home))
    outcome = cli.ask("say hi")
    assert (outcome.code, words in outcome.words) == (1, True)
    assert set(reasons(cli.sim)) == {"unauthorized_recovery"}
    assert "Please log out and sign in again" in outcome.words
