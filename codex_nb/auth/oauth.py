"""OpenAI's authorization server as the Codex CLI 0.169 speaks to it: token endpoint, device code, revocation.

Requests are built and sent in frames of their own and failures are raised after those frames are gone, without a
chained cause: a verbose traceback prints the local variables of every frame, and httpx's hold the request's body.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pydantic import SecretStr

from codex_nb.auth.addresses import is_secure
from codex_nb.auth.claims import encode_base64url
from codex_nb.auth.oauth_replies import (
    AuthorizationCode,
    DeviceCode,
    Reply,
    TokenReply,
    describe_network_error,
    login_failure,
    read_authorization_code,
    read_device_code,
    read_refresh,
    read_tokens,
)
from codex_nb.errors import LoginFailed, RefreshFailed
from codex_nb.http import httpx
from codex_nb.words import login_flows as words
from codex_nb.words import renewal

if TYPE_CHECKING:
    from codex_nb.auth.credentials import Credentials
    from codex_nb.settings import Settings

TIMEOUT_S = 20.0
REVOKE_TIMEOUT_S = 10.0
SCOPES = "openid profile email offline_access api.connectors.read api.connectors.invoke"
DEVICE_CODE_LIFETIME = timedelta(minutes=15)


@dataclass(frozen=True)
class Pkce:
    """A proof key for code exchange (RFC 7636): 64 random bytes and their S256 challenge."""

    verifier: SecretStr = field(default_factory=lambda: SecretStr(secrets.token_urlsafe(64)))

    @property
    def challenge(self) -> str:
        """The hash that may be shown to anybody."""
        return encode_base64url(sha256(self.verifier.get_secret_value().encode("ascii")).digest())


class OAuthClient:
    """Speaks to the authorization server; keeps nothing."""

    def __init__(self, http: httpx.AsyncClient, settings: Settings) -> None:
        self._http = http
        self._settings = settings

    async def refresh(self, credentials: Credentials, reason: str) -> TokenReply:
        """Spend the refresh token once. Raises RefreshFailed, saying whether trying again can help."""
        url = self.refresh_url(credentials)
        refuse_insecure(url)
        reply = await self._send(
            "POST",
            url,
            json_body={
                "client_id": credentials.client_id or self._settings.client_id,
                "grant_type": "refresh_token",
                "refresh_reason": reason,
                "refresh_token": credentials.refresh_token,
            },
        )
        return read_refresh(reply)

    def refresh_url(self, credentials: Credentials) -> str:
        """Where the refresh token goes: the override, else the login's own issuer, else the configured one."""
        issuer = credentials.issuer or self._settings.issuer
        return self._settings.refresh_url_override or f"{issuer.rstrip('/')}/oauth/token"

    def authorize_url(self, redirect_uri: str, pkce: Pkce, state: SecretStr) -> str:
        """Where the browser begins."""
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": SCOPES,
            "code_challenge": pkce.challenge,
            "code_challenge_method": "S256",
            "id_token_add_organizations": "true",
            "codex_cli_simplified_flow": "true",
            "state": state.get_secret_value(),
            "originator": self._settings.originator,
        }
        if self._settings.forced_workspaces:
            query["allowed_workspace_id"] = ",".join(self._settings.forced_workspaces)
        return f"{self._settings.issuer}/oauth/authorize?{urlencode(query)}"

    async def exchange(self, code: AuthorizationCode) -> TokenReply:
        """Change an authorization code into tokens. Raises LoginFailed."""
        reply = await self._send(
            "POST",
            f"{self._settings.issuer}/oauth/token",
            form={
                "grant_type": "authorization_code",
                "client_id": self._settings.client_id,
                "code": code.code,
                "redirect_uri": code.redirect_uri,
                "code_verifier": code.verifier,
            },
        )
        if reply.problem or reply.status != httpx.codes.OK:
            raise login_failure(words.NOT_ACCEPTED, reply)
        tokens = read_tokens(reply)
        if tokens is None or tokens.access_token is None:
            raise LoginFailed(words.WITHOUT_TOKENS, reason="malformed")
        return tokens

    async def request_device_code(self) -> DeviceCode:
        """Begin a device-code sign-in. Raises LoginFailed."""
        url = f"{self._settings.issuer}/api/accounts/deviceauth/usercode"
        reply = await self._send("POST", url, json_body={"client_id": self._settings.client_id})
        if reply.status == httpx.codes.NOT_FOUND:
            raise LoginFailed(words.NO_DEVICE_CODES, reason="unsupported")
        if reply.problem or reply.status != httpx.codes.OK:
            raise login_failure(words.CODE_NOT_FETCHED, reply)
        device = read_device_code(reply, f"{self._settings.issuer}/codex/device")
        if device is None:
            raise LoginFailed(words.WITHOUT_DEVICE_CODE, reason="malformed")
        return device

    async def poll_device_code(self, device: DeviceCode) -> AuthorizationCode | None:
        """Ask whether the code was confirmed; None while it was not. Raises LoginFailed.

        A service that is busy or away for a moment has not refused: the CLI gives up there, we ask again.
        """
        url = f"{self._settings.issuer}/api/accounts/deviceauth/token"
        body = {"device_auth_id": device.device_auth_id, "user_code": device.user_code}
        reply = await self._send("POST", url, json_body=body)
        if reply.problem or reply.status in (403, 404, 408, 429) or reply.status >= 500:  # noqa: PLR2004  (HTTP)
            return None
        if reply.status != httpx.codes.OK:
            raise login_failure(words.CODE_REFUSED, reply)
        code = read_authorization_code(reply, f"{self._settings.issuer}/deviceauth/callback")
        if code is None:
            raise LoginFailed(words.WITHOUT_CODE, reason="malformed")
        return code

    async def revoke(self, credentials: Credentials) -> bool:
        """Tell the service that a login is over; whether it heard. Never raises for the network."""
        issuer = credentials.issuer or self._settings.issuer
        url = self._settings.revoke_url_override or f"{issuer.rstrip('/')}/oauth/revoke"
        if credentials.refresh_token is None or not is_secure(url):
            return False
        body = {
            "token": credentials.refresh_token,
            "token_type_hint": "refresh_token",
            "client_id": credentials.client_id or self._settings.client_id,
        }
        reply = await self._send("POST", url, json_body=body, timeout_s=REVOKE_TIMEOUT_S)
        return reply.status == httpx.codes.OK

    async def _send(self, method: str, url: str, *, timeout_s: float = TIMEOUT_S, **body: Any) -> Reply:
        if not is_secure(url):
            return Reply(problem=f"{url} is neither an https address nor on this machine")
        try:
            request = self._http.build_request(method, url, timeout=timeout_s, **_encode(**body))
            response = await self._http.send(request, auth=None, follow_redirects=False)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            return Reply(problem=describe_network_error(error))
        return Reply(response.status_code, SecretStr(response.text))


def _encode(json_body: dict[str, Any] | None = None, form: dict[str, Any] | None = None) -> dict[str, Any]:
    def reveal(values: dict[str, Any]) -> dict[str, Any]:
        return {k: v.get_secret_value() if isinstance(v, SecretStr) else v for k, v in values.items()}

    return {"data": reveal(form)} if form is not None else {"json": reveal(json_body or {})}


def refuse_insecure(url: str) -> None:
    """Raise RefreshFailed before a token goes over an open wire."""
    if not is_secure(url):
        raise RefreshFailed(renewal.INSECURE, permanent=False, reason="insecure")
