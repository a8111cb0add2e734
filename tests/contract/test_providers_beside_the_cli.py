"""A custom provider in config.toml: both programs send it the same settings."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from codex_nb.simulator import Simulator
from tests.contract.cli import CodexCli
from tests.contract.recording import RecordingServer, recording
from tests.contract.test_both_directions import ours

ASK = """
import codex_nb

@codex_nb.tool
def look(cmd: str) -> str:
    "Looks at something."
    return "seen"

answer = codex_nb.ask("say hi", tools=[look], approval="all")
assert answer.text == "Hi.", answer
"""
SETTINGS = ("model", "reasoning", "include", "text", "store", "parallel_tool_calls", "tool_choice")
HEADERS = ("authorization", "chatgpt-account-id", "x-openai-internal-codex-responses-lite")


def told(request: BaseHTTPRequestHandler, body: dict[str, Any]) -> dict[str, Any]:
    """What of a request depends on the configuration; the programs' tools are their own."""
    return {
        **{key: body[key] for key in SETTINGS if key in body},
        **{name: request.headers[name] for name in HEADERS if name in request.headers},
        "tools": "tools" in body,
        "first": body["input"][0]["type"],
    }


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    """Listen until the test ends."""
    with recording(told, notes_gets=True) as found:
        yield found


def compare(
    program: Path, folder: Path, server: RecordingServer, config: str, environ: dict[str, str] | None = None
) -> None:
    """Let both programs ask in the same home."""
    with Simulator() as sim:
        cli = CodexCli(program, sim, folder, environ or {})
        cli.configure(config.replace("BASE_URL", server.base_url))
        asked = cli.ask("say hi")
        assert asked.text == "Hi.", asked.words
        theirs, server.seen[:] = list(server.seen), []
        answer = ours(cli, "-c", ASK)
    assert answer.code == 0, answer.words
    assert server.seen == theirs


def config_of(model: str, top: str = "", provider: str = "") -> str:
    """A config.toml with a provider of one's own."""
    return (
        f'model = "{model}"\nmodel_provider = "lab"\n{top}\n'
        f'[model_providers.lab]\nname = "Lab"\nbase_url = "BASE_URL"\nwire_api = "responses"\n{provider}\n'
    )


MODELS = (
    "gpt-5.5",
    "gpt-6.1-sol",
    "an-unknown-model",
    "gpt-5.6-sol",
    "gpt-5.5-2026-11-01",
    "openai/gpt-6.1-sol",
    "some/gateway/gpt-5.5",
    "gpt-daybreak-red-latest",
    "gpt-4o",
)


@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_asked_by_its_name_as_the_cli_asks_it(
    codex_program: Path, tmp_path: Path, server: RecordingServer, model: str
) -> None:
    compare(codex_program, tmp_path, server, config_of(model))


WISHES = (
    'model_reasoning_effort = "minimal"',
    'model_reasoning_effort = "max"\nmodel_verbosity = "high"',
    'model_reasoning_effort = "ultra"\nmodel_reasoning_summary = "detailed"',
    'model_reasoning_effort = "none"\nmodel_reasoning_summary = "none"',
)


@pytest.mark.parametrize("model", ["gpt-5.5", "gpt-6.1-sol", "gpt-5.6-sol", "an-unknown-model"])
@pytest.mark.parametrize("wish", WISHES)
def test_what_is_configured_is_sent_as_the_cli_sends_it(
    codex_program: Path, tmp_path: Path, server: RecordingServer, model: str, wish: str
) -> None:
    compare(codex_program, tmp_path, server, config_of(model, wish))


KEY = "sk-fabricated-key-0123456789"
CREDENTIALS = (
    'http_headers = { Authorization = "Basic Zm9vOmJhcg==" }',
    'http_headers = { authorization = "Token abc def" }',
    'http_headers = { ChatGPT-Account-Id = "mine" }',
    'http_headers = { Authorization = "Basic Zm9v" }\nenv_key = "LAB_KEY"',
    f'http_headers = {{ Authorization = "Basic Zm9v" }}\nexperimental_bearer_token = "{KEY}"',
    'env_http_headers = { Authorization = "LAB_HEADER" }',
    'http_headers = { Authorization = "Basic Zm9v" }\nenv_http_headers = { Authorization = "LAB_HEADER" }',
)


@pytest.mark.parametrize("provider", CREDENTIALS)
def test_the_same_credential_signs(
    codex_program: Path, tmp_path: Path, server: RecordingServer, provider: str
) -> None:
    environ = {"LAB_KEY": KEY, "LAB_HEADER": "Bearer from-the-environment"}
    compare(codex_program, tmp_path, server, config_of("gpt-5.5", provider=provider), environ)


def test_a_file_with_a_byte_order_mark_is_read(
    codex_program: Path, tmp_path: Path, server: RecordingServer
) -> None:
    compare(codex_program, tmp_path, server, "\ufeff" + config_of("gpt-5.5"))
