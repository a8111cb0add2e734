"""Agent identities: instead of a bearer, every request carries an assertion signed with the agent's Ed25519 key.

The credential is a JWT (RS256, checked against the service's published keys) or, in ``auth.json``, a record of the
same facts. A task is registered once per process; its id goes into every assertion. Needs the package ``cryptography``,
which is imported when the first agent identity turns up.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import Secret, SecretStr

from codex_nb.auth.addresses import is_loopback, is_secure
from codex_nb.auth.claims import name_of
from codex_nb.auth.credentials import UNKNOWN_PLAN, Account, AgentIdentity, Credentials, format_seconds
from codex_nb.auth.oauth_replies import describe_network_error
from codex_nb.errors import RefreshFailed, SignInRequired
from codex_nb.http import httpx
from codex_nb.words import identities as words
from codex_nb.words import network

if TYPE_CHECKING:
    from codex_nb.auth.credentials import Clock
    from codex_nb.settings import Settings

JWKS_TIMEOUT_S = 10.0
REGISTER_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class AgentRecord:
    """An agent identity before its task: who it is, and its key (base64 of PKCS#8)."""

    runtime_id: str
    private_key: SecretStr
    account: Account
    expires_at: datetime | None = None


class AgentRegistry:
    """Checks agent identities and registers their tasks."""

    def __init__(self, http: httpx.AsyncClient, settings: Settings, *, clock: Clock) -> None:
        self._http = http
        self._settings = settings
        self._clock = clock

    async def register(self, found: Credentials, record: SecretStr | Secret[Any] | None) -> Credentials:
        """Complete the credentials by their account and a signer. Raises SignInRequired or RefreshFailed."""
        keys = _keys_module()
        secret = None if record is None else Secret(record.get_secret_value())
        claims = await self._claims(secret)
        agent = _read_record(claims)
        if agent is None:
            raise _invalid(found, words.INCOMPLETE)
        if agent.expires_at is not None and agent.expires_at <= self._clock():
            raise _invalid(found, words.EXPIRED)
        key = keys.open_key(agent.private_key)
        if key is None:
            raise _invalid(found, words.OTHER_KIND_OF_KEY)
        task_id = await self._task_id(agent, key)
        identity = AgentIdentity(agent.runtime_id, task_id, key.sign, self._clock)
        return replace(found, account=agent.account, bearer=None, expires_at=agent.expires_at, agent=identity)

    async def _claims(self, record: Secret[Any] | None) -> Secret[dict[str, Any]]:
        value = None if record is None else record.get_secret_value()
        if isinstance(value, dict):
            return Secret(value)
        if not isinstance(value, str) or value.count(".") != 2:  # noqa: PLR2004  (RFC 7519: header, payload, signature)
            raise SignInRequired(words.UNKNOWN_FORM)
        token = SecretStr(value)
        del value
        keys = await self._jwks()
        verified: Secret[dict[str, Any]] | str = _keys_module().verify(token, keys)
        if isinstance(verified, str):
            raise SignInRequired(words.agent_invalid(verified))
        return verified

    async def _jwks(self) -> list[dict[str, Any]]:
        base = self._settings.agent_jwks_base_url or self._settings.chatgpt_base_url
        reply = await self._fetch("GET", f"{base.rstrip('/')}/wham/agent-identities/jwks", JWKS_TIMEOUT_S)
        keys = reply.get("keys") if isinstance(reply, dict) else None
        if not isinstance(keys, list):
            raise _unreachable(words.NO_KEYS, reply if isinstance(reply, str) else words.NO_KEY_SET)
        return [key for key in keys if isinstance(key, dict)]

    async def _task_id(self, agent: AgentRecord, key: Any) -> str:
        timestamp = format_seconds(self._clock())
        signature = base64.b64encode(key.sign(f"{agent.runtime_id}:{timestamp}".encode())).decode("ascii")
        url = f"{self._authapi()}/v1/agent/{agent.runtime_id}/task/register"
        body = {"timestamp": timestamp, "signature": signature}
        reply = await self._fetch("POST", url, REGISTER_TIMEOUT_S, body)
        if isinstance(reply, str):
            raise _unreachable(words.NO_TASK, reply)
        for name in ("task_id", "taskId"):
            if isinstance(reply.get(name), str) and reply[name]:
                return str(reply[name])
        for name in ("encrypted_task_id", "encryptedTaskId"):
            opened = key.unseal(reply[name]) if isinstance(reply.get(name), str) else None
            if opened:
                return str(opened)
        raise _unreachable(words.NO_TASK, words.NO_TASK_NAMED)

    def _authapi(self) -> str:
        base = self._settings.chatgpt_base_url.rstrip("/")
        if self._settings.agent_authapi_base_url:
            return self._settings.agent_authapi_base_url.rstrip("/")
        if is_loopback(httpx.URL(base).host):
            return base
        return self._settings.authapi_base_url.rstrip("/")

    async def _fetch(self, method: str, url: str, timeout_s: float, body: Any = None) -> dict[str, Any] | str:
        if not is_secure(url):
            return network.INSECURE_ADDRESS
        try:
            request = self._http.build_request(method, url, json=body, timeout=timeout_s)
            response = await self._http.send(request, auth=None, follow_redirects=False)
            value = response.json() if response.is_success else None
        except httpx.HTTPError as error:
            return describe_network_error(error)
        except ValueError:
            return network.SENSELESS
        return value if isinstance(value, dict) else network.service_status(str(response.status_code))


def _read_record(claims: Secret[dict[str, Any]]) -> AgentRecord | None:
    value = claims.get_secret_value()
    runtime_id, key = value.get("agent_runtime_id"), value.get("agent_private_key")
    if not (isinstance(runtime_id, str) and runtime_id.isascii() and isinstance(key, str)):
        return None
    expires = value.get("exp")

    def text(name: str) -> str | None:
        found = value.get(name)
        return found if isinstance(found, str) and found else None

    account = Account(
        account_id=text("account_id"),
        user_id=text("chatgpt_user_id"),
        email=name_of(value.get("email")),
        plan=name_of(value.get("plan_type")) or UNKNOWN_PLAN,
        is_fedramp=value.get("chatgpt_account_is_fedramp") is True,
    )
    expires_at = datetime.fromtimestamp(expires, UTC) if isinstance(expires, int | float) else None
    return AgentRecord(runtime_id, SecretStr(key), account, expires_at)


def _keys_module() -> Any:
    try:
        from codex_nb.auth import agent_keys  # (needs the optional package cryptography)
    except ImportError as error:
        raise SignInRequired(words.NO_CRYPTOGRAPHY) from error
    return agent_keys


def _invalid(found: Credentials, why: str) -> SignInRequired:
    return SignInRequired(words.agent_unusable(found.source, why))


def _unreachable(what: str, why: str) -> RefreshFailed:
    return RefreshFailed(words.agent_not_now(what, why), permanent=False, reason="unreachable")
