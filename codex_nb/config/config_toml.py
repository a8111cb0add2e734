"""Codex's ``config.toml``: the keys that matter to a notebook, validated; all others are ignored."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from codex_nb.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails


class _Table(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class BearerCommandTable(_Table):
    """``[model_providers.X.auth]``: a command that prints the bearer."""

    command: str
    args: list[str] = []
    timeout_ms: int = Field(5000, gt=0)
    refresh_interval_ms: int = Field(300_000, ge=0)
    cwd: str | None = None


class ProviderTable(_Table):
    """``[model_providers.X]``."""

    name: str | None = None
    base_url: str | None = None
    env_key: str | None = None
    env_key_instructions: str | None = None
    experimental_bearer_token: SecretStr | None = None
    auth: BearerCommandTable | None = None
    wire_api: Literal["responses"] = "responses"
    query_params: dict[str, str] = {}
    http_headers: dict[str, str] = {}
    env_http_headers: dict[str, str] = {}
    request_max_retries: int | None = Field(None, ge=0, le=100)
    stream_max_retries: int | None = Field(None, ge=0, le=100)
    stream_idle_timeout_ms: int | None = Field(None, gt=0)
    requires_openai_auth: bool = False


class ProfileTable(_Table):
    """The keys that a profile may set as well as the file itself."""

    model: str | None = Field(None, min_length=1)
    model_provider: str | None = None
    model_reasoning_effort: str | None = Field(None, pattern=r"^[a-z][a-z_-]*$")
    model_reasoning_summary: Literal["auto", "concise", "detailed", "none"] | None = None
    model_verbosity: Literal["low", "medium", "high"] | None = None
    service_tier: str | None = Field(None, min_length=1)
    chatgpt_base_url: str | None = None
    openai_base_url: str | None = None


class ConfigToml(ProfileTable):
    """``config.toml`` as far as it concerns a notebook."""

    profile: str | None = None
    profiles: dict[str, ProfileTable] = {}
    model_providers: dict[str, ProviderTable] = {}
    cli_auth_credentials_store: Literal["file", "keyring", "auto", "ephemeral"] = "file"
    forced_login_method: Literal["api", "chatgpt"] | None = None
    forced_chatgpt_workspace_id: str | list[str] | None = None
    project_doc_max_bytes: int = Field(32 * 1024, ge=0)


def read_config(path: Path) -> ConfigToml:
    """Read the file; a missing file counts as an empty one. Raises ConfigError."""
    try:
        text = path.read_bytes().decode("utf-8-sig")  # with the mark that editors on Windows put first
    except FileNotFoundError:
        return ConfigToml()
    except (OSError, UnicodeDecodeError) as error:
        is_binary = isinstance(error, UnicodeDecodeError)
        reason = (
            "it is not UTF-8 text" if is_binary else getattr(error, "strerror", None) or type(error).__name__
        )
        raise ConfigError(
            f"{path} cannot be read: {reason}.",
            path=str(path),
            hint="Make the file readable, or remove it.",
        ) from error
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{path} is not valid TOML: {error}.", path=str(path), hint="Fix the file at that place."
        ) from error
    return parse_config(tables, path=str(path))


def parse_config(tables: Mapping[str, Any], *, path: str) -> ConfigToml:
    """Validate the parsed tables; ``path`` is the file that an error names. Raises ConfigError."""
    _check_spelling(tables, path)
    try:
        return ConfigToml.model_validate(tables)
    except ValidationError as error:
        # The library's error quotes the value, which may be a key or a header: it is not chained.
        raise _config_error(error.errors(include_url=False)[0], path) from None


def _config_error(problem: ErrorDetails, path: str) -> ConfigError:
    parts = [str(part) for part in problem["loc"]]
    key = ".".join(part for part in parts if part not in _UNION_BRANCHES)
    if key.endswith("wire_api"):
        return ConfigError(
            f'{path}: {key} must be "responses"; the chat API is not supported.',
            path=path,
            key=key,
            hint="Use the provider's Responses API endpoint.",
        )
    if problem["type"] == "missing":
        return ConfigError(f"{path}: {key} is missing.", path=path, key=key, hint="Add it to the file.")
    return ConfigError.invalid_value(path, key, _expectation(problem))


_UNION_BRANCHES = {"str", "list[str]"}
_EXPECTATIONS = {
    "string_type": "a string",
    "int_type": "an integer",
    "bool_type": "true or false",
    "dict_type": "a table",
    "model_type": "a table",
    "list_type": "a list of strings",
    "string_too_short": "a non-empty string",
    "string_pattern_mismatch": "a lowercase word",
}


def _expectation(problem: ErrorDetails) -> str:
    context = problem.get("ctx", {})
    match problem["type"]:
        case "literal_error":
            return f"one of {context['expected']}"
        case "greater_than":
            return f"a number above {context['gt']}"
        case "greater_than_equal":
            return f"a number of at least {context['ge']}"
        case "less_than_equal":
            return f"a number of at most {context['le']}"
        case kind:
            return _EXPECTATIONS.get(kind, problem["msg"])


def _check_spelling(tables: Mapping[str, Any], path: str) -> None:
    _check_keys(tables, ConfigToml, "", path)
    for name, table in _subtables(tables, "profiles"):
        _check_keys(table, ProfileTable, f"profiles.{name}.", path)
    for name, table in _subtables(tables, "model_providers"):
        _check_keys(table, ProviderTable, f"model_providers.{name}.", path)


def _subtables(tables: Mapping[str, Any], key: str) -> list[tuple[str, dict[str, Any]]]:
    group = tables.get(key)
    if not isinstance(group, dict):
        return []
    return [(name, table) for name, table in group.items() if isinstance(table, dict)]


def _check_keys(table: Mapping[str, Any], shape: type[_Table], prefix: str, path: str) -> None:
    known = {_normalize_key(name): name for name in shape.model_fields}
    for key in table:
        meant = known.get(_normalize_key(key))
        if meant is not None and meant != key:
            full = f"{prefix}{key}"
            raise ConfigError(
                f"{path}: {full} is not a key of Codex: expected {prefix}{meant}.",
                path=path,
                key=full,
                hint=f"Write it as {prefix}{meant}.",
            )


def _normalize_key(key: str) -> str:
    return key.replace("-", "").replace("_", "").lower()
