"""Models: the live list and its cache on disk, what each can do, and the choice among them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from difflib import get_close_matches
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from codex_nb.errors import AuthError, CodexError, ConfigError, ModelUnavailable
from codex_nb.files import file_stamp, replace_file
from codex_nb.http import httpx, request_json
from codex_nb.labels import EFFORTS, ULTRA
from codex_nb.parse import loads, loads_object, parse_integer, parse_object, parse_objects, parse_text
from codex_nb.rendering.sanitize import visible_line
from codex_nb.responses.errors import response_error, transport_error, unreadable_response
from codex_nb.responses.request import CONTRACT_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from codex_nb.http import JsonResponse
    from codex_nb.responses.events import Usage
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
    if (value := reply.value) is None:
        return unreadable_response(reply.status, reply.headers, reply.content, backend=backend)
    return value


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
    the lite form of requests. ``service_tiers`` by the API's names. ``is_reasoning``: a request may say how to reason.
    ``searches_images``: a web search may find images. ``is_listed``: shown to the user. ``context_window`` in tokens.
    ``is_assumed``: the backend has told its name at most; the rest is looked up by name in a catalog that no backend
    has confirmed.
    """

    slug: str
    display_name: str = ""
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
    service_tiers: tuple[str, ...] = ()
    is_reasoning: bool = True
    searches_images: bool = False
    is_listed: bool = True
    is_assumed: bool = field(default=False, compare=False)

    def sent_effort(self, effort: str | None) -> str | None:
        """Return what an effort is sent as, the CLI's way; None is the model's default.

        A backend's own list lowers what the model does not offer to the nearest below that it does. ``ultra`` is the
        CLI's own word for the highest effort, or for what the list names instead. An effort that no list knows, and
        any effort where there is no list, is sent as it is.
        """
        if effort and self.efforts and not self.is_assumed and effort not in self.efforts:
            if effort == ULTRA:
                effort = self.default_effort or ULTRA
            elif effort in EFFORTS:
                lower = [each for each in EFFORTS[: EFFORTS.index(effort)] if each in self.efforts]
                effort = lower[-1] if lower else effort
        effort = effort or self.default_effort
        return self._highest_effort if effort == ULTRA else effort

    def sent_tier(self, tier: str | None) -> str | None:
        """Return what a service tier is sent as, None where the model does not have it; ``flex`` needs no list."""
        sent = "priority" if tier == "fast" else tier  # as config.toml and the API call it
        return sent if sent == "flex" or sent in self.service_tiers else None

    def reasoning(
        self, *, effort: str | None = None, summary: str | None = None, verbosity: str | None = None
    ) -> ReasoningChoice:
        """Fit the user's wishes to the model."""
        summary = summary or self.default_summary
        return ReasoningChoice(
            effort=self.sent_effort(effort),
            summary=None if summary == "none" or self.supports_summaries is False else summary,
            verbosity=(verbosity or self.default_verbosity) if self.supports_verbosity else None,
        )

    @property
    def _highest_effort(self) -> str:
        real = [effort for effort in self.efforts if effort != ULTRA]
        if self.ultra_effort in real:
            return self.ultra_effort
        return "max" if "max" in real else real[-1] if real else "medium"


_Shown = Annotated[str, AfterValidator(visible_line)]


def _positive(value: Any) -> int | None:
    number = parse_integer(value)
    return number if number is not None and number > 0 else None


class _ModelInfo(BaseModel):
    """An entry of the backend's list, as far as it concerns us; whatever else it holds is passed over."""

    slug: Annotated[_Shown, Field(min_length=1)]
    display_name: _Shown | None = None
    supported_reasoning_levels: tuple[_Shown, ...] = ()
    default_reasoning_level: str | None = None
    default_reasoning_summary: str | None = None
    multi_agent_reasoning_effort: Any = None
    visibility: str = "list"
    priority: float = 0
    use_responses_lite: bool = False
    context_window: Annotated[int | None, BeforeValidator(_positive)] = None
    input_modalities: tuple[str, ...] = ("text", "image")
    supports_reasoning_summaries: bool | None = None
    support_verbosity: bool | None = None
    default_verbosity: str | None = None
    supports_parallel_tool_calls: bool | None = None
    service_tiers: tuple[_Shown, ...] = ()
    web_search_tool_type: Any = None

    @field_validator("supported_reasoning_levels", "service_tiers", mode="before")
    @classmethod
    def _choices_of_any_form(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, list):
            return ()
        key = "id" if info.field_name == "service_tiers" else "effort"
        return [each.get(key) if isinstance(each, dict) else each for each in value]

    def model(self) -> Model:
        ultra = self.multi_agent_reasoning_effort
        return Model(
            slug=self.slug,
            display_name=self.display_name or self.slug,
            efforts=self.supported_reasoning_levels,
            default_effort=self.default_reasoning_level,
            ultra_effort=ultra if isinstance(ultra, str) else None,
            default_summary=self.default_reasoning_summary or "auto",
            is_lite=self.use_responses_lite,
            context_window=self.context_window,
            supports_images="image" in self.input_modalities,
            supports_summaries=self.supports_reasoning_summaries,
            supports_verbosity=self.support_verbosity,
            default_verbosity=self.default_verbosity,
            supports_parallel_tool_calls=self.supports_parallel_tool_calls is not False,
            service_tiers=self.service_tiers,
            searches_images=self.web_search_tool_type == "text_and_image",
            is_listed=self.visibility == "list",
        )


def parse_models(body: Any) -> tuple[Model, ...]:
    """Read a model list, the ChatGPT backend's (``models``) or the usual one (``data``); bad entries are left out."""
    table = parse_object(body)
    entries = parse_objects(table.get("models"))
    if any("slug" in entry for entry in entries):
        found: list[_ModelInfo] = []
        for entry in entries:
            with suppress(ValidationError):
                found.append(_ModelInfo.model_validate(entry))
        return tuple(info.model() for info in sorted(found, key=lambda info: info.priority))
    names = [parse_text(entry.get("id")) for entry in parse_objects(table.get("data"))]
    shown = [visible_line(name) for name in names if name]
    return tuple(Model(name, display_name=name, is_assumed=True) for name in shown)


# What `codex debug models --bundled` tells of a question's models (tests/contract/bundled_models.py writes it).
BUNDLED_FILE = "bundled_models.json"
BUNDLED_KEYS = frozenset(_ModelInfo.model_fields)


@cache
def bundled_models() -> tuple[Model, ...]:
    """Return the models that the CLI of this contract brings along, the default first."""
    return read_catalog(Path(__file__).with_name(BUNDLED_FILE).read_bytes())


def read_catalog(content: bytes) -> tuple[Model, ...]:
    """Read a catalog that no backend has confirmed. Raises ValueError for what is not JSON."""
    return tuple(replace(model, is_assumed=True) for model in parse_models(loads(content)))


_NAMESPACE = re.compile(r"^[A-Za-z0-9_-]+/(?=[^/]+$)")


def model_by_name(slug: str, catalog: Iterable[Model]) -> Model:
    """Assume what a model can do from its name, as the CLI does: by the longest name of a catalog that it begins with.

    One word before a slash, such as a gateway's ``openai/``, is passed over.
    """
    bare = _NAMESPACE.sub("", slug)
    alike = [model for model in catalog if bare.startswith(model.slug)]
    if not alike:
        return Model(slug, is_assumed=True)
    return replace(max(alike, key=lambda model: len(model.slug)), slug=slug, is_assumed=True)


OWN_FILE = "codex_nb_models.json"
CLI_FILE = "models_cache.json"
MAX_LISTS = 8


@dataclass(frozen=True)
class CachedModels:
    """A list and when it was fetched, in wall time seconds."""

    models: Annotated[tuple[Model, ...], Field(min_length=1)]
    fetched_at: float

    def age(self, now: float) -> float:
        """Return the list's age in seconds; one from the future is as good as old."""
        return now - self.fetched_at if now >= self.fetched_at else float("inf")


def _newest(*lists: CachedModels | None) -> CachedModels | None:
    return max(filter(None, lists), key=lambda cached: cached.fetched_at, default=None)


class ModelCache:
    """The lists of several accounts and addresses in one file; every write is a whole step.

    A file that cannot be read or written is as if it were not there; this process remembers its own lists anyway.
    """

    def __init__(self, codex_home: Path) -> None:
        self._path = codex_home / OWN_FILE
        self._own: dict[str, CachedModels] = {}

    def read(self, key: tuple[str, str]) -> CachedModels | None:
        """Return the newest list kept under the key."""
        digest = _digest(key)
        return _newest(self._own.get(digest), _lists(self._path, file_stamp(self._path)).get(digest))

    def write(self, key: tuple[str, str], cached: CachedModels) -> None:
        """Keep the list under the key; the oldest lists make room."""
        self._own[_digest(key)] = cached
        lists = {**_lists(self._path, file_stamp(self._path)), _digest(key): cached}
        newest = sorted(lists, key=lambda digest: lists[digest].fetched_at, reverse=True)[:MAX_LISTS]
        kept = {digest: asdict(lists[digest]) for digest in newest}
        if self._path.parent.is_dir():
            with suppress(OSError):
                replace_file(self._path, json.dumps({"lists": kept}).encode(), flush=False)


class _ModelsFile(BaseModel):
    model_config = ConfigDict(defer_build=True)

    lists: dict[str, CachedModels]


@lru_cache(maxsize=16)
def _lists(path: Path, _stamp: object) -> Mapping[str, CachedModels]:
    try:
        return _ModelsFile.model_validate(_read_json(path)).lists
    except ValidationError:
        return {}


def read_cli_cache(codex_home: Path) -> CachedModels | None:
    """Read the Codex CLI's list, if it was fetched after the login and the configuration last changed.

    The file names its account only by a digest of the CLI's own making, so an older one may be another account's.
    """
    path = codex_home / CLI_FILE
    cached = _cli_list(path, file_stamp(path))
    changed = max(_modified(codex_home / name) for name in ("auth.json", "config.toml"))
    return cached if cached is not None and cached.fetched_at >= changed else None


@lru_cache(maxsize=16)
def _cli_list(path: Path, _stamp: object) -> CachedModels | None:
    body = _read_json(path)
    models = parse_models(body)
    try:
        fetched_at = datetime.fromisoformat(str(body.get("fetched_at"))).timestamp()
    except (ValueError, OverflowError):
        return None
    return CachedModels(models, fetched_at) if models else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return loads_object(path.read_bytes())
    except OSError:
        return {}


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _digest(key: tuple[str, str]) -> str:
    return hashlib.sha256("\n".join(key).encode()).hexdigest()


TIME_TO_LIVE_S = 300.0
# The public API also has models that do not reason: they are sent what is asked for, and nothing else.
_DOES_NOT_REASON = re.compile(r"(?:chatgpt|gpt)-[34](?!\d)")


class ModelCatalog:
    """The models of one backend for the current account.

    ``identity`` gives the account's stable key, by which lists are kept apart. ``default`` is the configured model,
    ``fixed`` is what ``model_catalog_json`` has: with it nobody is asked. ``clock`` is wall time in seconds. Lists
    live in a file of our own in ``codex_home``; the Codex CLI's file is only read, and believed only when nothing has
    changed since it was written.
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
        fixed: tuple[Model, ...] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._http = http
        self._backend = backend
        self._auth = auth
        self._home = codex_home
        self._identity = identity
        self._default = default
        self._fixed = fixed
        self._clock = clock
        self._cache = ModelCache(codex_home)
        self._asking = asyncio.Lock()
        self._brought = 0
        self._failed_at = float("-inf")
        self._refresh: asyncio.Task[None] | None = None

    async def models(self, *, refresh: bool = False) -> tuple[Model, ...]:
        """Return the models, best first, at most five minutes old; ``refresh`` asks anew.

        When the list cannot be had, an older one, or the one that comes with this program, is given; a login that is
        not accepted is an AuthError, an address to which it may not be sent a ConfigError, and a provider of its own
        without any list gives none.
        """
        known = self._remembered()
        if known is not None and not refresh and known.age(self._clock()) < TIME_TO_LIVE_S:
            return known.models
        if self._fixed or not self._backend.lists_models:
            return self._fixed or bundled_models()
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

    def efforts(self, slug: str | None = None) -> tuple[str, ...]:
        """Return the efforts that a model offers, the first one's without a name; all of them where it is not known."""
        models = self.cached()
        wanted = slug or self._default
        found = _find(wanted, models) if wanted else next(iter(models), None)
        return found.efforts if found is not None and found.efforts else EFFORTS

    async def choose(self, wanted: str | None = None) -> Model:
        """Find the model to use: the one wanted, else the configured one, else the first of the list.

        A name that the list does not have is taken as it is, for a backend may know more than it lists; what the model
        can do is assumed from its name.
        """
        slug = wanted or self._default
        if slug is None:
            slug = self._first(await self._at_hand()).slug
        elif self._backend.is_codex:
            await self._at_hand(slug)
        found = _find(slug, self.cached())
        return self._assumed(slug) if found is None or found.is_assumed else found

    async def _at_hand(self, slug: str | None = None) -> tuple[Model, ...]:
        """Return the list; an old one that has the model serves while a new one is fetched in the background.

        A list that could not be had lately is not asked for again.
        """
        known = self._remembered()
        if self._clock() - self._failed_at < TIME_TO_LIVE_S and (models := self.cached()):
            return models
        if known is None or (slug is not None and _find(slug, known.models) is None):
            return await self.models()
        if known.age(self._clock()) >= TIME_TO_LIVE_S and (self._refresh is None or self._refresh.done()):
            self._refresh = asyncio.create_task(self._refresh_quietly())
        return known.models

    async def _refresh_quietly(self) -> None:
        try:
            await self.models()
        except CodexError:  # the question itself tells what is wrong with the login or the address
            self._failed_at = self._clock()

    async def close(self) -> None:
        """End the request in the background."""
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.wait([self._refresh])

    def _assumed(self, slug: str) -> Model:
        told = [model for model in self.cached() if not model.is_assumed]
        model = model_by_name(slug, told or self._fixed or bundled_models())
        is_public = self._backend.is_built_in and not self._backend.is_codex
        if is_public and not model.efforts and _DOES_NOT_REASON.match(slug):
            return replace(model, default_summary="none", supports_verbosity=True, is_reasoning=False)
        return model

    async def explained(self, error: ModelUnavailable, slug: str) -> ModelUnavailable:
        """Add the nearest names to a refusal, from a list asked for anew."""
        try:
            listed = await self.models(refresh=True)
        except CodexError:
            return error
        near = nearest(slug, [model for model in listed if model.slug != slug])
        hint = f"Did you mean one of these: {', '.join(near)}?" if near else None
        told = ModelUnavailable(
            str(error), status=error.status, code=error.code, request_id=error.request_id, hint=hint
        )
        told.available = near
        return told

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
        if self._fixed:
            return None
        theirs = read_cli_cache(self._home) if self._backend.is_chatgpt else None
        return _newest(self._cache.read(self._key), theirs)

    def _last_resort(self) -> tuple[Model, ...]:
        return self._fixed or (bundled_models() if self._backend.is_built_in else ())

    def _first(self, models: tuple[Model, ...]) -> Model:
        shown = [model for model in models if model.is_listed] or list(models)
        if not shown:
            raise ConfigError(
                f"{self._backend.name} lists no models, and config.toml sets none.",
                key="model",
                hint="Choose a model with -m, or set model in config.toml.",
            )
        return shown[0]

    @property
    def _key(self) -> tuple[str, str]:
        return self._backend.base_url, self._identity()


def nearest(slug: str, models: Iterable[Model]) -> tuple[str, ...]:
    """Return up to three names that come nearest; the first ones of the list when none is near."""
    names = [model.slug for model in models if model.is_listed]
    return tuple(get_close_matches(slug, names, n=3, cutoff=0.5) or names[:3])


def _find(slug: str, models: Iterable[Model]) -> Model | None:
    return next((model for model in models if model.slug == slug), None)


_DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$")
_SMALLEST_COST = 0.0001
COST_UNKNOWN = "cost unknown"


@dataclass(frozen=True)
class PriceTable:
    """Prices of ``prices.json``: dollars for a million tokens of input, cached input and output, by model.

    A request of more than ``long_request_tokens`` input tokens costs more.
    """

    source: str
    date: str
    long_request_tokens: int
    models: Mapping[str, tuple[float, float, float]]

    def dollars(self, model: str, usage: Usage) -> float | None:
        """Return what an answer costs; None for a model without a price."""
        price = self.models.get(_DATED.sub("", model))
        if price is None:
            return None
        cached = min(usage.cached_input_tokens, usage.input_tokens)
        amounts = (usage.input_tokens - cached, cached, usage.output_tokens)
        return sum(amount * each for amount, each in zip(amounts, price, strict=True)) / 1_000_000

    def estimate(self, model: str, usage: Usage) -> str:
        """Return what an answer costs, with the source and the date of the prices; or that it is unknown."""
        dollars = self.dollars(model, usage)
        if dollars is None:
            return COST_UNKNOWN
        about = "at least" if usage.input_tokens > self.long_request_tokens else "about"
        shown = f"{about} ${dollars:,.4f}" if dollars >= _SMALLEST_COST else f"less than ${_SMALLEST_COST}"
        return f"{shown} at {self.source}'s prices of {self.date}"


@cache
def price_table() -> PriceTable:
    """Read the table of prices that is part of this package."""
    held = json.loads(Path(__file__).with_name("prices.json").read_text(encoding="utf-8"))
    return PriceTable(
        held["source"],
        held["date"],
        held["long_request_tokens"],
        {name: (price[0], price[1], price[2]) for name, price in held["models"].items()},
    )
