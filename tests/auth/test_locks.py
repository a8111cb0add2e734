"""The machine-wide lock: the Codex CLI's two files, BSD flock, in its order."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from codex_nb.auth.locks import LoginLock, state_of_lock
from codex_nb.errors import RefreshFailed
from codex_nb.files import LockState

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


def is_held(path: Path) -> bool:
    return state_of_lock(path) is LockState.HELD


async def test_both_files_of_the_cli_are_held_and_then_free(home: Path) -> None:
    assert [is_held(home / name) for name in ("auth.lock", "auth.json.lock")] == [False, False]
    async with LoginLock(home).held():
        assert [is_held(home / name) for name in ("auth.lock", "auth.json.lock")] == [True, True]
    assert [is_held(home / name) for name in ("auth.lock", "auth.json.lock")] == [False, False]
    modes = [(home / name).stat().st_mode & 0o777 for name in ("auth.lock", "auth.json.lock")]
    assert modes == [0o644, 0o600]


@pytest.mark.parametrize("name", ["auth.lock", "auth.json.lock"])
async def test_a_program_that_holds_either_file_is_waited_for(name: str, home: Path) -> None:
    order: list[str] = []
    descriptor = os.open(home / name, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)

    async def enter() -> None:
        async with LoginLock(home).held():
            order.append("entered")

    task = asyncio.create_task(enter())
    await asyncio.sleep(0.02)
    order.append("released")
    os.close(descriptor)
    await task
    assert order == ["released", "entered"]


async def test_one_at_a_time_in_one_process_too(home: Path) -> None:
    inside = most = 0

    async def enter() -> None:
        nonlocal inside, most
        async with LoginLock(home).held():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(enter() for _ in range(10)))
    assert most == 1


async def test_a_lock_that_is_never_given_up_is_an_error_that_may_pass(home: Path) -> None:
    async with LoginLock(home).held():
        with pytest.raises(RefreshFailed, match="holding the lock") as raised:
            async with LoginLock(home, timeout_s=0.0).held():
                pytest.fail("two programs hold the lock")
    assert (raised.value.reason, raised.value.permanent) == ("locked", False)


def test_a_killed_program_leaves_no_lock_behind(home: Path) -> None:
    async def enter() -> None:
        async with LoginLock(home, timeout_s=5).held():
            assert is_held(home / "auth.lock")

    command = [sys.executable, "-c", HOLD, str(home / "auth.lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert is_held(home / "auth.lock")
        holder.kill()
    asyncio.run(enter())


def test_a_forked_child_does_not_keep_the_lock(home: Path) -> None:
    """Multiprocessing in a notebook forks at any moment, and the child lives on with copies of all descriptors."""
    command = [sys.executable, "-c", FORK, str(home)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == ("the child lives, the lock is free\n", "")


async def test_a_lock_file_with_content_keeps_it(home: Path) -> None:
    (home / "auth.lock").write_text("somebody's note")
    async with LoginLock(home).held():
        pass
    assert (home / "auth.lock").read_text() == "somebody's note"


async def test_a_home_that_does_not_exist_is_made_private(tmp_path: Path) -> None:
    async with LoginLock(tmp_path / "new").held():
        pass
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


async def test_memory_needs_no_lock() -> None:
    async with LoginLock(None).held(), LoginLock(None).held():
        pass


HOLD = """
import fcntl, os, sys, time
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""

FORK = """
import asyncio, os, pathlib, signal, sys, time
from codex_nb.auth.locks import LoginLock, state_of_lock
from codex_nb.files import LockState

async def main(home):
    async with LoginLock(home).held():
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
    files = (home / "auth.lock", home / "auth.json.lock")
    free = LockState.HELD not in map(state_of_lock, files)
    alive = os.waitpid(child, os.WNOHANG) == (0, 0)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print("the child lives, the lock is free" if alive and free else f"alive {alive}, free {free}")

asyncio.run(main(pathlib.Path(sys.argv[1])))
"""
