"""Models: the live list and its cache on disk, what each can do, and the choice among them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from codex_nb.errors import AuthError, CodexError, ConfigError, ModelUnavailable
from codex_nb.files import replace_file
from codex_nb.http import httpx, request_json
from codex_nb.labels import EFFORTS, ULTRA
from codex_nb.parse import loads, parse_integer, parse_number
from codex_nb.rendering.visible import visible_line
from codex_nb.responses.errors import response_error, transport_error, unreadable_response
from codex_nb.responses.request import CONTRACT_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from codex_nb.http import JsonResponse
    from codex_nb.responses.request import Backend


TIMEOUT_S = 10.0


async def get_json(
    http: httpx.AsyncClient,
    url: str,
    *,
    backend: Backend,
    auth: httpx.Auth | None,
    params: Mapping[str, str] | None = None,
) -> Any:
    """Ask once and return the parsed body. Every failure is a CodexError."""
    headers = {"accept": "application/json", **backend.headers}
    query = {**backend.query, **(params or {})} or None
    found = _body_or_error(
        await request_json(http, "GET", url, timeout_s=TIMEOUT_S, auth=auth, headers=headers, params=query),
        backend,
        url,
    )
    if isinstance(found, CodexError):
        raise found
    return found


def _body_or_error(reply: JsonResponse, backend: Backend, url: str) -> Any:
    # The error is raised elsewhere: its traceback must not hold the reply, which may repeat what was sent.
    if reply.error is not None:
        return transport_error(reply.error, url=url)
    if not reply.is_ok:
        return response_error(reply.status, reply.headers, reply.content, backend=backend, url=url)
    if reply.value is None:
        kind = reply.headers.get("content-type", "")
        return unreadable_response(reply.status, kind, reply.content, backend=backend)
    return reply.value


@dataclass(frozen=True)
class ReasoningChoice:
    """The reasoning and text settings of a request, as far as the model takes them."""

    effort: str | None = None
    summary: str | None = None
    verbosity: str | None = None


@dataclass(frozen=True)
class Model:
    """A model, with what its backend tells of it.

    ``efforts`` from least to most. ``default_summary`` and ``default_verbosity`` are sent when nothing else is
    configured. ``ultra_effort`` is what ``ultra`` is sent as, where that is not the highest effort. ``is_lite``: takes
    the lite form of requests. ``is_listed``: shown to the user. ``context_window`` in tokens. ``is_assumed``: the
    backend has told its name at most; the rest is looked up by name in the list that comes with this program.
    """

    slug: str
    display_name: str = ""
    description: str = ""
    efforts: tuple[str, ...] = ()
    default_effort: str | None = None
    ultra_effort: str | None = None
    default_summary: str = "auto"
    is_lite: bool = False
    context_window: int | None = None
    supports_images: bool = True
    supports_summaries: bool | None = None
    supports_verbosity: bool | None = None
    default_verbosity: str | None = None
    supports_parallel_tool_calls: bool = True
    is_listed: bool = True
    is_assumed: bool = field(default=False, compare=False)

    def lacks(self, effort: str) -> bool:
        """Whether the backend has said that the model does not take this effort."""
        return bool(self.efforts) and not self.is_assumed and effort not in (*self.efforts, ULTRA)

    def reasoning(
        self, *, effort: str | None = None, summary: str | None = None, verbosity: str | None = None
    ) -> ReasoningChoice:
        """Fit the user's wishes to the model; an effort that it lacks is a ConfigError."""
        if effort is not None and self.lacks(effort):
            raise ConfigError(
                f"{self.slug} does not support the reasoning effort {effort!r}.",
                key="effort",
                hint=f"Use one of: {', '.join(self.efforts)}.",
            )
        summary = summary or self.default_summary
        return ReasoningChoice(
            effort=self._highest_effort if effort == ULTRA else effort or self.default_effort,
            summary=None if summary == "none" or self.supports_summaries is False else summary,
            verbosity=(verbosity or self.default_verbosity) if self.supports_verbosity else None,
        )

    @property
    def _highest_effort(self) -> str:
        real = [effort for effort in self.efforts if effort != ULTRA]
        return self.ultra_effort or (real[-1] if real else "medium")


class _Level(BaseModel):
    effort: str


class _ModelInfo(BaseModel):
    """An entry of the backend's list, as far as it concerns us; whatever else it holds is passed over."""

    model_config = ConfigDict(extra="ignore")

    slug: str = Field(min_length=1)
    display_name: str | None = None
    description: str | None = None
    supported_reasoning_levels: tuple[_Level, ...] = ()
    default_reasoning_level: str | None = None
    default_reasoning_summary: str | None = None
    multi_agent_reasoning_effort: Any = None
    visibility: str = "list"
    priority: float = 0
    use_responses_lite: bool = False
    context_window: int | None = None
    input_modalities: tuple[str, ...] = ("text", "image")
    supports_reasoning_summaries: bool | None = None
    support_verbosity: bool | None = None
    default_verbosity: str | None = None
    supports_parallel_tool_calls: bool = True

    @field_validator("context_window", mode="before")
    @classmethod
    def _window_that_can_be_filled(cls, value: Any) -> Any:
        tokens = parse_integer(value)
        return tokens if tokens is not None and tokens > 0 else None

    @field_validator("supported_reasoning_levels", mode="before")
    @classmethod
    def _levels_of_any_form(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return ()
        return [{"effort": level} if isinstance(level, str) else level for level in value]

    def model(self) -> Model:
        ultra = self.multi_agent_reasoning_effort
        return Model(
            slug=visible_line(self.slug),
            display_name=visible_line(self.display_name or self.slug),
            description=visible_line(self.description or ""),
            efforts=tuple(visible_line(level.effort) for level in self.supported_reasoning_levels),
            default_effort=self.default_reasoning_level,
            ultra_effort=ultra if isinstance(ultra, str) else None,
            default_summary=self.default_reasoning_summary or "auto",
            is_lite=self.use_responses_lite,
            context_window=self.context_window,
            supports_images="image" in self.input_modalities,
            supports_summaries=self.supports_reasoning_summaries,
            supports_verbosity=self.support_verbosity,
            default_verbosity=self.default_verbosity,
            supports_parallel_tool_calls=self.supports_parallel_tool_calls,
            is_listed=self.visibility == "list",
        )


def parse_models(body: Any) -> tuple[Model, ...]:
    """Read a model list, the ChatGPT backend's (``models``) or the usual one (``data``); bad entries are left out."""
    table = body if isinstance(body, dict) else {}
    entries = table.get("models")
    if isinstance(entries, list) and any(isinstance(entry, dict) and "slug" in entry for entry in entries):
        found = [info for entry in entries if (info := _info(entry)) is not None]
        return tuple(info.model() for info in sorted(found, key=lambda info: info.priority))
    entries = table.get("data")
    names = (
        [entry.get("id") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    )
    shown = [visible_line(name) for name in names if isinstance(name, str) and name]
    return tuple(Model(name, display_name=name, is_assumed=True) for name in shown)


def _info(entry: Any) -> _ModelInfo | None:
    try:
        return _ModelInfo.model_validate(entry)
    except ValidationError:
        return None


def _bundled(
    slug: str,
    display_name: str,
    *,
    effort: str = "low",
    highest: str = ULTRA,
    ultra: str | None = None,
    window: int = 272_000,
    verbosity: str = "low",
    is_lite: bool = True,
    is_listed: bool = True,
) -> Model:
    first, last = EFFORTS.index("low"), EFFORTS.index(highest)
    return Model(
        slug,
        display_name,
        efforts=EFFORTS[first : last + 1],
        default_effort=effort,
        ultra_effort=ultra,
        default_summary="none",
        is_lite=is_lite,
        context_window=window,
        supports_verbosity=True,
        default_verbosity=verbosity,
        is_listed=is_listed,
        is_assumed=True,
    )


# What `codex debug models --bundled` tells (tests/contract compares it), in its order: the default comes first.
BUNDLED = (
    _bundled("gpt-6.1-sol", "GPT-6.1-Sol", ultra="xhigh"),
    _bundled("gpt-6-astra", "GPT-6-Astra", ultra="xhigh"),
    _bundled("gpt-6-sol", "GPT-6-Sol", effort="medium"),
    _bundled("gpt-6-luna", "GPT-6-Luna", effort="medium", highest="max"),
    _bundled("gpt-5.6-sol", "GPT-5.6-Sol"),
    _bundled("gpt-6.1-terra", "GPT-6.1 Terra", ultra="xhigh", window=500_000),
    _bundled("gpt-5.6-terra", "GPT-5.6-Terra", effort="medium"),
    _bundled("gpt-5.6-luna", "GPT-5.6-Luna", effort="medium", highest="max"),
    _bundled("gpt-daybreak-blue-latest", "Daybreak Blue", is_listed=False),
    _bundled(
        "gpt-daybreak-red-latest",
        "Daybreak Red",
        effort="medium",
        window=372_000,
        verbosity="high",
        is_listed=False,
    ),
    _bundled("gpt-5.5", "GPT-5.5", effort="medium", highest="xhigh", is_lite=False),
    _bundled("codex-auto-review", "Codex Auto Review", effort="medium", highest="max", is_listed=False),
)
_NAMESPACE = re.compile(r"[A-Za-z0-9_-]+/(?=[^/]+$)")


def model_by_name(slug: str) -> Model:
    """Assume what a model can do from its name, as the CLI does: by the longest bundled name that it begins with.

    One word before a slash, such as a gateway's ``openai/``, is passed over.
    """
    bare = _NAMESPACE.sub("", slug, count=1) if _NAMESPACE.match(slug) else slug
    alike = [model for model in BUNDLED if bare.startswith(model.slug)]
    if not alike:
        return Model(slug, is_assumed=True)
    return replace(max(alike, key=lambda model: len(model.slug)), slug=slug)


OWN_FILE = "codex_nb_models.json"
CLI_FILE = "models_cache.json"
MAX_LISTS = 8


@dataclass(frozen=True)
class CachedModels:
    """A list and when it was fetched, in wall time seconds."""

    models: tuple[Model, ...]
    fetched_at: float

    def age(self, now: float) -> float:
        """Return the list's age in seconds; one from the future is as good as old."""
        return now - self.fetched_at if now >= self.fetched_at else float("inf")


class ModelCache:
    """The lists of several accounts and addresses in one file; every write is a whole step.

    A file that cannot be read or written is as if it were not there; this process remembers its own lists anyway.
    """

    def __init__(self, codex_home: Path) -> None:
        self._path = codex_home / OWN_FILE
        self._own: dict[str, CachedModels] = {}

    def read(self, key: tuple[str, str]) -> CachedModels | None:
        """Return the newest list kept under the key."""
        own, filed = self._own.get(_digest(key)), _cached(self._lists().get(_digest(key)))
        if own is None or filed is None:
            return own or filed
        return max(own, filed, key=lambda cached: cached.fetched_at)

    def write(self, key: tuple[str, str], cached: CachedModels) -> None:
        """Keep the list under the key; the oldest lists make room."""
        self._own[_digest(key)] = cached
        lists = self._lists()
        lists[_digest(key)] = asdict(cached)
        newest = sorted(lists.items(), key=lambda entry: _fetched_at(entry[1]), reverse=True)[:MAX_LISTS]
        if not self._path.parent.is_dir():
            return
        with suppress(OSError):
            replace_file(self._path, json.dumps({"lists": dict(newest)}).encode(), flush=False)

    def _lists(self) -> dict[str, Any]:
        body = _read_json(self._path)
        lists = body.get("lists")
        return dict(lists) if isinstance(lists, dict) else {}


def read_cli_cache(codex_home: Path) -> CachedModels | None:
    """Read the Codex CLI's list, if it was fetched after the login and the configuration last changed.

    The file names its account only by a digest of the CLI's own making, so an older one may be another account's.
    """
    path = codex_home / CLI_FILE
    body = _read_json(path)
    models = parse_models(body)
    try:
        fetched_at = datetime.fromisoformat(str(body.get("fetched_at"))).timestamp()
    except (ValueError, OverflowError):
        return None
    changed = max(_modified(codex_home / name) for name in ("auth.json", "config.toml"))
    return CachedModels(models, fetched_at) if models and fetched_at >= changed else None


def _cached(entry: Any) -> CachedModels | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("models"), list):
        return None
    known = {item.name for item in fields(Model)}
    try:
        models = tuple(_model(table, known) for table in entry["models"])
    except (TypeError, AttributeError, ValidationError):
        return None
    return CachedModels(models, _fetched_at(entry)) if models else None


def _model(table: Mapping[str, Any], known: set[str]) -> Model:
    values = {name: value for name, value in table.items() if name in known}
    values.setdefault("is_assumed", not values.get("efforts"))  # a file of before there was such a key
    return _stored_model().validate_python({**values, "efforts": tuple(values.get("efforts", ()))})


@cache
def _stored_model() -> TypeAdapter[Model]:
    return TypeAdapter(Model)


def _fetched_at(entry: Any) -> float:
    return (parse_number(entry.get("fetched_at")) if isinstance(entry, dict) else None) or 0.0


def _read_json(path: Path) -> dict[str, Any]:
    try:
        body = loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _digest(key: tuple[str, str]) -> str:
    return hashlib.sha256("\n".join(key).encode()).hexdigest()


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
        """Return the models, best first, at most five minutes old; ``refresh`` asks anew.

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
        """Return what is known without asking anyone, however old."""
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
            raise self._unavailable(ModelUnavailable(f"Unknown model {slug!r}."), slug, listed)
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
            raise CodexError(f"{self._backend.name} lists no models.", hint="Choose a model with -m.")
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
            raise ConfigError(
                f"{self._backend.name} lists no models, and config.toml sets none.",
                key="model",
                hint="Choose a model with -m, or set model in config.toml.",
            )
        return shown[0]

    def _unavailable(self, error: ModelUnavailable, slug: str, listed: Iterable[Model]) -> ModelUnavailable:
        near = nearest(slug, listed)
        hint = f"Did you mean one of these: {', '.join(near)}?" if near else None
        told = ModelUnavailable(
            str(error), status=error.status, code=error.code, request_id=error.request_id, hint=hint
        )
        told.available = near
        return told

    @property
    def _key(self) -> tuple[str, str]:
        return self._backend.base_url, self._identity()


def nearest(slug: str, models: Iterable[Model]) -> tuple[str, ...]:
    """Return up to three names that come nearest; the first ones of the list when none is near."""
    names = [model.slug for model in models if model.is_listed]
    return tuple(get_close_matches(slug, names, n=3, cutoff=0.5) or names[:3])


def _find(slug: str, models: Iterable[Model]) -> Model | None:
    return next((model for model in models if model.slug == slug), None)
