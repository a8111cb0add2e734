"""Each model with each effort, by both programs, ours in fresh homes: the same request but for input and tools."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from codex_nb.responses.request import CONTRACT_VERSION
from codex_nb.simulator import Catalog, RecordedRequest, Simulator
from tests import provision
from tests.contract.bundled_models import TABLE, bundled_table
from tests.contract.cli import CodexCli
from tests.contract.test_beside_the_cli import documented
from tests.contract.test_both_directions import ours

UNKNOWN = ("an-unknown-model", "gpt-5.5-2026-11-01", "openai/gpt-6.1-sol")
EFFORTS = (None, "none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra", "unheard-of")
LOGINS = ("builtin", "api", "custom")
OWN = {"input", "tools", "prompt_cache_key", "client_metadata"}
TIERS = (None, "fast", "flex", "priority", "default", "unheard-of")
Row = tuple[str, str | None, str | None]

ASK = """
import json, os, shutil
from pathlib import Path
import codex_nb

@codex_nb.tool
def look(cmd: str) -> str:
    "Looks at something."
    return "seen"

first = Path(os.environ["CODEX_HOME"])
for number, (model, effort, tier) in enumerate(json.loads(os.environ["ROWS"])):
    fresh = first.with_name(f"fresh-{number}")
    fresh.mkdir()
    if (first / "auth.json").exists():
        shutil.copy(first / "auth.json", fresh)
    keys = {"model": model, "model_reasoning_effort": effort, "service_tier": tier}
    lines = [f"{key} = {json.dumps(value)}\\n" for key, value in keys.items() if value is not None]
    (fresh / "config.toml").write_text("".join(lines) + (first / "config.toml").read_text())
    os.environ["CODEX_HOME"] = str(fresh)
    codex_nb.ask("say hi", tools=[look], approval="all")
"""


def rows_of(models: Sequence[str]) -> list[Row]:
    """Each model with each effort; the service tiers take turns, so that each model has each of them."""
    return [
        (model, effort, TIERS[(column + line) % len(TIERS)])
        for column, model in enumerate(models)
        for line, effort in enumerate(EFFORTS)
    ]


def told(request: RecordedRequest) -> dict[str, Any]:
    """The body but for what the programs' tools and threads make of it, and the header of the lite form."""
    lite = request.headers.get("x-openai-internal-codex-responses-lite")
    return {**{key: value for key, value in request.body.items() if key not in OWN}, "lite": lite}


def custom_provider(sim: Simulator) -> str:
    """A config.toml with a provider of one's own, that knows nothing of the login."""
    return (
        'model_provider = "lab"\n[model_providers.lab]\nname = "Lab"\nwire_api = "responses"\nenv_key = "LAB_KEY"\n'
        f'base_url = "{sim.api_base_url}"\n'
    )


@pytest.mark.parametrize("login", LOGINS)
def test_each_model_with_each_effort_is_asked_for_as_the_cli_asks(
    codex_program: Path, tmp_path: Path, clis_models: list[dict[str, Any]], login: str
) -> None:
    models = [*(entry["slug"] for entry in clis_models), *UNKNOWN]
    rows = rows_of(models)
    with Simulator(tls=login != "custom") as sim:
        sim.change(catalog=Catalog(clis_models, frozenset(UNKNOWN)), websockets=False)
        cli = CodexCli(codex_program, sim, tmp_path)
        cli.configure(custom_provider(sim) if login == "custom" else sim.config_toml(login))
        if login == "builtin":
            sim.write_login(cli.home)
        else:
            cli.more_environ["LAB_KEY"] = sim.write_api_key(cli.home)
        with cli.app_server() as server:
            for model, effort, tier in rows:
                keys = {"model_reasoning_effort": effort, "service_tier": tier}
                config = {key: value for key, value in keys.items() if value is not None}
                started = server.ask(
                    "thread/start", model=model, config=config, ephemeral=True, cwd=str(tmp_path)
                )
                assert server.turn(started["thread"]["id"], "say hi") == "completed"
        theirs = [told(request) for request in sim.requests.to("/responses", "POST")]
        sim.requests.clear()
        cli.more_environ["ROWS"] = json.dumps(rows)
        answer = ours(cli, "-c", ASK)
        assert answer.code == 0, answer.words
        mine = [told(request) for request in sim.requests.to("/responses", "POST")]
    assert dict(zip(rows, mine, strict=True)) == dict(zip(rows, theirs, strict=True))


SHOWN = {"description", "display_name", "priority"}


def facts_of(models: list[dict[str, Any]]) -> dict[str, str]:
    """Every key of each model that a question depends on."""
    found = {f"model {model['slug']}": "" for model in models}
    return found | {
        f"model {model['slug']} {key}": json.dumps(model[key])
        for model in models
        for key in model
        if key not in SHOWN
    }


def test_the_bundled_models_are_the_clis(clis_models: list[dict[str, Any]], codex_version: str) -> None:
    """``python -m tests.contract.bundled_models`` writes the pinned one's; docs/compatibility.md lists the others'."""
    bundled, theirs = json.loads(TABLE.read_text())["models"], bundled_table(clis_models)
    if codex_version == CONTRACT_VERSION:
        assert bundled == theirs
    ours, their = facts_of(bundled), facts_of(theirs)
    found = {key: "different values" for key in ours.keys() & their.keys() if ours[key] != their[key]}
    for more, less, who in ((ours, their, "codex_nb only"), (their, ours, "CLI only")):
        names = [key for key in more.keys() - less.keys() if len(key.split()) == len(["model", "slug"])]
        found |= dict.fromkeys(names, who)
    listed = documented(f"### {codex_version}")
    assert found == {key: who for key, who in listed.items() if key.startswith("model ")}


def test_the_contract_is_the_pinned_clis() -> None:
    assert f"@openai/codex@{CONTRACT_VERSION}" == provision.CODEX_CLI
