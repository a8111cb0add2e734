"""Scenarios: prepared replies, gates, cuts and bytes below HTTP."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from codex_nb.simulator import (
    Call,
    CustomCall,
    Cut,
    End,
    Event,
    Hold,
    Item,
    Pause,
    Raw,
    Reply,
    Say,
    Scenario,
    Simulator,
    Think,
    Wire,
    error_replies,
    load_scenario,
    scenario_from_json,
)
from tests.simulator.asking import Asker, events_of, text_of, user

SAY_ONE, SAY_TWO = (Reply(stream=(Say(text), End())) for text in ("one", "two"))


def ask(asker: Asker) -> str:
    answer = asker.post(user("hi"))
    return text_of(events_of(answer.text)[-1]["response"]) if answer.is_success else str(answer.status_code)


def test_replies_are_taken_in_order_and_then_the_canned_answer_follows(asker: Asker) -> None:
    asker.sim.play(Scenario((SAY_ONE, error_replies.server_error(503), SAY_TWO)))
    assert [ask(asker) for _ in range(3)] == ["one", "503", "two"]
    assert "simulator" in ask(asker)
    assert [request.answered_by for request in asker.sim.requests] == ["scenario"] * 3 + ["answerer"]


def test_a_reply_may_skip_requests_and_answer_all_others(asker: Asker) -> None:
    asker.sim.play(Scenario((Reply(skip=1, times=None, status=500, body={}), SAY_ONE)))
    assert [ask(asker) for _ in range(3)] == ["one", "500", "500"]


def test_a_reply_is_for_one_address_and_method(asker: Asker) -> None:
    usage = Reply("/wham/usage", "GET", status=418, body="a teapot", headers={"x-odd": "yes"})
    asker.sim.add_replies(usage)
    assert asker.sim.unused_replies == (usage,)
    assert "simulator" in ask(asker)
    answer = asker.client.get(f"{asker.sim.chatgpt_base_url}/wham/usage", headers=asker.headers)
    assert (answer.status_code, answer.text, answer.headers["x-odd"]) == (418, "a teapot", "yes")
    assert asker.sim.unused_replies == ()


def test_an_authenticated_reply_is_sent_only_to_clients_with_valid_credentials(asker: Asker) -> None:
    asker.sim.play(Scenario((Reply(authenticated=True, stream=(Say("one"), End())),)))
    stranger = Asker(asker.sim, asker.client, {"authorization": "Bearer nobody"})
    assert ask(stranger) == "401"
    assert ask(asker) == "one"


def refresh(asker: Asker, token: str) -> httpx.Response:
    body = {"grant_type": "refresh_token", "refresh_token": token}
    return asker.client.post(f"{asker.sim.issuer}/oauth/token", json=body)


def test_an_answer_can_be_lost_after_its_effect(asker: Asker) -> None:
    token = asker.sim.sign_in().refresh_token
    asker.sim.play(Scenario((Reply("/oauth/token", then="lost"),)))
    with pytest.raises(httpx.RemoteProtocolError):
        refresh(asker, token)
    assert (asker.sim.refreshes, asker.sim.requests[-1].outcome) == (1, "cut")
    assert refresh(asker, token).json()["error"]["code"] == "refresh_token_reused"


def test_the_default_behaviour_can_be_delayed(asker: Asker) -> None:
    token = asker.sim.sign_in().refresh_token
    asker.sim.play(Scenario((Reply("/oauth/token", stream=(Hold("slow"), Pause(0.001)), then="usual"),)))
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(refresh, asker, token)
        assert asker.sim.wait_held("slow")
        assert asker.sim.refreshes == 0
        asker.sim.release("slow")
        assert answer.result(20).json()["access_token"]
    assert asker.sim.refreshes == 1


def test_a_client_that_disconnects_during_a_delay_does_not_undo_its_request(asker: Asker) -> None:
    token = asker.sim.sign_in().refresh_token
    asker.sim.play(Scenario((Reply("/oauth/token", stream=(Hold("slow"),), then="usual"),)))
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{asker.sim.issuer}/oauth/token",
            json={"grant_type": "refresh_token", "refresh_token": token},
            timeout=0.2,
            trust_env=False,
        )
    assert asker.sim.requests.wait(lambda log: log[-1].outcome == "client_closed")
    assert refresh(asker, token).json()["error"]["code"] == "refresh_token_reused"


def test_text_before_a_gate_arrives_while_the_stream_is_held(asker: Asker) -> None:
    asker.sim.play(Scenario((Reply(stream=(Say("before and after", 6, gate="middle"), End())),)))
    url, body = f"{asker.sim.openai_base_url}/responses", asker.body(user("hi"))
    with asker.client.stream("POST", url, headers=asker.headers, json=body) as answer:
        lines = answer.iter_lines()
        early = list(iter(lambda: next(lines), "event: response.output_text.delta"))
        assert asker.sim.wait_held("middle")
        assert not any("response.completed" in line for line in early)
        assert asker.sim.requests[-1].outcome == "open"
        asker.sim.release("middle")
        assert any("response.completed" in line for line in lines)
    assert asker.sim.requests.wait(lambda log: log[-1].outcome == "answered")


def test_a_client_that_disconnects_is_recorded(asker: Asker) -> None:
    asker.sim.play(Scenario((Reply(stream=(Say("some text"), Hold("never"), End())),)))
    url, body = f"{asker.sim.openai_base_url}/responses", asker.body(user("hi"))
    with asker.client.stream("POST", url, headers=asker.headers, json=body):
        assert asker.sim.wait_held("never")
    assert asker.sim.requests.wait(lambda log: log[-1].outcome == "client_closed")


def test_a_client_that_disconnects_during_a_pause_is_recorded(asker: Asker) -> None:
    asker.sim.play(Scenario((Reply(stream=(Say("some text"), Hold("here"), Pause(600), End())),)))
    url, body = f"{asker.sim.openai_base_url}/responses", asker.body(user("hi"))
    with asker.client.stream("POST", url, headers=asker.headers, json=body):
        assert asker.sim.wait_held("here")
        asker.sim.release("here")
    assert asker.sim.requests.wait(lambda log: log[-1].outcome == "client_closed")


@pytest.mark.parametrize("how", ["close", "truncate", "reset"])
def test_a_cut_stream_is_a_protocol_error(asker: Asker, how: str) -> None:
    reply = scenario_from_json({"replies": [{"stream": [{"say": {"text": "half"}}, {"cut": {"how": how}}]}]})
    asker.sim.play(reply)
    with pytest.raises(httpx.RemoteProtocolError if how != "reset" else httpx.TransportError):
        asker.post(user("hi"))
    assert asker.sim.requests[-1].outcome == "cut"
    assert "simulator" in ask(asker), "the next request is answered"


def test_a_stream_may_end_without_its_last_event(asker: Asker) -> None:
    asker.sim.play(Scenario((Reply(stream=(Say("half"),)),)))
    events = asker.events(user("hi"))
    assert events[-1]["type"] == "response.output_item.done"


def test_given_events_items_and_bytes_are_sent_unchanged(asker: Asker) -> None:
    item = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    stream = (
        Raw(b": a comment\r\n\r\n"),
        Event({"type": "codex.unheard_of", "n": 1}),
        Event({"type": "no.line"}, name=""),
        Event({"type": "response.output_item.done", "item": {"type": "odd"}}, name="other"),
        Item(item),
        End(usage={"total_tokens": 3}),
    )
    asker.sim.play(Scenario((Reply(stream=stream),)))
    text = asker.post(user("hi")).text
    assert text.startswith(": a comment\r\n\r\nevent: codex.unheard_of\ndata: ")
    assert '\n\ndata: {"type": "no.line"}\n\nevent: other\ndata: ' in text
    final = events_of(text)[-1]["response"]
    assert (final["output"], final["usage"]) == ([{"type": "odd"}, item], {"total_tokens": 3})


def test_failed_and_incomplete_responses_carry_their_reason(asker: Asker) -> None:
    incomplete = Reply(stream=(Say("cut sho"), End("incomplete", reason="max_output_tokens")))
    asker.sim.play(Scenario((error_replies.failed("server_is_overloaded", "Busy."), incomplete)))
    failed = asker.events(user("hi"))[-1]
    assert (failed["type"], failed["response"]["error"]) == (
        "response.failed",
        {"code": "server_is_overloaded", "message": "Busy."},
    )
    ended = asker.events(user("hi"))[-1]
    assert (ended["type"], ended["response"]["incomplete_details"]) == (
        "response.incomplete",
        {"reason": "max_output_tokens"},
    )


def raw_exchange(
    sim: Simulator, request: bytes = b"GET /anything HTTP/1.1\r\nHost: localhost\r\n\r\n"
) -> bytes:
    address = urlsplit(sim.base_url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(request)
        received = b""
        while chunk := connection.recv(65_536):
            received += chunk
    return received


def test_a_wire_reply_is_bytes_and_an_end(sim: Simulator) -> None:
    chunks = (b"HTTP/1.1 20", b"0 OK\r\ncontent-length: 99\r\n\r\nshort")
    sim.play(Scenario((Reply("/anything", wire=Wire(chunks, pause_s=0.001)),)))
    assert raw_exchange(sim) == b"".join(chunks)
    assert sim.requests[-1].outcome == "cut"


def test_a_wire_reply_may_reset_the_connection(sim: Simulator) -> None:
    sim.play(Scenario((Reply("/anything", wire=Wire(reset=True)),)))
    with pytest.raises(ConnectionResetError):
        raw_exchange(sim)


def test_a_silent_connection_stays_open_until_the_client_leaves(sim: Simulator) -> None:
    sim.play(Scenario((Reply("/anything", wire=Wire(close=False)),)))
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{sim.base_url}/anything", timeout=0.05, trust_env=False)


def test_a_scenario_can_be_written_as_json(tmp_path: Path) -> None:
    file = tmp_path / "scenario.json"
    file.write_text(
        json.dumps(
            {
                "name": "all kinds",
                "replies": [
                    {"path": "/oauth/token", "status": 500, "body": {"error": "x"}, "times": None},
                    {
                        "stream": [
                            {"think": {"summary": ["Hm."]}},
                            {"say": {"text": "Hello", "gate": "middle"}},
                            {"call": {"name": "run_python", "arguments": {"code": "1"}}},
                            {"custom_call": {"name": "exec", "input": "ls"}},
                            {"item": {"item": {"type": "odd"}}},
                            {"event": {"data": {"type": "odd"}, "name": ""}},
                            {"hold": {}},
                            {"pause": {"seconds": 0.5}},
                            {"raw": {"data": {"base64": "AP8="}}},
                            {"end": {"status": "incomplete", "reason": "content_filter"}},
                            {"cut": {"how": "reset"}},
                        ]
                    },
                    {"wire": {"chunks": ["HTTP/1.1 2"], "close": False}},
                ],
            }
        )
    )
    stream = (
        Think(("Hm.",)),
        Say("Hello", gate="middle"),
        Call("run_python", {"code": "1"}),
        CustomCall("exec", "ls"),
        Item({"type": "odd"}),
        Event({"type": "odd"}, name=""),
        Hold(),
        Pause(0.5),
        Raw(b"\x00\xff"),
        End("incomplete", reason="content_filter"),
        Cut("reset"),
    )
    replies = (
        Reply("/oauth/token", times=None, status=500, body={"error": "x"}),
        Reply(stream=stream),
        Reply(wire=Wire((b"HTTP/1.1 2",), close=False)),
    )
    assert load_scenario(file) == Scenario(replies, "all kinds")


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        ({"stauts": 500}, "Reply has no field 'stauts'"),
        ({"stream": [{"says": {"text": "x"}}]}, "exactly one of the keys think, say"),
        ({"stream": [{"say": {"txt": "x"}}]}, "Say has no field 'txt'"),
        ({"stream": [{"say": {"text": "x"}, "end": {}}]}, "exactly one of the keys think, say"),
        ({"wire": {"bytes": ["x"]}}, "Wire has no field 'bytes'"),
    ],
)
def test_a_mistake_in_a_scenario_is_named(reply: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        scenario_from_json({"replies": [reply]})


ERROR_REPLIES = [
    (error_replies.usage_limit_reached(resets_at=7), 429, "usage_limit_reached"),
    (error_replies.usage_not_included(), 429, "usage_not_included"),
    (error_replies.rate_limited(1.5), 429, "rate_limit_exceeded"),
    (error_replies.overloaded(), 503, "server_is_overloaded"),
    (error_replies.context_length_exceeded(), 400, "context_length_exceeded"),
    (error_replies.unauthorized("expired"), 401, "token_expired"),
]


@pytest.mark.parametrize(("reply", "status", "word"), ERROR_REPLIES, ids=[word for *_, word in ERROR_REPLIES])
def test_error_replies_have_the_format_of_the_backend(
    asker: Asker, reply: Reply, status: int, word: str
) -> None:
    asker.sim.play(Scenario((reply,)))
    answer = asker.post(user("hi"))
    error = answer.json()["error"]
    assert (answer.status_code, word in {error.get("code"), error.get("type")}) == (status, True)
