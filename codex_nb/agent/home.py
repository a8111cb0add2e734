"""The CLI's private home: what it is told of the configuration, and the environment that it is started in.

It lies in a folder of mode 0700 below CODEX_HOME, lasts as long as the process and never holds a login: tokens are
handed in by messages, keys by the environment of the child alone. Only threads and images outlast it, beside it.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
from contextlib import suppress
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from codex_nb.auth.credentials import AuthMode
from codex_nb.config.layers import parse_toml, read_bytes
from codex_nb.config.settings import CONFIG_FILE
from codex_nb.errors import AgentFailed
from codex_nb.files import LockState, create_file, try_lock
from codex_nb.labels import ApprovalPolicy
from codex_nb.responses.request import choose_backend
from codex_nb.session.outbound import environment_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from codex_nb.agent.app_server import CodexBinary
    from codex_nb.auth.credentials import Credentials
    from codex_nb.config.settings import Settings
    from codex_nb.session.prompt import TurnRequest

JsonObject = dict[str, Any]

HOMES = "home-"
LOCK = "in-use"
SESSIONS = "sessions"
IMAGES = "generated_images"
OUR_PROVIDER = "codex_nb"
PROVIDER_KEY = "CODEX_NB_PROVIDER_KEY"
# What applies of the user's own CODEX_HOME, where that is chosen. Rules do not: they allow commands unasked.
_OWN = ("AGENTS.md", "AGENTS.override.md", "skills", "plugins")
# Logins of all kinds; the child gets the one in use, in its own way.
_LOGINS = frozenset(
    {
        "CODEX_API_KEY",
        "CODEX_ACCESS_TOKEN",
        "CODEX_AGENT_IDENTITY",
        "OPENAI_API_KEY",
        PROVIDER_KEY,
        "CODEX_HOME",
    }
)


class AgentHome:
    """One private home, in use until :meth:`remove`."""

    def __init__(self, path: Path, lock: int, settings: Settings) -> None:
        self.path = path
        self._lock = lock
        self._settings = settings
        self._owner = os.getpid()
        atexit.register(self.remove)

    @classmethod
    def create(cls, folder: Path, settings: Settings, credentials: Credentials) -> AgentHome:
        """Make a home below a folder, after those that killed kernels left behind are removed; raises AgentFailed."""
        try:
            for name in (SESSIONS, IMAGES):
                (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
            _remove_abandoned(folder)
            path = folder / f"{HOMES}{token_hex(6)}"
            path.mkdir(mode=0o700)
            lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
            try_lock(lock)
            home = cls(path, lock, settings)
            with suppress(OSError):  # where links are not allowed, these do not outlast the process there
                for name in (SESSIONS, IMAGES):
                    (path / name).symlink_to(folder / name, target_is_directory=True)
            home._write_config(credentials)
        except OSError as error:
            raise AgentFailed(
                f"The agent's folder {folder} cannot be used: {error.strerror or type(error).__name__}.",
                hint="Make it writable, or set CODEX_HOME to a folder that is.",
            ) from error
        return home

    def remove(self) -> None:
        """Delete the home; threads stay. A forked child deletes nothing."""
        if os.getpid() != self._owner:
            return
        atexit.unregister(self.remove)
        with suppress(OSError):
            os.close(self._lock)
        shutil.rmtree(self.path, ignore_errors=True)

    def environment(
        self, environ: Mapping[str, str], credentials: Credentials, binary: CodexBinary
    ) -> dict[str, str]:
        """Return the environment of the child: the kernel's without secrets, with the key of the login in use.

        Raises AgentFailed for a login that the CLI cannot be given.
        """
        secret = set[str]()
        if self._settings.agent_config != "own":
            secret = {name[1:] for name in environment_secrets(environ) if name.startswith("$")}
        child = {name: value for name, value in environ.items() if name not in secret | _LOGINS}
        child["CODEX_HOME"] = str(self.path)
        if binary.tools is not None:
            child["PATH"] = os.pathsep.join(filter(None, (str(binary.tools), child.get("PATH"))))
        bearer = credentials.bearer.get_secret_value() if credentials.bearer else None
        match credentials.mode:
            case AuthMode.API_KEY if bearer is not None:
                child[PROVIDER_KEY] = bearer
            case AuthMode.PERSONAL_ACCESS_TOKEN if bearer is not None:
                child["CODEX_ACCESS_TOKEN"] = bearer
            case AuthMode.AGENT_IDENTITY:
                raise AgentFailed(
                    "The Codex CLI cannot be given the agent identity that signs your requests.",
                    hint="Ask without --agent, or sign in with ChatGPT or an API key.",
                )
            case _:
                pass
        return child

    def _write_config(self, credentials: Credentials) -> None:
        own = self._settings.codex_home
        text = b""
        if self._settings.agent_config == "own":
            text = read_bytes(own / CONFIG_FILE) or b""
            for name in _OWN:
                if (own / name).exists():
                    (self.path / name).symlink_to(own / name)
        table = _provider_table(self._settings, credentials)
        create_file(self.path / CONFIG_FILE, text + table.encode())


def _remove_abandoned(folder: Path) -> None:
    for home in folder.glob(f"{HOMES}*"):
        with suppress(OSError):
            lock = os.open(home / LOCK, os.O_RDWR)
            is_abandoned = try_lock(lock) is LockState.TAKEN
            os.close(lock)
            if is_abandoned:
                shutil.rmtree(home, ignore_errors=True)


def provider_id(settings: Settings, credentials: Credentials) -> str:
    """Return the provider that the CLI is told of: its own for ChatGPT, else a table of ours."""
    return "openai" if settings.provider.is_built_in and credentials.is_chatgpt_backend else OUR_PROVIDER


def _provider_table(settings: Settings, credentials: Credentials) -> str:
    """Return the table of the provider in use; JSON text of strings and numbers is TOML as well."""
    if provider_id(settings, credentials) != OUR_PROVIDER:
        return ""
    backend = choose_backend(settings, is_chatgpt_auth=credentials.is_chatgpt_backend)
    table: JsonObject = {
        "name": backend.name,
        "base_url": backend.base_url,
        "wire_api": "responses",
        "requires_openai_auth": credentials.is_chatgpt_backend,
        "env_key": None if credentials.is_chatgpt_backend or credentials.bearer is None else PROVIDER_KEY,
        "request_max_retries": backend.request_max_retries,
        "stream_max_retries": backend.stream_max_retries,
    }
    lines = [f"\n[model_providers.{OUR_PROVIDER}]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in table.items() if value is not None]
    for key, values in (("http_headers", backend.headers), ("query_params", backend.query)):
        if values:
            lines.append(f"[model_providers.{OUR_PROVIDER}.{key}]")
            lines += [f"{json.dumps(name)} = {json.dumps(value)}" for name, value in values.items()]
    return "\n".join(lines) + "\n"


def command_overrides(settings: Settings) -> list[str]:
    """Return the CLI's options that win over every file: where the login is, what runs only when it is asked about."""
    values: JsonObject = {
        "cli_auth_credentials_store": "file",
        "chatgpt_base_url": f"{settings.chatgpt_base_url}/",
        "features.unified_exec_tty": False,  # a terminal takes input that nobody is asked about
        "features.multi_agent": False,  # what other agents do would be asked about without its context
        "features.view_image": False,  # reads any image unasked
        "features.goals": False,  # begin turns by themselves, after the cell
        "features.default_mode_request_user_input": True,
        "shell_environment_policy.ignore_default_excludes": False,  # commands see no keys
    }
    if settings.provider.is_built_in and settings.provider.base_url:
        values["openai_base_url"] = settings.provider.base_url
    if settings.agent_config == "own":
        values |= _asked_servers(settings)
    else:
        values |= {
            "features.plugins": False,
            "features.apps": False,
            "project_doc_max_bytes": 0,
            "analytics.enabled": False,
        }
    return [part for key, value in values.items() for part in ("-c", f"{key}={json.dumps(value)}")]


def _own_servers(settings: Settings) -> dict[str, JsonObject]:
    """Return the tables of the MCP servers that the CLI has from the user's file."""
    content = read_bytes(settings.codex_home / CONFIG_FILE) or b""
    servers = parse_toml(content, str(settings.codex_home / CONFIG_FILE)).get("mcp_servers")
    found = servers if isinstance(servers, dict) else {}
    return {name: table for name, table in found.items() if isinstance(table, dict)}


def _asked_servers(settings: Settings) -> dict[str, Any]:
    """Return, of each MCP server of the user's, that its calls are asked about, unless the file decides it."""
    return {
        f"mcp_servers.{name}.default_tools_approval_mode": "prompt"
        for name, table in _own_servers(settings).items()
        if "default_tools_approval_mode" not in table
    }


def servers_config(settings: Settings, request: TurnRequest) -> JsonObject:
    """Return the configuration of a thread that lets the CLI's own MCP servers be what a question allows.

    The tools of a server have the names that ``%codex tools`` shows: ``mcp__server__tool``. Under the policy ``all``,
    the CLI is told that they are approved, because it would refuse what it may not ask about.
    """
    if settings.agent_config != "own":
        return {}
    is_used = request.uses_servers and request.approval is not ApprovalPolicy.READ_ONLY
    # Plugins and apps bring servers along.
    config: JsonObject = {} if is_used else {"features.plugins": False, "features.apps": False}
    for name, table in _own_servers(settings).items():
        place, prefix = f"mcp_servers.{name}", f"mcp__{name}__"
        if not is_used or name in request.without:
            config[f"{place}.enabled"] = False
            continue
        if off := sorted(each.removeprefix(prefix) for each in request.without if each.startswith(prefix)):
            config[f"{place}.disabled_tools"] = [*(table.get("disabled_tools") or ()), *off]
        if request.approval is ApprovalPolicy.ALL:
            config[f"{place}.default_tools_approval_mode"] = "approve"
            for tool in table.get("tools") or ():
                config[f"{place}.tools.{tool}.approval_mode"] = "approve"
    return config
