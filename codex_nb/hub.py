"""``codex-nb hub``: the service of a JupyterHub that keeps the Codex login of each of its users.

A user signs in once, on the service's page. The refresh token stays here, and only this process spends it: the kernels
of the user fetch access tokens with the token by which the hub knows their server. A user is whom the hub says; a name
in a request is never taken for one.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import signal
from contextlib import suppress
from dataclasses import dataclass, field, replace
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jupyterhub.services.auth import (
    HubAuth,
    HubAuthenticated,
    HubOAuth,
    HubOAuthCallbackHandler,
    HubOAuthenticated,
)
from tornado.httpserver import HTTPServer
from tornado.web import Application, HTTPError, RequestHandler, authenticated

from codex_nb.auth.credentials import fingerprint
from codex_nb.auth.login import DeviceCodeLogin, EnterUserCode, SignedIn
from codex_nb.auth.manager import open_credentials
from codex_nb.auth.sources import HUB_SIGNED_OUT
from codex_nb.config.settings import codex_environment, load_settings
from codex_nb.errors import CodexError, ConfigError, SignInRequired
from codex_nb.http import open_http
from codex_nb.labels import plan_name

if TYPE_CHECKING:
    from pathlib import Path

    from codex_nb.auth.credentials import Credentials
    from codex_nb.auth.login import LoginStep
    from codex_nb.auth.manager import CredentialManager
    from codex_nb.config.settings import Settings
    from codex_nb.http import httpx

TRUSTED_S = 10  # for which the hub is not asked again about a token: that of a stopped server is refused soon
RELOAD_S = 2  # of the page, while a code waits to be entered
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Codex</title>{reload}</head>
<body><main><h1>Codex</h1>{content}</main></body></html>"""
FORM = '<form method="post" action="{action}">{token}<button>{label}</button></form>'
_log = logging.getLogger(__name__)


@dataclass
class UserLogin:
    """The login of one user: its manager, and the sign-in that is going on."""

    manager: CredentialManager
    step: LoginStep | CodexError | None = None
    _running: asyncio.Task[None] | None = field(default=None, repr=False)

    def begin(self) -> None:
        """Begin a sign-in by device code, unless one is going on."""
        if not self.is_signing_in:
            self.step = None
            self._running = asyncio.ensure_future(self._sign_in())

    async def _sign_in(self) -> None:
        try:
            async for step in DeviceCodeLogin(self.manager).steps():
                self.step = step
        except CodexError as error:
            self.step = error

    @property
    def is_signing_in(self) -> bool:
        """Whether a sign-in is going on."""
        return self._running is not None and not self._running.done()

    async def fetch(self, rejected: str) -> Credentials:
        """Return credentials that are not the ``rejected`` ones, by their fingerprint; raises SignInRequired.

        However many kernels come with the same ones, they are refreshed once.
        """
        present = await self.manager.current()
        if fingerprint(present.bearer) != rejected:
            return present
        found = (await self.manager.retry_after_401(present)).credentials
        if found is None:
            raise SignInRequired("The login was refused, and there is no newer one.")
        return found

    async def close(self) -> None:
        """End a sign-in, and finish a refresh."""
        if self._running is not None:
            self._running.cancel()
        await self.manager.close()


class UserLogins:
    """The logins of all users, each in a CODEX_HOME of its own below ``folder``, of mode 0700."""

    def __init__(self, settings: Settings, http: httpx.AsyncClient, folder: Path) -> None:
        self._settings = settings
        self._http = http
        self._folder = folder
        self._logins: dict[str, UserLogin] = {}

    def of(self, user: str) -> UserLogin:
        """Return the login of a user."""
        if user not in self._logins:
            # a hash: names may hold what a file system does not, or differ in case only
            home = self._folder / hashlib.sha256(user.encode()).hexdigest()
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            settings = replace(self._settings, codex_home=home)
            self._logins[user] = UserLogin(open_credentials(settings, {}, self._http))
        return self._logins[user]

    async def close(self) -> None:
        """Finish what is going on."""
        await asyncio.gather(*(login.close() for login in self._logins.values()))
        await self._http.aclose()


class _Handler(RequestHandler):
    """What all pages share. ``hub_auth`` asks the hub who it is."""

    current_user: dict[str, Any] | None

    def initialize(self, hub_auth: HubAuth, logins: UserLogins) -> None:
        """Take the parts of the application."""
        self.hub_auth = hub_auth
        self.logins = logins

    def set_default_headers(self) -> None:
        """Let nothing be kept or embedded; a page has no scripts."""
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("X-Content-Type-Options", "nosniff")
        policy = "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        self.set_header("Content-Security-Policy", policy)

    @property
    def login(self) -> UserLogin:
        """The login of the user who asks; only users have one."""
        user = self.current_user
        if user is None or user.get("kind") != "user":
            raise HTTPError(403, reason="Only a user has a login")
        return self.logins.of(user["name"])


class TokenHandler(HubAuthenticated, _Handler):  # type: ignore[misc]  # jupyterhub has no type information
    """Gives a kernel an access token of its user, who is known by the ``Authorization`` header, never by a cookie."""

    def get_login_url(self) -> str:
        """Refuse instead of leading a program to a page."""
        raise HTTPError(401, reason="The hub does not know this token")

    @authenticated
    async def get(self) -> None:
        """Answer with the token, its account and plan, and when it expires (ISO 8601)."""
        login = self.login
        named = self.get_query_argument("user", None)
        if named not in {None, (self.current_user or {})["name"]}:
            raise HTTPError(403, reason="Another user's token is not given")
        try:
            found = await login.fetch(self.get_query_argument("rejected", ""))
        except SignInRequired as error:
            self._refuse(409, HUB_SIGNED_OUT, error)
        except CodexError as error:
            needs_login = getattr(error, "permanent", False)
            self._refuse(409 if needs_login else 502, HUB_SIGNED_OUT if needs_login else "unavailable", error)
        else:
            self.finish(_token_reply(found))

    def _refuse(self, status: int, code: str, error: CodexError) -> None:
        self.set_status(status)
        self.finish({"error": code, "message": error.line})

    def write_error(self, status_code: int, **_: Any) -> None:
        """Answer a program with JSON."""
        self.finish({"error": "refused", "status": status_code, "message": self._reason})


def _token_reply(found: Credentials) -> dict[str, Any]:
    return {
        "access_token": "" if found.bearer is None else found.bearer.get_secret_value(),
        "account_id": found.account.account_id,
        "plan": found.account.plan,
        "expires_at": None if found.expires_at is None else found.expires_at.isoformat(),
    }


class PageHandler(HubOAuthenticated, _Handler):  # type: ignore[misc]  # jupyterhub has no type information
    """The page on which a user signs in and out."""

    @authenticated
    async def get(self) -> None:
        """Show where the sign-in is."""
        login = self.login
        content, reloads = await self._content(login), login.is_signing_in
        reload = f'<meta http-equiv="refresh" content="{RELOAD_S}">' if reloads else ""
        self.finish(PAGE.format(reload=reload, content=content))

    @authenticated
    async def post(self) -> None:
        """Begin a sign-in, or sign out."""
        login = self.login
        if self.get_query_argument("do", "") == "sign_out":
            with suppress(CodexError):
                await login.manager.sign_out()
            login.step = None
        else:
            login.begin()
        self.redirect(self.request.path, status=303)

    async def _content(self, login: UserLogin) -> str:
        if login.is_signing_in:
            return _described(login.step)
        failure = f"<p>{escape(login.step.line)}</p>" if isinstance(login.step, CodexError) else ""
        try:
            found = await login.manager.inspect()
        except CodexError:
            return f"{failure}<p>You are not signed in.</p>{self._form('sign_in', 'Sign in')}"
        who = f"{escape(found.label)} ({escape(plan_name(found.account.plan))})"
        return (
            f"{failure}<p>Signed in as <strong>{who}</strong>. Your notebooks on this JupyterHub use this login.</p>"
            f"{self._form('sign_out', 'Sign out')}{self._form('sign_in', 'Sign in again')}"
        )

    def _form(self, action: str, label: str) -> str:
        return FORM.format(action=f"?do={action}", token=self.xsrf_form_html(), label=label)


class CallbackHandler(HubOAuthCallbackHandler):  # type: ignore[misc]  # jupyterhub has no type information
    """Takes a browser back from the hub's sign-in."""

    def initialize(self, hub_auth: HubAuth) -> None:
        """Take the parts of the application."""
        self.hub_auth = hub_auth


def _described(step: LoginStep | CodexError | None) -> str:
    match step:
        case EnterUserCode():
            url = escape(step.url, quote=True)
            return (
                f'<p>Open <a href="{url}" target="_blank" rel="noopener noreferrer">{url}</a>, sign in to ChatGPT and '
                f"enter this code:</p><p><strong>{escape(step.user_code)}</strong></p>"
                "<p>Only enter a code that you have asked for yourself.</p>"
            )
        case SignedIn():
            return "<p>Signed in.</p>"
        case _:
            return "<p>Signing in…</p>"


def make_app(prefix: str, logins: UserLogins) -> Application:
    """Return the service's pages below its prefix, which ends with a slash."""
    by_token = {"hub_auth": HubAuth(cache_max_age=TRUSTED_S), "logins": logins}
    by_browser = {"hub_auth": HubOAuth(cache_max_age=TRUSTED_S)}
    return Application(
        [
            (f"{prefix}token", TokenHandler, by_token),
            (f"{prefix}oauth_callback", CallbackHandler, by_browser),
            (prefix, PageHandler, {**by_browser, "logins": logins}),
        ],
        cookie_secret=os.urandom(32),
        xsrf_cookies=True,
    )


def run(folder: Path | None) -> None:
    """Serve until the hub ends this process. Raises ConfigError where no hub has started it."""
    address = urlsplit(os.environ.get("JUPYTERHUB_SERVICE_URL", ""))
    prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX", "")
    if not address.hostname or not address.port or not prefix or not os.environ.get("JUPYTERHUB_API_TOKEN"):
        raise ConfigError(
            "codex-nb hub runs as a service of a JupyterHub, which has not started it.",
            key="JUPYTERHUB_SERVICE_URL",
            hint="Add it to c.JupyterHub.services; see docs/jupyterhub.md.",
        )
    asyncio.run(_serve(address.hostname, address.port, prefix, folder))


async def _serve(host: str, port: int, prefix: str, folder: Path | None) -> None:
    environ = codex_environment(os.environ)
    settings = load_settings(environ)
    folder = folder or settings.codex_home / "codex_nb" / "hub"
    logins = UserLogins(settings, open_http(settings, environ), folder)
    server = HTTPServer(make_app(prefix, logins))
    server.listen(port, host)
    _log.info("Codex logins of this hub's users are served at %s", prefix)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()
    server.stop()
    await logins.close()
