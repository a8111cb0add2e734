"""A kernel of every supported ipykernel version for each test module."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

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
