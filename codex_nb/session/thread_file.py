"""The file of a thread: JSON lines that only their owner may read, shared by all kernels that use the thread's name.

A header, then a line for each exchange, or for what a compaction made of the exchanges before::

    {"name": "Sales-1a2b3c", "thread_id": "…", "version": 1, "question": "the beginning of the first question"}
    {"id": "…", "model": "…", "items": […], "facts": […]}

Changes are made under a lock. Who rewrites the file reads it first, and keeps the lines that others have added since.
Lines that are torn, nested too deeply or of another shape are skipped.

What a thread's items say, its questions, answers and the code that ran, is read from them here as well.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from codex_nb.errors import ToolError
from codex_nb.files import (
    TEMPORARY_NAME,
    Retention,
    append_line,
    locked,
    own_files,
    remove_excess,
    replace_file,
)
from codex_nb.parse import loads, loads_object, parse_text
from codex_nb.rendering.answer_output import (
    AnswerOutput,
    NoticeOutput,
    OutputPart,
    TextOutput,
    ToolOutput,
    to_markdown,
)
from codex_nb.rendering.markdown import code_span
from codex_nb.rendering.sanitize import VisibleText, visible_line, visible_text
from codex_nb.session.outbound import (
    answer_text,
    call_arguments,
    is_call,
    is_from_user,
    item_text,
    message_text,
    new_uuid,
)
from codex_nb.tools.approval import Effect
from codex_nb.tools.base import builtin_tools

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from codex_nb.session.outbound import Item


KEPT = Retention(files=500, total_bytes=500_000_000, age_s=365 * 86_400)
LARGEST = 500_000_000
_LONGEST_HEADER = 64_000
_UNSAFE = re.compile(r"[^\w.-]+")
_OWN_NAMES = re.compile(rf".*-[0-9a-f]{{10}}\.(jsonl|unreadable)|{TEMPORARY_NAME}")
_ANSWERED = b'"role":"assistant"'  # in a text, its quotes would be escaped
_MODEL = re.compile(rb'\{"id":"[^"\\]*","model":("(?:[^"\\]|\\.){1,200}")')


@dataclass(frozen=True)
class ThreadInfo:
    """A saved thread: its name, when it was last used (Unix seconds), its number of answers, its size in bytes.

    ``question`` is the beginning of the first question, ``model`` the last one that answered; empty if unknown.
    """

    name: str
    used_at: float
    turns: int
    size: int
    question: str = ""
    model: str = ""


@dataclass(frozen=True)
class SavedThread:
    """What a thread's file holds, or what is added to it; each line has its model, and the last one counts."""

    thread_id: str
    items: Sequence[Item]
    sent_digests: Collection[str]
    question: str = ""
    model: str = ""


class ThreadFile:
    """The file of one thread, as one kernel sees it: it knows which lines it has read or written."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = _path(folder, name)
        self._name = name.encode("utf-8", "replace").decode()  # as it is written
        self._known: set[str] = set()
        self._unsaved: list[bytes] = []
        self._is_saved = False
        self._problem: str | None = None

    def read(self) -> SavedThread | None:
        """Return what is saved, None where there is nothing; a file that is no thread is moved aside."""
        with suppress(OSError):
            if not self._path.is_file():
                return None
            if (saved := self._parsed()) is None:
                with _locked(self._path.parent):  # another kernel may be about to write it
                    if (saved := self._parsed()) is None:
                        self._path.replace(self._path.with_suffix(".unreadable"))
            return saved
        return None

    def _parsed(self) -> SavedThread | None:
        lines = dict(_lines(self._path))
        first = next(iter(lines.values()), {})
        thread_id = _str(first, "thread_id")
        if first.get("name") != self._name or not thread_id:
            return None
        self._known, self._is_saved = set(lines), True
        items = [item for line in lines.values() for item in filter(_is_item, _list(line, "items"))]
        facts = [fact for line in lines.values() for fact in _list(line, "facts") if isinstance(fact, str)]
        model = next((each for line in reversed(lines.values()) if (each := _str(line, "model"))), "")
        return SavedThread(thread_id, items, facts, _str(first, "question"), model)

    def append(self, added: SavedThread) -> None:
        """Add one exchange, with those that could not be saved before."""
        line_id = new_uuid()
        self._unsaved.append(_line(line_id, added))
        self._known.add(line_id)
        with self._noting_problems(), _locked(self._path.parent):
            is_new = not self._path.exists()
            append_line(self._path, b"".join(self._unsaved), header=self._header(added))
            self._unsaved.clear()
            self._is_saved = True
            if is_new:
                remove_excess(self._path.parent, _OWN_NAMES, KEPT)

    def rewrite(self, saved: SavedThread) -> None:
        """Replace all that this kernel has read and written, in one step; what others wrote stays.

        A thread that another kernel has deleted is not written again.
        """
        with self._noting_problems(), _locked(self._path.parent):
            if self._is_saved and not self._path.exists():
                return
            others = [
                _dumped(entry)
                for key, entry in _lines(self._path)
                if key not in self._known and "name" not in entry
            ]
            line_id = new_uuid()
            content = [self._header(saved), _line(line_id, saved), *others]
            replace_file(self._path, b"".join(content))
            self._known, self._is_saved = {line_id}, True
            self._unsaved.clear()

    @property
    def has_unsaved(self) -> bool:
        """Whether something could not be saved yet."""
        return bool(self._unsaved)

    def take_problem(self) -> str | None:
        """Return, once, why the last change could not be saved."""
        problem, self._problem = self._problem, None
        return problem

    def _header(self, saved: SavedThread) -> bytes:
        header = {"name": self._name, "thread_id": saved.thread_id, "version": 1}
        return _dumped({**header, "question": saved.question})

    @contextmanager
    def _noting_problems(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 -- the turn is complete, and must not be lost to its copy
            folder, reason = self._path.parent, getattr(error, "strerror", None) or type(error).__name__
            self._problem = (
                f"This thread is kept in memory only: {folder} cannot be written to ({reason}). "
                "Make that folder writable to save the thread."
            )


def saved_questions(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the names of the saved threads with their first questions; reads no more than the header of each file."""
    for path in folder.glob("*.jsonl"):
        with suppress(OSError), path.open("rb") as file:
            if name := _name_in(header := loads_object(file.readline(_LONGEST_HEADER)), path):
                yield name, _str(header, "question")


def saved_threads(folder: Path) -> Iterator[ThreadInfo]:
    """Yield the saved threads; no more of them is parsed than the header."""
    for path in folder.glob("*.jsonl"):
        with suppress(OSError), path.open("rb") as file:
            if name := _name_in(header := loads_object(file.readline(_LONGEST_HEADER)), path):
                model, turns = "", 0
                for line in file:
                    turns += line.count(_ANSWERED)
                    model = _model_in(line) or model
                status, question = path.stat(), _str(header, "question")
                yield ThreadInfo(name, status.st_mtime, turns, status.st_size, question, model)


def _model_in(line: bytes) -> str:
    with suppress(ValueError):
        return str(loads(found[1])) if (found := _MODEL.match(line)) else ""
    return ""


def delete_threads(folder: Path, name: str | None) -> None:
    """Delete a thread's file with what was moved aside of it, None for those of all threads. Raises OSError."""
    if folder.is_dir():
        with _locked(folder):
            own = (path := _path(folder, name), path.with_suffix(".unreadable")) if name is not None else None
            for file in own or own_files(folder, _OWN_NAMES):
                file.unlink(missing_ok=True)


def _locked(folder: Path) -> AbstractContextManager[None]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return locked(folder.with_name(f"{folder.name}.lock"))  # outside, so that it outlives the folder's files


def _path(folder: Path, name: str) -> Path:
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:10]
    return folder / f"{_UNSAFE.sub('-', name)[:60]}-{digest}.jsonl"


def _name_in(header: Item, path: Path) -> str:
    name = _str(header, "name")
    return name if _path(path.parent, name) == path else ""


def _lines(path: Path) -> Iterator[tuple[str, Item]]:
    """Yield the lines that can be read, each with its id."""
    try:
        content = path.read_bytes() if path.stat().st_size <= LARGEST else b""
    except FileNotFoundError:
        return
    for line in content.split(b"\n"):
        if entry := loads_object(line):
            yield _str(entry, "id") or hashlib.sha256(line).hexdigest(), entry


def _line(line_id: str, saved: SavedThread) -> bytes:
    content = {"items": list(saved.items), "facts": sorted(saved.sent_digests)}
    return _dumped({"id": line_id, "model": saved.model, **content})


def _dumped(value: Item) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def _list(entry: Item, key: str) -> list[Any]:
    value = entry.get(key)
    return value if isinstance(value, list) else []


def _str(entry: Item, key: str) -> str:
    return parse_text(entry.get(key))


def _is_item(item: Any) -> bool:
    if not isinstance(item, dict) or not isinstance(item.get("type"), str):
        return False
    content = item.get("content", [])
    return content is None or (isinstance(content, list) and all(isinstance(part, dict) for part in content))


ABORTED_OUTPUT = "aborted by the user"
ABORTED_NOTE = (
    "<turn_aborted>The previous turn was interrupted; what it was doing may be unfinished.</turn_aborted>"
)
REPAIR = "Your answer does not fit the JSON schema:\n{problem}\nAnswer again, with the corrected JSON alone."
EDITED = "The user changed the code before running it. What ran:\n{code}\n\nIts result:\n"
CHANGED = (
    "The calls above are those of your earlier answer to this question, run again. The last one now shows something "
    "else than it did then:\n{changes}\nAnswer the question anew, from what the calls show now."
)
SUMMARY = "What was said in this thread so far, in short (the full text is gone):\n\n{summary}"
COMPACTION_ITEMS = ("compaction", "compaction_summary")

_QUESTION_LENGTH = 200
_COMPACTED = "What was asked before was compacted into a summary for the model."
_INTERRUPTED = "This turn was interrupted."
_MAY_HAVE_RUN = "{title}, interrupted: it may have run"
# Only the result of a call that ran stands in an untrusted block.
_RESULT = re.compile(r'<(data-\w+) of="[^"\n]*">\n(?P<result>.*)\n</\1>\Z', re.DOTALL)
_EDITED = re.compile(re.escape(EDITED).replace(r"\{code\}", "(?P<code>.*)"), re.DOTALL)


@dataclass(frozen=True)
class PastTurn:
    """One turn: the question, and the items that followed it."""

    question: str
    items: tuple[Item, ...]

    @property
    def answer(self) -> str:
        """The answer, in the model's Markdown."""
        return answer_text(self.items)

    @property
    def parts(self) -> Iterator[OutputPart]:
        """The messages and the code that ran, in their order; no reasoning."""
        outputs = {str(item["call_id"]): item_text(item, "output") for item in self.items if _is_output(item)}
        for item in self.items:
            if is_call(item):
                if (ran := _code_that_ran(item, outputs)) is not None:
                    yield ran
            elif text := message_text(item) if item.get("role") == "assistant" else "":
                yield TextOutput(text)
            elif item_text(item) == ABORTED_NOTE:
                yield NoticeOutput(_INTERRUPTED)


def past_turns(items: Iterable[Item]) -> list[PastTurn]:
    """Return the turns of a history; what was compacted is not among them.

    The last message of the user before an answer is the question: the notebook and other data stand before it.
    """
    turns: list[tuple[str, list[Item]]] = []
    question: str | None = None
    for item in items:
        if is_from_user(item):
            text = item_text(item)
            if text == ABORTED_NOTE and turns and question is None:
                turns[-1][1].append(item)
            elif (
                not text.startswith((_start(REPAIR), _start(CHANGED), _start(SUMMARY)))
                and text != ABORTED_NOTE
            ):
                question = text
        elif item.get("role") == "developer" or item.get("type") in COMPACTION_ITEMS:
            continue
        elif question is not None:
            turns.append((question, [item]))
            question = None
        elif turns:
            turns[-1][1].append(item)
    return [PastTurn(text, tuple(answer)) for text, answer in turns]


def first_question(items: Iterable[Item]) -> str:
    """Return the beginning of the first question in one line; no word of it is cut in two."""
    first = next(iter(past_turns(items)), None)
    return "" if first is None else one_line(first.question, _QUESTION_LENGTH)


def one_line(text: str, limit: int) -> str:
    """Return the beginning of a text as one line; no word of it is cut in two."""
    return shorten(text, limit, placeholder=" …").strip()


def export_markdown(name: str, items: Sequence[Item]) -> VisibleText:
    """Return a thread as Markdown that can do nothing, wherever it is rendered."""
    parts = [f"# {code_span(visible_line(name))}"]
    if any(
        item.get("type") in COMPACTION_ITEMS or item_text(item).startswith(_start(SUMMARY)) for item in items
    ):
        parts.append(f"*{_COMPACTED}*")
    for number, turn in enumerate(past_turns(items), 1):
        question = to_markdown(AnswerOutput((TextOutput(turn.question),))).strip("\n")
        quoted = "\n".join(f"> {line}".rstrip() for line in question.split("\n"))
        parts += [f"## Question {number}", quoted, to_markdown(AnswerOutput(tuple(turn.parts)))]
    return visible_text("\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n")


def _code_that_ran(call: Item, outputs: Mapping[str, str]) -> ToolOutput | None:
    tool = builtin_tools().get(str(call.get("name", "")))
    output = outputs.get(call["call_id"], "")
    result = _RESULT.search(output)
    if tool is None or tool.effect is not Effect.EXECUTE or (result is None and output != ABORTED_OUTPUT):
        return None
    try:
        code = tool.parse(call_arguments(call)).to_code()
    except ToolError:
        return None
    if result is None:
        return ToolOutput(_MAY_HAVE_RUN.format(title=tool.title), code or "", "python", is_open=True)
    if edited := _EDITED.fullmatch(output[: result.start()]):
        code = edited["code"]
    return ToolOutput(tool.title, code or "", "python", result["result"], is_open=True)


def _is_output(item: Item) -> bool:
    return str(item.get("type", "")).endswith("_output") and isinstance(item.get("call_id"), str)


def _start(template: str) -> str:
    return template.partition("{")[0]
