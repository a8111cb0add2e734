"""Whole turns, including tools, on independent servers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Generator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from codex_nb.config.settings import load_settings
from codex_nb.errors import RateLimited
from codex_nb.http import httpx, open_http
from codex_nb.responses.client import ResponsesClient
from codex_nb.responses.events import OutputTextDelta, ResponseEvent, ResponseFinished
from codex_nb.responses.models import ModelCatalog
from codex_nb.responses.request import Backend, ResponsesRequest, choose_backend
from tests.patience import LONGEST_TEST_S
from tests.pictures import PIXEL_URL
from tests.servers.running import Server

# The first test waits until the slowest server is up.
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(LONGEST_TEST_S)]

# Open Responses takes no calls from a history that the client keeps, and no images: it has its own test below.
WHOLE = ("aimock", "litellm, passed", "litellm, translated", "router")
NAMES = (*WHOLE, "open responses")
LISTED = {"aimock": "gpt-4o", "litellm, passed": "passed", "router": "unknown", "open responses": "gpt-4o"}
REASONING = ("aimock", "litellm, passed", "router")
NUMBERS = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}
TOOLS = tuple(
    {
        "type": "function",
        "name": name,
        "description": f"{name} numbers",
        "strict": False,
        "parameters": NUMBERS,
    }
    for name in ("add", "multiply")
)
FUNCTIONS = {"add": lambda a, b: a + b, "multiply": lambda a, b: a * b}
MAX_STEPS = 4


class Key(httpx.Auth):
    """Signs with a fabricated key."""

    def __init__(self, key: str) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["authorization"] = f"Bearer {self._key}"
        yield request


@dataclass
class Thread:
    """A conversation with one server: the history grows by what was said."""

    client: ResponsesClient
    backend: Backend
    catalog: ModelCatalog
    request: ResponsesRequest
    events: list[ResponseEvent]

    def add(self, *items: dict[str, Any]) -> None:
        """Add items to the history."""
        self.request = replace(self.request, input=(*self.request.input, *items))

    async def step(self) -> ResponseFinished:
        async for event in self.client.stream(self.request):
            self.events.append(event)
        finished = self.events[-1]
        assert isinstance(finished, ResponseFinished)
        self.add(*finished.items)
        return finished

    async def turn(self, *content: str | dict[str, Any]) -> ResponseFinished:
        """Ask, and answer the model's calls until it has no more."""
        self.add(user(*content))
        for _ in range(MAX_STEPS):
            finished = await self.step()
            calls = [item for item in finished.items if item["type"] == "function_call"]
            if not calls:
                return finished
            self.add(*map(answered, calls))
        raise AssertionError("the model calls and calls")

    @property
    def shown(self) -> str:
        return "".join(event.delta for event in self.events if isinstance(event, OutputTextDelta))


def strict_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "strict": True, "schema": schema, "name": "answer"}


def user(*content: str | dict[str, Any]) -> dict[str, Any]:
    parts = [{"type": "input_text", "text": part} if isinstance(part, str) else part for part in content]
    return {"type": "message", "role": "user", "content": parts}


def answered(call: dict[str, Any]) -> dict[str, Any]:
    result = FUNCTIONS[call["name"]](**json.loads(call["arguments"]))
    return {"type": "function_call_output", "call_id": call["call_id"], "output": str(result)}


@asynccontextmanager
async def thread_with(server: Server, home: Path) -> AsyncIterator[Thread]:
    config = f'model_provider = "it"\n[model_providers.it]\nname = "It"\nbase_url = "{server.base_url}"\n'
    (home / "config.toml").write_text(config)
    settings = load_settings({"CODEX_HOME": str(home)})
    backend = choose_backend(settings, is_chatgpt_auth=False)
    developer = {
        "type": "message",
        "role": "developer",
        "content": [{"type": "input_text", "text": "Be brief."}],
    }
    request = ResponsesRequest(
        server.model, (developer,), TOOLS, effort="low", prompt_cache_key="thread-1", thread_id="thread-1"
    )
    async with open_http(settings, {}) as http:
        auth = Key(server.key)
        catalog = ModelCatalog(http, backend, auth, codex_home=home, identity=lambda: "it")
        yield Thread(ResponsesClient(http, backend, auth), backend, catalog, request, [])


def kinds(items: tuple[dict[str, Any], ...]) -> list[str]:
    """Give the items' types; reasoning, which some servers make up, does not count."""
    return [item["type"] for item in items if item["type"] != "reasoning"]


@pytest.mark.parametrize("name", NAMES)
async def test_a_text_turn(servers: Mapping[str, Server], name: str, tmp_path: Path) -> None:
    async with thread_with(servers[name], tmp_path) as thread:
        finished = await thread.turn("hello")
        assert finished.status == "completed"
        assert finished.text == thread.shown == "Hello from the mock, grüezi 🚀."
        assert kinds(finished.items) == ["message"]


@pytest.mark.parametrize("name", WHOLE)
async def test_a_tool_turn(servers: Mapping[str, Server], name: str, tmp_path: Path) -> None:
    async with thread_with(servers[name], tmp_path) as thread:
        finished = await thread.turn("please add 2 and 3")
        assert finished.text == "The sum is 5."
        history = thread.request.input
        said = ["message", "message", "function_call", "function_call_output", "message"]
        assert kinds(history) == said
        assert [item["output"] for item in history if item["type"] == "function_call_output"] == ["5"]


async def test_a_call_that_only_the_terminal_response_tells_is_whole(
    servers: Mapping[str, Server], tmp_path: Path
) -> None:
    async with thread_with(servers["open responses"], tmp_path) as thread:
        thread.add(user("please add 2 and 3"))
        [call] = (await thread.step()).items
        assert call["type"] == "function_call"
        assert answered(call)["output"] == "5"


@pytest.mark.parametrize("name", WHOLE)
async def test_two_calls_at_once(servers: Mapping[str, Server], name: str, tmp_path: Path) -> None:
    async with thread_with(servers[name], tmp_path) as thread:
        finished = await thread.turn("do both")
        assert finished.text == "5 and 20."
        outputs = [item["output"] for item in thread.request.input if item["type"] == "function_call_output"]
        assert outputs == ["5", "20"]


@pytest.mark.parametrize("name", NAMES)
async def test_a_second_turn_knows_the_first(
    servers: Mapping[str, Server], name: str, tmp_path: Path
) -> None:
    async with thread_with(servers[name], tmp_path) as thread:
        await thread.turn("hello")
        assert (await thread.turn("and then?")).text == "I remember."


@pytest.mark.parametrize("name", WHOLE)
async def test_an_image_goes_along(servers: Mapping[str, Server], name: str, tmp_path: Path) -> None:
    image = {"type": "input_image", "image_url": PIXEL_URL, "detail": "auto"}
    async with thread_with(servers[name], tmp_path) as thread:
        assert (await thread.turn(image, "hello")).text == "Hello from the mock, grüezi 🚀."


@pytest.mark.parametrize("name", WHOLE)
async def test_an_answer_by_a_schema(servers: Mapping[str, Server], name: str, tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}
    async with thread_with(servers[name], tmp_path) as thread:
        thread.request = replace(thread.request, text_format=strict_format(schema))
        assert json.loads((await thread.turn("as JSON")).text) == {"answer": 42}


@pytest.mark.parametrize("name", REASONING)
async def test_reasoning_comes_along_and_goes_back(
    servers: Mapping[str, Server], name: str, tmp_path: Path
) -> None:
    async with thread_with(servers[name], tmp_path) as thread:
        finished = await thread.turn("think")
        reasoning = finished.items[0]
        assert reasoning["type"] == "reasoning"
        assert (
            "".join(part["text"] for part in reasoning["summary"] or reasoning["content"]),
            finished.text,
        ) == ("Let me see.", "After thought.")
        assert finished.items[0] in thread.request.input


@pytest.mark.parametrize("name", WHOLE)
async def test_a_refusal_is_a_typed_error(servers: Mapping[str, Server], name: str, tmp_path: Path) -> None:
    async with thread_with(servers[name], tmp_path) as thread:
        thread.client = ResponsesClient(  # the waits are not the point here
            thread.client._http, thread.backend, thread.client._auth, sleep=no_wait
        )
        with pytest.raises(RateLimited, match="Slow down"):
            await thread.turn("too often")


async def no_wait(_: float) -> None:
    pass


@pytest.mark.parametrize("name", LISTED)
async def test_the_models_are_listed(servers: Mapping[str, Server], name: str, tmp_path: Path) -> None:
    async with thread_with(servers[name], tmp_path) as thread:
        assert LISTED[name] in [model.slug for model in await thread.catalog.models()]
