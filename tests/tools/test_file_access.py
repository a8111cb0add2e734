"""Attacks on the files that are read: names, links, kinds of files, races, and names of credentials."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_nb.errors import InvalidArguments
from codex_nb.session.context import Mentions, mentions_in
from codex_nb.session.prompt import project_instructions
from codex_nb.tools.base import Ports, ToolResult
from codex_nb.tools.file_access import (
    FileRefused,
    ListingBounds,
    list_files,
    list_folder,
    may_hold_credentials,
    path_in_folder,
    path_of_user,
    read_apart,
    read_bounded,
    read_file,
    read_image,
    read_off_loop,
)
from codex_nb.tools.hiding import Hidden
from tests.pictures import data_url, encoded
from tests.session.scripted import SameThread, call_tool

pytestmark = pytest.mark.anyio

OUTSIDE = "planted outside"
INSIDE = "planted inside"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a project with a folder of notebooks, beside files that are not part of it."""
    project = tmp_path / "project"
    (project / ".git").mkdir(parents=True)
    (project / "notebooks" / "data").mkdir(parents=True)
    (project / "notebooks" / "data" / "a.csv").write_text(INSIDE)
    (project / "shared.csv").write_text(INSIDE)
    (project / ".hidden").write_text(OUTSIDE)
    (project / "auth.json").write_text(OUTSIDE)
    (tmp_path / "outside").mkdir()
    for name in ("a.csv", "secret.txt", "id_rsa"):
        (tmp_path / "outside" / name).write_text(OUTSIDE)
    return project / "notebooks"


async def tools_read(folder: Path, name: str) -> list[ToolResult]:
    ports = Ports(SameThread(), folder=folder)
    try:
        read = await call_tool(read_file, {"path": name}, ports)
        return [read, await call_tool(list_files, {"folder": name}, ports)]
    except InvalidArguments:
        return [ToolResult("", ok=False)]


def user_reads(folder: Path, name: str) -> str:
    try:
        return read_apart(lambda: read_bounded(path_of_user(name, folder), 1_000)).text
    except (FileRefused, OSError) as error:
        return f"refused: {error}"


async def test_no_spelling_of_a_path_leads_out_of_the_folder(folder: Path) -> None:
    outside = folder.parents[1] / "outside"
    (folder / "up").symlink_to("..")
    (folder / "root").symlink_to("/")
    (folder / "chain").symlink_to("up/up/outside")
    (folder / "loop").symlink_to("loop")
    spelled = [
        "..",
        "../shared.csv",
        "..//shared.csv",
        "./.././/shared.csv",
        "data/../../shared.csv",
        "data/../../../outside/a.csv",
        f"{outside}/a.csv",
        f"//{outside}/a.csv",
        "up/shared.csv",
        "up/notebooks/../../../outside/a.csv",
        f"root{outside}/a.csv",
        "chain/a.csv",
        "loop",
        "loop/a.csv",
        "data/a.csv/../../../shared.csv",
        "~/a.csv",
        "data/a.csv\0",
        "\0",
        "\ud800",
        "data/\udcff",
        "x" * 300,
        "x/" * 5_000,
        "/proc/self/environ",
        "root/proc/self/environ",
        f"root/proc/self/root{outside}/a.csv",
        f"root/dev/fd/../../..{outside}/a.csv",
    ]
    for name in spelled:
        for result in await tools_read(folder, name):
            assert OUTSIDE not in result.text
            assert INSIDE not in result.text
            assert not result.ok, name


@given(st.text(st.sampled_from("/.~\0\ud800ab"), max_size=12))
def test_any_name_is_read_inside_or_refused(name: str) -> None:
    folder = Path("/nowhere/project")
    try:
        assert path_in_folder(folder, name).path.is_relative_to(folder)
    except FileRefused:
        return


@pytest.mark.parametrize("name", ["data/a.csv", "data//a.csv", "./data/./a.csv", "data/../data/a.csv"])
async def test_a_file_inside_is_read_however_it_is_spelled(folder: Path, name: str) -> None:
    assert (await tools_read(folder, name))[0] == ToolResult(INSIDE)
    assert user_reads(folder, name) == INSIDE
    assert user_reads(folder, str(folder / name)) == INSIDE


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


SPECIAL: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a socket": make_socket,
    "a folder": Path.mkdir,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a terminal": lambda path: path.symlink_to("/dev/tty"),
    "the environment": lambda path: path.symlink_to("/proc/self/environ"),
    "a descriptor": lambda path: path.symlink_to("/proc/self/fd/0"),
    "the kernel's log": lambda path: path.symlink_to("/proc/kmsg"),
    "the kernel": lambda path: path.symlink_to("/sys/kernel/uevent_helper"),
}


@pytest.mark.parametrize("kind", SPECIAL)
async def test_what_is_no_plain_file_is_refused_and_not_waited_for(folder: Path, kind: str) -> None:
    SPECIAL[kind](folder / "special.png")
    assert not (await tools_read(folder, "special.png"))[0].ok
    assert user_reads(folder, "special.png").startswith("refused")
    with pytest.raises((FileRefused, OSError)):
        read_image(path_of_user("special.png", folder))


@pytest.mark.parametrize("place", ["/proc/self/environ", "/proc/version", "/sys/kernel/mm/ksm/run"])
async def test_pseudo_files_are_refused_below_the_root_of_the_file_system_and_to_the_user(place: str) -> None:
    assert not (await tools_read(Path("/"), place[1:]))[0].ok
    assert user_reads(Path("/"), place[1:]).startswith("refused")
    assert user_reads(Path("/"), place).startswith("refused")
    for folder in Path(place[1:]).parents:
        if folder != Path():
            assert not (await tools_read(Path("/"), str(folder)))[1].ok


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("../shared.csv", INSIDE),
        ("data/a.csv", INSIDE),
        ("../../outside/secret.txt", "refused: links to a file outside the project"),
        ("../.hidden", "refused: links to a hidden file"),
        ("../auth.json", "refused: may hold credentials"),
        ("../nothing", "refused: [Errno 2]"),
    ],
)
def test_a_link_of_the_project_is_not_the_users_word(folder: Path, target: str, expected: str) -> None:
    (folder / "link.csv").symlink_to(target)
    (folder / "through").symlink_to(Path(target).parent)
    for name in ("link.csv", str(folder / "link.csv"), f"through/{Path(target).name}"):
        assert user_reads(folder, name).startswith(expected)


def test_the_user_may_name_any_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = folder.parents[1] / "outside"
    monkeypatch.setenv("HOME", str(outside))
    for name in ("../../outside/a.csv", f"{outside}/a.csv", "~/a.csv", "~/id_rsa", "../.hidden"):
        assert user_reads(folder, name) == OUTSIDE
    for name in ("~nobody-of-this-name/a.csv", "a\0.csv", "\ud800.csv", "x" * 300, "x/" * 5_000):
        assert user_reads(folder, name).startswith("refused")


def test_a_repository_of_the_whole_home_lets_no_link_into_the_home(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = folder.parents[1]
    monkeypatch.setenv("HOME", str(home))
    (folder.parent / ".git").rename(home / ".git")
    (folder / "link.csv").symlink_to(home / "outside" / "secret.txt")
    assert user_reads(folder, "link.csv") == "refused: links to a file outside the project"


def test_only_images_are_sent_as_images(folder: Path) -> None:
    for kind in ("png", "jpeg", "gif", "webp"):
        (folder / "image.png").write_bytes(encoded(kind))
        assert read_image(path_of_user("image.png", folder)) == data_url(encoded(kind), kind)
        (folder / "image.png").write_bytes(encoded(kind)[:12] + OUTSIDE.encode())
        with pytest.raises(FileRefused, match="that can be read"):
            read_image(path_of_user("image.png", folder))
    (folder / "image.png").write_text(OUTSIDE)
    with pytest.raises(FileRefused, match=r"image$"):
        read_image(path_of_user("image.png", folder))


@contextmanager
def swapping(steps: Callable[[], None]) -> Iterator[None]:
    is_over = threading.Event()

    def swap() -> None:
        while not is_over.is_set():
            steps()

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def swapped_by_a_link(path: Path, target: Path) -> Callable[[], None]:
    """Return a step that puts a link in the place of a file or folder, and the file or folder back."""
    kept, link = path.with_name("kept"), path.with_name("link")

    def step() -> None:
        link.symlink_to(target)
        path.rename(kept)
        link.rename(path)
        path.unlink()
        kept.rename(path)

    return step


READS = 3_000


@pytest.mark.parametrize(
    ("swapped", "listed_folder"),
    [("data", "data"), ("data", "."), ("data/a.csv", "data"), ("data/AGENTS.md", ".")],
)
async def test_nothing_leaks_while_files_and_folders_are_swapped_for_links(
    folder: Path, swapped: str, listed_folder: str
) -> None:
    ports, outside = Ports(SameThread(), folder=folder), folder.parents[1] / "outside"
    for place, text in ((folder / "data", INSIDE), (outside, OUTSIDE)):
        (place / "AGENTS.md").write_text(text)
    target = outside / Path(swapped).name if "." in swapped else outside
    told = set[str]()
    with swapping(swapped_by_a_link(folder / swapped, target)):
        for number in range(READS):
            match number % 5:
                case 0:
                    text = (await call_tool(read_file, {"path": "data/a.csv"}, ports)).text
                case 1:
                    text = (await call_tool(list_files, {"folder": listed_folder}, ports)).text
                case 2:
                    text = user_reads(folder, "data/a.csv")
                case 3:
                    text = user_reads(folder, str(folder / "data" / "a.csv"))
                case _:
                    text = project_instructions(folder / "home", folder / "data", 1_000).text
            told.add(text)
    assert INSIDE in told
    assert any("Instructions from" in text for text in told)
    assert not [text for text in told if OUTSIDE in text or "secret.txt" in text or "id_rsa" in text]


CREDENTIALS = """
    prod.env config.env env .env .env.local env.production docker.env secrets.toml secrets.yaml secret.json secrets
    id_rsa id_dsa id_ecdsa id_ed25519 id_ed25519_sk id_github id_rsa.pub auth.json AUTH.JSON service-account.json
    my_service_account_key.json ServiceAccount.json server.ppk vault.kdbx cert.pem server.key a.p12 a.pfx x.jks
    htpasswd .htpasswd kubeconfig kubeconfig.yaml terraform.tfstate prod.tfvars .netrc _netrc .pgpass .pypirc .npmrc
    .git-credentials .my.cnf wp-config.php credentials credentials.json credentials.csv master.key client.ovpn
    sftp.json filezilla.xml storage_state.json gradle.properties nuget.config airflow.cfg wifi.mobileconfig
    passwörter.txt motsdepasse.txt пароли.txt 密码.txt
    .vault-token terraform.rc .terraformrc .dockercfg .boto .s3cfg rclone.conf secret.gpg private.asc token.txt
    access_token.txt github-token tokens.json api_key.txt apikeys.yml passwords.csv passwd client_secret_123.json
    refreshToken.json oauth_token.pickle HF_TOKEN kaggle.json wallet.dat key4.db login.keychain-db shadow
    ansible-vault.yml database.yml appsettings.Production.json settings-security.xml hosts.yml profiles.yml .condarc
    store.jceks odbc.ini connections.toml azureauth.json google-services.json bitwarden_export.json lastpass.csv
""".split()  # noqa: SIM905  as a list, it is a page
ORDINARY = """
    tokenizer.json tokenizer_config.json special_tokens_map.json added_tokens.json token_counts.csv tokens.csv
    tokens.parquet tokenize.py monkey.py secretary.csv document.txt document keyboard.json donkey.txt turkey.csv keys.py
    environment.yml envelope.json authors.json id_map.csv id_list.txt idx.npy identity.csv service.json
    accounts.csv README.md passengers.csv compass.json bypass.py passport.csv shadow.png model.pkl dem.asc
    primary_keys.csv max_tokens.json config.yaml settings.py Dockerfile pyproject.toml wallet.csv patterns.txt
    sessions.csv key_figures.csv keywords.txt keypoints.json vocab.json backup.csv old.csv 1.csv 2024.csv copy.txt
    databases.csv hosts.csv profiles.csv vaults.py conda.yml environment.yaml
""".split()  # noqa: SIM905  as a list, it is a page
SUFFIXES = (
    ".bak",
    "~",
    ".old",
    ".1",
    ".swp",
    ".orig",
    "_backup",
    " (1)",
    "-copy",
    ".save",
    ".2026-01-02",
    ".gz",
    ".",
)
PREFIXES = ("", ".", ".#", "#", "copy of ", "old_", "backup-")


@pytest.mark.parametrize("name", CREDENTIALS)
def test_credentials_are_known_by_name_and_so_are_their_backups(name: str) -> None:
    spelled = (name, name.upper(), name.replace("s", "\u017f"), f"{name[:1]}\u200c{name[1:]}")
    for each, prefix, suffix in itertools.product(spelled, PREFIXES, ("", *SUFFIXES)):
        assert may_hold_credentials(f"{prefix}{each}{suffix}"), f"{prefix}{each}{suffix}"
    stem, dot, suffix = name.rpartition(".")
    for mark in (" (1)", " - Copy", "-copy", "_backup", ".old", "_2026-01-02") if dot and stem else ():
        assert may_hold_credentials(f"{stem}{mark}.{suffix}"), f"{stem}{mark}.{suffix}"
    for suffix, more in itertools.product(SUFFIXES, SUFFIXES):
        assert may_hold_credentials(f"{name}{suffix}{more}"), f"{name}{suffix}{more}"


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_files_are_not_taken_for_credentials(name: str) -> None:
    assert not may_hold_credentials(name)
    assert not may_hold_credentials(f"{name}.bak")


def test_code_that_is_called_env_is_read() -> None:
    assert not may_hold_credentials("env.py")
    assert may_hold_credentials("env.json")


@pytest.mark.parametrize("place", ["ssh/config", "SSH/config", "ssh.bak/config", "secrets/db", "gcloud/a.db"])
async def test_folders_of_credentials_are_not_read(folder: Path, place: str) -> None:
    (folder / place).parent.mkdir()
    (folder / place).write_text(OUTSIDE)
    assert (await tools_read(folder, place))[0] == ToolResult(f"{place} may hold credentials", ok=False)


async def test_a_notebook_in_a_folder_of_credentials_reads_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "notes.txt").write_text(OUTSIDE)
    assert (await tools_read(tmp_path / ".ssh", "notes.txt"))[0] == ToolResult(
        "notes.txt may hold credentials", ok=False
    )


async def test_every_line_of_a_large_file_can_be_read(folder: Path) -> None:
    count = 400_000
    (folder / "long.txt").write_bytes(b"".join(b"line %d\n" % number for number in range(1, count + 1)))
    ports = Ports(SameThread(), folder=folder)
    tracemalloc.start()
    for line in (1, 2, 65_537, 200_000, count - 1, count):
        wanted = {"path": "long.txt", "start_line": line, "lines": 1}
        assert await call_tool(read_file, wanted, ports) == ToolResult(f"line {line}\n")
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
    after = {"path": "long.txt", "start_line": count + 1}
    assert await call_tool(read_file, after, ports) == ToolResult("(empty)")
    whole = await call_tool(read_file, {"path": "long.txt"}, ports)
    following = int(whole.text.rpartition("continue with line ")[2].strip("]").replace(",", ""))
    one_more = {"path": "long.txt", "start_line": following, "lines": 1}
    assert await call_tool(read_file, one_more, ports) == ToolResult(f"line {following}\n")


@pytest.mark.parametrize("number", [2**31, 2**63, 10**30, 10**4000])
async def test_a_number_of_any_size_names_lines(folder: Path, number: int) -> None:
    (folder / "few.txt").write_text("one\ntwo\n")
    ports = Ports(SameThread(), folder=folder)
    assert await call_tool(read_file, {"path": "few.txt", "lines": number}, ports) == ToolResult("one\ntwo\n")
    wanted = {"path": "few.txt", "start_line": number, "lines": number}
    assert await call_tool(read_file, wanted, ports) == ToolResult("(empty)")


def listed(folder: Path, pattern: str = "*", **bounds: float) -> ToolResult:
    return list_folder(folder, ".", pattern, ListingBounds(**bounds))  # type: ignore[arg-type]


def test_a_listing_visits_and_names_a_bounded_number_of_files(folder: Path) -> None:
    for number in range(50):
        (folder / "data" / f"{number}.txt").touch()
    assert listed(folder, files=3).text.splitlines()[-1].startswith("… more than 3 files")
    result = listed(folder, "*.none", entries=20)
    assert (result.ok, result.text) == (True, "… not all was looked at; give a folder with fewer files in it")
    assert listed(folder, "*.none", seconds=-1).text == result.text
    assert listed(folder, "*.none", entries=60).text == "(no files)"
    for number in range(50):
        (folder / "data" / f".{number}").touch()
    assert listed(folder, "*.none", entries=60).text == result.text


def test_a_listing_descends_to_a_bounded_depth_and_into_no_link(folder: Path) -> None:
    deep = folder
    for _ in range(60):
        deep /= "d"
        deep.mkdir()
        (deep / "file").touch()
    (folder / "d" / "again").symlink_to(folder)
    (folder / "d" / "out").symlink_to(folder.parents[1] / "outside")
    lines = listed(folder).text.splitlines()
    assert len([line for line in lines if "/file " in line]) == 32
    assert not any("/out/" in line or "/again/" in line for line in lines)


async def test_a_pattern_has_a_bounded_length(folder: Path) -> None:
    ports = Ports(SameThread(), folder=folder)
    assert not (await call_tool(list_files, {"pattern": "*a" * 50_000}, ports)).ok
    assert (await call_tool(list_files, {"pattern": "*a" * 90}, ports)).ok


def test_a_listing_that_nobody_waits_for_stops(folder: Path) -> None:
    bounds = ListingBounds()
    bounds.stop.set()
    assert list_folder(folder, ".", "*", bounds).text.startswith("… not all was looked at")


async def test_names_that_are_not_text_are_listed(folder: Path) -> None:
    (folder / os.fsdecode(b"caf\xe9.csv")).touch()
    assert listed(folder, "caf*").text == "caf?.csv  0 bytes"


async def test_a_file_system_that_does_not_respond_is_given_up() -> None:
    responds = threading.Event()
    with pytest.raises(FileRefused):
        read_apart(responds.wait, seconds=0)
    with pytest.raises(FileRefused):
        await read_off_loop(responds.wait, seconds=0)
    responds.set()
    assert read_apart(responds.wait)
    assert await read_off_loop(responds.wait)


async def test_a_read_that_ends_while_its_turn_is_cancelled_does_not_keep_the_turn_alive() -> None:
    """Python 3.11's wait_for gives the result instead of the cancellation that came at the same time."""
    release, is_read = threading.Event(), threading.Event()

    def read() -> None:
        release.wait()
        is_read.set()

    reading = asyncio.create_task(read_off_loop(read))
    await asyncio.sleep(0)
    release.set()
    is_read.wait()
    time.sleep(0.05)  # noqa: ASYNC251 - the loop must not run before both are there
    asyncio.get_running_loop().call_soon(reading.cancel)
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_copies_of_notebooks_are_read_as_notebooks(folder: Path) -> None:
    cell = {"cell_type": "code", "metadata": {"tags": ["codex-skip"]}, "source": OUTSIDE, "outputs": []}
    for name in ("a.ipynb", "a.ipynb.bak", "a.ipynb~", "A.IPYNB.1", "a-copy.ipynb.orig"):
        (folder / name).write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4}))
        assert OUTSIDE not in (await tools_read(folder, name))[0].text
        mentioned = Mentions(None, Hidden().visible({}), folder, Hidden())
        mentioned.resolve(mentions_in(f"@file:{name}", folder))
        assert OUTSIDE not in str(mentioned)
