"""One model: what it is called, what it can do, and what of the user's wishes goes into a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from codex_nb.errors import ConfigError
from codex_nb.rendering.visible import visible_line
from codex_nb.words import models as words


@dataclass(frozen=True)
class ReasoningChoice:
    """The reasoning and text settings of a request, as far as the model takes them."""

    effort: str | None = None
    summary: str | None = None
    verbosity: str | None = None


@dataclass(frozen=True)
class Model:
    """A model; what a provider does not tell of it stays unknown, and nothing is then sent unasked.

    ``efforts`` from least to most. ``is_lite``: takes the lite form of requests. ``is_listed``: shown to the user.
    ``context_window`` in tokens.
    """

    slug: str
    display_name: str = ""
    description: str = ""
    efforts: tuple[str, ...] = ()
    default_effort: str | None = None
    is_lite: bool = False
    context_window: int | None = None
    supports_images: bool = True
    supports_summaries: bool | None = None
    supports_verbosity: bool | None = None
    default_verbosity: str | None = None
    supports_parallel_tool_calls: bool = True
    is_listed: bool = True

    def reasoning(
        self, *, effort: str | None = None, summary: str | None = None, verbosity: str | None = None
    ) -> ReasoningChoice:
        """Fit the user's wishes to the model; an effort that it does not have is a ConfigError."""
        if effort is not None and self.efforts and effort not in self.efforts:
            raise ConfigError(words.no_effort(self.slug, effort, ", ".join(self.efforts)), key="effort")
        reasons = bool(self.efforts) or effort is not None
        return ReasoningChoice(
            effort=effort or self.default_effort,
            summary=summary if reasons and self.supports_summaries is not False else None,
            verbosity=None if self.supports_verbosity is False else verbosity,
        )


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
        return Model(
            slug=visible_line(self.slug),
            display_name=visible_line(self.display_name or self.slug),
            description=visible_line(self.description or ""),
            efforts=tuple(visible_line(level.effort) for level in self.supported_reasoning_levels),
            default_effort=self.default_reasoning_level,
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
    return tuple(Model(name, display_name=name) for name in shown)


def _info(entry: Any) -> _ModelInfo | None:
    try:
        return _ModelInfo.model_validate(entry)
    except ValidationError:
        return None


_EFFORTS = ("low", "medium", "high", "xhigh")


def _bundled(slug: str, *, effort: str = "medium", is_lite: bool = False) -> Model:
    return Model(slug, slug, efforts=_EFFORTS, default_effort=effort, is_lite=is_lite)


# For the time when no list can be had; the order is the backend's, the default first.
BUNDLED = (
    _bundled("gpt-6.1-sol", effort="low", is_lite=True),
    _bundled("gpt-6.1-terra", is_lite=True),
    _bundled("gpt-6-astra", is_lite=True),
    _bundled("gpt-6-sol", is_lite=True),
    _bundled("gpt-6-luna", is_lite=True),
    _bundled("gpt-5.6-sol"),
    _bundled("gpt-5.6-terra"),
    _bundled("gpt-5.6-luna"),
    _bundled("gpt-5.5"),
)
