"""OpenAI's authorization server as the Codex CLI speaks to it: token endpoint, device code, revocation."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pydantic import SecretStr

from codex_nb.auth.credentials import encode_base64url
from codex_nb.errors import LoginFailed, RefreshFailed
from codex_nb.http import httpx, is_secure, request_json
from codex_nb.parse import parse_number

if TYPE_CHECKING:
    from codex_nb.auth.credentials import Credentials
    from codex_nb.config.settings import Settings
    from codex_nb.http import JsonResponse


PERMANENT_CODES = {
    "refresh_token_expired": ("expired", "your sign-in has expired"),
    "refresh_token_reused": ("reused", "the refresh token was already used by another program"),
    "refresh_token_invalidated": ("revoked", "your sign-in was revoked"),
}


@dataclass(frozen=True)
class TokenReply:
    """A reply of the token endpoint; a token that it leaves out is None."""

    id_token: SecretStr | None = None
    access_token: SecretStr | None = None
    refresh_token: SecretStr | None = None


@dataclass(frozen=True)
class DeviceCode:
    """The code that the user enters at ``url``, and the polling interval in seconds."""

    device_auth_id: SecretStr
    user_code: str
    url: str
    interval_s: float


@dataclass(frozen=True)
class AuthorizationCode:
    """A code that the token endpoint exchanges for tokens, once."""

    code: SecretStr
    verifier: SecretStr
    redirect_uri: str


def read_refresh(reply: JsonResponse) -> TokenReply:
    """Read the reply to a refresh. Raises RefreshFailed, permanent or transient."""
    if reply.problem:
        raise _transient(f"the sign-in service failed: {reply.problem}", "unreachable")
    if reply.status == httpx.codes.OK:
        tokens = read_tokens(reply)
        if tokens is None:
            raise _transient("the sign-in service returned an invalid response", "malformed")
        return tokens
    code = _error_code(reply)
    if reply.status in (400, 401, 403) and code in PERMANENT_CODES:
        reason, why = PERMANENT_CODES[code]
        raise _permanent(why, reason)
    if reply.status == httpx.codes.UNAUTHORIZED or (reply.status == 400 and code == "invalid_grant"):  # noqa: PLR2004
        raise _permanent("the sign-in service rejected the refresh token", "rejected")
    raise _transient(f"the sign-in service returned status {reply.status}", "unreachable")


def read_tokens(reply: JsonResponse) -> TokenReply | None:
    """Read any subset of the three tokens; None when the reply is malformed. Other keys are ignored."""
    value = reply.value
    if not isinstance(value, dict):
        return None
    found = {name: value.get(name) for name in ("id_token", "access_token", "refresh_token")}
    if any(token is not None and not isinstance(token, str) for token in found.values()):
        return None
    return TokenReply(**{name: SecretStr(token) for name, token in found.items() if token})


def _error_code(reply: JsonResponse) -> str | None:
    value = reply.fields
    error = value.get("error")
    for code in (error.get("code") if isinstance(error, dict) else error, value.get("code")):
        if isinstance(code, str):
            return code
    return None


def read_device_code(reply: JsonResponse, url: str) -> DeviceCode | None:
    """Read a device code that is confirmed at ``url``; None when the reply contains none."""
    value = reply.fields
    device_auth_id, user_code = value.get("device_auth_id"), value.get("user_code") or value.get("usercode")
    if not isinstance(device_auth_id, str) or not isinstance(user_code, str):
        return None
    return DeviceCode(SecretStr(device_auth_id), user_code, url, read_interval(value.get("interval")))


def read_authorization_code(reply: JsonResponse, redirect_uri: str) -> AuthorizationCode | None:
    """Read the authorization code of a confirmed device code; None when the reply contains none."""
    value = reply.fields
    code, verifier = value.get("authorization_code"), value.get("code_verifier")
    if not isinstance(code, str) or not isinstance(verifier, str):
        return None
    return AuthorizationCode(SecretStr(code), SecretStr(verifier), redirect_uri)


def read_interval(value: object) -> float:
    """Read a polling interval in seconds, which the service writes as a string; five when not found."""
    seconds = parse_number(value)
    return 5.0 if seconds is None else min(max(seconds, 0.0), 60.0)


def _permanent(why: str, reason: str) -> RefreshFailed:
    return RefreshFailed(
        f"Your session cannot be refreshed: {why}.",
        hint="Sign in again with %codex login.",
        permanent=True,
        reason=reason,
    )


def _transient(why: str, reason: str) -> RefreshFailed:
    return RefreshFailed(
        f"Your session could not be refreshed: {why}.",
        hint="Run the cell again in a moment.",
        permanent=False,
        reason=reason,
    )


def login_failure(what: str, reply: JsonResponse) -> LoginFailed:
    """Return the error for a failed step of the sign-in."""
    if reply.problem:
        return LoginFailed(
            f"{what}: {reply.problem}.", hint="Check the network and try again.", reason="network"
        )
    reason = "refused" if reply.status < 500 else "network"  # noqa: PLR2004  (HTTP: the server's own fault)
    return LoginFailed(
        f"{what} (status {reply.status}).", hint="Start again with %codex login.", reason=reason
    )


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
        """The S256 hash of the verifier."""
        return encode_base64url(sha256(self.verifier.get_secret_value().encode("ascii")).digest())


class OAuthClient:
    """A client of the authorization server, without state."""

    def __init__(self, http: httpx.AsyncClient, settings: Settings) -> None:
        self._http = http
        self._settings = settings

    async def refresh(self, credentials: Credentials, reason: str) -> TokenReply:
        """Spend the refresh token. Raises RefreshFailed, permanent or transient."""
        url = self.refresh_url(credentials)
        ensure_secure(url)
        reply = await self._send(
            "POST",
            url,
            json={
                "client_id": credentials.client_id or self._settings.client_id,
                "grant_type": "refresh_token",
                "refresh_reason": reason,
                "refresh_token": credentials.refresh_token,
            },
        )
        return read_refresh(reply)

    def refresh_url(self, credentials: Credentials) -> str:
        """Return the token endpoint: the override, else that of the login's issuer, else the configured one."""
        issuer = credentials.issuer or self._settings.issuer
        return self._settings.refresh_url_override or f"{issuer.rstrip('/')}/oauth/token"

    def authorize_url(self, redirect_uri: str, pkce: Pkce, state: SecretStr) -> str:
        """Return the URL at which the sign-in in the browser starts."""
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
        """Exchange an authorization code for tokens. Raises LoginFailed."""
        reply = await self._send(
            "POST",
            f"{self._settings.issuer}/oauth/token",
            data={
                "grant_type": "authorization_code",
                "client_id": self._settings.client_id,
                "code": code.code,
                "redirect_uri": code.redirect_uri,
                "code_verifier": code.verifier,
            },
        )
        if reply.problem or reply.status != httpx.codes.OK:
            raise login_failure("The sign-in service rejected the sign-in", reply)
        tokens = read_tokens(reply)
        if tokens is None or tokens.access_token is None:
            raise LoginFailed(
                "The sign-in service returned no tokens.",
                hint="Start again with %codex login.",
                reason="malformed",
            )
        return tokens

    async def request_device_code(self) -> DeviceCode:
        """Begin a device-code sign-in. Raises LoginFailed."""
        url = f"{self._settings.issuer}/api/accounts/deviceauth/usercode"
        reply = await self._send("POST", url, json={"client_id": self._settings.client_id})
        if reply.status == httpx.codes.NOT_FOUND:
            raise LoginFailed(
                "Signing in by device code is not enabled here.",
                hint="Allow device codes in ChatGPT's security settings, or use %codex login browser.",
                reason="unsupported",
            )
        if reply.problem or reply.status != httpx.codes.OK:
            raise login_failure("The device code could not be requested", reply)
        device = read_device_code(reply, f"{self._settings.issuer}/codex/device")
        if device is None:
            raise LoginFailed(
                "The sign-in service returned no device code.",
                hint="Start again with %codex login.",
                reason="malformed",
            )
        return device

    async def poll_device_code(self, device: DeviceCode) -> AuthorizationCode | None:
        """Ask whether the code was confirmed; None while it was not. Raises LoginFailed.

        A service that is busy or away for a moment has not refused: the CLI gives up there, we ask again.
        """
        url = f"{self._settings.issuer}/api/accounts/deviceauth/token"
        body = {"device_auth_id": device.device_auth_id, "user_code": device.user_code}
        reply = await self._send("POST", url, json=body)
        if reply.problem or reply.status in (403, 404, 408, 429) or reply.status >= 500:  # noqa: PLR2004  (HTTP)
            return None
        if reply.status != httpx.codes.OK:
            raise login_failure("The device code was refused", reply)
        code = read_authorization_code(reply, f"{self._settings.issuer}/deviceauth/callback")
        if code is None:
            raise LoginFailed(
                "The sign-in service confirmed the sign-in but returned no authorization code.",
                hint="Start again with %codex login.",
                reason="malformed",
            )
        return code

    async def revoke(self, credentials: Credentials) -> bool:
        """Revoke a login; return whether the service confirmed. Network errors are ignored."""
        issuer = credentials.issuer or self._settings.issuer
        url = self._settings.revoke_url_override or f"{issuer.rstrip('/')}/oauth/revoke"
        if credentials.refresh_token is None:
            return False
        body = {
            "token": credentials.refresh_token,
            "token_type_hint": "refresh_token",
            "client_id": credentials.client_id or self._settings.client_id,
        }
        reply = await self._send("POST", url, json=body, timeout_s=REVOKE_TIMEOUT_S)
        return reply.status == httpx.codes.OK

    async def _send(
        self, method: str, url: str, *, timeout_s: float = TIMEOUT_S, **body: Any
    ) -> JsonResponse:
        return await request_json(self._http, method, url, timeout_s=timeout_s, **body)


def ensure_secure(url: str) -> None:
    """Raise RefreshFailed when a token would be sent unencrypted."""
    if not is_secure(url):
        raise RefreshFailed(
            "Your session was not refreshed: the refresh address is neither https nor on this machine.",
            hint="Check CODEX_REFRESH_TOKEN_URL_OVERRIDE and the issuer in auth.json.",
            permanent=False,
            reason="insecure",
        )
