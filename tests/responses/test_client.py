"""One stream of events from one or more requests: what is repeated, what is carried over, what is told."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codex_nb.errors import (
    BadRequest,
    ContextWindowExceeded,
    ModelUnavailable,
    SignInRequired,
    StreamInterrupted,
)
from codex_nb.http import Route, httpx, open_http
from codex_nb.responses.client import Attempts, ResponsesClient, RetryPolicy
from codex_nb.responses.events import (
    LimitsSeen,
    OutputItemDone,
    OutputTextDelta,
    RateLimits,
    ReasoningSummaryTextDelta,
    ResponseFinished,
    RetryScheduled,
    UnknownEvent,
    Usage,
    Window,
)
from codex_nb.responses.models import ModelCatalog
from tests.responses.conversations import (
    CALL,
    REASONING,
    USAGE,
    added,
    answer,
    completed,
    created,
    done,
    failed,
    message,
    spoken,
    text_delta,
)
from tests.responses.fakes import (
    API,
    CHATGPT,
    LOCAL,
    QUESTION,
    REQUEST,
    SETTINGS,
    Chunks,
    Outcome,
    outcome_of,
    stream_of,
)

pytestmark = pytest.mark.anyio

OVERLOADED = httpx.Response(503, json={"error": {"message": "busy"}})


def body_of(request: httpx.Request) -> dict[str, Any]:
    data = request.content
    if request.headers.get("content-encoding") == "zstd":
        import zstandard

        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    told: dict[str, Any] = json.loads(data)
    return told


def shown(outcome: Outcome) -> str:
    """Give the text as a view shows it: deltas by item; what is not complete is taken away before a retry."""
    texts: dict[str, str] = {}
    complete: set[str] = set()
    for event in outcome.events:
        match event:
            case OutputTextDelta():
                texts[event.item_id] = texts.get(event.item_id, "") + event.delta
            case OutputItemDone():
                complete.add(event.item_id)
            case RetryScheduled():
                texts = {key: text for key, text in texts.items() if key in complete}
            case _:
                pass
    return "|".join(texts.values())


async def test_an_answer_ends_in_one_event_that_holds_all_of_it() -> None:
    outcome = await outcome_of(
        [stream_of(*answer("Hello."), x_request_id="req_1", x_codex_turn_state="st_1")]
    )
    assert outcome.finished == ResponseFinished(
        response_id="resp_1",
        status="completed",
        items=(REASONING, message("Hello.")),
        text="Hello.",
        usage=Usage.parse(USAGE),
        model="gpt-5.5",
        request_id="req_1",
        turn_state="st_1",
    )
    assert shown(outcome) == "Hello."
    assert (len(outcome.requests), outcome.sleeps) == (1, [])


async def test_items_that_only_the_terminal_response_tells_are_there() -> None:
    outcome = await outcome_of([stream_of(completed(message("Late.")))])
    assert outcome.finished.items == (message("Late."),)


async def test_items_that_the_terminal_response_forgets_are_there() -> None:
    outcome = await outcome_of([stream_of(created(), *spoken("Early."), completed())])
    assert outcome.finished.items == (message("Early."),)


async def test_a_forgotten_item_keeps_its_place_before_what_follows_it() -> None:
    events = [done(REASONING, 0), done(CALL, 1), completed(CALL)]
    assert (await outcome_of([stream_of(*events)])).finished.items == (REASONING, CALL)


async def test_the_final_text_wins_over_deltas_that_disagree() -> None:
    events = [created(), added(message(""), 0), text_delta("Wrnog"), done(message("Right"), 0), completed()]
    assert (await outcome_of([stream_of(*events)])).finished.text == "Right"


async def test_the_terminal_response_has_the_last_word_on_an_item() -> None:
    events = [done(message("First thought"), 0), completed(message("Second thought"))]
    assert (await outcome_of([stream_of(*events)])).finished.text == "Second thought"


async def test_the_sealed_reasoning_survives_a_terminal_response_without_it() -> None:
    bare = {key: value for key, value in REASONING.items() if key != "encrypted_content"}
    outcome = await outcome_of([stream_of(done(REASONING, 0), completed(bare))])
    assert outcome.finished.items == (REASONING,)


async def test_text_that_only_deltas_tell_becomes_a_message() -> None:
    events = [created(), added(message(""), 0), text_delta("All "), text_delta("there is."), completed()]
    finished = (await outcome_of([stream_of(*events)])).finished
    assert finished.text == "All there is."
    assert [(item["type"], item["id"]) for item in finished.items] == [("message", "msg_1")]


async def test_half_a_call_is_not_an_item() -> None:
    half = {
        "type": "response.function_call_arguments.delta",
        "item_id": "fc_1",
        "output_index": 0,
        "delta": '{"co',
    }
    assert (await outcome_of([stream_of(created(), added(CALL, 0), half, completed())])).finished.items == ()


async def test_one_key_stands_for_an_item_whose_id_changes() -> None:
    events = [
        added(message("", item_id="msg_a"), 0),
        text_delta("Hi", item_id="msg_b"),
        done(message("Hi", item_id="msg_c"), 0),
        completed(message("Hi", item_id="msg_d")),
    ]
    outcome = await outcome_of([stream_of(*events)])
    keys = {event.item_id for event in outcome.events if isinstance(event, OutputTextDelta | OutputItemDone)}
    assert keys == {"msg_a"}
    assert outcome.finished.items == (message("Hi", item_id="msg_c"),)


async def test_items_without_ids_and_places_get_keys_of_their_own() -> None:
    bare = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "One"}]}
    delta = {"type": "response.output_text.delta", "delta": "One"}
    begin = {"type": "response.output_item.added", "item": {"type": "message", "role": "assistant"}}
    end = {"type": "response.output_item.done", "item": bare}
    outcome = await outcome_of([stream_of(begin, delta, end, begin, delta, end, completed())])
    keys = [event.item_id for event in outcome.events if isinstance(event, OutputTextDelta | OutputItemDone)]
    assert len(keys) == 4
    assert keys[0] == keys[1] != keys[2] == keys[3]


async def test_a_refusal_is_the_text() -> None:
    refusal = {**message(""), "content": [{"type": "refusal", "refusal": "I will not."}]}
    delta = {"type": "response.refusal.delta", "item_id": "msg_1", "delta": "I will not."}
    outcome = await outcome_of([stream_of(added(message(""), 0), delta, done(refusal, 0), completed())])
    assert (outcome.finished.text, outcome.finished.items) == ("I will not.", (refusal,))


async def test_what_is_not_understood_passes_through() -> None:
    odd = {"type": "response.hologram.delta", "delta": {"x": 1}, "sequence_number": 3}
    lines = b": keep-alive\n\ndata: [DONE]\n\ndata: not json\n\ndata: 5\n\n"
    nameless = b'data: {"type":"response.output_text.delta","delta":"Hi","item_id":"msg_1"}\n\n'
    outcome = await outcome_of([stream_of(odd, lines, nameless, *spoken("Hi"), completed())])
    [unknown] = [event for event in outcome.events if isinstance(event, UnknownEvent)]
    assert unknown.raw == odd
    assert outcome.finished.text == "Hi"


async def test_a_known_event_with_odd_content_passes_through_as_unknown() -> None:
    odd = {"type": "response.output_text.delta", "delta": None}
    outcome = await outcome_of([stream_of(odd, *spoken("Hi"), completed())])
    assert [event.raw for event in outcome.events if isinstance(event, UnknownEvent)] == [odd]


async def test_half_a_surrogate_pair_costs_a_character_and_not_the_event() -> None:
    event = b'data: {"type":"response.output_text.delta","item_id":"msg_1","delta":"a\\ud83d"}\n\n'
    outcome = await outcome_of([stream_of(event, completed(message("a")))])
    assert shown(outcome) == "a?"


async def test_raw_reasoning_and_summaries_are_told_by_part() -> None:
    part = {
        "type": "response.reasoning_summary_text.delta",
        "item_id": "rs_1",
        "summary_index": 1,
        "delta": "So",
    }
    outcome = await outcome_of([stream_of(added(REASONING, 0), part, done(REASONING, 0), completed())])
    [delta] = [event for event in outcome.events if isinstance(event, ReasoningSummaryTextDelta)]
    assert (delta.item_id, delta.summary_index, delta.delta) == ("rs_1", 1, "So")


async def test_nothing_is_read_after_the_terminal_event() -> None:
    outcome = await outcome_of(
        [stream_of(completed(message("Done.")), *spoken("More"), httpx.ReadError("late"))]
    )
    assert [type(event).__name__ for event in outcome.events] == ["ResponseCompleted", "ResponseFinished"]


async def test_an_incomplete_response_says_why_and_keeps_its_text() -> None:
    response = {
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
        "output": [message("Half a th")],
    }
    outcome = await outcome_of([stream_of({"type": "response.incomplete", "response": response})])
    finished = outcome.finished
    assert (finished.status, finished.incomplete_reason) == ("incomplete", "max_output_tokens")
    assert (finished.text, len(outcome.requests)) == ("Half a th", 1)


@pytest.mark.parametrize("told", [True, False, None])
async def test_the_models_wish_to_go_on_is_passed_on(told: bool | None) -> None:
    more = {} if told is None else {"end_turn": told}
    assert (await outcome_of([stream_of(completed(**more))])).finished.end_turn is told


async def test_a_reply_that_was_not_streamed_is_an_answer_all_the_same() -> None:
    reply = httpx.Response(200, json=completed(message("Whole."))["response"])
    assert (await outcome_of([reply])).finished.text == "Whole."


@pytest.mark.parametrize("lead", [b"", b": hello\n\n", b"\r\n"])
async def test_an_event_stream_that_is_labelled_as_json_is_read_all_the_same(lead: bytes) -> None:
    reply = stream_of(lead, *answer("Hello."), content_type="application/json")
    assert (await outcome_of([reply])).finished.text == "Hello."


async def test_an_event_stream_that_is_labelled_as_json_may_break_off() -> None:
    reply = stream_of(created(), text_delta("Hel"), content_type="application/json")
    outcome = await outcome_of([reply])
    assert isinstance(outcome.error, StreamInterrupted)


async def test_the_events_of_another_api_are_named() -> None:
    chunk = b'data: {"object": "chat.completion.chunk", "choices": []}\n\ndata: [DONE]\n\n'
    for kind in ("text/event-stream", "application/json"):
        outcome = await outcome_of([stream_of(chunk, content_type=kind)], backend=LOCAL)
        assert "events of the Chat Completions API" in str(outcome.error)


async def test_a_cut_before_anything_is_mended_out_of_sight() -> None:
    outcome = await outcome_of([httpx.ConnectError("refused"), stream_of(*answer("Hello."))])
    assert outcome.finished.text == "Hello."
    assert outcome.retries == [RetryScheduled(2, 6, 0.2, "Could not connect to chatgpt.com: refused.")]
    assert outcome.sleeps == [0.2]


async def test_a_broken_seal_in_the_middle_is_a_cut_like_any_other() -> None:
    broken = stream_of(created(), ssl.SSLError("bad record mac"))
    assert (await outcome_of([broken, stream_of(*answer("Hello."))])).finished.text == "Hello."


async def test_the_turn_state_of_a_cut_reply_is_echoed_in_the_next_request() -> None:
    outcome = await outcome_of([stream_of(created(), x_codex_turn_state="st_1"), stream_of(*answer())])
    assert outcome.requests[1].headers["x-codex-turn-state"] == "st_1"
    assert outcome.finished.turn_state == "st_1"


@pytest.mark.parametrize(
    "changes",
    [{"base_url": "http://x:port"}, {"base_url": "http://x\0"}, {"headers": {"x-team": "ü"}}],
    ids=str,
)
async def test_a_request_that_cannot_be_sent_is_a_typed_error(changes: dict[str, Any]) -> None:
    outcome = await outcome_of([stream_of(*answer())], backend=replace(LOCAL, **changes))
    assert isinstance(outcome.error, BadRequest)
    assert (len(outcome.requests), outcome.sleeps) == (0, [])


async def test_items_completed_before_a_cut_are_carried_into_the_next_request_and_not_told_again() -> None:
    first = stream_of(created(), added(REASONING, 0), done(REASONING, 0), *spoken("Part one. ", index=1))
    second = stream_of(created("resp_2"), *spoken("Part two.", item_id="msg_2"), completed())
    outcome = await outcome_of([first, second])
    carried = [REASONING, message("Part one. ")]
    assert body_of(outcome.requests[1])["input"] == [QUESTION, *carried]
    assert outcome.finished.items == (*carried, message("Part two.", item_id="msg_2"))
    assert outcome.finished.text == "Part one. Part two."
    assert shown(outcome) == "Part one. |Part two."


async def test_what_was_half_told_is_discarded_and_told_again_whole() -> None:
    first = stream_of(created(), added(message(""), 0), text_delta("Hello th"), httpx.ReadError("reset"))
    outcome = await outcome_of([first, stream_of(*answer("Hello there."))])
    [retrying] = outcome.retries
    assert retrying.attempt == 2
    assert shown(outcome) == "Hello there."
    assert body_of(outcome.requests[1])["input"] == [QUESTION]


async def test_a_cut_after_a_complete_call_is_the_end_of_the_step() -> None:
    first = stream_of(created(), done(REASONING, 0), added(CALL, 1), done(CALL, 1), httpx.ReadError("reset"))
    outcome = await outcome_of([first])
    assert outcome.finished.items == (REASONING, CALL)
    assert (outcome.finished.status, outcome.finished.usage, len(outcome.requests)) == (
        "completed",
        Usage(),
        1,
    )


@pytest.mark.parametrize("reply", [OVERLOADED, httpx.ConnectError("no")], ids=["503", "refused"])
async def test_a_service_that_stays_away_costs_six_requests(reply: httpx.Response | Exception) -> None:
    outcome = await outcome_of([reply])
    assert len(outcome.requests) == 6
    assert outcome.sleeps == [0.2, 0.4, 0.8, 1.6, 3.2]
    assert [retry.attempt for retry in outcome.retries] == [2, 3, 4, 5, 6]
    assert outcome.error is not None
    assert outcome.error.retryable


async def test_cuts_and_refusals_share_one_bound() -> None:
    cut = stream_of(created(), text_delta("x"))
    outcome = await outcome_of([cut, OVERLOADED, cut, OVERLOADED, cut, OVERLOADED, cut, OVERLOADED])
    assert len(outcome.requests) == 6


async def test_the_wait_that_the_server_asks_for_is_kept() -> None:
    reply = httpx.Response(503, headers={"retry-after": "7"}, json={})
    assert (await outcome_of([reply, stream_of(*answer())])).sleeps == [7.0]


async def test_a_wait_of_minutes_is_not_sat_through() -> None:
    reply = httpx.Response(503, headers={"retry-after": "600"}, json={})
    outcome = await outcome_of([reply])
    assert (len(outcome.requests), outcome.sleeps) == (1, [])


@pytest.mark.parametrize("status", [200, 429])
async def test_a_question_outside_a_batch_waits_for_no_budget_that_the_service_tells(status: int) -> None:
    told = {
        f"x-ratelimit-{what}-{kind}": value
        for kind in ("requests", "tokens")
        for what, value in BUDGET.items()
    }
    refusal = httpx.Response(429, headers=told, json={"error": {"message": "Slow down."}})
    cut = stream_of(created(), text_delta("x"))
    cut.headers.update(told)
    async with asyncio.timeout(30):
        outcome = await outcome_of([refusal if status != 200 else cut])
    assert len(outcome.requests) == 6
    assert outcome.sleeps == [0.2, 0.4, 0.8, 1.6, 3.2]


BUDGET = {"limit": "60", "remaining": "0", "reset": "6m0s"}


async def test_waits_are_blurred_so_that_clients_do_not_march_in_step() -> None:
    waits = []
    for chance in (0.0, 0.5, 1.0):
        attempts = Attempts(RetryPolicy())
        for _ in range(3):
            wait = attempts.wait_after(StreamInterrupted("It broke."), events_seen=0, chance=chance)
        waits.append(wait)
    assert waits == pytest.approx([0.72, 0.8, 0.88])


async def test_a_providers_own_bounds_are_kept() -> None:
    backend = replace(LOCAL, request_max_retries=1, stream_max_retries=0)
    assert len((await outcome_of([OVERLOADED], backend=backend)).requests) == 2
    cut = stream_of(created(), text_delta("x"))
    assert len((await outcome_of([cut], backend=backend)).requests) == 1


async def test_a_provider_may_ask_for_more_than_the_usual_bound() -> None:
    backend = replace(LOCAL, request_max_retries=9)
    assert len((await outcome_of([OVERLOADED], backend=backend)).requests) == 10


async def test_the_request_of_a_retry_is_the_same_request() -> None:
    outcome = await outcome_of([OVERLOADED, stream_of(*answer())], backend=API)
    first, second = outcome.requests
    assert (first.content, dict(first.headers)) == (second.content, dict(second.headers))


async def test_limits_are_told_from_headers_and_events() -> None:
    event = {
        "type": "codex.rate_limits",
        "rate_limits": {"primary": {"used_percent": 40, "window_minutes": 300}},
    }
    reply = stream_of(
        event, completed(), x_codex_primary_used_percent="33.5", x_codex_primary_window_minutes="300"
    )
    outcome = await outcome_of([reply])
    limits = [event.limits for event in outcome.events if isinstance(event, LimitsSeen)]
    assert limits == [RateLimits((Window(33.5, 300),)), RateLimits((Window(40.0, 300),))]


class Renewing(httpx.Auth):
    """Signs with a token that the first 401 replaces."""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["authorization"] = "Bearer old-token"
        response = yield request
        if response.status_code == httpx.codes.UNAUTHORIZED:
            request.headers["authorization"] = "Bearer new-token"
            yield request


async def test_requests_that_renew_the_login_count_against_the_bound() -> None:
    refused = httpx.Response(401, json={})
    outcome = await outcome_of(
        [refused, OVERLOADED, refused, OVERLOADED, refused, OVERLOADED], auth=Renewing()
    )
    assert len(outcome.requests) == 6


async def test_a_login_that_stays_refused_is_not_tried_again() -> None:
    outcome = await outcome_of([httpx.Response(401, json={})], auth=Renewing())
    assert isinstance(outcome.error, SignInRequired)
    assert len(outcome.requests) == 2


async def test_an_error_holds_neither_the_request_nor_its_signature() -> None:
    outcome = await outcome_of([httpx.ConnectError("no")], auth=Renewing())
    links: list[BaseException | None] = [outcome.error]
    while links[-1] is not None:
        assert not isinstance(links[-1], httpx.HTTPError)
        links.append(links[-1].__cause__ or links[-1].__context__)
    assert "token" not in repr(outcome.error)


async def test_a_workspace_of_its_own_is_where_the_request_goes() -> None:
    async def route() -> Route:
        return Route("https://eu.example.test", "us_cr")

    outcome = await outcome_of([stream_of(*answer())], route=route)
    assert str(outcome.requests[0].url) == "https://eu.example.test/backend-api/codex/responses"
    assert outcome.requests[0].headers["x-openai-account-routing-override"] == "us_cr"


async def test_without_constraint_the_request_goes_to_the_backend() -> None:
    async def route() -> Route:
        return Route(None, None)

    outcome = await outcome_of([stream_of(*answer())], route=route)
    assert str(outcome.requests[0].url) == CHATGPT.responses_url
    assert "x-openai-account-routing-override" not in outcome.requests[0].headers


async def test_a_refused_model_names_those_that_are_there(tmp_path: Path) -> None:
    def reply(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"models": [{"slug": "gpt-5.5"}, {"slug": "gpt-6.1-sol"}]})
        said = "The 'gpt-5.4' model is not supported when using Codex with a ChatGPT account."
        return httpx.Response(400, json={"detail": said})

    async with open_http(SETTINGS, {}, transport=httpx.MockTransport(reply)) as http:
        catalog = ModelCatalog(http, CHATGPT, None, codex_home=tmp_path, identity=lambda: "ada")
        client = ResponsesClient(http, CHATGPT, None, catalog=catalog)
        with pytest.raises(ModelUnavailable, match="is not supported") as caught:
            [_ async for _ in client.stream(REQUEST)]
    assert "gpt-6.1-sol" in caught.value.available
    assert "Did you mean one of these: " in caught.value.line


async def test_an_error_after_text_is_raised_after_the_text() -> None:
    outcome = await outcome_of([stream_of(text_delta("Hel"), failed({"code": "context_length_exceeded"}))])
    assert shown(outcome) == "Hel"
    assert isinstance(outcome.error, ContextWindowExceeded)


async def test_an_event_beyond_the_bound_ends_the_stream_and_is_not_asked_for_again() -> None:
    piece = b"data: " + b"x" * (1 << 20)
    outcome = await outcome_of([stream_of(*([piece] + [b"x" * (1 << 20)] * 64))])
    assert isinstance(outcome.error, StreamInterrupted)
    assert "exceeds" in str(outcome.error)
    assert (outcome.error.retryable, len(outcome.requests)) == (False, 1)


async def test_closing_the_events_closes_the_connection() -> None:
    class Unfinished(Chunks):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for piece in super().__aiter__():
                yield piece
            await asyncio.Event().wait()

    body = Unfinished([b'data: {"type":"response.created"}\n\n'] * 5)

    def reply(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=body)

    async with open_http(SETTINGS, {}, transport=httpx.MockTransport(reply)) as http:
        events = ResponsesClient(http, CHATGPT, None).stream(REQUEST)
        await anext(events)
        assert not body.is_closed
        await events.aclose()
        assert body.is_closed
