"""Failures in the server's words become errors in ours: which class, which words, which wait."""

from __future__ import annotations

import base64
import errno
import json
import socket
from dataclasses import replace
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
    ContextWindowExceeded,
    ModelUnavailable,
    QuotaExceeded,
    RateLimited,
    StreamInterrupted,
    UsageLimitReached,
)
from codex_nb.http import httpx
from codex_nb.labels import plan_name
from codex_nb.rendering.sanitize import sanitize_server_text
from codex_nb.responses.errors import event_error, response_error, transport_error
from codex_nb.responses.request import Backend
from codex_nb.ui.account import billing_label
from tests.leaks import find_leaks
from tests.responses.fakes import API, CHATGPT, LOCAL, outcome_of

NOW = datetime(2026, 11, 20, 20, 0, 0, tzinfo=UTC)


def refused(status: int, body: Any = None, headers: dict[str, str] | None = None) -> CodexError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return response_error(status, headers or {}, data, backend=CHATGPT, now=NOW)


SHAPES: list[tuple[Any, str]] = [
    ({"error": {"message": "One."}}, "One."),
    ({"error": "Two."}, "Two."),
    ({"detail": "Three."}, "Three."),
    ({"detail": {"message": "Four."}}, "Four."),
    ({"detail": {"code": "five"}}, "five."),
    ({"detail": [{"msg": "Six."}]}, 'OpenAI rejected the request (400): "[{"msg": "Six."}]".'),
    ({"message": "Seven."}, "Seven."),
    (b"<html><style>p {}</style><h1>Eight</h1>\n<script>x()</script></html>", "Eight."),
    (b"Nine.\r\n\r\n\x1b[31m\x00", "Nine. [31m."),
    (b"\xff\xfeTen", "\ufffd\ufffdTen."),
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
    ({}, "Please try again in 6m0s.", 360.0),
    ({}, "Please try again in 7m12s.", 432.0),
    ({}, "Please try again in 1m12.5s. Visit https://x.test", 72.5),
    ({}, "Please try again in 2h30m.", 9000.0),
    ({}, "try again in 1d2h3m4s", 93_784.0),
    ({}, "Try again in 1 hour and 5 minutes.", 3900.0),
    ({}, "Try again after 2 days, 3 hrs.", 183_600.0),
    ({}, "try again in 20 months", None),
    ({}, "try again in a while, at most 5s", None),
    ({"retry-after": "4"}, "try again in 1s", 4.0),
    ({}, "Try later.", None),
]


YEAR_S = 365 * 86_400
ODD_WAITS = {
    **dict.fromkeys(("1e300", "1e17", "9" * 300, "31536001", "31 Dec 9999 23:59:59 -1400"), YEAR_S),
    "01 Jan 0001 00:00:00 +1400": 0,
    **dict.fromkeys(("-inf", "1e999", "0x10", "1;2", "(", ",", "Fri, 31 Feb 2026 20:00:30 GMT"), None),
    "Mon, 01 Jan 99999999999999999999 00:00:00 GMT": None,
    "20 Nov 2026 20:00:30 +99999999999999999999999999": None,
    "9" * 400: None,
}


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("told", ODD_WAITS)
def test_a_wait_of_any_size_is_a_year_at_most(told: str, status: int) -> None:
    headers = [{"retry-after": told}, *([{"retry-after-ms": told}] if told[:1] == "9" else [])]
    for error in (refused(status, {}, each) for each in headers):
        assert isinstance(error, RateLimited | BackendOverloaded)
        assert error.retry_after == ODD_WAITS[told]
    error = refused(status, {"error": {"message": f"Please try again in {'9' * 400}d."}})
    assert isinstance(error, RateLimited | BackendOverloaded)
    assert error.retry_after in {None, YEAR_S}


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
    assert str(error).startswith("You've reached the weekly limit of ChatGPT Plus. It resets 20 Nov 2026 ")
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


LOCAL_SHOP = replace(LOCAL, name="Lab")
TOO_LARGE = (
    "Request too large for gpt-5.5 in organization org-x on tokens per min (TPM): Limit 30000, Requested 44000. "
    "The input or output tokens must be reduced in order to run successfully."
)
TOO_OLD = "The 'gpt-7' model requires a newer version of Codex. Please upgrade to the latest app or CLI and try again."
# What a person meets: the backend, the status, the body; the kind of error, and what the line says.
MET: list[tuple[Backend, int, Any, type[CodexError], str]] = [
    (CHATGPT, 400, {"detail": TOO_OLD}, ModelUnavailable, "codex_nb is what is too old"),
    (API, 400, {"error": {"message": TOO_OLD}}, ModelUnavailable, "pip install --upgrade codex-nb"),
    (CHATGPT, 402, {"detail": {"code": "deactivated_workspace"}}, QuotaExceeded, "workspace is deactivated"),
    (CHATGPT, 402, {"detail": "Payment required"}, QuotaExceeded, "Check your ChatGPT plan"),
    (API, 402, {}, QuotaExceeded, "your API account"),
    (LOCAL_SHOP, 402, {"error": {"message": "Insufficient Balance"}}, QuotaExceeded, "balance with Lab"),
    (API, 429, {"error": {"code": "insufficient_quota"}}, QuotaExceeded, "your API account"),
    (LOCAL_SHOP, 403, {"error": {"code": "insufficient_user_quota"}}, QuotaExceeded, "balance with Lab"),
    (LOCAL_SHOP, 403, {"error": {"type": "pre_consume_token_quota_failed"}}, QuotaExceeded, "with Lab"),
    (
        API,
        429,
        {"error": {"code": "rate_limit_exceeded", "message": TOO_LARGE}},
        ContextWindowExceeded,
        "--no-context",
    ),
    (
        API,
        429,
        {"error": {"message": "Rate limit reached: Limit 30,000, Requested 31,000."}},
        ContextWindowExceeded,
        "alone is larger",
    ),
    (
        API,
        429,
        {
            "error": {
                "message": "Rate limit reached: Limit 3, Used 3, Requested 1. Please try again in 7m12s."
            }
        },
        RateLimited,
        "again in 8 min",
    ),
    (API, 429, {"error": {"message": "Please try again in 2h30m."}}, RateLimited, "again in 2 h 30 min"),
    (CHATGPT, 432, {"detail": "Workspace routing is unavailable"}, ApiError, "manages your workspace"),
    (
        API,
        400,
        {"error": {"message": "No.", "param": "reasoning.summary", "code": "unsupported_value"}},
        BadRequest,
        'model_reasoning_summary = "none"',
    ),
    (LOCAL, 400, {"error": {"message": "No.", "param": "service_tier"}}, BadRequest, "service_tier"),
]


@pytest.mark.parametrize(("backend", "status", "body", "kind", "words"), MET)
def test_a_failure_says_what_helps_this_login(
    backend: Backend, status: int, body: Any, kind: type[CodexError], words: str
) -> None:
    replied = response_error(status, {}, json.dumps(body).encode(), backend=backend, now=NOW)
    assert type(replied) is kind
    assert words in replied.line


@pytest.mark.parametrize(("backend", "status", "body", "kind", "words"), MET)
@pytest.mark.parametrize("key", ["status", "status_code"])
def test_an_event_with_a_status_says_the_same(
    key: str, backend: Backend, status: int, body: Any, kind: type[CodexError], words: str
) -> None:
    inside = event_error({"type": "error", key: status, **body}, backend=backend)
    assert (type(inside), words in inside.line) == (kind, True)
    if isinstance(error := body.get("error"), dict):
        nested = event_error({"type": "error", "error": {key: status, **error}}, backend=backend)
        assert (type(nested), words in nested.line) == (kind, True)


def test_an_event_carries_the_headers_that_name_its_window() -> None:
    failed = {"type": "error", "error": {"type": "usage_limit_reached"}, "status_code": 429, "headers": FULL}
    assert str(event_error(failed, backend=CHATGPT)).startswith("You've reached the weekly limit.")


NEVER_REPEATED = [
    (backend, status, body) for backend, status, body, kind, _ in MET if kind is not RateLimited
]


@pytest.mark.anyio
@pytest.mark.parametrize(("backend", "status", "body"), NEVER_REPEATED)
async def test_what_no_wait_helps_against_is_asked_once(backend: Backend, status: int, body: Any) -> None:
    outcome = await outcome_of([httpx.Response(status, json=body)], backend=backend)
    assert (len(outcome.requests), outcome.sleeps) == (1, [])


@pytest.mark.anyio
async def test_a_relay_that_reports_an_empty_balance_as_a_success_is_asked_once() -> None:
    body = {"error": {"message": "no quota", "type": "new_api_error", "code": "insufficient_user_quota"}}
    outcome = await outcome_of([httpx.Response(200, json=body)], backend=LOCAL_SHOP)
    assert (type(outcome.error), len(outcome.requests)) == (QuotaExceeded, 1)


@pytest.mark.anyio
async def test_a_wait_of_more_than_a_minute_is_left_to_the_user() -> None:
    body = {"error": {"code": "rate_limit_exceeded", "message": "Please try again in 1m12.5s."}}
    outcome = await outcome_of([httpx.Response(429, json=body)], backend=API)
    assert isinstance(outcome.error, RateLimited)
    assert (len(outcome.requests), outcome.sleeps) == (1, [])


PLAN_NAMES = {
    "plus": "ChatGPT Plus",
    "prolite": "ChatGPT Pro Lite",
    "k12": "ChatGPT K-12",
    "hc": "ChatGPT Enterprise",
    "education": "ChatGPT Edu",
    "team": "ChatGPT Business",
    "self_serve_business_usage_based": "ChatGPT Business (usage-based)",
    "enterprise_cbp_usage_based": "ChatGPT Enterprise (usage-based)",
    "free_workspace": "ChatGPT Free (workspace)",
    "a_new_plan": "ChatGPT A New Plan",
    "unknown": "ChatGPT plan",
    "": "ChatGPT plan",
}


@pytest.mark.parametrize(("plan", "name"), PLAN_NAMES.items())
def test_a_plan_has_the_same_name_everywhere(plan: str, name: str) -> None:
    assert plan_name(plan) == name
    if plan:
        assert str(usage_limit({"plan_type": plan}, FULL)).startswith(
            f"You've reached the weekly limit of {name}. It"
        )
    billed = f"{name}, billed by use" if "usage" in plan else f"included in {name}"
    assert billing_label("chatgpt", plan) == billed


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


@pytest.mark.parametrize("backend", [CHATGPT, API, LOCAL_SHOP], ids=lambda backend: backend.name)
@pytest.mark.parametrize("said", ["", "boom", "Boom!", "It broke.", '{"why": "boom"}', "Try again in 2 h"])
@pytest.mark.parametrize("code", ["", "model_not_found", "invalid_prompt"])
def test_whatever_a_server_says_an_error_is_made_of_sentences(backend: Backend, said: str, code: str) -> None:
    body = json.dumps({"error": {"message": said, "code": code}}).encode()
    errors = [
        response_error(status, {}, body, backend=backend, now=NOW) for status in (302, *range(400, 600))
    ]
    texts = [text for error in errors for text in (str(error), error.hint) if text]
    assert [text for text in texts if not text.endswith((".", "!", "?"))] == []
