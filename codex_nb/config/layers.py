"""The layers of Codex's configuration, in the CLI's order: which file sets which value, and what is required.

From the weakest to the strongest: the system's file, the user's, the profile's, those of a trusted project, and the
administrator's ``managed_config.toml``. What ``requirements.toml`` sets, none of them overrides. Measured with ``codex
exec`` and with ``config/read`` and ``configRequirements/read`` of ``codex app-server``.
"""

from __future__ import annotations

import base64
import os
import plistlib
import re
import sys
from dataclasses import dataclass, field
from datetime import date, datetime, time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codex_nb.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# TOML 1.1, as the CLI reads it; Python's own parser reads it from 3.15 on.
toml = import_module("tomli" if find_spec("tomli") else "tomllib")

CONFIG_FILE = "config.toml"
MANAGED_FILE = "managed_config.toml"
REQUIREMENTS_FILE = "requirements.toml"
DOTENV_FILE = ".env"
PREFERENCES = "com.openai.codex"

# What the file of a project may not set, by the CLI's list: where credentials are sent and what is run. The place of
# the credentials and the servers, which are programs to start, are our own additions.
NOT_FOR_PROJECTS = frozenset(
    {"chatgpt_base_url", "openai_base_url", "model_provider", "model_providers", "profile", "profiles"}
    | {"cli_auth_credentials_store", "model_catalog_json", "mcp_servers"}
)
# The keys of requirements.toml that replace the value of every layer.
REQUIRED_VALUES = frozenset({"model_provider", "chatgpt_base_url", "cli_auth_credentials_store"})


@dataclass(frozen=True)
class Machine:
    """The operating system and the root of its files; tests give their own."""

    platform: str = sys.platform
    root: Path = Path("/")

    def system_file(self, name: str, environ: Mapping[str, str]) -> Path:
        """Return the place of an administrator's file."""
        if self.platform != "win32":
            return self.root / "etc" / "codex" / name
        data = environ.get("ProgramData") or environ.get("PROGRAMDATA") or self.root / "ProgramData"
        return Path(data) / "OpenAI" / "Codex" / name

    def managed_file(self, codex_home: Path, environ: Mapping[str, str]) -> Path:
        """Return the place of ``managed_config.toml``: on Windows it is in CODEX_HOME."""
        if self.platform == "win32":
            return codex_home / MANAGED_FILE
        return self.system_file(MANAGED_FILE, environ)

    def preferences(self, environ: Mapping[str, str]) -> Iterator[Path]:
        """Yield where macOS keeps the preferences that a device profile manages, the strongest first."""
        if self.platform != "darwin":
            return
        managed = self.root / "Library" / "Managed Preferences"
        if user := environ.get("USER"):
            yield managed / user / f"{PREFERENCES}.plist"
        yield managed / f"{PREFERENCES}.plist"


@dataclass(frozen=True)
class Layer:
    """One file's tables; ``source`` is how it is named to the user."""

    source: str
    tables: Mapping[str, Any]


@dataclass
class MergedConfig:
    """What the layers add up to, with the layer that each value and each table comes from: the strongest one.

    ``fixed`` are the keys that an administrator has set; ``warnings`` say what of a file is not used.
    """

    tables: dict[str, Any] = field(default_factory=dict)
    origins: dict[tuple[str, ...], Layer] = field(default_factory=dict)
    fixed: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()

    def add(self, layer: Layer) -> None:
        """Lay a layer over the others: its values win, tables are merged key by key."""
        self._merge(self.tables, layer.tables, (), layer)

    def replace(self, key: tuple[str, ...], value: Any, layer: Layer) -> None:
        """Set one value in place of all that the layers say of it."""
        *parents, last = key
        table = self.tables
        for parent in parents:
            inner = table.get(parent)
            table[parent] = table = inner if isinstance(inner, dict) else {}
        table.pop(last, None)
        self.origins = {known: origin for known, origin in self.origins.items() if known[: len(key)] != key}
        self._merge(table, {last: value}, tuple(parents), layer)

    def origin(self, *key: str) -> Layer | None:
        """Return the layer that a value comes from, or that of the nearest table around it."""
        around = (key[:length] for length in range(len(key), 0, -1))
        return next((self.origins[each] for each in around if each in self.origins), None)

    def source(self, *key: str) -> str:
        """Return the name of the file that a value comes from."""
        found = self.origin(*key)
        return found.source if found is not None else CONFIG_FILE

    def path(self, written: str, *key: str) -> Path:
        """Return the path that a value is; a relative one begins in the folder of the file that has it."""
        return Path(self.source(*key)).parent / os.path.expanduser(written)  # noqa: PTH111  Path.expanduser() raises for an unknown user

    def _merge(
        self, table: dict[str, Any], more: Mapping[str, Any], path: tuple[str, ...], layer: Layer
    ) -> None:
        for key, value in more.items():
            place = (*path, key)
            if isinstance(value, dict):
                if not isinstance(table.get(key), dict):
                    table[key] = {}
                self._merge(table[key], value, place, layer)
            else:
                table[key] = value
            self.origins[place] = layer


def read_layers(
    environ: Mapping[str, str],
    codex_home: Path,
    *,
    profile: str | None = None,
    folder: Path | None = None,
    machine: Machine | None = None,
) -> tuple[MergedConfig, MergedConfig]:
    """Read and merge every layer, and ``requirements.toml``. ``profile`` names a file ``CODEX_HOME/NAME.config.toml``.

    ``folder`` is where the project's files are looked for. Raises ConfigError for a file that the CLI refuses, too.
    """
    machine = machine or Machine()
    merged, warnings = MergedConfig(), list[str]()
    user_files = [codex_home / CONFIG_FILE, *([profile_file(codex_home, profile)] if profile else [])]
    for path in (machine.system_file(CONFIG_FILE, environ), *user_files):
        merged.add(_layer(path))
    if folder is not None:
        for layer, ignored in _project_layers(folder, codex_home, merged.tables):
            merged.add(layer)
            warnings += ignored
    managed = [_layer(machine.managed_file(codex_home, environ)), *_preferences(machine, environ, "config")]
    for layer in managed:
        merged.add(layer)
    requirements = _requirements(machine, environ, managed)
    fixed, unused = _require(merged, requirements)
    merged.fixed = frozenset(fixed.union(*(layer.tables for layer in managed)))
    merged.warnings = (*warnings, *unused)
    return merged, requirements


def profile_file(codex_home: Path, name: str) -> Path:
    """Return the file of a profile."""
    return codex_home / f"{name}.config.toml"


def _layer(path: Path) -> Layer:
    return Layer(str(path), read_toml(path))


def _preferences(machine: Machine, environ: Mapping[str, str], kind: str) -> list[Layer]:
    """Return what a device profile of macOS sets: TOML in base64, under a key of its preferences."""
    key = f"{kind}_toml_base64"
    for path in machine.preferences(environ):
        source = f"{path} ({key})"
        content = read_bytes(path)
        if content is None:
            continue
        try:
            encoded = plistlib.loads(content).get(key)
            tables = parse_toml(base64.b64decode(encoded.strip(), validate=True), source) if encoded else None
        except (ValueError, TypeError, AttributeError, plistlib.InvalidFileException) as error:
            raise ConfigError(
                f"{source} cannot be read: it is not TOML in base64.",
                path=str(path),
                key=key,
                hint="Ask the administrator of this computer.",
            ) from error
        if tables is not None:
            return [Layer(source, tables)]
    return []


def _requirements(machine: Machine, environ: Mapping[str, str], managed: Iterable[Layer]) -> MergedConfig:
    requirements = MergedConfig()
    requirements.add(_layer(machine.system_file(REQUIREMENTS_FILE, environ)))
    for layer in managed:  # before there was requirements.toml, this was how a policy was required
        if policy := layer.tables.get("approval_policy"):
            requirements.add(Layer(layer.source, {"allowed_approval_policies": [policy]}))
    for layer in _preferences(machine, environ, "requirements"):
        requirements.add(layer)
    return requirements


def _require(merged: MergedConfig, requirements: MergedConfig) -> tuple[set[str], list[str]]:
    """Put what is required in place of what is configured; return the keys, and what of a file is not used then.

    A required provider has nothing of the user's table.
    """
    providers = requirements.tables.get("model_providers")
    for name, table in providers.items() if isinstance(providers, dict) else ():
        place = ("model_providers", name)
        merged.replace(place, table, requirements.origins[place])
    required, unused = REQUIRED_VALUES & requirements.tables.keys(), list[str]()
    for key in sorted(required):
        value, before = requirements.tables[key], merged.tables.get(key)
        if before is not None and before != value:
            source = requirements.source(key)
            unused.append(f"{key} of {merged.source(key)} is not used: {source} requires {value!r}.")
        merged.replace((key,), value, requirements.origins[key,])
    return set(required), unused


def _project_layers(
    folder: Path, codex_home: Path, tables: Mapping[str, Any]
) -> Iterator[tuple[Layer, list[str]]]:
    """Yield the project's files from its root down to ``folder``, each with what of it is not used."""
    folder = Path(os.path.abspath(folder))  # noqa: PTH100  resolve() would leave the links by which it was named
    root, projects = _project_root(folder, tables), tables.get("projects")
    trust_levels = {  # as they are before a project's file is among the tables
        path: entry.get("trust_level")
        for path, entry in (projects if isinstance(projects, dict) else {}).items()
        if isinstance(entry, dict)
    }
    lineage = [folder, *folder.parents]
    for each in reversed(lineage[: lineage.index(root) + 1]):
        path = each / ".codex" / CONFIG_FILE
        is_home = os.path.realpath(path.parent) == os.path.realpath(codex_home)
        if is_home or not _is_trusted(each, root, trust_levels):
            continue
        found = read_toml(path)
        refused = sorted(NOT_FOR_PROJECTS & found.keys())
        ignored = [f"{path}: a project may not set {key}; it is not used." for key in refused]
        used = {key: value for key, value in found.items() if key not in NOT_FOR_PROJECTS}
        yield Layer(str(path), used), ignored


def _project_root(folder: Path, tables: Mapping[str, Any]) -> Path:
    """Return the nearest folder above that holds a marker, ``.git`` unless others are configured."""
    markers = tables.get("project_root_markers", [".git"])
    names = [name for name in markers if isinstance(name, str) and name] if isinstance(markers, list) else []
    for each in (folder, *folder.parents):
        if any(_has_marker(each, name) for name in names):
            return each
    return folder


def _has_marker(folder: Path, name: str = ".git") -> bool:
    """Whether a folder holds a marker of a root; a folder ``.git`` is one with its HEAD only (Codex CLI 0.171)."""
    path = folder / name
    if name == ".git" and os.path.isdir(path):  # noqa: PTH112  is_dir() raises where it may not look
        return os.path.lexists(path / "HEAD")
    return os.path.lexists(path)


def _is_trusted(folder: Path, root: Path, trust_levels: Mapping[str, Any]) -> bool:
    """Whether the user's own files call a folder trusted: by its own entry, its project's or its repository's."""
    for each in (folder, root, _repository(folder)):
        for name in (os.path.realpath(each), str(each)) if each is not None else ():
            if level := trust_levels.get(name):
                return bool(level == "trusted")
    return False


def _repository(folder: Path) -> Path | None:
    """Return the main folder of the Git repository; a linked worktree and its repository name each other."""
    found = next((each for each in (folder, *folder.parents) if _has_marker(each)), None)
    if found is None or not os.path.isfile(found / ".git"):  # noqa: PTH113  is_file() raises where it may not look
        return found
    git = Path(os.path.realpath(found / _text(found / ".git").removeprefix("gitdir:").strip()))
    named = os.path.realpath(git / _text(git / "gitdir"))
    is_known = git.parent.name == "worktrees" and named == os.path.realpath(found / ".git")
    return git.parents[2] if is_known else found


def _text(path: Path) -> str:
    return (read_bytes(path) or b"").decode("utf-8", "replace").strip()


LARGEST_FILE = 10_000_000


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe without a writer reads as empty


def read_bytes(path: Path) -> bytes | None:
    """Return a file's content, None where there is no file. Raises ConfigError."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            content = file.read(LARGEST_FILE + 1) or b""
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(path, error.strerror or type(error).__name__) from error
    if len(content) > LARGEST_FILE:
        raise _unreadable(path, f"it is larger than {LARGEST_FILE // 1_000_000} MB")
    return content


def read_toml(path: Path) -> dict[str, Any]:
    """Return a file's tables; a missing file counts as an empty one. Raises ConfigError."""
    return parse_toml(read_bytes(path) or b"", str(path))


def parse_toml(content: bytes, source: str) -> dict[str, Any]:
    """Parse TOML; ``source`` is what an error names. Raises ConfigError."""
    try:
        # utf-8-sig: with the mark that editors on Windows put first
        tables: dict[str, Any] = _with_dates_as_text(toml.loads(content.decode("utf-8-sig")))
    except UnicodeDecodeError as error:
        raise _unreadable(source, "it is not UTF-8 text") from error
    except (toml.TOMLDecodeError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(
            f"{source} is not valid TOML: {reason}.", path=source, hint="Fix the file at that place."
        ) from error
    return tables


def _with_dates_as_text(value: Any) -> Any:
    """Return a parsed value with its dates and times as text: the CLI takes them where it wants a string."""
    if isinstance(value, dict):
        return {key: _with_dates_as_text(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_dates_as_text(each) for each in value]
    if isinstance(value, datetime | date | time):
        return re.sub(r"(\.\d*?)0+(?=\D|$)", r"\1", value.isoformat()).replace("+00:00", "Z")
    return value


def _unreadable(path: Path | str, reason: str) -> ConfigError:
    return ConfigError(
        f"{path} cannot be read: {reason}.", path=str(path), hint="Make the file readable, or remove it."
    )


# A line of .env as the CLI's library reads it; a line that is none is skipped.
_VARIABLE = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][\w.]*)[ \t]*=[ \t]*
    (?P<value>(?:'[^']*'|"(?:\\[\s\S]|[^"\\])*"|\\.|[^\s'"\\])*)[ \t]*(?:\#.*)?$""",
    re.VERBOSE | re.MULTILINE,
)
_VALUE_PART = re.compile(
    r"""'(?P<raw>[^']*)'|"(?P<quoted>(?:\\[\s\S]|[^"\\])*)"|(?P<bare>(?:\\.|[^'"\\])+)"""
)
_SUBSTITUTION = re.compile(r"\\(?P<escaped>[\s\S])|\$\{(?P<braced>[^}]*)\}|\$(?P<plain>[A-Za-z0-9]+)")


def read_dotenv(codex_home: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what ``CODEX_HOME/.env`` sets: it wins over the environment, but sets no variable of Codex itself.

    A file that cannot be read sets nothing, as in the CLI; the doctor tells of it.
    """
    try:
        content = read_bytes(codex_home / DOTENV_FILE) or b""
    except ConfigError:
        return {}
    found: dict[str, str] = {}
    for match in _VARIABLE.finditer(content.decode("utf-8-sig", "replace").replace("\r\n", "\n")):
        known = {**environ, **found}
        parts = _VALUE_PART.finditer(match["value"])
        value = "".join(
            part["raw"]
            if part["raw"] is not None
            else _substitute(part["quoted"] or part["bare"] or "", known)
            for part in parts
        )
        if not match["name"].upper().startswith("CODEX_"):
            found[match["name"]] = value
    return found


def _substitute(text: str, known: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match["escaped"] is not None:
            return "\n" if match["escaped"] == "n" else match["escaped"]
        return known.get(match["braced"] or match["plain"] or "", "")

    return _SUBSTITUTION.sub(value, text)
