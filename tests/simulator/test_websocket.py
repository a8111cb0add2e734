"""The websocket of ``/responses``: frames in and out, what is kept between them, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from codex_nb.simulator import CLASSIC, FRAME, Cut, End, Raw, Reply, Say, Scenario, Simulator, error_replies
from tests.simulator.asking import Asker, text_of, user

Told = dict[str, Any]
MEGABYTE = 1024 * 1024


@contextmanager
def connected(asker: Asker, **options: Any) -> Iterator[ClientConnection]:
    url = f"{asker.base_url or asker.sim.openai_base_url}/responses".replace("http://", "ws://")
    with connect(url, additional_headers=asker.headers, proxy=None, **options) as connection:
        yield connection


def frame(*items: Told, **more: Any) -> Told:
    return {
        "type": "response.create",
        "model": CLASSIC,
        "stream": True,
        "store": False,
        "input": items,
        **more,
    }


def ask(connection: ClientConnection, *items: Told, **more: Any) -> list[Told]:
    """The events of one request, up to the terminal one."""
    connection.send(json.dumps(frame(*items, **more)))
    return events(connection)


def events(connection: ClientConnection) -> list[Told]:
    told: list[Told] = []
    while not told or told[-1]["type"] not in {
        "response.completed",
        "response.incomplete",
        "response.failed",
        "error",
    }:
        told.append(json.loads(connection.recv(timeout=20)))
    return told


def without_identity(told: list[Told]) -> list[Told]:
    """The events without ids, times, paddings and encrypted contents."""
    varying = {"id", "item_id", "created_at", "obfuscation", "encrypted_content"}

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(each) for name, each in value.items() if name not in varying}
        return [plain(each) for each in value] if isinstance(value, list) else value

    return [plain(event) for event in told]


@pytest.mark.parametrize("compression", ["deflate", None])
def test_frames_bring_the_events_of_the_event_stream_after_the_limits(
    asker: Asker, compression: str | None
) -> None:
    with connected(asker, compression=compression) as connection:
        limits, *told = ask(connection, user("hi"), include=["reasoning.encrypted_content"])
    assert without_identity(told) == without_identity(asker.events(user("hi")))
    assert (limits["type"], limits["plan_type"]) == ("codex.rate_limits", "plus")
    assert limits["rate_limits"]["primary"]["used_percent"] == 12.5


def test_a_request_follows_the_response_that_it_names(asker: Asker) -> None:
    with connected(asker) as connection:
        first = ask(connection, user("hi"))[-1]["response"]
        second = ask(connection, user("and again"), previous_response_id=first["id"])[-1]["response"]
        whole = ask(connection, user("hi"), *first["output"], user("and again"))[-1]["response"]
    assert text_of(second) == text_of(whole)
    assert second["usage"]["input_tokens"] == whole["usage"]["input_tokens"]
    sizes = [request.size for request in asker.sim.requests.to("/responses", FRAME)]
    assert sizes[1] < sizes[2]


def test_what_is_not_to_be_generated_is_kept(asker: Asker) -> None:
    with connected(asker) as connection:
        created, _, done = ask(connection, user("Hello, simulator"), generate=False)[1:]
        assert (created["type"], done["response"]["output"]) == ("response.created", [])
        empty = ask(connection, generate=False)[-1]
        after = ask(connection, previous_response_id=done["response"]["id"])[-1]
    assert empty["type"] == "response.completed"
    assert (after["type"], after["error"]["code"]) == ("error", "previous_response_not_found")
    with connected(asker) as connection:
        kept = ask(connection, user("Hello, simulator"), generate=False)[-1]["response"]
        answer = ask(connection, user("What now?"), previous_response_id=kept["id"])[-1]["response"]
    assert "What now?" in text_of(answer)
    assert answer["usage"]["input_tokens"] > kept["usage"]["input_tokens"]


@pytest.mark.parametrize("known", ["of another connection", "of nobody"])
def test_a_response_is_known_on_its_own_connection_only(asker: Asker, known: str) -> None:
    with connected(asker) as other:
        name = ask(other, user("hi"))[-1]["response"]["id"] if known == "of another connection" else "resp_1"
    with connected(asker) as connection:
        told = ask(connection, user("and again"), previous_response_id=name)
        assert told == [
            {
                "type": "error",
                "status": 400,
                "error": {
                    "message": f"Previous response with id '{name}' not found.",
                    "type": "invalid_request_error",
                    "param": "previous_response_id",
                    "code": "previous_response_not_found",
                },
                "headers": {},
            }
        ]
        assert ask(connection, user("hi"))[-1]["type"] == "response.completed"


def test_the_api_keeps_a_stored_response_for_every_connection(sim: Simulator, asker: Asker) -> None:
    api = Asker(sim, asker.client, {"authorization": f"Bearer {sim.new_api_key()}"}, sim.api_base_url)
    with connected(api) as connection:
        limitless, *_ = told = ask(connection, user("hi"), store=True)
    assert limitless["type"] == "response.created"
    after = api.final(user("and again"), previous_response_id=told[-1]["response"]["id"])
    assert after["status"] == "completed"


def test_prepared_replies_answer_frames(asker: Asker) -> None:
    limited = error_replies.rate_limited(2.0)
    asker.sim.play(
        Scenario(
            (Reply(stream=(Say("Prepared."), End())), limited, Reply("/responses", "POST", body="never"))
        )
    )
    with connected(asker) as connection:
        assert text_of(ask(connection, user("hi"))[-1]["response"]) == "Prepared."
        error = ask(connection, user("hi"))[-1]
        assert "simulator" in text_of(ask(connection, user("hi"))[-1]["response"])
    assert (error["status"], error["error"]["code"]) == (429, "rate_limit_exceeded")
    assert error["headers"] == {"retry-after": "2"}
    frames = asker.sim.requests.to("/responses", FRAME)
    assert [each.answered_by for each in frames] == ["scenario", "scenario", "answerer"]
    assert [each.status for each in frames] == [200, 429, 200]


@pytest.mark.parametrize("how", ["close", "reset", "truncate"])
def test_a_cut_breaks_the_connection(asker: Asker, how: Any) -> None:
    asker.sim.play(Scenario((Reply(stream=(Say("half an ans"), Cut(how))),)))
    with connected(asker) as connection, pytest.raises(ConnectionClosed):
        ask(connection, user("hi"))
    assert asker.sim.requests.wait(lambda log: log[-1].outcome == "cut")


def test_a_client_that_goes_away_ends_its_request(asker: Asker) -> None:
    asker.sim.play(Scenario((Reply(stream=(Say("A text with a stop.", gate="stop"), End())),)))
    with connected(asker) as connection:
        connection.send(json.dumps(frame(user("hi"))))
        assert asker.sim.wait_held("stop")
    assert asker.sim.requests.wait(lambda log: log[-1].outcome == "client_closed")


@pytest.mark.parametrize("over", ["websocket", "http"])
def test_a_client_that_goes_away_is_no_error_of_the_simulator(
    asker: Asker, caplog: pytest.LogCaptureFixture, over: str
) -> None:
    asker.sim.play(Scenario((Reply(stream=(Say("A text with a stop.", gate="stop"), End())),)))
    url, body = f"{asker.sim.openai_base_url}/responses", asker.body(user("hi"))
    if over == "websocket":
        with connected(asker) as connection:
            connection.send(json.dumps(frame(user("hi"))))
            assert asker.sim.wait_held("stop")
    else:
        with asker.client.stream("POST", url, headers=asker.headers, json=body):
            assert asker.sim.wait_held("stop")
    assert asker.sim.requests.wait(lambda log: log[-1].outcome == "client_closed")
    assert "simulator" in asker.post(user("hi")).text
    assert caplog.records == []


@pytest.mark.parametrize(
    ("sent", "word"),
    [
        (b"\x00\x01", "JSON object"),
        ("nonsense", "could not parse"),
        ("[1]", "JSON object"),
        ('{"type": "response.unheard_of"}', "response.create"),
        (json.dumps(frame(user("hi") | {"role": "system"})), "System messages are not allowed"),
        (json.dumps(frame(user("hi"), store=True)), "Store must be set to false"),
        (json.dumps(frame()), "Missing required parameter"),
        (json.dumps(frame(user("hi"), model="gpt-unheard-of")), "not supported"),
        ("[" + "1," * 600_000 + "1]", "too many values"),
    ],
)
def test_a_frame_that_is_no_request_gets_an_error_and_the_next_an_answer(
    asker: Asker, sent: str | bytes, word: str
) -> None:
    with connected(asker) as connection:
        connection.send(sent)
        (error,) = events(connection)
        assert (error["type"], error["status"] // 100) == ("error", 4)
        assert word in json.dumps(error)
        assert ask(connection, user("hi"))[-1]["type"] == "response.completed"


def test_frames_wait_for_each_other_but_only_a_few(asker: Asker) -> None:
    asker.sim.play(Scenario((Reply(stream=(Say("A text with a stop.", gate="stop"), End())),)))
    with connected(asker) as connection:
        for _ in range(3):
            connection.send(json.dumps(frame(user("hi"))))
        assert asker.sim.wait_held("stop")
        asker.sim.release("stop")
        assert [events(connection)[-1]["type"] for _ in range(3)] == ["response.completed"] * 3
    asker.sim.play(Scenario((Reply(stream=(Say("A text with a stop.", gate="for good"), End())),)))
    with connected(asker) as connection:
        with suppress(ConnectionClosed):
            for _ in range(1000):
                connection.send(json.dumps(frame(user("hi"))))
            while True:
                connection.recv(timeout=20)
        assert connection.close_code == 1008


@pytest.mark.parametrize("compressed", [False, True])
def test_a_frame_beyond_the_bound_closes_the_connection(asker: Asker, *, compressed: bool) -> None:
    options = {} if compressed else {"compression": None}
    with connected(asker, **options) as connection:
        with suppress(ConnectionClosed):
            connection.send("x" * (17 * MEGABYTE))
            connection.recv(timeout=20)
        assert connection.close_code in {1006, 1009}
    assert asker.post(user("hi")).status_code == 200


def test_a_raw_step_is_a_frame_of_its_own(asker: Asker) -> None:
    asker.sim.play(Scenario((Reply(stream=(Raw(b"not JSON"), Raw(b"\xff\xfe"), End())),)))
    with connected(asker) as connection:
        connection.send(json.dumps(frame(user("hi"))))
        frames = [connection.recv(timeout=20) for _ in range(3)]
    assert frames[1:] == ["not JSON", b"\xff\xfe"]


def test_the_handshake_is_checked_like_a_request(asker: Asker) -> None:
    strangers: list[Told] = [{}, {"authorization": "Bearer nonsense"}]
    for headers in strangers:
        with pytest.raises(InvalidStatus) as refused, connected(Asker(asker.sim, asker.client, headers)):
            pass
        assert refused.value.response.status_code == 401
    page = {**asker.headers, "origin": "https://elsewhere.example"}
    with pytest.raises(InvalidStatus) as refused, connected(Asker(asker.sim, asker.client, page)):
        pass
    assert refused.value.response.status_code == 403
    assert (
        asker.client.get(f"{asker.sim.openai_base_url}/responses", headers=asker.headers).status_code == 426
    )
