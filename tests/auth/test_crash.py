"""Crash: killed at any instant of a renewal, the file always parses, is private, and holds a login that works.

In CI there are hundreds of kills; elsewhere a twentieth of them.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from codex_nb.simulator import Simulator
from tests.tiers import is_thorough

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parent.parent.parent
AS_BEFORE, RENEWED, LOST = "the old login, not spent", "the renewed login", "the old login, spent: signed out"


@contextmanager
def kernels() -> Iterator[Callable[[dict[str, Any]], str]]:
    """A server that forks and kills kernels."""
    command = [sys.executable, "-m", "tests.auth.crash"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        stdin, stdout = server.stdin, server.stdout

        def kill(order: dict[str, Any]) -> str:
            stdin.write(json.dumps(order) + "\n")
            return stdout.readline().strip()

        yield kill
        stdin.close()


def what_is_left(sim: Simulator, home: Path, before: str) -> str:
    """Read the login as anybody would, and ask the service's log whether it is good for another renewal."""
    path = home / "auth.json"
    assert path.stat().st_mode & 0o777 == 0o600
    token = json.loads(path.read_text())["tokens"]["refresh_token"]
    spent = {
        request.body["refresh_token"] for request in sim.requests.to("/oauth/token") if request.status == 200
    }
    if token in spent:
        return LOST
    return AS_BEFORE if token == before else RENEWED


def crash(home: Path, companion: str, instants: int, span_s: float) -> Counter[tuple[str, str]]:
    """Kill kernels at random instants of their renewal; count what they had got to, and what they left."""
    chance = random.Random(20261120)
    kills: Counter[tuple[str, str]] = Counter()
    with Simulator() as sim, kernels() as kill:
        order = {"home": str(home), "refresh_url": f"{sim.base_url}/oauth/token", "companion": companion}
        for _ in range(instants):
            before = sim.write_login(home, lifetime_s=-60.0).refresh_token
            got_to = kill({**order, "delay_s": chance.uniform(0.0, span_s)})
            kills[got_to, what_is_left(sim, home, before)] += 1
    return kills


# Companion of the kernel, number of kills (in CI, elsewhere), the span of time (seconds) in which they fall, what may
# be left. Without a companion the kernel renews by itself, as it does where no process can be started: then an answer
# under way dies with it, and only the file's wholeness can be promised.
ROWS = [
    ("fork", (500, 25), 0.06, {AS_BEFORE, RENEWED}),
    ("process", (12, 4), 1.5, {AS_BEFORE, RENEWED}),
    ("none", (100, 10), 0.06, {AS_BEFORE, RENEWED, LOST}),
]


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("companion", "instants", "span_s", "allowed"), ROWS, ids=[row[0] for row in ROWS])
def test_whenever_a_kernel_is_killed_its_login_is_whole(
    companion: str,
    instants: tuple[int, int],
    span_s: float,
    allowed: set[str],
    home: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    count = instants[0] if is_thorough() else instants[1]
    kills = crash(home, companion, count, span_s)
    with capsys.disabled():
        sys.stdout.write(f"\n{table(companion, kills)}\n")
    assert sum(kills.values()) == count
    assert {left for _, left in kills} <= allowed


def table(companion: str, kills: Counter[tuple[str, str]]) -> str:
    """The outcomes, one to a line."""
    lines = [f"kernels killed while they refresh (companion: {companion})"]
    lines += [f"  {count:4d}  {got_to:6s}  {left}" for (got_to, left), count in sorted(kills.items())]
    return "\n".join(lines)
