"""A running simulator and a plain HTTP client beside it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from codex_nb.simulator import Simulator
from tests.simulator.asking import Asker


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=20) as each:
        yield each


@pytest.fixture
def asker(sim: Simulator, client: httpx.Client) -> Asker:
    return Asker(sim, client, {"authorization": f"Bearer {sim.sign_in().access_token}"})
