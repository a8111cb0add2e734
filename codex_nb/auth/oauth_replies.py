"""What the authorization server's replies mean, failures included."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from codex_nb.errors import LoginFailed, RefreshFailed
from codex_nb.http import httpx
from codex_nb.words import login_flows, network
from codex_nb.words import renewal as words

PERMANENT_CODES = {
    "refresh_token_expired": ("expired", words.EXPIRED),
    "refresh_token_reused": ("reused", words.REUSED),
    "refresh_token_invalidated": ("revoked", words.REVOKED),
}


@dataclass(frozen=True)
class TokenReply:
    """The token endpoint's answer; what it leaves out is None."""

    id_token: SecretStr | None = None
    access_token: SecretStr | None = None
    refresh_token: SecretStr | None = None


@dataclass(frozen=True)
class DeviceCode:
    """What the user types in at ``url``, and how often (seconds) to ask whether that has happened."""

    device_auth_id: SecretStr
    user_code: str
    url: str
    interval_s: float


@dataclass(frozen=True)
class AuthorizationCode:
    """A code that the token endpoint changes into tokens, once."""

    code: SecretStr
    verifier: SecretStr
    redirect_uri: str


@dataclass(frozen=True)
class Reply:
    """A response without its secrets on show: ``problem`` is set when there was none at all."""

    status: int = 0
    body: SecretStr = field(default_factory=lambda: SecretStr(""))
    problem: str | None = None

    def fields(self) -> dict[str, Any]:
        """Give the body as an object; ``{}`` when it is none."""
        try:
            value = json.loads(self.body.get_secret_value())
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


def read_refresh(reply: Reply) -> TokenReply:
    """Read the answer to a refresh. Raises RefreshFailed, saying whether trying again can help."""
    if reply.problem:
        raise _transient(words.failed(reply.problem), "unreachable")
    if reply.status == httpx.codes.OK:
        tokens = read_tokens(reply)
        if tokens is None:
            raise _transient(words.SENSELESS, "malformed")
        return tokens
    code = _error_code(reply)
    if reply.status in (400, 401, 403) and code in PERMANENT_CODES:
        reason, why = PERMANENT_CODES[code]
        raise _permanent(why, reason)
    if reply.status == httpx.codes.UNAUTHORIZED or (reply.status == 400 and code == "invalid_grant"):  # noqa: PLR2004
        raise _permanent(words.REFUSED, "rejected")
    raise _transient(words.answered(str(reply.status)), "unreachable")


def read_tokens(reply: Reply) -> TokenReply | None:
    """Read any subset of the three tokens; None when the answer makes no sense. Other keys are ignored."""
    try:
        value = json.loads(reply.body.get_secret_value())
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    found = {name: value.get(name) for name in ("id_token", "access_token", "refresh_token")}
    if any(token is not None and not isinstance(token, str) for token in found.values()):
        return None
    return TokenReply(**{name: SecretStr(token) for name, token in found.items() if token})


def _error_code(reply: Reply) -> str | None:
    value = reply.fields()
    error = value.get("error")
    for code in (error.get("code") if isinstance(error, dict) else error, value.get("code")):
        if isinstance(code, str):
            return code
    return None


def read_device_code(reply: Reply, url: str) -> DeviceCode | None:
    """Read a device code that is confirmed at ``url``; None when the answer holds none."""
    value = reply.fields()
    device_auth_id, user_code = value.get("device_auth_id"), value.get("user_code") or value.get("usercode")
    if not isinstance(device_auth_id, str) or not isinstance(user_code, str):
        return None
    return DeviceCode(SecretStr(device_auth_id), user_code, url, read_interval(value.get("interval")))


def read_authorization_code(reply: Reply, redirect_uri: str) -> AuthorizationCode | None:
    """Read the code that a confirmed device is given; None when the answer holds none."""
    value = reply.fields()
    code, verifier = value.get("authorization_code"), value.get("code_verifier")
    if not isinstance(code, str) or not isinstance(verifier, str):
        return None
    return AuthorizationCode(SecretStr(code), SecretStr(verifier), redirect_uri)


def read_interval(value: object) -> float:
    """Read a polling interval in seconds, which the service writes as a string; five when there is none."""
    try:
        seconds = float(value)  # type: ignore[arg-type]  # anything may stand there; the except is for the rest
    except (TypeError, ValueError):
        return 5.0
    return min(max(seconds, 0.0), 60.0)


def _permanent(why: str, reason: str) -> RefreshFailed:
    return RefreshFailed(words.impossible(why), permanent=True, reason=reason)


def _transient(why: str, reason: str) -> RefreshFailed:
    return RefreshFailed(words.impossible_now(why), permanent=False, reason=reason)


def login_failure(what: str, reply: Reply) -> LoginFailed:
    """Say why a step of the sign-in failed."""
    if reply.problem:
        return LoginFailed(login_flows.unreachable(what, reply.problem), reason="network")
    reason = "refused" if reply.status < 500 else "network"  # noqa: PLR2004  (HTTP: the server's own fault)
    return LoginFailed(login_flows.answered(what, str(reply.status)), reason=reason)


def describe_network_error(error: Exception) -> str:
    """Name a network failure without its request."""
    if isinstance(error, httpx.TimeoutException):
        return network.TOO_SLOW
    if isinstance(error, httpx.ConnectError):
        return network.UNREACHABLE
    return network.connection_failed(type(error).__name__)
