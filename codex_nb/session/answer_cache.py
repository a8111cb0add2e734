"""The answer cache: an unchanged question gets its cached answer, without a request; code in it runs again."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import time
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from difflib import unified_diff
from functools import partial
from typing import TYPE_CHECKING, Any

from codex_nb.errors import InvalidArguments, ToolError
from codex_nb.files import TEMPORARY_NAME, Retention, own_files, remove_excess, replace_file
from codex_nb.labels import date_time
from codex_nb.parse import loads, picture_url
from codex_nb.responses.events import OutputItemDone, ResponseFinished, Usage
from codex_nb.session.events import (
    REPLAY_CALL,
    Answer,
    ApprovalResolved,
    Notice,
    ReasoningDone,
    TextDone,
    ToolCall,
    ToolCallReady,
    ToolFinished,
    TurnFinished,
)
from codex_nb.session.outbound import (
    answer_text,
    assistant_message,
    is_call,
    message_text,
    new_uuid,
    reasoning_text,
    user_message,
)
from codex_nb.tools.approval import ApprovalRequest, Effect
from codex_nb.tools.base import builtin_tools
from codex_nb.tools.builtin import run_python, run_result
from codex_nb.tools.cells import CHANGE_CELLS
from codex_nb.tools.describe import strip_ansi, without_ids
from codex_nb.tools.nbmodel import join_multiline, truncate

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from pydantic import TypeAdapter

    from codex_nb.auth.credentials import Credentials
    from codex_nb.responses.events import ResponseEvent
    from codex_nb.responses.request import Backend, ResponsesRequest
    from codex_nb.session.events import TurnEvent, TurnStarted
    from codex_nb.session.outbound import Item, TurnRedactor
    from codex_nb.session.prompt import TurnRequest
    from codex_nb.session.thread import Thread
    from codex_nb.tools.approval import Decision
    from codex_nb.tools.base import Document, Ports, Tool, ToolSet


KEPT = Retention(files=1_000, total_bytes=200_000_000, age_s=90 * 86_400)
LARGEST = 64_000_000
_VERSION = 4  # also part of every key: answers of older releases are not found
_CACHED_ITEMS = frozenset({"message", "reasoning"})
_ANSWERS = re.compile(r"[0-9a-f]{40}\.json")
_TORN = re.compile(TEMPORARY_NAME)
_APPROVED_CODE = re.compile(r"[0-9a-f]{64}")
_LARGEST_OUTPUTS = 10_000_000  # characters of the outputs of an answer, images included
_LONGEST_CHANGES = 4_000
_LINES_COMPARED = 400
_COMPARED_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_COMPARED_TEXTS = ("text/plain", "text/html", "text/markdown", "text/latex", "application/json")


@dataclass(frozen=True)
class CacheKey:
    """The identity of a question: a hash of all that its answer depends on, apart from the model's randomness.

    Only :func:`cache_key` makes one: from the content, the account, the provider, the model and the instructions.
    """

    value: str

    @property
    def digest(self) -> str:
        """What a thread that holds the answer notes of it."""
        return f"answered:{self.value[:16]}"


@dataclass(frozen=True)
class CachedAnswer:
    """An answer given before; ``at`` is Unix seconds, ``shown`` its value as Markdown.

    ``cells`` are the notebook's cells that it changed or ran: hashes of their sources by id, None for a deleted one.
    """

    answer: Answer
    at: float
    key: CacheKey
    shown: str | None = None
    cells: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def moment(self) -> str:
        """When it was given, to read."""
        return date_time(datetime.fromtimestamp(self.at, UTC))


class AnswerCache:
    """Answers by key, in a folder. Unreadable files count as absent.

    Beside them, in ``approved_code``, stands the code of answers that the user allowed to run again without asking, by
    its hash alone.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._approved_code = folder.parent / "approved_code"
        self._clock = clock

    def find(self, key: CacheKey) -> CachedAnswer | None:
        """Return the cached answer to a question."""
        return _read(self._path(key))

    @property
    def is_empty(self) -> bool:
        """Whether no question can be answered from here."""
        return next(self._folder.glob("*.json"), None) is None

    def update(
        self, key: CacheKey, answer: Answer, redact: Callable[[Any], Any] = lambda value: value
    ) -> None:
        """Cache a completed answer, its outputs redacted.

        One that cannot be given again removes what an earlier run cached, unless it is the poorer one because a call
        was declined.
        """
        if answer.status != "completed" or any(call.ran is None for call in answer.tool_calls):
            return
        states = [each for call in answer.tool_calls for each in call.cells]
        cells = {
            each.cell_id: None if each.source is None else _source_digest(each.source) for each in states
        }
        ran = [each for each in states if each.run]
        answer = _to_run_again(answer)
        # a cell that holds a secret could neither be saved nor, without it, run again
        if not is_cacheable(answer) or any(redact(each.source) != each.source for each in ran):
            with suppress(OSError):
                self._path(key).unlink(missing_ok=True)
            return
        calls = (replace(call, outputs=redacted(call.outputs, redact)) for call in answer.tool_calls)
        # The value is the user's object, which need not be one that can be copied.
        answer = replace(answer, parsed=None, tool_calls=tuple(calls))
        with suppress(Exception):  # the answer itself is complete, and must not be lost to its copy
            stored = {"version": _VERSION, "at": self._clock(), "answer": asdict(answer), "cells": cells}
            content = json.dumps(stored, ensure_ascii=False).encode("utf-8", "replace")
            _write(self._path(key), content, _ANSWERS)

    def approves(self, code: str | None) -> bool:
        """Whether the user allowed the code with this hash to run again without asking."""
        return code is not None and (self._approved_code / code).is_file()

    def approve(self, code: str | None) -> None:
        """Remember that the code with this hash may run again."""
        if code is None:
            return
        with suppress(OSError):  # the session's own memory holds the decision as well
            _write(self._approved_code / code, b"", _APPROVED_CODE)

    @property
    def approvals(self) -> int:
        """How many saved answers may run their code again without asking."""
        return len(own_files(self._approved_code, _APPROVED_CODE))

    def forget_approvals(self) -> None:
        """Ask again before any code of a saved answer runs; raises OSError."""
        for each in own_files(self._approved_code, _APPROVED_CODE):
            each.unlink(missing_ok=True)

    def forget(self, thread: str | None) -> int:
        """Delete the answers given in a thread, None for all; return how many there were. Raises OSError."""
        files = own_files(self._folder, _ANSWERS)
        if thread is not None:
            files = [path for path in files if (found := _read(path)) and found.answer.thread == thread]
        torn = own_files(self._folder, _TORN) if thread is None else ()
        for path in (*files, *torn):
            path.unlink(missing_ok=True)
        return len(files)

    def _path(self, key: CacheKey) -> Path:
        return self._folder / f"{key.value}.json"


def _write(path: Path, content: bytes, names: re.Pattern[str]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(path, content, flush=False)
    remove_excess(path.parent, names, KEPT)


def _read(path: Path) -> CachedAnswer | None:
    """Return the answer in a file; None for a file that is torn, too large, too deep or of another shape."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        if path.stat().st_size > LARGEST:
            return None
        stored = loads(path.read_bytes())
        if stored["version"] == _VERSION:
            answer, cells = _adapter().validate_python(stored["answer"]), dict(stored["cells"])
            return CachedAnswer(answer, float(stored["at"]), CacheKey(path.stem), cells=cells)
    return None


@functools.cache
def _adapter() -> TypeAdapter[Answer]:
    from pydantic import TypeAdapter

    return TypeAdapter(Answer)


def _to_run_again(answer: Answer) -> Answer:
    """Return an answer with the code of the cells that it ran as calls of run_python.

    What else it did to the notebook is in the notebook, and is not done again.
    """
    items: list[Item] = []
    calls: list[ToolCall] = []
    made = iter(answer.tool_calls)
    for item in answer.items:
        if not is_call(item):
            items.append(item)
            continue
        call = next(made)
        again = [(item, call)] if call.name not in CHANGE_CELLS else _code_of(call)
        while not again and items and items[-1].get("type") == "reasoning":
            items.pop()  # the API refuses one without the item that followed it
        items += [each for each, _ in again]
        calls += [each for _, each in again]
    return replace(answer, items=tuple(items), tool_calls=tuple(calls))


def _code_of(call: ToolCall) -> list[tuple[Item, ToolCall]]:
    """Return a call of run_python for each cell that a call ran, as the item and its entry in the answer."""
    again = []
    for number, state in enumerate(call.cells):
        if state.run is None:
            continue
        code, call_id = json.dumps({"code": state.source}), f"{call.call_id}_{number}"
        shown = run_result(state.run)
        item = {"type": "function_call", "name": run_python.name, "call_id": call_id, "arguments": code}
        outputs = tuple(map(dict, state.run.outputs))
        again.append((item, ToolCall(run_python.name, call_id, code, shown.text, code, shown.ok, outputs)))
    return again


def _source_digest(source: str) -> str:
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()


async def is_in_notebook(cached: CachedAnswer, document: Document | None) -> bool:
    """Whether the cells that an answer changed are as it left them; where none can be read, they count as that."""
    if not cached.cells or document is None:
        return True
    try:
        read = await document.read()
    except ToolError:
        return False
    now = {cell.cell_id: _source_digest(cell.source) for cell in read.cells}
    return all(now.get(cell_id) == digest for cell_id, digest in cached.cells.items())


def is_cacheable(answer: Answer) -> bool:
    """Whether a completed answer can be given again: it is text, and calls that can run again."""
    is_known = all(item.get("type") in _CACHED_ITEMS or is_call(item) for item in answer.items)
    size = sum(len(json.dumps(call.outputs, default=str)) for call in answer.tool_calls)
    # An answer that was corrected to fit a schema is not just the sum of its messages.
    is_whole = not answer.tool_calls or answer.text == answer_text(answer.items)
    return is_known and size <= _LARGEST_OUTPUTS and is_whole


def calls_to_run(answer: Answer, tools: ToolSet) -> list[tuple[Tool[Any], Any]] | None:
    """Return the tools and arguments of an answer's calls; None when one of them is not to be run again.

    Besides run_python, only tools that look at something are: what else was done to the notebook or the world is done.
    """
    calls = []
    for call in answer.tool_calls:
        tool = tools.get(call.name)
        if tool is None or call.ran is None or (tool.effect not in _LOOKING and tool is not run_python):
            return None
        try:
            calls.append((tool, tool.parse(call.ran)))
        except InvalidArguments:
            return None
    return calls


_LOOKING = frozenset({Effect.NONE, Effect.INSPECT, Effect.READ})


def code_digest(calls: Sequence[tuple[Tool[Any], Any]]) -> str | None:
    """Return the hash of all code that an answer runs; None where a call's name does not tell what runs."""
    if any(builtin_tools().get(tool.name) is not tool for tool, _ in calls):
        return None
    written = json.dumps([[tool.name, arguments.to_json()] for tool, arguments in calls], sort_keys=True)
    return hashlib.sha256(written.encode("utf-8", "surrogatepass")).hexdigest()


def replay_request(calls: Sequence[tuple[Tool[Any], Any]]) -> ApprovalRequest:
    """Return the request for the one approval of all calls of a saved answer, which shows all of their code."""
    parts = []
    for number, (tool, arguments) in enumerate(calls, 1):
        code = arguments.to_code()
        title = f"# {number} of {len(calls)}: {tool.title}\n" if len(calls) > 1 or code is None else ""
        parts.append(title + (f"# {json.dumps(arguments.to_json())}" if code is None else code))
    return ApprovalRequest(
        call_number=REPLAY_CALL,
        tool=run_python.name,
        code="\n\n".join(parts),
        language="python",
        summary="Runs the code of the saved answer again. If you always allow it, later sessions do not ask either.",
    )


class Replay:
    """A saved answer in the place of the model, as long as its calls show what they showed when it was saved.

    ``adds_nothing`` tells whether the thread holds all of it already; ``not_compared`` counts the outputs that have no
    form that can be compared.
    """

    def __init__(self, cached: CachedAnswer, *, is_known: bool, redact: TurnRedactor) -> None:
        self.is_same = True
        self.not_compared = 0
        self._answer = cached.answer
        self._is_known = is_known
        self._redact = redact
        self._steps = _steps_of(cached.answer)
        self._calls = deque(cached.answer.tool_calls)

    @property
    def adds_nothing(self) -> bool:
        """Whether the thread holds the answer as it was given again."""
        return self.is_same and self._is_known

    def has_next(self) -> bool:
        """Whether the saved answer has the next response; from the first time that it has not, the model has."""
        self.is_same = self.is_same and bool(self._steps)
        return self.is_same

    async def stream(self, request: ResponsesRequest) -> AsyncGenerator[ResponseEvent, None]:
        """Yield the next response of the saved answer, whatever was requested."""
        del request
        items = self._steps.popleft()
        for item in items:
            item_id = str(item.get("id", ""))
            yield OutputItemDone(type="response.output_item.done", item=item, item_id=item_id)
        yield ResponseFinished("", "completed", items=items, model=self._answer.model)

    def changes(self, call: ToolCall) -> str:
        """Compare a call with the saved one; return what it shows otherwise, empty while all is the same."""
        if not self.is_same:
            return ""
        before = self._calls.popleft()
        if call.name == run_python.name:
            (old, _), (new, unread) = (
                _compared(before.outputs),
                _compared(redacted(call.outputs, self._redact.redactor.within)),
            )
            self.not_compared += unread
            self.is_same = (before.ok, old) == (call.ok, new)
        else:
            self.is_same = before.output == call.output
        return "" if self.is_same else _difference(before.output or "", call.output or "")


def _steps_of(answer: Answer) -> deque[tuple[Item, ...]]:
    """Return the items of an answer as responses that each end with at most one call, whose id is a new one."""
    steps: deque[tuple[Item, ...]] = deque()
    step: list[Item] = []
    calls = iter(answer.tool_calls)
    for number, item in enumerate(answer.items):
        if is_call(item):
            step.append({**item, "call_id": f"call_{new_uuid()}", "arguments": next(calls).ran})
            steps.append(tuple(step))
            step = []
        else:
            step.append({**item, "id": item.get("id") or f"stored_{number}"})
    if step:
        steps.append(tuple(step))
    return steps


def redacted(
    outputs: Iterable[Mapping[str, Any]], redact: Callable[[Any], Any]
) -> tuple[dict[str, Any], ...]:
    """Return outputs without secrets; of images, the picture stays."""
    cleaned = []
    for output in outputs:
        data = output.get("data") or {}
        images = {kind: picture for kind in _COMPARED_IMAGES if (picture := _picture(kind, data.get(kind)))}
        clean = redact({**output, "data": {kind: data[kind] for kind in data if kind not in images}})
        cleaned.append({**clean, "data": {**clean["data"], **images}} if data else redact(dict(output)))
    return tuple(cleaned)


def _picture(kind: str, encoded: object) -> str:
    """Return an image of an output without what does not show; empty for what is no image."""
    text = "".join(encoded) if isinstance(encoded, list) else encoded
    url = picture_url(f"data:{kind};base64,{text}") if isinstance(text, str) else None
    return url.partition(",")[2] if url else ""


def _compared(outputs: Iterable[Mapping[str, Any]]) -> tuple[list[Any], int]:
    """Return what two runs are compared by, and the number of outputs that have no form for it."""
    shown: list[Any] = []
    unread = 0
    for output in outputs:
        data = output.get("data") or {}
        kinds = [kind for kind in (*_COMPARED_TEXTS, *_COMPARED_IMAGES) if kind in data]
        if output.get("output_type") == "stream":
            text = strip_ansi(join_multiline(output.get("text", ""), LARGEST))
            shown.append([output.get("name"), without_ids(text)])
        elif output.get("output_type") == "error":
            shown.append([output.get("ename"), without_ids(str(output.get("evalue")))])
        else:
            unread += not set(kinds) - {"text/plain"} and bool(set(data) - {"text/plain"})
            shown.append([[kind, _form(data[kind])] for kind in kinds])
    return shown, unread


def _form(value: Any) -> str:
    written = (
        join_multiline(value, LARGEST) if isinstance(value, str | list) else json.dumps(value, sort_keys=True)
    )
    return without_ids(written)


def _difference(before: str, now: str) -> str:
    old, new = (text.splitlines()[:_LINES_COMPARED] for text in (before, now))
    difference = "\n".join(unified_diff(old, new, "before", "now", lineterm="", n=1))
    return truncate(difference, _LONGEST_CHANGES) or "(its text is the same: a figure or table has changed)"


def cache_key(
    request: TurnRequest,
    template: ResponsesRequest,
    *,
    account: Credentials,
    provider: Backend,
    instructions: str,
) -> CacheKey:
    """Return the key of a question; ``template`` has the model, the offered tools and the requested text format.

    What differs between front ends for the same notebook is no part of it: the tools for the open document and for its
    folder, the numbers of cells, the notebook's name and that of its thread.
    """
    parts = {
        "version": _VERSION,
        "account": account.identity_key,
        "provider": [provider.provider_id, provider.base_url, dict(provider.query), dict(provider.headers)],
        "model": [
            request.model,
            template.model,
            template.effort,
            template.summary,
            template.verbosity,
            template.service_tier,
        ],
        "earlier": request.earlier,
        "instructions": instructions,
        "context": request.context.fingerprint if request.context else None,
        "images": [hashlib.sha256(image.encode()).hexdigest() for image in request.images],
        "data": request.data,
        "tools": list(template.tools),
        "schema": template.text_format,
        "prompt": request.prompt,
    }
    written = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return CacheKey(hashlib.sha256(written.encode("utf-8", "replace")).hexdigest()[:40])


FREE = "no request was made. Use --fresh to ask again."
RUNS_AGAIN = "Saved answer from {moment}. Its code runs again."
SAME = f"It shows the same as then, so {FREE}"
NOT_COMPARED = "{count} of its outputs could not be compared."
NOT_RUN_AGAIN = (
    "Its code was not run again, so what it defines is not there; its outputs are those of then. "
    "To run it, run the cell interactively or with --approval all."
)


async def cached_events(
    cached: CachedAnswer,
    started: TurnStarted,
    thread: Thread,
    *,
    prompt: str,
    account: str,
    ports: Ports,
    refusal: Decision | None = None,
) -> AsyncGenerator[TurnEvent, None]:
    """Yield the events of a turn that shows a cached answer, and add it to a thread that does not hold it.

    ``account`` is the digest of the account in use. ``refusal`` is why its calls do not run again; their outputs of
    then are shown.
    """
    answer, digest = cached.answer, cached.key.digest
    if digest not in thread.sent_digests:
        exchange = thread.begin([user_message(prompt)], [digest, account], started.model)
        exchange.add([assistant_message(answer.text)])
        exchange.commit()
    yield started
    yield Notice("cached", f"Saved answer from {cached.moment}; {FREE}")
    if refusal is not None:
        yield Notice("hint", NOT_RUN_AGAIN)
    calls = enumerate(answer.tool_calls, 1)
    for number, item in enumerate(answer.items):
        if is_call(item) and refusal is not None:
            call_number, call = next(calls)
            yield ToolCallReady(call_number, call.name, call.ran or call.arguments, call.call_id)
            yield ApprovalResolved(call_number, refusal)
            if (kernel := ports.kernel) is not None and call.outputs:
                await ports.main_thread.call(partial(kernel.show, call.outputs))
            yield ToolFinished(call_number, "" if call.outputs else call.output or "", call.ok)
        elif summary := reasoning_text(item):
            yield ReasoningDone(f"stored_{number}", summary)
        elif text := message_text(item):
            yield TextDone(f"stored_{number}", text)
    yield TurnFinished(replace(answer, thread=thread.name, usage=Usage()), shown=cached.shown)
