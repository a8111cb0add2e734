"""Several accounts side by side: each answers for itself, says so, and none takes another's place silently."""

from __future__ import annotations

from pathlib import Path

import pytest

from codex_nb.simulator import ADA, GRACE, Simulator
from tests.magics.conftest import Notebook

CHANGED = ("A different account is signed in", "a…@example.com", "g…@example.org")
WAY_ON = "Run %codex login, or %reload_ext codex_nb to continue with the account on disk."


@pytest.fixture
def work(codex_home: Path, sim: Simulator) -> Path:
    """Give Grace's login a codex_home of its own below the CODEX_HOME, as the profile "work"."""
    folder = codex_home / "profiles" / "work"
    folder.mkdir(parents=True, mode=0o700)
    sim.write_home(folder, GRACE)
    return folder


def asked_as(sim: Simulator) -> list[str]:
    """Name the accounts that the questions went out as."""
    return [request.headers["chatgpt-account-id"] for request in sim.requests.to("/responses")]


@pytest.mark.usefixtures("work")
def test_two_profiles_of_one_session_answer_each_as_its_own_account(
    notebook: Notebook, sim: Simulator
) -> None:
    cells = ("%%codex\nfirst", "%%codex --profile work\nsecond", "%%codex\nthird")
    shown = [notebook.run(cell).out for cell in cells]
    assert asked_as(sim) == [ADA.account_id, GRACE.account_id, ADA.account_id]
    paid = [["ChatGPT Plus" in text, "ChatGPT Business" in text] for text in shown]
    assert paid == [[True, False], [False, True], [True, False]]


@pytest.mark.usefixtures("work")
def test_a_profile_chosen_for_the_session_answers_until_another_is_chosen(
    notebook: Notebook, sim: Simulator
) -> None:
    notebook.run("%config CodexMagics.profile = 'work'")
    notebook.run("%%codex\nfirst")
    notebook.run("import codex_nb; codex_nb.ask('second')")
    notebook.run("%config CodexMagics.profile = None")
    notebook.run("%%codex\nthird")
    assert asked_as(sim) == [GRACE.account_id, GRACE.account_id, ADA.account_id]


def test_a_question_is_asked_as_the_notebooks_project_and_the_dotenv_of_the_home_say(
    notebook: Notebook, sim: Simulator, codex_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    (project / ".codex").mkdir(parents=True)
    (project / ".codex" / "config.toml").write_text('model_reasoning_effort = "high"\nmodel_provider = "x"\n')
    trust = f'\n[projects."{project}"]\ntrust_level = "trusted"\n'
    (codex_home / "config.toml").write_text(sim.config_toml("api") + trust)
    key = sim.new_api_key()
    (codex_home / ".env").write_text(f"CODEX_HOME=/nowhere\nOPENAI_API_KEY={key}\n")
    monkeypatch.chdir(project)
    notebook.run("%config CodexMagics.openai_api_key = 'use'")
    said = notebook.run("%%codex\nhi").out
    [request] = sim.requests.to("/responses", "POST")
    assert (request.body["reasoning"]["effort"], request.headers["authorization"]) == (
        "high",
        f"Bearer {key}",
    )
    assert "may not set model_provider" in said
    assert key not in said


def test_signing_out_of_one_profile_leaves_the_other_as_it_was(
    notebook: Notebook, codex_home: Path, work: Path, sim: Simulator
) -> None:
    before = (codex_home / "auth.json").read_bytes()
    assert "Signed out" in notebook.run("%codex logout work").out
    assert not (work / "auth.json").exists()
    assert (codex_home / "auth.json").read_bytes() == before
    assert notebook.run("%%codex\nstill here").succeeded
    assert "You are not signed in." in notebook.run("%%codex --profile work\nhello").shown
    assert asked_as(sim) == [ADA.account_id]


def test_a_login_in_memory_leaves_the_files_alone(
    notebook: Notebook, codex_home: Path, sim: Simulator
) -> None:
    config = codex_home / "config.toml"
    config.write_text(config.read_text().replace('= "file"', '= "ephemeral"'))
    before = (codex_home / "auth.json").read_bytes()
    assert "You are not signed in." in notebook.run("%%codex\nhello").shown
    assert "memory" in notebook.run("%codex status").out
    assert (codex_home / "auth.json").read_bytes() == before
    assert asked_as(sim) == []


@pytest.mark.parametrize("question", ["%%codex\nsecond", "import codex_nb; codex_nb.ask('second')"])
def test_another_account_on_disk_is_one_line_and_nothing_is_sent(
    notebook: Notebook, codex_home: Path, sim: Simulator, question: str
) -> None:
    assert notebook.run("%%codex\nfirst").succeeded
    sim.write_login(codex_home, GRACE)
    ran = notebook.run(question)
    assert [fact for fact in CHANGED if fact not in ran.error + ran.out] == []
    assert WAY_ON in (ran.error + ran.out + getattr(ran.failure, "hint", ""))
    assert asked_as(sim) == [ADA.account_id]


def test_loading_the_extension_anew_goes_on_with_the_account_on_disk(
    notebook: Notebook, codex_home: Path, sim: Simulator
) -> None:
    notebook.run("%%codex\nfirst")
    sim.write_login(codex_home, GRACE)
    assert not notebook.run("%%codex\nsecond").succeeded
    assert notebook.run("%reload_ext codex_nb").succeeded
    assert "ChatGPT Business" in notebook.run("%%codex\nthird").out
    assert asked_as(sim) == [ADA.account_id, GRACE.account_id]


def test_the_first_account_back_on_disk_is_simply_used(
    notebook: Notebook, codex_home: Path, sim: Simulator
) -> None:
    notebook.run("%%codex\nfirst")
    kept = (codex_home / "auth.json").read_bytes()
    sim.write_login(codex_home, GRACE)
    assert not notebook.run("%%codex\nsecond").succeeded
    (codex_home / "auth.json").write_bytes(kept)
    assert notebook.run("%%codex\nthird").succeeded
    assert asked_as(sim) == [ADA.account_id, ADA.account_id]


def test_a_renewed_login_of_the_same_account_is_adopted_without_a_word(
    notebook: Notebook, codex_home: Path, sim: Simulator
) -> None:
    notebook.run("%%codex\nfirst")
    sim.write_login(codex_home, ADA)
    ran = notebook.run("%%codex\nsecond")
    assert ran.succeeded
    assert "ChatGPT Plus" in ran.out
    assert asked_as(sim) == [ADA.account_id, ADA.account_id]
