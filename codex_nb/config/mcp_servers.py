"""``[mcp_servers.NAME]`` of config.toml: the servers whose tools Codex may use, as the CLI reads them."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, SecretStr

from codex_nb.config.config_toml import Table, refused, validate
from codex_nb.config.layers import read_bytes
from codex_nb.errors import ConfigError, CredentialsUnreadable
from codex_nb.rendering.sanitize import visible_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from codex_nb.config.config_toml import McpCredentialsStore
    from codex_nb.config.layers import MergedConfig

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
    ``allowed_tools`` run without asking.
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
    allows_all: bool = False
    asked_tools: frozenset[str] = frozenset()
    allowed_tools: frozenset[str] = frozenset()
    problem: str = ""

    def offers(self, tool: str) -> bool:
        """Whether the configuration leaves a tool of the server in use."""
        return tool not in self.disabled_tools and (self.enabled_tools is None or tool in self.enabled_tools)

    def allows(self, tool: str) -> bool:
        """Whether the configuration lets a tool run without asking."""
        return tool in self.allowed_tools or (self.allows_all and tool not in self.asked_tools)


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
    modes = {tool: each.approval_mode for tool, each in entry.tools.items() if each.approval_mode is not None}
    headers = dict(_headers(entry, environ))
    startup = entry.startup_timeout_sec
    if startup is None:
        startup = STARTUP_S if entry.startup_timeout_ms is None else entry.startup_timeout_ms / 1000
    return McpServer(
        name=name,
        command=entry.command,
        args=tuple(entry.args),
        environ=dict(_variables(entry, environ)),
        cwd=_folder(entry.cwd, merged, place),
        url=entry.url or "",
        headers=headers,
        required=entry.required,
        startup_s=startup,
        call_s=CALL_S if entry.tool_timeout_sec is None else entry.tool_timeout_sec,
        enabled_tools=None if entry.enabled_tools is None else frozenset(entry.enabled_tools),
        disabled_tools=frozenset(entry.disabled_tools),
        allows_all=entry.default_tools_approval_mode == "approve",
        asked_tools=frozenset(tool for tool, mode in modes.items() if mode != "approve"),
        allowed_tools=frozenset(tool for tool, mode in modes.items() if mode == "approve"),
        problem=_problem(entry, headers, environ),
    )


def _folder(written: str | None, merged: MergedConfig, place: tuple[str, ...]) -> Path | None:
    if written is None:
        return None
    return Path(merged.source(*place, "cwd")).parent / os.path.expanduser(written)  # noqa: PTH111  Path.expanduser() raises for an unknown user


def _variables(entry: McpServerTable, environ: Mapping[str, str]) -> Iterator[tuple[str, SecretStr]]:
    """Yield the whole environment of a server's program."""
    named = {each if isinstance(each, str) else each.name for each in entry.env_vars}
    passed_on = _PASSED_ON | (_PASSED_ON_BY_WINDOWS if sys.platform == "win32" else frozenset())
    for name in environ:
        if name in passed_on or name in named:
            yield name, SecretStr(environ[name])
    yield from entry.env.items()


def _headers(entry: McpServerTable, environ: Mapping[str, str]) -> Iterator[tuple[str, SecretStr]]:
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
        secret = value.get_secret_value()
        if not (name.isascii() and name.isprintable() and secret.isascii() and secret.isprintable()):
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
    entry = _parsed("{}" if text is None else text.get_secret_value())
    response = entry.get("token_response")
    if isinstance(response, dict):
        yield from _usable(response.get("access_token"), entry.get("expires_at"))


def _in_file(path: Path, server: McpServer) -> Iterator[str]:
    try:
        content = _parsed(read_bytes(path) or b"{}")
    except ConfigError:
        return
    for entry in content.values():
        place = (entry.get("server_name"), entry.get("server_url")) if isinstance(entry, dict) else ()
        if place == (server.name, server.url):
            yield from _usable(entry.get("access_token"), entry.get("expires_at"))


def _parsed(text: str | bytes) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _usable(token: object, expires_ms: object) -> Iterator[str]:
    is_over = isinstance(expires_ms, int | float) and expires_ms / 1000 < time.time() + _LEAST_LEFT_S
    if isinstance(token, str) and token.isascii() and token.isprintable() and token and not is_over:
        yield token
