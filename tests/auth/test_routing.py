"""Workspace routing: asked once per account and backend, and never guessed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from codex_nb.auth.accounts import WorkspaceRouting
from codex_nb.auth.credentials import AuthFile
from codex_nb.config.settings import Provider, account_url
from codex_nb.errors import ApiError
from codex_nb.http import Route
from tests.auth.fakes import BACKEND, Service, login, write_login

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.auth.fakes import LoginFixture

pytestmark = pytest.mark.anyio

CHECK = "/backend-api/wham/accounts/check"


def accounts(
    origin: object = "NO_CONSTRAINT", override: object = "NO_CONSTRAINT", **more: Any
) -> dict[str, Any]:
    account = {
        "id": "acct-1",
        "workspace_backend_origin": origin,
        "account_routing_override": override,
        **more,
    }
    other = {"id": "acct-2", "workspace_backend_origin": "https://other.chat.fab.example"}
    return {"accounts": [other, account], "account_ordering": ["acct-1"], "default_account_id": "acct-2"}


def routing(desk: LoginFixture) -> WorkspaceRouting:
    return WorkspaceRouting(
        desk.http, desk.manager.settings, desk.manager.auth, sleep=desk.service.clock.sleep
    )


ROUTES = [
    ("no constraint", accounts(), Route()),
    ("an origin", accounts("https://eu.chat.fab.example"), Route(origin="https://eu.chat.fab.example")),
    (
        "an origin with a port",
        accounts("https://eu.chat.fab.example:8443/"),
        Route(origin="https://eu.chat.fab.example:8443"),
    ),
    ("an override", accounts(override="us"), Route(override="us")),
    ("both", accounts("https://us.chat.fab.example", "us_cr"), Route("https://us.chat.fab.example", "us_cr")),
    ("neither said", {"accounts": [{"id": "acct-1"}]}, Route()),
]


@pytest.mark.parametrize(("name", "answer", "route"), ROUTES, ids=[row[0] for row in ROUTES])
async def test_a_route_is_read(
    name: str, answer: dict[str, Any], route: Route, make_desk: Callable[..., LoginFixture]
) -> None:
    del name
    desk = make_desk()
    write_login(desk.home)
    desk.service.on[CHECK] = lambda _: httpx.Response(200, json=answer)
    assert await routing(desk).route(await desk.manager.current()) == route
    sent = desk.service.requests[-1]
    assert str(sent.url) == f"{BACKEND}/wham/accounts/check"
    assert sent.headers["chatgpt-account-id"] == "acct-1"


REFUSALS = [
    (
        "the account is missing",
        httpx.Response(200, json={"accounts": []}),
        "no access to the selected workspace",
        1,
    ),
    ("no accounts at all", httpx.Response(200, json={}), "no access to the selected workspace", 1),
    (
        "an http origin",
        httpx.Response(200, json=accounts("http://eu.chat.fab.example")),
        "not an https origin",
        1,
    ),
    (
        "an origin with a path",
        httpx.Response(200, json=accounts("https://eu.chat.fab.example/x")),
        "not an https origin",
        1,
    ),
    (
        "an origin with a user",
        httpx.Response(200, json=accounts("https://u:p@eu.example")),
        "not an https origin",
        1,
    ),
    (
        "another domain",
        httpx.Response(200, json=accounts("https://chat.fab.example.evil.test")),
        "Nothing was sent",
        1,
    ),
    (
        "a name that ends alike",
        httpx.Response(200, json=accounts("https://evilchat.fab.example")),
        "Nothing was sent",
        1,
    ),
    (
        "a neighbour in the domain above",
        httpx.Response(200, json=accounts("https://mallory.fab.example")),
        "Nothing was sent",
        1,
    ),
    (
        "a port of this machine",
        httpx.Response(200, json=accounts("http://127.0.0.1:9")),
        "Nothing was sent",
        1,
    ),
    ("an origin that is a number", httpx.Response(200, json=accounts(7)), "not an https origin", 1),
    (
        "an origin with a bad port",
        httpx.Response(200, json=accounts("https://eu.example:x")),
        "not an https origin",
        1,
    ),
    (
        "an override with a line break",
        httpx.Response(200, json=accounts(override="us\r\nx: y")),
        "invalid",
        1,
    ),
    ("404", httpx.Response(404), "status 404", 1),
    ("500", httpx.Response(500), "status 500", 3),
    ("not JSON", httpx.Response(200, text="<html>"), "status 200", 1),
    ("no network", httpx.ConnectError("no"), "could not be reached", 3),
]


@pytest.mark.parametrize(("name", "answer", "words", "asked"), REFUSALS, ids=[row[0] for row in REFUSALS])
async def test_without_a_route_nothing_is_sent(
    name: str,
    answer: httpx.Response | Exception,
    words: str,
    asked: int,
    make_desk: Callable[..., LoginFixture],
) -> None:
    del name
    desk = make_desk()
    write_login(desk.home)
    desk.service.on[CHECK] = lambda _: answer
    with pytest.raises(ApiError, match=words):
        await routing(desk).route(await desk.manager.current())
    assert desk.service.counts == {CHECK: asked}


@pytest.mark.parametrize(
    ("base", "origin", "is_sent"),
    [
        ("https://chatgpt.com/backend-api", "https://eu.chatgpt.com", True),
        ("https://chatgpt.com/backend-api", "https://eu.api.openai.com", True),
        ("https://eu.chatgpt.com/backend-api", "https://chatgpt.com", True),
        ("https://chatgpt.com/backend-api", "https://chatgpt.com.evil.test", False),
        ("https://chatgpt.com/backend-api", "https://chatgpt.com@evil.test", False),
        ("https://chatgpt.com/backend-api", "https://evil.test\\.chatgpt.com", False),
        ("https://chatgpt.com/backend-api", "https://evil.test#.chatgpt.com", False),
        ("https://chatgpt.com/backend-api", "https://evil.test%2f.chatgpt.com", False),
        ("https://chatgpt.com/backend-api", "https://evil.test:443@eu.chatgpt.com", False),
        ("https://chatgpt.com/backend-api", "https://chatgpt.com.", False),
        ("https://chatgpt.com/backend-api", "https://chatgpt\u3002com.evil.test", False),
        ("https://chatgpt.com/backend-api", "https://xn--a-.chatgpt.com", False),
        ("https://chatgpt.com/backend-api", "https://\u0441hatgpt.com", False),
        ("https://chatgpt.com/backend-api", "https://eu.chatgpt.com:99999", False),
        ("https://chatgpt.com/backend-api", "https://eu.chatgpt.com:-1", False),
        ("https://chatgpt.com/backend-api", "wss://eu.chatgpt.com", False),
        ("https://chatgpt.com/backend-api", "https:eu.chatgpt.com", False),
        ("https://chatgpt.com/backend-api", "//eu.chatgpt.com", False),
        ("https://192.168.0.7/backend-api", "https://192.168.0.8", False),
        ("https://shop.co.uk/backend-api", "https://mallory.co.uk", False),
        ("https://fab.github.io/backend-api", "https://mallory.github.io", False),
        ("https://fab.github.io/backend-api", "https://chatgpt.com", False),
        ("http://127.0.0.1:9/backend-api", "http://127.0.0.1:10", True),
        ("http://127.0.0.1:9/backend-api", "https://evil.test", False),
        ("http://localhost:9/backend-api", "http://localhost.evil.test", False),
    ],
)
async def test_a_route_stays_in_the_domain_of_the_base_url(
    base: str, origin: str, is_sent: bool, make_desk: Callable[..., LoginFixture]
) -> None:
    desk = make_desk(settings={"chatgpt_base_url": base})
    write_login(desk.home)
    desk.service.on[CHECK] = lambda _: httpx.Response(200, json=accounts(origin))
    credentials = await desk.manager.current()
    if is_sent:
        assert await routing(desk).route(credentials) == Route(origin=origin)
    else:
        with pytest.raises(ApiError, match="othing was sent"):
            await routing(desk).route(credentials)


async def test_a_route_is_asked_once_per_account(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk()
    write_login(desk.home)
    desk.service.on[CHECK] = lambda _: httpx.Response(200, json=accounts())
    routes = routing(desk)
    for _ in range(3):
        await routes.route(await desk.manager.current())
    assert desk.service.counts == {CHECK: 1}

    await desk.manager.save_login(AuthFile.model_validate(login(tokens={"account_id": "acct-2"})))
    assert await routes.route(await desk.manager.current()) == Route(origin="https://other.chat.fab.example")
    assert desk.service.counts == {CHECK: 2}


async def test_a_failure_is_not_kept(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk()
    write_login(desk.home)
    routes = routing(desk)
    with pytest.raises(ApiError):
        await routes.route(await desk.manager.current())
    desk.service.on[CHECK] = lambda _: httpx.Response(200, json=accounts())
    assert await routes.route(await desk.manager.current()) == Route()


async def test_a_401_there_recovers_like_any_other(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk(service=Service(valid_access=set()))
    write_login(desk.home)

    def check(request: httpx.Request) -> httpx.Response:
        bearer = request.headers["authorization"].removeprefix("Bearer ")
        known = bearer in (desk.service.valid_access or set())
        return httpx.Response(200, json=accounts()) if known else httpx.Response(401)

    desk.service.on[CHECK] = check
    assert await routing(desk).route(await desk.manager.current()) == Route()
    assert desk.service.counts == {CHECK: 2, "/oauth/token": 1}


async def test_an_api_key_or_a_provider_of_ones_own_has_no_route(
    make_desk: Callable[..., LoginFixture],
) -> None:
    key = make_desk(environ={"CODEX_API_KEY": "sk-fab-0123456789"})
    assert await routing(key).route(await key.manager.current()) == Route()
    own = make_desk(settings={"provider": Provider(id="fab", base_url="https://fab.example/v1")})
    write_login(own.home)
    assert await routing(own).route(await own.manager.current()) == Route()
    assert (key.service.requests, own.service.requests) == ([], [])


def test_a_backend_of_another_make_has_other_paths() -> None:
    assert (
        account_url("https://chatgpt.com/backend-api/", "accounts/check")
        == "https://chatgpt.com/backend-api/wham/accounts/check"
    )
    assert (
        account_url("https://fab.example", "accounts/check") == "https://fab.example/api/codex/accounts/check"
    )


@pytest.mark.parametrize(
    "base_url", ["https://gateway.corp.test/v1", f"{BACKEND}/other", "http://127.0.0.1:9/codex"]
)
async def test_an_address_that_the_user_has_set_is_neither_left_nor_asked_about(
    base_url: str, make_desk: Callable[..., LoginFixture]
) -> None:
    desk = make_desk(settings={"provider": Provider(base_url=base_url)})
    write_login(desk.home)
    desk.service.on[CHECK] = lambda _: httpx.Response(200, json=accounts("https://eu.chat.fab.example"))
    assert await routing(desk).route(await desk.manager.current()) == Route()
    assert desk.service.counts[CHECK] == 0


async def test_the_backends_own_address_in_the_file_is_routed(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk(settings={"provider": Provider(base_url=f"{BACKEND}/codex")})
    write_login(desk.home)
    desk.service.on[CHECK] = lambda _: httpx.Response(200, json=accounts("https://eu.chat.fab.example"))
    assert await routing(desk).route(await desk.manager.current()) == Route(
        origin="https://eu.chat.fab.example"
    )
