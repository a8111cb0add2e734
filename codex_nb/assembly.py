"""Construction: the parts of one profile, made from settings and environment. Production defaults are chosen here."""

from __future__ import annotations

import asyncio
import functools
import importlib
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from codex_nb.auth import examine, open_credentials
from codex_nb.environment import Environment
from codex_nb.errors import ConfigError
from codex_nb.home import Home
from codex_nb.http import open_http
from codex_nb.settings import load_settings
from codex_nb.words import identities as words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from codex_nb.auth import Finding
    from codex_nb.auth.sources import ExternalTokenProvider
    from codex_nb.settings import Settings


def make_home(
    settings: Settings, environ: Mapping[str, str], *, external: ExternalTokenProvider | None = None
) -> Home:
    """Put the parts of one profile together; nothing is read or sent yet."""
    http = open_http(settings, environ)
    return Home(
        settings, environ, http, open_credentials(settings, environ, http, external=external, outlive=True)
    )


@asynccontextmanager
async def open_home(
    environ: Mapping[str, str],
    *,
    profile: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    external: ExternalTokenProvider | None = None,
) -> AsyncIterator[Home]:
    """Open a profile for one piece of work on the running loop."""
    home = make_home(load_settings(environ, profile=profile, overrides=overrides), environ, external=external)
    try:
        yield home
    finally:
        await asyncio.shield(home.close())


def diagnose(environ: Mapping[str, str], *, profile: str | None = None) -> tuple[Finding, ...]:
    """Look at everything that decides who asks and who pays; changes nothing and asks no network."""
    return examine(load_settings(environ, profile=profile), environ, clock=lambda: datetime.now(UTC))


def open_profile(profile: str | None, overrides: Mapping[str, Any], token_provider: str | None) -> Home:
    """Open a profile in this process's environment, with the host program's tokens where it hands them in."""
    external = find_token_provider(token_provider) if token_provider else None
    environ = Environment()
    settings = load_settings(environ, profile=profile, overrides=overrides)
    return make_home(settings, environ, external=external)


def find_token_provider(name: str) -> ExternalTokenProvider:
    """Import the callable that ``module:function`` names."""
    module, _, attribute = name.partition(":")
    try:
        found = functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            words.provider_not_importable(name, str(error)), path="CodexMagics", key="token_provider"
        ) from error
    if not callable(found):
        raise ConfigError(words.provider_not_callable(name), path="CodexMagics", key="token_provider")
    provider: ExternalTokenProvider = found
    return provider
