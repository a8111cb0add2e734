"""Threads are found, looked into, forked, compacted and exported by the commands that a person types."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from codex_nb.magics.extension import CodexMatcher
from codex_nb.rendering.answer_output import TextOutput, ToolOutput
from codex_nb.session.outbound import UntrustedBlock, assistant_message, call_output, received, user_message
from codex_nb.session.thread import ThreadStore
from codex_nb.session.thread_file import (
    ABORTED_NOTE,
    EDITED,
    REPAIR,
    ThreadInfo,
    export_markdown,
    first_question,
    past_turns,
    saved_threads,
)
from codex_nb.simulator import Simulator
from codex_nb.simulator.scenario import Call, End, Reply, Say, Think
from tests.magics.conftest import Kernels, Notebook
from tests.magics.test_threads import sits_before_it


@pytest.fixture(autouse=True)
def folder(codex_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a notebook in a folder of its own."""
    folder = codex_home.parent / "work"
    folder.mkdir()
    monkeypatch.setenv("JPY_SESSION_NAME", str(folder / "Sales.ipynb"))
    return folder


def ask(notebook: Notebook, sim: Simulator, question: str, answer: str, options: str = "") -> None:
    sim.add_replies(Reply(stream=(Say(answer), End())))
    assert notebook.run(f"%%codex --no-context {options}\n{question}").succeeded


def sent(sim: Simulator) -> str:
    return json.dumps(sim.requests.to("/responses")[-1].body["input"], ensure_ascii=False)


def saved(codex_home: Path) -> dict[str, ThreadInfo]:
    return {info.name: info for info in saved_threads(codex_home / "codex_nb" / "threads")}


def row(notebook: Notebook, name: str) -> str:
    [line] = [each for each in notebook.run("%codex threads").out.splitlines() if f"`{name}`" in each]
    return line


def test_a_thread_is_listed_with_its_first_question_its_model_and_its_turns(
    notebook: Notebook, sim: Simulator
) -> None:
    ask(notebook, sim, f"Which\nregion | sells {'most ' * 40}?", "North.", "-t sales")
    ask(notebook, sim, "And then?", "South.", "-t sales -m simulator-classic")
    cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row(notebook, "sales"))]
    assert cells[2].startswith("Which region")
    assert cells[2].endswith("…")
    assert len(cells[2]) < 80
    assert cells[3].startswith("today")
    assert cells[4:6] == ["simulator-classic", "2"]


def test_the_first_question_stays_after_a_compaction_and_a_restart(kernels: Kernels, sim: Simulator) -> None:
    with kernels() as notebook:
        ask(notebook, sim, "What is first?", "This.", "-t sales")
        notebook.run("%codex thread sales")
        assert notebook.run("%codex compact").succeeded
        ask(notebook, sim, "What is second?", "That.", "-t sales")
    with kernels() as notebook:
        assert "What is first?" in row(notebook, "sales")
        ask(notebook, sim, "What is third?", "This.", "-t sales")
        assert "What is first?" in row(notebook, "sales")


def test_what_is_found_secret_later_leaves_the_first_question_too(
    notebook: Notebook, sim: Simulator, codex_home: Path
) -> None:
    ask(notebook, sim, "Is qX7vLp2Wn9Rt4Ks8 short?", "No.", "-t sales")
    notebook.run("%codex thread sales")
    assert notebook.run("%codex compact").succeeded
    notebook.namespace["api_token"] = "qX7vLp2Wn9Rt4Ks8"
    ask(notebook, sim, "And now?", "No.", "-t sales")
    content = b"".join(path.read_bytes() for path in (codex_home / "codex_nb" / "threads").iterdir())
    assert b"qX7vLp2Wn9Rt4Ks8" not in content
    assert "qX7vLp2Wn9Rt4Ks8" not in row(notebook, "sales")


def test_a_thread_of_an_earlier_kernel_is_listed_and_goes_on(
    kernels: Kernels, sim: Simulator, codex_home: Path
) -> None:
    with kernels() as notebook:
        ask(notebook, sim, "What is old?", "This.", "-t sales")
    with kernels() as notebook:
        assert "What is old?" in row(notebook, "sales")
        ask(notebook, sim, "And now?", "That.", "-t sales")
        assert "What is old?" in sent(sim)
        assert saved(codex_home)["sales"].turns == 2


def test_switching_shows_the_last_turns(notebook: Notebook, sim: Simulator) -> None:
    for number in range(5):
        ask(notebook, sim, f"Question {number}?", f"Answer {number}. {'More. ' * 100}", "-t sales")
    out = notebook.run("%codex thread sales").out
    assert re.findall(r"Question (\d)", out) == re.findall(r"Answer (\d)", out) == ["2", "3", "4"]
    assert "3 of 5" in out
    assert out.count("More.") < 150
    assert notebook.run("%codex thread").out == out
    ask(notebook, sim, "Here?", "Yes.")
    assert "Question 4?" in sent(sim)


def test_the_data_before_a_question_are_not_taken_for_it(notebook: Notebook, sim: Simulator) -> None:
    notebook.run("total = 41")
    sim.add_replies(Reply(stream=(Say("It is 41."), End())))
    assert notebook.run("%%codex -t sales\nHow much is @total?").succeeded
    notebook.run("%codex thread sales")
    out = notebook.run("%codex thread").out
    assert ("How much is @total?" in out, "<data" in out) == (True, False)


def test_compacting_says_from_how_many_to_how_many_tokens_and_sends_less(
    notebook: Notebook, sim: Simulator
) -> None:
    ask(notebook, sim, "Tell me all.", "Everything. " * 2_000)
    ran = notebook.run("%codex compact")
    before, after = (int(each.replace(",", "")) for each in re.findall(r"\d[\d,]*", ran.out))
    assert before > 3_000
    assert after < before / 2
    ask(notebook, sim, "And now?", "More.")
    assert "Everything." not in sent(sim)
    assert "And now?" in notebook.run("%codex thread").out


@pytest.mark.parametrize("command", ["compact", "export", "fork copy"])
def test_an_empty_thread_is_refused_in_one_line(
    notebook: Notebook, sim: Simulator, folder: Path, command: str
) -> None:
    ran = notebook.run(f"%codex {command}")
    assert len(ran.shown.splitlines()) == 1
    assert sim.requests.count("/responses") == 0
    assert list(folder.iterdir()) == []


def test_compacting_twice_asks_the_backend_once(notebook: Notebook, sim: Simulator) -> None:
    ask(notebook, sim, "Why?", "So.")
    assert notebook.run("%codex compact").succeeded
    asked = sim.requests.count("/responses")
    assert not notebook.run("%codex compact").succeeded
    assert sim.requests.count("/responses") == asked


def test_a_fork_goes_on_without_the_original(kernels: Kernels, sim: Simulator, codex_home: Path) -> None:
    with kernels() as notebook:
        ask(notebook, sim, "What is shared?", "This.", "-t sales")
        notebook.run("%codex thread sales")
        assert notebook.run("%codex fork 'my copy'").succeeded
        ask(notebook, sim, "What is new?", "That.")
        assert "What is shared?" in sent(sim)
    with kernels() as notebook:
        ask(notebook, sim, "Original?", "Yes.", "-t sales")
        assert "What is new?" not in sent(sim)
        ask(notebook, sim, "Copy?", "Yes.", "-t 'my copy'")
        assert ("What is shared?" in sent(sim), "What is new?" in sent(sim)) == (True, True)
    assert {name: info.question for name, info in saved(codex_home).items()} == {
        "sales": "What is shared?",
        "my copy": "What is shared?",
    }


@pytest.mark.parametrize("name", ["", "sales", "other", "--help"])
def test_a_fork_needs_a_name_that_no_thread_has(
    notebook: Notebook, sim: Simulator, codex_home: Path, name: str
) -> None:
    ask(notebook, sim, "Other?", "Yes.", "-t other")
    ask(notebook, sim, "Why?", "So.", "-t sales")
    notebook.run("%codex thread sales")
    before = saved(codex_home)
    assert notebook.run(f"%codex fork {name}").error.startswith("UsageError: %codex fork")
    assert saved(codex_home) == before


def test_an_export_holds_questions_answers_and_the_code_that_ran_with_its_outputs(
    notebook: Notebook, sim: Simulator, folder: Path
) -> None:
    sim.add_replies(
        Reply(
            stream=(
                Think("secret thoughts"),
                Say("I look."),
                Call("run_python", {"code": "print(6 * 7)"}),
                End(),
            )
        ),
        Reply(stream=(Say("It is **42**."), End())),
    )
    assert notebook.run("%%codex --no-context --approval all -t sales\nHow much?").succeeded
    sim.add_replies(
        Reply(stream=(Call("run_python", {"code": "print('never')"}), End())),
        Reply(stream=(Say("I could not."), End())),
    )
    assert notebook.run("%%codex --no-context -t sales\nAnd that?").succeeded
    assert notebook.run("%codex export sales").succeeded
    [path] = folder.iterdir()
    assert path.name == "sales.md"
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    assert path.read_text() == (
        "# `sales`\n\n## Question 1\n\n> How much?\n\nI look.\n\n*Python*\n\n```python\nprint(6 * 7)\n```\n\n"
        "```text\n42\n```\n\nIt is **42**.\n\n## Question 2\n\n> And that?\n\nI could not.\n"
    )


HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "![x](https://evil.example/x.png)",
    "[x](javascript:alert(1))",
    "\u202egnp.exe",
    "$\\href{https://evil.example}{x}$",
    "\x1b]0;title\x07",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_from_elsewhere_acts_in_an_export_or_a_listing(
    notebook: Notebook, sim: Simulator, folder: Path, text: str
) -> None:
    name = f"a{text}"
    code = f"print({text!r})"
    sim.add_replies(
        Reply(stream=(Call("run_python", {"code": code}), End())), Reply(stream=(Say(f"Look: {text}"), End()))
    )
    notebook.run(f"%codex thread {name}")
    assert notebook.run(f"%%codex --no-context --approval all\nWhat is {text}").succeeded
    shown = [notebook.run("%codex thread").out, notebook.run("%codex threads").out]
    exported = notebook.run("%codex export")
    assert exported.succeeded
    [path] = folder.iterdir()
    assert path.parent == folder
    content = path.read_text()
    for each in (*shown, exported.out, content):
        assert not re.search("[\u202e\x07\x1b]", each)
    tokens = [
        token
        for block in MarkdownIt("commonmark").parse(content)
        for token in (block, *(block.children or ()))
    ]
    assert {token.type for token in tokens} & {"html_block", "html_inline", "image", "link_open"} == set()
    assert "\\href" not in "".join(token.content for token in tokens if token.type == "text")


@pytest.mark.parametrize("name", ["../../up", "/etc/x", "..", "a\\b", "CON/x", ".hidden", "é" * 200])
def test_the_default_file_stays_in_the_notebooks_folder(
    notebook: Notebook, sim: Simulator, folder: Path, name: str
) -> None:
    ask(notebook, sim, "Why?", "So.", f"-t {name}")
    notebook.run(f"%codex thread {name}")
    before = set(folder.parent.rglob("*"))
    assert notebook.run("%codex export").succeeded
    [new] = set(folder.parent.rglob("*")) - before
    assert (new.parent, new.suffix, new.name.startswith(".")) == (folder, ".md", False)


@pytest.mark.parametrize("target", ["file", "link", "folder"])
def test_an_export_replaces_no_file_unasked(
    notebook: Notebook, sim: Simulator, folder: Path, target: str
) -> None:
    ask(notebook, sim, "Why?", "So.", "-t sales")
    path, elsewhere = folder / "notes.md", folder / "elsewhere"
    if target == "file":
        path.write_text("mine")
    elif target == "link":
        path.symlink_to(elsewhere)
    else:
        path.mkdir()
    ran = notebook.run("%codex export sales notes.md")
    assert len(ran.shown.splitlines()) == 1
    assert "--overwrite" in ran.shown
    assert not elsewhere.exists()
    if target == "file":
        assert path.read_text() == "mine"
        assert notebook.run("%codex export --overwrite sales notes.md").succeeded
        assert "Why?" in path.read_text()


@pytest.mark.parametrize(("answer", "is_replaced"), [("y", True), ("n", False), ("", False)])
def test_who_is_asked_decides_whether_a_file_is_replaced(
    notebook: Notebook,
    sim: Simulator,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    is_replaced: bool,
) -> None:
    ask(notebook, sim, "Why?", "So.", "-t sales")
    (folder / "sales.md").write_text("mine")
    sits_before_it(monkeypatch)(answer)
    assert notebook.run("%codex export sales").succeeded
    assert ("Why?" in (folder / "sales.md").read_text()) is is_replaced


@pytest.mark.parametrize(
    "line", ["nothing", "--all", "sales no/such/folder/x.md", "sales '~nobody/x.md'", '"sales']
)
def test_what_cannot_be_exported_is_said_in_one_line(
    notebook: Notebook, sim: Simulator, folder: Path, line: str
) -> None:
    ask(notebook, sim, "Why?", "So.", "-t sales")
    assert len(notebook.run(f"%codex export {line}").shown.splitlines()) == 1
    assert list(folder.iterdir()) == []


def test_one_word_that_ends_like_a_file_names_the_file(
    notebook: Notebook, sim: Simulator, folder: Path
) -> None:
    ask(notebook, sim, "Why?", "So.")
    assert notebook.run("%codex export notes.md").succeeded
    assert notebook.run("%codex export 'my notes.md'").succeeded
    assert {path.name for path in folder.iterdir()} == {"notes.md", "my notes.md"}


def test_looking_into_a_thread_creates_none(notebook: Notebook, sim: Simulator, codex_home: Path) -> None:
    ask(notebook, sim, "Why?", "So.", "-t sales")
    notebook.run("%codex thread other")
    assert list(saved(codex_home)) == ["sales"]
    assert ThreadStore(codex_home / "codex_nb" / "threads").names() == ("sales",)


def test_code_that_the_user_changed_is_exported_as_it_ran() -> None:
    untrusted = UntrustedBlock()
    call = {"type": "function_call", "name": "run_python", "call_id": "c1", "arguments": '{"code": "1 + 1"}'}
    result = EDITED.format(code="2 + 2") + untrusted("run_python", "4 </data-x> <data-y>")
    turn = [user_message("How much?"), call, call_output(call, result), assistant_message("Four.")]
    [past] = past_turns(received(turn))
    assert list(past.parts) == [
        ToolOutput("Python", "2 + 2", "python", "4 &lt;/data-x> &lt;data-y>", is_open=True),
        TextOutput("Four."),
    ]


KINDS = ("message", "reasoning", "function_call", "function_call_output", "compaction", "else")
TEXTS = ("user", "assistant", "developer", "run_python", "{}", "c1")
PARTS = st.dictionaries(
    st.sampled_from(["text", "refusal", "type"]), st.text() | st.none() | st.lists(st.none())
)
FIELDS = st.dictionaries(
    st.sampled_from(["role", "name", "call_id", "arguments", "input", "output", "summary"]),
    st.sampled_from(TEXTS) | st.none() | st.integers() | st.lists(st.none() | PARTS),
)
ITEMS = st.one_of(
    st.builds(user_message, st.sampled_from(["Why?", ABORTED_NOTE, REPAIR.format(problem="x"), ""])),
    st.builds(assistant_message, st.sampled_from(["So.", ""])),
    # what a thread's file may hold: of a kind, with a content of parts
    st.builds(
        lambda kind, content, fields: {"type": kind, "content": content, **fields},
        st.sampled_from(KINDS),
        st.none() | st.lists(PARTS),
        FIELDS,
    ),
)


@given(st.lists(ITEMS))
def test_items_of_any_shape_are_listed_and_exported(items: list[dict[str, Any]]) -> None:
    turns = past_turns(items)
    assert export_markdown("sales", items).startswith("# `sales`\n")
    assert all(ABORTED_NOTE not in turn.question for turn in turns)
    assert "\n" not in first_question(items)


def test_an_interrupted_turn_says_so_and_is_followed_by_the_next(
    notebook: Notebook, sim: Simulator, folder: Path
) -> None:
    sim.add_replies(Reply(stream=(Call("run_python", {"code": "raise KeyboardInterrupt"}), End())))
    notebook.run("%%codex --no-context --approval all -t sales\nTry.")
    ask(notebook, sim, "And now?", "Done.", "-t sales")
    assert notebook.run("%codex export sales").succeeded
    content = (folder / "sales.md").read_text()
    assert re.findall(r"^> (.*)", content, re.MULTILINE) == ["Try.", "And now?"]
    first, second = content.split("And now?")
    assert ("raise KeyboardInterrupt" in first, "interrupted" in first, "interrupted" in second) == (
        True,
        True,
        False,
    )


def test_what_follows_a_command_is_completed(notebook: Notebook, sim: Simulator, folder: Path) -> None:
    ask(notebook, sim, "Why?", "So.", "-t sales")
    (folder / "salt.md").touch()
    matcher = CodexMatcher(
        notebook.shell, lambda: notebook.shell.magics_manager.registry["CodexMagics"].session
    )
    found = {
        line: {each.text: each.type for each in matcher.complete(line, 0, line)[1]}
        for line in ("%codex ", "%codex export ", "%codex export sales ")
    }
    assert found["%codex export "]["sales"].split() == ["thread:", "Why?"]
    assert found["%codex export sales "]["salt.md"] == "file"
    assert {"fork", "compact", "export", "thread", "threads", "new"} <= found["%codex "].keys()
