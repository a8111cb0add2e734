"""The independent servers, started for the tests and stopped afterwards; loopback only, on free ports."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from codex_nb.http import httpx
from tests.servers import provision

MASTER_KEY = "sk-fabricated-master-key-0123456789abcdef"
START_S = 200.0

ADD = {"name": "add", "arguments": {"a": 2, "b": 3}}
MULTIPLY = {"name": "multiply", "arguments": {"a": 4, "b": 5}}
SCRIPT: list[dict[str, Any]] = [
    {
        "match": {"userMessage": "add 2 and 3", "hasToolResult": False},
        "response": {"toolCalls": [{"id": "call_add", **ADD}]},
    },
    {
        "match": {"userMessage": "add 2 and 3", "toolResultContains": "5"},
        "response": {"content": "The sum is 5."},
    },
    {
        "match": {"userMessage": "both", "hasToolResult": False},
        "response": {"toolCalls": [{"id": "call_add_again", **ADD}, {"id": "call_multiply", **MULTIPLY}]},
    },
    {"match": {"userMessage": "both", "hasToolResult": True}, "response": {"content": "5 and 20."}},
    {"match": {"userMessage": "too often"}, "response": {"error": {"message": "Slow down."}, "status": 429}},
    {
        "match": {"userMessage": "think"},
        "response": {"content": "After thought.", "reasoning": "Let me see."},
    },
    {"match": {"userMessage": "as JSON"}, "response": {"content": '{"answer": 42}'}},
    {"match": {"userMessage": "and then", "turnIndex": 1}, "response": {"content": "I remember."}},
    {"match": {"userMessage": "hello"}, "response": {"content": "Hello from the mock, grüezi 🚀."}},
]


@dataclass(frozen=True)
class Server:
    """A server that runs: ``base_url`` is what config.toml names, ``model`` what it is asked for."""

    base_url: str
    model: str = "gpt-5.5"
    key: str = "sk-fabricated"


# Below those that the system gives to connections: none of them takes a port between its choice and its use.
_PORTS = cycle(random.SystemRandom().sample(range(20_000, 32_000), 12_000))


def free_port() -> int:
    """Return a port of this machine on which nobody listens, another one each time."""
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port := next(_PORTS)))
            return port


@contextmanager
def program(command: list[str], folder: Path, ready_url: str, environ: Mapping[str, str]) -> Iterator[None]:
    """Run a server in the folder until the block ends; enter once it answers."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "output.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "HOME": str(folder), **environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_ready(process, ready_url, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            httpx.get(url, timeout=2.0, trust_env=False)
        except httpx.HTTPError:
            ended = process.poll() is not None
            if ended or time.monotonic() > deadline:
                said = log.read_text(errors="replace")[-2000:]
                raise AssertionError(f"the server did not come up: {said}") from None
            time.sleep(0.1)
        else:
            return


@contextmanager
def aimock(folder: Path) -> Iterator[Server]:
    script, config, port = folder / "script", folder / "aimock.json", free_port()
    script.mkdir(parents=True)
    (script / "script.json").write_text(json.dumps({"fixtures": SCRIPT}))
    config.write_text(json.dumps({"llm": {"fixtures": str(script)}}))
    command = [str(provision.aimock()), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    with program(command, folder, f"http://127.0.0.1:{port}/v1/models", {}):
        yield Server(f"http://127.0.0.1:{port}/v1")


@contextmanager
def litellm(folder: Path, upstream: Server) -> Iterator[Server]:
    """Yield the proxy; its model "passed" hands the Responses API through, "translated" makes it from chat."""
    config, port = folder / "litellm.json", free_port()
    folder.mkdir(parents=True)
    ways = {"passed": "openai/gpt-5.5", "translated": "deepseek/gpt-5.5"}
    where = {"api_base": upstream.base_url, "api_key": upstream.key, "max_retries": 0}
    models = [{"model_name": name, "litellm_params": {"model": way, **where}} for name, way in ways.items()]
    config.write_text(json.dumps({"model_list": models, "router_settings": {"num_retries": 0}}))
    command = [str(provision.litellm()), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    environ = {"LITELLM_MASTER_KEY": MASTER_KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "DO_NOT_TRACK": "1"}
    with program(command, folder, f"http://127.0.0.1:{port}/health/liveliness", environ):
        yield Server(f"http://127.0.0.1:{port}/v1", "translated", MASTER_KEY)


@contextmanager
def open_responses(folder: Path, upstream: Server) -> Iterator[Server]:
    port = free_port()
    app = "open_responses_server.server_entrypoint:app"
    command = [
        str(provision.open_responses()),
        "-m",
        "uvicorn",
        app,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    inner = upstream.base_url.removesuffix("/v1")
    environ = {"OPENAI_BASE_URL_INTERNAL": inner, "OPENAI_BASE_URL": inner, "OPENAI_API_KEY": upstream.key}
    with program(command, folder, f"http://127.0.0.1:{port}/health", environ):
        yield Server(f"http://127.0.0.1:{port}")


@contextmanager
def router(folder: Path, upstream: Server) -> Iterator[Server]:
    port, metrics = free_port(), free_port()
    command = [str(provision.router()), "-m", "sglang_router.launch_router", "--backend", "openai"]
    command += ["--worker-urls", upstream.base_url.removesuffix("/v1"), "--history-backend", "none"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--prometheus-host", "127.0.0.1", "--prometheus-port", str(metrics)]
    with program(command, folder, f"http://127.0.0.1:{port}/health", {}):
        yield Server(f"http://127.0.0.1:{port}/v1")
