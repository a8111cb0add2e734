"""HTTP: the one client with its proxies, certificates and timeouts, JSON requests and back-off.

Everything else takes the library from here (``from codex_nb.http import httpx``), so that a successor of httpx is
a change of this file.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import zlib
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit, urlunsplit

import certifi
import httpx as httpx  # noqa: PLC0414 -- exported
from pydantic import SecretStr

from codex_nb.errors import ConfigError
from codex_nb.files import file_stamp
from codex_nb.parse import fits, loads, parse_object

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from urllib.request import Request


CONNECT_TIMEOUT_S = 15.0
REPLY_TIMEOUT_S = 30.0
MAX_REPLY_BYTES = 4 * 1024 * 1024  # of one small question's answer, on the wire and decompressed
MAX_REPLY_MEMORY = 32 * 1024 * 1024  # of the values in it
MAX_STREAM_BYTES = 128 * 1024 * 1024
PIECE_BYTES = 64 * 1024
LARGEST_PORT = 65_535
RESIDENCY_HEADER = "x-openai-internal-codex-residency"
_COOKIE_DOMAINS = ("chatgpt.com", "openai.com")
_COOKIES = frozenset(
    {"__cf_bm", "__cflb", "__cfruid", "__cfseq", "__cfwaitingroom", "_cfuvid"}
    | {"cf_clearance", "cf_ob_info", "cf_use_ob"}
)
_LONGEST_COOKIE = 4096  # characters, as in RFC 6265
_HOST = re.compile(rb"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


_is_ours: ContextVar[bool] = ContextVar("codex_nb.http", default=False)


def keep_out_of_logs(core: str, *names: str) -> None:
    """Let loggers pass over what is done for us: addresses and proxies that they write may hold a key.

    ``core`` is httpcore or a successor of it, each part of which has a logger of its own.
    """
    parts = ("connection", "http11", "http2", "proxy", "socks")
    for name in (*names, *(f"{core}.{part}" for part in parts)):
        logging.getLogger(name).addFilter(_is_not_ours)


def mark_as_ours() -> None:
    """Say that what this task does from now on, and the tasks that it starts, is done for us."""
    _is_ours.set(True)


def _is_not_ours(_: logging.LogRecord) -> bool:
    return not _is_ours.get()


keep_out_of_logs("httpcore", "httpx")


class ClientSettings(Protocol):
    """What the client needs of the settings, which lie in a layer above."""

    @property
    def user_agent(self) -> str:
        """Who asks."""

    @property
    def originator(self) -> str:
        """The program, as the backend knows it."""

    @property
    def residency(self) -> str | None:
        """The region in which data must stay."""

    @property
    def ca_certificate(self) -> Path | None:
        """A file of further certificate authorities."""


def open_http(
    settings: ClientSettings, environ: Mapping[str, str], *, transport: httpx.AsyncBaseTransport | None = None
) -> httpx.AsyncClient:
    """Make the client that every request of this session goes through.

    Proxies and certificates come from ``environ`` and ``settings`` only, never from the process behind our back.
    ``transport`` replaces the network, proxies included. A bad certificate file is a ConfigError, and so is a bad proxy
    address once it is needed.
    """
    if transport is None:
        transport = _RoutingTransport(Proxies.of(environ), tls_context(settings.ca_certificate))
    headers = {
        "user-agent": settings.user_agent,
        "originator": settings.originator,
        "accept-encoding": "gzip",
    }
    if settings.residency is not None:
        headers[RESIDENCY_HEADER] = settings.residency
    return httpx.AsyncClient(
        transport=BoundedTransport(transport),
        headers=headers,
        cookies=CookieJar(_CloudflareCookies()),
        timeout=httpx.Timeout(REPLY_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
        trust_env=False,
    )


class _CloudflareCookies(DefaultCookiePolicy):
    """Keeps what Cloudflare knows a client of OpenAI by, as the CLI does, and no other cookie of any server."""

    def set_ok(self, cookie: Cookie, request: Request) -> bool:
        """Whether a cookie of a response is kept for later requests."""
        host = request.host.partition(":")[0].lower()
        is_ours = request.type == "https" and any(
            f".{host}".endswith(f".{domain}") for domain in _COOKIE_DOMAINS
        )
        is_wanted = (
            cookie.name in _COOKIES and cookie.path == "/" and len(cookie.value or "") <= _LONGEST_COOKIE
        )
        return is_ours and is_wanted and super().set_ok(cookie, request)


class UnacceptableResponse(httpx.TransportError):
    """A response beyond its bounds, or in an encoding that was not asked for; the text says which."""


@dataclass(frozen=True)
class Bounds:
    """The bounds of one response: its bytes, on the wire and decompressed, and the seconds until its end.

    Without others, those of a streamed answer.
    """

    max_bytes: int = MAX_STREAM_BYTES
    seconds: float | None = None

    def as_extension(self) -> dict[str, Any]:
        """Return them as the request carries them to the transport."""
        return {"codex_nb.bounds": self}


class BoundedTransport(httpx.AsyncBaseTransport):
    """Bounds every response by what its request allows; undoes the one compression that we ask for."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request; raises UnacceptableResponse or ReadTimeout, also while the body is read."""
        mark_as_ours()
        bounds = request.extensions.get("codex_nb.bounds") or Bounds()
        deadline = None if bounds.seconds is None else asyncio.get_running_loop().time() + bounds.seconds
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._transport.handle_async_request(request)
        except TimeoutError as error:
            raise httpx.ReadTimeout("the head of the response took too long") from error
        encoding = response.headers.pop("content-encoding", "identity").strip().lower()
        if encoding not in {"identity", "gzip", "x-gzip", ""}:
            await response.aclose()
            raise UnacceptableResponse("it is compressed in a way that was not asked for")
        body = response.stream
        if isinstance(body, httpx.AsyncByteStream):
            response.stream = _BoundedStream(body, bounds, deadline, is_compressed="gzip" in encoding)
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


class _BoundedStream(httpx.AsyncByteStream):
    def __init__(
        self, stream: httpx.AsyncByteStream, bounds: Bounds, deadline: float | None, *, is_compressed: bool
    ) -> None:
        self._stream = stream
        self._deadline = deadline
        self._max_bytes = bounds.max_bytes
        self._is_compressed = is_compressed

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body's bytes, decompressed, in small pieces."""
        arrived = taken = 0
        decompressor = zlib.decompressobj(16 + zlib.MAX_WBITS)  # 16: with the header of gzip
        async for chunk in self._stream if self._deadline is None else self._in_time(self._deadline):
            arrived += len(chunk)
            for piece in _decompressed(chunk, decompressor) if self._is_compressed else (chunk,):
                taken += len(piece)
                if arrived > self._max_bytes or taken > self._max_bytes:
                    raise UnacceptableResponse(f"it is larger than {format_size(self._max_bytes)}")
                yield piece

    async def _in_time(self, deadline: float) -> AsyncIterator[bytes]:
        chunks = aiter(self._stream)
        try:
            while True:
                async with asyncio.timeout_at(deadline):
                    if (chunk := await anext(chunks, None)) is None:
                        return
                yield chunk
        except TimeoutError as error:
            raise httpx.ReadTimeout("the response took too long") from error

    async def aclose(self) -> None:
        await self._stream.aclose()


def _decompressed(chunk: bytes, decompressor: zlib._Decompress) -> Iterator[bytes]:
    """Yield pieces of at most PIECE_BYTES; what follows the end of the compressed data is passed over."""
    for start in range(0, len(chunk), PIECE_BYTES):
        waiting, piece = chunk[start : start + PIECE_BYTES], b""
        while not decompressor.eof and (waiting or len(piece) == PIECE_BYTES):
            try:
                piece = decompressor.decompress(waiting, PIECE_BYTES)
            except zlib.error as error:
                raise httpx.DecodingError("the gzip data is damaged") from error
            waiting = decompressor.unconsumed_tail
            yield piece


def format_size(count: int) -> str:
    """Write a number of bytes for people."""
    return f"{count / 1024 / 1024:.3g} MB" if count >= 1024 * 1024 else f"{count} bytes"


def is_secure(url: str) -> bool:
    """Whether a credential may be sent to the URL: https, or this machine; never with a login in the URL itself."""
    try:
        parts = httpx.URL(url)
        host, port = parts.host, parts.port or 0  # the host is decoded here: not every name of "xn--" can be
    except (httpx.InvalidURL, UnicodeError, ValueError):
        return False
    if parts.userinfo or not _HOST.fullmatch(parts.raw_host) or not 0 <= port <= LARGEST_PORT:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))


def host_of(url: str) -> str:
    """Return the host that requests to an address go to; an empty text where it has none."""
    try:
        return httpx.URL(url).host
    except (httpx.InvalidURL, UnicodeError):
        return ""


def is_loopback(host: str) -> bool:
    """Whether the host is this machine: ``localhost`` itself, or a loopback address in its usual notation."""
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


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
        """The parsed body, None when it is not JSON that can be held."""
        try:
            return loads(self.content) if fits(self.content, MAX_REPLY_MEMORY) else None
        except ValueError:
            return None

    @property
    def fields(self) -> dict[str, Any]:
        """The body as an object, ``{}`` when it is none."""
        return parse_object(self.value)


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
    """Send one request with httpx's ``params``, ``json`` or ``data``; return a failure too, follow no redirect.

    Without ``auth``, which judges the address itself, only a secure one is asked. ``timeout_s`` bounds each response
    as a whole. Values of ``headers`` and of the body may be SecretStr. What ``auth`` raises goes through.
    """
    if auth is None and not is_secure(url):
        return JsonResponse(problem=f"{url} is neither https nor on this machine")
    try:
        request = http.build_request(
            method,
            url,
            timeout=timeout_s,
            headers=_reveal(headers),
            extensions=Bounds(MAX_REPLY_BYTES, timeout_s).as_extension(),
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


def media_type(headers: Mapping[str, str]) -> str:
    """Return the content type of a response without its parameters; empty where it has none."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def describe_error(error: Exception) -> str:
    """Name a network failure without its request, as the end of a sentence."""
    if isinstance(error, UnacceptableResponse):
        return f"the response cannot be used: {error}"
    if isinstance(error, httpx.TimeoutException):
        return "it did not answer in time"
    if isinstance(error, httpx.ConnectError):
        return "it could not be reached"
    return f"the connection failed ({type(error).__name__})"


def backoff(failures: int, *, first_s: float, longest_s: float, jitter: float, chance: float) -> float:
    """Return the seconds to wait after that many failures: doubled each time, spread by ``chance`` in 0..1."""
    doubled = min(longest_s, first_s * 2.0 ** (failures - 1))
    return doubled * (1.0 + jitter * (2.0 * chance - 1.0))


def tls_context(extra: Path | None) -> ssl.SSLContext:
    """Trust the public authorities, the machine's own store and ``extra``: a company's CA adds, it takes nothing.

    One context, which takes a tenth of a second, serves all clients until a file or the environment changes. Raises
    ConfigError for a file that cannot be used.
    """
    own = ssl.get_default_verify_paths()  # as SSL_CERT_FILE and SSL_CERT_DIR name them now
    stamps = [file_stamp(Path(path)) for path in (extra, own.cafile, own.capath) if path is not None]
    return _tls_context(extra, own, tuple(stamps))


@lru_cache(maxsize=8)
def _tls_context(extra: Path | None, *state: object) -> ssl.SSLContext:
    del state
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    if extra is None:
        return context
    # Python 3.13 asks for an authority key identifier, which the certificates of many companies' own authorities lack.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
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


@dataclass(frozen=True)
class Proxies:
    """The proxies that the environment names and the hosts that need none, read as the Codex CLI reads them.

    ``by_scheme`` has the variable and the URL of each; a URL may hold a password.
    """

    by_scheme: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    domains: tuple[str, ...] = ()

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Proxies:
        """Read the variables; those in capitals come first, and an address alone is one of http."""
        found = dict[str, tuple[str, str]]()
        for scheme in ("http", "https", "all"):
            for variable in (f"{scheme}_proxy", f"{scheme}_proxy".upper()):
                if address := environ.get(variable):
                    found[scheme] = (variable, address if "://" in address else f"http://{address}")
        networks, domains = list[IPv4Network | IPv6Network](), list[str]()
        for entry in (environ.get("NO_PROXY") or environ.get("no_proxy") or "").split(","):
            try:
                networks.append(ip_network(entry.strip(), strict=False))
            except ValueError:
                domains.append(entry.strip().removeprefix(".").lower())
        return cls(found, tuple(networks), tuple(filter(None, domains)))

    def find(self, url: httpx.URL) -> tuple[str, str] | None:
        """Return the variable and the URL of the proxy for a URL; None for a direct connection.

        A name in NO_PROXY is itself and all below it; an address or a network is what it holds. Ports and other
        patterns match nothing there. A credential for this machine may travel in clear text, so it passes no proxy.
        """
        proxy = self.by_scheme.get(url.scheme) or self.by_scheme.get("all")
        if proxy is None or is_loopback(url.host) or self._needs_none(url.host.lower()):
            return None
        return proxy

    def _needs_none(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            return any(name in {"*", host} or host.endswith(f".{name}") for name in self.domains)
        return any(address in network for network in self.networks)


class _RoutingTransport(httpx.AsyncBaseTransport):
    """Sends each request directly or through its proxy; the connection to a proxy is made when it is needed."""

    def __init__(self, proxies: Proxies, context: ssl.SSLContext) -> None:
        self._proxies = proxies
        self._context = context
        self._direct = httpx.AsyncHTTPTransport(verify=context)
        self._made: dict[str, httpx.AsyncBaseTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request; raises ConfigError for a proxy that cannot be used."""
        found = self._proxies.find(request.url)
        if found is None:
            return await self._direct.handle_async_request(request)
        variable, url = found
        if variable not in self._made:
            self._made[variable] = open_proxy(variable, url, self._context)
        try:
            return await self._made[variable].handle_async_request(request)
        except REQUEST_ERRORS:
            raise
        except Exception as error:  # whatever the library for SOCKS raises for an odd reply
            raise httpx.ProxyError("it does not answer as a proxy does") from error

    async def aclose(self) -> None:
        """Close the connections."""
        for transport in (self._direct, *self._made.values()):
            await transport.aclose()


def open_proxy(variable: str, url: str, context: ssl.SSLContext) -> httpx.AsyncHTTPTransport:
    """Make the transport through a proxy. Raises ConfigError, which names the variable and not the URL."""
    try:
        if not urlsplit(url).hostname:
            raise ValueError
        return httpx.AsyncHTTPTransport(verify=context, proxy=httpx.Proxy(url))
    except (ValueError, httpx.InvalidURL, ImportError) as error:
        needs_socks = isinstance(error, ImportError)
        reason = "SOCKS requires the package socksio" if needs_socks else "it is not a proxy URL"
        hint = (
            "Install it: pip install 'codex-nb[socks]'." if needs_socks else "Write it as http://host:port."
        )
        # The URL may hold a password, and so may the library's message: neither is chained.
        raise ConfigError(
            f"The proxy set in {variable} cannot be used: {reason}.",
            path="environment",
            key=variable,
            hint=hint,
        ) from None
