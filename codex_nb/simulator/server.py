"""The simulator's face: start it, point clients at it, act as the person who signs in, see what was asked."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, urlsplit

from codex_nb.simulator.application import make_application
from codex_nb.simulator.certificates import make_tls
from codex_nb.simulator.homes import Home
from codex_nb.simulator.issuer import authorization_answer
from codex_nb.simulator.listening import Listener
from codex_nb.simulator.scenario import Scenario, Script
from codex_nb.simulator.world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from codex_nb.simulator.homes import Provider
    from codex_nb.simulator.people import Person
    from codex_nb.simulator.recording import RequestLog
    from codex_nb.simulator.scenario import Reply
    from codex_nb.simulator.tokens import TokenSet


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
