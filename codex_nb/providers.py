"""Providers: which API the requests go to, built in or of the user's own, as config.toml names them."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from codex_nb.errors import ConfigError
from codex_nb.rendering.visible import visible_line
from codex_nb.words import settings as words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from pydantic import SecretStr

    from codex_nb.config_toml import ConfigToml, ProfileTable, ProviderTable


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


def provider_of(
    provider_id: str, config: ConfigToml, profile: ProfileTable, path: Path, environ: Mapping[str, str]
) -> Provider:
    """Build the provider that the configuration file at ``path`` names; a wrong or absent one is a ConfigError."""
    if provider_id == "openai":
        override = first_set(profile.openai_base_url, config.openai_base_url)
        return Provider(
            base_url=checked_address(override, str(path), "openai_base_url") if override else None
        )
    entry = config.model_providers.get(provider_id)
    if entry is not None:
        return _custom_provider(provider_id, entry, path, environ)
    if provider_id in _LOCAL_SERVERS:
        name, base_url = _LOCAL_SERVERS[provider_id]
        base_url = environ.get("CODEX_OSS_BASE_URL") or base_url
        return Provider(id=provider_id, name=name, base_url=base_url.rstrip("/"), requires_openai_auth=False)
    known = ["openai", *_LOCAL_SERVERS, *config.model_providers]
    message = words.unknown_provider(str(path), provider_id, nearest_names(provider_id, known))
    raise ConfigError(message, path=str(path), key="model_provider")


def _custom_provider(
    provider_id: str, entry: ProviderTable, path: Path, environ: Mapping[str, str]
) -> Provider:
    key = f"model_providers.{provider_id}.base_url"
    if entry.base_url is None:
        raise ConfigError(words.no_address(str(path), key), path=str(path), key=key)
    from_variables = {
        header: environ[variable]
        for header, variable in entry.env_http_headers.items()
        if environ.get(variable)
    }
    headers = {**entry.http_headers, **from_variables}
    for name, value in headers.items():
        checked_header(name + value, str(path), f"model_providers.{provider_id}.http_headers.{name}")
    idle_ms = entry.stream_idle_timeout_ms
    return Provider(
        id=provider_id,
        name=visible_line(entry.name or provider_id),
        base_url=checked_address(entry.base_url, str(path), key),
        env_key=entry.env_key,
        env_key_instructions=entry.env_key_instructions,
        http_headers=MappingProxyType(headers),
        query_params=MappingProxyType(dict(entry.query_params)),
        requires_openai_auth=entry.requires_openai_auth,
        request_max_retries=entry.request_max_retries,
        stream_max_retries=entry.stream_max_retries,
        stream_idle_timeout_s=Provider.stream_idle_timeout_s if idle_ms is None else idle_ms / 1000,
        bearer_command=_bearer_command(entry, path.parent),
        bearer=entry.experimental_bearer_token,
    )


def _bearer_command(entry: ProviderTable, home: Path) -> BearerCommand | None:
    if entry.auth is None:
        return None
    return BearerCommand(
        command=entry.auth.command,
        args=tuple(entry.auth.args),
        timeout_s=entry.auth.timeout_ms / 1000,
        refresh_interval_s=entry.auth.refresh_interval_ms / 1000,
        cwd=home / entry.auth.cwd if entry.auth.cwd else None,
    )


def checked_address(value: str, path: str, key: str) -> str:
    """Give a base URL without trailing slash; ``path`` and ``key`` are what an error names."""
    try:
        parts = urlsplit(value)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        is_address = is_address and not any(map(str.isspace, value))
    except ValueError:
        is_address = False
    if not is_address:
        message = words.wrong(path, key, words.AN_ADDRESS)
        raise ConfigError(message, path=path, key=key)
    return value.rstrip("/")


def checked_header(value: str, path: str, key: str) -> str:
    """Give back what can stand in a header; ``path`` and ``key`` are what an error names, never the value."""
    if not (value.isascii() and value.isprintable()):
        message = words.wrong(path, key, words.PRINTABLE_TEXT)
        raise ConfigError(message, path=path, key=key)
    return value


def nearest_names(word: str, known: Iterable[str]) -> str:
    """Name the known words that come nearest to a wrong one, for a hint."""
    names = list(known)
    near = get_close_matches(word, names, n=3, cutoff=0.5) or sorted(names)
    return ", ".join(near)


def first_set(*values: Any) -> Any:
    """Give the first value that is set: the nearest opinion wins."""
    return next((value for value in values if value is not None), None)
