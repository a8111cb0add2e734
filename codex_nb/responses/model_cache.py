"""Model lists on disk: ours, which we write, and the Codex CLI's, which we only read."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codex_nb.responses.model import Model, parse_models

if TYPE_CHECKING:
    from collections.abc import Mapping

OWN_FILE = "codex_nb_models.json"
CLI_FILE = "models_cache.json"
MAX_LISTS = 8


@dataclass(frozen=True)
class CachedModels:
    """A list and when it was fetched, in wall time seconds."""

    models: tuple[Model, ...]
    fetched_at: float

    def age(self, now: float) -> float:
        """Give the list's age in seconds; one from the future is as good as old."""
        return now - self.fetched_at if now >= self.fetched_at else float("inf")


class ModelCache:
    """The lists of several accounts and addresses in one file; every write is a whole step.

    A file that cannot be read or written is as if it were not there; this process remembers its own lists anyway.
    """

    def __init__(self, codex_home: Path) -> None:
        self._path = codex_home / OWN_FILE
        self._own: dict[str, CachedModels] = {}

    def read(self, key: tuple[str, str]) -> CachedModels | None:
        """Give the newest list kept under the key."""
        own, filed = self._own.get(_digest(key)), _cached(self._lists().get(_digest(key)))
        if own is None or filed is None:
            return own or filed
        return max(own, filed, key=lambda cached: cached.fetched_at)

    def write(self, key: tuple[str, str], cached: CachedModels) -> None:
        """Keep the list under the key; the oldest lists make room."""
        self._own[_digest(key)] = cached
        lists = self._lists()
        lists[_digest(key)] = asdict(cached)
        newest = sorted(lists.items(), key=lambda entry: _fetched_at(entry[1]), reverse=True)[:MAX_LISTS]
        with suppress(OSError):
            _replace(self._path, json.dumps({"lists": dict(newest)}).encode())

    def _lists(self) -> dict[str, Any]:
        body = _read_json(self._path)
        lists = body.get("lists")
        return dict(lists) if isinstance(lists, dict) else {}


def read_cli_cache(codex_home: Path) -> CachedModels | None:
    """Read the Codex CLI's list, if it was fetched after the login and the configuration last changed.

    The file names its account only by a digest of the CLI's own making, so an older one may be another account's.
    """
    path = codex_home / CLI_FILE
    body = _read_json(path)
    models = parse_models(body)
    try:
        fetched_at = datetime.fromisoformat(str(body.get("fetched_at"))).timestamp()
    except (ValueError, OverflowError):
        return None
    changed = max(_modified(codex_home / name) for name in ("auth.json", "config.toml"))
    return CachedModels(models, fetched_at) if models and fetched_at >= changed else None


def _cached(entry: Any) -> CachedModels | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("models"), list):
        return None
    known = {item.name for item in fields(Model)}
    try:
        models = tuple(_model(table, known) for table in entry["models"])
    except (TypeError, AttributeError):
        return None
    return CachedModels(models, _fetched_at(entry)) if models else None


def _model(table: Mapping[str, Any], known: set[str]) -> Model:
    values = {name: value for name, value in table.items() if name in known}
    values.setdefault("is_assumed", not values.get("efforts"))  # a file of before there was such a key
    return Model(**{**values, "efforts": tuple(values.get("efforts", ()))})


def _fetched_at(entry: Any) -> float:
    value = entry.get("fetched_at") if isinstance(entry, dict) else None
    return float(value) if isinstance(value, int | float) else 0.0


def _read_json(path: Path) -> dict[str, Any]:
    try:
        body = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _digest(key: tuple[str, str]) -> str:
    return hashlib.sha256("\n".join(key).encode()).hexdigest()


def _replace(path: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
