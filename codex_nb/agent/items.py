"""The notifications of a turn in ``codex app-server``, as turn events: the same ones that the direct engine gives."""

from __future__ import annotations

import base64
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from codex_nb.agent.approvals import PATCH, SHELL, diff_of
from codex_nb.errors import (
    AgentFailed,
    ApiError,
    BackendOverloaded,
    BadRequest,
    CodexError,
    ContextWindowExceeded,
    ModelUnavailable,
    RateLimited,
    RefreshFailed,
    StreamInterrupted,
    UsageLimitReached,
)
from codex_nb.parse import (
    JsonObject,
    image_type,
    loads,
    parse_integer,
    parse_number,
    parse_object,
    parse_objects,
    parse_text,
    parse_time,
)
from codex_nb.rendering.sanitize import visible_line
from codex_nb.responses.errors import ErrorPayload
from codex_nb.responses.events import RateLimits, Usage, Window
from codex_nb.session.events import (
    Notice,
    ReasoningDelta,
    ReasoningDone,
    RetryScheduled,
    TextDelta,
    TextDone,
    ToolCall,
    ToolCallReady,
    ToolFinished,
    ToolOutputDelta,
    ToolStarted,
)
from codex_nb.session.outbound import search_text
from codex_nb.tools.builtin import PLAN_UPDATED, UPDATE_PLAN
from codex_nb.tools.describe import strip_ansi
from codex_nb.tools.nbmodel import truncate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from codex_nb.session.events import TurnEvent

OUTPUT_LIMIT = 20_000  # characters of what one call shows
MOST_CHARACTERS = 24_000_000  # of all texts of a turn
LONGEST_REASON = 500
_QUIET = frozenset(
    {"userMessage", "functionCallOutput", "hookPrompt", "sleep", "enteredReviewMode", "exitedReviewMode"}
)
_APPROVED_FIRST = frozenset({"commandExecution", "fileChange", "dynamicToolCall"})
_STEP_STATES = {"inProgress": "in_progress"}
_SEARCH_ACTIONS = {"openPage": "open_page", "findInPage": "find_in_page"}


class AgentItems:
    """Turns notifications into turn events; ``numbers`` gives each call of the turn its own number.

    ``totals`` are the tokens that each thread of the CLI has used, as the CLI last told them; they are kept here.
    ``calls`` are the records of the model's calls, ``open`` the numbers and items of those that have begun, by the
    item's id; ``refusals`` is what is said of those that were declined. ``usage`` adds up the requests. ``has_acted``
    tells whether anything but text has begun; ``status`` is set at the turn's end.
    """

    def __init__(
        self,
        numbers: Iterator[int],
        on_limits: Callable[[RateLimits], Notice | None],
        totals: dict[str, object],
    ) -> None:
        self.calls: list[ToolCall] = []
        self.open: dict[str, tuple[int, JsonObject]] = {}
        self.refusals: dict[str, str] = {}
        self.usage = Usage()
        self.status = ""
        self.error: CodexError | None = None
        self.model = ""
        self.has_acted = False
        self._numbers = numbers
        self._on_limits = on_limits
        self._totals = totals
        self._text: dict[str, list[str]] = {}
        self._items: list[JsonObject] = []
        self._told = set[str]()
        self._characters = 0

    @property
    def partial_text(self) -> str:
        """The text of unfinished messages."""
        return "\n\n".join("".join(pieces) for pieces in self._text.values())

    def take_items(self) -> list[JsonObject]:
        """Return, once, the messages and the reasoning that are complete, as items of the Responses API."""
        items, self._items = self._items, []
        return items

    def begin_again(self) -> None:
        """Forget what had not ended when the process did."""
        self.open.clear()
        self._text.clear()

    def number_of(self, item_id: str) -> int:
        """Return the number of an item's call, a new one for an item that has not been heard of."""
        return self.open[item_id][0] if item_id in self.open else next(self._numbers)

    def read(self, method: str, params: JsonObject) -> list[TurnEvent]:
        """Return the events of a notification; none for one that shows nothing."""
        item_id, delta = str(params.get("itemId", "")), parse_text(params.get("delta"))
        self._ensure_bounded(len(delta))
        match method:
            case "item/agentMessage/delta" | "item/plan/delta":
                self._text.setdefault(item_id, []).append(delta)
                return [TextDelta(item_id, delta)]
            case "item/reasoning/summaryTextDelta":
                return [ReasoningDelta(item_id, parse_integer(params.get("summaryIndex")) or 0, delta)]
            case "item/reasoning/textDelta":
                return [ReasoningDelta(item_id, parse_integer(params.get("contentIndex")) or 0, delta)]
            case "item/commandExecution/outputDelta":
                return self._grow(item_id, strip_ansi(delta))
            case "item/mcpToolCall/progress":
                return self._grow(item_id, f"{params.get('message', '')}\n")
            case "item/started":
                return self._started(parse_object(params.get("item")))
            case "item/completed" if item := parse_object(params.get("item")):
                return self._completed(item)
            case "turn/completed":
                return self._ended(parse_object(params.get("turn")))
            case _:
                return self._aside(method, params)

    def _ensure_bounded(self, characters: int) -> None:
        self._characters += characters
        if self._characters > MOST_CHARACTERS:
            raise AgentFailed(
                "The Codex CLI sends more than any answer has, so the turn was stopped.",
                hint="Ask again, for less at once.",
            )

    def _count(self, thread: str, usage: JsonObject) -> None:
        """Add what the last response has used.

        The CLI tells it again when a request is refused. A total that has not grown shows that, and so does a turn that
        has got nothing yet, where the total is that of an earlier process.
        """
        total = usage.get("total")
        before = self._totals.get(thread, total if not self._has_begun else None)
        self._totals[thread] = total
        if total is None or total != before:
            self.usage += _usage(usage)

    @property
    def _has_begun(self) -> bool:
        return bool(self.has_acted or self._items or self._text)

    def _aside(self, method: str, params: JsonObject) -> list[TurnEvent]:
        """Return the events of what is told beside the items."""
        match method:
            case "turn/plan/updated":
                return self._plan(params)
            case "thread/tokenUsage/updated":
                self._count(str(params.get("threadId")), parse_object(params.get("tokenUsage")))
            case "account/rateLimits/updated":
                notice = self._on_limits(read_limits(params.get("rateLimits")))
                return [notice] if notice else []
            case "model/rerouted":
                self.model = str(params.get("toModel", ""))
                return [Notice("model", f"{self.model} answered instead of {params.get('fromModel')}.")]
            case "error":
                return self._failed(params)
            case "warning" | "configWarning" | "deprecationNotice":
                text = params.get("message") or params.get("summary")
                return self._once(f"The Codex CLI says: {text}") if text else []
            case _:
                pass
        return []

    def _once(self, text: str) -> list[TurnEvent]:
        if text in self._told:
            return []
        self._told.add(text)
        return [Notice("hint", visible_line(text[:LONGEST_REASON]))]

    def _grow(self, item_id: str, text: str) -> list[TurnEvent]:
        return [ToolOutputDelta(self.open[item_id][0], text)] if item_id in self.open and text else []

    def _started(self, item: JsonObject) -> list[TurnEvent]:
        item_id, kind = str(item.get("id", "")), item.get("type")
        name = _call_name(item)
        if kind == "agentMessage" or name is None or item_id in self.open:
            return []
        self.has_acted = True
        number = next(self._numbers)
        self.open[item_id] = (number, item)
        events: list[TurnEvent] = [ToolCallReady(number, name, _arguments(item), item_id)]
        if kind not in _APPROVED_FIRST:
            events.append(ToolStarted(number))
        return events

    def _completed(self, item: JsonObject) -> list[TurnEvent]:
        item_id, kind = str(item.get("id", "")), str(item.get("type", ""))
        match kind:
            case "agentMessage" | "plan":
                return [self._said(item_id, item)]
            case "reasoning":
                parts = item.get("summary") or item.get("content")
                text = "\n\n".join(map(str, parts)).strip() if isinstance(parts, list) else ""
                if not text:
                    return []
                summary = [{"type": "summary_text", "text": text}]
                self._items.append({"type": "reasoning", "id": item_id, "summary": summary})
                return [ReasoningDone(item_id, text)]
            case "webSearch":
                return self._searched(item_id, item)
            case "contextCompaction":
                return [Notice("compacted", "Codex compacted the thread.")]
            case "dynamicToolCall":
                self.open.pop(item_id, None)  # its own execution has told its end
                return []
        name = _call_name(item)
        if name is None:
            unknown = f"Codex did something that codex_nb cannot show: {kind}"
            return [] if kind in _QUIET else self._once(unknown)
        events = self._started(item)
        number, begun = self.open.pop(item_id)
        output, ok = _outcome(item)
        output = self.refusals.pop(item_id, output)
        shown = truncate(output, OUTPUT_LIMIT)
        self.calls.append(ToolCall(name, item_id, _arguments(begun), shown, _arguments(item), ok))
        return [*events, ToolFinished(number, shown, ok)]

    def _said(self, item_id: str, item: JsonObject) -> TextDone:
        self._text.pop(item_id, None)
        text = str(item.get("text", ""))
        self._ensure_bounded(len(text))
        message = {
            "type": "message",
            "id": item_id,
            "role": "assistant",
            "content": [{"type": "output_text", "text": text}],
        }
        self._items.append(message | ({"phase": item["phase"]} if item.get("phase") else {}))
        return TextDone(item_id, text)

    def _searched(self, item_id: str, item: JsonObject) -> list[TurnEvent]:
        found: JsonObject = {"type": "web_search_call", "id": item_id, "status": "completed"}
        if action := parse_object(item.get("action")):
            kind = action.get("type")
            found["action"] = action | {"type": _SEARCH_ACTIONS.get(str(kind), kind)}
        self._items.append(found)
        return [Notice("search", search_text(found) or "Searched the web")]

    def _plan(self, params: JsonObject) -> list[TurnEvent]:
        steps = params.get("plan")
        if not isinstance(steps, list):
            return []
        plan = [
            {
                "step": str(each.get("step", "")),
                "status": _STEP_STATES.get(str(each.get("status")), each.get("status")),
            }
            for each in steps
            if isinstance(each, dict)
        ]
        arguments = json.dumps({"plan": plan, "explanation": params.get("explanation") or ""})
        number = next(self._numbers)
        return [ToolCallReady(number, UPDATE_PLAN, arguments), ToolFinished(number, PLAN_UPDATED, ok=True)]

    def _failed(self, params: JsonObject) -> list[TurnEvent]:
        error = error_of(params.get("error"))
        if params.get("willRetry"):
            self._text.clear()
            return [_retry(error, params.get("error"))]
        self.error = error
        return []

    def _ended(self, turn: JsonObject) -> list[TurnEvent]:
        self.status = str(turn.get("status") or "failed")
        if turn.get("error"):
            self.error = error_of(turn["error"])
        return []


_CALL_NAMES = {
    "commandExecution": SHELL,
    "fileChange": PATCH,
    "imageView": "view_image",
    "imageGeneration": "image_generation",
}


def _call_name(item: JsonObject) -> str | None:
    """Return the name of the tool that an item is a call of; None for an item that is no call."""
    tool = item.get("tool", "")
    match item.get("type"):
        case "mcpToolCall":
            return f"mcp__{item.get('server')}__{tool}"
        case "collabAgentToolCall":
            return f"agent_{tool}"
        case "dynamicToolCall":
            return str(tool)
        case kind:
            return _CALL_NAMES.get(str(kind))


_SHOWN = {
    "commandExecution": ("command", "cwd"),
    "imageView": ("path",),
    "imageGeneration": ("revisedPrompt",),
    "collabAgentToolCall": ("prompt", "model"),
}


def _arguments(item: JsonObject) -> str:
    """Return what a call was made with, as JSON text."""
    kind = str(item.get("type"))
    if kind in {"mcpToolCall", "dynamicToolCall"}:
        return json.dumps(item.get("arguments") or {}, ensure_ascii=False)
    if kind == "fileChange":
        return json.dumps({"diff": diff_of(item)}, ensure_ascii=False)
    given = {key: item[key] for key in _SHOWN.get(kind, ()) if item.get(key)}
    return json.dumps(given, ensure_ascii=False)


def _outcome(item: JsonObject) -> tuple[str, bool]:
    """Return what a call that has ended gave, and whether it went well."""
    status = str(item.get("status") or "completed")
    ok = status == "completed"
    match item.get("type"):
        case "commandExecution":
            output, code = strip_ansi(str(item.get("aggregatedOutput") or "")), item.get("exitCode")
            note = f"[exit code {code}]" if code else "" if ok else f"[{status}]"
            return "\n".join(filter(None, (output.rstrip("\n"), note))) or "(no output)", ok and not code
        case "fileChange":
            paths = ", ".join(str(change.get("path")) for change in parse_objects(item.get("changes")))
            return f"{'Changed' if ok else status.capitalize()}: {paths}", ok
        case "mcpToolCall":
            error, result = item.get("error"), item.get("result")
            if isinstance(error, dict):
                return str(error.get("message") or status), False
            return _mcp_text(parse_object(result)), ok
        case "imageGeneration":
            saved = item.get("savedPath")
            where = [f"Saved as {Path(saved).resolve()}"] if isinstance(saved, str) and ok else []
            said = [str(item[key]) for key in ("revisedPrompt", "failure") if item.get(key)]
            return "\n".join([*said, *where] if ok else [*said, status]), ok
        case _:
            return status, ok


def image_of(item: JsonObject) -> dict[str, str] | None:
    """Return an image that was made, as the data of an output; None for all other items, and what is no image."""
    result = item.get("result")
    if item.get("type") != "imageGeneration" or not isinstance(result, str):
        return None
    try:
        media_type = image_type(base64.b64decode(result, validate=True))
    except ValueError:
        return None
    return {media_type: result, "text/plain": "[image]"} if media_type else None


def _mcp_text(result: JsonObject) -> str:
    parts = parse_objects(result.get("content"))
    texts = [str(part["text"]) if "text" in part else f"[{part.get('type')}]" for part in parts]
    if not texts and result.get("structuredContent") is not None:
        texts = [json.dumps(result["structuredContent"], ensure_ascii=False)]
    return "\n".join(texts) or "(no output)"


_COUNTS = ("inputTokens", "cachedInputTokens", "outputTokens", "reasoningOutputTokens", "totalTokens")


def _usage(usage: JsonObject) -> Usage:
    counts = parse_object(usage.get("last"))
    return Usage(*(max(0, parse_integer(counts.get(key)) or 0) for key in _COUNTS))


def read_limits(limits: object) -> RateLimits:
    """Read the rate limits as the app-server gives them."""
    table = parse_object(limits)
    name = str(table.get("limitName") or table.get("limitId") or "codex")
    windows = [
        Window(
            parse_number(window.get("usedPercent")),
            parse_integer(window.get("windowDurationMins")),
            parse_time(window.get("resetsAt")),
            name,
        )
        for part in ("primary", "secondary")
        if isinstance(window := table.get(part), dict)
    ]
    return RateLimits(windows=tuple(windows), plan=parse_text(table.get("planType")) or None)


_BUSY = ("serverOverloaded", "internalServerError", "flexUnavailable", "policyCapacityUnavailable")
_REFUSED = ("badRequest", "cyberPolicy", "bioPolicy", "misalignmentPolicyViolation", "inferenceHookDenied")
_BROKEN_OFF = (
    "responseStreamDisconnected",
    "responseStreamConnectionFailed",
    "httpConnectionFailed",
    "responseTooManyFailedAttempts",
)
_ERRORS: dict[str, type[CodexError]] = {
    "usageLimitExceeded": UsageLimitReached,
    "rateLimitExceeded": RateLimited,
    "contextWindowExceeded": ContextWindowExceeded,
    "modelNotFound": ModelUnavailable,
    **dict.fromkeys(_BUSY, BackendOverloaded),
    **dict.fromkeys(_REFUSED, BadRequest),
    **dict.fromkeys(_BROKEN_OFF, StreamInterrupted),
}


_CLIENT_ERROR, _TOO_MANY, _SERVER_ERROR = 400, 429, 500
_CHECK_ACCESS = "Check the account's permissions, the proxy and base_url in config.toml."
_DISCONNECTED = "stream disconnected"  # the CLI gives this reason no kind once it has stopped trying
_ATTEMPT = re.compile(r"\b(\d{1,4})/(\d{1,4})\Z")


def _retry(error: CodexError, told: object) -> RetryScheduled:
    """Return the attempt that the CLI makes next; what went wrong stands beside "Reconnecting... 1/5"."""
    attempt = _ATTEMPT.search(str(error).rstrip("."))
    first, last = (int(attempt[1]), int(attempt[2])) if attempt else (1, 1)
    details = parse_object(told).get("additionalDetails")
    reason = f"{visible_line(str(details)[:LONGEST_REASON]).rstrip('.')}." if details else str(error)
    return RetryScheduled(first, last, 0.0, reason)


def error_of(error: object) -> CodexError:
    """Return the error of a turn by its kind; the class says what to do next."""
    table = parse_object(error)
    kind, status = _kind_of(table.get("codexErrorInfo"))
    said = str(table.get("message") or "The turn failed and no reason was given")
    if said.startswith("{"):  # a refusal of the service, as it came
        with suppress(ValueError):
            payload = ErrorPayload.parse(loads(said))
            said = payload.text or said
            kind = "badRequest" if "invalid_request_error" in payload.names else kind
    text = f"{visible_line(said[:LONGEST_REASON]).rstrip('.')}."
    if kind == "unauthorized":
        return RefreshFailed(text, permanent=True, reason="rejected")
    if status == _TOO_MANY:
        return RateLimited(text)
    if status >= _SERVER_ERROR:
        return BackendOverloaded(text)
    if status >= _CLIENT_ERROR:
        return ApiError(text, status=status, hint=_CHECK_ACCESS)
    if kind == "other" and said.startswith(_DISCONNECTED):
        return StreamInterrupted(text)
    return _ERRORS.get(kind, AgentFailed)(text)


def _kind_of(info: object) -> tuple[str, int]:
    """Return the kind of an error and the service's status, 0 where none is told."""
    if not isinstance(info, dict):
        return str(info), 0
    kind = next(iter(info), "")
    return kind, parse_integer(parse_object(info.get(kind)).get("httpStatusCode")) or 0
