"""HTTP: the one client with its proxies, certificates and timeouts, JSON requests, back-off and rate limits.

Everything else takes the library from here (``from codex_nb.http import httpx``), so that a successor of httpx is
a change of this file.
"""

from __future__ import annotations

import asyncio
import json
import platform
import random
import ssl
import time
from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import certifi
import httpx
from pydantic import SecretStr

from codex_nb.config import __version__
from codex_nb.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from pathlib import Path

    from codex_nb.config.settings import Settings

__all__ = [
    "REQUEST_ERRORS",
    "JsonResponse",
    "Route",
    "Throttle",
    "backoff",
    "httpx",
    "open_http",
    "request_json",
    "user_agent",
]

CONNECT_TIMEOUT_S = 15.0
REPLY_TIMEOUT_S = 30.0
_PROXY_VARIABLES = (("http://", "http_proxy"), ("https://", "https_proxy"), ("all://", "all_proxy"))


def open_http(
    settings: Settings, environ: Mapping[str, str], *, transport: httpx.AsyncBaseTransport | None = None
) -> httpx.AsyncClient:
    """Make the client that every request of this session goes through.

    Proxies and certificates come from ``environ`` and ``settings`` only, never from the process behind our back.
    ``transport`` replaces the network, proxies included. A bad proxy address or certificate file is a ConfigError.
    """
    identity = {"user-agent": user_agent(settings.originator), "originator": settings.originator}
    timeout = httpx.Timeout(REPLY_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    if transport is not None:
        return httpx.AsyncClient(transport=transport, headers=identity, timeout=timeout, trust_env=False)
    context = _tls_context(settings.ca_certificate)
    return httpx.AsyncClient(
        verify=context,
        mounts=_proxy_mounts(environ, context),
        headers=identity,
        timeout=timeout,
        trust_env=False,
    )


@dataclass(frozen=True)
class Route:
    """Where an account's requests go; None changes nothing.

    ``origin`` replaces scheme, host and port of a URL, ``override`` is the value of the routing header.
    """

    origin: str | None = None
    override: str | None = None

    def url(self, url: str) -> str:
        """Return the same path at the route's origin."""
        if self.origin is None:
            return url
        parts = urlsplit(self.origin)
        return urlunsplit(urlsplit(url)._replace(scheme=parts.scheme, netloc=parts.netloc))


# What sending raises: also for an address that is none, and for a header that is not ASCII.
REQUEST_ERRORS = (httpx.HTTPError, httpx.InvalidURL, UnicodeError, OSError)


@dataclass(frozen=True)
class JsonResponse:
    """A response that was read whole; its ``repr`` shows nothing of it, because it may hold tokens.

    When there was none, ``status`` is 0, ``problem`` says why and ``error`` is the exception, if there was one.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: bytes = field(default=b"", repr=False)
    problem: str | None = None
    error: Exception | None = field(default=None, repr=False)

    @property
    def is_ok(self) -> bool:
        """Whether the status is 200."""
        return self.status == httpx.codes.OK

    @property
    def value(self) -> Any:
        """The parsed body, None when it is not JSON."""
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            return None

    @property
    def fields(self) -> dict[str, Any]:
        """The body as an object, ``{}`` when it is none."""
        value = self.value
        return value if isinstance(value, dict) else {}


async def request_json(
    http: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    timeout_s: float,
    auth: httpx.Auth | None = None,
    headers: Mapping[str, str | SecretStr] | None = None,
    **content: Any,
) -> JsonResponse:
    """Send one request with httpx's ``params``, ``json`` or ``data``; return a failure to, follow no redirect.

    Values of ``headers`` and of the body may be SecretStr. What ``auth`` raises goes through.
    """
    try:
        request = http.build_request(
            method,
            url,
            timeout=timeout_s,
            headers=_reveal(headers),
            **{k: _reveal(v) for k, v in content.items()},
        )
        response = await http.send(request, auth=auth, follow_redirects=False)
    except (*REQUEST_ERRORS, ValueError) as error:
        return JsonResponse(problem=describe_error(error), error=error)
    return JsonResponse(response.status_code, response.headers, response.content)


def _reveal(values: Any) -> Any:
    """Return a table with its secrets as text; no local variable of a frame that lasts holds the result."""
    if not isinstance(values, Mapping):
        return values
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in values.items()
    }


def describe_error(error: Exception) -> str:
    """Name a network failure without its request, as the end of a sentence."""
    if isinstance(error, httpx.TimeoutException):
        return "it did not answer in time"
    if isinstance(error, httpx.ConnectError):
        return "it could not be reached"
    return f"the connection failed ({type(error).__name__})"


def backoff(failures: int, *, first_s: float, longest_s: float, jitter: float, chance: float) -> float:
    """Return the seconds to wait after that many failures: doubled each time, spread by ``chance`` in 0..1."""
    doubled = min(longest_s, first_s * 2.0 ** (failures - 1))
    return doubled * (1.0 + jitter * (2.0 * chance - 1.0))


FIRST_WAIT_S = 1.0
LONGEST_BACKOFF_S = 60.0


class Throttle:
    """Lets requests out, at most ``limit`` of them waiting for their reply to begin at once.

    After a rate limit there is one at a time; each reply that is no refusal allows one more, up to ``limit`` again. A
    limit whose length the server did not tell is waited out for longer and longer, until a request gets through.
    """

    def __init__(
        self,
        limit: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._limit = limit
        self._allowed = limit
        self._sending = 0
        self._resume_at = clock()
        self._limits_in_a_row = 0
        self._changed = asyncio.Event()
        self._clock = clock
        self._sleep = sleep
        self._chance = chance

    @property
    def waiting_s(self) -> float:
        """How long the rate limit still lasts."""
        return max(0.0, self._resume_at - self._clock())

    @asynccontextmanager
    async def sending(self) -> AsyncGenerator[Slot, None]:
        """Wait until a request may be sent, and send it in this block."""
        while (left := self.waiting_s) or self._sending >= self._allowed:
            await (self._sleep(left) if left else self._changed.wait())
        self._sending += 1
        slot = Slot(self)
        try:
            yield slot
        finally:
            slot.release()

    def released(self, *, accepted: bool) -> None:
        """Note that a request waits for its reply no more, and whether that is because the server answers it."""
        self._sending -= 1
        if accepted and not self.waiting_s:  # else it was sent before the limit
            self._limits_in_a_row = 0
            self._allowed = min(self._limit, self._allowed + 1)
        self._changed.set()
        self._changed = asyncio.Event()

    def limited(self, retry_after: float | None) -> float:
        """Note that the server refuses requests for ``retry_after`` seconds, None: not told; return the wait."""
        if not self.waiting_s:  # else it was sent before the limit as well
            self._limits_in_a_row += 1
        self._allowed = 1
        if retry_after is None:
            retry_after = backoff(
                self._limits_in_a_row,
                first_s=FIRST_WAIT_S,
                longest_s=LONGEST_BACKOFF_S,
                jitter=0.5,
                chance=self._chance(),
            )
        self._resume_at = max(self._resume_at, self._clock() + retry_after)
        return self.waiting_s


class Slot:
    """The place of one request that waits for its reply."""

    def __init__(self, throttle: Throttle) -> None:
        self._throttle: Throttle | None = throttle

    def release(self, *, accepted: bool = False) -> None:
        """Return the place to another request; ``accepted``: the reply has begun. A second call does nothing."""
        throttle, self._throttle = self._throttle, None
        if throttle is not None:
            throttle.released(accepted=accepted)


def user_agent(originator: str) -> str:
    """Say who asks, as the Codex backend reads it: ``{originator}/{version} ({os} {release}; {arch}) codex_nb``."""
    return f"{originator}/{__version__} ({_operating_system()}; {platform.machine() or 'unknown'}) codex_nb"


@cache
def _operating_system() -> str:
    system = platform.system()
    if system == "Linux":
        try:
            release = platform.freedesktop_os_release()
        except OSError:
            return f"Linux {platform.release()}"
        return f"{release.get('NAME', 'Linux')} {release.get('VERSION_ID', '')}".strip()
    if system == "Darwin":
        return f"Mac OS {platform.mac_ver()[0]}"
    return f"{system or 'unknown'} {platform.release()}".strip()


def _tls_context(extra: Path | None) -> ssl.SSLContext:
    """Trust the public authorities, the machine's own store and ``extra``: a company's CA adds, it takes nothing."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    if extra is None:
        return context
    try:
        context.load_verify_locations(cafile=str(extra))
    except (OSError, ssl.SSLError) as error:
        is_content = isinstance(error, ssl.SSLError)
        reason = "it holds no certificates" if is_content else error.strerror or type(error).__name__
        raise ConfigError(
            f"The certificate file {extra} cannot be used: {reason}.",
            path=str(extra),
            key="CODEX_CA_CERTIFICATE",
            hint="Set CODEX_CA_CERTIFICATE or SSL_CERT_FILE to a PEM file with at least one certificate.",
        ) from error
    return context


def _proxy_mounts(
    environ: Mapping[str, str], context: ssl.SSLContext
) -> dict[str, httpx.AsyncBaseTransport | None]:
    """Map URL patterns to proxy transports; None, for the hosts of NO_PROXY, means a direct connection."""
    mounts: dict[str, httpx.AsyncBaseTransport | None] = {}
    direct = _direct_hosts(environ)
    if "*" in direct:
        return mounts
    for pattern, variable in _PROXY_VARIABLES:
        address = environ.get(variable) or environ.get(variable.upper())
        if address:
            mounts[pattern] = _proxy_transport(address, variable.upper(), context)
    if mounts:
        mounts.update(dict.fromkeys(_host_pattern(host) for host in direct))
    return mounts


def _proxy_transport(address: str, variable: str, context: ssl.SSLContext) -> httpx.AsyncHTTPTransport:
    url = address if "://" in address else f"http://{address}"
    try:
        if not urlsplit(url).hostname:
            raise ValueError
        return httpx.AsyncHTTPTransport(verify=context, proxy=httpx.Proxy(url))
    except (ValueError, httpx.InvalidURL, ImportError) as error:
        needs_socks = isinstance(error, ImportError)
        reason = "SOCKS requires the package socksio" if needs_socks else "it is not a proxy URL"
        hint = "Install it: pip install socksio" if needs_socks else "Write it as http://host:port."
        # The address may hold a password, and so may the library's message: neither is chained.
        raise ConfigError(
            f"The proxy set in {variable} cannot be used: {reason}.",
            path="environment",
            key=variable,
            hint=hint,
        ) from None


def _direct_hosts(environ: Mapping[str, str]) -> list[str]:
    listed = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    return [host for host in (entry.strip() for entry in listed.split(",")) if host]


def _host_pattern(host: str) -> str:
    """Write an entry of NO_PROXY as httpx's pattern: a name is itself and all below it, ``.name`` those below."""
    if "://" in host:
        return host
    bare = host.lstrip(".")
    if bare.count(":") > 1:
        return f"all://[{bare.strip('[]')}]"
    if bare == "localhost" or bare.replace(".", "").replace(":", "").isdigit():
        return f"all://{bare}"
    return f"all://*{bare}" if host == bare else f"all://*.{bare}"
