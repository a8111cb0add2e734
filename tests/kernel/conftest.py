"""A kernel of every supported ipykernel version for each test module."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from codex_nb.simulator import Simulator
from tests.kernel.dripping import DrippingServer, dripping
from tests.kernel.kernel_client import RunningKernel, running
from tests.kernel.provision import ROOT, VERSIONS, KernelVersion


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda version: version.name)
def running_kernel(request: pytest.FixtureRequest) -> Iterator[RunningKernel]:
    version: KernelVersion = request.param
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }
    with running(version, environ) as kernel:
        reply = kernel.run("from tests.kernel.inside import *")
        assert reply["status"] == "ok", reply
        kernel.open_button()
        yield kernel


@pytest.fixture
def kernel(running_kernel: RunningKernel) -> RunningKernel:
    """The module's kernel, its notes of earlier tests forgotten."""
    running_kernel.published.clear()
    assert running_kernel.run("clicks.clear(); results.clear(); pumps.clear()")["status"] == "ok"
    return running_kernel


@pytest.fixture
def server() -> Iterator[DrippingServer]:
    with dripping() as state:
        yield state


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """Run a simulator with its usual behaviour."""
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def environ(sim: Simulator, tmp_path: Path) -> dict[str, str]:
    """Give the variables of somebody who is signed in to the simulator, whose CODEX_HOME stays from run to run."""
    home = tmp_path / "codex-home"
    home.mkdir(mode=0o700)
    sim.write_home(home)
    own = {"CODEX_HOME": str(home), "IPYTHONDIR": str(tmp_path / "ipython"), "PYTHONPATH": str(ROOT)}
    return {**os.environ, **sim.environ(), **own}
