"""Every row of the contract's refresh table: what a reply to a refresh means, after a 401 and before the end.

``cli`` is the outcome of Codex CLI 0.169.0 as observed, requests counted where they differ from ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from codex_nb.auth.store import FileStore
from codex_nb.errors import AccountChanged, CodexError, CredentialsUnreadable, RefreshFailed, SignInRequired
from tests.auth.fakes import ISSUER, NOW, Service, access_token, id_token, login, write_login

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.auth.fakes import LoginFixture

pytestmark = pytest.mark.anyio

RESPONSES = "/backend-api/codex/responses"
TOKEN = "/oauth/token"
OLD = access_token(NOW + timedelta(hours=1))
NEW = access_token(NOW + timedelta(hours=2), serial=7)


@dataclass(frozen=True)
class Row:
    """One reply: what became of the request, what it cost in requests and refreshes, and what is on disk after."""

    name: str
    reply: httpx.Response | Exception
    cli: str
    outcome: int | str
    posts: int
    refreshes: int
    saved: dict[str, str] | None = None


def reply(status: int, value: Any = None) -> httpx.Response:
    return httpx.Response(status, json=value) if value is not None else httpx.Response(status)


def code(name: str) -> dict[str, Any]:
    return {"error": {"code": name, "message": "no"}}


PERMANENT = "permanent, remembered"
REDIRECT = httpx.Response(307, headers={"location": "https://elsewhere.example/token"})
RT_NEW = {"refresh_token": "rt_new"}
TRANSIENT = "18 POSTs and 6 refreshes, then an error"
ROWS = [
    Row("400 expired in error.code", reply(400, code("refresh_token_expired")), PERMANENT, "expired", 1, 1),
    Row("401 expired in error.code", reply(401, code("refresh_token_expired")), PERMANENT, "expired", 1, 1),
    Row("401 expired as error", reply(401, {"error": "refresh_token_expired"}), PERMANENT, "expired", 1, 1),
    Row("401 expired as code", reply(401, {"code": "refresh_token_expired"}), PERMANENT, "expired", 1, 1),
    Row("401 reused", reply(401, code("refresh_token_reused")), PERMANENT, "reused", 1, 1),
    Row("400 reused", reply(400, code("refresh_token_reused")), PERMANENT, "reused", 1, 1),
    Row("401 invalidated", reply(401, code("refresh_token_invalidated")), PERMANENT, "revoked", 1, 1),
    Row("401 other code", reply(401, code("something_else")), PERMANENT, "rejected", 1, 1),
    Row("401 without a body", reply(401), PERMANENT, "rejected", 1, 1),
    Row("400 invalid_grant", reply(400, {"error": "invalid_grant"}), PERMANENT, "rejected", 1, 1),
    Row("400 other code", reply(400, code("something_else")), TRANSIENT, "unreachable", 1, 3),
    Row("400 without a body", reply(400), TRANSIENT, "unreachable", 1, 3),
    Row("403", reply(403, {"detail": "no"}), TRANSIENT, "unreachable", 1, 3),
    Row("429", reply(429, {"detail": "slow"}), TRANSIENT, "unreachable", 1, 3),
    Row("500", reply(500), TRANSIENT, "unreachable", 1, 3),
    Row("503", reply(503), TRANSIENT, "unreachable", 1, 3),
    Row("no connection", httpx.ConnectError("no route"), TRANSIENT, "unreachable", 1, 3),
    Row("no answer in time", httpx.ReadTimeout("slow"), TRANSIENT, "unreachable", 1, 3),
    Row("200 not JSON", httpx.Response(200, text="<html>"), TRANSIENT, "malformed", 1, 3),
    Row("200 a list", reply(200, []), TRANSIENT, "malformed", 1, 3),
    Row("200 a number for a token", reply(200, {"access_token": 7}), TRANSIENT, "malformed", 1, 3),
    Row("a redirect elsewhere", REDIRECT, TRANSIENT, "unreachable", 1, 3),
    Row(
        "200 all three",
        reply(200, {"id_token": id_token(), "access_token": NEW, "refresh_token": "rt_new"}),
        "success",
        200,
        2,
        1,
        {"id_token": id_token(), "access_token": NEW, "refresh_token": "rt_new"},
    ),
    Row(
        "200 access token only",
        reply(200, {"access_token": NEW}),
        "success",
        200,
        2,
        1,
        {"access_token": NEW},
    ),
    Row(
        "200 with other keys and nulls",
        reply(200, {"access_token": NEW, "refresh_token": None, "scope": "all", "expires_in": 3600}),
        "success",
        200,
        2,
        1,
        {"access_token": NEW},
    ),
    Row(
        "200 with a refresh token that is none",
        reply(200, {"access_token": NEW, "refresh_token": ["rt"], "id_token": 7}),
        TRANSIENT,
        200,
        2,
        1,
        {"access_token": NEW},
    ),
    Row(
        "200 with a refresh token that no header holds",
        reply(200, {"access_token": NEW, "refresh_token": " \n"}),
        "success",
        200,
        2,
        1,
        {"access_token": NEW},
    ),
    *(
        Row(
            f"200 with {odd!r} as access token",
            reply(200, {**RT_NEW, "access_token": odd}),
            TRANSIENT,
            401,
            1,
            1,
            RT_NEW,
        )
        for odd in (7, " ", "a\nb", ["x"], {})
    ),
    Row("200 refresh token only", reply(200, RT_NEW), TRANSIENT, 401, 1, 1, RT_NEW),
    Row("200 empty object", reply(200, {}), "success: the old token again, 18 POSTs", 401, 1, 1, {}),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name} (CLI: {row.cli})")
async def test_a_reply_to_a_refresh_after_a_401(row: Row, make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk(service=Service(valid_access={NEW}))
    before = login(tokens={"access_token": OLD})
    write_login(desk.home, before)
    desk.service.on[TOKEN] = lambda _: row.reply

    if isinstance(row.outcome, str):
        with pytest.raises(RefreshFailed) as raised:
            await desk.post()
        assert (raised.value.reason, raised.value.permanent) == (row.outcome, row.cli == PERMANENT)
        assert raised.value.retryable is not raised.value.permanent
    else:
        assert (await desk.post()).status_code == row.outcome

    counts = desk.service.counts
    assert (counts[RESPONSES], counts[TOKEN]) == (row.posts, row.refreshes)
    if row.saved is not None:
        before["tokens"].update(row.saved)
        before["last_refresh"] = "2026-11-20T20:00:00.000000000Z"
    assert desk.on_disk() == before


async def test_the_refresh_request_is_the_clis(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk(service=Service(valid_access=set()))
    write_login(desk.home)
    await desk.post()
    (request,) = [one for one in desk.service.requests if one.url.path == TOKEN]
    assert str(request.url) == f"{ISSUER}/oauth/token"
    assert request.headers["content-type"] == "application/json"
    assert "authorization" not in request.headers
    assert desk.service.sent(TOKEN) == [
        {
            "client_id": "app_fab",
            "grant_type": "refresh_token",
            "refresh_reason": "unauthorized_recovery",
            "refresh_token": "rt_fab_0_0123456789abcdef",
        }
    ]


async def test_a_permanent_failure_is_remembered_for_this_login_only(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk(service=Service(valid_access=set(), valid_refresh=set()))
    write_login(desk.home)
    for _ in range(3):
        with pytest.raises(RefreshFailed, match="already used"):
            await desk.post()
    assert desk.service.counts[TOKEN] == 1

    desk.service.valid_refresh.add("rt_from_a_new_login")
    write_login(desk.home, tokens={"refresh_token": "rt_from_a_new_login"})
    assert (await desk.post()).status_code == 200
    assert desk.service.counts[TOKEN] == 2


async def test_a_transient_failure_is_tried_again_after_a_growing_pause(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk(service=Service(valid_access=set()))
    write_login(desk.home)
    desk.service.on[TOKEN] = lambda _: httpx.Response(503)

    async def refreshes_of_a_request_after(seconds: float) -> int:
        desk.service.clock.now += timedelta(seconds=seconds)
        before = desk.service.counts[TOKEN]
        with pytest.raises(RefreshFailed, match="could not be refreshed"):
            await desk.post()
        return desk.service.counts[TOKEN] - before

    assert [await refreshes_of_a_request_after(pause) for pause in (0, 1, 1, 2, 2)] == [3, 0, 3, 0, 3]
    assert desk.service.clock.slept == [0.5, 2.0] * 3
    del desk.service.on[TOKEN]
    desk.service.clock.now += timedelta(minutes=1)
    assert (await desk.post()).status_code == 200


EARLY = [
    ("299 s before the end", 299, "proactive_expiry"),
    ("300 s before the end", 300, "proactive_expiry"),
    ("310 s before the end", 310, None),
    ("after the end", -1, "proactive_expiry"),
]


@pytest.mark.parametrize(("name", "seconds", "reason"), EARLY, ids=[row[0] for row in EARLY])
async def test_a_token_is_renewed_early_only_when_it_is_about_to_end(
    name: str, seconds: int, reason: str | None, make_desk: Callable[..., LoginFixture]
) -> None:
    """The age of last_refresh counts for nothing then: it is thirty days here."""
    del name
    desk = make_desk()
    token = access_token(NOW + timedelta(seconds=seconds))
    write_login(desk.home, tokens={"access_token": token}, last_refresh="2026-10-21T20:00:00.000000000Z")
    assert (await desk.post()).status_code == 200
    assert [sent["refresh_reason"] for sent in desk.service.sent(TOKEN)] == ([reason] if reason else [])


OPAQUE = [("2026-11-12T19:59:59Z", ["scheduled"]), ("2026-11-12T20:00:01Z", []), (None, [])]


@pytest.mark.parametrize(("last_refresh", "reasons"), OPAQUE)
async def test_an_opaque_token_is_renewed_after_eight_days(
    last_refresh: str | None, reasons: list[str], make_desk: Callable[..., LoginFixture]
) -> None:
    desk = make_desk()
    write_login(desk.home, tokens={"access_token": "opaque-fab-token-0123"}, last_refresh=last_refresh)
    assert (await desk.post()).status_code == 200
    assert [sent["refresh_reason"] for sent in desk.service.sent(TOKEN)] == reasons


async def test_when_renewing_early_fails_the_old_token_serves_to_its_end(
    make_desk: Callable[..., LoginFixture],
) -> None:
    """And no request in between asks again at once (the CLI: 14 refreshes in one run)."""
    desk = make_desk()
    write_login(desk.home, tokens={"access_token": access_token(NOW + timedelta(minutes=4))})
    desk.service.on[TOKEN] = lambda _: httpx.Response(500)
    for _ in range(5):
        assert (await desk.post()).status_code == 200
    assert desk.service.counts[TOKEN] == 3


async def test_when_the_token_is_over_and_cannot_be_renewed_nothing_is_sent(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk(service=Service(valid_refresh=set()))
    write_login(desk.home, tokens={"access_token": access_token(NOW - timedelta(minutes=1))})
    for _ in range(2):
        with pytest.raises(RefreshFailed, match="already used"):
            await desk.post()
    assert desk.service.counts == {TOKEN: 1}


async def test_an_empty_success_is_not_asked_for_again_at_every_request(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk()
    write_login(desk.home, tokens={"access_token": access_token(NOW + timedelta(minutes=4))})
    desk.service.on[TOKEN] = lambda _: httpx.Response(200, json={})
    for _ in range(5):
        assert (await desk.post()).status_code == 200
    assert desk.service.counts[TOKEN] == 1
    assert desk.on_disk()["last_refresh"] == "2026-11-20T20:00:00.000000000Z"


@pytest.mark.parametrize("claims", [{"account_id": "acct-2"}, {"user_id": "user-2"}])
async def test_tokens_of_another_account_are_never_written_over_a_login(
    claims: dict[str, str], make_desk: Callable[..., LoginFixture]
) -> None:
    """The CLI accepts them and keeps the old account_id beside them."""
    desk = make_desk(service=Service(valid_access=set()))
    path = write_login(desk.home)
    before = path.read_bytes()
    desk.service.on[TOKEN] = lambda _: httpx.Response(200, json=desk.service.new_tokens(**claims))
    with pytest.raises(AccountChanged, match="another account"):
        await desk.post()
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "tokens",
    [
        {"access_token": "opaque-fab-0123", "id_token": ...},
        {"access_token": "opaque-fab-0123", "id_token": "garbage"},
        {"access_token": "opaque-fab-0123", "id_token": id_token(None)},
        {"access_token": "opaque-fab-0123"},
        {"id_token": ...},
        {"id_token": id_token(None)},
    ],
)
async def test_whatever_names_the_account_of_a_login_no_other_takes_its_place(
    tokens: dict[str, Any], make_desk: Callable[..., LoginFixture]
) -> None:
    desk = make_desk(service=Service(valid_access=set()))
    path = write_login(desk.home, tokens=tokens)
    before = path.read_bytes()
    desk.service.on[TOKEN] = lambda _: httpx.Response(200, json=desk.service.new_tokens(account_id="acct-2"))
    with pytest.raises(AccountChanged, match="another account"):
        await desk.post()
    assert path.read_bytes() == before


@pytest.mark.parametrize("hours", [-24, -1, 1, 2, 24])
async def test_a_clock_that_is_wrong_costs_one_refresh_and_no_request(
    hours: int, make_desk: Callable[..., LoginFixture]
) -> None:
    desk = make_desk()
    write_login(desk.home)
    desk.service.clock.now += timedelta(hours=hours)
    given = {"access_token": access_token(NOW + timedelta(hours=1), serial=7), "refresh_token": "rt_new"}
    desk.service.on[TOKEN] = lambda _: httpx.Response(200, json=given)
    assert [(await desk.post()).status_code for _ in range(5)] == [200] * 5
    assert desk.service.counts[TOKEN] == (hours > 0)


async def test_a_login_that_vanished_during_a_refresh_is_not_brought_back(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk(service=Service(valid_access=set()))
    path = write_login(desk.home)

    def sign_out_meanwhile(_: httpx.Request) -> None:
        path.unlink()

    desk.service.on[TOKEN] = sign_out_meanwhile
    with pytest.raises(SignInRequired, match="Another program signed you out"):
        await desk.post()
    assert not path.exists()


async def test_what_another_program_wrote_during_a_refresh_is_kept(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk(service=Service(valid_access=set()))
    write_login(desk.home)

    def add_a_key_meanwhile(_: httpx.Request) -> None:
        write_login(desk.home, login(new_key={"of": "another program"}))

    desk.service.on[TOKEN] = add_a_key_meanwhile
    assert (await desk.post()).status_code == 200
    assert desk.on_disk()["new_key"] == {"of": "another program"}
    assert desk.on_disk()["tokens"]["refresh_token"] == desk.service.issued[-1]["refresh_token"]


async def test_tokens_that_cannot_be_saved_serve_from_memory_until_they_can(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk(service=Service(valid_access=set()))
    write_login(desk.home)
    full = FullDisk(FileStore(desk.home / "auth.json"))
    desk.options["store"] = full
    desk.manager = desk.open()

    assert (await desk.post()).status_code == 200
    assert (await desk.post()).status_code == 200
    assert desk.service.counts[TOKEN] == 1
    assert desk.on_disk()["tokens"]["refresh_token"] == "rt_fab_0_0123456789abcdef"

    full.is_full = False
    assert (await desk.post()).status_code == 200
    assert desk.service.counts[TOKEN] == 1
    assert desk.on_disk()["tokens"]["refresh_token"] == desk.service.issued[-1]["refresh_token"]


class FullDisk:
    """A store whose disk is full for a while."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.is_full = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def __str__(self) -> str:
        return str(self._store)

    def save(self, document: Any) -> None:
        if self.is_full:
            raise CredentialsUnreadable("The login could not be saved.")
        self._store.save(document)


ADDRESSES = [
    ("http://tokens.example/oauth/token", False),
    ("ftp://tokens.example/oauth/token", False),
    ("https://user:pass@tokens.example/oauth/token", False),
    ("http://127.0.0.1.tokens.example/oauth/token", False),
    ("http://localhost.example/oauth/token", False),
    ("http://[", False),
    ("http://127.0.0.1:9/oauth/token", True),
    ("http://[::1]:9/oauth/token", True),
    ("http://localhost:9/oauth/token", True),
    ("https://tokens.example/oauth/token", True),
]


@pytest.mark.parametrize(("url", "goes"), ADDRESSES)
async def test_a_refresh_token_goes_only_to_https_or_this_machine(
    url: str, goes: bool, make_desk: Callable[..., LoginFixture]
) -> None:
    desk = make_desk(service=Service(valid_access=set()), settings={"refresh_url_override": url})
    write_login(desk.home)
    if goes:
        assert (await desk.post()).status_code == 200
        assert [str(one.url) for one in desk.service.requests if one.url.path == TOKEN] == [url]
    else:
        with pytest.raises(RefreshFailed, match="neither https nor on this machine"):
            await desk.post()
        assert desk.service.counts[TOKEN] == 0


async def test_an_issuer_in_the_file_cannot_lead_the_token_astray(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk(service=Service(valid_access=set()))
    write_login(
        desk.home, tokens={"oauth_provenance": {"issuer": "http://tokens.example", "client_id": "app_fab"}}
    )
    with pytest.raises(RefreshFailed, match="neither https nor on this machine"):
        await desk.post()
    assert desk.service.counts[TOKEN] == 0


async def test_a_login_without_provenance_uses_the_configured_issuer(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk(service=Service(valid_access=set()), settings={"client_id": "app_configured"})
    write_login(desk.home, tokens={"oauth_provenance": ...})
    await desk.post()
    assert [sent["client_id"] for sent in desk.service.sent(TOKEN)] == ["app_configured"]


async def test_every_failure_says_what_and_what_to_do(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk(service=Service(valid_access=set(), valid_refresh=set()))
    write_login(desk.home)
    with pytest.raises(CodexError) as raised:
        await desk.post()
    assert raised.value.line == (
        "Your session cannot be refreshed: the refresh token was already used by another program. "
        "Sign in again with %codex login."
    )
