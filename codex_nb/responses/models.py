"""The models that this account may use: the live list, remembered for a while; the choice among them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from codex_nb.errors import AuthError, CodexError, ConfigError, ModelUnavailable
from codex_nb.responses.backend import CONTRACT_VERSION
from codex_nb.responses.fetch import get_json
from codex_nb.responses.model import BUNDLED, Model, model_by_name, parse_models
from codex_nb.responses.model_cache import CachedModels, ModelCache, read_cli_cache
from codex_nb.words import models as words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from codex_nb.http import httpx
    from codex_nb.responses.backend import Backend

__all__ = ["Model", "ModelCatalog", "nearest"]

TIME_TO_LIVE_S = 300.0


class ModelCatalog:
    """The models of one backend for the current account.

    ``identity`` gives the account's stable key, by which lists are kept apart. ``default`` is the configured model.
    ``clock`` is wall time in seconds. Lists live in a file of our own in ``codex_home``; the Codex CLI's file is only
    read, and believed only when nothing has changed since it was written.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        backend: Backend,
        auth: httpx.Auth | None,
        *,
        codex_home: Path,
        identity: Callable[[], str],
        default: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._http = http
        self._backend = backend
        self._auth = auth
        self._home = codex_home
        self._identity = identity
        self._default = default
        self._clock = clock
        self._cache = ModelCache(codex_home)
        self._asking = asyncio.Lock()
        self._brought = 0
        self._failed_at = float("-inf")

    async def models(self, *, refresh: bool = False) -> tuple[Model, ...]:
        """Give the models, best first, at most five minutes old; ``refresh`` asks anew.

        When the list cannot be had, an older one, or the one that comes with this program, is given; a login that is
        not accepted is an AuthError, an address to which it may not be sent a ConfigError, and a provider of its own
        without any list gives none.
        """
        known = self._remembered()
        if known is not None and not refresh and known.age(self._clock()) < TIME_TO_LIVE_S:
            return known.models
        if not self._backend.lists_models:
            return BUNDLED
        brought = self._brought
        try:
            async with self._asking:
                # Who waited here finds the list that the one before has brought.
                known = self._remembered()
                return known.models if known and self._brought > brought else await self._fetch()
        except (AuthError, ConfigError):
            raise
        except CodexError:
            self._failed_at = self._clock()
            return known.models if known is not None else self._last_resort()

    def cached(self) -> tuple[Model, ...]:
        """Give what is known without asking anyone, however old."""
        known = self._remembered()
        return known.models if known is not None else self._last_resort()

    async def choose(self, wanted: str | None = None) -> Model:
        """Find the model to use: the one wanted, else the configured one, else the first of the list.

        A model that neither the ChatGPT backend nor this program lists is ModelUnavailable, with the nearest names;
        other backends may know more than they list, so there the name is taken as it is, and what it can do is
        assumed from it.
        """
        slug = wanted or self._default
        if slug is None:
            found = self._first(await self.models())
            return self._assumed(found.slug) if found.is_assumed else found
        known = self._remembered()
        model = _find(slug, known.models) if known is not None else None
        if model is None and self._backend.is_codex:
            model = await self._listed(slug)
        return self._assumed(slug) if model is None or model.is_assumed else model

    async def _listed(self, slug: str) -> Model | None:
        """Ask for the list because of a model; a list that could not be had lately is not asked for again."""
        if self._clock() - self._failed_at < TIME_TO_LIVE_S:
            return None
        listed = await self.models()
        found = _find(slug, listed)
        is_refused = self._backend.is_chatgpt and listed and self._is_live() and not _find(slug, BUNDLED)
        if found is None and is_refused:
            raise self._unavailable(ModelUnavailable(words.unknown(slug)), slug, listed)
        return found

    def _assumed(self, slug: str) -> Model:
        model = model_by_name(slug)
        if self._backend.takes_reasoning or model.efforts:
            return model
        # The public API has models that do not reason: they are sent what is asked for, and nothing else.
        return replace(model, default_summary="none", supports_verbosity=True)

    async def explained(self, error: ModelUnavailable, slug: str) -> ModelUnavailable:
        """Add the nearest names to a refusal, from a list asked for anew."""
        try:
            listed = await self.models(refresh=True)
        except CodexError:
            return error
        others = [model for model in listed if model.slug != slug]
        return self._unavailable(error, slug, others)

    async def _fetch(self) -> tuple[Model, ...]:
        body = await get_json(
            self._http,
            self._backend.models_url,
            backend=self._backend,
            auth=self._auth,
            params={"client_version": CONTRACT_VERSION} if self._backend.is_codex else None,
        )
        models = parse_models(body)
        if not models:
            raise CodexError(words.none_listed(self._backend.name))
        self._cache.write(self._key, CachedModels(models, self._clock()))
        self._brought += 1
        return models

    def _remembered(self) -> CachedModels | None:
        own = self._cache.read(self._key)
        theirs = read_cli_cache(self._home) if self._backend.is_chatgpt else None
        if own is None or theirs is None:
            return own or theirs
        return max(own, theirs, key=lambda cached: cached.fetched_at)

    def _is_live(self) -> bool:
        known = self._remembered()
        return known is not None and known.age(self._clock()) < TIME_TO_LIVE_S

    def _last_resort(self) -> tuple[Model, ...]:
        return BUNDLED if self._backend.is_built_in else ()

    def _first(self, models: tuple[Model, ...]) -> Model:
        shown = [model for model in models if model.is_listed] or list(models)
        if not shown:
            raise ConfigError(words.none_known(self._backend.name), key="model")
        return shown[0]

    def _unavailable(self, error: ModelUnavailable, slug: str, listed: Iterable[Model]) -> ModelUnavailable:
        near = nearest(slug, listed)
        hint = words.nearest(", ".join(near)) if near else None
        told = ModelUnavailable(
            str(error), status=error.status, code=error.code, request_id=error.request_id, hint=hint
        )
        told.available = near
        return told

    @property
    def _key(self) -> tuple[str, str]:
        return self._backend.base_url, self._identity()


def nearest(slug: str, models: Iterable[Model]) -> tuple[str, ...]:
    """Give up to three names that come nearest; the first ones of the list when none is near."""
    names = [model.slug for model in models if model.is_listed]
    return tuple(get_close_matches(slug, names, n=3, cutoff=0.5) or names[:3])


def _find(slug: str, models: Iterable[Model]) -> Model | None:
    return next((model for model in models if model.slug == slug), None)
