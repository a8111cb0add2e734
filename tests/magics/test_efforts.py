"""The reasoning effort that a request carries: what was configured or named, whatever the login knows of its models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from codex_nb.simulator import Catalog, Simulator, model_entry
from tests.magics.conftest import Notebook


@pytest.fixture(params=["builtin", "api", "custom"])
def login(request: pytest.FixtureRequest, codex_home: Path, sim: Simulator) -> str:
    """A CODEX_HOME in which nobody has asked yet: a ChatGPT login, an API key, a provider with the ChatGPT login."""
    if request.param == "api":
        sim.write_api_key(codex_home)
    sim.change(catalog=Catalog([], frozenset({"gpt-6.1-sol", "gpt-5.6-sol", "gpt-5.5", "gpt-5.6-luna"})))
    return str(request.param)


def configure(codex_home: Path, sim: Simulator, login: Any, model: str, effort: str | None = None) -> None:
    """Write config.toml."""
    line = f'model_reasoning_effort = "{effort}"\n' if effort else ""
    (codex_home / "config.toml").write_text(line + sim.config_toml(login, model))


def sent(sim: Simulator) -> list[Any]:
    """Return the effort of each request."""
    return [request.body["reasoning"].get("effort") for request in sim.requests.to("/responses", "POST")]


SENT = [
    ("gpt-6.1-sol", "max", "max"),
    ("gpt-6.1-sol", "ultra", "xhigh"),
    ("gpt-5.6-sol", "max", "max"),
    ("gpt-5.6-sol", "ultra", "max"),
    ("gpt-5.6-luna", "ultra", "max"),
    ("gpt-5.5", "ultra", "xhigh"),
    ("gpt-5.5", "max", "max"),
    ("gpt-5.5", "none", "none"),
    ("gpt-5.5", "minimal", "minimal"),
]


@pytest.mark.parametrize(("model", "effort", "expected"), SENT)
@pytest.mark.parametrize("is_named", [False, True], ids=["configured", "named"])
def test_an_effort_is_sent_as_it_was_wished_for(
    notebook: Notebook,
    codex_home: Path,
    sim: Simulator,
    login: str,
    model: str,
    effort: str,
    expected: str,
    is_named: bool,
) -> None:
    configure(codex_home, sim, login, model, None if is_named else effort)
    ran = notebook.run(f"%codex -e {effort} hello" if is_named else "%codex hello")
    assert ran.succeeded, ran
    assert sent(sim) == [expected]
    assert f"{expected} effort" in ran.out or f", {expected}" in ran.out


def test_the_list_of_the_account_is_believed_where_there_is_one(
    notebook: Notebook, codex_home: Path, sim: Simulator
) -> None:
    entry = model_entry("gpt-5.5", "GPT", 1, is_lite=False)
    entry["multi_agent_reasoning_effort"] = "medium"
    sim.change(catalog=Catalog([entry]))
    configure(codex_home, sim, "builtin", "gpt-5.5", "max")
    ran = notebook.run("%codex hello")
    assert (sent(sim), ran.succeeded) == (["high"], True)
    assert "'max': high" in ran.out  # the model's own list ends at high, which is said
    ran = notebook.run("%codex -e max hello again")  # the same question would get the saved answer
    assert (ran.succeeded, "'max': high" in ran.out) == (True, False)  # once in a thread is enough
    for effort in ("ultra", "minimal", "none", "low"):
        assert notebook.run(f"%codex -e {effort} hello").succeeded
    assert sent(sim) == ["high", "high", "medium", "minimal", "none", "low"]


def test_a_name_that_the_list_does_not_have_is_known_by_the_longest_listed_one(
    notebook: Notebook, codex_home: Path, sim: Simulator
) -> None:
    lite, classic = (model_entry(slug, slug, 1, is_lite=slug == "gpt-5") for slug in ("gpt-5", "gpt-5.5"))
    sim.change(catalog=Catalog([lite, classic], frozenset({"gpt-5.5-2026", "gpt-6.1-sol"})))
    configure(codex_home, sim, "builtin", "gpt-5")
    for model, effort in (("gpt-5.5-2026", "max"), ("gpt-5.5-2026", "ultra"), ("gpt-6.1-sol", "ultra")):
        assert notebook.run(f"%codex -m {model} -e {effort} hello").succeeded
    assert sent(sim) == ["max", "high", "medium"]
    assert [request.body["parallel_tool_calls"] for request in sim.requests.to("/responses", "POST")] == [
        True
    ] * 3


def test_an_effort_of_the_models_own_can_be_asked_for(
    notebook: Notebook, codex_home: Path, sim: Simulator
) -> None:
    entry = model_entry("gpt-7", "GPT", 1, is_lite=False)
    entry["supported_reasoning_levels"] = ["low", "hyper"]
    sim.change(catalog=Catalog([entry]))
    configure(codex_home, sim, "builtin", "gpt-7")
    assert notebook.run("%codex hello").succeeded
    assert notebook.run("%codex -e hyper hello").succeeded
    assert notebook.run("%codex effort hyper").succeeded
    assert sent(sim) == ["medium", "hyper"]
    assert notebook.run("%codex effort hype").failure is not None


def test_a_backend_without_its_list_refuses_no_effort(
    notebook: Notebook, codex_home: Path, sim: Simulator
) -> None:
    sim.change(catalog=Catalog([], frozenset({"gpt-5.6-sol"})))
    configure(codex_home, sim, "builtin", "gpt-5.6-sol")
    assert notebook.run("%codex -e max hello").succeeded
    assert sent(sim) == ["max"]
