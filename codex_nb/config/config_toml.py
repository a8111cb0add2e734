"""Codex's ``config.toml``: the keys that matter to a notebook, validated; all others are ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from codex_nb.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic_core import ErrorDetails

    from codex_nb.config.layers import MergedConfig


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
    request_max_retries: int | None = Field(None, ge=0)
    stream_max_retries: int | None = Field(None, ge=0)
    stream_idle_timeout_ms: int | None = Field(None, ge=0)
    requires_openai_auth: bool = False


class ConfigToml(_Table):
    """All layers of the configuration as far as they concern a notebook."""

    model: str | None = Field(None, min_length=1)
    model_provider: str | None = None
    model_reasoning_effort: str | None = Field(None, min_length=1)
    model_reasoning_summary: Literal["auto", "concise", "detailed", "none"] | None = None
    model_verbosity: Literal["low", "medium", "high"] | None = None
    service_tier: str | None = None
    chatgpt_base_url: str | None = None
    openai_base_url: str | None = None
    profile: str | None = None
    model_providers: dict[str, ProviderTable] = {}
    cli_auth_credentials_store: Literal["file", "keyring", "auto", "ephemeral"] = "file"
    forced_login_method: Literal["api", "chatgpt"] | None = None
    forced_chatgpt_workspace_id: str | list[str] | None = None
    project_doc_max_bytes: int = Field(32 * 1024, ge=0)


class RequirementsToml(_Table):
    """``requirements.toml``, as far as it concerns a notebook; its values are among those of the configuration."""

    allowed_login_methods: list[Literal["chatgpt", "api"]] | None = None
    allowed_chatgpt_workspaces: list[str] | None = None
    allowed_approval_policies: list[str] | None = None
    enforce_residency: str | None = Field(None, pattern=r"^[\x21-\x7e]+$")


def parse_config(merged: MergedConfig) -> ConfigToml:
    """Validate what the layers add up to. Raises ConfigError with the file of the wrong value."""
    config = _validate(ConfigToml, merged)
    if config.profile is not None:
        raise _refused(
            merged,
            ("profile",),
            f"the choice of {config.profile!r} is no longer supported.",
            f"Remove it, move the settings of [profiles.{config.profile}] into {config.profile}.config.toml"
            f" and choose it by --profile {config.profile} or %config CodexMagics.profile.",
        )
    for name, provider in config.model_providers.items():
        _check_provider(merged, name, provider)
    return config


def ensure_one_profile(merged: MergedConfig, name: str) -> None:
    """Raise ConfigError when the user's file has a table of the old form for the profile of this name."""
    old = merged.tables.get("profiles")
    if isinstance(old, dict) and name in old:
        raise _refused(
            merged,
            ("profiles", name),
            "this old form of a profile cannot be used beside the file of the same name.",
            f"Move its settings into {name}.config.toml and remove it.",
        )


def parse_requirements(merged: MergedConfig) -> RequirementsToml:
    """Validate what is required. Raises ConfigError with the file of the wrong value."""
    return _validate(RequirementsToml, merged)


# The providers that the CLI brings along; a table of config.toml may not have their names.
RESERVED_PROVIDERS = ("openai", "ollama", "lmstudio")


def _check_provider(merged: MergedConfig, name: str, provider: ProviderTable) -> None:
    key = ("model_providers", name)
    if name in RESERVED_PROVIDERS:
        raise _refused(
            merged,
            key,
            f"{name} is the name of a built-in provider, which cannot be overridden.",
            f"Rename it, for example to {name}-custom"
            + (", or set openai_base_url." if name == "openai" else "."),
        )
    others = {
        "env_key": provider.env_key is not None,
        "experimental_bearer_token": provider.experimental_bearer_token is not None,
        "requires_openai_auth": provider.requires_openai_auth,
    }
    if provider.auth is not None and (other := next((each for each in others if others[each]), None)):
        raise _refused(merged, (*key, "auth"), f"it cannot be combined with {other}.", "Remove one of them.")


def _refused(merged: MergedConfig, key: tuple[str, ...], problem: str, hint: str) -> ConfigError:
    path, written = merged.source(*key), ".".join(key)
    return ConfigError(f"{path}: {written}: {problem}", path=path, key=written, hint=hint)


Shape = TypeVar("Shape", bound=_Table)


def _validate(shape: type[Shape], merged: MergedConfig) -> Shape:
    try:
        return shape.model_validate(merged.tables)
    except ValidationError as error:
        # The library's error quotes the value, which may be a key or a header: it is not chained.
        raise _config_error(error.errors(include_url=False)[0], merged) from None


def _config_error(problem: ErrorDetails, merged: MergedConfig) -> ConfigError:
    parts = [str(part) for part in problem["loc"] if str(part) not in _UNION_BRANCHES]
    key = ".".join(parts)
    path = merged.source(*parts)
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
    "string_pattern_mismatch": "a word",
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
        case kind:
            return _EXPECTATIONS.get(kind, problem["msg"])


def misspelled_keys(tables: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield each key that is spelled otherwise than one that is known, with the known one."""
    yield from _misspelled(tables, ConfigToml, ())
    providers = tables.get("model_providers")
    for name, table in providers.items() if isinstance(providers, dict) else ():
        if isinstance(table, dict):
            yield from _misspelled(table, ProviderTable, ("model_providers", name))


def _misspelled(
    table: Mapping[str, Any], shape: type[_Table], prefix: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], str]]:
    known = {_normalize_key(name): name for name in shape.model_fields}
    for key in table:
        meant = known.get(_normalize_key(key))
        if meant is not None and meant != key:
            yield (*prefix, key), meant


def _normalize_key(key: str) -> str:
    return key.replace("-", "").replace("_", "").lower()
