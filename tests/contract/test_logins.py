"""The real Codex CLI signs in to the simulator with each login method, and out again."""

from __future__ import annotations

import re
import stat
from typing import Any

import httpx

from codex_nb.simulator import ADA, GRACE
from tests.contract.cli import CodexCli
from tests.patience import PATIENCE_S

DEVICE_LOGIN = ("login", "--device-auth", "--experimental_issuer")


def sign_in_by_device(cli: CodexCli) -> str:
    """Sign in, with Grace confirming the code at the simulator's page; what the CLI printed."""
    sim = cli.sim
    with cli.running(*DEVICE_LOGIN, sim.issuer) as process:
        assert sim.requests.wait(lambda log: log.count("/deviceauth/token") > 0, 30)
        (code,) = sim.waiting_device_codes()
        form = {"user_code": code, "email": GRACE.email, "decision": "confirm"}
        page = httpx.post(f"{sim.issuer}/codex/device", data=form, verify=ca_of(cli), trust_env=False)
        assert "Signed in" in page.text
        words, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, words
        assert code in words
    return words


def ca_of(cli: CodexCli) -> Any:
    import ssl

    return ssl.create_default_context(cafile=str(cli.sim.ca_file))


def shape(value: Any) -> Any:
    """The keys of a JSON object in their order, values as their types."""
    if isinstance(value, dict):
        return [(key, shape(each)) for key, each in value.items()]
    return type(value).__name__


def test_a_device_login_writes_the_file_that_the_simulator_would_write(cli: CodexCli) -> None:
    assert "Successfully logged in" in sign_in_by_device(cli)
    file = cli.home / "auth.json"
    theirs, text = cli.auth, file.read_text()
    assert theirs["tokens"]["account_id"] == GRACE.account_id
    assert theirs["tokens"]["oauth_provenance"]["issuer"] == cli.sim.issuer
    cli.sim.write_login(cli.home, GRACE)
    pattern = r'"last_refresh": "\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"\n}$'
    assert shape(theirs) == shape(cli.auth)
    assert [bool(re.search(pattern, each)) for each in (text, file.read_text())] == [True, True]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "Logged in using ChatGPT" in cli.run("login", "status").words


def test_a_login_that_the_person_denies_writes_nothing(cli: CodexCli) -> None:
    with cli.running(*DEVICE_LOGIN, cli.sim.issuer) as process:
        assert cli.sim.requests.wait(lambda log: log.count("/deviceauth/token") > 0, 30)
        (code,) = cli.sim.waiting_device_codes()
        cli.sim.deny_device_code(code)
        words, _ = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, "device auth failed with status 400" in words) == (1, True)
    assert not (cli.home / "auth.json").exists()


def test_logging_out_revokes_the_login(cli: CodexCli) -> None:
    tokens = cli.sim.write_login(cli.home)
    assert "Successfully logged out" in cli.run("logout").words
    (revocation,) = cli.sim.requests.to("/oauth/revoke")
    assert revocation.body["token"] == tokens.refresh_token
    assert not (cli.home / "auth.json").exists()
    answer = httpx.get(
        f"{cli.sim.chatgpt_base_url}/wham/usage",
        headers={"authorization": f"Bearer {tokens.access_token}"},
        verify=ca_of(cli),
        trust_env=False,
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "token_invalidated")


def test_a_personal_access_token_is_checked_and_used(cli: CodexCli) -> None:
    token = cli.sim.new_personal_token(GRACE)
    assert "Successfully logged in" in cli.run("login", "--with-access-token", stdin=token).words
    assert cli.auth == {"OPENAI_API_KEY": None, "personal_access_token": token}
    assert "simulator" in cli.ask("say hi").text
    (request,) = cli.sim.requests.to("/responses", "POST")
    assert request.headers["authorization"] == f"Bearer {token}"
    assert request.headers["chatgpt-account-id"] == GRACE.account_id


def test_an_agent_identity_registers_its_task_and_signs_each_request(cli: CodexCli) -> None:
    identity = cli.sim.new_agent_identity(GRACE)
    assert "Successfully logged in" in cli.run("login", "--with-access-token", stdin=identity).words
    assert (cli.auth["auth_mode"], cli.auth["agent_identity"]) == ("agentIdentity", identity)
    assert "simulator" in cli.ask("say hi").text
    (request,) = cli.sim.requests.to("/responses", "POST")
    assert request.headers["authorization"].startswith("AgentAssertion ")
    assert request.headers["chatgpt-account-id"] == GRACE.account_id
    assert {each.status for each in cli.sim.requests.to("/task/register")} == {200}


def test_an_api_key_login_needs_no_network(cli: CodexCli) -> None:
    key = cli.sim.new_api_key()
    assert cli.run("login", "--with-api-key", stdin=f"{key}\n").code == 0
    assert cli.auth == {"auth_mode": "apikey", "OPENAI_API_KEY": key}
    assert "API key configured" in cli.run("login", "status").words
    assert len(cli.sim.requests) == 0


def test_a_browser_login_comes_back_to_the_cli_and_gives_an_api_key_too(cli: CodexCli) -> None:
    with cli.app_server() as server:
        url = server.ask("account/login/start", type="chatgpt")["authUrl"]
        assert url.startswith(f"{cli.sim.issuer}/oauth/authorize?")
        page = httpx.get(url, verify=ca_of(cli), trust_env=False)
        assert (page.status_code, ADA.email in page.text) == (200, True)
        httpx.get(cli.sim.answer_authorization(url, ADA), trust_env=False, follow_redirects=True)
        done = next(each for each in server.messages() if each.get("method") == "account/login/completed")
    assert (done["params"]["success"], done["params"]["error"]) == (True, None)
    assert cli.auth["tokens"]["account_id"] == ADA.account_id
    grants = [each.body["grant_type"].rpartition(":")[2] for each in cli.sim.requests.to("/oauth/token")]
    assert grants == ["authorization_code", "token-exchange"]
    assert cli.auth["OPENAI_API_KEY"].startswith("sk-simulated-")
