"""Signing in with a browser: PKCE, a listener on the CLI's loopback ports, and a pasted address for remote kernels.

The browser ends at ``http://127.0.0.1:1455/auth/callback`` (or 1457). Where kernel and browser are different machines,
that page cannot be reached, but its address holds all that is needed: the user pastes it. Unlike the CLI, no API key is
made on the way.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from codex_nb.auth.flows import LoginFlow, chatgpt_document, refuse_method
from codex_nb.auth.oauth import Pkce
from codex_nb.auth.oauth_replies import AuthorizationCode
from codex_nb.auth.steps import LoginStep, OpenUrl, Waiting
from codex_nb.errors import LoginFailed
from codex_nb.rendering.visible import visible_line
from codex_nb.words import login_flows as words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from codex_nb.auth.manager import CredentialManager

PORTS = (1455, 1457)
PATH = "/auth/callback"
LIFETIME_S = 900.0
REQUEST_LIMIT = 16 * 1024
REQUEST_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Redirect:
    """What an address at the end of the browser's way says."""

    code: SecretStr | None = None
    refusal: str | None = None


@dataclass
class _Attempt:
    """One round through the browser: its secrets, and the outcome once there is one."""

    redirect_uri: str = ""
    pkce: Pkce = field(default_factory=Pkce)
    state: SecretStr = field(default_factory=lambda: SecretStr(secrets.token_urlsafe(32)))
    outcome: Redirect | None = None


class BrowserLogin(LoginFlow):
    """Sign in with the browser of this machine, or with any other by pasting where it ended."""

    def __init__(
        self, manager: CredentialManager, *, ports: Sequence[int] = PORTS, lifetime_s: float = LIFETIME_S
    ) -> None:
        super().__init__(manager)
        self._ports = ports
        self._lifetime_s = lifetime_s

    async def _steps(self) -> AsyncIterator[LoginStep]:
        refuse_method(self.settings, "chatgpt")
        attempt = _Attempt()
        async with self._listening(attempt):
            oauth = self.manager.oauth
            url = oauth.authorize_url(attempt.redirect_uri, attempt.pkce, attempt.state)
            yield OpenUrl(url, can_paste=True)
            deadline = asyncio.get_running_loop().time() + self._lifetime_s
            while (redirect := await self._next_redirect(attempt, deadline)) is None:
                yield OpenUrl(url, can_paste=True, note=words.OTHER_ADDRESS)
            yield Waiting(words.RECEIVED)
            code = _accepted(redirect, attempt)
            tokens = await self._unless_cancelled(oauth.exchange(code))
            yield await self._finish(chatgpt_document(self.manager, tokens))

    async def _next_redirect(self, attempt: _Attempt, deadline: float) -> Redirect | None:
        """Wait for the browser or a pasted address; None when what was pasted is not from this sign-in."""
        try:
            async with asyncio.timeout_at(deadline):
                while True:
                    self._woken.clear()
                    self._refuse_cancelled()
                    if attempt.outcome is not None:
                        return attempt.outcome
                    if self._submitted:
                        return read_redirect(self._submitted.popleft(), attempt.state)
                    await self._woken.wait()
        except TimeoutError:
            pass
        raise LoginFailed(words.BROWSER_TOO_LATE, reason="expired")

    @asynccontextmanager
    async def _listening(self, attempt: _Attempt) -> AsyncIterator[None]:
        """Listen on the first free port; when none is free, pasting is the way that remains."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(attempt, reader, writer)

        server = None
        for port in self._ports:
            try:
                server = await asyncio.start_server(serve, "127.0.0.1", port, limit=REQUEST_LIMIT)
                break
            except OSError:
                continue
        port = server.sockets[0].getsockname()[1] if server is not None else self._ports[0]
        attempt.redirect_uri = f"http://127.0.0.1:{port}{PATH}"
        try:
            yield
        finally:
            if server is not None:
                server.close()
                await server.wait_closed()

    async def _serve(
        self, attempt: _Attempt, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            target = await asyncio.wait_for(_read_target(reader), REQUEST_TIMEOUT_S)
            status, text = self._answer(attempt, target)
            page = text.encode()
            head = (
                f"HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {len(page)}\r\n"
                "cache-control: no-store\r\nreferrer-policy: no-referrer\r\nconnection: close\r\n\r\n"
            )
            writer.write(head.encode() + page)
            await writer.drain()
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return  # a browser that went away or spoke no HTTP; the sign-in goes on waiting
        finally:
            writer.close()

    def _answer(self, attempt: _Attempt, target: SecretStr) -> tuple[str, str]:
        if urlsplit(target.get_secret_value()).path != PATH:
            return "404 Not Found", words.PAGE_EMPTY
        redirect = read_redirect(target, attempt.state)
        if redirect is None:
            return "400 Bad Request", words.PAGE_OF_ANOTHER
        attempt.outcome = attempt.outcome or redirect
        self._woken.set()
        refusal = redirect.refusal
        return "200 OK", words.PAGE_RECEIVED if refusal is None else words.page_failed(refusal)


def read_redirect(address: SecretStr, state: SecretStr) -> Redirect | None:
    """Read an address (whole, or its path and query); None when it is not the end of the sign-in with this state."""
    try:
        query = parse_qs(urlsplit(address.get_secret_value().strip()).query)
    except ValueError:
        return None
    found = query.get("state", [""])[0]
    if not compare_digest(found.encode(), state.get_secret_value().encode()):
        return None
    if "error" in query:
        return Redirect(refusal=_plain(query.get("error_description", query["error"])[0]))
    code = query.get("code", [""])[0]
    return Redirect(code=SecretStr(code)) if code else None


def _accepted(redirect: Redirect, attempt: _Attempt) -> AuthorizationCode:
    if redirect.code is None:
        raise LoginFailed(words.refused(redirect.refusal or ""), reason="refused")
    return AuthorizationCode(redirect.code, attempt.pkce.verifier, attempt.redirect_uri)


async def _read_target(reader: asyncio.StreamReader) -> SecretStr:
    """Read one request's head and give its target."""
    head = await reader.readuntil(b"\r\n\r\n")
    method, target, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ", 2)
    return SecretStr(target if method == "GET" else "/")


def _plain(text: str) -> str:
    """One visible line of what the service says, bounded."""
    return visible_line(text[:200]).rstrip(".")
