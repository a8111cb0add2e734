"""One model: what it is called, what it can do, and what of the user's wishes goes into a request."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from codex_nb.errors import ConfigError
from codex_nb.rendering.visible import visible_line
from codex_nb.settings import EFFORTS, ULTRA
from codex_nb.words import models as words


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
            raise ConfigError(words.no_effort(self.slug, effort, ", ".join(self.efforts)), key="effort")
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
