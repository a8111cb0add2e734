"""Limits from headers, events and the usage endpoint, in one shape."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from codex_nb.errors import BackendOverloaded, SignInRequired
from codex_nb.http import httpx, open_http
from codex_nb.responses.client import fetch_usage
from codex_nb.responses.events import (
    Credits,
    RateLimits,
    Window,
    parse_headers,
    parse_limits_event,
    parse_usage,
)
from tests.responses.fakes import API, CHATGPT, SETTINGS

RESET = datetime(2026, 11, 21, 20, 26, 40, tzinfo=UTC)
RESET_S = int(RESET.timestamp())


@pytest.mark.parametrize(
    ("minutes", "label"),
    [
        (300, "5 h"),
        (299, "5 h"),
        (60, "1 h"),
        (90, "1.5 h"),
        (45, "45 min"),
        (1440, "day"),
        (10080, "week"),
        (10079, "week"),
        (43200, "month"),
        (44640, "month"),
        (4320, "3 days"),
        (None, "limit"),
        (0, "limit"),
    ],
)
def test_a_window_is_named_by_its_length(minutes: int | None, label: str) -> None:
    assert Window(1.0, minutes).label == label


def test_headers_tell_windows_credits_and_further_limits() -> None:
    headers = {
        "X-Codex-Primary-Used-Percent": "42.7",
        "x-codex-primary-window-minutes": "300",
        "x-codex-primary-reset-at": str(RESET_S),
        "x-codex-secondary-used-percent": "7",
        "x-codex-bengalfox-primary-used-percent": "99",
        "x-codex-bengalfox-limit-name": "Bengal Fox",
        "x-codex-credits-has-credits": "True",
        "x-codex-credits-unlimited": "false",
        "x-codex-credits-balance": "3",
        "x-codex-rate-limit-reached-type": "workspace_owner_credits_depleted",
        "x-codex-promo-message": "More is more.",
    }
    assert parse_headers(headers) == RateLimits(
        windows=(
            Window(42.7, 300, RESET),
            Window(7.0),
            Window(99.0, limit="Bengal Fox"),
        ),
        credits=Credits(True, False, "3"),
        reached="workspace_owner_credits_depleted",
        promo="More is more.",
    )


def test_a_limit_without_a_name_has_its_familys() -> None:
    limits = parse_headers({"x-codex-bengalfox-secondary-used-percent": "1"})
    assert limits == RateLimits((Window(1.0, limit="codex_bengalfox"),))


@pytest.mark.parametrize("headers", [{}, {"x-codex-primary-used-percent": "many"}, {"date": "today"}])
def test_headers_that_tell_nothing_are_nothing(headers: dict[str, str]) -> None:
    assert parse_headers(headers) is None


@pytest.mark.parametrize("odd", ["nan", "inf", "-inf", "", "1e400"])
def test_numbers_that_are_none_are_unknown(odd: str) -> None:
    headers = {
        "x-codex-primary-used-percent": "5",
        "x-codex-primary-reset-at": odd,
        "x-codex-primary-window-minutes": odd,
    }
    assert parse_headers(headers) == RateLimits((Window(5.0),))


def test_an_event_tells_windows_plan_and_credits() -> None:
    event = {
        "type": "codex.rate_limits",
        "plan_type": "plus",
        "rate_limits": {
            "allowed": True,
            "limit_reached": False,
            "primary": {"used_percent": 33.4, "window_minutes": 300, "reset_at": RESET_S},
            "secondary": None,
        },
        "credits": {"has_credits": True, "unlimited": False, "balance": "3"},
    }
    assert parse_limits_event(event) == RateLimits(
        windows=(Window(33.4, 300, RESET),), plan="plus", credits=Credits(True, False, "3")
    )


USAGE: dict[str, Any] = {
    "plan_type": "galactic",
    "rate_limit": {
        "allowed": False,
        "limit_reached": True,
        "primary_window": {
            "used_percent": 100,
            "limit_window_seconds": 18000,
            "reset_after_seconds": 60,
            "reset_at": RESET_S,
        },
        "secondary_window": {"used_percent": 42.7},
    },
    "additional_rate_limits": [
        {"limit_name": "Images", "rate_limit": {"primary_window": {"limit_window_seconds": 604800}}},
        "nonsense",
    ],
    "credits": None,
}


def test_the_usage_endpoint_tells_all_limits_and_odd_ones_are_kept() -> None:
    assert parse_usage(USAGE) == RateLimits(
        windows=(Window(100.0, 300, RESET), Window(42.7), Window(window_minutes=10080, limit="Images")),
        plan="galactic",
    )


@pytest.mark.parametrize("body", [{}, {"rate_limit": None}, {"rate_limit": 5, "additional_rate_limits": {}}])
def test_what_the_usage_endpoint_does_not_tell_is_unknown(body: dict[str, Any]) -> None:
    assert parse_usage(body) == RateLimits()


async def usage_of(
    reply: httpx.Response, backend: Any = CHATGPT
) -> tuple[RateLimits | None, list[httpx.Request]]:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return reply

    async with open_http(SETTINGS, {}, transport=httpx.MockTransport(handle)) as http:
        return await fetch_usage(http, backend, httpx.BasicAuth("ada", "fabricated")), seen


@pytest.mark.anyio
async def test_usage_is_asked_for_with_the_login() -> None:
    limits, [request] = await usage_of(httpx.Response(200, json=USAGE))
    assert limits == parse_usage(USAGE)
    assert str(request.url) == "https://chatgpt.com/backend-api/wham/usage"
    assert request.headers["authorization"].startswith("Basic ")


@pytest.mark.anyio
async def test_an_api_key_has_no_plan_to_ask_about() -> None:
    assert await usage_of(httpx.Response(200, json=USAGE), API) == (None, [])


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "error"),
    [(httpx.Response(401, json={}), SignInRequired), (httpx.Response(500, json={}), BackendOverloaded)],
)
async def test_a_refused_question_is_a_typed_error(reply: httpx.Response, error: type[Exception]) -> None:
    with pytest.raises(error):
        await usage_of(reply)


EMPTY_WINDOWS: list[dict[str, Any]] = [
    {"used_percent": 0, "limit_window_seconds": 0, "reset_at": 0},
    {"used_percent": 0.0, "limit_window_seconds": None, "reset_at": None},
    {"used_percent": None},
    {},
]


@pytest.mark.parametrize("empty", EMPTY_WINDOWS)
def test_a_window_that_says_nothing_is_left_out(empty: dict[str, Any]) -> None:
    weekly = {"used_percent": 0, "limit_window_seconds": 604_800, "reset_at": RESET_S}
    told = parse_usage({"rate_limit": {"primary_window": weekly, "secondary_window": empty}})
    assert told.windows == (Window(0.0, 10080, RESET),)


def test_headers_of_a_window_that_says_nothing_are_left_out() -> None:
    names = {"used-percent": "0", "window-minutes": "0", "reset-at": "0"}
    headers = {f"x-codex-secondary-{name}": value for name, value in names.items()}
    assert parse_headers({**headers, "x-codex-primary-used-percent": "5"}) == RateLimits((Window(5.0),))
