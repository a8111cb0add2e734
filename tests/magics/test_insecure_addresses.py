"""A login travels to https addresses and to this machine only; what else would carry it is not sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr

from codex_nb.auth.sources import ExternalTokens, TokenRequest
from codex_nb.cli import main
from codex_nb.simulator import Account, Simulator
from tests.magics.conftest import Notebook

FOREIGN = "http://gateway.lan:8080"
KEY = "sk-fabricated-key-of-a-provider-0123456789"
ANSWER = [
    {
        "type": "response.output_item.done",
        "item": {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Answered in clear text."}],
        },
    },
    {"type": "response.completed", "response": {"id": "resp_1", "status": "completed", "output": []}},
]


class Wire:
    """An HTTP proxy on this machine: it sees what goes to foreign addresses in clear text, and answers it."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        wire = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wire.seen.append(f"GET {self.path}\n{self.headers}")
                self.send_error(404)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                wire.seen.append(f"POST {self.path}\n{self.headers}")
                body = "".join(f"data: {json.dumps(event)}\n\n" for event in ANSWER).encode()
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """Let everything that is not for this machine pass a wire that is listened to."""
    found = Wire()
    thread = threading.Thread(target=found.server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("HTTP_PROXY", found.address)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


def builtin(sim: Simulator, *, chatgpt: str = "", openai: str = "") -> str:
    """The built-in provider; what is not said leads to the simulator."""
    lines = ['model = "gpt-5.5"', f'chatgpt_base_url = "{chatgpt or sim.chatgpt_base_url}"']
    return "\n".join([*lines, f'openai_base_url = "{openai}"' if openai else ""])


def provider(*lines: str, base_url: str = f"{FOREIGN}/v1") -> str:
    """A provider of the user's own."""
    head = ['model = "local"', 'model_provider = "lab"', "[model_providers.lab]", f'base_url = "{base_url}"']
    return "\n".join([*head, *lines])


handed: list[ExternalTokens] = []


def provide(request: TokenRequest) -> ExternalTokens:
    """Stand for the host program."""
    del request
    return handed[0]


Setup = Callable[[Simulator, Path, pytest.MonkeyPatch, Notebook], None]


def signed_in(sim: Simulator, codex_home: Path, monkeypatch: pytest.MonkeyPatch, notebook: Notebook) -> None:
    """A ChatGPT login."""
    del monkeypatch, notebook
    sim.write_login(codex_home)


def api_key(sim: Simulator, codex_home: Path, monkeypatch: pytest.MonkeyPatch, notebook: Notebook) -> None:
    """A login by API key."""
    del monkeypatch, notebook
    sim.write_api_key(codex_home)


def host_program(
    sim: Simulator, codex_home: Path, monkeypatch: pytest.MonkeyPatch, notebook: Notebook
) -> None:
    """A host program that hands tokens in."""
    del codex_home, monkeypatch
    tokens = sim.sign_in()
    handed[:] = [ExternalTokens(SecretStr(tokens.access_token), tokens.account.account_id, "plus")]
    notebook.run(f"%config CodexMagics.token_provider = '{__name__}:provide'")


def personal(sim: Simulator, codex_home: Path, monkeypatch: pytest.MonkeyPatch, notebook: Notebook) -> None:
    """A personal access token."""
    del codex_home, notebook
    monkeypatch.setenv("CODEX_ACCESS_TOKEN", sim.new_personal_token())


def agent(sim: Simulator, codex_home: Path, monkeypatch: pytest.MonkeyPatch, notebook: Notebook) -> None:
    """An agent identity."""
    del codex_home, notebook
    monkeypatch.setenv("CODEX_ACCESS_TOKEN", sim.new_agent_identity())


def variables(sim: Simulator, codex_home: Path, monkeypatch: pytest.MonkeyPatch, notebook: Notebook) -> None:
    """A key in the environment."""
    del sim, codex_home, notebook
    monkeypatch.setenv("CODEX_API_KEY", KEY)
    monkeypatch.setenv("LAB_KEY", KEY)


LOGINS: dict[str, Setup] = {
    "ChatGPT": signed_in,
    "API key": api_key,
    "host program": host_program,
    "personal access token": personal,
    "agent identity": agent,
    "CODEX_API_KEY": variables,
}
PLACES: dict[str, Callable[[Simulator], str]] = {
    "chatgpt_base_url": lambda sim: builtin(sim, chatgpt=f"{FOREIGN}/backend-api", openai=f"{FOREIGN}/v1"),
    "openai_base_url": lambda sim: builtin(sim, openai=f"{FOREIGN}/v1"),
    "a provider with OpenAI's login": lambda _: provider("requires_openai_auth = true"),
}
OWN_KEYS = {
    "env_key": 'env_key = "LAB_KEY"',
    "bearer": f'experimental_bearer_token = "{KEY}"',
    "command": f'auth = {{ command = "echo", args = ["{KEY}"] }}',
    "Authorization": f'http_headers = {{ Authorization = "Bearer {KEY}" }}',
    "api-key": f'http_headers = {{ api-key = "{KEY}" }}',
    "a header from a variable": 'env_http_headers = { X-Lab-Token = "LAB_KEY" }',
    "query": f'query_params = {{ key = "{KEY}" }}',
}
COMMANDS = ("hello", "models", "status", "usage")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("login", LOGINS)
def test_no_login_travels_in_clear_text(
    notebook: Notebook,
    codex_home: Path,
    sim: Simulator,
    wire: Wire,
    monkeypatch: pytest.MonkeyPatch,
    login: str,
    place: str,
) -> None:
    (codex_home / "config.toml").write_text(PLACES[place](sim))
    LOGINS[login](sim, codex_home, monkeypatch, notebook)
    notebook.run("%config CodexMagics.insecure_providers = ['openai']")
    ran = [notebook.run(f"%codex {command}") for command in COMMANDS]
    assert wire.seen == []
    assert ran[0].failure is not None
    assert FOREIGN in ran[0].out
    assert "https" in ran[0].out


@pytest.mark.parametrize("kind", OWN_KEYS)
def test_the_key_of_a_provider_of_ones_own_travels_in_clear_text_only_when_allowed(
    notebook: Notebook, codex_home: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("LAB_KEY", KEY)
    (codex_home / "config.toml").write_text(provider(OWN_KEYS[kind]))
    refused = [notebook.run(f"%codex {command}") for command in COMMANDS]
    assert wire.seen == []
    assert "insecure_providers = ['lab']" in refused[0].out
    notebook.run("%config CodexMagics.insecure_providers = ['other']")
    assert notebook.run("%codex hello").failure is not None
    assert wire.seen == []
    notebook.run("%config CodexMagics.insecure_providers = ['lab']")
    assert "Answered in clear text." in notebook.run("%codex hello").out
    assert KEY in wire.seen[-1]


def test_a_variable_allows_it_as_well(
    notebook: Notebook, codex_home: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_KEY", KEY)
    monkeypatch.setenv("CODEX_NB_INSECURE_PROVIDERS", "other, lab")
    (codex_home / "config.toml").write_text(provider(OWN_KEYS["env_key"]))
    assert "Answered in clear text." in notebook.run("%codex hello").out
    assert KEY in wire.seen[-1]


def test_an_access_token_does_not_travel_in_clear_text_even_to_an_allowed_provider(
    notebook: Notebook, codex_home: Path, wire: Wire
) -> None:
    (codex_home / "config.toml").write_text(provider("requires_openai_auth = true"))
    notebook.run("%config CodexMagics.insecure_providers = ['lab']")
    assert notebook.run("%codex hello").failure is not None
    assert wire.seen == []


def test_a_provider_without_any_credential_needs_no_setting(
    notebook: Notebook, codex_home: Path, wire: Wire
) -> None:
    (codex_home / "config.toml").write_text(provider())
    assert "Answered in clear text." in notebook.run("%codex hello").out


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_takes_no_login_along(
    notebook: Notebook, codex_home: Path, sim: Simulator, wire: Wire, status: int
) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.send_header("location", f"{FOREIGN}{self.path}")
            self.send_header("content-length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        own = f"http://127.0.0.1:{server.server_port}/v1"
        (codex_home / "config.toml").write_text(provider("requires_openai_auth = true", base_url=own))
        ran = notebook.run("%codex hello")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert ran.failure is not None
    assert wire.seen == []


@pytest.mark.parametrize("origin", ["http://gateway.lan:8080", "https://elsewhere.example"])
def test_a_workspace_cannot_lead_the_login_elsewhere(
    notebook: Notebook, codex_home: Path, sim: Simulator, wire: Wire, origin: str
) -> None:
    (codex_home / "config.toml").write_text(builtin(sim))
    sim.write_login(codex_home, Account(backend_origin=origin))
    ran = notebook.run("%codex hello")
    assert ran.failure is not None
    assert "workspace" in ran.out
    assert (wire.seen, sim.requests.to("/responses")) == ([], [])


def test_no_sign_in_is_begun_in_clear_text(
    codex_home: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    del codex_home
    monkeypatch.setenv("CODEX_APP_SERVER_LOGIN_ISSUER", FOREIGN)
    assert main(["login", "--with", "device"]) == 1
    assert FOREIGN in capsys.readouterr().err
    assert wire.seen == []
