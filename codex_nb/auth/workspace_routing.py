"""Workspace routing: the backend of an account's requests, as ``accounts/check`` names it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from codex_nb.auth.oauth import is_loopback
from codex_nb.errors import ApiError, BackendOverloaded
from codex_nb.http import Route, httpx, request_json

if TYPE_CHECKING:
    from codex_nb.auth.credentials import Credentials
    from codex_nb.auth.manager import CredentialManager
    from codex_nb.auth.store import Sleep
    from codex_nb.config.settings import Settings


NO_CONSTRAINT = "NO_CONSTRAINT"
TIMEOUT_S = 15.0
RETRY_PAUSES_S = (0.3, 1.2)
OPENAI_DOMAINS = frozenset({"chatgpt.com", "openai.com"})


class WorkspaceRouting:
    """Looks up routes and caches them by account and base URL."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        settings: Settings,
        manager: CredentialManager,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._http = http
        self._settings = settings
        self._manager = manager
        self._sleep = sleep
        self._routes: dict[tuple[str, str], Route] = {}

    async def route(self, credentials: Credentials) -> Route:
        """Return the account's route. Raises ApiError when the lookup fails, and like the manager's ``current``."""
        if not credentials.is_chatgpt_backend or not self._settings.provider.is_built_in:
            return Route()
        key = (credentials.identity_key, self._settings.chatgpt_base_url)
        if key not in self._routes:
            self._routes[key] = _read_route(
                await self._check(), credentials.account.account_id, self._settings.chatgpt_base_url
            )
        return self._routes[key]

    async def _check(self) -> dict[str, Any]:
        pauses = iter(RETRY_PAUSES_S)
        while isinstance(outcome := await self._ask(), ApiError):
            pause = next(pauses, None)
            if pause is None or not outcome.retryable:
                raise outcome
            await self._sleep(pause)
        return outcome

    async def _ask(self) -> dict[str, Any] | ApiError:
        url = accounts_url(self._settings.chatgpt_base_url)
        reply = await request_json(self._http, "GET", url, auth=self._manager.auth(), timeout_s=TIMEOUT_S)
        if reply.problem is not None:
            return BackendOverloaded(
                f"The workspace's backend could not be looked up: {reply.problem}.",
                hint="Check the network, then run the cell again.",
            )
        if reply.is_ok and isinstance(reply.value, dict):
            return reply.fields
        kind = BackendOverloaded if reply.status >= 500 else ApiError  # noqa: PLR2004  (HTTP: their fault)
        return kind(
            f"The workspace's backend could not be looked up (status {reply.status}).",
            hint="Run the cell again in a moment.",
            status=reply.status,
            request_id=reply.headers.get("x-request-id"),
        )


def accounts_url(chatgpt_base_url: str) -> str:
    """Return the URL for the lookup; a backend other than ChatGPT's has another path."""
    base = chatgpt_base_url.rstrip("/")
    return f"{base}/wham/accounts/check" if "/backend-api" in base else f"{base}/api/codex/accounts/check"


def _read_route(value: dict[str, Any], account_id: str | None, base_url: str) -> Route:
    accounts = value.get("accounts")
    found = [one for one in accounts if isinstance(one, dict)] if isinstance(accounts, list) else []
    wanted = account_id or value.get("default_account_id")
    account = next((one for one in found if one.get("id") == wanted), None)
    if account is None:
        raise ApiError("This login has no access to the selected workspace.", hint="See %codex status.")
    origin = account.get("workspace_backend_origin")
    override = account.get("account_routing_override")
    return Route(
        origin=None if origin in (None, NO_CONSTRAINT) else _checked_origin(origin, base_url),
        override=None if override in (None, NO_CONSTRAINT) else _checked_override(override),
    )


def _checked_origin(origin: object, base_url: str) -> str:
    try:
        parts = urlsplit(origin if isinstance(origin, str) else "")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    bare = parts.path in ("", "/") and not (parts.query or parts.fragment or parts.username or parts.password)
    if not host or not secure or not bare:
        raise ApiError(
            "The workspace's backend is not an https origin; nothing was sent there.",
            hint="Ask the administrator of the workspace.",
        )
    if not _is_related(host, urlsplit(base_url).hostname or ""):
        raise ApiError(
            f"The workspace's backend is at {host}, which does not belong to {base_url}. Nothing was sent there.",
            hint="Ask the administrator of the workspace.",
        )
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port else "")


def _is_related(host: str, base_host: str) -> bool:
    """Whether a host is this machine, or lies in the base URL's domain; OpenAI has two domains."""
    if is_loopback(host) or is_loopback(base_host):
        return is_loopback(host)
    _, _, parent = base_host.partition(".")
    domains = {parent if "." in parent else base_host}
    if domains & OPENAI_DOMAINS:
        domains |= OPENAI_DOMAINS
    return any(host == domain or host.endswith(f".{domain}") for domain in domains)


def _checked_override(override: object) -> str:
    if not isinstance(override, str) or not override.isascii() or not override.isprintable() or not override:
        raise ApiError(
            "The workspace's routing override is invalid; nothing was sent.",
            hint="Ask the administrator of the workspace.",
        )
    return override
