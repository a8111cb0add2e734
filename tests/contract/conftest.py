"""The real Codex CLI and its simulators; ``tests/conftest.py`` decides whether the tier is skipped or fails."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codex_nb.simulator import Simulator
from tests import tiers
from tests.contract.bundled_models import printed_models
from tests.contract.cli import CodexCli, without_traces


@pytest.fixture(scope="session")
def codex_program() -> Path:
    """Return the program; where it is absent the tier does not run."""
    program = tiers.codex_cli()
    if program is None:
        pytest.fail("the Codex CLI is not here: python -m tests.provision contract")
    return program


@pytest.fixture(scope="session", autouse=True)
def nothing_left_of_the_sandbox() -> Iterator[None]:
    """Leave the folders for temporary files as they were."""
    with without_traces():
        yield


@pytest.fixture(scope="session")
def codex_version(codex_program: Path) -> str:
    """Return the program's version; docs/compatibility.md tells how one that is not pinned differs."""
    command = [codex_program, "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]


@pytest.fixture(scope="session")
def clis_models(codex_program: Path) -> list[dict[str, Any]]:
    """Return the models that the CLI brings along."""
    return printed_models(codex_program)


@pytest.fixture
def sim(clis_models: list[dict[str, Any]]) -> Iterator[Simulator]:
    """Run a simulator over TLS, as the CLI's built-in provider demands it; it answers the CLI's own models, too.

    It refuses websockets: what the tests compare is HTTP.
    """
    with Simulator(tls=True) as simulator:
        simulator.state.catalog.unlisted |= {entry["slug"] for entry in clis_models}
        simulator.change(websockets=False)
        yield simulator


@pytest.fixture
def cli(codex_program: Path, sim: Simulator, tmp_path: Path) -> CodexCli:
    """Give the CLI an empty home that leads to the simulator."""
    each = CodexCli(codex_program, sim, tmp_path)
    each.configure(sim.config_toml())
    return each
