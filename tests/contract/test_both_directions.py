"""One CODEX_HOME, two programs: each uses what the other writes, and a refresh by either serves both."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from codex_nb.simulator import ADA, GRACE
from tests import tiers
from tests.contract.cli import CodexCli, Outcome
from tests.contract.test_logins import sign_in_by_device
from tests.patience import PATIENCE_S

ASK = "import codex_nb; print(codex_nb.ask('say hi').text)"


def ours(cli: CodexCli, *arguments: str, stdin: str | None = None) -> Outcome:
    """Run our own program in the CLI's home and environment."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cli.folder,
        env=cli.environ() | {"PYTHONPATH": str(tiers.ROOT)},
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return Outcome(done.returncode, done.stdout + done.stderr)


def by_device(cli: CodexCli) -> None:
    sign_in_by_device(cli)


def by_personal_token(cli: CodexCli) -> None:
    cli.run("login", "--with-access-token", stdin=cli.sim.new_personal_token(GRACE))


def by_agent_identity(cli: CodexCli) -> None:
    cli.run("login", "--with-access-token", stdin=cli.sim.new_agent_identity(GRACE))


@pytest.mark.parametrize("sign_in", [by_device, by_personal_token, by_agent_identity])
def test_a_login_of_the_cli_answers_here(cli: CodexCli, sign_in: Callable[[CodexCli], None]) -> None:
    sign_in(cli)
    written = (cli.home / "auth.json").read_bytes()
    answer = ours(cli, "-c", ASK)
    assert (answer.code, "codex_nb simulator" in answer.words) == (0, True), answer.words
    (request,) = cli.sim.requests.to("/responses", "POST")
    assert request.headers["chatgpt-account-id"] == GRACE.account_id
    assert (cli.home / "auth.json").read_bytes() == written


def test_an_api_key_that_the_cli_stored_answers_here(cli: CodexCli) -> None:
    cli.configure(cli.sim.config_toml("api", model="simulator-classic"))
    key = cli.sim.new_api_key()
    cli.run("login", "--with-api-key", stdin=key)
    assert "codex_nb simulator" in ours(cli, "-c", ASK).words
    (request,) = cli.sim.requests.to("/v1/responses", "POST")
    assert request.headers["authorization"] == f"Bearer {key}"


def test_a_renewal_here_serves_the_cli(cli: CodexCli) -> None:
    cli.sim.write_login(cli.home, ADA, lifetime_s=100)
    assert ours(cli, "-c", ASK).code == 0
    assert cli.sim.refreshes == 1
    assert "Logged in using ChatGPT" in cli.run("login", "status").words
    assert cli.ask("say hi").code == 0
    assert cli.sim.refreshes == 1


def test_a_renewal_by_the_cli_serves_us(cli: CodexCli) -> None:
    cli.sim.write_login(cli.home, ADA, lifetime_s=100)
    assert cli.ask("say hi").code == 0
    assert cli.sim.refreshes == 1
    assert ours(cli, "-c", ASK).code == 0
    assert cli.sim.refreshes == 1


def test_a_renewal_here_is_adopted_by_a_cli_that_is_running(cli: CodexCli) -> None:
    cli.sim.write_login(cli.home, ADA)
    with cli.app_server() as server:
        thread = server.ask("thread/start")["thread"]["id"]
        assert server.turn(thread, "say hi") == "completed"
        cli.sim.expire_access_tokens()
        assert ours(cli, "-c", ASK).code == 0
        assert cli.sim.refreshes == 1
        assert server.turn(thread, "and again") == "completed"
    assert cli.sim.refreshes == 1


RUNNING = """
import sys, codex_nb
for line in sys.stdin:
    print(codex_nb.ask(line).status, flush=True)
"""


def test_a_renewal_by_the_cli_is_adopted_by_us_while_we_run(cli: CodexCli) -> None:
    cli.sim.write_login(cli.home, ADA)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", RUNNING]
    with subprocess.Popen(command, cwd=cli.folder, env=cli.environ(), **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask() -> str:
            process.stdin.write("say hi\n")
            process.stdin.flush()
            return str(process.stdout.readline().strip())

        assert ask() == "completed"
        cli.sim.expire_access_tokens()
        assert cli.ask("say hi").code == 0
        assert ask() == "completed"
        process.stdin.close()
    assert cli.sim.refreshes == 1


@pytest.mark.parametrize("lifetime_s", [100, 36_000], ids=["about to expire", "refused"])
def test_nobody_ends_signed_out_when_both_programs_renew_at_once(cli: CodexCli, lifetime_s: float) -> None:
    cli.sim.write_login(cli.home, ADA, lifetime_s=lifetime_s)
    cli.sim.expire_access_tokens()
    with ThreadPoolExecutor(8) as pool:
        theirs = [pool.submit(cli.ask, "say hi") for _ in range(4)]
        mine = [pool.submit(ours, cli, "-c", ASK) for _ in range(4)]
        outcomes = [each.result() for each in (*theirs, *mine)]
    assert [outcome.code for outcome in outcomes] == [0] * 8, [outcome.words for outcome in outcomes]
    spent = cli.sim.refreshes
    assert cli.ask("say hi").code == 0
    assert ours(cli, "-c", ASK).code == 0
    assert cli.sim.refreshes == spent


def test_signing_out_here_signs_the_cli_out(cli: CodexCli) -> None:
    tokens = cli.sim.write_login(cli.home)
    assert ours(cli, "-m", "codex_nb", "logout").code == 0
    assert "Not logged in" in cli.run("login", "status").words
    assert [each.body["token"] for each in cli.sim.requests.to("/oauth/revoke")] == [tokens.refresh_token]
