from __future__ import annotations

import stat
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import codex_nb
from codex_nb.auth.credentials import Credentials
from codex_nb.config.settings import ApprovalPolicy
from codex_nb.responses.events import Usage
from codex_nb.session.answer_cache import NOT_COMPARED, AnswerCache, CacheKey
from codex_nb.session.events import REPLAY_CALL, Answer, Notice, TurnEvent, TurnFinished
from codex_nb.session.prompt import ContextSection, NotebookContext
from codex_nb.tools.approval import Decision, DecisionKind
from codex_nb.tools.base import ToolSet
from codex_nb.tools.builtin import run_python
from codex_nb.tools.cells import delete_cells, edit_cell, insert_cells, move_cell, run_cell
from codex_nb.tools.describe import RunResult
from codex_nb.tools.nbmodel import Cell
from tests.session.scripted import PaperDocument, ProcessKernel, ScriptedApprover, Step, called, reply, said
from tests.session.test_assistant import OTHERS, SAME, Harness, texts

pytestmark = pytest.mark.anyio


def context(text: str = "x = 1") -> NotebookContext:
    return NotebookContext((ContextSection("cell", "Cell 1", text),))


def answer_of(events: list[TurnEvent]) -> Answer:
    last = events[-1]
    assert isinstance(last, TurnFinished)
    return last.answer


def is_replayed(events: list[TurnEvent]) -> bool:
    return any(isinstance(event, Notice) and event.kind == "cached" for event in events)


async def test_an_answered_question_is_answered_again_without_a_request_even_after_a_restart(
    tmp_path: Path,
) -> None:
    first = Harness(tmp_path, reply(said("One.")))
    before = answer_of(await first.ask("Why?", thread="nb", context=context(), use_cache=True))
    again = Harness(tmp_path)
    events = await again.ask("Why?", thread="nb", context=context(), use_cache=True)
    assert is_replayed(events)
    assert again.client.requests == []
    after = answer_of(events)
    assert after.usage == Usage()
    assert (after.text, after.items, after.model, after.billing) == (
        "One.",
        before.items,
        "gpt-test",
        "chatgpt",
    )
    assert len(again.assistant.threads.open("nb").items) == len(first.assistant.threads.open("nb").items)


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "Why not?"},
        {"context": context("x = 2")},
        {"model": "gpt-other"},
        {"effort": "high"},
        {"images": ("data:image/png;base64,AAAA",)},
        {"schema": int},
        {"tools": ToolSet((run_python,))},
        {"fresh": True},
        {"use_cache": False},
        {"earlier": (("And before?", "a hash"),)},
    ],
)
async def test_a_question_that_differs_is_asked(tmp_path: Path, change: dict[str, Any]) -> None:
    harness = Harness(tmp_path, reply(said("1")), reply(said('{"value": 2}', "msg_2")))
    question = {"prompt": "Why?", "thread": "nb", "context": context(), "use_cache": True}
    await harness.ask(**question)
    events = await harness.ask(**question | change)
    assert not is_replayed(events)
    assert answer_of(events).status == "completed"
    assert len(harness.client.requests) == 2


async def test_a_notebook_under_another_name_gets_the_answer_with_which_its_thread_goes_on(
    tmp_path: Path,
) -> None:
    harness = Harness(tmp_path, reply(said("One.")), reply(said("Two.", "msg_2")))
    await harness.ask("Why?", thread="nb", context=context(), use_cache=True)
    assert is_replayed(await harness.ask("Why?", thread="copy", context=context(), use_cache=True))
    await harness.ask("And?", thread="copy")
    told = [text for role, text in texts(harness.client.requests[1].input) if role != "developer"]
    assert told == ["Why?", "One.", "And?"]


async def test_changed_instructions_ask_anew(tmp_path: Path) -> None:
    harness = Harness(tmp_path, reply(said("1")), reply(said("2", "msg_2")))
    await harness.ask("Why?", thread="nb", use_cache=True)
    (tmp_path / "AGENTS.md").write_text("Be kind.")
    assert not is_replayed(await harness.ask("Why?", thread="nb", use_cache=True))


CODE = ["x = 21", "print(2 * x)"]
QUESTION: dict[str, Any] = {
    "prompt": "Compute it",
    "thread": "nb",
    "use_cache": True,
    "tools": ToolSet((run_python,)),
}


async def with_saved_code(home: Path, *more: Step) -> Harness:
    """Return an assistant of a new session, with an answer of another one that has run code."""
    calls = [reply(called("run_python", {"code": code}, f"call_{n}")) for n, code in enumerate(CODE)]
    harness = Harness(home, *calls, reply(said("It is 42.")))
    events = await harness.ask(**QUESTION, approval=ApprovalPolicy.ALL)
    assert (answer_of(events).text, harness.kernel.ran) == ("It is 42.", CODE)
    return Harness(home, *more)


def kinds(events: list[TurnEvent]) -> list[str]:
    return [type(event).__name__ for event in events]


async def test_saved_code_runs_again_after_one_approval_that_shows_all_of_it(tmp_path: Path) -> None:
    harness = await with_saved_code(tmp_path)
    approver = ScriptedApprover(DecisionKind.APPROVE)
    events = await harness.ask(**QUESTION, approver=approver)
    [asked] = approver.asked
    assert (asked.call_number, [code in asked.code for code in CODE]) == (REPLAY_CALL, [True, True])
    assert (harness.kernel.ran, harness.kernel.variables["x"], harness.client.requests) == (CODE, 21, [])
    answer = answer_of(events)
    assert (answer.text, answer.usage, [call.output for call in answer.tool_calls]) == (
        *("It is 42.", Usage()),
        ["(ran without any output)\nVariables: new x.", "42"],
    )
    assert kinds(events).count("ToolFinished") == 2
    assert is_replayed(events)
    before = len(harness.assistant.threads.open("nb").items)
    await harness.ask(**QUESTION, approver=ScriptedApprover(DecisionKind.APPROVE))
    assert len(harness.assistant.threads.open("nb").items) == before


@pytest.mark.parametrize(
    "decision", [DecisionKind.APPROVE, DecisionKind.APPROVE_CODE, DecisionKind.APPROVE_TOOL]
)
async def test_only_code_that_is_always_allowed_runs_unasked_in_later_sessions(
    tmp_path: Path, decision: DecisionKind
) -> None:
    harness = await with_saved_code(tmp_path)
    await harness.ask(**QUESTION, approver=ScriptedApprover(decision))
    later = Harness(tmp_path)
    await later.ask(**QUESTION)
    is_remembered = decision is DecisionKind.APPROVE_CODE
    assert (later.kernel.ran, later.client.requests) == (CODE if is_remembered else [], [])
    files = list((tmp_path / "approved_code").glob("*"))
    assert [stat.S_IMODE(each.stat().st_mode) for each in files] == [0o600] * is_remembered
    assert all(each.read_bytes() == b"" for each in files)
    later.assistant.forget_approvals()
    anew = Harness(tmp_path)
    await anew.ask(**QUESTION)
    assert (anew.kernel.ran, anew.client.requests) == ([], [])


async def test_other_code_is_not_allowed_by_an_approval_of_this_code(tmp_path: Path) -> None:
    harness = await with_saved_code(tmp_path)
    await harness.ask(**QUESTION, approver=ScriptedApprover(DecisionKind.APPROVE_CODE))
    [path] = (tmp_path / "answers").glob("*.json")
    path.write_text(path.read_text().replace("x = 21", "x = 22"))
    later = Harness(tmp_path)
    await later.ask(**QUESTION)
    assert later.kernel.ran == []


def reading(ran: list[str], mark: str) -> ToolSet:
    """Return a tool of the user's own, which notes that it ran."""

    @codex_nb.tool(effect="read")
    def look(name: str) -> str:
        """Look something up."""
        ran.append(mark)
        return "found"

    return ToolSet((look,))


async def test_another_function_of_the_name_is_asked_about_in_a_later_session(tmp_path: Path) -> None:
    ran: list[str] = []
    harness = Harness(tmp_path, reply(called("look", {"name": "a"})), reply(said("Found.")))
    question = QUESTION | {"tools": reading(ran, "first")}
    await harness.ask(**question, approval=ApprovalPolicy.ALL)
    await Harness(tmp_path).ask(**question, approver=ScriptedApprover(DecisionKind.APPROVE_CODE))
    assert ran == ["first", "first"]
    approver = ScriptedApprover(DecisionKind.REJECT)
    await Harness(tmp_path).ask(**QUESTION | {"tools": reading(ran, "another")}, approver=approver)
    assert (ran, len(approver.asked)) == (["first", "first"], 1)


@pytest.mark.parametrize("by", ["user", "nobody"])
async def test_without_consent_the_saved_outputs_are_shown_and_nothing_runs(tmp_path: Path, by: str) -> None:
    harness = await with_saved_code(tmp_path)
    events = await harness.ask(**QUESTION, approver=ScriptedApprover(Decision(DecisionKind.REJECT, by=by)))
    assert (harness.kernel.ran, harness.client.requests) == ([], [])
    assert harness.kernel.shown == [{"output_type": "stream", "name": "stdout", "text": "42\n"}]
    assert any(isinstance(event, Notice) and "not run again" in event.text for event in events)
    assert answer_of(events).text == "It is 42."
    again = Harness(tmp_path)
    await again.ask(**QUESTION, approver=ScriptedApprover(DecisionKind.APPROVE))
    assert (again.kernel.ran, again.client.requests) == (CODE, [])


async def test_stopping_at_the_approval_ends_the_turn(tmp_path: Path) -> None:
    harness = await with_saved_code(tmp_path)
    events = await harness.ask(**QUESTION, approver=ScriptedApprover(DecisionKind.STOP))
    assert (answer_of(events).status, harness.kernel.ran, harness.client.requests) == ("cancelled", [], [])


async def test_code_that_shows_something_else_is_told_to_the_model_and_the_rest_does_not_run(
    tmp_path: Path,
) -> None:
    harness = await with_saved_code(tmp_path, reply(said("It is 44.", "msg_2")))
    harness.kernel.variables["print"] = lambda value: sys.stdout.write(f"{value + 2}\n")
    events = await harness.ask(**QUESTION, approval=ApprovalPolicy.ALL)
    assert (answer_of(events).text, len(harness.client.requests)) == ("It is 44.", 1)
    assert "-42" in harness.sent
    assert "+44" in harness.sent
    later = Harness(tmp_path)
    later.kernel.variables["print"] = harness.kernel.variables["print"]
    assert answer_of(await later.ask(**QUESTION, approval=ApprovalPolicy.ALL)).text == "It is 44."
    assert later.client.requests == []


async def test_code_that_the_user_edited_runs_again_as_it_was_edited(tmp_path: Path) -> None:
    edit = ScriptedApprover(Decision(DecisionKind.APPROVE, code="x = 5"))
    harness = Harness(tmp_path, reply(called("run_python", {"code": "x = 4"})), reply(said("Done.")))
    await harness.ask(**QUESTION, approver=edit)
    later, approver = Harness(tmp_path), ScriptedApprover(DecisionKind.APPROVE)
    await later.ask(**QUESTION, approver=approver)
    assert (later.kernel.ran, [asked.code for asked in approver.asked]) == (["x = 5"], ["x = 5"])


async def test_saved_outputs_hold_no_secret_and_still_compare(tmp_path: Path) -> None:
    environ = {"SERVICE_TOKEN": "kT9vLq2Zx7Rb4Wn8Ym3P"}
    code = "print('kT9vLq2Zx' + '7Rb4Wn8Ym3P')"
    harness = Harness(
        tmp_path, reply(called("run_python", {"code": code})), reply(said("Done.")), environ=environ
    )
    await harness.ask(**QUESTION, approval=ApprovalPolicy.ALL)
    assert all("kT9vLq2Zx7" not in path.read_text() for path in (tmp_path / "answers").glob("*.json"))
    later = Harness(tmp_path, environ=environ)
    await later.ask(**QUESTION, approval=ApprovalPolicy.ALL)
    assert (later.kernel.ran, later.client.requests) == ([code], [])


TABLE = {"text/plain": "a table", "text/html": '<table id="T_0a1b2"></table>'}
FIGURE = {"text/plain": "<Figure>", "image/png": "aGVsbG8="}
PAIRS: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({"text/plain": "<A at 0x7f1234567890>"}, {"text/plain": "<A at 0x7f0987654321>"}, True),
    ({"text/plain": "1"}, {"text/plain": "2"}, False),
    (TABLE, TABLE | {"text/html": '<table id="T_ffff9"></table>'}, True),
    (TABLE, TABLE | {"text/html": '<table id="T_0a1b2"><td>1</td></table>'}, False),
    (FIGURE, FIGURE, True),
    (FIGURE, FIGURE | {"image/png": "b3RoZXI="}, False),
    ({"image/svg+xml": "<svg/>"}, {"image/svg+xml": "<svg></svg>"}, True),
    ({"text/plain": "1"}, {}, False),
]


@pytest.mark.parametrize(("before", "now", "is_same"), PAIRS)
async def test_outputs_are_compared_by_all_of_their_forms(
    tmp_path: Path, before: dict[str, Any], now: dict[str, Any], *, is_same: bool
) -> None:
    class Displays(ProcessKernel):
        def run(self, code: str) -> RunResult:
            super().run(code)
            data = now if self.variables.get("again") else before
            return RunResult(({"output_type": "display_data", "data": data, "metadata": {}},) if data else ())

    harness = Harness(
        tmp_path, reply(called("run_python", {"code": "draw = 1"})), reply(said("One.")), reply(said("Two."))
    )
    harness.kernel = Displays()
    await harness.ask(**QUESTION, approval=ApprovalPolicy.ALL)
    harness.kernel = Displays({"again": True})
    answer = answer_of(await harness.ask(**QUESTION, approval=ApprovalPolicy.ALL))
    assert answer.text == ("One." if is_same else "Two.")


async def test_outputs_that_cannot_be_compared_are_counted(tmp_path: Path) -> None:
    class Draws(ProcessKernel):
        def run(self, code: str) -> RunResult:
            super().run(code)
            data = {"image/svg+xml": "<svg/>", "text/plain": "a figure"}
            return RunResult(({"output_type": "display_data", "data": data, "metadata": {}},))

    harness = Harness(tmp_path, reply(called("run_python", {"code": "draw = 1"})), reply(said("One.")))
    harness.kernel = Draws()
    await harness.ask(**QUESTION, approval=ApprovalPolicy.ALL)
    events = await harness.ask(**QUESTION, approval=ApprovalPolicy.ALL)
    assert any(
        isinstance(each, Notice) and each.text.endswith(NOT_COMPARED.format(count=1)) for each in events
    )


WORK: dict[str, Any] = QUESTION | {
    "tools": ToolSet((run_python, insert_cells, edit_cell, delete_cells, move_cell, run_cell))
}
MADE = ["numbers = [20, 22]", "print(sum(number))", "print('last')"]


class KernelCells(PaperDocument):
    """A notebook whose cells run in a kernel."""

    kernel: ProcessKernel

    async def run(self, cell_id: str, source: str) -> RunResult:
        await super().run(cell_id, source)
        return self.kernel.run(source)


async def with_saved_cells(home: Path) -> tuple[Harness, KernelCells]:
    """Return an assistant of a new session, with an answer of another one that has worked in the notebook."""
    steps = [
        (insert_cells, {"cells": [{"kind": "code", "source": each} for each in MADE], "run": True}),
        (edit_cell, {"cell_id": "new-2", "edits": [{"old": "(number)", "new": "(numbers)"}]}),
        (run_cell, {"cell_id": "new-2"}),
        (run_cell, {"cell_id": "new-3"}),
        (delete_cells, {"cell_ids": ["new-3"]}),
        (move_cell, {"cell_id": "new-1", "after": None}),
    ]
    calls = [reply(called(tool.name, arguments, f"call_{n}")) for n, (tool, arguments) in enumerate(steps)]
    first = Harness(home, *calls, reply(said("It is 42.")))
    document = first.document = KernelCells([Cell("code", "%%codex\nCompute it", "asking")])
    document.kernel = first.kernel
    events = await first.ask(**WORK, approval=ApprovalPolicy.ALL)
    assert [call.ok for call in answer_of(events).tool_calls] == [False, *(True,) * 5]
    later = Harness(home, reply(said("It is another.", "msg_2")))
    document.kernel = later.kernel
    document.ran.clear()
    return later, document


AGAIN = [*MADE[:2], "print(sum(numbers))", MADE[2]]


@pytest.mark.parametrize("is_open", [True, False])
async def test_cells_that_an_answer_ran_run_again_as_code_and_nothing_is_done_twice_to_the_notebook(
    tmp_path: Path, *, is_open: bool
) -> None:
    harness, document = await with_saved_cells(tmp_path)
    harness.document = document if is_open else None
    before, approver = document.sources, ScriptedApprover(DecisionKind.APPROVE)
    events = await harness.ask(**WORK, approver=approver)
    assert (answer_of(events).text, harness.client.requests) == ("It is 42.", [])
    assert (harness.kernel.ran, harness.kernel.variables["numbers"]) == (AGAIN, [20, 22])
    assert [each in approver.asked[0].code for each in AGAIN] == [True] * 4
    assert (len(approver.asked), document.sources, document.ran) == (1, before, [])


async def test_without_consent_what_the_cells_showed_is_shown(tmp_path: Path) -> None:
    harness, _ = await with_saved_cells(tmp_path)
    events = await harness.ask(**WORK)
    assert (answer_of(events).text, harness.client.requests, harness.kernel.ran) == ("It is 42.", [], [])
    assert [each["text"] for each in harness.kernel.shown] == ["42\n", "last\n"]


CHANGED_CELLS = {
    "edited": lambda cells: [replace(each, source=f"{each.source}  # mine") for each in cells],
    "deleted": lambda cells: [each for each in cells if each.cell_id != "new-2"],
    "brought back": lambda cells: [*cells, Cell("code", MADE[2], "new-3")],
}


@pytest.mark.parametrize("change", CHANGED_CELLS)
async def test_cells_that_are_no_longer_as_the_answer_left_them_have_the_model_asked(
    tmp_path: Path, change: str
) -> None:
    harness, document = await with_saved_cells(tmp_path)
    harness.document = document
    document.cells = CHANGED_CELLS[change](document.cells)
    events = await harness.ask(**WORK, approval=ApprovalPolicy.ALL)
    assert (answer_of(events).text, harness.kernel.ran) == ("It is another.", [])


async def test_cells_that_show_something_else_have_the_model_asked(tmp_path: Path) -> None:
    harness, document = await with_saved_cells(tmp_path)
    harness.document = document
    harness.kernel.variables["sum"] = lambda numbers: 40 + len(numbers) * 2
    events = await harness.ask(**WORK, approval=ApprovalPolicy.ALL)
    assert (answer_of(events).text, "+44" in harness.sent, "-42" in harness.sent) == (
        "It is another.",
        True,
        True,
    )


async def test_a_cell_with_a_secret_that_was_run_is_not_saved(tmp_path: Path) -> None:
    environ = {"SERVICE_TOKEN": "kT9vLq2Zx7Rb4Wn8Ym3P"}
    calls = reply(called("run_cell", {"cell_id": "login"}))
    harness = Harness(tmp_path, calls, reply(said("Done.")), environ=environ)
    source = "token = 'kT9vLq2Zx7Rb4Wn8Ym3P'"
    document = harness.document = KernelCells([Cell("code", source, "login"), Cell("code", "%%codex", "ask")])
    document.kernel = harness.kernel
    await harness.ask(**WORK, approval=ApprovalPolicy.ALL)
    assert (harness.kernel.ran, list((tmp_path / "answers").glob("*.json"))) == ([source], [])


async def test_a_question_about_what_is_only_described_is_asked(tmp_path: Path) -> None:
    described = NotebookContext((ContextSection("variable", "", "df: pandas.DataFrame", complete=False),))
    harness = Harness(tmp_path, reply(said("1")), reply(said("2", "msg_2")))
    for _ in range(2):
        events = await harness.ask("Why?", thread="nb", context=described, use_cache=True)
    assert answer_of(events).text == "2"


@pytest.mark.parametrize(("credentials", "settings"), OTHERS.values(), ids=OTHERS)
async def test_another_account_and_another_provider_are_asked(
    tmp_path: Path, credentials: Credentials, settings: dict[str, Any]
) -> None:
    await Harness(tmp_path, reply(said("1"))).ask("Why?", thread="nb", use_cache=True)
    other = Harness(tmp_path, reply(said("2")), **settings)
    other.login.credentials = credentials
    assert answer_of(await other.ask("Why?", thread="nb", use_cache=True)).text == "2"


@pytest.mark.parametrize("credentials", SAME.values(), ids=SAME)
async def test_the_same_account_is_answered_from_what_is_stored(
    tmp_path: Path, credentials: Credentials
) -> None:
    await Harness(tmp_path, reply(said("1"))).ask("Why?", thread="nb", use_cache=True)
    again = Harness(tmp_path)
    again.login.credentials = credentials
    assert is_replayed(await again.ask("Why?", thread="nb", use_cache=True))


async def test_nobody_signed_in_sees_no_stored_answer(tmp_path: Path) -> None:
    harness = Harness(tmp_path, reply(said("1")))
    await harness.ask("Why?", thread="nb", use_cache=True)
    harness.login.credentials = None
    assert answer_of(await harness.ask("Why?", thread="nb", use_cache=True)).status == "failed"


async def test_only_whole_answers_are_stored(tmp_path: Path) -> None:
    cut = reply(said("Ha"), status="incomplete", incomplete_reason="max_output_tokens")
    harness = Harness(tmp_path, cut, reply(said("Whole", "msg_2")))
    await harness.ask("Why?", thread="nb", use_cache=True)
    assert answer_of(await harness.ask("Why?", thread="nb", use_cache=True)).text == "Whole"


async def test_a_value_is_made_again_from_the_stored_answer(tmp_path: Path) -> None:
    harness = Harness(tmp_path, reply(said('{"value": [1, 2]}')))
    for _ in range(2):
        answer = answer_of(await harness.ask("Numbers", thread="nb", use_cache=True, schema=list[int]))
        assert answer.parsed == [1, 2]
    assert len(harness.client.requests) == 1


async def test_a_thread_that_was_lost_hears_of_the_stored_answer(tmp_path: Path) -> None:
    harness = Harness(tmp_path, reply(said("One.")), reply(said("Two.", "msg_2")))
    await harness.ask("Why?", thread="nb", use_cache=True)
    harness.assistant.threads.forget("nb")
    await harness.ask("Why?", thread="nb", use_cache=True)
    await harness.ask("And?", thread="nb")
    told = [text for role, text in texts(harness.client.requests[1].input) if role != "developer"]
    assert told == ["Why?", "One.", "And?"]


def test_answers_are_kept_for_their_owner_only_and_bad_files_count_as_absent(tmp_path: Path) -> None:
    store = AnswerCache(tmp_path / "answers", clock=lambda: 1000.0)
    key, answer = CacheKey("key"), Answer("é", items=({"type": "message"},), usage=Usage(1, 2, 3, 4, 5))
    store.update(key, answer)
    [file] = (tmp_path / "answers").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = AnswerCache(tmp_path / "answers").find(key)
    assert found is not None
    assert (found.answer, found.at) == (answer, 1000.0)
    whole = file.read_text()
    broken = [
        '{"answer": {}}',
        "",
        "[" * 100_000,
        "[" * 200 + "]" * 200,
        "7",
        whole[:-20],
        whole.replace('[{"type": "message"}]', "[7]"),
        whole.replace('"é"', "5"),
        whole.replace('"completed"', '"other"'),
        whole.replace("1000.0", '"never"'),
        whole.replace('{"type"', '{"deep": ' + "[" * 99 + "]" * 99 + ', "type"'),
        whole.replace('"input_tokens": 1', '"input_tokens": "many"'),
    ]
    for content in broken:
        file.write_text(content)
        assert AnswerCache(tmp_path / "answers").find(key) is None, content[:100]
    assert AnswerCache(tmp_path / "none").find(key) is None
