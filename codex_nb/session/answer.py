"""What a finished turn gives back: :class:`Answer` and its parts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from codex_nb.words import conversation as words

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

Status = Literal["completed", "incomplete", "failed", "cancelled"]


@dataclass(frozen=True)
class Usage:
    """Tokens of a whole turn, summed over its steps, as the API counted them."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_output_tokens: int = 0
    total_tokens: int = 0


@dataclass(frozen=True)
class ToolCall:
    """One call the model made; ``arguments`` is the JSON text it sent, ``output`` None when it never ran."""

    name: str
    call_id: str
    arguments: str
    output: str | None = None


@dataclass(frozen=True)
class Answer:
    """The outcome of one turn.

    ``items`` are the response's output items exactly as received, over all steps. ``parsed`` is the instance of the
    asked-for schema. ``billing`` says what paid: ``"chatgpt"`` or ``"api_key"`` (or another auth mode's name).

    Its repr is short and the same for the same answer: lists of answers are saved in notebooks.
    """

    text: str
    parsed: Any = None
    items: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    tool_calls: tuple[ToolCall, ...] = field(default=(), repr=False)
    reasoning: str = field(default="", repr=False)
    status: Status = "completed"
    usage: Usage = field(default_factory=Usage, repr=False)
    model: str = ""
    thread: str = field(default="", repr=False)
    request_id: str | None = field(default=None, repr=False)
    billing: str = ""

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, str]:
        """Show the answer as every reader of notebooks can, with nothing in it that could run."""
        del include, exclude  # the three forms are cheap, and front ends choose among them
        from codex_nb.rendering.bundle import answer_bundle

        return answer_bundle(self.text, remark=_REMARKS[self.status])


_REMARKS: Mapping[Status, str] = {
    "completed": "",
    "incomplete": words.INCOMPLETE,
    "failed": words.FAILED,
    "cancelled": words.WAS_STOPPED,
}
