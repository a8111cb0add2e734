"""One profile: its settings, its credentials and its API client, put together for one assistant."""

from __future__ import annotations

import asyncio
import importlib.util
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from codex_nb.auth.accounts import WorkspaceRouting
from codex_nb.auth.manager import CredentialManager, open_credentials
from codex_nb.config.settings import Environment, codex_environment, load_settings
from codex_nb.errors import CodexError, ConfigError
from codex_nb.http import open_http
from codex_nb.labels import LOGIN_METHODS
from codex_nb.responses.client import ResponsesClient, fetch_usage
from codex_nb.responses.models import ModelCatalog, read_catalog
from codex_nb.responses.request import choose_backend
from codex_nb.session.answer_cache import AnswerCache
from codex_nb.session.assistant import Assistant
from codex_nb.session.thread import ThreadStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from codex_nb.agent.engine import AgentEngine
    from codex_nb.auth.login import LoginFlow
    from codex_nb.auth.sources import ExternalTokenProvider
    from codex_nb.config.layers import Machine
    from codex_nb.config.settings import Settings
    from codex_nb.http import Route, httpx
    from codex_nb.labels import LoginMethod
    from codex_nb.responses.events import RateLimits, ResponseEvent
    from codex_nb.responses.models import Model
    from codex_nb.responses.request import Backend, ResponsesRequest
    from codex_nb.responses.websocket import WebSocketTransport
    from codex_nb.session.batch_jobs import BatchClient
    from codex_nb.session.events import TurnEvent
    from codex_nb.session.prompt import TurnRequest
    from codex_nb.session.turn import Turn


LARGEST_CATALOG = 10_000_000


class _Backend(NamedTuple):
    client: ResponsesClient
    catalog: ModelCatalog


class BackendRouter:
    """Sends each request to the backend of the login at hand: ChatGPT's, or the API's for a key."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        http: httpx.AsyncClient,
        credentials: CredentialManager,
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._http = http
        self._credentials = credentials
        self._routing = WorkspaceRouting(http, settings, credentials.auth)
        self._backends: dict[bool, _Backend] = {}

    def stream(self, request: ResponsesRequest) -> AsyncGenerator[ResponseEvent, None]:
        """Send a request to the backend of the login that signs it."""
        return self._current().client.stream(request)

    async def warm_up(self, request: ResponsesRequest) -> None:
        """Open the connection for a request that is still being put together, where one is kept."""
        await self._current().client.warm_up(request)

    async def choose(self, wanted: str | None = None) -> Model:
        """Find the model to use."""
        await self._credentials.current()
        return await self._current().catalog.choose(wanted)

    async def models(self) -> tuple[Model, ...]:
        """Return the models of the account."""
        await self._credentials.current()
        return await self._current().catalog.models()

    def cached_models(self) -> tuple[Model, ...]:
        """Return the listed models that are known without a request."""
        return tuple(model for model in self._current().catalog.cached() if model.is_listed)

    def efforts(self, model: str | None = None) -> tuple[str, ...]:
        """Name the efforts that a model offers, as far as that is known without a request."""
        return self._current().catalog.efforts(model)

    async def close(self) -> None:
        """End what is asked in the background."""
        for backend in self._backends.values():
            await backend.catalog.close()
            await backend.client.close()

    async def usage(self) -> RateLimits | None:
        """Ask the backend for the limits; None for a login without a plan."""
        credentials = await self._credentials.current()
        backend = choose_backend(self._settings, is_chatgpt_auth=credentials.is_chatgpt_backend)
        return await fetch_usage(self._http, backend, self._credentials.auth())

    def _current(self) -> _Backend:
        """Return the backend for the credentials in memory; ChatGPT's when none were read yet."""
        credentials = self._credentials.peek()
        is_chatgpt = credentials is None or credentials.is_chatgpt_backend
        if is_chatgpt not in self._backends:
            self._backends[is_chatgpt] = self._open(is_chatgpt=is_chatgpt)
        return self._backends[is_chatgpt]

    def _open(self, *, is_chatgpt: bool) -> _Backend:
        backend = choose_backend(self._settings, is_chatgpt_auth=is_chatgpt)
        auth = self._credentials.auth()
        catalog = ModelCatalog(
            self._http,
            backend,
            auth,
            codex_home=self._settings.codex_home,
            identity=self._identity,
            default=self._settings.model,
            fixed=_catalog_of(self._settings.model_catalog_json),
        )
        route = self._route if backend.is_chatgpt else None
        sockets = _open_sockets(self._settings, self._environ, backend, auth)
        client = ResponsesClient(self._http, backend, auth, route=route, catalog=catalog, sockets=sockets)
        return _Backend(client, catalog)

    async def _route(self) -> Route:
        return await self._routing.route(await self._credentials.current())

    def _identity(self) -> str:
        credentials = self._credentials.peek()
        return credentials.identity_key if credentials is not None else ""


def _open_sockets(
    settings: Settings, environ: Mapping[str, str], backend: Backend, auth: httpx.Auth
) -> WebSocketTransport | None:
    """Return the transport for websockets where they are wanted. Raises ConfigError without the optional package."""
    provider, is_wanted = settings.provider, settings.transport == "websocket"
    is_known = provider.is_built_in or provider.supports_websockets
    if not is_wanted and not (settings.transport == "auto" and is_known):
        return None
    if importlib.util.find_spec("websockets") is None:
        if not is_wanted:
            return None
        raise ConfigError(
            "The transport websocket needs the package websockets.",
            key="transport",
            hint="Install it with: pip install 'codex-nb[websocket]', or set the transport to http.",
        )
    from codex_nb.responses.websocket import Connector, WebSocketTransport

    return WebSocketTransport(backend, auth, Connector(environ, settings.ca_certificate))


def _catalog_of(file: Path | None) -> tuple[Model, ...]:
    """Read ``model_catalog_json``. Raises ConfigError."""
    if file is None:
        return ()
    from codex_nb.tools.file_access import FileRefused, path_of_project, read_bounded

    try:
        models = read_catalog(read_bounded(path_of_project(file, None), LARGEST_CATALOG).data)
    except (OSError, ValueError, FileRefused) as error:
        problem = str(getattr(error, "strerror", None) or error)
    else:
        if models:
            return models
        problem = "it lists no models"
    raise ConfigError(
        f"{file} cannot be used as model_catalog_json: {problem}.",
        path=str(file),
        key="model_catalog_json",
        hint="Write what codex debug models prints there, or remove the key.",
    )


class LazyAgent:
    """Codex's own agent, which is loaded when a question is the first to want it."""

    def __init__(
        self, settings: Settings, environ: Mapping[str, str], credentials: CredentialManager
    ) -> None:
        self._parts = (settings, environ, credentials)
        self._engine: AgentEngine | None = None

    def open(self) -> AgentEngine:
        """Return the agent; no process is started yet."""
        if self._engine is None:
            from codex_nb.agent.engine import AgentEngine

            self._engine = AgentEngine(*self._parts)
        return self._engine

    def events(self, turn: Turn, request: TurnRequest) -> AsyncGenerator[TurnEvent, None]:
        """Yield the events of the request's turn, which runs in it."""
        from codex_nb.agent.turn import AgentTurn

        return AgentTurn.of(turn, self.open(), request).events()

    def forget(self, thread: str | None) -> None:
        """Delete what it keeps of a thread, None for all. Raises OSError."""
        if self._engine is not None or (self._parts[0].codex_home / "codex_nb" / "agent").exists():
            self.open().forget(thread)

    async def close(self) -> None:
        """End its process."""
        if self._engine is not None:
            await self._engine.close()


class Profile:
    """The settings, credentials, backend and assistant of one profile, on one event loop."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        http: httpx.AsyncClient,
        credentials: CredentialManager,
    ) -> None:
        self.settings = settings
        self.credentials = credentials
        self.backend = BackendRouter(settings, environ, http, credentials)
        self.agent = LazyAgent(settings, environ, credentials)
        self.assistant = Assistant(
            client=self.backend,
            credentials=credentials,
            models=self.backend,
            threads=ThreadStore(settings.codex_home / "codex_nb" / "threads"),
            settings=settings,
            environ=environ,
            answers=AnswerCache(settings.codex_home / "codex_nb" / "answers"),
            agent=self.agent,
        )
        self._http = http
        self._warnings = settings.warnings

    def take_warnings(self) -> str:
        """Return what of the configuration is not used, the first time; an empty text from then on."""
        warnings, self._warnings = self._warnings, ()
        return " ".join(warnings)

    @property
    def login_methods(self) -> tuple[LoginMethod, ...]:
        """The methods to choose from: one where a JupyterHub keeps the login."""
        return ("device",) if self.credentials.hub_page is not None else tuple(LOGIN_METHODS)

    def login_flow(self, method: LoginMethod) -> LoginFlow:
        """Start a login."""
        from codex_nb.auth.login import open_login

        return open_login(method, self.credentials)

    async def warm_up(self, question: TurnRequest) -> None:
        """Open what a question needs while the notebook is read; what fails now fails again later.

        It is the connection of the question's thread, or the process of the agent.
        """
        with suppress(CodexError):
            if question.agent:
                await self.agent.open().server()
                return
            request = await self.assistant.first_request(question)
            if request is not None:
                await self.backend.warm_up(request)

    async def batch_client(self) -> BatchClient:
        """Return the Batch API of the login at hand; raises ConfigError for a login without one."""
        from codex_nb.session.batch_jobs import BatchClient

        credentials = await self.credentials.current()
        if credentials.is_chatgpt_backend:
            raise ConfigError(
                "batch=True needs an API key: the backend of ChatGPT logins has no Batch API.",
                key="batch",
                hint="Leave out batch=True, or sign in with an API key.",
            )
        backend = choose_backend(self.settings, is_chatgpt_auth=False)
        return BatchClient(self._http, backend, self.credentials.auth())

    async def close(self) -> None:
        """Finish what must reach the disk and let the connections go."""
        await self.agent.close()
        await self.assistant.close()
        await self.credentials.close()
        await self.backend.close()
        await self._http.aclose()


def make_profile(
    settings: Settings, environ: Mapping[str, str], *, external: ExternalTokenProvider | None = None
) -> Profile:
    """Put the parts of one profile together; nothing is read or sent yet."""
    http = open_http(settings, environ)
    return Profile(
        settings, environ, http, open_credentials(settings, environ, http, external=external, outlive=True)
    )


@asynccontextmanager
async def open_profile_at(
    environ: Mapping[str, str],
    *,
    profile: str | None = None,
    folder: Path | None = None,
    machine: Machine | None = None,
) -> AsyncIterator[Profile]:
    """Open a profile for one piece of work on the running loop; ``folder`` is the current one unless it is given."""
    environ = codex_environment(environ, profile)
    settings = load_settings(environ, profile=profile, folder=folder or working_folder(), machine=machine)
    opened = make_profile(settings, environ)
    try:
        yield opened
    finally:
        await asyncio.shield(opened.close())


def working_folder() -> Path:
    """Return the folder that this process works in, the root where it has been deleted."""
    try:
        return Path.cwd()
    except OSError:
        return Path("/")


def open_profile(
    profile: str | None, overrides: Mapping[str, Any], token_provider: str | None, folder: Path | None
) -> Profile:
    """Open a profile in this process's environment, with the host program's tokens where it hands them in.

    ``folder`` is the notebook's, whose project may have a configuration of its own.
    """
    external = find_token_provider(token_provider) if token_provider else None
    environ = codex_environment(Environment(), profile)
    settings = load_settings(environ, profile=profile, overrides=overrides, folder=folder or working_folder())
    return make_profile(settings, environ, external=external)


def find_token_provider(name: str) -> ExternalTokenProvider:
    """Import the callable that ``module:function`` names; raises ConfigError."""
    import pkgutil

    try:
        found = pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"The token provider {name!r} cannot be imported: {error}.",
            path="CodexMagics",
            key="token_provider",
            hint="Write it as module:function.",
        ) from error
    if not callable(found):
        raise ConfigError(
            f"The token provider {name!r} is not callable.",
            path="CodexMagics",
            key="token_provider",
            hint="Name a function that takes a TokenRequest.",
        )
    provider: ExternalTokenProvider = found
    return provider
