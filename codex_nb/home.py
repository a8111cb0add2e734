"""One profile: its settings, its login, and the way to its API, behind one assistant."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from codex_nb.auth import (
    AccountStatus,
    CredentialManager,
    Credentials,
    WorkspaceRouting,
    account_status,
    open_flow,
)
from codex_nb.errors import CodexError
from codex_nb.responses.backend import choose_backend
from codex_nb.responses.client import ResponsesClient, fetch_usage
from codex_nb.responses.models import ModelCatalog
from codex_nb.session.assistant import Assistant
from codex_nb.session.replay import AnswerStore
from codex_nb.session.threads import ThreadStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from codex_nb.auth import FlowKind, LoginFlow
    from codex_nb.http import httpx
    from codex_nb.responses.events import ResponseEvent
    from codex_nb.responses.limits import RateLimits
    from codex_nb.responses.model import Model
    from codex_nb.responses.request import ResponsesRequest
    from codex_nb.settings import Settings


@dataclass(frozen=True)
class Service:
    """The way to the API for one kind of login."""

    client: ResponsesClient
    catalog: ModelCatalog


class Services:
    """The services of one profile; the login at hand decides which of them a request takes."""

    def __init__(self, settings: Settings, http: httpx.AsyncClient, credentials: CredentialManager) -> None:
        self._settings = settings
        self._http = http
        self._credentials = credentials
        self._routing = WorkspaceRouting(http, settings, credentials)
        self._open: dict[bool, Service] = {}

    def stream(self, request: ResponsesRequest) -> AsyncIterator[ResponseEvent]:
        """Send a request on the way that fits the login it is signed with."""
        return self.present().client.stream(request)

    async def choose(self, wanted: str | None = None) -> Model:
        """Find the model to use."""
        await self._credentials.current()
        return await self.present().catalog.choose(wanted)

    async def models(self) -> tuple[Model, ...]:
        """Give the models of the account."""
        await self._credentials.current()
        return await self.present().catalog.models()

    async def usage(self) -> RateLimits | None:
        """Ask the backend for the limits; None where there is no plan to ask about."""
        credentials = await self._credentials.current()
        backend = choose_backend(self._settings, is_chatgpt_auth=credentials.is_chatgpt_backend)
        return await fetch_usage(self._http, backend, self._credentials.auth())

    def present(self) -> Service:
        """Give the service for the login in memory; ChatGPT's when none was read yet."""
        known = self._credentials.peek()
        is_chatgpt = known is None or known.is_chatgpt_backend
        if is_chatgpt not in self._open:
            self._open[is_chatgpt] = self._make(is_chatgpt=is_chatgpt)
        return self._open[is_chatgpt]

    def _make(self, *, is_chatgpt: bool) -> Service:
        backend = choose_backend(self._settings, is_chatgpt_auth=is_chatgpt)
        auth = self._credentials.auth()
        catalog = ModelCatalog(
            self._http,
            backend,
            auth,
            codex_home=self._settings.codex_home,
            identity=self._identity,
            default=self._settings.model,
        )
        route = self._route if backend.is_chatgpt else None
        return Service(ResponsesClient(self._http, backend, auth, route=route, catalog=catalog), catalog)

    async def _route(self) -> Any:
        return await self._routing.route(await self._credentials.current())

    def _identity(self) -> str:
        known = self._credentials.peek()
        return known.identity_key if known is not None else ""


@dataclass(frozen=True)
class Status:
    """The account's status with what its backend tells of limits; ``limits`` None is unknown."""

    account: AccountStatus
    limits: RateLimits | None
    model: str | None = None
    effort: str | None = None


class Home:
    """What the magics, the command line and the Python face need of one profile. Lives on one event loop."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        http: httpx.AsyncClient,
        credentials: CredentialManager,
    ) -> None:
        self.settings = settings
        self.credentials = credentials
        self.services = Services(settings, http, credentials)
        self.assistant = Assistant(
            client=self.services,
            identity=credentials,
            models=self.services,
            threads=ThreadStore(settings.codex_home / "codex_nb" / "threads"),
            settings=settings,
            environ=environ,
            answers=AnswerStore(settings.codex_home / "codex_nb" / "answers"),
        )
        self._http = http

    async def signed_in(self) -> Credentials:
        """Give the credentials that the next request is signed with; raises SignInRequired."""
        return await self.credentials.current()

    def cached_models(self) -> tuple[str, ...]:
        """Name the models that are known without asking anyone."""
        return tuple(model.slug for model in self.services.present().catalog.cached() if model.is_listed)

    def login_flow(self, way: FlowKind) -> LoginFlow:
        """Begin a sign-in."""
        return open_flow(way, self.credentials)

    async def status(self) -> Status:
        """Tell who is signed in, and the limits where they can be had."""
        account, limits = await account_status(self.credentials), self.assistant.limits
        if account.signed_in:
            try:
                limits = await self.services.usage() or limits
            except CodexError as error:
                account = replace(account, problem=error.line)
        return Status(account, limits, self.settings.model, self.settings.effort)

    async def close(self) -> None:
        """Finish what must reach the disk and let the connections go."""
        await self.credentials.close()
        await self._http.aclose()
