"""What the user asks for in one turn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from codex_nb.settings import ApprovalPolicy
from codex_nb.tools.tool import ToolSet

if TYPE_CHECKING:
    from pathlib import Path

    from codex_nb.responses.throttle import Throttle
    from codex_nb.session.sections import NotebookContext


@dataclass(frozen=True)
class TurnRequest:
    """One question, with everything that the user chose for it.

    ``model`` and ``effort`` None leave the choice to the settings. ``thread`` names the conversation to go on
    with; None begins one that is kept nowhere. ``context`` is what is sent of the notebook. ``images`` are data URLs.
    ``schema`` is a pydantic model, a dataclass, a TypedDict, any other annotation, or a JSON schema as a dict.
    ``data`` holds texts that the question speaks of, each with what it is: sent as data, not as the user's words.
    ``folder`` is where the notebook lies. ``replay`` lets a stored answer to the same question stand for a new one, and
    ``fresh`` asks again all the same. ``earlier`` are the other questions that this session has asked, each with a hash
    of its answer: the answer may build on them. ``throttle`` is shared by the questions of a batch.
    """

    prompt: str
    model: str | None = None
    effort: str | None = None
    thread: str | None = None
    context: NotebookContext | None = None
    tools: ToolSet = field(default_factory=ToolSet)
    images: tuple[str, ...] = ()
    data: tuple[tuple[str, str], ...] = ()
    schema: Any = None
    approval: ApprovalPolicy = ApprovalPolicy.ASK
    folder: Path | None = None
    replay: bool = False
    fresh: bool = False
    throttle: Throttle | None = None
    earlier: tuple[tuple[str, str], ...] = ()
