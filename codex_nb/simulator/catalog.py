"""The models that the simulator offers: one classic, one lite."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

CLASSIC = "simulator-classic"
LITE = "simulator-lite"

_EFFORTS = (
    ("low", "Answers at once"),
    ("medium", "Looks first, then answers"),
    ("high", "Looks closely"),
)


def model_entry(slug: str, name: str, priority: int, *, is_lite: bool) -> dict[str, Any]:
    """One entry of ``/models``, with every field that the Codex CLI demands."""
    return {
        "slug": slug,
        "display_name": name,
        "description": "No model at all: the codex_nb simulator's own answers.",
        "default_reasoning_level": "medium",
        "supported_reasoning_levels": [
            {"effort": effort, "description": description} for effort, description in _EFFORTS
        ],
        "shell_type": "default",
        "visibility": "list",
        "supported_in_api": True,
        "priority": priority,
        "upgrade": None,
        "base_instructions": "You are the codex_nb simulator.",
        "supports_reasoning_summaries": True,
        "support_verbosity": True,
        "default_verbosity": "low",
        "apply_patch_tool_type": None,
        "truncation_policy": {"mode": "bytes", "limit": 10_000},
        "supports_parallel_tool_calls": not is_lite,
        "context_window": 272_000,
        "experimental_supported_tools": [],
        "input_modalities": ["text", "image"],
        "use_responses_lite": is_lite,
    }


def _default_entries() -> list[dict[str, Any]]:
    return [
        model_entry(CLASSIC, "Simulator", 1, is_lite=False),
        model_entry(LITE, "Simulator (lite)", 2, is_lite=True),
    ]


@dataclass
class Catalog:
    """The list of ``/models`` and the slugs that are answered although they are not on it.

    A Codex CLI in API-key mode never asks for the list and sends a model of its own catalog.
    """

    entries: list[dict[str, Any]] = field(default_factory=_default_entries)
    also_answered: frozenset[str] = frozenset({"gpt-6.1-sol", "gpt-5.5", "codex-auto-review"})
    etag: str = 'W/"simulator-1"'

    def offers(self, slug: object) -> bool:
        """Whether a request for this model is answered."""
        return slug in self.also_answered or any(entry["slug"] == slug for entry in self.entries)

    def is_lite(self, slug: object) -> bool:
        """Whether the model takes its tools as an input item."""
        return any(entry["slug"] == slug and entry.get("use_responses_lite") for entry in self.entries)

    def api_list(self) -> dict[str, Any]:
        """The list as ``/v1/models`` gives it."""
        data = [
            {
                "id": entry["slug"],
                "object": "model",
                "created": 1_767_225_600,
                "owned_by": "codex-nb-simulator",
            }
            for entry in self.entries
        ]
        return {"object": "list", "data": data}
