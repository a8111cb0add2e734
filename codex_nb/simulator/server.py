"""The simulator's server: :class:`Simulator` listens on loopback, ``serve`` runs it for ``codex-nb simulate``.

It writes its clients' files, too: ``config.toml``, and ``auth.json`` as the Codex CLI writes it, with the same order of
keys, time format, indentation and permissions.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import ssl
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TextIO, TypeVar
from urllib.parse import parse_qsl, urlsplit

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from codex_nb.simulator import backend, batches, issuer
from codex_nb.simulator.credentials import CLIENT_ID
from codex_nb.simulator.handlers import MAX_BODY_BYTES, Handler, NotFoundHandler
from codex_nb.simulator.scenario import ReplyQueue, Scenario
from codex_nb.simulator.state import State

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from tornado.routing import _RuleList

    from codex_nb.simulator.accounts import Account
    from codex_nb.simulator.credentials import TokenSet
    from codex_nb.simulator.scenario import Reply
    from codex_nb.simulator.state import RequestLog


T = TypeVar("T")
Provider = Literal["custom", "builtin", "api"]


def _make_tls(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server context for loopback names, and the certificate file of its authority (needs ``trustme``)."""
    try:
        import trustme
    except ImportError as error:
        raise RuntimeError("TLS requires the trustme package: pip install 'codex-nb[simulator]'") from error
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost", "::1").configure_cert(context)
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    return context, ca_file


_HOST = "127.0.0.1"


class _ServerThread:
    """An HTTP server on an event loop of its own thread; ``port`` 0 takes a free port."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sockets: list[socket.socket] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """Host and port; RuntimeError before the start."""
        if not self._sockets:
            raise RuntimeError("the simulator has not been started")
        return f"{_HOST}:{self._port}"

    def start(self, application: Application, tls: ssl.SSLContext | None) -> None:
        """Listen and answer requests; returns once the loop runs."""
        self._sockets = bind_sockets(self._port, _HOST)
        self._port = self._sockets[0].getsockname()[1]
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._loop, application, tls, ready), name="codex simulator", daemon=True
        )
        self._thread.start()
        ready.wait()

    def _run(
        self,
        loop: asyncio.AbstractEventLoop,
        application: Application,
        tls: ssl.SSLContext | None,
        ready: threading.Event,
    ) -> None:
        asyncio.set_event_loop(loop)
        server = HTTPServer(application, ssl_options=tls, max_buffer_size=MAX_BODY_BYTES)

        def listen() -> None:
            server.add_sockets(self._sockets)
            ready.set()

        loop.call_soon(listen)
        loop.run_forever()
        loop.run_until_complete(_close(server))
        loop.close()

    def call(self, function: Callable[[], T]) -> T:
        """Run a function on the server's thread and return its result; in the calling thread while it does not run."""
        if self._loop is None or not self._loop.is_running():
            return function()

        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def stop(self) -> None:
        """Close the port and all connections, and end the thread."""
        if self._loop is not None and self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()


async def _close(server: HTTPServer) -> None:
    server.stop()
    await server.close_all_connections()
    current = asyncio.current_task()
    tasks = [task for task in asyncio.all_tasks() if task is not current]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


_ROUTES: tuple[tuple[str, type[Handler]], ...] = (
    (r"/api/accounts/deviceauth/usercode", issuer.DeviceUserCodeHandler),
    (r"/api/accounts/deviceauth/token", issuer.DeviceTokenHandler),
    (r"/codex/device", issuer.DevicePageHandler),
    (r"/oauth/authorize", issuer.AuthorizeHandler),
    (r"/oauth/token", issuer.TokenHandler),
    (r"/oauth/revoke", issuer.RevokeHandler),
    (r"/api/accounts/v1/user-auth-credential/whoami", issuer.WhoAmIHandler),
    (r"/(?:api/accounts|backend-api)/v1/agent/([^/]+)/task/register", issuer.AgentTaskHandler),
    (r"/backend-api/wham/agent-identities/jwks", issuer.AgentJwksHandler),
    (r"/backend-api/wham/accounts/check", backend.AccountsCheckHandler),
    (r"/backend-api/wham/usage", backend.UsageHandler),
    (r"/backend-api/wham/rate-limit-reset-credits", backend.ResetCreditsHandler),
    (r"/backend-api/wham/settings/user", backend.UserSettingsHandler),
    (r"/backend-api/ps/plugins/.*", backend.PluginsHandler),
    (r"/backend-api/ps/mcp", backend.McpHandler),
    (r"/backend-api/codex/analytics-events/events", backend.AnalyticsHandler),
    (r"/backend-api/codex/models", backend.ModelsHandler),
    (r"/backend-api/codex/responses", backend.ChatGptResponsesHandler),
    (r"/v1/models", backend.ApiModelsHandler),
    (r"/v1/models/([^/]+)", backend.ApiModelHandler),
    (r"/v1/responses", backend.ApiResponsesHandler),
    (r"/v1/responses/compact", backend.CompactHandler),
    (r"/v1/files", batches.FilesHandler),
    (r"/v1/files/([^/]+)/content", batches.FileContentHandler),
    (r"/v1/batches", batches.BatchesHandler),
    (r"/v1/batches/([^/]+)(?:/cancel)?", batches.BatchHandler),
    (r".*", NotFoundHandler),
)


def _make_application(state: State) -> Application:
    rules: _RuleList = [(pattern, handler, {"state": state}) for pattern, handler in _ROUTES]
    return Application(rules, log_function=_log_nothing, websocket_max_message_size=MAX_BODY_BYTES)


def _log_nothing(_: object) -> None:
    """Log no requests: the state records them."""


class Simulator:
    """A Codex backend on 127.0.0.1, on a thread of its own.

    ``with Simulator() as sim`` listens until the end of the block; ``port`` 0 takes a free port. ``pace_s`` is the time
    between two deltas of a canned answer, ``poll_interval_s`` the polling interval of device logins, ``clock`` returns
    Unix seconds. Where an account is optional, the first one is used. All methods may be called from any thread.
    """

    def __init__(
        self,
        scenario: Scenario | None = None,
        *,
        tls: bool = False,
        port: int = 0,
        pace_s: float = 0.0,
        poll_interval_s: int = 1,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._tls = tls
        self._server = _ServerThread(port)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.ca_file: Path | None = None
        replies = ReplyQueue(scenario or Scenario())
        self.state = State(clock, pace_s, poll_interval_s, replies=replies)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start to listen."""
        context = None
        if self._tls:
            self._folder = tempfile.TemporaryDirectory(prefix="codex-simulator-")
            context, self.ca_file = _make_tls(Path(self._folder.name))
        self._server.start(_make_application(self.state), context)
        self.state.tokens.issuer = self.base_url

    def stop(self) -> None:
        """Close all connections and delete the TLS certificate."""
        self._server.stop()
        if self._folder is not None:
            self._folder.cleanup()

    # Addresses and configuration of clients

    @property
    def base_url(self) -> str:
        """Scheme, host and port; also the issuer's URL."""
        return f"{'https' if self._tls else 'http'}://{self._server.address}"

    issuer = base_url

    @property
    def chatgpt_base_url(self) -> str:
        """The base URL of the ChatGPT backend."""
        return f"{self.base_url}/backend-api"

    @property
    def openai_base_url(self) -> str:
        """The base URL of ``/responses`` and ``/models`` with a ChatGPT login."""
        return f"{self.base_url}/backend-api/codex"

    @property
    def api_base_url(self) -> str:
        """The base URL of ``/responses`` and ``/models`` with an API key."""
        return f"{self.base_url}/v1"

    def config_toml(self, provider: Provider | None = None, model: str | None = None) -> str:
        """A ``config.toml``; the default provider is the built-in one over TLS, a custom one otherwise."""
        return config_toml(self.base_url, provider or ("builtin" if self._tls else "custom"), model)

    def environ(self) -> dict[str, str]:
        """The environment variables that point a client at the simulator."""
        return environment(self.base_url, self.ca_file)

    # Logins

    def sign_in(self, account: Account | None = None, *, lifetime_s: float | None = None) -> TokenSet:
        """The tokens of a new login; ``lifetime_s`` is the access token's and may be negative."""
        state = self.state
        return self._server.call(
            lambda: state.tokens.sign_in(account or state.account(), lifetime_s=lifetime_s)
        )

    def write_login(
        self, home: Path, account: Account | None = None, *, lifetime_s: float | None = None
    ) -> TokenSet:
        """Write the ``auth.json`` of a new ChatGPT login, as the CLI does after a device login."""
        tokens = self.sign_in(account, lifetime_s=lifetime_s)
        write_chatgpt_login(home, tokens, self.base_url, self.state.clock())
        return tokens

    def write_api_key(self, home: Path, account: Account | None = None) -> str:
        """Write the ``auth.json`` of a new API key, as ``codex login --with-api-key`` does."""
        key = self.new_api_key(account)
        write_api_key_login(home, key)
        return key

    def write_home(
        self, home: Path, account: Account | None = None, provider: Provider | None = None
    ) -> TokenSet:
        """Write the ``auth.json`` and ``config.toml`` of a signed-in client."""
        tokens = self.write_login(home, account)
        (home / "config.toml").write_text(self.config_toml(provider), encoding="utf-8")
        return tokens

    def new_api_key(self, account: Account | None = None) -> str:
        """An API key for ``/v1``."""
        state = self.state
        return self._server.call(lambda: state.tokens.new_api_key(account or state.account()))

    def new_personal_token(self, account: Account | None = None) -> str:
        """A personal access token for the ChatGPT backend."""
        state = self.state
        return self._server.call(lambda: state.tokens.new_personal_token(account or state.account()))

    def new_agent_identity(self, account: Account | None = None) -> str:
        """The JWT of an agent identity (needs ``cryptography``)."""
        state = self.state
        return self._server.call(lambda: state.agents.new_identity(account or state.account()))

    # The user at the browser

    def waiting_device_codes(self) -> list[str]:
        """The device codes that are neither approved nor denied, the newest last."""
        return self._server.call(self.state.devices.pending)

    def approve_device_code(self, user_code: str, account: Account | None = None) -> None:
        """Approve a device code; LookupError when it is unknown or expired."""
        self._decide(user_code, account or self.state.account())

    def deny_device_code(self, user_code: str) -> None:
        """Deny a device code; LookupError when it is unknown or expired."""
        self._decide(user_code, None)

    def _decide(self, user_code: str, account: Account | None) -> None:
        if not self._server.call(lambda: self.state.devices.decide(user_code, account)):
            raise LookupError(f"unknown device code: {user_code}")

    def answer_authorization(self, url: str, account: Account | None = None, *, deny: bool = False) -> str:
        """The URL to which a browser is redirected once the user has signed in (or cancelled) at ``url``."""
        fields = dict(parse_qsl(urlsplit(url).query))
        chosen = None if deny else account or self.state.account()
        return self._server.call(lambda: issuer.authorization_redirect(self.state, fields, chosen))

    # Changes of the state

    def change(self, **attributes: Any) -> None:
        """Set attributes of the state: ``limits``, ``catalog``, ``accounts``, ``pace_s``, ``websockets``."""

        def assign() -> None:
            for name, value in attributes.items():
                setattr(self.state, name, value)

        self._server.call(assign)

    def expire_access_tokens(self) -> None:
        """Expire every access token issued so far, whatever its claims say."""
        self._server.call(self.state.tokens.expire_access_tokens)

    def expire_refresh_tokens(self) -> None:
        """Expire every refresh token issued so far."""
        self._server.call(self.state.tokens.expire_refresh_tokens)

    def expire_device_codes(self) -> None:
        """Expire every device code."""
        self._server.call(self.state.devices.expire)

    def revoke(self, token: str) -> bool:
        """Revoke the login of a token, as a sign-out on another machine does; False when the token is unknown."""
        return self._server.call(lambda: self.state.tokens.revoke(token))

    def add_replies(self, *replies: Reply) -> None:
        """Append replies to the scenario."""
        self._server.call(lambda: self.state.replies.add(*replies))

    def play(self, scenario: Scenario) -> None:
        """Replace the scenario."""
        self.change(replies=ReplyQueue(scenario))

    def release(self, gate: str = "gate") -> None:
        """Release a gate: streams that stopped there continue, and later ones do not stop."""
        self._server.call(lambda: self.state.gates.gate(gate).set())

    def wait_held(self, gate: str = "gate", timeout_s: float = 10.0) -> bool:
        """Block until a stream has stopped at the gate; False when the time is over first."""
        return self.state.gates.wait_reached(gate, timeout_s)

    # Records

    @property
    def requests(self) -> RequestLog:
        """Every request that was received."""
        return self.state.log

    @property
    def refreshes(self) -> int:
        """The number of refresh tokens that were used."""
        return self.state.tokens.refreshes

    @property
    def unused_replies(self) -> tuple[Reply, ...]:
        """The replies of the scenario that have not answered as many requests as they should."""
        return self._server.call(lambda: self.state.replies.unused)


_PACE_S = 0.02


def serve(port: int = 0, *, tls: bool = False, out: TextIO | None = None) -> None:
    """Run a simulator until it is interrupted; prints its addresses and how to use it."""
    stopped = threading.Event()
    previous = signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    try:
        with (
            Simulator(port=port, tls=tls, pace_s=_PACE_S) as simulator,
            tempfile.TemporaryDirectory() as home,
        ):
            simulator.write_home(Path(home))
            print(_instructions(simulator, home), file=out or sys.stdout, flush=True)
            stopped.wait()
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, previous)


def _instructions(simulator: Simulator, home: str) -> str:
    variables = {"CODEX_HOME": home, **simulator.environ()}
    exports = "\n".join(f"  export {name}={value}" for name, value in variables.items())
    config = "".join(f"  {line}\n" for line in simulator.config_toml().splitlines())
    return f"""The Codex simulator is running at {simulator.base_url}. Press Ctrl-C to stop it.
No model is used and no real account is involved.

Environment of a client that is signed in to the simulator:

{exports}

Sign in again:         codex login --device-auth --experimental_issuer {simulator.issuer}
Approve device codes:  {simulator.issuer}/codex/device
API key:               {simulator.new_api_key()} (for {simulator.api_base_url})

config.toml:

{config}"""


def config_toml(base_url: str, provider: Provider, model: str | None = None) -> str:
    """A ``config.toml``: the built-in provider (with which the CLI requires TLS), a custom one, or the API by key."""
    lines = [f'model = "{model}"'] if model else []
    lines += ['cli_auth_credentials_store = "file"', f'chatgpt_base_url = "{base_url}/backend-api/"']
    match provider:
        case "builtin":
            lines.append(f'openai_base_url = "{base_url}/backend-api/codex"')
        case "api":
            lines.append(f'openai_base_url = "{base_url}/v1"')
        case "custom":
            lines += [
                'model_provider = "simulator"',
                "",
                "[model_providers.simulator]",
                'name = "Codex simulator"',
                f'base_url = "{base_url}/backend-api/codex"',
                'wire_api = "responses"',
                "requires_openai_auth = true",
            ]
    return "\n".join(lines) + "\n"


def environment(base_url: str, ca_file: Path | None) -> dict[str, str]:
    """The variables that point the Codex CLI, or codex_nb, at the simulator."""
    variables = {
        "CODEX_REFRESH_TOKEN_URL_OVERRIDE": f"{base_url}/oauth/token",
        "CODEX_REVOKE_TOKEN_URL_OVERRIDE": f"{base_url}/oauth/revoke",
        "CODEX_APP_SERVER_LOGIN_ISSUER": base_url,
        "CODEX_AUTHAPI_BASE_URL": f"{base_url}/api/accounts",
        "CODEX_AGENT_IDENTITY_AUTHAPI_BASE_URL": f"{base_url}/api/accounts",
        "CODEX_AGENT_IDENTITY_JWKS_BASE_URL": f"{base_url}/backend-api",
    }
    if ca_file is not None:
        variables["CODEX_CA_CERTIFICATE"] = str(ca_file)
    return variables


def write_chatgpt_login(codex_home: Path, tokens: TokenSet, issuer: str, now: float) -> None:
    """Write the ``auth.json`` of a ChatGPT login by device code."""
    moment = datetime.fromtimestamp(now, UTC)
    _write_auth_json(
        codex_home,
        {
            "auth_mode": "chatgpt",
            "OPENAI_API_KEY": None,
            "tokens": {
                "id_token": tokens.id_token,
                "access_token": tokens.access_token,
                "refresh_token": tokens.refresh_token,
                "oauth_provenance": {"issuer": issuer, "client_id": CLIENT_ID},
                "login_owner_id": secrets.token_urlsafe(32),
                "account_id": tokens.account.account_id,
            },
            "last_refresh": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}000Z",
        },
    )


def write_api_key_login(codex_home: Path, key: str) -> None:
    """Write the ``auth.json`` of a login by API key."""
    _write_auth_json(codex_home, {"auth_mode": "apikey", "OPENAI_API_KEY": key})


def _write_auth_json(codex_home: Path, contents: Mapping[str, Any]) -> None:
    """Replace ``auth.json`` atomically: two spaces of indentation, no final newline, mode 0600."""
    codex_home.mkdir(parents=True, exist_ok=True)
    temporary = codex_home / f".auth-{secrets.token_hex(3)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(contents, file, indent=2)
    temporary.replace(codex_home / "auth.json")
