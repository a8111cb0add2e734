"""Files whose contents are sent: which may be read, how they are opened; the tools ``read_file`` and ``list_files``.

A file is read in two steps. :func:`path_in_folder` (the model's choice), :func:`path_of_user` (the user's) and
:func:`path_of_project` (``AGENTS.md``) follow the links of a path and decide on where it leads: a :class:`CheckedPath`.
Only that can be opened, by walking to it from the root of the file system with one descriptor after the other, none of
which is a link. So nothing that is changed in the meantime leads elsewhere.

Where the system cannot open relative to a descriptor (Windows), the path is resolved once more after the opening
instead. A file that is hard-linked into the folder cannot be told from one that was made there.

The tools read the notebook's folder, and nothing else. Hidden files and folders are skipped, and so are files whose
name says that they hold credentials.
"""

from __future__ import annotations

import asyncio
import fnmatch
import functools
import io
import os
import re
import stat
import threading
import time
import unicodedata
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from pydantic import Field

from codex_nb.parse import image_type, picture_of
from codex_nb.tools.approval import Approved, Effect
from codex_nb.tools.base import Arguments, Ports, Tool, ToolResult, required
from codex_nb.tools.hiding import NOTEBOOK_LIMIT, is_notebook
from codex_nb.tools.nbmodel import truncate
from codex_nb.tools.secrets import is_secret_name, word_set

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from codex_nb.tools.hiding import Hidden


T = TypeVar("T")

IMAGE_LIMIT = 20_000_000
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp"})
_SECONDS = 20.0  # a file system that does not respond is not waited for any longer
_MARKDOWN = frozenset({".md", ".mdc", ".markdown"})
_MOUNTS = Path("/proc/self/mountinfo")  # proc_pid_mountinfo(5)
_PSEUDO_TYPES = frozenset(
    b"proc sysfs debugfs tracefs securityfs configfs cgroup cgroup2 bpf pstore efivarfs devpts devtmpfs mqueue".split()
    + b"binfmt_misc fusectl rpc_pipefs nsfs".split()
)
# Opened so, a pipe is not waited for and a link not followed; not every system has each flag.
_FILE_FLAGS = os.O_RDONLY | sum(
    getattr(os, flag, 0)
    for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY", "O_NOINHERIT")
)
_FOLDER_FLAGS = sum(getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_DIRECTORY", "O_CLOEXEC"))
_SEARCH = getattr(os, "O_PATH", os.O_RDONLY)  # needs no permission to list the folder
_WALKS = {os.open, os.stat} <= os.supports_dir_fd
_NOT_A_FILE = "is not a file"
_NO_FOLDER = "There is no notebook folder here."
_NO_NAME = "is not a valid file name"
_NO_RESPONSE = "cannot be read: its file system does not respond"


class FileRefused(Exception):
    """The file is not one that may be read; the text completes a sentence that begins with its name."""


# -- Which files hold credentials ------------------------------------------------------------------------------------

# In lower case and without leading dots and underscores; their backups are meant as well. What a name says in words
# (password, token, secret, API key) is decided by is_secret_name, as it is for variables.
_CREDENTIAL_FILES = """
    auth.json* auth.toml *.pem *.key *.ppk *.p8 *.p12 *.pfx *.pk8 *.pkcs12 *.jks *.bks *.keystore *.keychain
    *.keychain-db *.kdb *.kdbx *.gpg *.pgp *private*.asc *secret*.asc *key*.asc *.age *.agekey *.ovpn
    *.publishsettings *.mobileprovision id_rsa* id_dsa* id_ecdsa* id_ed25519* id_xmss* identity ssh_host_*_key
    secring.* wallet.dat env *.env env.* *.env.* envrc dotenv netrc* pgpass pgpass.conf pypirc npmrc yarnrc yarnrc.yml
    gemrc renviron my.cnf mylogin.cnf git-credentials gitcredentials htpasswd* *.htpasswd htdigest shadow gshadow
    smbpasswd credentials* *.credentials creds creds.* kubeconfig* *.kubeconfig kube.config dockercfg dockerconfigjson
    boto boto.cfg s3cfg rclone.conf vault-token vault-pass *vault.yml *vault.yaml terraform.rc terraformrc *.tfrc
    *.tfstate* *.tfvars *.tfvars.json wp-config.php local_settings.py local.settings.json databricks.cfg databrickscfg
    kaggle.json database.yml appsettings*.json settings-security.xml hosts.yml profiles.yml condarc
    *service*account*.json *adminsdk*.json client_secret* *accesskeys.csv rootkey.csv gha-creds-* sftp-config.json
    sftp.json filezilla*.xml storage_state.json gradle.properties nuget.config airflow.cfg *.mobileconfig dump.rdb
    *passwörter* *kennwörter* *motsdepasse* *contraseñas* *contrasenas* *senhas* *пароли* *lösenord* *密码* *密碼*
    sitemanager.xml recentservers.xml logins.json key3.db key4.db cookies cookies.txt cookies.json cookies.sqlite
    login?data jupyter_server_config.json jupyter_notebook_config.json wg?.conf wpa_supplicant.conf *.nmconnection
    *.jceks mysql*.cnf odbc.ini odbcinst.ini *.pgpass connections.toml azureauth.json google-services.json
    bitwarden*export* lastpass*.csv 1password*.csv *.1pux *oauth*.json *token_cache* *.keytab krb5cc_* *recovery?codes*
"""
_CREDENTIAL_FOLDERS = word_set(
    ".ssh .aws .gnupg .kube .docker .azure .gcloud .codex .oci .password-store .m2 .dbt .snowsql"
    " ssh gnupg gcloud secrets credentials creds passwords private_keys keyrings"
)
_CODE = frozenset({"py", "pyi", "ipynb", "js", "ts", "md", "rst", "html", "css"})  # env.py and its like
_SETTINGS = frozenset({"", "json", "yaml", "yml", "toml", "ini", "cfg", "conf", "txt", "xml", "properties"})
_BACKUPS = frozenset(
    {"", "bak", "backup", "bkp", "bck", "back", "old", "orig", "original", "save", "saved", "prev"}
    | {"previous", "copy", "of", "new", "tmp", "temp", "swp", "swo", "swn", "dist", "dpkg", "rpmsave"}
    | {"rpmnew", "gz", "bz2", "xz", "zst", "zip", "7z", "tar", "tgz", "rar", "enc", "b64", "base64"}
)
_LISTED = ("key", "keys", "token", "tokens")
_MOST_MARKS = 16  # with what separates them
_SSH_KEY = re.compile(r"id_\w+")
_SEPARATORS = re.compile(r"([\W_]+)")


def may_hold_credentials(name: str) -> bool:
    """Whether a file of this name, or the one that it is a backup of, usually holds keys or passwords."""
    return any(map(_is_credential_file, _originals(name)))


def _is_credential_file(name: str) -> bool:
    stem, dot, suffix = name.rpartition(".")
    stem, suffix = (stem, suffix.casefold()) if dot else (suffix, "")
    lowered, lowered_stem = name.casefold(), stem.casefold()
    if _credential_pattern().match(lowered):
        return not (lowered_stem == "env" and suffix in _CODE)
    is_ssh_key = not suffix and _SSH_KEY.fullmatch(lowered) is not None
    # tokens.json is a file of settings, tokens.csv one of words
    is_list = suffix in _SETTINGS and lowered_stem.endswith(_LISTED) and is_secret_name(stem.upper())
    return is_ssh_key or is_list or is_secret_name(stem)


@functools.cache
def _credential_pattern() -> re.Pattern[str]:
    return re.compile("|".join(map(fnmatch.translate, _CREDENTIAL_FILES.split())))


def _originals(name: str) -> Iterator[str]:
    """Yield a name, and those that it may be a copy of: for ``.auth.json.swp`` or ``auth (1).json``, ``auth.json``."""
    for whole in _without_marks(_canonical(name)):
        yield whole
        stem, dot, suffix = whole.rpartition(".")
        yield from (f"{each}.{suffix}" for each in _without_marks(stem) if dot)


def _without_marks(name: str) -> Iterator[str]:
    """Yield a name, and what is left of it without the words at its ends that mark a backup."""
    parts = _SEPARATORS.split(name)
    first = next((n for n in range(0, len(parts), 2) if parts[n].casefold() not in _BACKUPS), 0)
    for begin in {0, first}:
        for end in range(len(parts), max(begin, len(parts) - _MOST_MARKS), -2):
            yield "".join(parts[begin:end])
            if not (parts[end - 1].isdigit() or parts[end - 1].casefold() in _BACKUPS):
                break


def _canonical(name: str) -> str:
    """Return a name as file systems compare it that ignore case, invisible characters and dots at the end."""
    text = unicodedata.normalize("NFKC", name)
    return "".join(each for each in text if unicodedata.category(each) != "Cf").rstrip(". ")


def _refuse_hidden(inside: Path, reason: str) -> None:
    if any(part.startswith(".") or _canonical(part).startswith(".") for part in inside.parts):
        raise FileRefused(reason)


def _refuse_credentials(path: Path, root: Path) -> None:
    folders = path.relative_to(root).parts[:-1]
    around = {part.casefold() for part in path.parts if part.startswith(".")}
    around.update(each.casefold() for part in folders for each in _originals(part))
    if may_hold_credentials(path.name) or not _CREDENTIAL_FOLDERS.isdisjoint(around):
        raise FileRefused("may hold credentials")


# -- Which path may be opened ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CheckedPath:
    """The path, free of links, of a file or folder that may be read."""

    path: Path


def path_in_folder(folder: Path, name: str) -> CheckedPath:
    """Return where a name that the model chose leads within ``folder``.

    Raises FileRefused for what lies outside, is hidden or may hold credentials.
    """
    root = _real(folder)
    path = _real(root / name)
    if not path.is_relative_to(root):  # said of what does not exist as well
        raise FileRefused("lies outside the notebook's folder")
    _refuse_hidden(path.relative_to(root), "is hidden")
    if path != root:
        _refuse_credentials(path, root)
    return CheckedPath(path)


def path_of_user(name: str, folder: Path | None) -> CheckedPath:
    """Return where a path that the user wrote leads; a relative one begins in ``folder``, or where the kernel runs.

    The user may name any file, but a link in the project leads where its author wanted: see :func:`path_of_project`.
    """
    place = (folder or Path()).absolute()
    return path_of_project(_written(place, name), project_root(place))


def path_of_project(written: Path, root: Path | None) -> CheckedPath:
    """Return where a path leads; below ``root``, links lead to files of the project that are no secrets.

    Raises FileRefused for a link to what lies outside ``root``, is hidden (Markdown may be) or may hold credentials,
    and OSError when the path leads nowhere.
    """
    path = _real(written, strict=True)
    if root is None:
        return CheckedPath(path)
    real_root = _real(root, strict=True)
    base = root if written.is_relative_to(root) else real_root
    if written.is_relative_to(base) and path != real_root / written.relative_to(base):
        if not path.is_relative_to(real_root):
            raise FileRefused("links to a file outside the project")
        if path.suffix.lower() not in _MARKDOWN:
            _refuse_hidden(path.relative_to(real_root), "links to a hidden file")
        _refuse_credentials(path, real_root)
    return CheckedPath(path)


def project_folders(folder: Path) -> list[Path]:
    """Return the folders from the repository's root (the nearest one with ``.git``) to ``folder``; or that alone."""
    around = [folder, *folder.parents]
    for depth, place in enumerate(around):
        if os.path.lexists(place / ".git"):
            return around[depth::-1]
    return [folder]


def project_root(folder: Path) -> Path:
    """Return the root of the folder's project: a repository of the whole home makes no project of all in it."""
    root = project_folders(folder)[0]
    return folder if Path(_with_home("~")).is_relative_to(root) else root


def _written(place: Path, name: str) -> Path:
    try:
        return Path(os.path.normpath(place / _with_home(name)))
    except ValueError:
        raise FileRefused(_NO_NAME) from None


def _with_home(name: str) -> str:
    return os.path.expanduser(name)  # noqa: PTH111 -- Path's own raises where the user has no home


def _real(path: Path, *, strict: bool = False) -> Path:
    if os.name == "nt" and ":" in "".join(path.parts[1:]):
        raise FileRefused(_NOT_A_FILE)  # another stream of a file
    try:
        return Path(os.path.realpath(path, strict=strict))
    except ValueError:  # a NUL, or half of a character
        raise FileRefused(_NO_NAME) from None


# -- Opening and reading ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FileContent:
    """The first bytes of a file, and the size of the whole file."""

    data: bytes
    size: int

    @property
    def is_text(self) -> bool:
        """Whether the beginning of the file holds no NUL byte."""
        return b"\0" not in self.data[:8192]

    @property
    def text(self) -> str:
        """The bytes as text; a byte order mark is no part of it."""
        return self.data.decode("utf-8-sig", "replace")


def read_bounded(checked: CheckedPath, max_bytes: int) -> FileContent:
    """Read the first bytes of a regular file; as :func:`open_file`."""
    with open_file(checked) as (file, size):
        return FileContent(file.read(min(max_bytes, size)), size)


@contextmanager
def open_file(checked: CheckedPath) -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular file with its size; never waits for a pipe or a device, never follows a link.

    Raises FileRefused, or OSError when the file cannot be opened.
    """
    descriptor = _open_at(checked.path, _open_regular)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_dev in _pseudo_devices():
            raise FileRefused(_NOT_A_FILE)
        if not _WALKS and not os.path.samestat(status, os.lstat(os.path.realpath(checked.path))):
            raise FileRefused(_NOT_A_FILE)
        if not status.st_size and file.read(1):
            raise FileRefused(_NOT_A_FILE)  # a pseudo file, wherever it is mounted
        yield file, status.st_size


_Folder = int | Path  # a descriptor, or a path where the system cannot open relative to one


@contextmanager
def open_folder(checked: CheckedPath) -> Iterator[_Folder]:
    """Open a folder to list it; raises as :func:`open_file`."""
    if not _WALKS:
        yield checked.path
        return
    with _listable(_open_at(checked.path, _open_directory)) as descriptor:
        yield descriptor


@contextmanager
def _open_inner(folder: _Folder, name: str) -> Iterator[_Folder]:
    """Open a folder in an open one; raises OSError for a link or a pseudo file system."""
    if isinstance(folder, Path):
        if os.path.realpath(folder / name) != str(folder / name):
            raise NotADirectoryError  # a junction of Windows
        yield folder / name
        return
    with _listable(_open_directory(name, folder), folder) as descriptor:
        yield descriptor


@contextmanager
def _listable(descriptor: int, outer: int | None = None) -> Iterator[int]:
    try:
        device = os.fstat(descriptor).st_dev
        is_mounted_here = outer is None or os.fstat(outer).st_dev != device
        if is_mounted_here and device in _pseudo_devices():
            raise NotADirectoryError
        yield descriptor
    finally:
        os.close(descriptor)


def _open_at(path: Path, open_last: Callable[[str, int | None], int]) -> int:
    """Open a path by walking down to it, so that no part of it can be swapped for a link."""
    if not _WALKS:
        return open_last(str(path), None)
    here = os.open(path.anchor, _SEARCH | _FOLDER_FLAGS)
    try:
        for folder in path.parts[1:-1]:
            inner = os.open(folder, _SEARCH | _FOLDER_FLAGS, dir_fd=here)
            os.close(here)
            here = inner
        return open_last(path.name or ".", here)
    finally:
        os.close(here)


def _open_regular(name: str, folder: int | None) -> int:
    # Opening a device can act on it, so its kind is asked for first, and once more after the opening.
    if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        raise FileRefused(_NOT_A_FILE)
    return os.open(name, _FILE_FLAGS, dir_fd=folder)


def _open_directory(name: str, folder: int | None) -> int:
    return os.open(name, os.O_RDONLY | _FOLDER_FLAGS, dir_fd=folder)


def _pseudo_devices() -> set[int]:
    """Return the devices of the kernel's pseudo file systems, wherever they are mounted; Linux alone has them."""
    try:
        lines = _MOUNTS.read_bytes().splitlines()
    except OSError:
        return set()
    mounts = [line.split() for line in lines if b" - " in line]
    pseudo = [fields[2] for fields in mounts if fields[fields.index(b"-") + 1] in _PSEUDO_TYPES]
    return {os.makedev(*map(int, device.split(b":"))) for device in pseudo}


def read_notebook(checked: CheckedPath, hidden: Hidden) -> str:
    """Return the text of a notebook's file without the skipped cells in it; as :func:`read_bounded`."""
    content = read_bounded(checked, NOTEBOOK_LIMIT)
    if content.size > NOTEBOOK_LIMIT:
        raise FileRefused(f"is too large to be read ({content.size:,} bytes)")
    try:
        return hidden.notebook(content.text)
    except ValueError as error:
        raise FileRefused(str(error)) from None


def read_image(checked: CheckedPath) -> str:
    """Return an image file as a data URL; raises as :func:`read_bounded`."""
    content = read_bounded(checked, IMAGE_LIMIT)
    if content.size > IMAGE_LIMIT:
        raise FileRefused(f"is larger than {IMAGE_LIMIT // 1_000_000} MB")
    if (picture := picture_of(content.data)) is None:
        damaged = " that can be read" if image_type(content.data) else ""
        raise FileRefused(f"is not a PNG, JPEG, GIF or WebP image{damaged}")
    return picture


def is_image(name: str) -> bool:
    """Whether a file is an image that can be sent, by its name."""
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def read_apart(read: Callable[[], T], *, seconds: float = _SECONDS) -> T:
    """Run a read on a thread of its own and wait for it; raises FileRefused when the file system does not respond."""
    try:
        return _started(read).result(seconds)
    except TimeoutError:
        raise FileRefused(_NO_RESPONSE) from None


async def read_off_loop(read: Callable[[], T], *, seconds: float = _SECONDS) -> T:
    """Like :func:`read_apart`, for the event loop."""
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.wrap_future(_started(read))
    except TimeoutError:
        raise FileRefused(_NO_RESPONSE) from None


def _started(read: Callable[[], T]) -> Future[T]:
    future: Future[T] = Future()

    def run() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(read())
        except BaseException as error:  # noqa: BLE001 -- raised where the result is waited for
            future.set_exception(error)

    # Not of a pool: Python would wait at its exit for a thread that a dead network drive holds.
    threading.Thread(target=run, daemon=True, name="codex_nb file").start()
    return future


READ_LIMIT = 20_000
_PIECE = 1_000_000
_SEARCHED = 256_000_000  # bytes in which the first line is looked for
_LONGEST_PATTERN = 200
_SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__", "site-packages"})


def read_lines(folder: Path, name: str, start: int, lines: int | None, hidden: Hidden) -> ToolResult:
    """Return lines of a text file, ``start`` counting from 1; of a notebook, without its skipped cells."""
    checked = path_in_folder(folder, name)
    if is_notebook(checked.path):
        data = read_notebook(checked, hidden).encode("utf-8", "replace")
        return _lines_of(io.BytesIO(data), len(data), start, lines)
    with open_file(checked) as (file, size):
        if not FileContent(file.read(8192), size).is_text:
            return ToolResult(f"{name} is not a text file ({size:,} bytes)", ok=False)
        file.seek(0)
        return _lines_of(file, size, start, lines)


def _lines_of(file: BinaryIO, size: int, start: int, lines: int | None) -> ToolResult:
    _skip_lines(file, start - 1)
    data = file.read(_PIECE)
    pieces = data.split(b"\n", -1 if lines is None else min(lines, len(data)))
    is_enough = lines is not None and len(pieces) > lines
    chosen = b"\n".join([*pieces[:lines], b""]) if is_enough else data
    text = truncate(chosen.decode("utf-8-sig" if start == 1 else "utf-8", "replace"), READ_LIMIT) or "(empty)"
    if not is_enough and file.tell() < size:
        following = start + data.count(b"\n")
        text += f"\n[{size:,} bytes in all; continue with line {following:,}]"
    return ToolResult(text)


def _skip_lines(file: BinaryIO, missing: int) -> None:
    searched = 0
    while missing and (line := file.readline(_PIECE)):
        missing -= line.endswith(b"\n")
        searched += len(line)
        if searched > _SEARCHED:
            raise FileRefused(f"has too few lines in its first {_SEARCHED // 1_000_000} MB")


@dataclass
class ListingBounds:
    """What a listing may still look at: files to name, entries to visit, folders to descend, seconds.

    ``stop`` ends it at once.
    """

    files: int = 300
    entries: int = 100_000
    depth: int = 32
    seconds: float = 5.0
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._deadline = time.monotonic() + self.seconds

    def visit(self) -> bool:
        """Count an entry; whether it may still be looked at."""
        self.entries -= 1
        return not self.is_used_up

    @property
    def is_used_up(self) -> bool:
        """Whether nothing more may be looked at."""
        return self.entries < 0 or self.stop.is_set() or time.monotonic() > self._deadline


def list_folder(folder: Path, name: str, pattern: str, bounds: ListingBounds) -> ToolResult:
    """Return the files below a folder with their sizes, as many as the bounds allow."""
    if len(pattern) > _LONGEST_PATTERN:
        return ToolResult(f"The pattern is longer than {_LONGEST_PATTERN} characters.", ok=False)
    checked, most = path_in_folder(folder, name), bounds.files
    inside = checked.path.relative_to(path_in_folder(folder, ".").path).as_posix()
    lines: list[str] = []
    try:
        with open_folder(checked) as top:
            for shown, size in _files_in(top, "" if inside == "." else f"{inside}/", bounds):
                if fnmatch.fnmatch(shown, pattern) or fnmatch.fnmatch(shown.rpartition("/")[2], pattern):
                    if len(lines) == most:
                        lines.append(f"… more than {most} files; give a folder or a pattern")
                        break
                    lines.append(f"{shown}  {size:,} bytes".encode("utf-8", "replace").decode())
    except NotADirectoryError:
        return ToolResult(f"{name} is not a folder", ok=False)
    if bounds.is_used_up:
        lines.append("… not all was looked at; give a folder with fewer files in it")
    return ToolResult("\n".join(lines) or "(no files)")


def _files_in(here: _Folder, prefix: str, bounds: ListingBounds, depth: int = 0) -> Iterator[tuple[str, int]]:
    with os.scandir(here) as entries:
        visited = takewhile(lambda _: bounds.visit(), entries)
        found = sorted(
            (entry for entry in visited if not entry.name.startswith(".")), key=lambda entry: entry.name
        )
    folders = []
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            folders.append(entry.name)
            continue
        with suppress(OSError):  # it has gone in the meantime
            yield prefix + entry.name, entry.stat(follow_symlinks=False).st_size
    for folder in folders if depth < bounds.depth else ():
        if folder not in _SKIPPED_FOLDERS and not bounds.is_used_up:
            with suppress(OSError), _open_inner(here, folder) as inner:  # not ours to list, or a link by now
                yield from _files_in(inner, f"{prefix}{folder}/", bounds, depth + 1)


class ReadFile(Arguments):
    """A file, and the lines of it."""

    path: str = Field(min_length=1, description="Path relative to the notebook's folder.")
    start_line: int = Field(default=1, ge=1, description="First line, counting from 1.")
    lines: int | None = Field(default=None, ge=1, description="How many lines; null for all.")


class ListFiles(Arguments):
    """A folder, and the names in it."""

    folder: str = Field(default=".", description="Folder relative to the notebook's; '.' for itself.")
    pattern: str = Field(default="*", description="Only names that fit, such as '*.csv'.")


async def _read_file(call: Approved[ReadFile], ports: Ports) -> ToolResult:
    folder, wanted = required(ports.folder, _NO_FOLDER), call.arguments
    hidden = await ports.main_thread.call(ports.hidden)
    return await read_result(
        wanted.path, lambda: read_lines(folder, wanted.path, wanted.start_line, wanted.lines, hidden)
    )


async def _list_files(call: Approved[ListFiles], ports: Ports) -> ToolResult:
    folder = required(ports.folder, _NO_FOLDER)
    name, pattern = call.arguments.folder or ".", call.arguments.pattern or "*"
    bounds = ListingBounds()
    try:
        return await read_result(name, lambda: list_folder(folder, name, pattern, bounds))
    finally:
        bounds.stop.set()


async def read_result(name: str, read: Callable[[], ToolResult]) -> ToolResult:
    """Read off the event loop; what cannot be read is a result that says so, with the name that was asked for."""
    try:
        return await read_off_loop(read)
    except FileRefused as error:
        return ToolResult(f"{name} {error}", ok=False)
    except OSError as error:
        return ToolResult(error.strerror or type(error).__name__, ok=False)


read_file = Tool(
    name="read_file",
    description="Reads a text file in the notebook's folder, or some of its lines.",
    arguments=ReadFile,
    effect=Effect.READ,
    call=_read_file,
    title="Read a file",
    summary="Reads a file in the notebook's folder. Changes nothing.",
    requires="folder",
)

list_files = Tool(
    name="list_files",
    description="Lists the files in the notebook's folder and below, with their sizes.",
    arguments=ListFiles,
    effect=Effect.READ,
    call=_list_files,
    title="List files",
    summary="Lists the files in the notebook's folder. Changes nothing.",
    requires="folder",
)
