"""The HTTP client, made in one place: proxies, certificates, timeouts and the way we introduce ourselves.

Everything else takes the library from here (``from codex_nb.http import httpx``), so that a successor of httpx is
a change of this file.
"""

from __future__ import annotations

import platform
import ssl
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import certifi
import httpx

from codex_nb._version import __version__
from codex_nb.errors import ConfigError
from codex_nb.words import files
from codex_nb.words import settings as words

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from codex_nb.config.settings import Settings

__all__ = ["httpx", "open_http", "user_agent"]

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
        reason = (
            files.NO_CERTIFICATES
            if isinstance(error, ssl.SSLError)
            else error.strerror or type(error).__name__
        )
        message = words.bad_certificate_file(str(extra), reason)
        raise ConfigError(message, path=str(extra), key="CODEX_CA_CERTIFICATE") from error
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
        message = words.proxy_needs_socks(variable) if needs_socks else words.bad_proxy(variable)
        # The address may hold a password, and so may the library's message: neither is chained.
        raise ConfigError(message, path=words.ENVIRONMENT, key=variable) from None


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
