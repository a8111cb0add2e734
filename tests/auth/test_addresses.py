"""A credential leaves for https and for this machine only, however the address is written and whoever asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from codex_nb.auth.accounts import CredentialResolver, WorkspaceRouting
from codex_nb.auth.credentials import Account, AgentIdentity, AuthMode, Credentials, utc_now
from codex_nb.auth.manager import BearerAuth, RetryCredentials
from codex_nb.auth.oauth import AuthorizationCode, DeviceCode, OAuthClient
from codex_nb.config.settings import Provider, Settings
from codex_nb.errors import CodexError
from codex_nb.http import is_secure, open_http
from codex_nb.responses.client import ResponsesClient, fetch_usage
from codex_nb.responses.models import get_json
from codex_nb.responses.request import choose_backend
from codex_nb.session.batch_jobs import BatchClient
from tests.auth.test_agent import Agent
from tests.responses.fakes import REQUEST

pytestmark = pytest.mark.anyio

SECRET = SecretStr("rt_fabricated_0123456789abcdef")
SECURE = [
    "https://codex.test",
    "https://codex.test:8443",
    "https://bücher.test",
    "https://192.168.0.7",
    "https://[2001:db8::1]",
    "http://127.0.0.1",
    "http://127.0.0.1:8080",
    "http://127.8.9.10",
    "http://localhost:8080",
    "HTTP://LOCALHOST",
    "http://[::1]:8080",
    "http://[::ffff:127.0.0.1]",
    "http://[::ffff:7f00:1]",
    "http://[0:0:0:0:0:0:0:1]:65535",
    "http://127\u30020\u30020\u30021",
    "https://codex.test.",
    "https://xn--bcher-kva.test",
]
INSECURE = [
    "http://codex.test",
    "http://192.168.0.7:8080",
    "http://10.0.0.1",
    "http://[2001:db8::1]",
    "http://[::ffff:10.0.0.1]",
    "http://[fe80::1]",
    "http://0.0.0.0:8080",
    "http://[::]",
    "http://2130706433",
    "http://0x7f000001",
    "http://0x7f.0.0.1",
    "http://127.1",
    "http://localhost.",
    "http://codex.localhost",
    "http://localhost.evil.test",
    "http://127.0.0.1.evil.test",
    "http://127.0.0.1.nip.test",
    "http://xn--lcalhost-54a.test",
    "http://löcalhost.test",
    "http://127.0.0.1@evil.test",
    "http://127.0.0.1:80@evil.test",
    "http://127.0.0.1\\@evil.test",
    "http://ada:word@127.0.0.1",
    "https://ada:word@codex.test",
    "https://chatgpt.com@evil.test",
    "http://evil.test/127.0.0.1",
    "http://evil.test?127.0.0.1",
    "http://evil.test#127.0.0.1",
    "http://127.0.0.1%00.evil.test",
    "https://evil.test\\.codex.test",
    "http://xn--localhost-",
    "https://xn--localhost-.codex.test",
    "https://xn--",
    "http://127.0.0.1:-1",
    "http://127.0.0.1:99999",
    "https://codex.test:65536",
    "http://0x7f.1",
    "http://0177.0.0.1",
    "http://017700000001",
    "http://127.0.0.1.",
    "http://127a0b0c1",
    "http://\uff4cocalhost",
    "http://\u2460\u2461\u2466.0.0.1",
    "http://\uff11\uff12\uff17.0.0.1",
    "http://local\u00adhost",
    "http://localhost\u3002evil.test",
    "http://localhost%2eevil.test",
    "http://localhost,evil.test",
    "http://[::1%25lo]",
    "http://[::127.0.0.1]",
    "http://[64:ff9b::7f00:1]",
    "http://[::1]@evil.test",
    "http://:@127.0.0.1",
    "https:codex.test",
    "https:///codex.test",
    "ws://127.0.0.1",
    "wss://codex.test",
    "https://\ud800.test",
]


def credentials(mode: AuthMode) -> Credentials:
    """One of every kind that signs."""
    account = Account(account_id="acct-1", user_id="user-1")
    agent = None
    if mode is AuthMode.AGENT_IDENTITY:
        agent = AgentIdentity("agent-1", "task-1", lambda _: b"signed", utc_now)
    bearer = None if agent else SecretStr("fabricated-bearer-0123456789")
    return Credentials(mode=mode, account=account, bearer=bearer, refresh_token=SECRET, agent=agent)


class Signer:
    """Signs with one kind of credentials, and has another token after a 401."""

    def __init__(self, mode: AuthMode) -> None:
        self._credentials = credentials(mode)

    async def current(self) -> Credentials:
        return self._credentials

    async def retry_after_401(self, rejected: Credentials) -> RetryCredentials:
        del rejected
        return RetryCredentials()


def settings_for(address: str) -> Settings:
    """Settings in which every address that can be set is this one."""
    return Settings(
        codex_home=Path("nowhere"),
        issuer=address,
        authapi_base_url=address,
        agent_authapi_base_url=address,
        agent_jwks_base_url=address,
        chatgpt_base_url=address,
        refresh_url_override=f"{address}/oauth/token",
        revoke_url_override=f"{address}/oauth/revoke",
        insecure_providers=("openai",),
    )


Ask = Callable[[httpx.AsyncClient, Settings, httpx.Auth], Awaitable[Any]]
DEVICE = DeviceCode(SECRET, "ABCD-1234", "https://codex.test/device", 1.0)
CODE = AuthorizationCode(SECRET, SECRET, "http://127.0.0.1/callback")


async def ask_for_an_answer(http: httpx.AsyncClient, settings: Settings, auth: httpx.Auth) -> None:
    backend = choose_backend(settings, is_chatgpt_auth=True)
    async for _ in ResponsesClient(http, backend, auth).stream(REQUEST):
        pass


async def register_an_agent(http: httpx.AsyncClient, settings: Settings, auth: httpx.Auth) -> None:
    del auth
    found = Credentials(mode=AuthMode.AGENT_IDENTITY, bearer=SecretStr(Agent().jwt()))
    await CredentialResolver(http, settings, clock=utc_now).complete(found)


async def look_up_a_token(http: httpx.AsyncClient, settings: Settings, auth: httpx.Auth) -> None:
    del auth
    found = Credentials(mode=AuthMode.PERSONAL_ACCESS_TOKEN, bearer=SecretStr("at-fabricated"))
    await CredentialResolver(http, settings, clock=utc_now).complete(found)


async def find_the_workspace(http: httpx.AsyncClient, settings: Settings, auth: httpx.Auth) -> None:
    async def at_once(_: float) -> None:
        """Wait for nothing."""

    routes = WorkspaceRouting(http, settings, lambda: auth, sleep=at_once)
    await routes.route(credentials(AuthMode.CHATGPT))


def batches_of(http: httpx.AsyncClient, settings: Settings, auth: httpx.Auth) -> BatchClient:
    return BatchClient(http, choose_backend(settings, is_chatgpt_auth=True), auth)


SIGNED: dict[str, Ask] = {
    "responses": ask_for_an_answer,
    "models": lambda http, settings, auth: get_json(
        http,
        f"{settings.chatgpt_base_url}/models",
        backend=choose_backend(settings, is_chatgpt_auth=True),
        auth=auth,
    ),
    "usage": lambda http, settings, auth: fetch_usage(
        http, choose_backend(settings, is_chatgpt_auth=True), auth
    ),
    "accounts/check": find_the_workspace,
    "files": lambda http, settings, auth: batches_of(http, settings, auth).upload(BytesIO(b"{}")),
    "batches": lambda http, settings, auth: batches_of(http, settings, auth).find("batch_1"),
}
SIGN_IN: dict[str, Ask] = {
    "refresh": lambda http, settings, _: OAuthClient(http, settings).refresh(
        credentials(AuthMode.CHATGPT), "scheduled"
    ),
    "revoke": lambda http, settings, _: OAuthClient(http, settings).revoke(credentials(AuthMode.CHATGPT)),
    "token exchange": lambda http, settings, _: OAuthClient(http, settings).exchange(CODE),
    "device code": lambda http, settings, _: OAuthClient(http, settings).request_device_code(),
    "device poll": lambda http, settings, _: OAuthClient(http, settings).poll_device_code(DEVICE),
    "whoami": look_up_a_token,
    "agent": register_an_agent,
}


async def asked(
    ask: Ask, address: str, mode: AuthMode, answer: Callable[[httpx.Request], httpx.Response]
) -> list[httpx.Request]:
    """Ask once with every address set to this one; return the requests that left."""
    sent: list[httpx.Request] = []

    def receive(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return answer(request)

    settings = settings_for(address)
    auth = BearerAuth(Signer(mode), settings)
    async with open_http(settings, {}, transport=httpx.MockTransport(receive)) as http:
        with suppress(CodexError):
            await ask(http, settings, auth)
    return sent


def refuse(_: httpx.Request) -> httpx.Response:
    return httpx.Response(400, json={"error": "no"})


@pytest.mark.parametrize("address", SECURE)
def test_https_and_this_machine_are_secure(address: str) -> None:
    assert is_secure(f"{address}/v1")


@pytest.mark.parametrize("address", INSECURE)
def test_anything_else_is_not(address: str) -> None:
    assert not is_secure(f"{address}/v1")


@pytest.mark.parametrize("mode", AuthMode)
@pytest.mark.parametrize("place", SIGNED)
async def test_no_request_is_signed_for_an_insecure_address(place: str, mode: AuthMode) -> None:
    for address in INSECURE:
        assert await asked(SIGNED[place], address, mode, refuse) == [], address


@pytest.mark.parametrize("place", SIGN_IN)
async def test_no_step_of_a_sign_in_goes_to_an_insecure_address(place: str) -> None:
    for address in INSECURE:
        assert await asked(SIGN_IN[place], address, AuthMode.CHATGPT, refuse) == [], address


@pytest.mark.parametrize("place", {**SIGNED, **SIGN_IN})
async def test_a_secure_address_is_asked(place: str) -> None:
    for address in SECURE:
        sent = await asked({**SIGNED, **SIGN_IN}[place], address, AuthMode.CHATGPT, refuse)
        assert {request.url.host for request in sent} == {httpx.URL(address).host}, address


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("place", {**SIGNED, **SIGN_IN})
@pytest.mark.parametrize("target", ["http://evil.test/x", "https://evil.test/x", "//evil.test/x"])
async def test_no_redirect_is_followed(place: str, status: int, target: str) -> None:
    def redirect(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers={"location": target})

    sent = await asked({**SIGNED, **SIGN_IN}[place], "https://codex.test", AuthMode.CHATGPT, redirect)
    assert {request.url.host for request in sent} == {"codex.test"}


async def test_a_key_goes_to_the_provider_that_the_setting_names_and_to_no_other() -> None:
    for allowed, count in (((), 0), (("other",), 0), (("lab",), 1)):
        provider = Provider(id="lab", base_url="http://192.168.0.7/v1", requires_openai_auth=False)
        settings = Settings(codex_home=Path("nowhere"), provider=provider, insecure_providers=allowed)
        sent: list[httpx.Request] = []

        def receive(request: httpx.Request, sent: list[httpx.Request] = sent) -> httpx.Response:
            sent.append(request)
            return refuse(request)

        auth = BearerAuth(Signer(AuthMode.API_KEY), settings)
        async with open_http(settings, {}, transport=httpx.MockTransport(receive)) as http:
            with suppress(CodexError):
                await ask_for_an_answer(http, settings, auth)
        assert len(sent) == count
