"""MCP servers and web search of one config.toml, through the CLI and through codex_nb."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import certifi
import pytest

from codex_nb.config.settings import Environment, load_settings
from codex_nb.errors import ConfigError
from codex_nb.profile import make_profile
from codex_nb.session.prompt import TurnRequest
from codex_nb.simulator import Call, End, Reply, Say, Scenario
from codex_nb.simulator.server import Provider
from codex_nb.tools.base import Ports
from tests.contract.cli import AppServer, CodexCli
from tests.contract.secret_service import desktop
from tests.contract.test_agent import Place
from tests.patience import PATIENCE_S
from tests.session.scripted import SameThread
from tests.session.test_mcp import GRACE, HINTS, Asked, calls, hostile, http_server, listed, program
from tests.session.test_search import MODES
from tests.settings.test_mcp_servers import REFUSED

pytestmark = pytest.mark.anyio


def start_thread(server: AppServer) -> str:
    """Start a thread; a server that is required is then ready."""
    thread: str = server.ask("thread/start", approvalPolicy="on-request", sandbox="read-only")["thread"]["id"]
    return thread


def their_tools(cli: CodexCli) -> dict[str, set[str]]:
    with cli.app_server() as server:
        start_thread(server)
        found = server.ask("mcpServerStatus/list")["data"]
    return {each["name"]: set(each["tools"]) for each in found}


def their_calls(cli: CodexCli, *wanted: tuple[str, dict[str, Any]]) -> tuple[list[str], dict[str, str]]:
    """Call tools of the server ``demo``; return which were asked for, and what the model was told of each."""
    replies = [
        Reply(stream=(Call(name, each, f"call_{name}", namespace="mcp__demo"), End()))
        for name, each in wanted
    ]
    asked: list[str] = []
    with cli.app_server() as server:
        thread = start_thread(server)
        cli.sim.play(Scenario((*replies, Reply(stream=(Say("Done."), End())))))
        words = [{"type": "text", "text": "go", "text_elements": []}]
        server.send(id=99, method="turn/start", params={"threadId": thread, "input": words})
        for message in server.messages():
            if message.get("method") == "mcpServer/elicitation/request":
                asked.append(message["params"]["message"])
                server.send(id=message["id"], result={"action": "accept", "content": {}})
            if message.get("method") == "turn/completed":
                break
    items = cli.sim.requests.to("/responses", "POST")[-1].body["input"]
    outputs = {item["call_id"]: item["output"] for item in items if item["type"] == "function_call_output"}
    names = [next(name for name, _ in wanted if f'"{name}"' in text) for text in asked]
    return names, {name: str(outputs[f"call_{name}"]) for name, _ in wanted}


async def our_turn(cli: CodexCli, **more: Any) -> tuple[list[str], dict[str, set[str]], list[str]]:
    """Ask once in the CLI's home; return the tools asked for, those of each server, and the results."""
    environ, asked = cli.environ(), Asked()
    profile = make_profile(load_settings(environ), Environment(environ))
    try:
        request = TurnRequest("go", **{"uses_servers": True, **more})
        answer = await profile.assistant.answer(request, ports=Ports(SameThread()), approver=asked)
        states = profile.assistant.servers().states()
    finally:
        await profile.close()
    tools = {each.name: {tool.listed_name for tool in each.tools} for each in states}
    names = [each.tool.rpartition("__")[2] for each in asked.requests]
    return names, tools, [call.output or "" for call in answer.tool_calls]


async def test_the_same_tools_are_listed_of_programs_and_over_http(cli: CodexCli) -> None:
    three = [listed("a"), listed("b c"), listed("d")]
    with http_server() as (url, _):
        tables = (
            hostile("some", tools=three, more='disabled_tools = ["a"]\nrequired = true')
            + hostile("few", tools=three, more='enabled_tools = ["d", "x"]\nrequired = true')
            + hostile("off", more="enabled = false")
            + program("demo", "mcp_demo.py", more="required = true")
            + f'[mcp_servers.far]\nurl = "{url}"\nbearer_token_env_var = "MCP_TOKEN"\nrequired = true\n'
        )
        cli.more_environ["MCP_TOKEN"] = "right"
        cli.configure(f"{GRACE}{cli.sim.config_toml()}\n{tables}")
        cli.sim.write_login(cli.home)
        theirs = their_tools(cli)
        _, ours, _ = await our_turn(cli)
    assert ours == theirs
    assert theirs["far"] == {"add", "echo", "variables"}


@pytest.mark.parametrize("store", ["file", "keyring", "auto"])
async def test_a_sign_in_by_the_cli_serves_codex_nb_too(
    cli: CodexCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    with http_server() as (url, _), desktop(tmp_path) as (keyring, bus):
        cli.more_environ["DBUS_SESSION_BUS_ADDRESS"] = bus
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", bus)
        table = f'mcp_oauth_credentials_store = "{store}"\n{cli.sim.config_toml()}\n[mcp_servers.far]\n'
        cli.configure(f'{GRACE}{table}url = "{url}"\n')
        cli.sim.write_login(cli.home)
        _, before, _ = await our_turn(cli)
        with cli.running("mcp", "login", "far") as login:
            address = next(
                (line for line in login.stdout if "/authorization?" in line), "no address was told"
            )
            await asyncio.to_thread(lambda: urllib.request.urlopen(address.strip()).read())
            assert login.wait(PATIENCE_S) == 0
        stored = {path: each.secret for path, each in keyring.items.items()}
        _, after, _ = await our_turn(cli)
        assert {path: each.secret for path, each in keyring.items.items()} == stored
    assert (before, after) == ({"far": set()}, {"far": {"add", "echo", "variables"}})
    assert (len(stored), (cli.home / ".credentials.json").exists()) == (
        (0, True) if store == "file" else (1, False)
    )


async def test_an_agent_gets_the_tools_of_servers_from_us_behind_our_approval(
    codex_program: Path, cli: CodexCli, tmp_path: Path
) -> None:
    place = Place(codex_program, cli.sim, cli.home, tmp_path)
    (cli.home / "config.toml").write_text(f"{GRACE}{cli.sim.config_toml()}\n{hostile('demo')}")
    cli.sim.write_login(cli.home)
    place.calls(Call("mcp_demo__ping", {}, "call_1"))
    async with place.opened() as profile:
        _, last = await place.ask(profile, "go", approver=(asked := Asked()), uses_servers=True)
        await place.ask(profile, "go", thread="u", uses_servers=True, without=frozenset({"mcp__demo__ping"}))
    assert [request.summary for request in asked.requests] == ["Calls ping of the MCP server demo."]
    assert [(call.name, call.output) for call in last.answer.tool_calls] == [("mcp_demo__ping", "pong")]
    first, *_, second = place.sent()
    assert [json.dumps(body["tools"]).count('"mcp_demo__ping"') for body in (first, second)] == [1, 0]


# What the CLI asks for by mode; codex_nb takes no server's word for it that a tool only reads.
ASKED = {
    None: ({"plain", "wipes"}, {"plain", "looks", "wipes"}),
    "auto": ({"plain", "wipes"}, {"plain", "looks", "wipes"}),
    "writes": ({"plain", "wipes"}, {"plain", "looks", "wipes"}),
    "prompt": ({"plain", "looks", "wipes"}, {"plain", "looks", "wipes"}),
    "approve": (set[str](), set[str]()),
}


@pytest.mark.parametrize("mode", ASKED)
async def test_the_same_approvals_are_asked_for_and_more_where_a_server_says_that_it_only_reads(
    cli: CodexCli, mode: str | None
) -> None:
    tools = [listed(name, annotations=hints) for name, (hints, _) in HINTS.items()]
    more = f"required = true\n{f'default_tools_approval_mode = {json.dumps(mode)}' if mode else ''}"
    cli.configure(f"{GRACE}{cli.sim.config_toml()}\n{hostile('demo', tools=tools, more=more)}")
    cli.sim.write_login(cli.home)
    theirs, outputs = their_calls(cli, *((name, {}) for name in HINTS))
    cli.sim.play(calls(*((f"mcp__demo__{name}", {}) for name in HINTS)))
    ours, _, _ = await our_turn(cli)
    assert all("pong" in output for output in outputs.values()), outputs
    assert (set(theirs), set(ours)) == ASKED[mode]


CERTIFICATES = """
    SSL_CERT_FILE REQUESTS_CA_BUNDLE CURL_CA_BUNDLE PIP_CERT NODE_EXTRA_CA_CERTS GIT_SSL_CAINFO CARGO_HTTP_CAINFO
    BUNDLE_SSL_CA_CERT NPM_CONFIG_CAFILE npm_config_cafile AWS_CA_BUNDLE
"""
OTHERS = """
    LANG LC_ALL TZ TERM SHELL USER LOGNAME PYTHONPATH LD_LIBRARY_PATH EDITOR DISPLAY HOSTNAME PWD OPENAI_API_KEY
    GITHUB_TOKEN AWS_SECRET_ACCESS_KEY XDG_CONFIG_HOME SSH_AUTH_SOCK VIRTUAL_ENV COLORTERM SSL_CERT_DIR NAMED
"""


async def test_a_program_gets_the_same_variables(cli: CodexCli, tmp_path: Path) -> None:
    own = cli.environ()
    variables = dict.fromkeys(CERTIFICATES.split(), certifi.where()) | dict.fromkeys(OTHERS.split(), "x")
    variables |= {"NO_PROXY": "127.0.0.1", "HTTPS_PROXY": "http://127.0.0.1:9", "TMPDIR": str(tmp_path)}
    cli.more_environ |= {name: value for name, value in variables.items() if name not in own}
    more = 'required = true\nenv_vars = ["NAMED"]\nenv = {OWN = "1"}\ndefault_tools_approval_mode = "approve"'
    cli.configure(f"{GRACE}{cli.sim.config_toml()}\n{program('demo', 'mcp_demo.py', more=more)}")
    cli.sim.write_login(cli.home)
    _, outputs = their_calls(cli, ("variables", {}))
    cli.sim.play(calls(("mcp__demo__variables", {})))
    _, _, (ours,) = await our_turn(cli)
    theirs = json.loads(outputs["variables"].partition("Output:\n")[2])["result"]
    assert set(json.loads(ours)["result"]) == set(theirs)
    assert {"NAMED", "OWN", "PATH", "HOME"} <= set(theirs)


LOADED = ('command = "x"\nan_unknown_key = 1', 'url = "no address"', 'command = "x"\ntool_timeout_sec = 0')


@pytest.mark.parametrize("table", [*REFUSED, *LOADED])
async def test_a_table_is_refused_where_the_cli_refuses_it(cli: CodexCli, table: str) -> None:
    cli.configure(f"{cli.sim.config_toml()}\n[mcp_servers.a]\n{table}\n")
    is_refused = cli.run("mcp", "list").code != 0
    with pytest.raises(ConfigError) if is_refused else nullcontext():
        load_settings(cli.environ())
    assert is_refused == (table in REFUSED)


@pytest.mark.parametrize(
    "lines",
    [
        *(f'web_search = "{mode}"' for mode, option in MODES if mode and option is None),
        'web_search = "live"\ntools.web_search.context_size = "low"\ntools.web_search.allowed_domains = ["a.test"]',
        'web_search = "cached"\ntools.web_search.location = {country = "DE", city = "Berlin"}',
        'web_search = "cached"\ntools.web_search = true',
    ],
)
@pytest.mark.parametrize("model", ["simulator-classic", "gpt-5.5"])
async def test_the_same_tool_searches_the_web(cli: CodexCli, lines: str, model: str) -> None:
    theirs, ours = await search_tools(cli, "api", model, lines)
    assert ours == theirs


@pytest.mark.parametrize("login", ["api", "builtin", "custom"])
@pytest.mark.parametrize("lines", ["", "tools.web_search = true"])
async def test_nothing_searches_the_web_unless_it_is_set_where_the_clis_default_is_cached(
    cli: CodexCli, lines: str, login: Provider
) -> None:
    theirs, ours = await search_tools(cli, login, "gpt-5.5", lines)
    assert [tool["external_web_access"] for tool in theirs] == [False]
    assert ours == []


async def search_tools(cli: CodexCli, login: Provider, model: str, lines: str) -> list[list[dict[str, Any]]]:
    """Return what each of the programs offers the model to search with."""
    cli.configure(f'model = "{model}"\n{lines}\n{cli.sim.config_toml(login)}')
    if login == "api":
        cli.sim.write_api_key(cli.home)
    else:
        cli.sim.write_login(cli.home)
    assert cli.ask("hi").code == 0
    await our_turn(cli, uses_servers=False, searches=None)
    return [
        [tool for tool in each.body.get("tools", ()) if tool["type"] == "web_search"]
        for each in cli.sim.requests.to("/responses", "POST")
    ]
