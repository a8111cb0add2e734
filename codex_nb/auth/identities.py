"""Credentials that must ask who they are before they can sign: personal access tokens and agent identities."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from codex_nb.auth.addresses import is_secure
from codex_nb.auth.agent import AgentRegistry
from codex_nb.auth.claims import name_of
from codex_nb.auth.credentials import UNKNOWN_PLAN, Account, AuthMode, Credentials
from codex_nb.auth.oauth_replies import describe_network_error
from codex_nb.errors import RefreshFailed, SignInRequired
from codex_nb.http import httpx
from codex_nb.words import identities as words
from codex_nb.words import network

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pydantic import Secret, SecretStr

    from codex_nb.auth.credentials import Clock
    from codex_nb.auth.document import AuthDotJson
    from codex_nb.settings import Settings

WHOAMI_TIMEOUT_S = 20.0


class Identities:
    """Completes credentials and remembers the outcome for as long as the process lives."""

    def __init__(self, http: httpx.AsyncClient, settings: Settings, *, clock: Clock) -> None:
        self._http = http
        self._settings = settings
        self._agents = AgentRegistry(http, settings, clock=clock)
        self._known: dict[str, Credentials] = {}

    async def complete(self, found: Credentials, document: AuthDotJson | None = None) -> Credentials:
        """Give the credentials with their account; those that say it themselves come back as they are."""
        match found.mode:
            case AuthMode.PERSONAL_ACCESS_TOKEN if found.bearer is not None:
                return await self._once(found, _fingerprint(found.bearer), self._whoami)
            case AuthMode.AGENT_IDENTITY:
                record = found.bearer if document is None else document.agent_identity
                return await self._once(
                    found, _fingerprint(record), lambda it: self._agents.register(it, record)
                )
            case _:
                return found

    async def _once(
        self, found: Credentials, key: str, ask: Callable[[Credentials], Awaitable[Credentials]]
    ) -> Credentials:
        if key not in self._known:
            self._known[key] = await ask(found)
        return replace(self._known[key], source=found.source)

    async def _whoami(self, found: Credentials) -> Credentials:
        outcome = await self._ask_whoami(found.bearer)
        if isinstance(outcome, str):
            raise RefreshFailed(words.token_unchecked(outcome), permanent=False, reason="unreachable")
        if outcome is None:
            raise SignInRequired(words.token_invalid(found.source))
        return replace(found, account=account_from_whoami(outcome))

    async def _ask_whoami(self, token: SecretStr | None) -> dict[str, Any] | str | None:
        url = f"{self._settings.authapi_base_url.rstrip('/')}/v1/user-auth-credential/whoami"
        if token is None or not is_secure(url):
            return words.ACCOUNT_SERVICE_INSECURE
        try:
            request = self._http.build_request("GET", url, timeout=WHOAMI_TIMEOUT_S)
            request.headers["authorization"] = f"Bearer {token.get_secret_value()}"
            response = await self._http.send(request, auth=None, follow_redirects=False)
            if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
                return None
            value = response.json() if response.status_code == httpx.codes.OK else None
        except (httpx.HTTPError, ValueError) as error:
            return describe_network_error(error) if isinstance(error, httpx.HTTPError) else network.SENSELESS
        return value if isinstance(value, dict) else words.account_service_status(str(response.status_code))


def account_from_whoami(value: dict[str, Any]) -> Account:
    """The account that the account service names."""

    def text(key: str) -> str | None:
        found = value.get(key)
        return found if isinstance(found, str) and found else None

    return Account(
        account_id=text("chatgpt_account_id"),
        user_id=text("chatgpt_user_id"),
        email=name_of(value.get("email")),
        plan=name_of(value.get("chatgpt_plan_type")) or UNKNOWN_PLAN,
        is_fedramp=value.get("chatgpt_account_is_fedramp") is True,
    )


def _fingerprint(secret: SecretStr | Secret[Any] | None) -> str:
    value = None if secret is None else secret.get_secret_value()
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
