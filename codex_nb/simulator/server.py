"""The simulator as a server: start it on loopback, point clients at it, see what was asked.

Also ``codex-nb simulate``, the server in the foreground.
"""

from __future__ import annotations

import asyncio
import signal
import ssl
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TextIO, TypeVar
from urllib.parse import parse_qsl, urlsplit

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from codex_nb.simulator import backend, issuer
from codex_nb.simulator import backend as responses
from codex_nb.simulator.fixtures import Home
from codex_nb.simulator.handlers import Handler, NotHere
from codex_nb.simulator.issuer import authorization_answer
from codex_nb.simulator.scenario import Scenario, Script
from codex_nb.simulator.state import World

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import TracebackType

    from tornado.routing import _RuleList

    from codex_nb.simulator.accounts import Person
    from codex_nb.simulator.fixtures import Provider
    from codex_nb.simulator.scenario import Reply
    from codex_nb.simulator.state import RequestLog
    from codex_nb.simulator.tokens import TokenSet


def make_tls(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server context for loopback names, and the file of the authority that clients have to trust."""
    try:
        import trustme
    except ImportError as error:
        message = "TLS needs the trustme package: pip install 'codex-nb[simulator]'"
        raise RuntimeError(message) from error
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost", "::1").configure_cert(context)
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    return context, ca_file


T = TypeVar("T")

_MAX_BODY_BYTES = 512 * 1024 * 1024
_HOST = "127.0.0.1"


class Listener:
    """A port and the thread that serves it; ``port`` 0 is a free one."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sockets: list[socket.socket] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """Host and port; RuntimeError while nothing listens."""
        if not self._sockets:
            message = "the simulator has not been started"
            raise RuntimeError(message)
        return f"{_HOST}:{self._port}"

    def start(self, application: Application, tls: ssl.SSLContext | None) -> None:
        """Bind the port and answer requests; returns when the loop runs."""
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
        server = HTTPServer(application, ssl_options=tls, max_buffer_size=_MAX_BODY_BYTES)

        def listen() -> None:
            server.add_sockets(self._sockets)
            ready.set()

        loop.call_soon(listen)
        loop.run_forever()
        loop.run_until_complete(_close(server))
        loop.close()

    def call(self, function: Callable[[], T]) -> T:
        """Run a function on the loop's thread and give its result; in place while nothing runs."""
        if self._loop is None or not self._loop.is_running():
            return function()

        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def stop(self) -> None:
        """Close the port and every connection, and end the thread."""
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


_ADDRESSES: tuple[tuple[str, type[Handler]], ...] = (
    (r"/api/accounts/deviceauth/usercode", issuer.DeviceUserCode),
    (r"/api/accounts/deviceauth/token", issuer.DeviceToken),
    (r"/codex/device", issuer.DevicePage),
    (r"/oauth/authorize", issuer.Authorize),
    (r"/oauth/token", issuer.Token),
    (r"/oauth/revoke", issuer.Revoke),
    (r"/api/accounts/v1/user-auth-credential/whoami", issuer.WhoAmI),
    (r"/(?:api/accounts|backend-api)/v1/agent/([^/]+)/task/register", issuer.AgentTask),
    (r"/backend-api/wham/agent-identities/jwks", backend.AgentKeys),
    (r"/backend-api/wham/accounts/check", backend.AccountsCheck),
    (r"/backend-api/wham/usage", backend.WhamUsage),
    (r"/backend-api/wham/rate-limit-reset-credits", backend.ResetCredits),
    (r"/backend-api/wham/settings/user", backend.UserSettings),
    (r"/backend-api/ps/plugins/.*", backend.InstalledPlugins),
    (r"/backend-api/ps/mcp", backend.AppTools),
    (r"/backend-api/codex/analytics-events/events", backend.Analytics),
    (r"/backend-api/codex/models", backend.Models),
    (r"/backend-api/codex/responses", responses.ChatGptResponses),
    (r"/v1/models", backend.ApiModels),
    (r"/v1/responses", responses.ApiResponses),
    (r"/v1/responses/compact", responses.Compact),
    (r".*", NotHere),
)


def make_application(world: World) -> Application:
    """The application over a state."""
    rules: _RuleList = [(pattern, handler, {"world": world}) for pattern, handler in _ADDRESSES]
    return Application(rules, log_function=_silent)


def _silent(_: object) -> None:
    """Log no requests: they are recorded."""


class Simulator:
    """A Codex backend on 127.0.0.1, on a thread of its own.

    ``with Simulator() as sim`` listens until the block ends; ``port`` 0 takes a free one. ``pace_s`` is the time
    between two deltas of the persona, ``poll_interval_s`` what device logins are told to wait between two polls,
    ``clock`` gives unix seconds. All methods may be called from any thread.
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
        self._listener = Listener(port)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.ca_file: Path | None = None
        self.world = World(clock, pace_s, poll_interval_s, script=Script(scenario or Scenario()))

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
        """Begin to listen and to answer."""
        context = None
        if self._tls:
            self._folder = tempfile.TemporaryDirectory(prefix="codex-simulator-")
            context, self.ca_file = make_tls(Path(self._folder.name))
        self._listener.start(make_application(self.world), context)
        self.world.tokens.issuer = self.base_url

    def stop(self) -> None:
        """Close every connection and forget everything."""
        self._listener.stop()
        if self._folder is not None:
            self._folder.cleanup()

    # Where clients are pointed to

    @property
    def base_url(self) -> str:
        """Scheme, host and port; the issuer's address too."""
        return f"{'https' if self._tls else 'http'}://{self._listener.address}"

    issuer = base_url

    @property
    def chatgpt_base_url(self) -> str:
        """The address of the ChatGPT backend."""
        return f"{self.base_url}/backend-api"

    @property
    def openai_base_url(self) -> str:
        """The address under which ``/responses`` and ``/models`` are in ChatGPT mode."""
        return f"{self.base_url}/backend-api/codex"

    @property
    def api_base_url(self) -> str:
        """The address under which ``/responses`` and ``/models`` are with an API key."""
        return f"{self.base_url}/v1"

    def config_toml(self, provider: Provider | None = None, model: str | None = None) -> str:
        """A ``config.toml``; the provider is the built-in one over TLS and a custom one otherwise."""
        return Home.config(self.base_url, provider or ("builtin" if self._tls else "custom"), model)

    def environ(self) -> dict[str, str]:
        """The environment variables that lead a client here."""
        return Home.environment(self.base_url, self.ca_file)

    # Logins that exist already

    def sign_in(self, person: Person | None = None, *, lifetime_s: float | None = None) -> TokenSet:
        """A fresh login's tokens; ``lifetime_s`` is the access token's, possibly negative."""
        world = self.world
        return self._listener.call(
            lambda: world.tokens.sign_in(person or world.person(), lifetime_s=lifetime_s)
        )

    def write_login(
        self, codex_home: Path, person: Person | None = None, *, lifetime_s: float | None = None
    ) -> TokenSet:
        """Write an ``auth.json`` with a fresh ChatGPT login, as the CLI writes it after a device login."""
        tokens = self.sign_in(person, lifetime_s=lifetime_s)
        Home(codex_home).write_login(tokens, self.base_url, self.world.clock())
        return tokens

    def write_api_key(self, codex_home: Path, person: Person | None = None) -> str:
        """Write an ``auth.json`` with a new API key, as ``codex login --with-api-key`` does."""
        key = self.new_api_key(person)
        Home(codex_home).write_api_key(key)
        return key

    def write_home(
        self, codex_home: Path, person: Person | None = None, provider: Provider | None = None
    ) -> TokenSet:
        """Write a login and a ``config.toml``: a CODEX_HOME that is ready to use."""
        tokens = self.write_login(codex_home, person)
        (codex_home / "config.toml").write_text(self.config_toml(provider), encoding="utf-8")
        return tokens

    def new_api_key(self, person: Person | None = None) -> str:
        """An API key for ``/v1``."""
        return self._listener.call(lambda: self.world.tokens.new_api_key(person or self.world.person()))

    def new_personal_token(self, person: Person | None = None) -> str:
        """A personal access token for the ChatGPT backend."""
        world = self.world
        return self._listener.call(lambda: world.tokens.new_personal_token(person or world.person()))

    def new_agent_identity(self, person: Person | None = None) -> str:
        """An agent identity's JWT (needs ``cryptography``)."""
        return self._listener.call(lambda: self.world.agents.new_identity(person or self.world.person()))

    # Acting as the person at the browser

    def waiting_device_codes(self) -> list[str]:
        """The device codes that nobody has decided about, the newest last."""
        return self._listener.call(self.world.devices.waiting)

    def approve_device_code(self, user_code: str, person: Person | None = None) -> None:
        """Confirm a device code; LookupError when there is no such code."""
        self._decide(user_code, person or self.world.person())

    def deny_device_code(self, user_code: str) -> None:
        """Deny a device code; LookupError when there is no such code."""
        self._decide(user_code, None)

    def _decide(self, user_code: str, person: Person | None) -> None:
        if not self._listener.call(lambda: self.world.devices.decide(user_code, person)):
            message = f"no such device code: {user_code}"
            raise LookupError(message)

    def answer_authorization(self, url: str, person: Person | None = None, *, deny: bool = False) -> str:
        """The address to which a browser is sent after the person has confirmed (or denied) at ``url``."""
        fields = dict(parse_qsl(urlsplit(url).query))
        who = None if deny else person or self.world.person()
        return self._listener.call(lambda: authorization_answer(self.world, fields, who))

    # Changing the course of things

    def change(self, **parts: Any) -> None:
        """Put other values into parts of the state: ``limits``, ``catalog``, ``people``, ``pace_s``."""

        def put() -> None:
            for name, value in parts.items():
                setattr(self.world, name, value)

        self._listener.call(put)

    def expire_access_tokens(self) -> None:
        """Let every access token given out so far be refused, whatever its claims say."""
        self._listener.call(self.world.tokens.expire_access_tokens)

    def expire_refresh_tokens(self) -> None:
        """Let every refresh token given out so far be too old."""
        self._listener.call(self.world.tokens.expire_refresh_tokens)

    def expire_device_codes(self) -> None:
        """Let every device code be too old."""
        self._listener.call(self.world.devices.expire)

    def revoke(self, token: str) -> bool:
        """End the login a token belongs to, as a sign-out elsewhere does."""
        return self._listener.call(lambda: self.world.tokens.revoke(token))

    def add_replies(self, *replies: Reply) -> None:
        """Append replies to the scenario."""
        self._listener.call(lambda: self.world.script.add(*replies))

    def play(self, scenario: Scenario) -> None:
        """Put another scenario in place of the present one."""
        self.change(script=Script(scenario))

    def release(self, gate: str = "gate") -> None:
        """Open a gate: streams that stand still there go on, and later ones do not stop."""
        self._listener.call(lambda: self.world.gates.gate(gate).set())

    def wait_held(self, gate: str = "gate", timeout_s: float = 10.0) -> bool:
        """Block until a stream stands still at the gate; False when none has come in time."""
        return self.world.gates.wait_reached(gate, timeout_s)

    # What happened

    @property
    def requests(self) -> RequestLog:
        """Everything that was asked."""
        return self.world.log

    @property
    def refreshes(self) -> int:
        """How many refresh tokens were spent."""
        return self.world.tokens.refreshes

    @property
    def unused_replies(self) -> tuple[Reply, ...]:
        """Replies of the scenario that still wait for their request."""
        return self._listener.call(lambda: self.world.script.unused)


_PACE_S = 0.02


def serve(port: int = 0, *, tls: bool = False, out: TextIO | None = None) -> None:
    """Listen until interrupted; prints the addresses and how to use them."""
    stopped = threading.Event()
    previous = signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    try:
        with (
            Simulator(port=port, tls=tls, pace_s=_PACE_S) as simulator,
            tempfile.TemporaryDirectory() as home,
        ):
            simulator.write_home(Path(home))
            print(_words(simulator, home), file=out or sys.stdout, flush=True)
            stopped.wait()
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, previous)


def _words(simulator: Simulator, home: str) -> str:
    variables = {"CODEX_HOME": home, **simulator.environ()}
    exports = "\n".join(f"  export {name}={value}" for name, value in variables.items())
    config = "".join(f"  {line}\n" for line in simulator.config_toml().splitlines())
    return f"""The Codex simulator answers at {simulator.base_url} until you press Ctrl-C.
No model is asked, and no account is used.

A CODEX_HOME that is signed in to it, and the variables that lead clients there:

{exports}

Sign in anew:   codex login --device-auth --experimental_issuer {simulator.issuer}
Confirm codes:  {simulator.issuer}/codex/device
API key:        {simulator.new_api_key()} (for {simulator.api_base_url})

config.toml:

{config}"""
