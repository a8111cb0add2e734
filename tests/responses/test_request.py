"""What is sent, byte for byte."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import zstandard

from codex_nb.config.settings import Provider
from codex_nb.http import httpx
from codex_nb.responses.request import (
    Backend,
    ResponsesRequest,
    choose_backend,
    request_body,
    request_headers,
)
from tests.responses.conversations import CALL, REASONING, answer, message
from tests.responses.fakes import API, CHATGPT, LOCAL, QUESTION, REQUEST, SETTINGS, outcome_of, stream_of

DEVELOPER = {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]}
TOOL = {
    "type": "function",
    "name": "run_python",
    "description": "Runs code.",
    "strict": False,
    "parameters": {"type": "object", "properties": {"code": {"type": "string"}}},
}
FULL = ResponsesRequest(
    model="gpt-5.5",
    input=(DEVELOPER, QUESTION),
    tools=(TOOL,),
    effort="medium",
    summary="auto",
    verbosity="low",
    service_tier="priority",
    text_format={
        "type": "json_schema",
        "strict": True,
        "schema": {"type": "object"},
        "name": "codex_output_schema",
    },
    prompt_cache_key="thread-1",
    thread_id="thread-1",
    turn_id="turn-1",
)


def body(request: ResponsesRequest, backend: Backend = CHATGPT) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(request_body(request, backend))
    return told


def test_a_full_request_has_the_keys_of_the_cli_in_its_order() -> None:
    sent = body(FULL)
    assert list(sent.items()) == [
        ("model", "gpt-5.5"),
        ("stream", True),
        ("input", [DEVELOPER, QUESTION]),
        ("tools", [TOOL]),
        ("tool_choice", "auto"),
        ("parallel_tool_calls", True),
        ("reasoning", {"effort": "medium", "summary": "auto"}),
        ("store", False),
        ("include", ["reasoning.encrypted_content"]),
        ("service_tier", "priority"),
        ("prompt_cache_key", "thread-1"),
        (
            "text",
            {
                "verbosity": "low",
                "format": {
                    "type": "json_schema",
                    "strict": True,
                    "schema": {"type": "object"},
                    "name": "codex_output_schema",
                },
            },
        ),
        ("client_metadata", {"thread_id": "thread-1", "session_id": "thread-1", "turn_id": "turn-1"}),
    ]


def test_there_is_no_instructions_field_and_nothing_that_was_not_asked_for() -> None:
    sent = body(ResponsesRequest(model="m", input=(QUESTION,), is_reasoning=False), API)
    assert sent == {"model": "m", "stream": True, "input": [QUESTION], "store": False}


def test_the_api_is_sent_no_metadata() -> None:
    assert "client_metadata" not in body(FULL, API)


def test_no_host_is_asked_to_keep_responses() -> None:
    provider = Provider(id="azure", base_url="https://corp.openai.azure.com/openai/v1")
    azure = choose_backend(replace(SETTINGS, provider=provider), is_chatgpt_auth=False)
    assert [body(REQUEST, backend)["store"] for backend in (CHATGPT, API, LOCAL, azure)] == [False] * 4


def test_a_lite_model_takes_its_tools_as_the_first_item() -> None:
    sent = body(replace(FULL, is_lite=True))
    first, *rest = sent["input"]
    assert rest == [DEVELOPER, QUESTION]
    assert {key: value for key, value in first.items() if key != "id"} == {
        "type": "additional_tools",
        "role": "developer",
        "tools": [{"type": "namespace", "name": "functions", "description": "", "tools": [TOOL]}],
    }
    assert first["id"].startswith("at_")
    assert "tools" not in sent
    assert sent["parallel_tool_calls"] is False
    assert sent["reasoning"] == {"effort": "medium", "summary": "auto", "context": "all_turns"}


@pytest.mark.parametrize("backend", [CHATGPT, API, LOCAL], ids=["chatgpt", "api", "local"])
def test_every_backend_is_asked_for_reasoning_as_the_cli_asks_for_it(backend: Backend) -> None:
    sent = body(ResponsesRequest(model="m", input=(QUESTION,)), backend)
    assert (sent["reasoning"], sent["include"]) == ({}, ["reasoning.encrypted_content"])
    lite = replace(FULL, is_lite=True)
    assert body(lite, backend)["reasoning"]["context"] == "all_turns"
    assert request_headers(lite, backend)["x-openai-internal-codex-responses-lite"] == "true"


@pytest.mark.parametrize("backend", [CHATGPT, API, LOCAL], ids=["chatgpt", "api", "local"])
@pytest.mark.parametrize("is_lite", [True, False])
def test_the_second_turn_begins_with_the_bytes_of_the_first(backend: Backend, is_lite: bool) -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"}
    first = replace(FULL, input=(DEVELOPER, {**QUESTION, "content": [image]}), is_lite=is_lite)
    output = {"type": "function_call_output", "call_id": "call_1", "output": "2"}
    second = replace(
        first,
        input=(*first.input, REASONING, CALL, output, message("Zwei, 二."), QUESTION),
        turn_id="turn-2",
    )
    before, after = request_body(first, backend), request_body(second, backend)
    shared = before.partition(b'],"tool')[0]
    assert after.startswith(shared + b',{"type":"reasoning"')
    assert shared.count(b'"type":"message"') == 2


def test_items_go_back_exactly_as_they_came() -> None:
    odd = {"type": "hologram", "id": "holo_1", "z": None, "a": [1, 2.5, {"nested": True}]}
    assert body(replace(REQUEST, received=(odd, REASONING)))["input"] == [QUESTION, odd, REASONING]
    assert list(body(replace(REQUEST, received=(odd,)))["input"][1]) == list(odd)


def test_text_is_sent_as_utf8_and_half_characters_as_question_marks() -> None:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "grün 🚀 \ud83d!"}]}
    assert 'grün 🚀 ?!"'.encode() in request_body(replace(REQUEST, input=(item,)), API)


HEADERS = {
    "accept": "text/event-stream",
    "accept-encoding": "identity",
    "content-type": "application/json",
    "x-client-request-id": "thread-1",
    "session-id": "thread-1",
    "thread-id": "thread-1",
}


def test_the_chatgpt_backend_is_told_thread_state_and_model() -> None:
    assert request_headers(replace(REQUEST, turn_state="st_1", is_lite=True), CHATGPT) == {
        **HEADERS,
        "x-codex-turn-state": "st_1",
        "x-codex-routing-hint": "model=gpt-5.5",
        "x-openai-internal-codex-responses-lite": "true",
    }


def test_other_backends_are_told_the_thread_and_what_the_config_says() -> None:
    assert request_headers(REQUEST, API) == HEADERS
    assert request_headers(REQUEST, replace(LOCAL, headers={"x-team": "ada"})) == {**HEADERS, "x-team": "ada"}


@pytest.mark.anyio
async def test_a_request_says_who_asks() -> None:
    sent = (await outcome_of([stream_of(*answer())])).requests[0].headers
    assert sent["originator"] == "codex_nb"
    assert sent["user-agent"].startswith("codex_nb/")
    assert sent["user-agent"].endswith(" codex_nb")


@pytest.mark.anyio
async def test_the_chatgpt_backend_gets_compressed_bodies_and_no_other() -> None:
    [compressed] = (await outcome_of([stream_of(*answer())], backend=CHATGPT)).requests
    assert compressed.headers["content-encoding"] == "zstd"
    assert zstandard.ZstdDecompressor().decompress(compressed.content) == request_body(REQUEST, CHATGPT)
    [plain] = (await outcome_of([stream_of(*answer())], backend=API)).requests
    assert "content-encoding" not in plain.headers
    assert plain.content == request_body(REQUEST, API)


@pytest.mark.anyio
async def test_a_providers_query_goes_along() -> None:
    backend = replace(LOCAL, query={"api-version": "2026-10-01"})
    [request] = (await outcome_of([stream_of(*answer())], backend=backend)).requests
    assert request.url == httpx.URL("http://127.0.0.1:9/v1/responses?api-version=2026-10-01")
