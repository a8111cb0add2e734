"""Files are replaced in one step, readable by their owner only, and leave nothing half-written behind."""

from __future__ import annotations

import errno
import os
import stat
import time
from typing import TYPE_CHECKING

import pytest

from codex_nb.files import Retention, leftovers, locked, remove_excess, remove_leftovers, replace_file

if TYPE_CHECKING:
    from pathlib import Path


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
    remove_excess(tmp_path, ("*.json",), kept)
    assert {path.stem for path in tmp_path.glob("*.json")} == left
    assert (tmp_path / "other.txt").exists()


def test_a_lock_is_held_by_one_at_a_time_and_given_up_on_in_time(tmp_path: Path) -> None:
    path = tmp_path / "folder.lock"
    with locked(path), pytest.raises(TimeoutError), locked(path, timeout_s=0):
        pytest.fail("two hold the lock")
    with locked(path, timeout_s=0):
        pass
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
