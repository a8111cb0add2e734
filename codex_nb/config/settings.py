"""Settings: config.toml, the environment and the user's options, merged into one frozen value."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import ItemsView, Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from codex_nb.config import __version__
from codex_nb.config.config_toml import (
    BearerCommand,
    Provider,
    RequirementsToml,
    closest_names,
    ensure_one_profile,
    mcp_servers_of,
    misspellings,
    parse_config,
    provider_of,
    validate,
    validate_header,
    validate_url,
)
from codex_nb.errors import ConfigError
from codex_nb.labels import AGENT_CONFIGS, TRANSPORTS, ApprovalPolicy

if TYPE_CHECKING:
    from codex_nb.config.config_toml import ConfigToml, McpCredentialsStore, McpServer, SearchMode
    from codex_nb.config.layers import Machine, MergedConfig


class Environment(Mapping[str, str]):
    """A live view of the variables, with those of a home's ``.env`` over them; its ``repr`` shows no value.

    ``home`` is the CODEX_HOME whose ``.env`` was read; None when none was.
    """

    __slots__ = ("_variables", "dotenv", "home")

    def __init__(
        self,
        variables: Mapping[str, str] = os.environ,
        dotenv: Mapping[str, str] = MappingProxyType({}),
        home: Path | None = None,
    ) -> None:
        self._variables = variables
        self.dotenv = dotenv
        self.home = home

    def __getitem__(self, name: str) -> str:
        return self.dotenv[name] if name in self.dotenv else self._variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._variables, **self.dotenv})

    def __len__(self) -> int:
        return len({**self._variables, **self.dotenv})

    def items(self) -> ItemsView[str, str]:
        """Return the variables as they are now, which is quicker than to look up one after the other."""
        return {**self._variables, **self.dotenv}.items()

    def __repr__(self) -> str:
        return "<the environment of this process>"


__all__ = [
    "ApprovalPolicy",
    "BearerCommand",
    "CredentialsStore",
    "Environment",
    "Provider",
    "Settings",
    "codex_environment",
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
    ``restricts_every_login``: a login that is not allowed stops a provider with a key of its own, too, as in the CLI.
    ``effort``, ``summary`` and ``verbosity`` are None where nothing is configured: the model's own are then used.
    ``insecure_providers`` are the providers whose API key may be sent over http, by id. ``transport`` is how questions
    travel; "auto" is a websocket where it is known to work. ``residency`` is the region in which an administrator wants
    requests to be processed. ``model_context_window`` is in tokens and takes the place of the model's own;
    ``model_catalog_json`` is a file that takes the place of every list of models. ``disabled_skills`` are names, and
    paths of ``SKILL.md``; ``system_skills`` is the folder of an administrator's. ``mcp_servers`` are asked for their
    tools, and a question waits ``mcp_grace_s`` seconds for those that are not required.
    ``web_search`` is None where nothing is configured, ``allowed_searches`` for no requirement. ``origins`` says of
    each setting that is not a default where it comes from; ``allowed_approvals`` are the CLI's approval policies that
    an administrator allows, None for all of them. ``agent_config`` is what Codex's own agent is told of the user's
    configuration: "private" for the provider alone, "own" for all of CODEX_HOME. ``warnings`` say what of the
    configuration is not used.
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
    restricts_every_login: bool = False
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
    project_doc_fallback_filenames: tuple[str, ...] = ()
    developer_instructions: str | None = None
    model_context_window: int | None = None
    model_catalog_json: Path | None = None
    lists_skills: bool = True
    disabled_skills: tuple[str, ...] = ()
    system_skills: Path | None = field(default=None, compare=False)
    mcp_servers: tuple[McpServer, ...] = ()
    mcp_credentials_store: McpCredentialsStore = "auto"
    mcp_grace_s: float = 5.0
    web_search: SearchMode | None = None
    search_options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    allowed_searches: tuple[str, ...] | None = None
    insecure_providers: tuple[str, ...] = ()
    transport: Literal["http", "websocket", "auto"] = "http"
    residency: str | None = None
    allowed_approvals: tuple[str, ...] | None = None
    agent_config: str = "private"
    origins: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    warnings: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @property
    def user_agent(self) -> str:
        """Who asks, as the Codex backend reads it: ``{originator}/{version} ({os} {release}; {arch}) codex_nb``."""
        machine = platform.machine() or "unknown"
        return f"{self.originator}/{__version__} ({_operating_system()}; {machine}) codex_nb"

    def ensure_allowed(self, policy: ApprovalPolicy) -> ApprovalPolicy:
        """Return the policy. Raises ConfigError when an administrator does not allow it."""
        allowed = self.allowed_approvals
        source = self.origins.get("allowed_approvals", "requirements.toml")
        if policy is ApprovalPolicy.ALL and allowed is not None and "never" not in allowed:
            raise ConfigError(
                f"{source} does not allow the approval policy {policy.value!r}: tool calls must be approved.",
                path=source,
                key="allowed_approval_policies",
                hint="Use ask, auto or read-only, or ask the administrator of this computer.",
            )
        return policy

    def search_mode(self, *, wanted: bool | None) -> str | None:
        """Return how the model may search the web, None for not at all; True asks for live pages, as in the CLI.

        Raises ConfigError when an administrator does not allow it.
        """
        mode = self.web_search if wanted is None else "live" if wanted else None
        if mode in {None, "disabled"} or self.allowed_searches is None or mode in self.allowed_searches:
            return None if mode == "disabled" else mode
        if wanted is None:
            return None
        source = self.origins.get("allowed_searches", "requirements.toml")
        raise ConfigError(
            f"{source} does not allow live web search.",
            path=source,
            key="allowed_web_search_modes",
            hint="Leave out --search, or ask the administrator of this computer.",
        )


@cache
def _operating_system() -> str:
    system = platform.system()
    if system == "Linux":
        try:
            release = platform.freedesktop_os_release()
        except OSError:
            return f"Linux {platform.release()}"
        return f"{release.get('NAME', 'Linux')} {release.get('VERSION_ID', '')}".strip()
    if system == "Darwin":
        return f"Mac OS {platform.mac_ver()[0]}"
    return f"{system or 'unknown'} {platform.release()}".strip()


def load_settings(
    environ: Mapping[str, str],
    *,
    profile: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    machine: Machine | None = None,
) -> Settings:
    """Merge all layers of the configuration, the environment and the user's options, in the Codex CLI's order.

    ``profile`` names ``CODEX_HOME/NAME.config.toml`` or, when there is none, the home ``CODEX_HOME/profiles/NAME``.
    ``folder`` is the one whose project may set something; None for no project. ``overrides`` are fields of
    :class:`Settings` by name (``provider`` by its id); None leaves the setting alone. Raises ConfigError with the file
    (or "environment", "options"), the key and what was expected, also for an option that an administrator has fixed.
    """
    from codex_nb.config.layers import Machine, read_layers

    main_home = find_codex_home(environ)
    home = _profile_home(main_home, profile)
    environ = _with_dotenv(environ, home)
    file_of_profile = profile if home == main_home else None
    merged, requirements = read_layers(environ, home, profile=file_of_profile, folder=folder, machine=machine)
    if file_of_profile is not None:
        ensure_one_profile(merged, file_of_profile)
    config = parse_config(merged)
    required = validate(RequirementsToml, requirements.tables, requirements)
    options = {key: value for key, value in (overrides or {}).items() if value is not None}
    _ensure_not_fixed(merged, options)
    provider_id = options.get("provider", config.model_provider)
    provider, warnings = provider_of(
        "openai" if provider_id is None else provider_id, config, merged, environ
    )
    variables = {setting: variable for variable, setting in _VARIABLES.items() if environ.get(variable)}
    values = {
        **_from_files(config, merged, provider),
        **_required(required, requirements),
        **{
            setting: _read_variable(setting, environ[variable], variable)
            for setting, variable in variables.items()
        },
        **_validate_options(options),
        "provider": provider,
    }
    origins = {
        **_origins(merged, requirements, provider, environ),
        **{setting: f"variable {variable}" for setting, variable in variables.items()},
        **dict.fromkeys(options, OPTIONS),
    }
    if "web_search" in merged.fixed and "allowed_searches" not in values:  # by managed_config.toml
        values["allowed_searches"] = (config.web_search or "disabled",)
        origins["allowed_searches"] = merged.source("web_search")
    settings = Settings(
        codex_home=home,
        profile=profile,
        system_skills=(machine or Machine()).system_file("skills", environ),
        mcp_servers=mcp_servers_of(config.mcp_servers, merged, required.mcp_servers, environ),
        origins=origins,
        warnings=(*merged.warnings, *misspellings(merged), *_unused_window(config, merged), *warnings),
        **values,
    )
    settings.ensure_allowed(settings.approval)
    return settings


CONFIG_FILE = "config.toml"
# What an error names as the place of a setting that is in no file.
ENVIRONMENT = "environment"
OPTIONS = "options"
# The settings that files set, by the names that they have there.
FILE_KEYS = {
    "model": "model",
    "effort": "model_reasoning_effort",
    "summary": "model_reasoning_summary",
    "verbosity": "model_verbosity",
    "service_tier": "service_tier",
    "provider": "model_provider",
    "chatgpt_base_url": "chatgpt_base_url",
    "credentials_store": "cli_auth_credentials_store",
    "forced_login_method": "forced_login_method",
    "forced_workspaces": "forced_chatgpt_workspace_id",
    "project_doc_max_bytes": "project_doc_max_bytes",
    "project_doc_fallback_filenames": "project_doc_fallback_filenames",
    "developer_instructions": "developer_instructions",
    "model_context_window": "model_context_window",
    "model_catalog_json": "model_catalog_json",
    "web_search": "web_search",
}
_LOGIN_METHODS = {"chatgpt", "api"}
_REQUIREMENT_KEYS = {
    "forced_login_method": "allowed_login_methods",
    "forced_workspaces": "allowed_chatgpt_workspaces",
    "allowed_approvals": "allowed_approval_policies",
    "allowed_searches": "allowed_web_search_modes",
    "residency": "enforce_residency",
}
# What a person chooses for a question, over an administrator's managed_config.toml too, as in the CLI.
_CHOSEN_PER_TURN = frozenset({"model", "effort"})


def find_codex_home(environ: Mapping[str, str]) -> Path:
    """Return CODEX_HOME. Raises ConfigError when it is not a directory."""
    named = environ.get("CODEX_HOME")
    if not named:
        own_home = environ.get("HOME") or environ.get("USERPROFILE")
        return (Path(own_home) if own_home else Path.home()) / ".codex"
    home = Path(os.path.expanduser(named))  # noqa: PTH111  Path.expanduser() raises for an unknown user
    if home.exists() and not home.is_dir():
        raise ConfigError(
            f"CODEX_HOME is {home}, which is not a directory.",
            path=ENVIRONMENT,
            key="CODEX_HOME",
            hint="Set it to a directory.",
        )
    return home


def codex_environment(environ: Mapping[str, str], profile: str | None = None) -> Environment:
    """Return the environment as Codex sees it: with the variables of ``CODEX_HOME/.env``. Raises ConfigError."""
    return _with_dotenv(environ, _profile_home(find_codex_home(environ), profile))


def _with_dotenv(environ: Mapping[str, str], home: Path) -> Environment:
    if isinstance(environ, Environment) and environ.home == home:
        return environ
    from codex_nb.config.layers import read_dotenv

    return Environment(environ, read_dotenv(home, environ), home)


def profile_names(environ: Mapping[str, str]) -> list[str]:
    """List every profile: the files ``CODEX_HOME/NAME.config.toml``, and the homes below ``CODEX_HOME/profiles``."""
    home = find_codex_home(environ)
    files = (path.name.removesuffix(f".{CONFIG_FILE}") for path in home.glob(f"*.{CONFIG_FILE}"))
    homes = (path.name for path in (home / "profiles").glob("*") if path.is_dir())
    return sorted({*filter(_PLAIN_NAME.fullmatch, files), *homes})


_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]+")


def _profile_home(home: Path, name: str | None) -> Path:
    """Return the home of a profile: the main one when the profile is a file in it. Raises ConfigError."""
    from codex_nb.config.layers import profile_file

    if name is None or (_PLAIN_NAME.fullmatch(name) and profile_file(home, name).exists()):
        return home
    own = home / "profiles" / name
    if own.parent == home / "profiles" and own.is_dir():
        return own
    file, known = profile_file(home, name), ", ".join(profile_names({"CODEX_HOME": str(home)}))
    raise ConfigError(
        f"Unknown profile {name!r}: neither {file} nor {own} exists.",
        path=str(file),
        key=name,
        hint=f"Choose one of: {known}." if known else f"No profile exists yet; write one to {file}.",
    )


def _from_files(config: ConfigToml, merged: MergedConfig, provider: Provider) -> dict[str, Any]:
    """Return the settings of the files: by FILE_KEYS, and those whose form is another one."""
    chatgpt = config.chatgpt_base_url if provider.requires_openai_auth else None
    workspaces, window = config.forced_chatgpt_workspace_id or (), config.model_context_window
    tier, grace = config.service_tier, config.mcp_optional_startup_grace_ms
    catalog = config.model_catalog_json
    return {
        **{setting: getattr(config, key) for setting, key in FILE_KEYS.items()},
        "chatgpt_base_url": _chatgpt_base_url(chatgpt, merged) if chatgpt else CHATGPT_BASE_URL,
        "service_tier": None if tier in {"", "default"} else tier,
        "credentials_store": CredentialsStore(config.cli_auth_credentials_store),
        "forced_workspaces": (workspaces,) if isinstance(workspaces, str) else tuple(workspaces),
        "restricts_every_login": bool(config.forced_login_method or workspaces),
        "project_doc_fallback_filenames": tuple(config.project_doc_fallback_filenames),
        "model_context_window": window if window is not None and window > 0 else None,
        "model_catalog_json": None if catalog is None else merged.path(catalog, "model_catalog_json"),
        "mcp_credentials_store": config.mcp_oauth_credentials_store,
        "mcp_grace_s": Settings.mcp_grace_s if grace is None else grace / 1000,
        "lists_skills": config.skills.include_instructions,
        "disabled_skills": _disabled_skills(config, merged),
        "search_options": MappingProxyType(_search_options(config)),
    }


def _disabled_skills(config: ConfigToml, merged: MergedConfig) -> tuple[str, ...]:
    """Return the names and paths that the last entry about them turns off."""
    is_enabled: dict[str, bool] = {}
    for entry in config.skills.config:
        if (entry.path is None) != (entry.name is None):  # the CLI passes over an entry with both
            path = merged.path(entry.path or "", "skills", "config")
            is_enabled[entry.name or os.path.realpath(path)] = entry.enabled
    return tuple(name for name, enabled in is_enabled.items() if not enabled)


def _search_options(config: ConfigToml) -> dict[str, Any]:
    """Return what ``[tools.web_search]`` adds to the tool of a request, in the form that the CLI sends."""
    table = config.tools.web_search
    if table is None or isinstance(table, bool):
        return {}
    place = table.location.model_dump(exclude_none=True) if table.location else None
    options = {
        "filters": {"allowed_domains": table.allowed_domains} if table.allowed_domains else None,
        "user_location": {"type": "approximate", **place} if place else None,
        "search_context_size": table.context_size,
    }
    return {key: value for key, value in options.items() if value is not None}


def _required(requirements: RequirementsToml, merged: MergedConfig) -> dict[str, Any]:
    """Return the settings that are required beside those that the layers already have."""
    required: dict[str, Any] = {"residency": requirements.enforce_residency}
    workspaces = requirements.allowed_chatgpt_workspaces
    methods = set(_LOGIN_METHODS if (named := requirements.allowed_login_methods) is None else named)
    if workspaces is not None:
        required["forced_workspaces"] = tuple(workspaces)
        methods -= set() if workspaces else {"chatgpt"}
    if not methods:
        source = merged.source("allowed_login_methods")
        raise ConfigError(
            f"{source} allows no login method.",
            path=source,
            key="allowed_login_methods",
            hint="Ask the administrator of this computer.",
        )
    if methods != _LOGIN_METHODS:
        required["forced_login_method"] = methods.pop()
    if requirements.allowed_approval_policies is not None:
        required["allowed_approvals"] = tuple(requirements.allowed_approval_policies)
    if requirements.allowed_web_search_modes is not None:
        required["allowed_searches"] = tuple(requirements.allowed_web_search_modes)
    return required


def _ensure_not_fixed(merged: MergedConfig, options: Mapping[str, Any]) -> None:
    """Raise ConfigError for an option that an administrator has fixed to another value."""
    for name, value in options.items():
        key = FILE_KEYS.get(name)
        fixed = merged.tables.get(key) if key is not None else None
        if key in merged.fixed and value != fixed and name not in _CHOSEN_PER_TURN:
            source = merged.source(key)
            raise ConfigError(
                f"{key} cannot be {value!r}: the administrator has set it to {fixed!r} in {source}.",
                path=source,
                key=key,
                hint="Leave the option out, or ask the administrator of this computer.",
            )


def _origins(
    merged: MergedConfig, requirements: MergedConfig, provider: Provider, environ: Mapping[str, str]
) -> dict[str, str]:
    """Say where each setting of the files comes from; what is required wins."""
    origins = {name: merged.source(key) for name, key in FILE_KEYS.items() if key in merged.tables}
    address = ("openai_base_url",) if provider.is_built_in else ("model_providers", provider.id, "base_url")
    if address in merged.origins:
        origins["base_url"] = merged.source(*address)
    origins |= {
        name: requirements.source(key)
        for name, key in _REQUIREMENT_KEYS.items()
        if key in requirements.tables
    }
    if environ.get("CODEX_HOME"):
        origins["codex_home"] = "variable CODEX_HOME"
    return origins


def _unused_window(config: ConfigToml, merged: MergedConfig) -> Iterator[str]:
    if config.model_context_window is not None and config.model_context_window <= 0:
        source = merged.source("model_context_window")
        yield f"{source}: model_context_window is not used: it is not above 0."


# The Codex CLI's variables and our own, for runs that no user watches; of two for one setting the later wins.
ADDRESS_VARIABLES = {
    "CODEX_REFRESH_TOKEN_URL_OVERRIDE": "refresh_url_override",
    "CODEX_REVOKE_TOKEN_URL_OVERRIDE": "revoke_url_override",
    "CODEX_APP_SERVER_LOGIN_ISSUER": "issuer",
    "CODEX_AUTHAPI_BASE_URL": "authapi_base_url",
    "CODEX_AGENT_IDENTITY_AUTHAPI_BASE_URL": "agent_authapi_base_url",
    "CODEX_AGENT_IDENTITY_JWKS_BASE_URL": "agent_jwks_base_url",
}
_VARIABLES = {
    **ADDRESS_VARIABLES,
    "CODEX_INTERNAL_ORIGINATOR_OVERRIDE": "originator",
    "CODEX_APP_SERVER_LOGIN_CLIENT_ID": "client_id",
    "SSL_CERT_FILE": "ca_certificate",
    "CODEX_CA_CERTIFICATE": "ca_certificate",
    "CODEX_NB_APPROVAL": "approval",
    "CODEX_NB_INSECURE_PROVIDERS": "insecure_providers",
    "CODEX_NB_TRANSPORT": "transport",
}


def _read_variable(setting: str, value: str, variable: str) -> Any:
    """Return the setting that a variable has. Raises ConfigError."""
    match setting:
        case "issuer" | "authapi_base_url" | "agent_authapi_base_url" | "agent_jwks_base_url":
            return validate_url(value, ENVIRONMENT, variable)
        case "originator":
            return validate_header(value, ENVIRONMENT, variable)
        case "ca_certificate":
            return Path(os.path.expanduser(value))  # noqa: PTH111  as above
        case "insecure_providers":
            return tuple(value.replace(",", " ").split())
        case _:
            return _choice(setting, value, path=ENVIRONMENT, key=variable)


def account_url(chatgpt_base_url: str, path: str) -> str:
    """Return where ChatGPT tells something of an account; a backend other than ChatGPT's has another path."""
    base = chatgpt_base_url.rstrip("/")
    return f"{base}/wham/{path}" if "/backend-api" in base else f"{base}/api/codex/{path}"


def _chatgpt_base_url(value: str, merged: MergedConfig) -> str:
    """Complete a bare ChatGPT host with the backend's path, as the CLI does."""
    base_url = validate_url(value, merged.source("chatgpt_base_url"), "chatgpt_base_url")
    is_bare = (
        urlsplit(base_url).hostname in {"chatgpt.com", "chat.openai.com"} and not urlsplit(base_url).path
    )
    return f"{base_url}/backend-api" if is_bare else base_url


def _validate_options(options: Mapping[str, Any]) -> dict[str, Any]:
    known = {item.name for item in fields(Settings) if item.compare} - {"codex_home", "profile"}
    for key in options:
        if key not in known:
            hint = f"Did you mean one of these: {closest_names(key, known)}?"
            raise ConfigError(f"Unknown option {key!r}.", path=OPTIONS, key=key, hint=hint)
    return {key: _choice(key, value, path=OPTIONS, key=key) for key, value in options.items()}


def _choice(setting: str, value: Any, *, path: str, key: str) -> Any:
    """Return the value of a setting if it is one of those that there are. Raises ConfigError."""
    if setting == "approval":
        return approval_policy(value, path=path, key=key)
    choices = _CHOICES.get(setting)
    if choices is not None and value not in choices:
        hint = f"Use one of: {', '.join(choices)}."
        raise ConfigError(f"Invalid {key} {value!r}.", path=path, key=key, hint=hint)
    return CredentialsStore(value) if setting == "credentials_store" else value


_CHOICES: dict[str, tuple[str, ...]] = {
    "agent_config": AGENT_CONFIGS,
    "credentials_store": tuple(CredentialsStore),
    "summary": ("auto", "concise", "detailed", "none"),
    "verbosity": ("low", "medium", "high"),
    "transport": TRANSPORTS,
}


def approval_policy(value: object, *, path: str, key: str) -> ApprovalPolicy:
    """Return the policy that a setting names; raises ConfigError."""
    if isinstance(value, str) and value in set(ApprovalPolicy):
        return ApprovalPolicy(value)
    hint = f"Use one of: {', '.join(ApprovalPolicy)}."
    if value == "never":
        hint = (
            'Codex calls "never ask" never, which is all here; read-only offers nothing that runs or changes.'
        )
    raise ConfigError(f"Invalid {key} {value!r}.", path=path, key=key, hint=hint)
