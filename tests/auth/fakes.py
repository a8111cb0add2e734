"""The outer edge of the auth tests: an authorization server behind httpx.MockTransport, a clock, fabricated tokens."""

from __future__ import annotations

import base64
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import httpx

from codex_nb.auth.manager import open_credentials
from codex_nb.config.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from codex_nb.auth.manager import CredentialManager

NOW = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
ISSUER = "https://auth.fab.example"
BACKEND = "https://chat.fab.example/backend-api"
AUTH = "https://api.openai.com/auth"


def jwt(**claims: Any) -> str:
    """A token with these claims and a signature that nobody checks."""

    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}.fabricated-signature"


def id_token(account_id: str | None = "acct-1", *, user_id: str = "user-1", **auth: Any) -> str:
    """An ID token of one account."""
    auth = {"chatgpt_user_id": user_id, "chatgpt_plan_type": "plus", **auth}
    if account_id is not None:
        auth["chatgpt_account_id"] = account_id
    return jwt(email="ada@fab.example", sub=user_id, **{AUTH: auth})


def access_token(
    expires_at: datetime, *, serial: int = 0, account_id: str = "acct-1", user_id: str = "user-1"
) -> str:
    """An access token that ends then; ``serial`` tells them apart."""
    auth = {"chatgpt_account_id": account_id, "chatgpt_user_id": user_id}
    return jwt(exp=int(expires_at.timestamp()), serial=serial, **{AUTH: auth})


def login(**changes: Any) -> dict[str, Any]:
    """What ``auth.json`` holds after the CLI's sign-in; ``tokens`` is merged, ``...`` removes a key."""
    given = changes.pop("tokens", {})
    tokens = {
        "id_token": id_token(),
        "access_token": access_token(NOW + timedelta(hours=1)),
        "refresh_token": "rt_fab_0_0123456789abcdef",
        "oauth_provenance": {"issuer": ISSUER, "client_id": "app_fab"},
        "login_owner_id": "owner_fab_0123456789",
        "account_id": "acct-1",
        **(given or {}),
    }
    document = {
        "auth_mode": "chatgpt",
        "OPENAI_API_KEY": None,
        "tokens": tokens,
        "last_refresh": "2026-11-20T19:00:00.000000000Z",
        **changes,
    }
    document["tokens"] = None if given is None else {k: v for k, v in tokens.items() if v is not ...}
    return {key: value for key, value in document.items() if value is not ...}


def write_login(home: Path, document: dict[str, Any] | str | None = None, **changes: Any) -> Path:
    """Write ``auth.json`` as another program would."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / "auth.json"
    value = login(**changes) if document is None else document
    path.write_text(value if isinstance(value, str) else json.dumps(value, indent=2))
    path.chmod(0o600)
    return path


class Clock:
    """A clock that stands still until it is moved; sleeping moves it."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)


Answer = httpx.Response | Exception | None


@dataclass
class Service:
    """The authorization server and the backend: refresh tokens are good for one use.

    ``on`` maps a path to a function that answers in place of the service; returning None leaves it to the service.
    """

    clock: Clock = field(default_factory=Clock)
    valid_refresh: set[str] = field(default_factory=lambda: {"rt_fab_0_0123456789abcdef"})
    valid_access: set[str] | None = None
    on: dict[str, Callable[[httpx.Request], Answer]] = field(default_factory=dict)
    requests: list[httpx.Request] = field(default_factory=list)
    issued: list[dict[str, str]] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        # A copy: the same request is signed anew after a 401.
        self.requests.append(
            httpx.Request(request.method, request.url, headers=request.headers, content=request.content)
        )
        answer = self.on[request.url.path](request) if request.url.path in self.on else None
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            return answer
        return self._answer(request)

    @property
    def counts(self) -> Counter[str]:
        """How often each path was asked."""
        return Counter(request.url.path for request in self.requests)

    def sent(self, path: str) -> list[dict[str, Any]]:
        """The bodies sent to a path."""
        return [body(request) for request in self.requests if request.url.path == path]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        match request.url.path:
            case "/oauth/token":
                return self._token(body(request))
            case "/oauth/revoke":
                return httpx.Response(200, json={})
            case "/api/accounts/deviceauth/usercode":
                return httpx.Response(
                    200, json={"device_auth_id": "device_fab_1", "user_code": "ABCD-1234", "interval": "1"}
                )
            case "/api/accounts/deviceauth/token":
                return httpx.Response(
                    200, json={"authorization_code": "code_fab_1", "code_verifier": "verifier_fab_1"}
                )
            case "/api/accounts/v1/user-auth-credential/whoami":
                return httpx.Response(200, json=WHOAMI)
            case "/backend-api/codex/responses":
                return self._responses(request)
            case _:
                return httpx.Response(404, json={"detail": "not found"})

    def _token(self, form: dict[str, Any]) -> httpx.Response:
        if form["grant_type"] == "refresh_token":
            if form["refresh_token"] not in self.valid_refresh:
                return httpx.Response(401, json={"error": {"code": "refresh_token_reused"}})
            self.valid_refresh.remove(form["refresh_token"])
        if form["grant_type"].endswith("token-exchange"):
            return httpx.Response(200, json={"access_token": "sk-fab-exchanged-0123456789"})
        return httpx.Response(200, json=self.new_tokens())

    def new_tokens(self, **claims: Any) -> dict[str, str]:
        """Issue tokens of the next serial number."""
        serial = len(self.issued) + 1
        tokens = {
            "id_token": id_token(**claims),
            "access_token": access_token(self.clock() + timedelta(hours=1), serial=serial, **claims),
            "refresh_token": f"rt_fab_{serial}_0123456789abcdef",
        }
        self.issued.append(tokens)
        self.valid_refresh.add(tokens["refresh_token"])
        if self.valid_access is not None:
            self.valid_access.add(tokens["access_token"])
        return tokens

    def _responses(self, request: httpx.Request) -> httpx.Response:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.valid_access is not None and bearer not in self.valid_access:
            return httpx.Response(401, json={"error": {"message": "token expired"}})
        return httpx.Response(200, json={"ok": True})


WHOAMI = {
    "email": "ada@fab.example",
    "chatgpt_user_id": "user-1",
    "chatgpt_account_id": "acct-1",
    "chatgpt_plan_type": "pro",
    "chatgpt_account_is_fedramp": False,
}


def body(request: httpx.Request) -> dict[str, Any]:
    """The request's body, JSON or form."""
    text = request.content.decode()
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(text))
    return json.loads(text) if text else {}


@dataclass
class LoginFixture:
    """One session: a home, a service, a manager."""

    home: Path
    service: Service = field(default_factory=Service)
    environ: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.http = httpx.AsyncClient(transport=httpx.MockTransport(self.service))
        self.manager = self.open()

    def open(self) -> CredentialManager:
        """Make a manager, as another kernel would."""
        defaults = {
            "issuer": ISSUER,
            "authapi_base_url": f"{ISSUER}/api/accounts",
            "chatgpt_base_url": BACKEND,
        }
        settings = Settings(codex_home=self.home, **{**defaults, **self.settings})
        clock = self.service.clock
        options = {"clock": clock, "sleep": clock.sleep, **self.options}
        return open_credentials(settings, self.environ, self.http, **options)

    async def post(self) -> httpx.Response:
        """Ask the backend something, signed."""
        return await self.http.post(
            f"{BACKEND}/codex/responses", json={"input": []}, auth=self.manager.auth()
        )

    def on_disk(self) -> dict[str, Any]:
        """What ``auth.json`` holds."""
        return json.loads((self.home / "auth.json").read_text())
