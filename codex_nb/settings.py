"""Settings: what config.toml, the environment and the user's options add up to, as one frozen value.

The file's shape is parsed in :mod:`codex_nb.config_toml`; everything above works with :class:`Settings` only.
Nearer wins: the defaults here, ``config.toml``, its profile, the environment, the user's own options.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from codex_nb.errors import ConfigError
from codex_nb.providers import (
    BearerCommand,
    Provider,
    checked_address,
    checked_header,
    first_set,
    nearest_names,
    provider_of,
)
from codex_nb.words import settings as words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codex_nb.config_toml import ConfigToml, ProfileTable

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
# Reasoning efforts, from least to most. ULTRA is the CLI's own: the API knows it by the model's highest effort.
ULTRA = "ultra"
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max", ULTRA)


class CredentialsStore(StrEnum):
    """Where the login is kept: config.toml's ``cli_auth_credentials_store``."""

    FILE = "file"
    KEYRING = "keyring"
    AUTO = "auto"
    EPHEMERAL = "ephemeral"


class ApprovalPolicy(StrEnum):
    """When a tool call needs the user's word."""

    ASK = "ask"
    AUTO = "auto"
    ALL = "all"
    NEVER = "never"


@dataclass(frozen=True)
class Settings:
    """Everything that is decided before a question is asked.

    Base URLs carry no trailing slash. ``auth_mode`` is an explicit wish ("chatgpt", "apikey", …) or None.
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
    """Add up config.toml, its profile, the environment and the user's options.

    ``profile`` names a ``[profiles.NAME]`` table or, when there is none, the home ``CODEX_HOME/profiles/NAME``.
    ``overrides`` are fields of :class:`Settings` by name (``provider`` by its id); None leaves the setting alone.
    Raises ConfigError with the file (or "environment", "options"), the key and what was expected.
    """
    from codex_nb.config_toml import ProfileTable, read_config

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
        options.pop("provider", None) or first_set(table.model_provider, config.model_provider) or "openai"
    )
    settings = _from_files(home, config, table)
    settings = replace(
        settings,
        profile=wanted,
        provider=provider_of(str(provider_id), config, table, home / CONFIG_FILE, environ),
        **_from_environment(environ),
    )
    return replace(settings, **_checked_options(options))


CONFIG_FILE = "config.toml"


def _codex_home(environ: Mapping[str, str], chosen: Path | None) -> Path:
    if chosen is not None:
        return chosen
    named = environ.get("CODEX_HOME")
    if not named:
        own_home = environ.get("HOME") or environ.get("USERPROFILE")
        return (Path(own_home) if own_home else Path.home()) / ".codex"
    home = Path(named).expanduser()
    if home.exists() and not home.is_dir():
        message = words.home_is_no_directory(str(home))
        raise ConfigError(message, path=words.ENVIRONMENT, key="CODEX_HOME")
    return home


def profile_names(environ: Mapping[str, str]) -> list[str]:
    """Name every profile: the tables of config.toml, and the homes below ``CODEX_HOME/profiles``."""
    from codex_nb.config_toml import read_config

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
    hint = words.known_profiles(known) if known else None
    message = words.unknown_profile(name, file, str(own))
    raise ConfigError(message, path=file, key=f"profiles.{name}", hint=hint)


def _from_files(home: Path, config: ConfigToml, table: ProfileTable) -> Settings:
    chatgpt = first_set(table.chatgpt_base_url, config.chatgpt_base_url)
    workspaces = config.forced_chatgpt_workspace_id or ()
    return Settings(
        codex_home=home,
        model=first_set(table.model, config.model),
        effort=first_set(table.model_reasoning_effort, config.model_reasoning_effort),
        summary=first_set(table.model_reasoning_summary, config.model_reasoning_summary),
        verbosity=first_set(table.model_verbosity, config.model_verbosity),
        service_tier=first_set(table.service_tier, config.service_tier),
        chatgpt_base_url=_chatgpt_base_url(chatgpt, home) if chatgpt else CHATGPT_BASE_URL,
        credentials_store=CredentialsStore(config.cli_auth_credentials_store),
        forced_login_method=config.forced_login_method,
        forced_workspaces=(workspaces,) if isinstance(workspaces, str) else tuple(workspaces),
        project_doc_max_bytes=config.project_doc_max_bytes,
    )


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Take the variables that the Codex CLI reads; the two certificate variables in its order."""
    named: dict[str, Any] = {
        setting: environ[variable] for setting, variable in _VARIABLES.items() if environ.get(variable)
    }
    for setting in ("issuer", "authapi_base_url", "agent_authapi_base_url", "agent_jwks_base_url"):
        if setting in named:
            named[setting] = checked_address(named[setting], words.ENVIRONMENT, _VARIABLES[setting])
    if "originator" in named:
        checked_header(named["originator"], words.ENVIRONMENT, _VARIABLES["originator"])
    certificate = environ.get("CODEX_CA_CERTIFICATE") or environ.get("SSL_CERT_FILE")
    if certificate:
        named["ca_certificate"] = Path(certificate).expanduser()
    if policy := environ.get(APPROVAL_VARIABLE):
        if policy not in set(ApprovalPolicy):
            message = words.variable_is_wrong(APPROVAL_VARIABLE, policy, ", ".join(ApprovalPolicy))
            raise ConfigError(message, path=words.ENVIRONMENT, key=APPROVAL_VARIABLE)
        named["approval"] = ApprovalPolicy(policy)
    if listed := environ.get(INSECURE_PROVIDERS_VARIABLE):
        named["insecure_providers"] = tuple(listed.replace(",", " ").split())
    return named


# The variables of our own, for runs without a person and for programs.
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
    base_url = checked_address(value, str(home / CONFIG_FILE), "chatgpt_base_url")
    is_bare = (
        urlsplit(base_url).hostname in {"chatgpt.com", "chat.openai.com"} and not urlsplit(base_url).path
    )
    return f"{base_url}/backend-api" if is_bare else base_url


def _checked_options(options: dict[str, Any]) -> dict[str, Any]:
    known = {item.name for item in fields(Settings)} - {"codex_home", "provider", "profile"}
    for key, value in options.items():
        if key not in known:
            message = words.unknown_option(key, nearest_names(key, known))
            raise ConfigError(message, path=words.OPTIONS, key=key)
        options[key] = _checked_option(key, value)
    return options


def _checked_option(key: str, value: Any) -> Any:
    choices = _CHOICES.get(key)
    if choices is None:
        return value
    if value not in choices:
        message = words.option_is_wrong(key, repr(value), ", ".join(choices))
        raise ConfigError(message, path=words.OPTIONS, key=key)
    match key:
        case "approval":
            return ApprovalPolicy(value)
        case "credentials_store":
            return CredentialsStore(value)
        case _:
            return value


_CHOICES: dict[str, tuple[str, ...]] = {
    "approval": tuple(ApprovalPolicy),
    "credentials_store": tuple(CredentialsStore),
    "summary": ("auto", "concise", "detailed", "none"),
    "verbosity": ("low", "medium", "high"),
}
