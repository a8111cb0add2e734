"""Files are replaced in one step, readable by their owner only, and leave nothing half-written behind."""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from typing import TYPE_CHECKING

import pytest

from codex_nb.files import (
    FileSystem,
    LockState,
    Retention,
    file_system_of,
    leftovers,
    locked,
    remove_excess,
    remove_leftovers,
    replace_file,
    try_lock,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.skipif(os.name == "nt", reason="Windows has no flock")
@pytest.mark.parametrize(
    ("problem", "state"),
    [
        *((number, LockState.HELD) for number in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)),
        *((number, LockState.UNAVAILABLE) for number in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)),
        *(
            (number, LockState.UNAVAILABLE)
            for number in (errno.EOPNOTSUPP, errno.EINVAL, errno.EIO, errno.ESTALE)
        ),
        (0, LockState.TAKEN),
    ],
)
def test_a_lock_that_is_held_is_told_from_one_that_cannot_be_had(
    problem: int, state: LockState, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def flock(_descriptor: int, _operation: int) -> None:
        if problem:
            raise OSError(problem, os.strerror(problem))

    monkeypatch.setattr(fcntl, "flock", flock)
    assert try_lock(0) is state


MOUNTS = """\
/dev/vda / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
nas:/home {home}/lab nfs rw,vers=3,local_lock=all,addr=10.0.0.1 0 0
nas:/data {home}/my\\040lab nfs4 rw,vers=4.2,local_lock=none 0 0
tmpfs {home}/lab/here tmpfs rw 0 0
//nas/x {home}/twice cifs rw 0 0
nas:/x {home}/twice fuse.sshfs rw 0 0
broken line
"""


@pytest.mark.parametrize(
    ("place", "kind", "is_shared", "is_locked_for_all"),
    [
        (".", "ext4", False, True),
        ("lab/ada/.codex", "nfs", True, False),
        ("laboratory", "ext4", False, True),
        ("my lab/.codex", "nfs4", True, True),
        ("lab/here/.codex", "tmpfs", False, True),
        ("twice", "fuse.sshfs", True, False),
    ],
)
def test_the_file_system_of_a_folder_is_that_of_its_nearest_mount(
    place: str, kind: str, is_shared: bool, is_locked_for_all: bool, tmp_path: Path
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS.format(home=tmp_path))
    found = file_system_of(tmp_path / place, mounts)
    assert (found.kind, found.is_shared, found.is_locked_for_all) == (kind, is_shared, is_locked_for_all)


@pytest.mark.parametrize(
    ("kind", "options", "reaches"),
    [
        ("nfs", "vers=3,local_lock=none", True),
        ("nfs", "vers=3,nolock", False),
        ("nfs", "vers=3,local_lock=flock", False),
        ("nfs", "vers=3,local_lock=posix", True),
        ("cifs", "rw", True),
        ("smb3", "rw,nobrl", False),
        ("lustre", "rw,flock", True),
        ("lustre", "rw,localflock", False),
        ("lustre", "rw", False),
        ("9p", "trans=virtio", False),
        ("ceph", "rw", True),
        ("", "", True),
    ],
)
def test_how_far_locks_reach_is_told_by_the_options_of_the_mount(
    kind: str, options: str, reaches: bool
) -> None:
    assert FileSystem(kind, frozenset(options.split(","))).is_locked_for_all is reaches


def test_a_system_that_tells_no_mounts_has_an_unknown_file_system(tmp_path: Path) -> None:
    assert file_system_of(tmp_path, tmp_path / "absent") == FileSystem()


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_a_replaced_file_is_readable_by_its_owner_only(umask: int, tmp_path: Path) -> None:
    path = tmp_path / "cache.json"
    path.write_text("old")
    path.chmod(0o644)
    before = os.umask(umask)
    try:
        replace_file(path, b"new")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failing", ["fsync", "fchmod"])
def test_a_write_that_fails_keeps_the_old_content(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "cache.json"
    path.write_text("old")
    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_system_that_cannot_flush_directories_keeps_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = os.fsync

    def flush_files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", flush_files_only)
    replace_file(tmp_path / "thread.jsonl", b"content")
    assert (tmp_path / "thread.jsonl").read_bytes() == b"content"


def test_the_folder_is_flushed_after_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda fd: flushed.append(stat.S_ISDIR(os.fstat(fd).st_mode)))
    replace_file(tmp_path / "auth.json", b"{}")
    assert flushed == [False, True]
    replace_file(tmp_path / "models.json", b"{}", flush=False)
    assert flushed == [False, True]


def test_old_leftovers_of_the_same_file_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    old, new, other = (tmp_path / name for name in (".auth-a.codex_nb", ".auth-b.codex_nb", ".x-c.codex_nb"))
    for each in (old, new, other):
        each.write_text("half")
    os.utime(old, (1, 1))
    os.utime(other, (1, 1))
    assert set(leftovers(path)) == {old, new}
    remove_leftovers(path, older_than_s=600)
    assert set(tmp_path.iterdir()) == {new, other}


@pytest.mark.parametrize(
    ("kept", "left"),
    [
        (Retention(files=3, total_bytes=10_000, age_s=10_000), {"2", "3", "4"}),
        (Retention(files=10, total_bytes=1_100, age_s=10_000), {"3", "4"}),
        (Retention(files=10, total_bytes=10_000, age_s=250), {"3", "4"}),
        (Retention(files=0, total_bytes=0, age_s=0), {"4"}),
    ],
)
def test_the_files_that_changed_longest_ago_are_removed_but_never_the_newest(
    kept: Retention, left: set[str], tmp_path: Path
) -> None:
    now = time.time()
    for number in range(5):
        path = tmp_path / f"{number}.json"
        path.write_bytes(b"x" * 500)
        os.utime(path, (now, now - 100 * (5 - number)))
    (tmp_path / "other.txt").touch()
    remove_excess(tmp_path, re.compile(r"\d\.json"), kept)
    assert {path.stem for path in tmp_path.glob("*.json")} == left
    assert (tmp_path / "other.txt").exists()


def test_a_lock_is_held_by_one_at_a_time_and_given_up_on_in_time(tmp_path: Path) -> None:
    path = tmp_path / "folder.lock"
    with locked(path), pytest.raises(TimeoutError), locked(path, timeout_s=0):
        pytest.fail("two hold the lock")
    with locked(path, timeout_s=0):
        pass
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
