"""Answers over a websocket: the same events as over HTTP, and the ways back to HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from websockets.asyncio.server import ServerConnection, serve

from codex_nb.auth.credentials import Account, AuthMode, Credentials
from codex_nb.auth.manager import BearerAuth, RetryCredentials
from codex_nb.errors import (
    ApiError,
    CodexError,
    ConfigError,
    RateLimited,
    SignInRequired,
    StreamInterrupted,
    UsageLimitReached,
)
from codex_nb.http import httpx, open_http
from codex_nb.responses.client import ResponsesClient
from codex_nb.responses.events import LimitsSeen, ResponseEvent, ResponseFinished, RetryScheduled
from codex_nb.responses.request import Backend, ResponsesRequest, dump_json
from codex_nb.responses.websocket import Connection, Connector, WebSocketTransport
from codex_nb.simulator import (
    CLASSIC,
    FRAME,
    LITE,
    WEBSOCKET,
    Cut,
    End,
    Event,
    Hold,
    Raw,
    Reply,
    Say,
    Scenario,
    Simulator,
    Step,
    Think,
    Wire,
    error_replies,
)
from tests.responses.conversations import answer
from tests.responses.corpus import Recording, needs_corpus, recordings
from tests.responses.fakes import SETTINGS, Outcome, outcome_of, stream_of, told

Told = dict[str, Any]

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def module_sim() -> Any:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def sim(module_sim: Simulator) -> Simulator:
    """Give each test a simulator that knows nothing of the last one."""
    module_sim.play(Scenario())
    module_sim.requests.clear()
    module_sim.change(websockets=True)
    return module_sim


@dataclass
class Signer:
    """Signs with one credential after the other, the next one after each 401."""

    bearers: list[str]
    account: str = "acc"
    rejected: int = 0

    async def current(self) -> Credentials:
        return Credentials(
            mode=AuthMode.CHATGPT,
            source="test",
            bearer=SecretStr(self.bearers[0]),
            account=Account(account_id=self.account),
        )

    async def retry_after_401(self, rejected: Credentials) -> RetryCredentials:
        self.rejected += 1
        if len(self.bearers) == 1:
            return RetryCredentials()
        self.bearers.pop(0)
        return RetryCredentials(await self.current(), token_used=True)


@dataclass
class Asked:
    """A client of the simulator, and how long it would have waited."""

    client: ResponsesClient
    signer: Signer
    sleeps: list[float] = field(default_factory=list)

    async def outcome(self, request: ResponsesRequest) -> Outcome:
        found = Outcome()
        try:
            async for event in self.client.stream(request):
                found.events.append(event)
        except CodexError as error:
            found.error = error
        return found

    async def text(self, request: ResponsesRequest) -> str:
        return (await self.outcome(request)).finished.text


@asynccontextmanager
async def asking(
    sim: Simulator,
    *,
    over: str = "websocket",
    connector: Connector | None = None,
    http: httpx.AsyncClient | None = None,
    oldest_s: float = 60.0,
    **backend: Any,
) -> AsyncIterator[Asked]:
    """Ask the simulator's ChatGPT backend as a signed-in client does."""
    where = Backend(
        **{
            "base_url": sim.openai_base_url,
            "is_chatgpt": True,
            "is_codex": True,
            "is_built_in": False,
            **backend,
        }
    )
    asked = Asked.__new__(Asked)
    asked.signer, asked.sleeps = Signer([sim.sign_in().access_token]), []
    auth = BearerAuth(asked.signer, SETTINGS)

    async def note_sleep(seconds: float) -> None:
        asked.sleeps.append(seconds)

    sockets = (
        WebSocketTransport(where, auth, connector or Connector({}, None), oldest_s=oldest_s)
        if over == "websocket"
        else None
    )
    http = http or open_http(SETTINGS, {}, transport=httpx.AsyncHTTPTransport(verify=False))
    async with http:
        asked.client = ResponsesClient(
            http, where, auth, sockets=sockets, sleep=note_sleep, chance=lambda: 0.5
        )
        yield asked
        await asked.client.close()


def user(text: str) -> Told:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def question(*items: Told, thread: str = "thread-1", **more: Any) -> ResponsesRequest:
    return ResponsesRequest(
        **{"model": CLASSIC, "input": items, "thread_id": thread, "prompt_cache_key": thread, **more}
    )


def counts(sim: Simulator) -> dict[str, int]:
    """How many handshakes, frames and posts have arrived."""
    return {name: sim.requests.count("/responses", name) for name in (WEBSOCKET, FRAME, "POST")}


def plain(events: Sequence[ResponseEvent]) -> list[Any]:
    """What is told, without the limits, and without what belongs to one reply only."""
    kept = [event for event in told(events) if not isinstance(event, LimitsSeen)]
    return [
        replace(event, request_id=None, turn_state=None) if isinstance(event, ResponseFinished) else event
        for event in kept
    ]


# What is sent


async def test_a_conversation_sends_only_what_is_new(sim: Simulator) -> None:
    items: list[Any] = [user("hi")]
    async with asking(sim) as asked:
        for text, state in (("and again", None), ("and once more", "ts_1")):
            asks = question(*items, turn_id=text, turn_state=state)
            items += [*(await asked.outcome(asks)).finished.items, user(text)]
        last = (await asked.outcome(question(*items))).finished
    assert counts(sim) == {WEBSOCKET: 1, FRAME: 3, "POST": 0}
    frames = [each.body for each in sim.requests.to("/responses", FRAME)]
    assert [frame["input"] for frame in frames] == [items[:1], [user("and again")], [user("and once more")]]
    async with asking(sim, over="http") as asked:
        whole = (await asked.outcome(question(*items))).finished
    assert last.text == whole.text
    assert last.usage.input_tokens == whole.usage.input_tokens


@pytest.mark.parametrize(
    "change",
    [
        lambda request: replace(request, model=LITE),
        lambda request: replace(request, effort="high"),
        lambda request: replace(request, tools=({"type": "function", "name": "f", "parameters": {}},)),
        lambda request: replace(request, input=(user("hello"), *request.input[1:])),
        lambda request: replace(request, input=request.input[-1:]),
    ],
    ids=["model", "effort", "tools", "an edit", "a compaction"],
)
async def test_where_anything_else_has_changed_everything_is_sent(
    sim: Simulator, change: Callable[[ResponsesRequest], ResponsesRequest]
) -> None:
    async with asking(sim) as asked:
        first = (await asked.outcome(question(user("hi")))).finished
        later = change(question(user("hi"), *first.items, user("and again")))
        assert (await asked.outcome(later)).finished.status == "completed"
    frame = sim.requests.to("/responses", FRAME)[-1].body
    assert "previous_response_id" not in frame
    assert frame["input"][-1] == user("and again")
    assert len(frame["input"]) == len(later.input)


TURNS = st.lists(
    st.tuples(
        st.sampled_from(("more", "more", "more", "edit", "forget", "model", "tools", "stop", "cut")),
        st.sampled_from(("hi", "Call run_python.", "a \N{ROCKET}", "\ud800")),
    ),
    min_size=2,
    max_size=6,
)
TOOL = {"type": "function", "name": "run_python", "parameters": {"type": "object"}}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TURNS)
async def test_whatever_becomes_of_a_thread_the_server_has_all_of_it(
    sim: Simulator, turns: list[tuple[str, str]]
) -> None:
    sim.requests.clear()
    more: Told = {"tools": (TOOL,)}
    items: list[Any] = []
    sent: list[list[Any]] = []
    kept: dict[str, list[Any]] = {}
    async with asking(sim) as asked:
        for what, text in turns:
            sim.play(Scenario((Reply(stream=(Say("half"), Cut())),) if what == "cut" else ()))
            if items and what == "edit":
                items[0] = user("edited")
            items = [] if what == "forget" else items
            more |= {"model": LITE if what == "model" else CLASSIC}
            more |= {"tools": () if what == "tools" else (TOOL,)}
            items.append(user(text))
            sent.append(list(items))
            if what == "stop":
                async with aclosing(asked.client.stream(question(*items, **more))) as events:
                    await anext(events)
                continue
            finished = (await asked.outcome(question(*items, **more))).finished
            items += finished.items
            calls = [item["call_id"] for item in finished.items if item["type"] == "function_call"]
            items += [{"type": "function_call_output", "call_id": call, "output": "42"} for call in calls]
            kept[finished.response_id] = [*sent[-1], *finished.items]
    frames = [each.body for each in sim.requests.to("/responses", FRAME)]
    seen = [[*kept.get(frame.get("previous_response_id"), []), *frame["input"]] for frame in frames]
    plain_seen = [[item for item in each if item["type"] != "additional_tools"] for each in seen]
    for whole in json.loads(dump_json(sent)):
        assert whole in json.loads(dump_json(plain_seen))
    assert counts(sim)["POST"] == 0


async def test_each_thread_has_a_connection_and_only_a_few_stay_open(sim: Simulator) -> None:
    async with asking(sim) as asked:
        for number in (*range(12), 11, 0):
            await asked.text(question(user("hi"), thread=f"thread-{number}"))
        assert counts(sim) == {WEBSOCKET: 13, FRAME: 14, "POST": 0}


async def test_a_second_question_of_a_busy_thread_goes_over_http(sim: Simulator) -> None:
    sim.play(Scenario((Reply(method=FRAME, stream=(Say("One."), Hold("busy"), End())),)))
    async with asking(sim) as asked:
        first = asyncio.create_task(asked.text(question(user("hi"))))
        assert await asyncio.to_thread(sim.wait_held, "busy")
        assert "simulator" in await asked.text(question(user("hi")))
        sim.release("busy")
        assert await first == "One."
    assert counts(sim) == {WEBSOCKET: 1, FRAME: 1, "POST": 1}


@pytest.mark.parametrize("is_slow", [False, True])
async def test_a_connection_that_was_opened_ahead_is_the_questions(sim: Simulator, *, is_slow: bool) -> None:
    if is_slow:
        sim.play(Scenario((Reply(method=WEBSOCKET, then="usual", stream=(Hold("handshake"),)),)))
    async with asking(sim) as asked:
        ahead = asyncio.create_task(asked.client.warm_up(question()))
        if is_slow:
            assert await asyncio.to_thread(sim.wait_held, "handshake")
            sim.release("handshake")
        else:
            await ahead
            assert counts(sim) == {WEBSOCKET: 1, FRAME: 0, "POST": 0}
        assert "simulator" in await asked.text(question(user("hi")))
        await ahead
    assert counts(sim) == {WEBSOCKET: 1, FRAME: 1, "POST": 0}


async def test_a_refusal_ahead_is_the_questions_only_try(sim: Simulator) -> None:
    sim.play(Scenario((Reply(method=WEBSOCKET, status=500),)))
    async with asking(sim) as asked:
        await asked.client.warm_up(question())
        assert "simulator" in await asked.text(question(user("hi")))
        assert counts(sim) == {WEBSOCKET: 1, FRAME: 0, "POST": 1}
        assert "simulator" in await asked.text(question(user("hi")))
    assert counts(sim) == {WEBSOCKET: 2, FRAME: 1, "POST": 1}


# The same events


def steps_of(events: Sequence[Told]) -> tuple[Step, ...]:
    return tuple(Event(event) for event in events)


@pytest.mark.parametrize("number", range(len(answer("Hello, you two."))))
async def test_a_cut_after_any_frame_ends_as_over_http(sim: Simulator, number: int) -> None:
    events = answer("Hello, you two.")
    found = {}
    for over in ("http", "websocket"):
        sim.play(
            Scenario((Reply(stream=(*steps_of(events[:number]), Cut())), Reply(stream=steps_of(events))))
        )
        async with asking(sim, over=over) as asked:
            found[over] = await asked.outcome(question(user("hi")))
    assert plain(found["websocket"].events[-1:]) == plain(found["http"].events[-1:])
    if found["websocket"].retries:
        assert plain(found["websocket"].events) == plain(found["http"].events)


@pytest.mark.parametrize("compression", ["deflate", None])
@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_fragments_pings_and_compression_change_nothing(
    sim: Simulator, size: int, compression: str | None
) -> None:
    events = answer("Hello, you two. \N{ROCKET}")

    async def talk(connection: ServerConnection) -> None:
        async for asked in connection:
            assert json.loads(asked)["type"] == "response.create"
            for event in events:
                text = json.dumps(event, ensure_ascii=False, indent=1)
                await connection.send(text[at : at + size] for at in range(0, len(text), size))
                await connection.ping()

    async with serve(talk, "127.0.0.1", 0, compression=compression) as server:
        where = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with asking(sim, base_url=where) as asked:
            found = [await asked.outcome(question(user(text))) for text in ("hi", "and again")]
    expected = (await outcome_of([stream_of(*events)])).events
    assert [plain(each.events) for each in found] == [plain(expected)] * 2


@needs_corpus
@pytest.mark.parametrize("recording", recordings(), ids=lambda recording: recording.name)
async def test_a_recorded_stream_gives_the_same_events_in_frames(
    sim: Simulator, recording: Recording
) -> None:
    from codex_nb.responses.stream import EventStreamDecoder

    decoder = EventStreamDecoder()
    data = [*decoder.feed(recording.responses[-1]), *decoder.feed(b"\n\n")]
    data = [each for each in data if each != b"[DONE]"]
    lines = tuple(Raw(b"data: " + each.replace(b"\n", b"\ndata: ") + b"\n\n") for each in data)
    found = []
    for over, steps in (("http", lines), ("websocket", tuple(map(Raw, data)))):
        sim.play(Scenario((Reply(stream=(*steps, Cut()), times=None),)))
        async with asking(sim, over=over) as asked:
            found.append(await asked.outcome(question(user("hi"))))
    http, socket = found
    assert plain(socket.events) == plain(http.events)
    assert (type(socket.error), str(socket.error)) == (type(http.error), str(http.error))
    assert set(counts(sim)) == {WEBSOCKET, FRAME, "POST"}


async def test_the_limits_come_as_an_event(sim: Simulator) -> None:
    async with asking(sim) as asked:
        socket = await asked.outcome(question(user("hi")))
    async with asking(sim, over="http") as asked:
        http = await asked.outcome(question(user("hi")))
    windows = [
        [event.limits.windows for event in each.events if isinstance(event, LimitsSeen)]
        for each in (socket, http)
    ]
    assert [[[w.used_percent for w in ws] for ws in each] for each in windows] == [[[12.5, 31.0]]] * 2


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (error_replies.usage_limit_reached(times=None), UsageLimitReached),
        (error_replies.rate_limited(3600.0, times=None), RateLimited),
        (error_replies.context_length_exceeded(times=None), CodexError),
        (error_replies.overloaded(times=None), CodexError),
        (error_replies.failed("server_error", "It broke.", times=None), CodexError),
        (error_replies.detail(400, "Unsupported parameter: x"), CodexError),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_an_error_frame_is_the_error_of_an_http_reply(
    sim: Simulator, reply: Reply, kind: type[CodexError]
) -> None:
    found = []
    for over in ("http", "websocket"):
        sim.play(Scenario((replace(reply, times=None),)))
        async with asking(sim, over=over) as asked:
            found.append((await asked.outcome(question(user("hi"))), asked.sleeps))
    (http, http_sleeps), (socket, socket_sleeps) = found
    assert isinstance(socket.error, kind)
    assert (type(socket.error), str(socket.error)) == (type(http.error), str(http.error))
    assert socket_sleeps == http_sleeps


# Back to HTTP


@pytest.mark.parametrize(
    ("refusal", "handshakes"),
    [
        (Reply(method=WEBSOCKET, times=None, status=426), 1),
        (Reply(method=WEBSOCKET, times=None, status=404), 2),
        (Reply(method=WEBSOCKET, times=None, status=500), 2),
        (Reply(method=WEBSOCKET, times=None, status=200, body="<html>"), 2),
        (Reply(method=WEBSOCKET, times=None, wire=Wire()), 2),
        (Reply(method=WEBSOCKET, times=None, wire=Wire((b"nonsense\r\n\r\n",))), 2),
        (
            Reply(method=WEBSOCKET, times=None, status=302, headers={"location": "ws://127.0.0.1:1/"}),
            2,
        ),
    ],
    ids=["426", "404", "500", "200", "closed", "no HTTP", "elsewhere"],
)
async def test_a_refused_handshake_leads_to_http(sim: Simulator, refusal: Reply, handshakes: int) -> None:
    sim.play(Scenario((refusal,)))
    async with asking(sim) as asked:
        for _ in range(4):
            outcome = await asked.outcome(question(user("hi")))
            assert "simulator" in outcome.finished.text
            assert outcome.retries == []
    assert counts(sim) == {WEBSOCKET: handshakes, FRAME: 0, "POST": 4}


@pytest.mark.parametrize("lost", [(Cut(),), (Hold("silence"),)], ids=["closed", "silent"])
async def test_a_websocket_on_which_nothing_comes_is_given_up(sim: Simulator, lost: tuple[Step, ...]) -> None:
    sim.play(Scenario((Reply(method=FRAME, stream=lost, times=None),)))
    async with asking(sim, idle_timeout_s=1.5) as asked:
        for _ in range(4):
            assert "simulator" in await asked.text(question(user("hi")))
    assert counts(sim)["POST"] == 4
    assert counts(sim)[WEBSOCKET] <= 4


async def test_one_refusal_is_forgotten_with_the_next_connection(sim: Simulator) -> None:
    async with asking(sim) as asked:
        for number in range(3):
            sim.play(Scenario((Reply(method=WEBSOCKET, status=500),)))
            for each in ("refused", "taken"):
                await asked.text(question(user("hi"), thread=f"{each} {number}"))
    assert counts(sim) == {WEBSOCKET: 6, FRAME: 3, "POST": 3}


async def test_a_rejected_login_is_renewed_for_the_handshake(sim: Simulator) -> None:
    async with asking(sim) as asked:
        asked.signer.bearers.insert(0, "stale")
        assert "simulator" in await asked.text(question(user("hi")))
        assert asked.signer.rejected == 1
    assert [each.status for each in sim.requests.to("/responses", WEBSOCKET)] == [401, 101]
    assert counts(sim)["POST"] == 0


async def test_a_login_that_is_rejected_for_good_is_said_so_at_once(sim: Simulator) -> None:
    async with asking(sim) as asked:
        asked.signer.bearers[:] = ["stale"]
        outcome = await asked.outcome(question(user("hi")))
    assert isinstance(outcome.error, SignInRequired)
    assert "invalid" in str(outcome.error) or "parse" in str(outcome.error)
    assert counts(sim) == {WEBSOCKET: 1, FRAME: 0, "POST": 0}


async def test_a_thread_whose_login_was_rejected_has_a_connection_after_the_next_login(
    sim: Simulator,
) -> None:
    async with asking(sim) as asked:
        good, asked.signer.bearers[:] = asked.signer.bearers[0], ["stale"]
        await asked.outcome(question(user("hi")))
        asked.signer.bearers[:] = [good]
        assert "simulator" in await asked.text(question(user("hi")))
    assert counts(sim) == {WEBSOCKET: 2, FRAME: 1, "POST": 0}


async def test_a_login_that_is_rejected_in_a_frame_is_renewed_too(sim: Simulator) -> None:
    async with asking(sim) as asked:
        first = (await asked.outcome(question(user("hi")))).finished
        asked.signer.bearers.append(sim.sign_in().access_token)
        expired = replace(error_replies.unauthorized("expired"), method=FRAME)
        sim.play(Scenario((expired,)))
        outcome = await asked.outcome(question(user("hi"), *first.items, user("and again")))
        assert "and again" in outcome.finished.text
        assert (asked.signer.rejected, outcome.retries) == (1, [])
        assert counts(sim) == {WEBSOCKET: 2, FRAME: 3, "POST": 0}
        sim.play(Scenario((replace(expired, times=None),)))
        refused = await asked.outcome(question(user("hi")))
    assert isinstance(refused.error, SignInRequired)
    assert "expired" in str(refused.error)
    assert counts(sim)["POST"] == 0


@pytest.mark.parametrize("who", ["renewed", "another account"])
async def test_another_login_gets_a_connection_of_its_own(sim: Simulator, who: str) -> None:
    async with asking(sim) as asked:
        first = (await asked.outcome(question(user("hi")))).finished
        if who == "renewed":
            asked.signer.bearers[:] = [sim.sign_in().access_token]
        else:
            asked.signer.account = "another"
        await asked.text(question(user("hi"), *first.items, user("and again")))
    assert counts(sim)[WEBSOCKET] == 2
    assert "previous_response_id" not in sim.requests.to("/responses", FRAME)[-1].body


@pytest.mark.parametrize(
    "lost",
    [
        error_replies.previous_response_not_found("resp_1"),
        error_replies.websocket_connection_limit_reached(),
        Reply(stream=(Cut(),)),
        Reply(stream=(Cut("reset"),)),
        Reply(stream=(Event({"type": "response.created", "response": {"id": "resp_1"}}), Cut("truncate"))),
    ],
    ids=["forgotten", "too old", "closed", "reset", "cut after its beginning"],
)
async def test_a_connection_that_is_lost_before_anything_was_seen_is_replaced_silently(
    sim: Simulator, lost: Reply
) -> None:
    async with asking(sim) as asked:
        first = (await asked.outcome(question(user("hi")))).finished
        sim.play(Scenario((replace(lost, method=FRAME),)))
        outcome = await asked.outcome(question(user("hi"), *first.items, user("and again")))
        assert "and again" in outcome.finished.text
        assert (outcome.retries, asked.sleeps) == ([], [])
        sim.play(Scenario((replace(lost, method=FRAME, times=2),)))
        outcome = await asked.outcome(question(user("hi")))
        assert "simulator" in outcome.finished.text
    assert counts(sim)["POST"] == 1
    incremental, whole, *_ = [each.body for each in sim.requests.to("/responses", FRAME)][1:]
    assert ("previous_response_id" in incremental, "previous_response_id" in whole) == (True, False)


async def test_a_connection_lost_in_an_answer_is_asked_again_with_what_was_complete(sim: Simulator) -> None:
    cut = Reply(stream=(Think(("Hm.",)), Say("half an ans"), Cut()))
    sim.play(Scenario((cut, Reply(stream=(Say("A whole one."), End())))))
    async with asking(sim) as asked:
        outcome = await asked.outcome(question(user("hi")))
    assert [type(event) for event in outcome.retries] == [RetryScheduled]
    assert outcome.finished.text.endswith("A whole one.")
    again = sim.requests.to("/responses", FRAME)[-1].body
    assert [item["type"] for item in again["input"]][:2] == ["message", "reasoning"]
    assert "previous_response_id" not in again


async def test_an_old_connection_is_replaced_between_two_questions(sim: Simulator) -> None:
    async with asking(sim, oldest_s=0.0) as asked:
        first = (await asked.outcome(question(user("hi")))).finished
        later = await asked.outcome(question(user("hi"), *first.items, user("and again")))
    assert "and again" in later.finished.text
    assert counts(sim) == {WEBSOCKET: 2, FRAME: 2, "POST": 0}
    assert "previous_response_id" not in sim.requests.to("/responses", FRAME)[-1].body


async def test_a_request_that_is_too_large_for_a_frame_goes_over_http(sim: Simulator) -> None:
    class Small(Connector):
        async def connect(self, handshake: httpx.Request) -> Connection:
            connection = await super().connect(handshake)
            assert connection.response is not None
            connection.response.headers["x-codex-websocket-max-message-bytes"] = "1000"
            return connection

    async with asking(sim, connector=Small({}, None)) as asked:
        await asked.text(question(user("hi")))
        await asked.text(question(user("hi " * 1000)))
        await asked.text(question(user("hi")))
    assert counts(sim) == {WEBSOCKET: 1, FRAME: 2, "POST": 1}


@pytest.mark.parametrize("where", ["http://codex.test/v1", "http://user:x@127.0.0.1:9/v1"])
async def test_a_login_goes_to_no_address_that_is_not_secure(sim: Simulator, where: str) -> None:
    class Nowhere(Connector):
        async def connect(self, handshake: httpx.Request) -> Connection:
            raise AssertionError(handshake.url)

    async with asking(sim, connector=Nowhere({}, None), base_url=where) as asked:
        outcome = await asked.outcome(question(user("hi")))
    assert outcome.error is not None
    assert counts(sim) == {WEBSOCKET: 0, FRAME: 0, "POST": 0}


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_the_certificates_are_those_of_http(*, is_trusted: bool) -> None:
    with Simulator(tls=True) as sim:
        trusting = replace(SETTINGS, ca_certificate=sim.ca_file if is_trusted else None)
        connector = Connector({}, trusting.ca_certificate)
        async with asking(sim, connector=connector, http=open_http(trusting, {})) as asked:
            outcome = await asked.outcome(question(user("hi")))
        if is_trusted:
            assert "simulator" in outcome.finished.text
            assert counts(sim) == {WEBSOCKET: 1, FRAME: 1, "POST": 0}
        else:
            assert isinstance(outcome.error, ConfigError)
            assert "certificate" in str(outcome.error)


async def test_the_proxy_is_that_of_http_and_does_not_see_the_login(sim: Simulator) -> None:
    asked_for: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked_for.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    environ = {"HTTPS_PROXY": f"127.0.0.1:{port}", "NO_PROXY": "elsewhere.test"}
    async with (
        server,
        asking(
            sim,
            connector=Connector(environ, None),
            http=open_http(SETTINGS, environ),
            base_url="https://codex.test/v1",
        ) as asked,
    ):
        outcome = await asked.outcome(question(user("hi")))
    assert outcome.error is not None
    assert "proxy refused" in str(outcome.error)
    assert {each.partition(b"\r\n")[0] for each in asked_for} == {b"CONNECT codex.test:443 HTTP/1.1"}
    assert [each for each in asked_for if asked.signer.bearers[0].encode() in each] == []


# The end


async def test_stop_closes_the_connection_and_the_next_question_is_whole(sim: Simulator) -> None:
    async with asking(sim) as asked:
        first = (await asked.outcome(question(user("hi")))).finished
        later = question(user("hi"), *first.items, user("and again"))
        sim.play(Scenario((Reply(stream=(Say("A long text.", gate="stop"), End())),)))
        async with aclosing(asked.client.stream(later)) as events:
            async for event in events:
                if not isinstance(event, LimitsSeen) and await asyncio.to_thread(sim.wait_held, "stop"):
                    break
        assert await asyncio.to_thread(sim.requests.wait, lambda log: log[-1].outcome == "client_closed")
        sim.release("stop")
        await asked.text(later)
    assert counts(sim) == {WEBSOCKET: 2, FRAME: 3, "POST": 0}
    assert "previous_response_id" not in sim.requests.to("/responses", FRAME)[-1].body


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"\xff\xfe", "binary"),
        (b"not JSON", "no event"),
        (b"[1, 2]", "no event"),
        (b'{"no": "type"}', "no event"),
        (b'{"type": 5}', "no event"),
        (b'{"type": ["response.completed"]}', "no event"),
        (b'{"type": "x", "x": "' + b"x" * 5_000_000 + b'"}', "too large"),
        (b"", "no event"),
    ],
    ids=["binary", "no JSON", "a list", "no type", "an odd type", "types", "too large", "empty"],
)
@pytest.mark.parametrize("when", ["first", "in the answer"])
async def test_a_frame_that_is_no_event_ends_in_one_line(
    sim: Simulator, sent: bytes, words: str, when: str
) -> None:
    before = (Say("Hello."),) if when == "in the answer" else ()
    sim.play(Scenario((Reply(stream=(*before, Raw(sent), End()), method=FRAME),)))
    async with asking(sim) as asked:
        outcome = await asked.outcome(question(user("hi")))
        assert isinstance(outcome.error, ApiError)
        assert words in str(outcome.error)
        assert "simulator" in await asked.text(question(user("hi")))
    assert counts(sim) == {WEBSOCKET: 2, FRAME: 2, "POST": 0}


async def test_unknown_events_pass_through(sim: Simulator) -> None:
    odd = Event({"type": "response.unheard_of", "x": 1})
    sim.play(Scenario((Reply(stream=(odd, Say("Hello."), odd, End())),)))
    async with asking(sim) as asked:
        outcome = await asked.outcome(question(user("hi")))
    assert outcome.finished.text == "Hello."
    assert [getattr(event, "type", "") for event in outcome.events].count("response.unheard_of") == 2


async def test_a_silent_server_is_not_waited_for_without_end(sim: Simulator) -> None:
    for steps in ((Hold("first"),), (Say("Hello."), Hold("later"))):
        sim.play(Scenario((Reply(stream=steps, times=None),)))
        async with asking(sim, idle_timeout_s=0.2) as asked:
            outcome = await asked.outcome(question(user("hi")))
        assert isinstance(outcome.error, StreamInterrupted)
        assert "stopped responding" in str(outcome.error)
