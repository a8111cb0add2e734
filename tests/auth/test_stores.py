"""Stores: one login, read with patience and written in one step."""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from keyring.backends.fail import Keyring as Fail

from codex_nb.auth.credentials import AuthFile
from codex_nb.auth.store import (
    AutoStore,
    FileStore,
    KeyringStore,
    MemoryStore,
    SecretServiceEntry,
    cli_compatible_backend,
    open_store,
    read_keyring,
)
from codex_nb.config.settings import CredentialsStore, Settings
from codex_nb.errors import CredentialsUnreadable
from tests.auth.fakes import login, write_login

if TYPE_CHECKING:
    from pathlib import Path


def document(**changes: Any) -> AuthFile:
    return AuthFile.model_validate(login(**changes))


def test_what_is_saved_is_loaded(home: Path) -> None:
    store = FileStore(home / "auth.json")
    assert store.load() is None
    store.save(document())
    assert (store.load(), str(store)) == (document(), str(home / "auth.json"))


def test_a_saved_file_is_private_and_leaves_nothing_beside_it(home: Path) -> None:
    path = write_login(home)
    path.chmod(0o644)
    before = os.umask(0)
    try:
        FileStore(path).save(document())
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in home.iterdir()] == ["auth.json"]


def test_a_link_stays_a_link_and_its_target_is_replaced(home: Path, tmp_path: Path) -> None:
    target = write_login(tmp_path / "elsewhere")
    (home / "auth.json").symlink_to(target)
    FileStore(home / "auth.json").save(document(marker="new"))
    assert (home / "auth.json").is_symlink()
    assert json.loads(target.read_text())["marker"] == "new"
    assert [one.name for one in target.parent.iterdir()] == ["auth.json"]


def test_a_torn_read_is_tried_again(home: Path) -> None:
    """Some programs truncate the file and write it in place."""
    path = home / "auth.json"
    path.write_text(json.dumps(login())[:50])
    states = iter([lambda: path.write_text(""), lambda: write_login(home)])
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        next(states)()

    assert FileStore(path, sleep=sleep).load() == document()
    assert naps == [0.01, 0.02]


def test_a_file_that_stays_torn_is_left_as_it_is(home: Path) -> None:
    path = home / "auth.json"
    path.write_text('{"tokens": ')
    with pytest.raises(CredentialsUnreadable, match="not valid JSON") as raised:
        FileStore(path, sleep=lambda _: None).load()
    assert raised.value.path == path
    assert path.read_text() == '{"tokens": '


def test_a_file_that_an_editor_gave_a_byte_order_mark_is_read(home: Path) -> None:
    path = write_login(home)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert FileStore(path).load() == document()


UNREADABLE = [
    (b'\xff\xfe{"a": 1}', "not UTF-8"),
    (b'{"OPENAI_API_KEY": 7}', "the value of OPENAI_API_KEY has the wrong type"),
    (b'{"tokens": {"access_token": []}}', "the value of tokens.access_token has the wrong type"),
]


@pytest.mark.parametrize(("content", "words"), UNREADABLE)
def test_an_unreadable_file_is_explained_without_its_content(content: bytes, words: str, home: Path) -> None:
    path = home / "auth.json"
    path.write_bytes(content)
    with pytest.raises(CredentialsUnreadable, match=words):
        FileStore(path, sleep=lambda _: None).load()


def test_a_directory_in_the_files_place_is_explained(home: Path) -> None:
    (home / "auth.json").mkdir()
    with pytest.raises(CredentialsUnreadable, match="is a directory"):
        FileStore(home / "auth.json", sleep=lambda _: None).load()


@pytest.mark.skipif(sys.platform == "win32", reason="has no pipes in its file system")
@pytest.mark.parametrize("is_link", [True, False])
@pytest.mark.parametrize("kind", ["a pipe", "a socket"])
def test_what_is_no_file_is_neither_waited_for_nor_replaced(
    kind: str, is_link: bool, home: Path, tmp_path: Path
) -> None:
    path = home / "auth.json"
    target = tmp_path / "elsewhere" if is_link else path
    if is_link:
        path.symlink_to(target)
    if kind == "a pipe":
        os.mkfifo(target)
    else:
        os.mknod(target, stat.S_IFSOCK | 0o600)
    store = FileStore(path, sleep=lambda _: None)
    with pytest.raises(CredentialsUnreadable, match="cannot be read"):
        store.load()
    with pytest.raises(CredentialsUnreadable, match="could not be saved"):
        store.save(document())
    assert target.is_fifo() or target.is_socket()


def test_a_file_that_is_no_login_by_its_size_is_not_read_into_memory(home: Path) -> None:
    path = home / "auth.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(CredentialsUnreadable, match="too large"):
        FileStore(path, sleep=lambda _: None).load()


def test_a_link_that_leads_to_itself_is_explained_and_replaced_by_a_login(home: Path) -> None:
    path = home / "auth.json"
    path.symlink_to(path)
    store = FileStore(path, sleep=lambda _: None)
    with pytest.raises(CredentialsUnreadable, match="symbolic link"):
        store.load()
    store.save(document())
    assert store.load() == document()


def test_a_save_that_fails_leaves_the_old_login_whole(home: Path, tmp_path: Path) -> None:
    target = write_login(tmp_path / "gone")
    (home / "auth.json").symlink_to(target)
    store = FileStore(home / "auth.json")
    (tmp_path / "gone").rename(tmp_path / "moved")
    with pytest.raises(CredentialsUnreadable, match="could not be saved"):
        store.save(document())
    assert json.loads((tmp_path / "moved" / "auth.json").read_text()) == login()


def test_what_a_killed_process_left_is_swept_once_it_is_old(home: Path) -> None:
    old, new = home / ".auth-aaaa.codex_nb", home / ".auth-bbbb.codex_nb"
    theirs = home / ".auth-XXXXXX"
    for path in (old, new, theirs):
        path.write_text("half")
    os.utime(old, (1, 1))
    os.utime(theirs, (1, 1))
    FileStore(home / "auth.json").save(document())
    assert {one.name for one in home.iterdir()} == {".auth-bbbb.codex_nb", ".auth-XXXXXX", "auth.json"}


def test_the_stamp_changes_with_every_save(home: Path) -> None:
    store = FileStore(home / "auth.json")
    stamps = [store.stamp()]
    for _ in range(3):
        store.save(document())
        stamps.append(store.stamp())
    assert len(set(stamps)) == 4


def test_nothing_of_a_document_shows_in_its_repr() -> None:
    whole = document(
        unknown_key="unknown-secret-0123456789", agent_identity={"agent_private_key": "MC4CAQAwBQYDK2Vw"}
    )
    text = f"{whole!r} {whole} {whole.tokens!r} {whole.tokens}"
    values = [*login()["tokens"].values(), "unknown-secret-0123456789", "MC4CAQAwBQYDK2Vw"]
    assert [value for value in values if isinstance(value, str) and len(value) > 8 and value in text] == []
    assert "unknown_key" in text


def test_a_memory_store_forgets() -> None:
    store = MemoryStore()
    assert (store.load(), store.delete()) == (None, False)
    store.save(document())
    assert store.load() == document()
    assert (store.delete(), store.load()) == (True, None)


class Keyring:
    """A keyring in memory, which can be broken."""

    def __init__(self, *, broken: bool = False) -> None:
        self.entries: dict[tuple[str, str], str] = {}
        self.broken = broken

    def get_password(self, service: str, account: str) -> str | None:
        self._check()
        return self.entries.get((service, account))

    def set_password(self, service: str, account: str, value: str) -> None:
        self._check()
        self.entries[service, account] = value

    def delete_password(self, service: str, account: str) -> None:
        self._check()
        del self.entries[service, account]

    def _check(self) -> None:
        if self.broken:
            raise OSError(errno.EIO, "no secret service provider or dbus session found")


def entry(home: Path) -> tuple[str, str]:
    return "Codex Auth", "cli|" + sha256(str(home.resolve()).encode()).hexdigest()[:16]


def test_the_keyring_holds_what_the_cli_would_write_under_its_names(home: Path, tmp_path: Path) -> None:
    link = tmp_path / "link-to-home"
    link.symlink_to(home)
    keyring = Keyring()
    write_login(home)
    KeyringStore(link, backend=keyring).save(document())
    assert keyring.entries == {entry(home): json.dumps(login(), separators=(",", ":"))}
    assert list(home.iterdir()) == []


def test_an_entry_of_the_cli_is_read_and_a_file_beside_it_ignored(home: Path) -> None:
    keyring = Keyring()
    keyring.entries[entry(home)] = json.dumps(login(marker="keyring"))
    write_login(home, marker="file")
    assert KeyringStore(home, backend=keyring).load() == document(marker="keyring")


def test_without_an_entry_there_is_no_login_whatever_the_file_says(home: Path) -> None:
    write_login(home)
    assert KeyringStore(home, backend=Keyring()).load() is None


def test_a_broken_keyring_says_what_to_do(home: Path) -> None:
    store = KeyringStore(home, backend=Keyring(broken=True))
    for action in (store.load, lambda: store.save(document()), store.delete):
        with pytest.raises(CredentialsUnreadable, match="The keyring could not be") as raised:
            action()
        assert 'cli_auth_credentials_store = "file"' in raised.value.line
        assert raised.value.__context__ is None


def test_another_entry_of_the_cli_is_read_and_no_keyring_has_none() -> None:
    keyring = Keyring()
    keyring.entries["Codex MCP Credentials", "far|0"] = "it"

    def read(account: str) -> str | None:
        found = read_keyring("Codex MCP Credentials", account, "a_setting", backend=keyring)
        return found and found.get_secret_value()

    assert (read("far|0"), read("far|1")) == ("it", None)
    keyring.broken = True
    with pytest.raises(CredentialsUnreadable, match="The keyring could not be read") as raised:
        read("far|0")
    assert 'a_setting = "file"' in raised.value.line
    assert raised.value.__context__ is None
    assert read_keyring("Codex MCP Credentials", "far|0", "a_setting", backend=Fail()) is None


def test_an_entry_that_makes_no_sense_is_explained(home: Path) -> None:
    keyring = Keyring()
    keyring.entries[entry(home)] = "not JSON"
    with pytest.raises(CredentialsUnreadable, match="not valid JSON"):
        KeyringStore(home, backend=keyring).load()


def test_signing_out_of_the_keyring_removes_the_entry_and_a_file(home: Path) -> None:
    keyring = Keyring()
    store = KeyringStore(home, backend=keyring)
    assert store.delete() is False
    store.save(document())
    write_login(home)
    assert store.delete() is True
    assert (keyring.entries, list(home.iterdir())) == ({}, [])


def test_auto_prefers_the_keyring_and_falls_back_to_the_file_both_ways(home: Path) -> None:
    keyring = Keyring()
    auto = AutoStore(home, backend=keyring)
    assert auto.load() is None
    auto.save(document(marker="keyring"))
    assert auto.load() == document(marker="keyring")

    keyring.broken = True
    assert auto.load() is None
    auto.save(document(marker="file"))
    assert auto.load() == document(marker="file")
    assert auto.delete() is True

    keyring.broken, keyring.entries = False, {}
    write_login(home, marker="file")
    assert auto.load() == document(marker="file")


def test_what_a_locked_keyring_did_not_take_is_not_lost_when_it_is_open_again(home: Path) -> None:
    keyring = Keyring()
    auto = AutoStore(home, backend=keyring)
    auto.save(document())
    keyring.broken = True
    later = document(tokens={"refresh_token": "rt_later"}, last_refresh="2026-11-20T20:00:00.000000000Z")
    auto.save(later)
    keyring.broken = False
    assert auto.load() == later
    auto.save(later)
    assert (auto.load(), list(home.iterdir())) == (later, [])


@pytest.mark.parametrize(
    "beside",
    [
        {"last_refresh": "2026-11-20T18:00:00.000000000Z"},
        {"tokens": {"login_owner_id": "another-login"}, "last_refresh": "2026-11-20T20:00:00.000000000Z"},
        {"tokens": None, "last_refresh": "2026-11-20T20:00:00.000000000Z"},
    ],
)
def test_another_login_or_an_older_one_beside_that_of_the_keyring_is_ignored(
    beside: dict[str, Any], home: Path
) -> None:
    auto = AutoStore(home, backend=Keyring())
    auto.save(document())
    write_login(home, **beside)
    assert auto.load() == document()


def test_without_the_library_a_keyring_login_is_explained(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CLI may have put the login there; to say "not signed in" would be wrong."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    for one in (KeyringStore(home), AutoStore(home)):
        with pytest.raises(CredentialsUnreadable, match="requires the keyring package") as raised:
            one.load()
        assert "pip install 'codex-nb[keyring]'" in raised.value.line
    write_login(home)
    assert AutoStore(home).load() == document()


class Entry:
    """An entry of a Secret Service."""

    def __init__(self, collection: Collection, attributes: dict[str, str], secret: bytes) -> None:
        self.collection = collection
        self.attributes = attributes
        self.secret = secret

    def get_attributes(self) -> dict[str, str]:
        return self.attributes

    def get_secret(self) -> bytes:
        return self.secret

    def set_secret(self, secret: bytes) -> None:
        self.secret = secret

    def delete(self) -> None:
        self.collection.entries.remove(self)


class Collection:
    """A collection of a Secret Service, and the library's backend that opens it."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.connection = self
        self.closed = 0

    def get_preferred_collection(self) -> Collection:
        return self

    def unlock(self, entry: Entry) -> None:
        assert entry in self.entries

    def close(self) -> None:
        self.closed += 1

    def search_items(self, query: dict[str, str]) -> list[Entry]:
        return [entry for entry in self.entries if query.items() <= entry.attributes.items()]

    def create_item(self, label: str, attributes: dict[str, str], secret: bytes) -> None:
        assert label
        self.entries.append(Entry(self, attributes, secret))


Collection.__module__ = "keyring.backends.SecretService"


def test_a_secret_service_entry_is_changed_in_place_and_made_as_the_cli_makes_it() -> None:
    collection = Collection()
    entry = cli_compatible_backend(collection)
    assert entry.get_password("Codex Auth", "cli|1") is None
    entry.set_password("Codex Auth", "cli|1", "first")
    entry.set_password("Codex Auth", "cli|1", "second")
    (made,) = collection.entries
    assert (made.secret, made.attributes) == (
        b"second",
        {"service": "Codex Auth", "username": "cli|1", "target": "default", "application": "rust-keyring"},
    )

    collection.entries.insert(
        0, Entry(collection, {"service": "Codex Auth", "username": "cli|1"}, b"of another")
    )
    assert entry.get_password("Codex Auth", "cli|1") == "second"
    entry.set_password("Codex Auth", "cli|1", "third")
    assert [one.secret for one in collection.entries] == [b"third", b"third"]
    entry.delete_password("Codex Auth", "cli|1")
    assert collection.entries == []
    assert collection.closed == 6


def test_other_keyrings_are_used_as_they_are() -> None:
    keyring, collection = Keyring(), Collection()
    assert cli_compatible_backend(keyring) is keyring

    class Chain:
        backends = (keyring, collection)

    Chain.__module__ = "keyring.backends.chainer"
    assert isinstance(cli_compatible_backend(Chain()), SecretServiceEntry)


def test_the_store_is_the_one_that_is_configured(home: Path) -> None:
    kinds = {
        kind: type(open_store(Settings(codex_home=home, credentials_store=kind))) for kind in CredentialsStore
    }
    assert kinds == {
        CredentialsStore.FILE: FileStore,
        CredentialsStore.KEYRING: KeyringStore,
        CredentialsStore.AUTO: AutoStore,
        CredentialsStore.EPHEMERAL: MemoryStore,
    }
