"""``config.toml`` as codex_nb reads it: the model providers and the MCP servers that it may define."""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from codex_nb.config.layers import read_bytes
from codex_nb.errors import ConfigError, CredentialsUnreadable
from codex_nb.parse import is_printable_ascii, loads_object
from codex_nb.rendering.sanitize import visible_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails

    from codex_nb.config.layers import MergedConfig


MOST_RETRIES = 100  # as many as the CLI makes
Retries = Annotated[int, Field(ge=0), AfterValidator(lambda count: min(count, MOST_RETRIES))]


class Table(BaseModel):
    """A table of a configuration file; unknown keys are left alone."""

    # Built when a table is read: most configurations have few of them.
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, defer_build=True)


class BearerCommandTable(Table):
    """``[model_providers.X.auth]``: a command that prints the bearer."""

    command: str
    args: list[str] = []
    timeout_ms: int = Field(5000, gt=0)
    refresh_interval_ms: int = Field(300_000, ge=0)
    cwd: str | None = None


class ProviderTable(Table):
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
    request_max_retries: Retries | None = None
    stream_max_retries: Retries | None = None
    stream_idle_timeout_ms: int | None = Field(None, ge=0)
    requires_openai_auth: bool = False
    supports_websockets: bool = False
    websocket_connect_timeout_ms: int | None = Field(None, ge=0)
    aws: dict[str, Any] | None = None


class SearchPlace(Table):
    """``[tools.web_search.location]``: where a search is made from, roughly."""

    country: str | None = None
    region: str | None = None
    city: str | None = None
    timezone: str | None = None


class SearchTable(Table):
    """``[tools.web_search]``: what a web search looks at."""

    context_size: Literal["low", "medium", "high"] | None = None
    allowed_domains: list[str] | None = None
    location: SearchPlace | None = None


class ToolsTable(Table):
    """``[tools]``; the older ``web_search = true`` decides nothing any more."""

    web_search: bool | SearchTable | None = None


class SkillTable(Table):
    """One of ``[[skills.config]]``: turns a skill on or off, by its name or by the path of its ``SKILL.md``."""

    enabled: bool
    name: str | None = None
    path: str | None = None


class SkillsTable(Table):
    """``[skills]``."""

    config: list[SkillTable] = []
    include_instructions: bool = True

    @model_validator(mode="before")
    @classmethod
    def _of_no_values(cls, value: Any) -> Any:
        """Take an empty list for an empty table: the CLI reads a list as the values in their order."""
        return {} if value in ([], [[]]) else value


SearchMode = Literal["disabled", "cached", "indexed", "live"]
McpCredentialsStore = Literal["auto", "file", "keyring"]


class ConfigToml(Table):
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
    project_doc_fallback_filenames: list[str] = []
    developer_instructions: str | None = None
    model_context_window: int | None = None
    model_catalog_json: str | None = None
    web_search: SearchMode | None = None
    tools: ToolsTable = ToolsTable()
    skills: SkillsTable = SkillsTable()
    mcp_servers: dict[str, Any] = {}
    mcp_oauth_credentials_store: McpCredentialsStore = "auto"
    mcp_optional_startup_grace_ms: int | None = Field(None, ge=0)


class RequirementsToml(Table):
    """``requirements.toml``, as far as it concerns a notebook; its values are among those of the configuration."""

    allowed_login_methods: list[Literal["chatgpt", "api"]] | None = None
    allowed_chatgpt_workspaces: list[str] | None = None
    allowed_approval_policies: list[str] | None = None
    enforce_residency: str | None = Field(None, pattern=r"^[\x21-\x7e]+$")
    allowed_web_search_modes: list[str] | None = None
    mcp_servers: dict[str, Any] | None = None


def parse_config(merged: MergedConfig) -> ConfigToml:
    """Validate what the layers add up to. Raises ConfigError with the file of the wrong value."""
    config = validate(ConfigToml, merged.tables, merged)
    if config.profile is not None:
        raise refused(
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
        raise refused(
            merged,
            ("profiles", name),
            "this old form of a profile cannot be used beside the file of the same name.",
            f"Move its settings into {name}.config.toml and remove it.",
        )


# The providers that the CLI brings along, with what a table of config.toml may say of them; None: no table at all.
_OF_A_CLOUD = frozenset({"base_url", "http_headers", "auth"})
RESERVED_PROVIDERS: Mapping[str, frozenset[str] | None] = MappingProxyType(
    {
        "openai": frozenset(),
        "ollama": None,
        "lmstudio": None,
        "amazon-bedrock": _OF_A_CLOUD | {"aws"},
        "gcp": _OF_A_CLOUD,
    }
)


def _check_provider(merged: MergedConfig, name: str, provider: ProviderTable) -> None:
    key = ("model_providers", name)
    others = {
        "env_key": provider.env_key is not None,
        "experimental_bearer_token": provider.experimental_bearer_token is not None,
        "requires_openai_auth": provider.requires_openai_auth,
        "aws": provider.aws is not None,
    }
    if provider.auth is not None and (other := next((each for each in others if others[each]), None)):
        raise refused(merged, (*key, "auth"), f"it cannot be combined with {other}.", "Remove one of them.")
    if name in RESERVED_PROVIDERS:
        allowed, said = RESERVED_PROVIDERS[name], provider.model_dump(exclude_defaults=True).keys()
        if allowed is None or not said <= allowed:
            raise refused(
                merged,
                key,
                f"{name} is the name of a built-in provider, which cannot be overridden.",
                f"Rename it, for example to {name}-custom"
                + (", or set openai_base_url." if name == "openai" else "."),
            )
    elif provider.aws is not None:
        raise refused(merged, (*key, "aws"), "only amazon-bedrock signs in with AWS.", "Remove it.")


def refused(merged: MergedConfig, key: tuple[str, ...], problem: str, hint: str) -> ConfigError:
    """Return the error for a value that the CLI does not take either."""
    path, written = merged.source(*key), ".".join(key)
    return ConfigError(f"{path}: {written}: {problem}", path=path, key=written, hint=hint)


Shape = TypeVar("Shape", bound=Table)


def validate(shape: type[Shape], table: Any, merged: MergedConfig, place: tuple[str, ...] = ()) -> Shape:
    """Return a table in its shape; ``place`` is where it stands. Raises ConfigError with the file of a wrong value."""
    try:
        return shape.model_validate(table)
    except ValidationError as error:
        # The library's error quotes the value, which may be a key or a header: it is not chained.
        raise _config_error(error.errors(include_url=False)[0], merged, place) from None


def _config_error(problem: ErrorDetails, merged: MergedConfig, place: tuple[str, ...]) -> ConfigError:
    key = (*place, *(str(part) for part in problem["loc"] if str(part) not in _UNION_BRANCHES))
    if key[-1:] == ("wire_api",):
        hint = "Use the provider's Responses API endpoint."
        return refused(merged, key, 'it must be "responses"; the chat API is not supported.', hint)
    if problem["type"] == "missing":
        return refused(merged, key, "it is missing.", "Add it to the file.")
    return ConfigError.invalid_value(merged.source(*key), ".".join(key), _expectation(problem))


_UNION_BRANCHES = {"str", "list[str]", "bool", "SearchTable"}
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


def misspellings(merged: MergedConfig) -> Iterator[str]:
    """Warn of each key that is spelled otherwise than one that is known; the configuration is a valid one."""
    yield from _misspelled(merged, merged.tables, ConfigToml, ())
    for name, table in merged.tables.get("model_providers", {}).items():
        yield from _misspelled(merged, table, ProviderTable, ("model_providers", name))


def _misspelled(
    merged: MergedConfig, table: Mapping[str, Any], shape: type[Table], place: tuple[str, ...]
) -> Iterator[str]:
    known = {_normalize_key(name): name for name in shape.model_fields}
    for key in table:
        meant = known.get(_normalize_key(key))
        if meant is not None and meant != key:
            written, expected = ".".join((*place, key)), ".".join((*place, meant))
            yield f"{merged.source(*place, key)}: {written} is not used: the key is written {expected}."


def _normalize_key(key: str) -> str:
    return key.replace("-", "").replace("_", "").lower()


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

    ``base_url`` is None for the built-in provider without an override: the auth mode decides then. An empty ``bearer``
    is one: no other credential takes its place.
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
    supports_websockets: bool = False
    request_max_retries: int | None = None
    stream_max_retries: int | None = None
    stream_idle_timeout_s: float = 300.0
    bearer_command: BearerCommand | None = None
    bearer: SecretStr | None = None

    @cached_property
    def is_built_in(self) -> bool:
        """Whether this is OpenAI's own service, by ChatGPT plan or API key."""
        return self.id == "openai"

    @property
    def uses_login(self) -> bool:
        """Whether the user's login signs, not a key of the provider's own."""
        own = (self.env_key, self.bearer, self.bearer_command)
        return self.requires_openai_auth and all(each is None for each in own)


# What the CLI's own open-source mode offers, at the ports these servers choose themselves.
_LOCAL_SERVERS = {
    "ollama": ("Ollama", "http://localhost:11434/v1"),
    "lmstudio": ("LM Studio", "http://localhost:1234/v1"),
}


# Who pays, where one API key belongs to several.
_OPENAI_HEADERS = {"OpenAI-Organization": "OPENAI_ORGANIZATION", "OpenAI-Project": "OPENAI_PROJECT"}
LONGEST_IDLE_MS = 86_400_000  # a day: as long as no timeout


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
    if entry is not None and provider_id not in RESERVED_PROVIDERS:
        return _custom_provider(provider_id, entry, merged, environ)
    if provider_id in _LOCAL_SERVERS:
        name, base_url = _LOCAL_SERVERS[provider_id]
        if port := environ.get("CODEX_OSS_PORT", "").strip():
            base_url = f"http://localhost:{port}/v1"
        base_url = validate_url(
            environ.get("CODEX_OSS_BASE_URL") or base_url, "environment", "CODEX_OSS_BASE_URL"
        )
        return Provider(id=provider_id, name=name, base_url=base_url, requires_openai_auth=False), []
    own = [name for name in config.model_providers if name not in RESERVED_PROVIDERS]
    known = ["openai", *_LOCAL_SERVERS, *own]
    path = merged.source("model_provider")
    is_clis_own = provider_id in RESERVED_PROVIDERS
    raise ConfigError(
        f"{path}: model_provider is {provider_id!r}, which codex_nb does not support."
        if is_clis_own
        else f"{path}: model_provider is {provider_id!r}, but [model_providers.{provider_id}] is not defined.",
        path=path,
        key="model_provider",
        hint=f"{'Choose' if is_clis_own else 'Define it, or choose'} a known provider:"
        f" {closest_names(provider_id, known)}.",
    )


def _custom_provider(
    provider_id: str, entry: ProviderTable, merged: MergedConfig, environ: Mapping[str, str]
) -> tuple[Provider, list[str]]:
    place = ("model_providers", provider_id)
    address = (*place, "base_url")
    if entry.base_url is None:
        raise refused(merged, address, "it is missing.", "Add the base URL of the API to the file.")
    headers, warnings = _headers(place, entry.http_headers, entry.env_http_headers, merged, environ)
    idle_ms = entry.stream_idle_timeout_ms
    bearer = entry.experimental_bearer_token
    if bearer is not None and not bearer.get_secret_value().strip():
        empty = (*place, "experimental_bearer_token")
        warnings.append(f"{merged.source(*empty)}: {visible_line('.'.join(empty))} is empty: no key is sent.")
    return Provider(
        id=provider_id,
        name=visible_line(entry.name or provider_id),
        base_url=validate_url(entry.base_url, merged.source(*address), ".".join(address)),
        env_key=entry.env_key,
        env_key_instructions=entry.env_key_instructions,
        http_headers=MappingProxyType(headers),
        query_params=MappingProxyType(dict(entry.query_params)),
        requires_openai_auth=entry.requires_openai_auth,
        supports_websockets=entry.supports_websockets,
        request_max_retries=entry.request_max_retries,
        stream_max_retries=entry.stream_max_retries,
        stream_idle_timeout_s=Provider.stream_idle_timeout_s
        if idle_ms is None
        else min(idle_ms or LONGEST_IDLE_MS, LONGEST_IDLE_MS) / 1000,
        bearer_command=_bearer_command(entry.auth, merged, (*place, "auth", "cwd")),
        bearer=bearer,
    ), warnings


def _headers(
    place: tuple[str, ...],
    fixed: Mapping[str, str],
    variables: Mapping[str, str],
    merged: MergedConfig,
    environ: Mapping[str, str],
) -> tuple[dict[str, str], list[str]]:
    """Return the provider's headers, those that come from variables among them, and warnings of those left out."""
    from_variables = {
        header: environ[variable]
        for header, variable in variables.items()
        if environ.get(variable, "").strip()
    }
    replaced = {name.lower() for name in from_variables}
    both = {**{name: fixed[name] for name in fixed if name.lower() not in replaced}, **from_variables}
    # Spaces around a value are no part of it (RFC 9110).
    headers, warnings = {name: value.strip(" \t") for name, value in both.items()}, list[str]()
    for name, value in list(headers.items()):
        is_sendable = is_printable_ascii(value.replace("\t", " "))
        if not (_HEADER_NAME.fullmatch(name) and is_sendable):
            del headers[name]
            path, key = merged.source(*place, "http_headers", name), ".".join((*place, "http_headers", name))
            warnings.append(f"{path}: {visible_line(key)} is not sent: it is not printable ASCII.")
    return headers, warnings


_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110


def _bearer_command(
    entry: BearerCommandTable | None, merged: MergedConfig, place: tuple[str, ...]
) -> BearerCommand | None:
    if entry is None:
        return None
    return BearerCommand(
        command=entry.command,
        args=tuple(entry.args),
        timeout_s=entry.timeout_ms / 1000,
        refresh_interval_s=entry.refresh_interval_ms / 1000,
        cwd=merged.path(entry.cwd, *place) if entry.cwd else None,
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
    if not is_printable_ascii(value):
        raise ConfigError.invalid_value(path, key, "printable ASCII characters")
    return value


def closest_names(name: str, known: Iterable[str]) -> str:
    """List the known names that are closest to an unknown one."""
    names = list(known)
    near = get_close_matches(name, names, n=3, cutoff=0.5) or sorted(names)
    return ", ".join(near)


STARTUP_S, CALL_S = 10.0, 60.0
CREDENTIALS_FILE = ".credentials.json"
KEYRING_SERVICE = "Codex MCP Credentials"
STORE_SETTING = "mcp_oauth_credentials_store"
_LEAST_LEFT_S = 60.0

# The variables that a server gets beside those of its own table, measured with the Codex CLI: no key is among them.
_PASSED_ON = frozenset(
    """
    HOME LOGNAME PATH SHELL USER __CF_USER_TEXT_ENCODING LANG LC_ALL TERM TMPDIR TZ
    CODEX_CA_CERTIFICATE SSL_CERT_FILE REQUESTS_CA_BUNDLE CURL_CA_BUNDLE NODE_EXTRA_CA_CERTS PIP_CERT
    GIT_SSL_CAINFO CARGO_HTTP_CAINFO BUNDLE_SSL_CA_CERT NPM_CONFIG_CAFILE npm_config_cafile
    """.split()  # noqa: SIM905 -- a list of words
)
_PASSED_ON_BY_WINDOWS = frozenset(
    """
    APPDATA COMSPEC HOMEDRIVE HOMEPATH LOCALAPPDATA PATHEXT PROGRAMDATA PROGRAMFILES SYSTEMDRIVE SYSTEMROOT
    TEMP TMP USERDOMAIN USERNAME USERPROFILE WINDIR
    """.split()  # noqa: SIM905 -- as above
)

ApprovalMode = Literal["auto", "prompt", "writes", "approve"]
_OF_PROGRAMS = ("args", "env", "env_vars", "cwd")
_OF_ADDRESSES = (
    *("bearer_token", "bearer_token_env_var", "http_headers", "env_http_headers", "http_headers_helper"),
    *("scopes", "oauth", "oauth_resource"),
)


class _VariableTable(Table):
    name: str


class _ToolTable(Table):
    approval_mode: ApprovalMode | None = None


class McpServerTable(Table):
    """``[mcp_servers.NAME]``."""

    command: str | None = None
    args: list[str] = Field([])
    env: dict[str, SecretStr] = Field({})
    env_vars: list[str | _VariableTable] = Field([])
    cwd: str | None = None
    url: str | None = None
    bearer_token_env_var: str | None = None
    http_headers: dict[str, SecretStr] = Field({})
    env_http_headers: dict[str, str] = Field({})
    http_headers_helper: Any = None
    environment_id: str | None = None
    enabled: bool = True
    required: bool = False
    startup_timeout_sec: float | None = Field(None, ge=0)
    startup_timeout_ms: int | None = Field(None, ge=0)
    tool_timeout_sec: float | None = Field(None, ge=0)
    enabled_tools: list[str] | None = None
    disabled_tools: list[str] = Field([])
    default_tools_approval_mode: ApprovalMode | None = None
    tools: dict[str, _ToolTable] = Field({})


@dataclass(frozen=True)
class McpServer:
    """A server: a program that is started (``command``) or an address (``url``).

    Times are seconds. ``environ`` and ``headers`` may hold secrets. ``problem`` says why it is not used.
    ``allowed`` says of a tool whether it runs without asking; ``allows_others`` of those that are not named.
    """

    name: str
    command: str | None = None
    args: tuple[str, ...] = ()
    environ: Mapping[str, SecretStr] = field(default_factory=dict, repr=False)
    cwd: Path | None = None
    url: str = ""
    headers: Mapping[str, SecretStr] = field(default_factory=dict, repr=False)
    required: bool = False
    startup_s: float = STARTUP_S
    call_s: float = CALL_S
    enabled_tools: frozenset[str] | None = None
    disabled_tools: frozenset[str] = frozenset()
    allowed: Mapping[str, bool] = field(default_factory=dict)
    allows_others: bool = False
    problem: str = ""

    def offers(self, tool: str) -> bool:
        """Whether the configuration leaves a tool of the server in use."""
        return tool not in self.disabled_tools and (self.enabled_tools is None or tool in self.enabled_tools)

    def allows(self, tool: str) -> bool:
        """Whether the configuration lets a tool run without asking."""
        return self.allowed.get(tool, self.allows_others)


def mcp_servers_of(
    tables: Mapping[str, Any],
    merged: MergedConfig,
    allowed: Mapping[str, Any] | None,
    environ: Mapping[str, str],
) -> tuple[McpServer, ...]:
    """Return the servers, those that are not used included. Raises ConfigError for what the CLI refuses, too.

    ``allowed`` is the table of that name in ``requirements.toml``: no other servers are used.
    """
    servers = (
        _server(name, validate(McpServerTable, table, merged, ("mcp_servers", name)), table, merged, environ)
        for name, table in tables.items()
    )
    return tuple(servers if allowed is None else (_as_allowed(server, allowed) for server in servers))


def _server(
    name: str,
    entry: McpServerTable,
    table: Mapping[str, Any],
    merged: MergedConfig,
    environ: Mapping[str, str],
) -> McpServer:
    place = ("mcp_servers", name)
    if entry.command is None and entry.url is None:
        raise refused(merged, place, "it has neither a command nor a url.", "Add one of them.")
    foreign = _OF_PROGRAMS if entry.command is None else ("url", *_OF_ADDRESSES)
    hint = "Remove it." if entry.command is not None else "Remove it, or write command in place of url."
    for key in ("bearer_token", *foreign):
        if key in table:
            kind = "a server with a command" if entry.command is not None else "a server with a url"
            more = " Name a variable in bearer_token_env_var." if key == "bearer_token" else ""
            raise refused(merged, (*place, key), f"{kind} cannot have it.", hint + more)
    modes = {tool: table.approval_mode for tool, table in entry.tools.items()}
    headers = dict(_server_headers(entry, environ))
    startup = entry.startup_timeout_sec
    if startup is None:
        startup = STARTUP_S if entry.startup_timeout_ms is None else entry.startup_timeout_ms / 1000
    return McpServer(
        name=name,
        command=entry.command,
        args=tuple(entry.args),
        environ=dict(_variables(entry, environ)),
        cwd=None if entry.cwd is None else merged.path(entry.cwd, *place, "cwd"),
        url=entry.url or "",
        headers=headers,
        required=entry.required,
        startup_s=startup,
        call_s=CALL_S if entry.tool_timeout_sec is None else entry.tool_timeout_sec,
        enabled_tools=None if entry.enabled_tools is None else frozenset(entry.enabled_tools),
        disabled_tools=frozenset(entry.disabled_tools),
        allowed={tool: mode == "approve" for tool, mode in modes.items() if mode is not None},
        allows_others=entry.default_tools_approval_mode == "approve",
        problem=_problem(entry, headers, environ),
    )


def _variables(entry: McpServerTable, environ: Mapping[str, str]) -> Iterator[tuple[str, SecretStr]]:
    """Yield the whole environment of a server's program."""
    named = {each if isinstance(each, str) else each.name for each in entry.env_vars}
    passed_on = _PASSED_ON | (_PASSED_ON_BY_WINDOWS if sys.platform == "win32" else frozenset())
    for name in environ:
        if name in passed_on or name in named:
            yield name, SecretStr(environ[name])
    yield from entry.env.items()


def _server_headers(entry: McpServerTable, environ: Mapping[str, str]) -> Iterator[tuple[str, SecretStr]]:
    yield from entry.http_headers.items()
    for header, variable in entry.env_http_headers.items():
        if environ.get(variable):
            yield header, SecretStr(environ[variable])
    if token := environ.get(entry.bearer_token_env_var or "", "").strip():
        yield "authorization", SecretStr(f"Bearer {token}")


def _problem(entry: McpServerTable, headers: Mapping[str, SecretStr], environ: Mapping[str, str]) -> str:
    if not entry.enabled:
        return "disabled in config.toml"
    if entry.http_headers_helper is not None:
        return "http_headers_helper is not supported here; write the headers into http_headers"
    if entry.environment_id not in {None, "local"}:
        return "servers in another environment (environment_id) are not supported here"
    if (variable := entry.bearer_token_env_var) and not environ.get(variable, "").strip():
        return f"the variable {visible_line(variable)} (bearer_token_env_var) is not set"
    for name, value in headers.items():
        if not (is_printable_ascii(name) and is_printable_ascii(value.get_secret_value())):
            return f"the header {visible_line(name)} is not printable ASCII"
    return ""


def _as_allowed(server: McpServer, allowed: Mapping[str, Any]) -> McpServer:
    """Return a server, not in use where requirements.toml does not have it with this command or address."""
    table = allowed.get(server.name)
    identity = table.get("identity") if isinstance(table, dict) else None
    wanted = identity if isinstance(identity, dict) else {}
    own = {"command": server.command} if server.command is not None else {"url": server.url}
    if own.items() <= wanted.items():
        return server
    return replace(
        server, problem="requirements.toml does not allow it; ask the administrator of this computer"
    )


def with_stored_token(
    server: McpServer,
    codex_home: Path,
    store: McpCredentialsStore,
    read_keyring: Callable[[str, str, str], SecretStr | None],
) -> McpServer:
    """Return a server with the token that ``codex mcp login`` has stored for it, while it can be used.

    ``read_keyring`` returns an entry by its service and account. Its CredentialsUnreadable is raised where no token is
    found elsewhere. A token is never renewed here: its refresh token belongs to the CLI, which would lose it.
    """
    if any(name.lower() == "authorization" for name in server.headers):
        return server
    unreadable: CredentialsUnreadable | None = None
    tokens: list[str] = []
    try:
        if store != "file":
            tokens += _in_keyring(read_keyring(KEYRING_SERVICE, _store_key(server), STORE_SETTING))
    except CredentialsUnreadable as error:
        unreadable = error
    if store != "keyring":
        tokens += _in_file(codex_home / CREDENTIALS_FILE, server)
    if tokens:
        header = SecretStr(f"Bearer {tokens[0]}")
        return replace(server, headers={**server.headers, "authorization": header})
    if unreadable is not None:
        raise unreadable
    return server


def _store_key(server: McpServer) -> str:
    """Return the CLI's name for the token of a server."""
    identity = json.dumps(
        {"type": "http", "url": server.url, "headers": {}}, separators=(",", ":"), ensure_ascii=False
    )
    return f"{server.name}|{sha256(identity.encode('utf-8', 'replace')).hexdigest()[:16]}"


def _in_keyring(text: SecretStr | None) -> Iterator[str]:
    entry = loads_object("{}" if text is None else text.get_secret_value())
    response = entry.get("token_response")
    if isinstance(response, dict):
        yield from _usable(response.get("access_token"), entry.get("expires_at"))


def _in_file(path: Path, server: McpServer) -> Iterator[str]:
    try:
        content = loads_object(read_bytes(path) or b"{}")
    except ConfigError:
        return
    for entry in content.values():
        place = (entry.get("server_name"), entry.get("server_url")) if isinstance(entry, dict) else ()
        if place == (server.name, server.url):
            yield from _usable(entry.get("access_token"), entry.get("expires_at"))


def _usable(token: object, expires_ms: object) -> Iterator[str]:
    is_over = isinstance(expires_ms, int | float) and expires_ms / 1000 < time.time() + _LEAST_LEFT_S
    if isinstance(token, str) and token and is_printable_ascii(token) and not is_over:
        yield token
