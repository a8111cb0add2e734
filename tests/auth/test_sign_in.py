"""Signing in and out: step by step, cancellable, and the old login stays until the new one works."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pydantic import SecretStr

from codex_nb.auth.login import (
    API_KEY_HELP,
    AccessTokenLogin,
    ApiKeyLogin,
    BrowserLogin,
    DeviceCodeLogin,
    EnterSecret,
    EnterUserCode,
    LoginFlow,
    LoginStep,
    OpenUrl,
    SignedIn,
    Waiting,
    login_from_elsewhere,
    open_login,
)
from codex_nb.auth.store import AutoStore, KeyringStore
from codex_nb.config.settings import Provider
from codex_nb.errors import AccountChanged, AuthError, LoginFailed, SignInRequired
from tests.auth.fakes import ISSUER, NOW, WHOAMI, LoginFixture, access_token, body, login, write_login
from tests.auth.test_stores import Keyring, document

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

KEY = "sk-fab-0123456789abcdef"
PAT = "at-fab-0123456789abcdef"
USERCODE = "/api/accounts/deviceauth/usercode"
POLL = "/api/accounts/deviceauth/token"
TOKEN = "/oauth/token"
REVOKE = "/oauth/revoke"
MODELS = "/v1/models"
WHOAMI_PATH = "/api/accounts/v1/user-auth-credential/whoami"


async def go(flow: LoginFlow, *secrets: str) -> list[LoginStep]:
    for secret in secrets:
        flow.submit(SecretStr(secret))
    return [step async for step in flow.steps()]


async def fail(flow: LoginFlow, *secrets: str) -> tuple[str, str]:
    with pytest.raises(LoginFailed) as raised:
        await go(flow, *secrets)
    return raised.value.reason, str(raised.value)


async def test_a_device_code_signs_in_and_writes_what_the_cli_would(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk()
    polls = iter([403, 404, 429, 503])
    desk.service.on[POLL] = lambda _: httpx.Response(status) if (status := next(polls, None)) else None

    steps = await go(DeviceCodeLogin(desk.manager))

    assert steps == [
        EnterUserCode("ABCD-1234", f"{ISSUER}/codex/device", NOW + timedelta(minutes=15)),
        Waiting("Confirmed. Signing in…"),
        SignedIn("ada@fab.example", "plus"),
    ]
    assert desk.service.clock.slept == [1.0] * 4
    assert desk.service.sent(TOKEN) == [
        {
            "grant_type": "authorization_code",
            "client_id": "app_EMoamEEZ73f0CkXaXp7hrann",
            "code": "code_fab_1",
            "redirect_uri": f"{ISSUER}/deviceauth/callback",
            "code_verifier": "verifier_fab_1",
        }
    ]
    saved = desk.on_disk()
    owner = saved["tokens"].pop("login_owner_id")
    assert len(owner) == 43
    assert list(saved.items()) == [
        ("auth_mode", "chatgpt"),
        ("OPENAI_API_KEY", None),
        (
            "tokens",
            {
                **desk.service.issued[-1],
                "oauth_provenance": {"issuer": ISSUER, "client_id": "app_EMoamEEZ73f0CkXaXp7hrann"},
                "account_id": "acct-1",
            },
        ),
        ("last_refresh", "2026-11-20T20:00:04.000000000Z"),
    ]
    assert (await desk.post()).status_code == 200


async def test_a_new_login_replaces_the_old_one_and_then_revokes_it(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk()
    write_login(desk.home)
    seen: list[str] = []

    def look(_: httpx.Request) -> None:
        seen.append(desk.on_disk()["tokens"]["refresh_token"])

    desk.service.on[REVOKE] = look
    await go(DeviceCodeLogin(desk.manager))
    assert seen == [desk.service.issued[-1]["refresh_token"]]
    assert desk.service.sent(REVOKE) == [
        {"token": "rt_fab_0_0123456789abcdef", "token_type_hint": "refresh_token", "client_id": "app_fab"}
    ]


FAILURES: list[tuple[str, dict[str, Any], str, str]] = [
    ("refused code", {USERCODE: 400}, "refused", "The device code could not be requested (status 400)."),
    ("not enabled", {USERCODE: 404}, "unsupported", "Signing in by device code is not enabled here."),
    ("service down", {USERCODE: 500}, "network", "The device code could not be requested (status 500)."),
    (
        "no network",
        {USERCODE: httpx.ConnectError("no")},
        "network",
        "The device code could not be requested: it could not be reached.",
    ),
    ("nonsense", {USERCODE: {}}, "malformed", "The sign-in service returned no device code."),
    ("denied", {POLL: 401}, "refused", "The device code was refused (status 401)."),
    ("never confirmed", {POLL: 403}, "expired", "The device code expired before it was confirmed."),
    (
        "no code in it",
        {POLL: {}},
        "malformed",
        "The sign-in service confirmed the sign-in but returned no authorization code.",
    ),
    (
        "exchange refused",
        {TOKEN: 400},
        "refused",
        "The sign-in service rejected the sign-in (status 400).",
    ),
    ("exchange without tokens", {TOKEN: {}}, "malformed", "The sign-in service returned no tokens."),
    (
        "exchange with some tokens",
        {TOKEN: {"access_token": "opaque-fab-0123"}},
        "malformed",
        "The sign-in service returned incomplete tokens.",
    ),
]


@pytest.mark.parametrize(
    ("name", "answers", "reason", "sentence"), FAILURES, ids=[row[0] for row in FAILURES]
)
async def test_a_sign_in_that_fails_says_why_and_leaves_the_old_login(
    name: str, answers: dict[str, Any], reason: str, sentence: str, make_desk: Callable[..., LoginFixture]
) -> None:
    """The CLI has revoked and deleted it by then."""
    del name
    desk = make_desk()
    path = write_login(desk.home)
    before = path.read_bytes()
    for where, answer in answers.items():
        desk.service.on[where] = lambda _, answer=answer: as_response(answer)
    assert await fail(DeviceCodeLogin(desk.manager)) == (reason, sentence)
    assert path.read_bytes() == before
    assert desk.service.counts[REVOKE] == 0
    assert (await desk.post()).status_code == 200


def as_response(answer: Any) -> httpx.Response | Exception:
    match answer:
        case int():
            return httpx.Response(answer)
        case dict():
            return httpx.Response(200, json=answer)
        case _:
            return answer


@pytest.mark.parametrize("interval", [0, "0", -5, 0.0001, "1e400", 1e300, "nan", None, True, [], "5s"])
async def test_a_device_code_is_asked_for_a_bounded_number_of_times(
    interval: Any, make_desk: Callable[..., LoginFixture]
) -> None:
    desk = make_desk()
    code = {"device_auth_id": "d", "user_code": "ABCD-1234", "interval": interval}
    desk.service.on[USERCODE] = lambda _: httpx.Response(200, content=json.dumps(code))
    asked = iter([403] * 900)
    desk.service.on[POLL] = lambda _: httpx.Response(next(asked))
    assert (await fail(DeviceCodeLogin(desk.manager)))[0] == "expired"


@pytest.mark.parametrize("word", ["authorization_pending", "slow_down"])
async def test_a_service_that_answers_as_rfc_8628_says_is_asked_again(
    word: str, make_desk: Callable[..., LoginFixture]
) -> None:
    desk = make_desk()
    polls = iter([{"error": word}, {"error": {"code": word}}])
    desk.service.on[POLL] = lambda _: httpx.Response(400, json=body) if (body := next(polls, None)) else None
    assert (await go(DeviceCodeLogin(desk.manager)))[-1] == SignedIn("ada@fab.example", "plus")


async def test_cancelling_from_another_thread_ends_the_wait(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk(options={"sleep": asyncio.sleep})
    path = write_login(desk.home)
    before = path.read_bytes()
    desk.service.on[POLL] = lambda _: httpx.Response(403)
    flow = DeviceCodeLogin(desk.manager)
    steps = flow.steps()
    assert isinstance(await anext(steps), EnterUserCode)
    thread = threading.Timer(0.01, flow.cancel)
    thread.start()
    with pytest.raises(LoginFailed, match="The sign-in was cancelled") as raised:
        await anext(steps)
    thread.join()
    assert raised.value.reason == "cancelled"
    assert path.read_bytes() == before


async def test_a_sign_in_cancelled_before_it_began_asks_for_nothing(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk()
    flow = DeviceCodeLogin(desk.manager)
    flow.cancel()
    assert await fail(flow) == ("cancelled", "The sign-in was cancelled.")
    assert not desk.home.joinpath("auth.json").exists()


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (200, ""),
        (403, ""),  # a restricted key need not be allowed to list models
        (404, "The API could not be reached, so the key was not checked."),
        (500, "The API could not be reached, so the key was not checked."),
        (httpx.ConnectError("no route"), "The API could not be reached, so the key was not checked."),
    ],
)
async def test_an_api_key_is_kept_unless_the_api_rejects_it(
    answer: int | Exception, note: str, make_desk: Callable[..., LoginFixture]
) -> None:
    desk = make_desk()
    desk.service.on[MODELS] = lambda _: answer if isinstance(answer, Exception) else httpx.Response(answer)
    steps = await go(ApiKeyLogin(desk.manager), f"  {KEY}\n")
    assert steps == [
        EnterSecret("API key", API_KEY_HELP),
        Waiting("Checking the key…"),
        SignedIn("API key sk-…cdef", "unknown", note),
    ]
    assert (desk.home / "auth.json").read_text() == json.dumps(
        {"auth_mode": "apikey", "OPENAI_API_KEY": KEY}, indent=2
    )
    (request,) = desk.service.requests
    assert (str(request.url), request.headers["authorization"]) == (
        "https://api.openai.com/v1/models",
        f"Bearer {KEY}",
    )


async def test_an_api_key_for_another_provider_is_kept_without_the_network(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk(settings={"provider": Provider(id="own", base_url="https://own.example/v1")})
    steps = await go(ApiKeyLogin(desk.manager), KEY)
    assert (steps[-1], desk.service.requests) == (SignedIn("API key sk-…cdef", "unknown"), [])


async def test_an_api_key_that_the_api_rejects_is_refused_and_the_old_login_stays(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk()
    before = write_login(desk.home).read_bytes()
    desk.service.on[MODELS] = lambda _: httpx.Response(401)
    assert await fail(ApiKeyLogin(desk.manager), KEY) == ("refused", "The API rejected this key (401).")
    assert (desk.home / "auth.json").read_bytes() == before
    assert desk.service.sent(REVOKE) == []


@pytest.mark.parametrize("before", [None, "expired", "torn"])
@pytest.mark.parametrize("comes", ["a ChatGPT login", "a key"])
async def test_a_login_that_appears_on_disk_ends_the_wait(
    before: str | None, comes: str, make_desk: Callable[..., LoginFixture]
) -> None:
    """Another program may write in several steps, and write what is of no use at first."""
    key = {"auth_mode": "apikey", "OPENAI_API_KEY": KEY}
    account = {"account_id": "acct-1", "access_token": access_token(NOW + timedelta(hours=2), serial=7)}
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        path = desk.home / "auth.json"
        match len(slept):
            case 2:
                path.write_text('{"tokens": {')
            case 4:
                path.unlink()
            case 6 if comes == "a key":
                write_login(desk.home, key)
            case 6:
                write_login(desk.home, tokens=account)
            case _:
                await asyncio.sleep(0)

    desk = make_desk(options={"sleep": sleep})
    if before == "expired":
        write_login(desk.home, tokens={"access_token": access_token(NOW - timedelta(hours=1))})
    elif before == "torn":
        write_login(desk.home, "{")
    with suppress(AuthError):
        await desk.manager.inspect()
    async with asyncio.timeout(5):
        if (before, comes) == ("expired", "a key"):  # the session belongs to the account that it began with
            with pytest.raises(AccountChanged):
                await login_from_elsewhere(desk.manager)
        else:
            found = await login_from_elsewhere(desk.manager)
            wanted = "API key sk-…cdef" if comes == "a key" else "ada@fab.example"
            assert found.account_label == wanted
    assert len(slept) == 6


@pytest.mark.parametrize("is_automatic", [False, True], ids=["keyring", "auto"])
@pytest.mark.parametrize(
    ("platform", "before", "reads"),
    [
        ("linux", None, "every third second"),
        ("linux", "refused", "every third second"),
        ("linux", "locked", "once"),
        ("darwin", None, "every third second"),
        ("darwin", "refused", "once"),
    ],
)
async def test_a_login_that_appears_in_a_keyring_ends_the_wait_unless_looking_would_ask_the_user(
    platform: str,
    before: str | None,
    reads: str,
    is_automatic: bool,
    make_desk: Callable[..., LoginFixture],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keyring, slept, counts = Keyring(broken=before == "locked"), [0.0], [0]
    read = keyring.get_password
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(keyring, "get_password", lambda *entry: counts.append(1) or read(*entry))

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 8:
            keyring.broken = False
            store.save(document(tokens={"access_token": access_token(NOW + timedelta(hours=2))}))
        await asyncio.sleep(0)
        if len(slept) > 20:
            raise TimeoutError

    desk = make_desk(options={"sleep": sleep})
    store = KeyringStore(desk.home, backend=keyring)
    desk.options["store"] = AutoStore(desk.home, backend=keyring) if is_automatic else store
    manager = desk.open()
    if before == "refused":
        store.save(document(tokens={"access_token": access_token(NOW - timedelta(hours=1))}))
    with suppress(AuthError):
        await manager.inspect()
    before_waiting = sum(counts)
    if reads == "once":
        with pytest.raises(TimeoutError):
            await login_from_elsewhere(manager)
        assert sum(counts) == before_waiting + 1
    else:
        assert (await login_from_elsewhere(manager)).account_label == "ada@fab.example"
        assert (sum(counts) - before_waiting, sum(slept)) == (4, 9)


async def test_a_sign_in_of_this_session_ends_the_wait_of_another_cell(
    make_desk: Callable[..., LoginFixture],
) -> None:
    async def sleep(_: float) -> None:
        await asyncio.sleep(0)

    desk = make_desk(options={"sleep": sleep})
    waiting = asyncio.create_task(login_from_elsewhere(desk.manager))
    await go(DeviceCodeLogin(desk.manager))
    async with asyncio.timeout(5):
        assert await waiting == SignedIn("ada@fab.example", "plus")


@pytest.mark.parametrize("typed", ["", "   ", "two words", "sk-fab-ключ", "sk-fab\x00"])
async def test_what_is_no_key_is_refused(typed: str, make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk()
    assert (await fail(ApiKeyLogin(desk.manager), typed))[0] == "malformed"
    assert not (desk.home / "auth.json").exists()


async def test_a_personal_access_token_is_kept_once_its_account_is_known(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk()
    steps = await go(AccessTokenLogin(desk.manager), PAT)
    assert steps == [
        EnterSecret("access token"),
        Waiting("Checking the token…"),
        SignedIn("ada@fab.example", "pro"),
    ]
    assert (desk.home / "auth.json").read_text() == json.dumps(
        {"OPENAI_API_KEY": None, "personal_access_token": PAT}, indent=2
    )
    assert desk.service.counts == {WHOAMI_PATH: 1}


async def test_a_personal_access_token_nobody_knows_is_refused(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk()
    desk.service.on[WHOAMI_PATH] = lambda _: httpx.Response(401)
    assert await fail(AccessTokenLogin(desk.manager), PAT) == (
        "refused",
        "The personal access token from the new login is no longer valid.",
    )
    assert not (desk.home / "auth.json").exists()


FORBIDDEN: list[tuple[str, dict[str, Any], type[LoginFlow], tuple[str, ...]]] = [
    ("an API key where ChatGPT is forced", {"forced_login_method": "chatgpt"}, ApiKeyLogin, (KEY,)),
    ("a device code where a key is forced", {"forced_login_method": "api"}, DeviceCodeLogin, ()),
    ("a browser where a key is forced", {"forced_login_method": "api"}, BrowserLogin, ()),
    ("a token where a key is forced", {"forced_login_method": "api"}, AccessTokenLogin, (PAT,)),
    ("another workspace", {"forced_workspaces": ("ws-other", "ws-more")}, DeviceCodeLogin, ()),
    ("a token of another workspace", {"forced_workspaces": ("ws-other",)}, AccessTokenLogin, (PAT,)),
]


@pytest.mark.parametrize(
    ("name", "settings", "kind", "secrets"), FORBIDDEN, ids=[row[0] for row in FORBIDDEN]
)
async def test_a_sign_in_that_is_not_allowed_changes_nothing(
    name: str,
    settings: dict[str, Any],
    kind: Any,
    secrets: tuple[str, ...],
    make_desk: Callable[..., LoginFixture],
) -> None:
    del name
    desk = make_desk(settings=settings)
    path = write_login(desk.home)
    before = path.read_bytes()
    reason, sentence = await fail(kind(desk.manager), *secrets)
    assert (reason, "forced_" in sentence) == ("forbidden", True)
    assert path.read_bytes() == before


async def test_an_allowed_workspace_signs_in(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk(settings={"forced_workspaces": ("ws-other", "acct-1")})
    assert (await go(DeviceCodeLogin(desk.manager)))[-1] == SignedIn("ada@fab.example", "plus")


async def test_a_login_that_cannot_be_saved_is_said(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk()
    (desk.home / "auth.lock").mkdir()
    reason, sentence = await fail(ApiKeyLogin(desk.manager), KEY)
    assert reason == "unsaved"
    assert "not writable" in sentence


async def test_signing_in_ends_the_session_of_the_account_before(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk()
    write_login(desk.home)
    await desk.post()
    await go(ApiKeyLogin(desk.manager), KEY)
    assert (await desk.post()).status_code == 200
    assert desk.service.requests[-1].headers["authorization"] == f"Bearer {KEY}"


async def test_signing_out_deletes_the_file_and_revokes_the_login(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk()
    write_login(desk.home)
    (desk.home / "config.toml").write_text("")
    assert await desk.manager.sign_out() is True
    assert [one["token"] for one in desk.service.sent(REVOKE)] == ["rt_fab_0_0123456789abcdef"]
    assert {one.name for one in desk.home.iterdir()} == {"config.toml", "auth.lock", "auth.json.lock"}
    with pytest.raises(SignInRequired):
        await desk.post()
    assert await desk.manager.sign_out() is False


async def test_signing_out_works_without_the_network(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk()
    path = write_login(desk.home)
    desk.service.on[REVOKE] = lambda _: httpx.ConnectError("no network")
    assert await desk.manager.sign_out() is True
    assert not path.exists()


async def test_signing_out_of_an_api_key_asks_nobody(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk()
    write_login(desk.home, {"auth_mode": "apikey", "OPENAI_API_KEY": KEY})
    assert await desk.manager.sign_out() is True
    assert desk.service.requests == []


async def test_signing_out_of_an_unreadable_login_removes_it(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk()
    path = write_login(desk.home, '{"tokens": ')
    assert await desk.manager.sign_out() is True
    assert not path.exists()


async def test_signing_in_beside_a_variable_says_that_the_variable_comes_first(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk(environ={"CODEX_API_KEY": KEY})
    await desk.post()
    (*_, last) = await go(DeviceCodeLogin(desk.manager))
    assert last == SignedIn(
        "ada@fab.example", "plus", "Requests still use the credentials from CODEX_API_KEY."
    )
    await desk.post()
    assert desk.service.requests[-1].headers["authorization"] == f"Bearer {KEY}"


def test_every_kind_of_sign_in_can_be_opened(make_desk: Callable[..., LoginFixture]) -> None:
    manager = make_desk().manager
    kinds = {
        kind: type(open_login(kind, manager)) for kind in ("device", "browser", "api_key", "access_token")
    }
    assert list(kinds.values()) == [DeviceCodeLogin, BrowserLogin, ApiKeyLogin, AccessTokenLogin]


class Browser:
    """Somebody's browser, sent to the authorization page."""

    def __init__(self, step: LoginStep) -> None:
        assert isinstance(step, OpenUrl)
        self.step = step
        self.query = {key: values[0] for key, values in parse_qs(urlsplit(step.url).query).items()}

    @property
    def redirect(self) -> str:
        return f"{self.query['redirect_uri']}?code=code_fab_browser&state={self.query['state']}"

    async def visit(self, url: str) -> tuple[int, str]:
        async with httpx.AsyncClient(trust_env=False) as http:
            response = await http.get(url)
        return response.status_code, response.text


async def test_a_browser_signs_in_through_the_loopback_page(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk()
    flow = BrowserLogin(desk.manager, ports=(0,))
    steps = flow.steps()
    browser = Browser(await anext(steps))
    assert browser.step.can_paste
    assert {
        key: browser.query[key] for key in ("response_type", "client_id", "scope", "code_challenge_method")
    } == {
        "response_type": "code",
        "client_id": "app_EMoamEEZ73f0CkXaXp7hrann",
        "scope": "openid profile email offline_access api.connectors.read api.connectors.invoke",
        "code_challenge_method": "S256",
    }

    rest = asyncio.create_task(collect(steps))
    assert await browser.visit(browser.redirect.replace("state=", "state=x")) == (
        400,
        "This page belongs to another sign-in. Return to the notebook and start again.",
    )
    assert (await browser.visit(browser.query["redirect_uri"].replace("/auth/callback", "/")))[0] == 404
    assert (await browser.visit(browser.redirect))[0] == 200
    assert await rest == [Waiting("Received. Signing in…"), SignedIn("ada@fab.example", "plus")]

    (form,) = desk.service.sent(TOKEN)
    assert form["code"] == "code_fab_browser"
    assert form["redirect_uri"] == browser.query["redirect_uri"]
    assert len(form["code_verifier"]) == 86
    with pytest.raises(httpx.ConnectError):
        await browser.visit(browser.redirect)


async def collect(steps: Any) -> list[LoginStep]:
    return [step async for step in steps]


async def test_where_the_browser_is_elsewhere_its_address_is_pasted(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk()
    flow = BrowserLogin(desk.manager, ports=(0,))
    steps = flow.steps()
    first = await anext(steps)
    browser = Browser(first)
    flow.submit(SecretStr("not an address"))
    flow.submit(SecretStr(browser.redirect.replace("state=", "state=x")))
    flow.submit(SecretStr(f"  {browser.redirect}\n"))
    wrong = replace(
        first, note="This address does not belong to this sign-in. Paste the whole address from your browser."
    )
    assert await collect(steps) == [
        wrong,
        wrong,
        Waiting("Received. Signing in…"),
        SignedIn("ada@fab.example", "plus"),
    ]


async def test_an_address_without_the_state_of_this_sign_in_sends_no_code(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk()
    flow = BrowserLogin(desk.manager, ports=(0,))
    steps = flow.steps()
    browser = Browser(first := await anext(steps))
    address, state = browser.query["redirect_uri"], browser.query["state"]
    wrong = [
        "",
        "//[",
        "http://[::1",
        address,
        f"{address}?code=c",
        f"{address}?code=c&state=",
        f"{address}?code=c&state={state[:-1]}",
        f"{address}?code=c&state={state}x",
        f"{address}?code=c&state={state.swapcase()}",
        f"{address}?code=c&state=x&state={state}",
        f"{address}?code=c&state=\ud800",
        f"{address}?code=c&state=%ed%a0%80",
        f"{address}?code=c;state={state}",
        f"{address}?code=c#state={state}",
        f"{address}?code=c&STATE={state}",
        f"{address}?error=access_denied",
        f"{address}?state={state}",
        f"{address}?code=&state={state}",
    ]
    for each in wrong:
        flow.submit(SecretStr(each))
    flow.submit(SecretStr(browser.redirect))
    told = await collect(steps)
    assert told[:-2] == [replace(first, note=told[0].note)] * len(wrong)
    assert told[-1] == SignedIn("ada@fab.example", "plus")
    assert [form["code"] for form in desk.service.sent(TOKEN)] == ["code_fab_browser"]


async def test_when_both_ports_are_taken_pasting_remains(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk()
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    async with taken:
        flow = BrowserLogin(desk.manager, ports=(port, port))
        steps = flow.steps()
        step = await anext(steps)
        assert isinstance(step, OpenUrl)
        assert step.note.startswith("Use a device code instead (%codex login device)")
        assert str(port) in step.note
        browser = Browser(step)
        assert browser.query["redirect_uri"] == f"http://127.0.0.1:{port}/auth/callback"
        flow.submit(SecretStr(browser.redirect))
        assert (await collect(steps))[-1] == SignedIn("ada@fab.example", "plus")


async def test_a_refusal_in_the_browser_is_told_in_its_words(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk()
    path = write_login(desk.home)
    before = path.read_bytes()
    flow = BrowserLogin(desk.manager, ports=(0,))
    steps = flow.steps()
    browser = Browser(await anext(steps))
    state = browser.query["state"]
    url = f"{browser.query['redirect_uri']}?error=access_denied&error_description=You+said+no.&state={state}"
    rest = asyncio.create_task(collect(steps))
    assert await browser.visit(url) == (200, "Sign-in failed: You said no")
    with pytest.raises(LoginFailed, match=r"The sign-in failed: You said no\.") as raised:
        await rest
    assert raised.value.reason == "refused"
    assert path.read_bytes() == before


async def test_a_refusal_that_would_act_in_a_terminal_is_only_read(
    make_desk: Callable[..., LoginFixture],
) -> None:
    steps = BrowserLogin(make_desk().manager, ports=(0,)).steps()
    browser = Browser(await anext(steps))
    said = "No%1B%5D52%3Bc%3BZXZpbA%3D%3D%07+%C2%9B2J+%E2%80%AEsey"
    address, state = browser.query["redirect_uri"], browser.query["state"]
    rest = asyncio.create_task(collect(steps))
    await browser.visit(f"{address}?error=access_denied&error_description={said}&state={state}")
    with pytest.raises(LoginFailed, match="The sign-in failed: No") as raised:
        await rest
    assert raised.value.line.isprintable()


async def test_what_speaks_no_http_does_not_end_the_wait(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk()
    steps = BrowserLogin(desk.manager, ports=(0,)).steps()
    browser = Browser(await anext(steps))
    rest = asyncio.create_task(collect(steps))
    port = httpx.URL(browser.query["redirect_uri"]).port
    for said in (
        b"",
        b"\x16\x03\x01\r\n\r\n",
        b"POST /auth/callback HTTP/1.1\r\n\r\n",
        b"GET /" + b"x" * 20_000,
    ):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        writer.close()
    assert (await browser.visit(browser.redirect))[0] == 200
    assert (await rest)[-1] == SignedIn("ada@fab.example", "plus")


async def test_a_browser_that_never_comes_back_is_not_waited_for_for_ever(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk()
    assert (await fail(BrowserLogin(desk.manager, ports=(0,), lifetime_s=0.0)))[0] == "expired"


async def test_a_forced_workspace_is_asked_for_in_the_browser(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk(settings={"forced_workspaces": ("acct-1",)})
    steps = BrowserLogin(desk.manager, ports=(0,)).steps()
    assert Browser(await anext(steps)).query["allowed_workspace_id"] == "acct-1"
    await steps.aclose()


def test_the_fakes_speak_of_one_account() -> None:
    """The fabricated identity service and the fabricated tokens must agree, or the tests above would prove little."""
    assert WHOAMI["chatgpt_account_id"] == login()["tokens"]["account_id"]
    assert body(httpx.Request("POST", "http://x", data={"a": "b"})) == {"a": "b"}
