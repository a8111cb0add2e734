"""Storm: many processes with one expired login and single-use refresh tokens: one refresh, and all of them answered.

There are 32 in CI, 8 elsewhere.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from codex_nb.simulator import Simulator
from tests.auth.fleet import Orders, sail
from tests.tiers import is_thorough

if TYPE_CHECKING:
    from pathlib import Path

KERNELS = 32 if is_thorough() else 8


def storm(sim: Simulator, home: Path) -> Counter[str]:
    orders = Orders(
        home=str(home),
        url=f"{sim.openai_base_url}/models",
        issuer=sim.issuer,
        refresh_url=f"{sim.base_url}/oauth/token",
        count=KERNELS,
    )
    with sail(orders, os.environ) as fleet:
        assert fleet.stdout is not None
        return Counter(fleet.stdout.read().split())


@pytest.mark.parametrize(
    "known", ["the token says that it is over", "only the service knows that it is over"]
)
def test_many_kernels_spend_one_refresh_token(known: str, home: Path) -> None:
    with Simulator() as sim:
        sim.write_login(home, lifetime_s=-60.0 if known.startswith("the token") else 3600.0)
        sim.expire_access_tokens()
        before = json.loads((home / "auth.json").read_text())["tokens"]["refresh_token"]

        answers = storm(sim, home)

        assert answers == {"200": KERNELS}
        assert [request.status for request in sim.requests.to("/oauth/token")] == [200]
        assert sim.refreshes == 1
        after = json.loads((home / "auth.json").read_text())["tokens"]["refresh_token"]
        assert after != before
    assert sorted(one.name for one in home.iterdir()) == ["auth.json", "auth.json.lock", "auth.lock"]
