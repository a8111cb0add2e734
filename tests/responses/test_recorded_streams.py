"""The client over the streams that other projects recorded, beside the reference's reading of them."""

from __future__ import annotations

from typing import Any

import pytest

from codex_nb.errors import BackendOverloaded, QuotaExceeded
from codex_nb.http import httpx
from codex_nb.responses.events import Usage
from tests.responses.corpus import Recording, needs_corpus, recordings
from tests.responses.fakes import EVENT_STREAM, Chunks, Outcome, outcome_of

Told = dict[str, Any]

pytestmark = [pytest.mark.anyio, needs_corpus]

# Where the reference has no answer, ours: it reads neither streams that end without a blank line nor error events.
OURS_TEXT = {
    "codex--cli_responses_fixture": "fixture hello",
    "prism--stream-multiple-output-items-1": "First messageSecond message",
}
OURS_ERROR = {
    "vercel--openai-openai-error-null-code.1": BackendOverloaded,
    "vercel--openai-openai-error.1": QuotaExceeded,
}
ANSWERED = [recording for recording in recordings() if recording.expected["sdk"].get("final")]


async def read(data: bytes, size: int) -> Outcome:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return await outcome_of([httpx.Response(200, headers=EVENT_STREAM, stream=Chunks(pieces))])


def test_the_recordings_are_all_there() -> None:
    assert len(recordings()) == 106
    unanswered = {recording.name for recording in recordings()} - {recording.name for recording in ANSWERED}
    assert unanswered == {*OURS_TEXT, *OURS_ERROR}


@pytest.mark.parametrize("size", [1024, 37], ids="chunks of {}".format)
@pytest.mark.parametrize("recording", ANSWERED, ids=lambda recording: recording.name)
async def test_a_recording_gives_the_references_answer(recording: Recording, size: int) -> None:
    expected = recording.expected["sdk"]["final"]
    finished = (await read(recording.responses[-1], size)).finished
    assert finished.response_id == expected["id"]
    assert finished.status == expected["status"]
    assert finished.model == expected["model"]
    assert [item["type"] for item in finished.items] == expected["output_item_types"]
    assert calls_of(finished.items, expected["tool_calls"]) == expected["tool_calls"]
    assert finished.text == (expected["output_text"] or "".join(expected["refusals"]))
    assert finished.usage == counted(expected["usage"] or {})


def calls_of(items: tuple[Told, ...], like: list[Told]) -> list[Told]:
    """Give the calls among the items, each with the fields that the reference looks at."""
    calls = [item for item in items if item["type"] in {call["type"] for call in like}]
    return [{key: call.get(key) for key in keys} for call, keys in zip(calls, like, strict=True)]


def counted(usage: Told) -> Usage:
    """Give the reference's counters as ours."""
    cached = (usage.get("input_tokens_details") or {}).get("cached_tokens")
    reasoning = (usage.get("output_tokens_details") or {}).get("reasoning_tokens")
    counters = (
        usage.get("input_tokens"),
        cached,
        usage.get("output_tokens"),
        reasoning,
        usage.get("total_tokens"),
    )
    return Usage(*(counter or 0 for counter in counters))


@pytest.mark.parametrize("name", OURS_TEXT)
async def test_a_last_event_without_its_blank_line_is_the_end(name: str) -> None:
    [recording] = [recording for recording in recordings() if recording.name == name]
    finished = (await read(recording.data, 100)).finished
    assert (finished.status, finished.text) == ("completed", OURS_TEXT[name])


@pytest.mark.parametrize("name", OURS_ERROR)
async def test_a_recorded_error_event_is_a_typed_error(name: str) -> None:
    [recording] = [recording for recording in recordings() if recording.name == name]
    assert type((await read(recording.data, 100)).error) is OURS_ERROR[name]
