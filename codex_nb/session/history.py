"""The turns of a thread, read from its items: what was asked, the answer, and the code that ran for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from textwrap import shorten
from typing import TYPE_CHECKING

from codex_nb.errors import ToolError
from codex_nb.rendering.answer_output import (
    AnswerOutput,
    NoticeOutput,
    OutputPart,
    TextOutput,
    ToolOutput,
    to_markdown,
)
from codex_nb.rendering.inert_markdown import code_span
from codex_nb.rendering.visible import VisibleText, visible_line, visible_text
from codex_nb.session.outbound import answer_text, call_arguments, is_call, message_text
from codex_nb.tools.approval import Effect
from codex_nb.tools.base import builtin_tools

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from codex_nb.session.outbound import Item

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
        outputs = {str(item["call_id"]): _text(item, "output") for item in self.items if _is_output(item)}
        for item in self.items:
            if is_call(item):
                if (ran := _code_that_ran(item, outputs)) is not None:
                    yield ran
            elif text := message_text(item) if item.get("role") == "assistant" else "":
                yield TextOutput(text)
            elif _text(item) == ABORTED_NOTE:
                yield NoticeOutput(_INTERRUPTED)


def past_turns(items: Iterable[Item]) -> list[PastTurn]:
    """Return the turns of a history; what was compacted is not among them.

    The last message of the user before an answer is the question: the notebook and other data stand before it.
    """
    turns: list[tuple[str, list[Item]]] = []
    question: str | None = None
    for item in items:
        if _is_from_user(item):
            text = _text(item)
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
    if any(item.get("type") in COMPACTION_ITEMS or _text(item).startswith(_start(SUMMARY)) for item in items):
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


def _is_from_user(item: Item) -> bool:
    return item.get("type") == "message" and item.get("role") == "user"


def _is_output(item: Item) -> bool:
    return str(item.get("type", "")).endswith("_output") and isinstance(item.get("call_id"), str)


def _text(item: Item, key: str = "content") -> str:
    """Return the text of an item; of several, the last one of a message and all of an output."""
    value = item.get(key)
    if isinstance(value, str):
        return value
    texts = [
        part["text"]
        for part in (value if isinstance(value, list) else ())
        if isinstance(part, dict) and isinstance(part.get("text"), str)
    ]
    return "\n".join(texts) if key == "output" else texts[-1] if texts else ""


def _start(template: str) -> str:
    return template.partition("{")[0]
