"""The kernel's side of a JupyterHub that keeps the login: what is asked, what is used meanwhile, what is said."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from codex_nb.auth.credentials import AuthMode
from codex_nb.auth.login import HubLogin, OpenUrl, SignedIn, open_login
from codex_nb.errors import AccountChanged, LoginFailed, RefreshFailed, SignInRequired
from codex_nb.http import httpx
from tests.auth.fakes import access_token

if TYPE_CHECKING:
    from tests.auth.fakes import LoginFixture

pytestmark = pytest.mark.anyio

URL = "https://hub.test/services/codex/token"
PATH = "/services/codex/token"
PAGE = "https://hub.test/services/codex/"
ENVIRON = {"CODEX_NB_TOKEN_URL": URL, "JUPYTERHUB_API_TOKEN": "fabricated-hub-token-0123456789"}
SIGNED_OUT = httpx.Response(409, json={"error": "signed_out", "message": "You are not signed in."})
Reply = Callable[[httpx.Request], Any]


def token(desk: LoginFixture, serial: int = 1, **claims: Any) -> str:
    return access_token(desk.service.clock() + timedelta(hours=1), serial=serial, **claims)


def gives(bearer: str) -> Reply:
    body = {"access_token": bearer, "account_id": None, "plan": "pro", "expires_at": None}
    return lambda _request: httpx.Response(200, json=body)


@pytest.fixture
def desk(make_desk: Callable[..., LoginFixture]) -> LoginFixture:
    """A kernel of a hub whose user has signed in on its page."""
    made = make_desk(environ=ENVIRON)
    made.service.on[PATH] = gives(token(made))
    return made


def asked(desk: LoginFixture) -> list[httpx.Request]:
    return [request for request in desk.service.requests if request.url.path == PATH]


async def test_the_hub_is_asked_once_with_the_servers_token_and_nothing_is_stored(desk: LoginFixture) -> None:
    for _ in range(3):
        found = await desk.manager.current()
    assert (found.mode, found.source, found.account.plan) == (AuthMode.EXTERNAL, "your JupyterHub", "pro")
    [request] = asked(desk)
    assert request.headers["authorization"] == f"token {ENVIRON['JUPYTERHUB_API_TOKEN']}"
    assert request.url.params["reason"] == "start"
    assert list(desk.home.iterdir()) == []


async def test_a_token_that_is_refused_is_named_by_its_hash(desk: LoginFixture) -> None:
    first = await desk.manager.current()
    newer = token(desk, serial=2)
    desk.service.on[PATH] = gives(newer)
    again = (await desk.manager.retry_after_401(first)).credentials
    assert again is not None
    assert again.bearer is not None
    assert again.bearer.get_secret_value() == newer
    assert first.bearer is not None
    hashed = hashlib.sha256(first.bearer.get_secret_value().encode()).hexdigest()
    assert dict(asked(desk)[1].url.params) == {"reason": "unauthorized", "rejected": hashed}


async def test_another_account_does_not_take_over_a_session(desk: LoginFixture) -> None:
    first = await desk.manager.current()
    desk.service.on[PATH] = gives(token(desk, serial=2, account_id="another-account"))
    with pytest.raises(AccountChanged):
        await desk.manager.retry_after_401(first)


BROKEN: dict[str, Any] = {
    "not reachable": httpx.ConnectError("refused"),
    "slow": httpx.ReadTimeout("too long"),
    "a page": httpx.Response(200, text="<html>Sign in</html>"),
    "a page of the proxy": httpx.Response(503, text="<html>Service unavailable</html>"),
    "a list": httpx.Response(200, json=["access_token"]),
    "no text": httpx.Response(200, json={"access_token": 7}),
    "nothing": httpx.Response(200, json={"access_token": ""}),
    "a redirect": httpx.Response(302, headers={"location": "https://hub.test/hub/login"}),
    "its own trouble": httpx.Response(502, json={"error": "unavailable", "message": "OpenAI is down."}),
}


@pytest.mark.parametrize("reply", BROKEN.values(), ids=list(BROKEN))
async def test_a_hub_that_gives_no_token_is_one_line(reply: Any, desk: LoginFixture) -> None:
    desk.service.on[PATH] = lambda _request: reply
    with pytest.raises(RefreshFailed) as raised:
        await desk.manager.current()
    assert raised.value.line.startswith("Your JupyterHub gave no Codex token: ")
    assert len(raised.value.line.splitlines()) == 1
    assert raised.value.permanent is False


@pytest.mark.parametrize("reply", BROKEN.values(), ids=list(BROKEN))
async def test_the_last_token_is_used_until_its_end_while_the_hub_is_down(
    reply: Any, desk: LoginFixture
) -> None:
    first = await desk.manager.current()
    desk.service.on[PATH] = lambda _request: reply
    desk.service.clock.now += timedelta(minutes=59, seconds=30)  # it is about to expire
    assert (await desk.manager.current()).bearer == first.bearer
    desk.service.clock.now += timedelta(minutes=1)
    with pytest.raises(RefreshFailed, match="Your JupyterHub gave no Codex token"):
        await desk.manager.current()


@pytest.mark.parametrize("status", [401, 403])
async def test_a_server_that_the_hub_does_not_know_is_to_be_restarted(
    status: int, desk: LoginFixture
) -> None:
    desk.service.on[PATH] = lambda _request: httpx.Response(status, json={"error": "refused"})
    with pytest.raises(RefreshFailed) as raised:
        await desk.manager.current()
    assert (raised.value.reason, raised.value.hint) == (
        "rejected",
        "Restart your server from the hub's control panel.",
    )


async def test_the_servers_token_is_not_sent_over_an_open_line(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk(environ={**ENVIRON, "CODEX_NB_TOKEN_URL": "http://hub.test/services/codex/token"})
    with pytest.raises(RefreshFailed, match="neither https nor on this machine"):
        await desk.manager.current()
    assert desk.service.requests == []


async def test_the_user_signs_in_on_the_hubs_page_whatever_was_chosen(desk: LoginFixture) -> None:
    replies = [SIGNED_OUT, SIGNED_OUT, gives(token(desk))(httpx.Request("GET", URL))]
    desk.service.on[PATH] = lambda _request: replies.pop(0)
    with pytest.raises(SignInRequired) as raised:
        await desk.manager.current()
    assert raised.value.hint == f"Sign in at {PAGE}"
    flow = open_login("api_key", desk.manager)
    assert isinstance(flow, HubLogin)
    steps = [step async for step in flow.steps()]
    assert steps[0] == OpenUrl(PAGE, can_paste=False)
    assert isinstance(steps[-1], SignedIn)
    assert len(steps) == 2
    assert (await desk.manager.current()).source == "your JupyterHub"
    assert list(desk.home.iterdir()) == []


async def test_a_sign_in_that_nobody_completes_ends(desk: LoginFixture) -> None:
    desk.service.on[PATH] = lambda _request: SIGNED_OUT
    with pytest.raises(LoginFailed) as raised:
        [step async for step in open_login("device", desk.manager).steps()]
    assert raised.value.reason == "expired"


async def test_after_a_sign_out_on_the_page_the_old_token_signs_nobody_in(desk: LoginFixture) -> None:
    first = await desk.manager.current()
    desk.service.on[PATH] = lambda _request: SIGNED_OUT
    with pytest.raises(SignInRequired):
        await desk.manager.retry_after_401(first)
    with pytest.raises(LoginFailed):
        [step async for step in open_login("device", desk.manager).steps()]
