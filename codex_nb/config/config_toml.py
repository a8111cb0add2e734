"""The shape of Codex's ``config.toml``: the keys that matter to a notebook, validated; all others left alone."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from codex_nb.errors import ConfigError
from codex_nb.words import files
from codex_nb.words import settings as words

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
    """Read the file; one that does not exist is an empty one. Anything wrong with it is a ConfigError."""
    try:
        text = path.read_bytes().decode("utf-8-sig")  # with the mark that editors on Windows put first
    except FileNotFoundError:
        return ConfigToml()
    except (OSError, UnicodeDecodeError) as error:
        strange = isinstance(error, UnicodeDecodeError)
        reason = files.NOT_TEXT if strange else getattr(error, "strerror", None) or type(error).__name__
        raise ConfigError(words.unreadable(str(path), reason), path=str(path)) from error
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(words.not_toml(str(path), str(error)), path=str(path)) from error
    return parse_config(tables, path=str(path))


def parse_config(tables: Mapping[str, Any], *, path: str) -> ConfigToml:
    """Check the parsed tables; ``path`` is what an error names."""
    _refuse_respelled_keys(tables, path)
    try:
        return ConfigToml.model_validate(tables)
    except ValidationError as error:
        # The library's error quotes the value, which may be a key or a header: it is not chained.
        raise _config_error(error.errors(include_url=False)[0], path) from None


def _config_error(problem: ErrorDetails, path: str) -> ConfigError:
    parts = [str(part) for part in problem["loc"]]
    key = ".".join(part for part in parts if part not in _UNION_BRANCHES)
    if key.endswith("wire_api"):
        return ConfigError(words.chat_wire(path, key), path=path, key=key)
    return ConfigError(words.wrong(path, key, _expectation(problem)), path=path, key=key)


_UNION_BRANCHES = {"str", "list[str]"}
_EXPECTATIONS = {
    "string_type": words.A_TEXT,
    "int_type": words.A_WHOLE_NUMBER,
    "bool_type": words.TRUE_OR_FALSE,
    "dict_type": words.A_TABLE,
    "model_type": words.A_TABLE,
    "list_type": words.A_LIST_OF_TEXTS,
    "string_too_short": words.A_TEXT_NOT_EMPTY,
    "string_pattern_mismatch": words.A_LOWER_CASE_WORD,
    "missing": words.A_VALUE,
}


def _expectation(problem: ErrorDetails) -> str:
    context = problem.get("ctx", {})
    match problem["type"]:
        case "literal_error":
            return words.one_of(str(context["expected"]))
        case "greater_than":
            return words.above(str(context["gt"]))
        case "greater_than_equal":
            return words.at_least(str(context["ge"]))
        case "less_than_equal":
            return words.at_most(str(context["le"]))
        case kind:
            return _EXPECTATIONS.get(kind, problem["msg"])


def _refuse_respelled_keys(tables: Mapping[str, Any], path: str) -> None:
    _compare_spelling(tables, ConfigToml, "", path)
    for name, table in _subtables(tables, "profiles"):
        _compare_spelling(table, ProfileTable, f"profiles.{name}.", path)
    for name, table in _subtables(tables, "model_providers"):
        _compare_spelling(table, ProviderTable, f"model_providers.{name}.", path)


def _subtables(tables: Mapping[str, Any], key: str) -> list[tuple[str, dict[str, Any]]]:
    group = tables.get(key)
    if not isinstance(group, dict):
        return []
    return [(name, table) for name, table in group.items() if isinstance(table, dict)]


def _compare_spelling(table: Mapping[str, Any], shape: type[_Table], prefix: str, path: str) -> None:
    known = {_bare(name): name for name in shape.model_fields}
    for key in table:
        meant = known.get(_bare(key))
        if meant is not None and meant != key:
            full = f"{prefix}{key}"
            message = words.respelled(path, full, f"{prefix}{meant}")
            raise ConfigError(message, path=path, key=full)


def _bare(key: str) -> str:
    return key.replace("-", "").replace("_", "").lower()
