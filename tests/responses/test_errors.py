"""Failures in the server's words become errors in ours: which class, which words, which wait."""

from __future__ import annotations

import base64
import errno
import json
import socket
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_nb.errors import (
    ApiError,
    BackendOverloaded,
    BadRequest,
    CodexError,
    RateLimited,
    StreamInterrupted,
    UsageLimitReached,
)
from codex_nb.http import httpx
from codex_nb.responses.errors import event_error, response_error, sanitize_server_text, transport_error
from tests.leaks import find_leaks
from tests.responses.fakes import API, CHATGPT

NOW = datetime(2026, 11, 20, 20, 0, 0, tzinfo=UTC)


def refused(status: int, body: Any = None, headers: dict[str, str] | None = None) -> CodexError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return response_error(status, headers or {}, data, backend=CHATGPT, now=NOW)


SHAPES: list[tuple[Any, str]] = [
    ({"error": {"message": "One."}}, "One."),
    ({"error": "Two."}, "Two."),
    ({"detail": "Three."}, "Three."),
    ({"detail": {"message": "Four."}}, "Four."),
    ({"detail": {"code": "five"}}, "five"),
    ({"detail": [{"msg": "Six."}]}, 'OpenAI rejected the request (400): "[{"msg": "Six."}]".'),
    ({"message": "Seven."}, "Seven."),
    (b"<html><style>p {}</style><h1>Eight</h1>\n<script>x()</script></html>", "Eight"),
    (b"Nine.\r\n\r\n\x1b[31m\x00", "Nine. [31m"),
    (b"\xff\xfeTen", "\ufffd\ufffdTen"),
    ([1, 2], 'OpenAI rejected the request (400): "[1, 2]".'),
]


@pytest.mark.parametrize(("body", "said"), SHAPES)
def test_a_refusal_is_read_wherever_it_says_why(body: Any, said: str) -> None:
    assert str(refused(400, body)) == said


@pytest.mark.parametrize("body", [{}, b"", {"error": {}}, {"error": None}])
def test_a_refusal_without_words_has_ours(body: Any) -> None:
    assert str(refused(400, body)).startswith("OpenAI rejected the request (400)")


def test_a_refusal_may_hide_in_a_header() -> None:
    hidden = base64.b64encode(json.dumps({"error": {"code": "invalid_prompt", "message": "No."}}).encode())
    error = refused(400, b"", {"x-error-json": hidden.decode()})
    assert (str(error), getattr(error, "code", None)) == ("No.", "invalid_prompt")


@pytest.mark.parametrize("hidden", ["%%%", "AAA", "/w=="])
def test_a_header_that_hides_nothing_is_passed_over(hidden: str) -> None:
    assert str(refused(400, b"Plain.", {"x-error-json": hidden})) == "Plain."


@pytest.mark.parametrize("name", ["x-request-id", "x-oai-request-id", "cf-ray"])
def test_the_id_that_support_asks_for_is_kept(name: str) -> None:
    error = refused(400, {}, {name: "req_1"})
    assert isinstance(error, ApiError)
    assert (error.status, error.request_id) == (400, "req_1")


def test_long_words_are_cut() -> None:
    assert len(sanitize_server_text("word " * 1000)) == 300


SECRETS = {
    "key": "sk-proj-Fabricated0123456789abcdef",
    "token": "eyJhbGciOiJub25lIn0.eyJmYWJyaWNhdGVkIjoxfQ.signature",
    "pat": "at-fabricated0123456789",
    "plain": "hunter2hunter2hunter2",
}
LEAKY = (
    "Incorrect API key provided: sk-proj-Fabricated0123456789abcdef.",
    "Authorization: Bearer hunter2hunter2hunter2 is not valid",
    "token=hunter2hunter2hunter2 api_key: hunter2hunter2hunter2",
    "jwt eyJhbGciOiJub25lIn0.eyJmYWJyaWNhdGVkIjoxfQ.signature expired; at-fabricated0123456789 too",
)


@pytest.mark.parametrize("words", LEAKY)
def test_what_looks_like_a_secret_is_not_repeated(words: str) -> None:
    assert find_leaks(refused(401, {"error": {"message": words}}).line, SECRETS) == []


WAITS: list[tuple[dict[str, str], str, float | None]] = [
    ({"retry-after": "7"}, "", 7.0),
    ({"retry-after": "1.5"}, "", 1.5),
    ({"retry-after-ms": "250", "retry-after": "7"}, "", 0.25),
    ({"retry-after": "Fri, 20 Nov 2026 20:00:30 GMT"}, "", 30.0),
    ({"retry-after": "Fri, 20 Nov 2026 19:00:00 GMT"}, "", 0.0),
    ({"retry-after": "20 Nov 2026 20:00:10"}, "", 10.0),
    ({"retry-after": "soon"}, "", None),
    ({"retry-after": "-1"}, "", None),
    ({"retry-after": "nan"}, "", None),
    ({}, "Please try again in 1.5s.", 1.5),
    ({}, "Please try again in 350ms.", 0.35),
    ({}, "Please TRY AGAIN IN 3 seconds.", 3.0),
    ({}, "Please try again in 2 minutes.", 120.0),
    ({}, "Please try again in 6m0s.", None),
    ({"retry-after": "4"}, "try again in 1s", 4.0),
    ({}, "Try later.", None),
]


@pytest.mark.parametrize(("headers", "words", "seconds"), WAITS)
def test_the_wait_is_taken_from_headers_or_words(
    headers: dict[str, str], words: str, seconds: float | None
) -> None:
    error = refused(429, {"error": {"code": "rate_limit_exceeded", "message": words}}, headers)
    assert isinstance(error, RateLimited)
    assert error.retry_after == seconds


def test_a_wait_in_an_event_is_kept_too() -> None:
    told = {"error": {"code": "rate_limit_exceeded", "message": "Please try again in 1.5s."}}
    error = event_error(told, backend=CHATGPT)
    assert isinstance(error, RateLimited)
    assert error.retry_after == 1.5


FULL = {
    "x-codex-primary-used-percent": "100",
    "x-codex-primary-window-minutes": "10080",
    "x-codex-primary-reset-at": "1795300000",
    "x-codex-secondary-used-percent": "12",
    "x-codex-secondary-window-minutes": "300",
}


def usage_limit(fields: dict[str, Any], headers: dict[str, str]) -> UsageLimitReached:
    error = refused(429, {"error": {"type": "usage_limit_reached", **fields}}, headers)
    assert isinstance(error, UsageLimitReached)
    return error


def test_a_usage_limit_names_window_plan_and_reset() -> None:
    error = usage_limit({"plan_type": "plus", "resets_in_seconds": 90}, FULL)
    assert str(error).startswith("You've reached the weekly limit of ChatGPT Plus. It resets at ")
    assert (error.plan, error.resets_at) == ("plus", datetime(2026, 11, 20, 20, 1, 30, tzinfo=UTC))


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(90, "2 min"), (3600, "1 h"), (5400, "1 h 30 min"), (90_000, "1 day 1 h"), (259_199, "3 days")],
)
def test_a_usage_limit_says_how_long_it_lasts(seconds: int, told: str) -> None:
    assert f"(in {told})" in str(usage_limit({"resets_in_seconds": seconds}, FULL))


def test_a_usage_limit_that_tells_nothing_says_nothing_more() -> None:
    error = usage_limit({"resets_at": "never", "plan_type": None}, {})
    assert (str(error), error.resets_at, error.plan) == ("You've reached the usage limit.", None, None)


def test_the_reset_may_be_told_by_the_headers_only() -> None:
    assert usage_limit({}, FULL).resets_at == datetime.fromtimestamp(1795300000, UTC)


def test_an_impossible_reset_is_unknown() -> None:
    assert usage_limit({"resets_at": 1e30}, {}).resets_at is None


def test_a_workspace_without_credits_says_so_and_the_offer_is_passed_on() -> None:
    reached = {"x-codex-rate-limit-reached-type": "workspace_owner_credits_depleted"}
    error = usage_limit({}, {**reached, "x-codex-promo-message": "Add <b>credits</b>."})
    assert str(error) == "The workspace is out of credits."
    assert error.hint.startswith("Add credits .")


@pytest.mark.parametrize("told", [None, 5, "x", {}, {"error": 5}])
def test_an_event_that_tells_nothing_is_an_error_all_the_same(told: Any) -> None:
    error = event_error(told, backend=API)
    assert isinstance(error, BackendOverloaded)
    assert str(error) == "OpenAI failed while answering."


def raised(error: Exception, cause: BaseException | None = None) -> CodexError:
    error.__cause__ = cause
    return transport_error(error, url="https://chatgpt.com/x", events_seen=0)


CONNECTIONS: list[tuple[Exception, BaseException | None, type[CodexError], str]] = [
    (httpx.ConnectError("x"), socket.gaierror(-2, "?"), StreamInterrupted, "could not be resolved"),
    (httpx.ConnectError("x"), OSError(errno.EHOSTUNREACH, "?"), StreamInterrupted, "no route to host"),
    (httpx.ConnectError("All connection attempts failed"), None, StreamInterrupted, "attempts failed"),
    (httpx.ConnectTimeout("x"), None, StreamInterrupted, "timed out"),
    (
        httpx.ProxyError("502 Bad Gateway"),
        None,
        ApiError,
        "The proxy refused the connection: 502 Bad Gateway.",
    ),
    (httpx.UnsupportedProtocol("no http"), None, BadRequest, "cannot be sent: no http."),
    (httpx.ReadError("x"), ConnectionResetError(errno.ECONNRESET, "?"), StreamInterrupted, "was lost"),
    (httpx.DecodingError("x"), None, StreamInterrupted, "could not be decompressed"),
    (TimeoutError(), None, StreamInterrupted, "chatgpt.com stopped responding"),
]


@pytest.mark.parametrize(("error", "cause", "kind", "words"), CONNECTIONS)
def test_a_lost_connection_says_how(
    error: Exception, cause: BaseException | None, kind: type[CodexError], words: str
) -> None:
    mapped = raised(error, cause)
    assert type(mapped) is kind
    assert words in str(mapped)
    assert mapped.__cause__ is None or isinstance(mapped.__cause__, OSError)


@given(
    st.integers(100, 599), st.binary(max_size=200), st.dictionaries(st.text(max_size=5), st.text(max_size=5))
)
def test_any_reply_at_all_is_one_readable_line(status: int, body: bytes, headers: dict[str, str]) -> None:
    line = response_error(status, headers, body, backend=API, now=NOW).line
    assert line.isprintable()
    assert len(line) < 800
