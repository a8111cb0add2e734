"""Model providers: OpenAI's own service, local servers, and those that the configuration defines."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from codex_nb.errors import ConfigError
from codex_nb.rendering.visible import visible_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import SecretStr

    from codex_nb.config.config_toml import ConfigToml, ProviderTable
    from codex_nb.config.layers import Layer, MergedConfig


@dataclass(frozen=True)
class BearerCommand:
    """A command whose standard output is the provider's bearer (``model_providers.*.auth``)."""

    command: str
    args: tuple[str, ...] = ()
    timeout_s: float = 5.0
    refresh_interval_s: float = 300.0
    cwd: Path | None = None


@dataclass(frozen=True)
class Provider:
    """One entry of ``model_providers``; the built-in one has ``id == "openai"``.

    ``base_url`` is None for the built-in provider without an override: the auth mode decides then.
    Durations are seconds. Header values may be secrets, so they stay out of ``repr``; those that come from
    variables (``env_http_headers``) are already among ``http_headers``.
    """

    id: str = "openai"
    name: str = "OpenAI"
    base_url: str | None = None
    env_key: str | None = None
    env_key_instructions: str | None = None
    http_headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    query_params: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    requires_openai_auth: bool = True
    request_max_retries: int | None = None
    stream_max_retries: int | None = None
    stream_idle_timeout_s: float = 300.0
    bearer_command: BearerCommand | None = None
    bearer: SecretStr | None = None

    @property
    def is_built_in(self) -> bool:
        """Whether this is OpenAI's own service, by ChatGPT plan or API key."""
        return self.id == "openai"


# What the CLI's own open-source mode offers, at the ports these servers choose themselves.
_LOCAL_SERVERS = {
    "ollama": ("Ollama", "http://localhost:11434/v1"),
    "lmstudio": ("LM Studio", "http://localhost:1234/v1"),
}


# Who pays, where one API key belongs to several.
_OPENAI_HEADERS = {"OpenAI-Organization": "OPENAI_ORGANIZATION", "OpenAI-Project": "OPENAI_PROJECT"}
# As many attempts as the CLI makes at most; and a wait as long as no timeout: of a day.
MOST_RETRIES = 100
LONGEST_IDLE_MS = 86_400_000


def provider_of(
    provider_id: str, config: ConfigToml, merged: MergedConfig, environ: Mapping[str, str]
) -> tuple[Provider, list[str]]:
    """Build a provider, with warnings of what of it is not used. Raises ConfigError for a wrong or absent one."""
    if provider_id == "openai":
        override = config.openai_base_url
        path = merged.source("openai_base_url")
        headers, warnings = _headers(("environment",), {}, _OPENAI_HEADERS, merged, environ)
        base_url = validate_url(override, path, "openai_base_url") if override else None
        return Provider(base_url=base_url, http_headers=MappingProxyType(headers)), warnings
    entry = config.model_providers.get(provider_id)
    if entry is not None:
        return _custom_provider(provider_id, entry, merged, environ)
    if provider_id in _LOCAL_SERVERS:
        name, base_url = _LOCAL_SERVERS[provider_id]
        if port := environ.get("CODEX_OSS_PORT", "").strip():
            base_url = f"http://localhost:{port}/v1"
        base_url = validate_url(
            environ.get("CODEX_OSS_BASE_URL") or base_url, "environment", "CODEX_OSS_BASE_URL"
        )
        return Provider(id=provider_id, name=name, base_url=base_url, requires_openai_auth=False), []
    known = ["openai", *_LOCAL_SERVERS, *config.model_providers]
    path = merged.source("model_provider")
    is_clis_own = provider_id in _OF_THE_CLI_ALONE
    raise ConfigError(
        f"{path}: model_provider is {provider_id!r}, which codex_nb does not support."
        if is_clis_own
        else f"{path}: model_provider is {provider_id!r}, but [model_providers.{provider_id}] is not defined.",
        path=path,
        key="model_provider",
        hint=f"{'Choose' if is_clis_own else 'Define it, or choose'} a known provider:"
        f" {closest_names(provider_id, known)}.",
    )


_OF_THE_CLI_ALONE = frozenset({"amazon-bedrock", "gcp"})  # built in there; they sign in with their own tools


def _custom_provider(
    provider_id: str, entry: ProviderTable, merged: MergedConfig, environ: Mapping[str, str]
) -> tuple[Provider, list[str]]:
    place = ("model_providers", provider_id)
    key = ".".join((*place, "base_url"))
    if entry.base_url is None:
        path = merged.source(*place)
        raise ConfigError(
            f"{path}: {key} is missing: expected the base URL of the API.",
            path=path,
            key=key,
            hint="Add it to the file.",
        )
    headers, warnings = _headers(place, entry.http_headers, entry.env_http_headers, merged, environ)
    idle_ms = entry.stream_idle_timeout_ms
    bearer = entry.experimental_bearer_token
    return Provider(
        id=provider_id,
        name=visible_line(entry.name or provider_id),
        base_url=validate_url(entry.base_url, merged.source(*place, "base_url"), key),
        env_key=entry.env_key,
        env_key_instructions=entry.env_key_instructions,
        http_headers=MappingProxyType(headers),
        query_params=MappingProxyType(dict(entry.query_params)),
        requires_openai_auth=entry.requires_openai_auth,
        request_max_retries=_at_most(entry.request_max_retries, MOST_RETRIES),
        stream_max_retries=_at_most(entry.stream_max_retries, MOST_RETRIES),
        stream_idle_timeout_s=Provider.stream_idle_timeout_s
        if idle_ms is None
        else min(idle_ms or LONGEST_IDLE_MS, LONGEST_IDLE_MS) / 1000,
        bearer_command=_bearer_command(entry, merged.origin(*place, "auth", "command")),
        bearer=bearer if bearer is not None and bearer.get_secret_value().strip() else None,
    ), warnings


def _at_most(value: int | None, most: int) -> int | None:
    return None if value is None else min(value, most)


def _headers(
    place: tuple[str, ...],
    fixed: Mapping[str, str],
    variables: Mapping[str, str],
    merged: MergedConfig,
    environ: Mapping[str, str],
) -> tuple[dict[str, str], list[str]]:
    """Return the provider's headers, those that come from variables among them, and warnings of those left out."""
    from_variables = {
        header: environ[variable] for header, variable in variables.items() if environ.get(variable)
    }
    headers, warnings = {**fixed, **from_variables}, list[str]()
    for name, value in list(headers.items()):
        if not (_HEADER_NAME.fullmatch(name) and value.isascii() and value.isprintable()):
            del headers[name]
            path, key = merged.source(*place, "http_headers", name), ".".join((*place, "http_headers", name))
            warnings.append(f"{path}: {visible_line(key)} is not sent: it is not printable ASCII.")
    return headers, warnings


_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110


def _bearer_command(entry: ProviderTable, origin: Layer | None) -> BearerCommand | None:
    if entry.auth is None:
        return None
    folder = origin.folder if origin is not None else Path()
    return BearerCommand(
        command=entry.auth.command,
        args=tuple(entry.auth.args),
        timeout_s=entry.auth.timeout_ms / 1000,
        refresh_interval_s=entry.auth.refresh_interval_ms / 1000,
        cwd=folder / entry.auth.cwd if entry.auth.cwd else None,
    )


def validate_url(value: str, path: str, key: str) -> str:
    """Return a base URL without its trailing slash; ``path`` and ``key`` are what an error names."""
    try:
        parts = urlsplit(value)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        is_address = is_address and not any(map(str.isspace, value))
    except ValueError:
        is_address = False
    if not is_address:
        raise ConfigError.invalid_value(path, key, "a URL that begins with http:// or https://")
    return value.rstrip("/")


def validate_header(value: str, path: str, key: str) -> str:
    """Return a value that a header can hold; ``path`` and ``key`` are what an error names, never the value."""
    if not (value.isascii() and value.isprintable()):
        raise ConfigError.invalid_value(path, key, "printable ASCII characters")
    return value


def closest_names(name: str, known: Iterable[str]) -> str:
    """List the known names that are closest to an unknown one."""
    names = list(known)
    near = get_close_matches(name, names, n=3, cutoff=0.5) or sorted(names)
    return ", ".join(near)
