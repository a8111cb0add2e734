"""A host program hands tokens in: nothing of it is written, and it is asked again when they are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from codex_nb.auth.sources import ExternalTokens, TokenRequest
from codex_nb.simulator import Simulator
from tests.leaks import find_leaks_in_files
from tests.magics.conftest import Notebook

asked: list[str] = []
handed: list[ExternalTokens] = []


def provide(request: TokenRequest) -> ExternalTokens:
    """Stand for the host program."""
    asked.append(request.reason)
    return handed[min(len(asked), len(handed)) - 1]


@pytest.fixture
def host_program(notebook: Notebook, codex_home: Path, sim: Simulator) -> list[str]:
    """Leave nobody signed in and let the host program hand in a login that has ended, then a good one."""
    (codex_home / "auth.json").unlink()
    asked.clear()
    first = sim.sign_in()
    sim.revoke(first.refresh_token)
    second = sim.sign_in()
    account = second.account.account_id
    handed[:] = [ExternalTokens(SecretStr(each.access_token), account, "plus") for each in (first, second)]
    notebook.run(f"%config CodexMagics.token_provider = '{__name__}:provide'")
    return [first.access_token, second.access_token]


def test_the_host_program_is_asked_again_on_401_and_the_cell_is_answered(
    notebook: Notebook, host_program: list[str], codex_home: Path
) -> None:
    assert notebook.run("%%codex\nhello").succeeded
    assert asked == ["start", "unauthorized"]
    secrets = {"first": host_program[0], "second": host_program[1]}
    assert find_leaks_in_files([codex_home], secrets) == []
    assert not (codex_home / "auth.json").exists()


def test_a_sign_out_says_whose_the_login_is(
    notebook: Notebook, codex_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (codex_home / "auth.json").unlink()
    monkeypatch.setenv("CODEX_NB_TOKEN_URL", "http://127.0.0.1:9/services/codex/token")
    said = notebook.run("%codex logout").out
    assert "http://127.0.0.1:9/services/codex/" in said
    assert "not signed in" not in said


def test_a_host_program_that_is_not_there_is_named(notebook: Notebook) -> None:
    notebook.run("%config CodexMagics.token_provider = 'nowhere_at_all:provide'")
    ran = notebook.run("%%codex\nhello")
    assert "The token provider 'nowhere_at_all:provide' cannot be imported" in ran.shown


def test_what_is_sent_where_is_said_once(notebook: Notebook) -> None:
    said = [
        "Before your first question:" in notebook.run(f"%codex question {number}").out for number in range(2)
    ]
    assert said == [True, False]
