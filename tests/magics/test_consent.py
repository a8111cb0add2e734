"""Consent, asked for and given in a shell: who may run what, and what a cell may never start."""

from __future__ import annotations

import builtins
import keyword
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

import codex_nb
from codex_nb.magics.options import OptionError, parse_options
from codex_nb.simulator import Call, End, Reply, Say, Simulator
from codex_nb.tools.base import builtin_tools, tool
from tests.magics.conftest import Notebook
from tests.sent import offered_tools, outputs_of

REFUSED = "Codex is already answering: this code runs inside its turn. Ask in a cell of your own."


QUESTION = "get_ipython().run_cell_magic('codex', {!r}, 'And?')".format
NESTED = [
    *map(QUESTION, ("--approval all -t other", "-t default")),
    "get_ipython().run_line_magic('codex', 'compact')",
]


@pytest.mark.parametrize("inner", NESTED)
def test_a_question_inside_a_turn_is_refused_in_one_line_and_the_turn_goes_on(
    notebook: Notebook, sim: Simulator, inner: str
) -> None:
    code = f"{inner}\nafter = 1"
    sim.add_replies(
        Reply(stream=(Call("run_python", {"code": code}), End())), Reply(stream=(Say("Done."), End()))
    )
    assert notebook.run("%%codex --approval all\nGo.").succeeded
    first, second = sim.requests.to("/responses", "POST")
    (output,) = outputs_of(second).values()
    assert REFUSED in output
    assert "after" not in notebook.namespace
    assert notebook.run("%%codex\nAnd now?").succeeded
    assert (
        first.body["input"]
        == sim.requests.to("/responses", "POST")[2].body["input"][: len(first.body["input"])]
    )


def test_from_python_a_turn_inside_a_turn_may_ask_in_a_conversation_of_its_own_alone(
    notebook: Notebook, sim: Simulator
) -> None:
    code = "import codex_nb\ninner = codex_nb.ask('Why?').text\ncodex_nb.ask('Why?', thread='default')\nafter = 1"
    sim.add_replies(
        Reply(stream=(Call("run_python", {"code": code}), End())),
        Reply(stream=(Say("Because."), End())),
        Reply(stream=(Say("Done."), End())),
    )
    assert notebook.run("%%codex --approval all\nGo.").succeeded
    (output,) = outputs_of(sim.requests.to("/responses", "POST")[-1]).values()
    assert "Codex is already answering" in output
    assert notebook.namespace["inner"] == "Because."
    assert "after" not in notebook.namespace


def test_a_thread_that_the_code_of_a_turn_starts_is_inside_no_turn(notebook: Notebook) -> None:
    answers: list[str] = []
    asked = threading.Thread(target=lambda: answers.append(codex_nb.ask("Why?", thread="own").status))
    notebook.namespace["asked"] = asked
    asked.start()
    asked.join()
    assert answers == ["completed"]


@pytest.mark.parametrize("policy", ["ask", "auto", "all", "read-only"])
def test_what_lies_in_the_namespace_takes_no_built_in_tools_place(
    notebook: Notebook, sim: Simulator, policy: str
) -> None:
    ran: list[str] = []
    for name in [each.name for each in builtin_tools()]:
        with pytest.raises(TypeError, match=f"'{name}' is the name of a built-in tool"):

            @tool(name=name, effect="read")
            def own(names: list[str]) -> str:
                ran.append(",".join(names))
                return "the other one"

    @tool(effect="read")
    def harmless(names: list[str]) -> str:
        ran.append(",".join(names))
        return "the other one"

    object.__setattr__(harmless, "name", "inspect")
    notebook.namespace.update(inspect=harmless, altitude=8848)
    call = Call("inspect", {"names": ["altitude"]}, call_id="call_1")
    sim.add_replies(Reply(stream=(call, End())), Reply(stream=(Say("Done."), End())))
    assert notebook.run(f"%%codex --approval {policy} -t {policy}\nHow high?").succeeded
    first, second = sim.requests.to("/responses", "POST")
    assert "8848" in outputs_of(second)["call_1"]
    assert ran == []
    assert "inspect" in offered_tools(first)


def test_codex_own_word_never_is_refused_with_what_it_would_be_here(
    notebook: Notebook, sim: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    hint = 'Codex calls "never ask" never, which is all here; read-only offers nothing that runs or changes.'
    cell = notebook.run("%%codex --approval never\nhi")
    assert f"%%codex: Invalid --approval 'never'. {hint}" in cell.error
    with pytest.raises(codex_nb.ConfigError) as refused:
        codex_nb.ask("hi", approval="never")  # type: ignore[arg-type]
    assert refused.value.line == f"Invalid approval 'never'. {hint}"
    notebook.run("%config CodexMagics.approval = 'never'")
    assert hint in caplog.text  # where IPython tells what a setting cannot be
    assert not sim.requests.to("/responses", "POST")


NEEDED = [
    *keyword.kwlist,
    *dir(builtins),
    "In",
    "Out",
    "get_ipython",
    "_codex",
    "_",
    "__",
    "_1",
    "_i",
    "_ii",
    "_i3",
]
NEEDED += [
    "_oh",
    "_dh",
    "_ih",
    "_sh",
    "_exit_code",
    "exit",
    "quit",
    "display",
    "codex_nb",
    "__name__",
    "__x__",
]
LOOK_ALIKE = [f"{chr(0x1D41E)}xit", f"{chr(0xFF50)}rint", "x\u200b", "1x", "a-b", "a.b", "", "a b"]


@pytest.mark.parametrize("name", sorted({*NEEDED, *LOOK_ALIKE}))
def test_a_name_that_python_or_ipython_needs_takes_no_answer(name: str) -> None:
    with pytest.raises(OptionError):
        parse_options(f"-o '{name}'")


@given(st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{0,8}", fullmatch=True))
def test_any_other_name_takes_the_answer(name: str) -> None:
    if name not in NEEDED:
        assert parse_options(f"-o {name}").output == name


def test_nothing_is_sent_for_a_name_that_is_refused(notebook: Notebook, sim: Simulator) -> None:
    for name in ("class", "__builtins__", "print", "_codex", "In"):
        assert not notebook.run(f"%%codex -o {name}\nhi").succeeded
    assert not sim.requests.to("/responses", "POST")
