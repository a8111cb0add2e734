"""Settings: config.toml, the environment and the user's options, merged into one frozen value."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from codex_nb.errors import ConfigError
from codex_nb.labels import ApprovalPolicy
from codex_nb.rendering.visible import visible_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import SecretStr

    from codex_nb.config.config_toml import ConfigToml, ProfileTable, ProviderTable


class Environment(Mapping[str, str]):
    """A live view of ``os.environ`` whose ``repr`` shows none of its values."""

    def __getitem__(self, name: str) -> str:
        return os.environ[name]

    def __iter__(self) -> Iterator[str]:
        return iter(os.environ)

    def __len__(self) -> int:
        return len(os.environ)

    def __repr__(self) -> str:
        return "<the environment of this process>"


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
        override = _first_not_none(profile.openai_base_url, config.openai_base_url)
        return Provider(base_url=validate_url(override, str(path), "openai_base_url") if override else None)
    entry = config.model_providers.get(provider_id)
    if entry is not None:
        return _custom_provider(provider_id, entry, path, environ)
    if provider_id in _LOCAL_SERVERS:
        name, base_url = _LOCAL_SERVERS[provider_id]
        base_url = environ.get("CODEX_OSS_BASE_URL") or base_url
        return Provider(id=provider_id, name=name, base_url=base_url.rstrip("/"), requires_openai_auth=False)
    known = ["openai", *_LOCAL_SERVERS, *config.model_providers]
    raise ConfigError(
        f"{path}: model_provider is {provider_id!r}, but [model_providers.{provider_id}] is not defined.",
        path=str(path),
        key="model_provider",
        hint=f"Define it, or choose a known provider: {_closest(provider_id, known)}.",
    )


def _custom_provider(
    provider_id: str, entry: ProviderTable, path: Path, environ: Mapping[str, str]
) -> Provider:
    key = f"model_providers.{provider_id}.base_url"
    if entry.base_url is None:
        raise ConfigError(
            f"{path}: {key} is missing: expected the base URL of the API.",
            path=str(path),
            key=key,
            hint="Add it to the file.",
        )
    from_variables = {
        header: environ[variable]
        for header, variable in entry.env_http_headers.items()
        if environ.get(variable)
    }
    headers = {**entry.http_headers, **from_variables}
    for name, value in headers.items():
        validate_header(name + value, str(path), f"model_providers.{provider_id}.http_headers.{name}")
    idle_ms = entry.stream_idle_timeout_ms
    return Provider(
        id=provider_id,
        name=visible_line(entry.name or provider_id),
        base_url=validate_url(entry.base_url, str(path), key),
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


def _closest(name: str, known: Iterable[str]) -> str:
    """List the known names that are closest to an unknown one."""
    names = list(known)
    near = get_close_matches(name, names, n=3, cutoff=0.5) or sorted(names)
    return ", ".join(near)


def _first_not_none(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


__all__ = [
    "ApprovalPolicy",
    "BearerCommand",
    "CredentialsStore",
    "Provider",
    "Settings",
    "load_settings",
    "profile_names",
]

CHATGPT_BASE_URL = "https://chatgpt.com/backend-api"
API_BASE_URL = "https://api.openai.com/v1"
ISSUER = "https://auth.openai.com"
CLIENT_ID = "app_EMoamEEZ73f0CkXaXp7hrann"


class CredentialsStore(StrEnum):
    """Where credentials are stored: config.toml's ``cli_auth_credentials_store``."""

    FILE = "file"
    KEYRING = "keyring"
    AUTO = "auto"
    EPHEMERAL = "ephemeral"


@dataclass(frozen=True)
class Settings:
    """All settings of a profile.

    Base URLs carry no trailing slash. ``auth_mode`` is the chosen one ("chatgpt", "apikey", …) or None.
    ``effort``, ``summary`` and ``verbosity`` are None where nothing is configured: the model's own are then used.
    ``insecure_providers`` are the providers whose API key may be sent over http, by id.
    """

    codex_home: Path
    model: str | None = None
    effort: str | None = None
    summary: str | None = None
    verbosity: str | None = None
    service_tier: str | None = None
    provider: Provider = field(default_factory=Provider)
    chatgpt_base_url: str = CHATGPT_BASE_URL
    credentials_store: CredentialsStore = CredentialsStore.FILE
    forced_login_method: Literal["api", "chatgpt"] | None = None
    forced_workspaces: tuple[str, ...] = ()
    profile: str | None = None
    use_openai_api_key_env: bool = False
    auth_mode: str | None = None
    issuer: str = ISSUER
    client_id: str = CLIENT_ID
    refresh_url_override: str | None = None
    revoke_url_override: str | None = None
    authapi_base_url: str = f"{ISSUER}/api/accounts"
    agent_authapi_base_url: str | None = None
    agent_jwks_base_url: str | None = None
    ca_certificate: Path | None = None
    originator: str = "codex_nb"
    approval: ApprovalPolicy = ApprovalPolicy.ASK
    project_doc_max_bytes: int = 32 * 1024
    insecure_providers: tuple[str, ...] = ()


def load_settings(
    environ: Mapping[str, str],
    *,
    codex_home: Path | None = None,
    profile: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Merge config.toml, its profile, the environment and the user's options, in the Codex CLI's order.

    ``profile`` names a ``[profiles.NAME]`` table or, when there is none, the home ``CODEX_HOME/profiles/NAME``.
    ``overrides`` are fields of :class:`Settings` by name (``provider`` by its id); None leaves the setting alone.
    Raises ConfigError with the file (or "environment", "options"), the key and what was expected.
    """
    from codex_nb.config.config_toml import ProfileTable, read_config

    home = _codex_home(environ, codex_home)
    config = read_config(home / CONFIG_FILE)
    wanted = profile or config.profile
    table = ProfileTable()
    if wanted is not None and wanted in config.profiles:
        table = config.profiles[wanted]
    elif wanted is not None:
        home = _profile_home(home, wanted, config)
        config = read_config(home / CONFIG_FILE)
    options = {key: value for key, value in (overrides or {}).items() if value is not None}
    provider_id = (
        options.pop("provider", None)
        or _first_not_none(table.model_provider, config.model_provider)
        or "openai"
    )
    settings = _from_files(home, config, table)
    settings = replace(
        settings,
        profile=wanted,
        provider=provider_of(str(provider_id), config, table, home / CONFIG_FILE, environ),
        **_from_environment(environ),
    )
    return replace(settings, **_validate_options(options))


CONFIG_FILE = "config.toml"
# What an error names as the place of a setting that is in no file.
ENVIRONMENT = "environment"
OPTIONS = "options"


def _codex_home(environ: Mapping[str, str], chosen: Path | None) -> Path:
    if chosen is not None:
        return chosen
    named = environ.get("CODEX_HOME")
    if not named:
        own_home = environ.get("HOME") or environ.get("USERPROFILE")
        return (Path(own_home) if own_home else Path.home()) / ".codex"
    home = Path(named).expanduser()
    if home.exists() and not home.is_dir():
        raise ConfigError(
            f"CODEX_HOME is {home}, which is not a directory.",
            path=ENVIRONMENT,
            key="CODEX_HOME",
            hint="Set it to a directory.",
        )
    return home


def profile_names(environ: Mapping[str, str]) -> list[str]:
    """List every profile: the tables of config.toml, and the homes below ``CODEX_HOME/profiles``."""
    from codex_nb.config.config_toml import read_config

    home = _codex_home(environ, None)
    return _known_profiles(home, read_config(home / CONFIG_FILE))


def _known_profiles(home: Path, config: ConfigToml) -> list[str]:
    homes = (path.name for path in (home / "profiles").glob("*") if path.is_dir())
    return sorted({*config.profiles, *homes})


def _profile_home(home: Path, name: str, config: ConfigToml) -> Path:
    own = home / "profiles" / name
    if own.parent == home / "profiles" and own.is_dir():
        return own
    file, known = str(home / CONFIG_FILE), ", ".join(_known_profiles(home, config))
    raise ConfigError(
        f"Unknown profile {name!r}: neither [profiles.{name}] in {file} nor {own} exists.",
        path=file,
        key=f"profiles.{name}",
        hint=f"Choose one of: {known}." if known else "No profile is defined yet; define one in config.toml.",
    )


def _from_files(home: Path, config: ConfigToml, table: ProfileTable) -> Settings:
    chatgpt = _first_not_none(table.chatgpt_base_url, config.chatgpt_base_url)
    workspaces = config.forced_chatgpt_workspace_id or ()
    return Settings(
        codex_home=home,
        model=_first_not_none(table.model, config.model),
        effort=_first_not_none(table.model_reasoning_effort, config.model_reasoning_effort),
        summary=_first_not_none(table.model_reasoning_summary, config.model_reasoning_summary),
        verbosity=_first_not_none(table.model_verbosity, config.model_verbosity),
        service_tier=_first_not_none(table.service_tier, config.service_tier),
        chatgpt_base_url=_chatgpt_base_url(chatgpt, home) if chatgpt else CHATGPT_BASE_URL,
        credentials_store=CredentialsStore(config.cli_auth_credentials_store),
        forced_login_method=config.forced_login_method,
        forced_workspaces=(workspaces,) if isinstance(workspaces, str) else tuple(workspaces),
        project_doc_max_bytes=config.project_doc_max_bytes,
    )


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Read the variables that the Codex CLI reads; the two certificate variables in its order."""
    named: dict[str, Any] = {
        setting: environ[variable] for setting, variable in _VARIABLES.items() if environ.get(variable)
    }
    for setting in ("issuer", "authapi_base_url", "agent_authapi_base_url", "agent_jwks_base_url"):
        if setting in named:
            named[setting] = validate_url(named[setting], ENVIRONMENT, _VARIABLES[setting])
    if "originator" in named:
        validate_header(named["originator"], ENVIRONMENT, _VARIABLES["originator"])
    certificate = environ.get("CODEX_CA_CERTIFICATE") or environ.get("SSL_CERT_FILE")
    if certificate:
        named["ca_certificate"] = Path(certificate).expanduser()
    if policy := environ.get(APPROVAL_VARIABLE):
        named["approval"] = ApprovalPolicy.parse(policy, path=ENVIRONMENT, key=APPROVAL_VARIABLE)
    if listed := environ.get(INSECURE_PROVIDERS_VARIABLE):
        named["insecure_providers"] = tuple(listed.replace(",", " ").split())
    return named


# codex_nb's own variables, for runs that no user watches and for programs.
APPROVAL_VARIABLE = "CODEX_NB_APPROVAL"
INSECURE_PROVIDERS_VARIABLE = "CODEX_NB_INSECURE_PROVIDERS"
_VARIABLES = {
    "originator": "CODEX_INTERNAL_ORIGINATOR_OVERRIDE",
    "refresh_url_override": "CODEX_REFRESH_TOKEN_URL_OVERRIDE",
    "revoke_url_override": "CODEX_REVOKE_TOKEN_URL_OVERRIDE",
    "issuer": "CODEX_APP_SERVER_LOGIN_ISSUER",
    "client_id": "CODEX_APP_SERVER_LOGIN_CLIENT_ID",
    "authapi_base_url": "CODEX_AUTHAPI_BASE_URL",
    "agent_authapi_base_url": "CODEX_AGENT_IDENTITY_AUTHAPI_BASE_URL",
    "agent_jwks_base_url": "CODEX_AGENT_IDENTITY_JWKS_BASE_URL",
}


def _chatgpt_base_url(value: str, home: Path) -> str:
    """Complete a bare ChatGPT host with the backend's path, as the CLI does."""
    base_url = validate_url(value, str(home / CONFIG_FILE), "chatgpt_base_url")
    is_bare = (
        urlsplit(base_url).hostname in {"chatgpt.com", "chat.openai.com"} and not urlsplit(base_url).path
    )
    return f"{base_url}/backend-api" if is_bare else base_url


def _validate_options(options: dict[str, Any]) -> dict[str, Any]:
    known = {item.name for item in fields(Settings)} - {"codex_home", "provider", "profile"}
    for key, value in options.items():
        if key not in known:
            hint = f"Did you mean one of these: {_closest(key, known)}?"
            raise ConfigError(f"Unknown option {key!r}.", path=OPTIONS, key=key, hint=hint)
        options[key] = _validate_option(key, value)
    return options


def _validate_option(key: str, value: Any) -> Any:
    if key == "approval":
        return ApprovalPolicy.parse(value, path=OPTIONS, key=key)
    choices = _CHOICES.get(key)
    if choices is not None and value not in choices:
        hint = f"Use one of: {', '.join(choices)}."
        raise ConfigError(f"Invalid {key} {value!r}.", path=OPTIONS, key=key, hint=hint)
    return CredentialsStore(value) if key == "credentials_store" else value


_CHOICES: dict[str, tuple[str, ...]] = {
    "credentials_store": tuple(CredentialsStore),
    "summary": ("auto", "concise", "detailed", "none"),
    "verbosity": ("low", "medium", "high"),
}
