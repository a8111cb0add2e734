"""Questions that a tool asks the user while it runs, such as the forms of an MCP server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pydantic import Field

from codex_nb.errors import InvalidArguments
from codex_nb.labels import AGENT_TOOLS
from codex_nb.rendering.sanitize import sanitize_server_text
from codex_nb.session.events import ApprovalRequested, ApprovalResolved, ToolFinished, ToolStarted
from codex_nb.tools.approval import DecisionKind, Effect
from codex_nb.tools.base import Arguments, CallDisplay, Tool, ToolResult
from codex_nb.tools.secrets import is_secret_name

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Iterator, Mapping

    from codex_nb.session.events import TurnEvent
    from codex_nb.tools.approval import Approved, Approver
    from codex_nb.tools.base import JsonObject, Ports

QUESTIONS = "questions"
ANSWERED, DECLINED = "Answered.", "Declined."
MOST_FIELDS = 30
MOST_QUESTIONS = 10  # of one call
MOST_WORDS = 5  # of a name; more are a sentence


class Form(Arguments):
    """Questions to the user; ``answers`` maps each to its answer, which the user fills in."""

    answers: dict[str, Any] = Field(default_factory=dict)
    questions: str = Field("", exclude=True)
    choices: dict[str, list[Any]] = Field(default_factory=dict, exclude=True)

    @property
    def view(self) -> CallDisplay:
        """The answers are the user's."""
        choices = tuple((name, tuple(each)) for name, each in self.choices.items())
        return CallDisplay(self.questions, is_question=True, choices=choices)


async def _answered_elsewhere(approved: Approved[Form], ports: Ports) -> ToolResult:
    """Stand for whoever has asked, and takes the answers."""
    del approved, ports
    return ToolResult("")


form_tool = Tool(QUESTIONS, "", Form, Effect.EXECUTE, _answered_elsewhere, AGENT_TOOLS[QUESTIONS], "")


def read_form(server: str, params: Mapping[str, Any]) -> Form | None:
    """Return what an MCP server asks (``elicitation/create``), with each field's default or first choice.

    None for what is no form, and for one that wants a secret, because the answer is shown and saved. A page is never
    opened: its address is shown.
    """
    message = f"The MCP server {sanitize_server_text(server)} asks: {_text(params.get('message'))}"
    if params.get("mode") == "url":
        return Form(questions=f"{message} Open this page, then accept: {_text(params.get('url'))}")
    schema = params.get("requestedSchema")
    fields = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(fields, dict) or len(fields) > MOST_FIELDS:
        return None
    if any(_is_secret(name, field, params.get("message")) for name, field in fields.items()):
        return None
    told = [_told(name, field) for name, field in fields.items() if isinstance(field, dict)]
    answers = {name: _default(field) for name, field in fields.items()}
    choices = {name: found for name, field in fields.items() if (found := _choices(field))}
    return Form(questions=" ".join([message, *filter(None, told)]), answers=answers, choices=choices)


def _text(value: object) -> str:
    return sanitize_server_text(value) if isinstance(value, str) else ""


def _is_secret(name: str, field: object, message: object) -> bool:
    """Whether a field wants a secret: by its name, what it is called, or what is asked, if it is for free text."""
    if is_secret_name(name):
        return True
    if not isinstance(field, dict) or _choices(field):
        return False
    said = [
        field.get("title"),
        field.get("description"),
        *([message] if field.get("type") == "string" else []),
    ]
    is_named = any(is_secret_name(_name_in(each)) for each in said)
    return is_named or field.get("format") == "password" or field.get("writeOnly") is True


def _name_in(text: object) -> str:
    """Return a text of a few words, which may be a name ("Your API key:"), without what ends it."""
    words = text.split(maxsplit=MOST_WORDS) if isinstance(text, str) else []
    return "" if len(words) > MOST_WORDS else " ".join(words).rstrip(".:?! ")


def _choices(field: object) -> list[Any]:
    """Return what an answer is chosen from; that of a list, what its entries are."""
    if not isinstance(field, dict):
        return []
    if field.get("type") == "array":
        return _choices(field.get("items"))
    choices = field.get("enum")
    if isinstance(choices, list):
        return choices
    titled = field.get("oneOf") or field.get("anyOf")
    return [each["const"] for each in titled if "const" in each] if isinstance(titled, list) else []


def _told(name: str, field: Mapping[str, Any]) -> str:
    listed = " / ".join(_text(each) for each in _choices(field))
    said = _text(field.get("description"))
    about = "; ".join(filter(None, (said, listed)))
    return f"({_text(name)}: {about})" if about else ""


def _default(field: object) -> Any:
    kinds: dict[str, Any] = {"boolean": False, "integer": 0, "number": 0, "array": []}
    if not isinstance(field, dict):
        return ""
    kind, choices = str(field.get("type")), _choices(field)
    first = choices[0] if choices and kind != "array" else kinds.get(kind, "")
    return field.get("default", first)


class UserQuestions:
    """What one running call asks the user. ``stopped`` tells whether the user ended the turn instead."""

    def __init__(self, approver: Approver, numbers: Iterator[int]) -> None:
        self.stopped = False
        self._approver = approver
        self._numbers = numbers
        self._events: asyncio.Queue[TurnEvent | None] = asyncio.Queue()
        self._waiting: set[asyncio.Future[Any]] = set()
        self._over = asyncio.Event()
        self._left = MOST_QUESTIONS

    async def ask(self, form: Arguments) -> JsonObject | None:
        """Return the user's answers; None when they are not given."""
        if self._over.is_set() or not self._left or not isinstance(form, Form):
            return None
        self._left -= 1
        request = form_tool.request(next(self._numbers), form)
        # The request is registered before anyone can see it, so that no click comes too early.
        waiting = asyncio.ensure_future(self._approver.decide(request))
        self._waiting.add(waiting)
        self._events.put_nowait(ApprovalRequested(request))
        try:
            decision = await waiting
        except asyncio.CancelledError:
            if not self._over.is_set():
                raise
            return None
        finally:
            self._waiting.discard(waiting)
        self._events.put_nowait(ApprovalResolved(request.call_number, decision))
        answers: JsonObject | None = None
        if decision.approved:
            self._events.put_nowait(ToolStarted(request.call_number))
            try:
                answers = form_tool.approve(form, request, decision).arguments.answers
            except InvalidArguments:
                answers = None
        self.stopped = self.stopped or decision.kind is DecisionKind.STOP
        said = DECLINED if answers is None else ANSWERED
        self._events.put_nowait(
            ToolFinished(request.call_number, decision.message or said, answers is not None)
        )
        return answers

    async def events(self, running: Coroutine[Any, Any, TurnEvent]) -> AsyncGenerator[TurnEvent, None]:
        """Yield what is asked while a call runs, and at last what the call returns."""
        task = asyncio.ensure_future(running)
        task.add_done_callback(lambda _: self._events.put_nowait(None))
        try:
            while (event := await self._events.get()) is not None:
                yield event
            yield task.result()
        finally:
            self._over.set()
            for each in (task, *self._waiting):
                each.cancel()
            await asyncio.wait([task])
