"""The servers of config.toml, as far as no server is needed: what is read, refused and required."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from pydantic import SecretStr

from codex_nb.config.config_toml import McpCredentialsStore, McpServer, with_stored_token
from codex_nb.config.layers import Machine
from codex_nb.config.settings import load_settings
from codex_nb.errors import ConfigError, CredentialsUnreadable

SECRET = "sk-of-the-user-000000"


def servers(root: Path, text: str, required: str = "", project: str = "") -> dict[str, McpServer]:
    """Return the servers of a user's file, on a computer with these requirements and in a trusted project."""
    files = {
        "ch/config.toml": f"[projects.'{root}/work']\ntrust_level = 'trusted'\n{text}",
        "etc/codex/requirements.toml": required,
        "work/.codex/config.toml": project,
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    environ = {"CODEX_HOME": str(root / "ch"), "TOKEN": SECRET, "PATH": os.environ["PATH"]}
    settings = load_settings(environ, folder=root / "work", machine=Machine("linux", root))
    return {server.name: server for server in settings.mcp_servers}


def test_a_table_is_read_as_it_is_written(tmp_path: Path) -> None:
    text = """
    [mcp_servers.a]
    command = "run"
    args = ["-x"]
    cwd = "data"
    startup_timeout_sec = 1.5
    tool_timeout_sec = 7
    required = true
    enabled_tools = ["t"]
    disabled_tools = ["u"]
    default_tools_approval_mode = "approve"
    an_unknown_key = 1
    [mcp_servers.a.tools.t]
    approval_mode = "prompt"
    [mcp_servers.b]
    url = "https://b.example.test/mcp"
    startup_timeout_ms = 2500
    """
    found = servers(tmp_path, text)
    a, b = found["a"], found["b"]
    assert (a.command, a.args, a.cwd, a.required) == ("run", ("-x",), tmp_path / "ch" / "data", True)
    assert (a.startup_s, a.call_s, b.startup_s, b.call_s) == (1.5, 7.0, 2.5, 60.0)
    assert [(a.offers(tool), a.allows(tool)) for tool in ("t", "u", "v")] == [
        (True, False),
        (False, True),
        (False, True),
    ]
    assert (b.command, b.url) == (None, "https://b.example.test/mcp")


def test_no_value_of_a_secret_is_told(tmp_path: Path) -> None:
    text = (
        f'[mcp_servers.a]\ncommand = "x"\nenv = {{K = "{SECRET}"}}\n'
        f'[mcp_servers.b]\nurl = "https://x.test"\nbearer_token_env_var = "TOKEN"\nhttp_headers = {{A = "{SECRET}"}}'
    )
    found = servers(tmp_path, text)
    assert SECRET not in repr(found)
    assert found["a"].environ["K"].get_secret_value() == SECRET
    assert found["b"].headers["authorization"].get_secret_value() == f"Bearer {SECRET}"


REFUSED = {
    'command = "x"\nurl = "https://x.test"': "mcp_servers.a.url",
    "enabled = true": "mcp_servers.a",
    'url = "https://x.test"\nbearer_token = "x"': "mcp_servers.a.bearer_token",
    'url = "https://x.test"\nargs = ["x"]': "mcp_servers.a.args",
    'command = ["x"]': "mcp_servers.a.command",
    'command = "x"\nenv = {A = 1}': "mcp_servers.a.env.A",
    'command = "x"\nstartup_timeout_sec = -1': "mcp_servers.a.startup_timeout_sec",
    'command = "x"\ndefault_tools_approval_mode = "zzz"': "mcp_servers.a.default_tools_approval_mode",
}


@pytest.mark.parametrize("table", REFUSED)
def test_what_the_cli_refuses_is_refused(tmp_path: Path, table: str) -> None:
    with pytest.raises(ConfigError) as refused:
        servers(tmp_path, f"[mcp_servers.a]\n{table}\n")
    assert (refused.value.key, refused.value.path) == (REFUSED[table], str(tmp_path / "ch" / "config.toml"))


def test_no_project_starts_a_program(tmp_path: Path) -> None:
    own = '[mcp_servers.a]\ncommand = "mine"\n'
    theirs = '[mcp_servers.a]\ncommand = "theirs"\n[mcp_servers.b]\ncommand = "theirs"\n'
    assert {name: each.command for name, each in servers(tmp_path, own, "", theirs).items()} == {"a": "mine"}


def test_an_administrator_decides_which_servers_are_used(tmp_path: Path) -> None:
    text = "".join(
        f"[mcp_servers.{name}]\n{line}\n"
        for name, line in {
            "same": 'command = "run"',
            "other": 'command = "walk"',
            "far": 'url = "https://x.test"',
            "elsewhere": 'url = "https://y.test"',
            "unnamed": 'command = "run"',
        }.items()
    )
    required = "".join(
        f"[mcp_servers.{name}.identity]\n{line}\n"
        for name, line in {
            "same": 'command = "run"',
            "other": 'command = "run"',
            "far": 'url = "https://x.test"',
            "elsewhere": 'url = "https://x.test"',
        }.items()
    )
    found = servers(tmp_path, text, required)
    assert [name for name, server in found.items() if not server.problem] == ["same", "far"]
    assert [name for name, server in servers(tmp_path, text).items() if server.problem] == []


FAR = McpServer("far", url="https://x.test/mcp")
HOUR_MS = 3_600_000


def stored(**more: object) -> dict[str, object]:
    """Return an entry as ``codex mcp login`` writes it."""
    now_ms = int(time.time() * 1000)
    entry = {
        "server_name": "far",
        "server_url": FAR.url,
        "access_token": "at",
        "expires_at": now_ms + HOUR_MS,
    }
    return {"far|0123": {**entry, "refresh_token": "rt", "client_id": "c", **more}}


def nothing(*_: str) -> None:
    """Read a keyring that has no entry."""


STORED = [
    (json.dumps(stored()), "Bearer at"),
    (json.dumps(stored(expires_at=None)), "Bearer at"),
    (json.dumps({"other": 7, **stored(), "more": []}), "Bearer at"),
    (json.dumps(stored(expires_at=1)), None),
    (json.dumps(stored(server_url="https://y.test/mcp")), None),
    (json.dumps(stored(server_name="near")), None),
    (json.dumps(stored(access_token="")), None),
    (json.dumps(stored(access_token="a\nb")), None),
    (json.dumps(stored(access_token=7)), None),
    ("[]", None),
    ("no JSON", None),
    ("", None),
]


def header_of(
    folder: Path, store: McpCredentialsStore = "auto", keyring: Callable[..., SecretStr | None] = nothing
) -> str | None:
    found = with_stored_token(FAR, folder, store, keyring).headers.get("authorization")
    return found and found.get_secret_value()


@pytest.mark.parametrize(("content", "header"), STORED)
def test_the_token_of_the_cli_is_used_while_it_is_good(
    tmp_path: Path, content: str, header: str | None
) -> None:
    (tmp_path / ".credentials.json").write_text(content)
    assert header_of(tmp_path) == header
    assert (tmp_path / ".credentials.json").read_text() == content


def entry(token: object = "kt", expires_at: object = None) -> str:
    """Return the text of a keyring entry as ``codex mcp login`` writes it."""
    response = {"access_token": token, "token_type": "bearer", "refresh_token": "r"}
    return json.dumps(
        {"server_name": "far", "url": FAR.url, "token_response": response, "expires_at": expires_at}
    )


@pytest.mark.parametrize(
    ("text", "header"),
    [
        (entry(), "Bearer kt"),
        (entry(expires_at=int(time.time() * 1000) + HOUR_MS), "Bearer kt"),
        (entry(expires_at=1), "Bearer at"),
        (entry("a\nb"), "Bearer at"),
        (entry(7), "Bearer at"),
        ('{"token_response": 7}', "Bearer at"),
        ("[]", "Bearer at"),
        ("no JSON", "Bearer at"),
        (None, "Bearer at"),
    ],
)
def test_the_keyring_comes_first_and_then_the_file(tmp_path: Path, text: str | None, header: str) -> None:
    (tmp_path / ".credentials.json").write_text(json.dumps(stored()))
    secret = None if text is None else SecretStr(text)
    found = {store: header_of(tmp_path, store, lambda *_: secret) for store in get_args(McpCredentialsStore)}
    in_keyring = header if header == "Bearer kt" else None
    assert found == {"auto": header, "file": "Bearer at", "keyring": in_keyring}


def test_a_keyring_that_cannot_be_read_is_told_where_no_token_is_found_elsewhere(tmp_path: Path) -> None:
    def refuse(*_: str) -> SecretStr | None:
        raise CredentialsUnreadable("It is locked.")

    with pytest.raises(CredentialsUnreadable, match="locked"):
        header_of(tmp_path, "auto", refuse)
    (tmp_path / ".credentials.json").write_text(json.dumps(stored()))
    assert header_of(tmp_path, "auto", refuse) == "Bearer at"
    with pytest.raises(CredentialsUnreadable, match="locked"):
        header_of(tmp_path, "keyring", refuse)
