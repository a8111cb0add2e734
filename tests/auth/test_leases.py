"""Homes on a network file system: where its locks do not reach, machines take turns by a lease beside the login."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from codex_nb.auth.locks import LEASE_FILE, LEASE_S, LoginLock, read_lease, this_machine
from codex_nb.auth.oauth import DirectRefresher
from codex_nb.auth.store import FileStore, StoredCredentials
from codex_nb.errors import RefreshFailed
from codex_nb.files import FileSystem, LockState, try_lock
from tests.auth.fakes import write_login

if TYPE_CHECKING:
    from pathlib import Path

    from tests.auth.fakes import LoginFixture

pytestmark = pytest.mark.anyio

LOCAL_LOCKS = FileSystem("nfs", frozenset({"rw", "vers=3", "local_lock=all"}))
SHARED_LOCKS = FileSystem("nfs4", frozenset({"rw", "vers=4.2", "local_lock=none"}))


def without_locks(_descriptor: int) -> LockState:
    """Answer as ENOLCK does."""
    return LockState.UNAVAILABLE


def of_one_machine() -> Callable[[int], LockState]:
    """Return locks that only the programs of one machine see; here it has only one."""
    return lambda _descriptor: LockState.TAKEN


def lock_of(machine: str, home: Path, *, timeout_s: float = 60.0, locks: str = "local") -> LoginLock:
    """Return the lock as a program of a machine has it."""
    return LoginLock(
        home,
        timeout_s=timeout_s,
        try_lock=of_one_machine() if locks == "local" else without_locks,
        file_system_of=lambda _home: LOCAL_LOCKS,
        machine=machine,
    )


def leave_lease(home: Path, host: str, *, age_s: float = 0.0) -> None:
    """Leave the lease of a program that died so long ago."""
    content = {"host": host, "pid": 4711, "token": "of another", "lasts_s": LEASE_S}
    (home / LEASE_FILE).write_text(json.dumps(content))
    written = time.time() - age_s
    os.utime(home / LEASE_FILE, (written, written))


async def test_without_locks_the_login_is_leased_and_not_held_by_another(home: Path) -> None:
    async with LoginLock(home, timeout_s=0.0, try_lock=without_locks).held():
        written = json.loads((home / LEASE_FILE).read_text())
        assert (written["host"], written["pid"], written["lasts_s"]) == (this_machine(), os.getpid(), LEASE_S)
        assert (home / LEASE_FILE).stat().st_mode & 0o777 == 0o600
    assert not (home / LEASE_FILE).exists()


@pytest.mark.parametrize("kind", [FileSystem("ext4"), FileSystem(), SHARED_LOCKS])
async def test_where_locks_reach_there_is_no_lease(kind: FileSystem, home: Path) -> None:
    async with LoginLock(home, file_system_of=lambda _home: kind).held():
        assert not (home / LEASE_FILE).exists()


@pytest.mark.parametrize("locks", ["local", "none"])
async def test_one_machine_at_a_time_changes_the_login(locks: str, home: Path) -> None:
    inside = most = entered = 0

    async def enter(machine: str) -> None:
        nonlocal inside, most, entered
        async with lock_of(machine, home, locks=locks).held():
            inside += 1
            entered += 1
            most = max(most, inside)
            for _ in range(20):
                await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(enter(f"node-{number}") for number in range(12)))
    assert (entered, most) == (12, 1)
    assert not (home / LEASE_FILE).exists()


@pytest.mark.parametrize("locks", ["local", "none"])
async def test_the_owner_of_a_lease_that_is_waited_for_in_vain_is_named(locks: str, home: Path) -> None:
    leave_lease(home, "node-7")
    with pytest.raises(RefreshFailed, match="4711 on node-7") as raised:
        async with lock_of("node-8", home, timeout_s=0.0, locks=locks).held():
            pytest.fail("two machines change the login")
    assert (raised.value.reason, raised.value.permanent) == ("locked", False)
    assert json.loads((home / LEASE_FILE).read_text())["host"] == "node-7"


@pytest.mark.parametrize("locks", ["local", "none"])
async def test_a_lease_that_has_expired_is_taken_over_by_one(locks: str, home: Path) -> None:
    leave_lease(home, "node-7", age_s=LEASE_S + 1)
    inside = most = entered = 0

    async def enter(machine: str) -> None:
        nonlocal inside, most, entered
        async with lock_of(machine, home, locks=locks).held():
            inside += 1
            entered += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(enter(f"node-{number}") for number in range(5)))
    assert (entered, most) == (5, 1)


async def test_the_lease_of_a_killed_program_of_this_machine_is_not_waited_for(home: Path) -> None:
    """Its lock is free, so that neither it nor a process that it has started is at work."""
    leave_lease(home, "node-7")
    async with lock_of("node-7", home, timeout_s=0.0).held():
        lease = read_lease(home)
        assert lease is not None
        assert (lease.host, lease.pid) == ("node-7", os.getpid())
    assert not (home / LEASE_FILE).exists()


async def test_without_locks_the_process_of_a_killed_program_may_still_be_at_work(home: Path) -> None:
    leave_lease(home, "node-7")
    with pytest.raises(RefreshFailed):
        async with lock_of("node-7", home, timeout_s=0.0, locks="none").held():
            pytest.fail("two programs change the login")


async def test_a_lease_that_is_being_written_is_waited_for(home: Path) -> None:
    (home / LEASE_FILE).touch()
    with pytest.raises(RefreshFailed):
        async with lock_of("node-7", home, timeout_s=0.0).held():
            pytest.fail("two machines change the login")


async def test_a_lease_that_another_machine_has_taken_over_is_left_to_it(home: Path) -> None:
    async with lock_of("node-7", home).held():
        leave_lease(home, "node-8")  # which found ours expired: this machine slept
    assert json.loads((home / LEASE_FILE).read_text())["host"] == "node-8"


async def test_a_process_that_goes_on_keeps_the_lease(home: Path) -> None:
    async with lock_of("node-7", home).held() as lock:
        lock.is_inherited = True
    assert (home / LEASE_FILE).exists()


@pytest.mark.parametrize("locks", ["local", "none"])
async def test_machines_that_refresh_at_once_spend_one_refresh_token(
    locks: str, make_desk: Callable[..., LoginFixture]
) -> None:
    desk = make_desk()
    write_login(desk.home)
    clock = desk.service.clock

    def stored(machine: str) -> StoredCredentials:
        store = FileStore(desk.home / "auth.json")
        refresher = DirectRefresher(store, desk.manager.oauth, clock=clock, sleep=clock.sleep)
        return StoredCredentials(
            store, lock_of(machine, desk.home, locks=locks), refresher, sleep=clock.sleep
        )

    machines = [stored(f"node-{number}") for number in range(6)]
    seen = await machines[0].read()
    assert seen is not None
    outcomes = await asyncio.gather(*(each.refresh(seen, "unauthorized_recovery") for each in machines))
    assert [outcome.token_used for outcome in outcomes].count(True) == 1
    found = {outcome.snapshot.credentials.refresh_token for outcome in outcomes}
    assert [token.get_secret_value() for token in found if token] == [desk.service.issued[0]["refresh_token"]]
    assert desk.service.counts == {"/oauth/token": 1}


def test_the_real_lock_of_this_machine_is_told_from_that_of_another(home: Path) -> None:
    mine, others = (os.open(home / "auth.lock", os.O_RDWR | os.O_CREAT) for _ in range(2))
    try:
        assert [try_lock(mine), try_lock(others)] == [LockState.TAKEN, LockState.HELD]
    finally:
        os.close(mine)
        os.close(others)
