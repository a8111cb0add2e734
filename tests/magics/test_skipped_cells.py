"""What a cell marked codex-skip binds stays here, however it is bound and whichever way a request could take it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from codex_nb.simulator import Call, End, RecordedRequest, Reply, Say, Simulator
from tests.leaks import assert_no_leak
from tests.magics.conftest import Cell, Notebook
from tests.sent import context_of, offered_tools, outputs_of

MARK = "kept0out4711"


@dataclass(frozen=True)
class Form:
    """A way to bind names: what an ordinary cell runs before, the skipped cell, and the names that it hides."""

    source: str
    names: tuple[str, ...]
    before: str = "pass"


FORMS = {
    "a plain assignment": Form(f'secret = "{MARK}"', ("secret",)),
    "an annotated assignment": Form(f'secret: str = "{MARK}"', ("secret",)),
    "a tuple": Form(f'first, second = "{MARK}", 2', ("first", "second")),
    "a nested tuple": Form(f'first, (second, third) = 1, (2, "{MARK}")', ("first", "second", "third")),
    "a chain": Form(f'first = second = "{MARK}"', ("first", "second")),
    "a starred target": Form(f'[first, *rest] = "x", "{MARK}"', ("first", "rest")),
    "an augmented assignment": Form(f'total += ["{MARK}"]', ("total",), before="total = []"),
    "an item of something": Form(f'config["key"] = "{MARK}"', ("config",), before="config = {}"),
    "an attribute of something": Form(
        f'place.key = "{MARK}"', ("place",), before="class Place: ...\nplace = Place()"
    ),
    "a loop": Form(f'for row in ["{MARK}"]:\n    pass', ("row",)),
    "a loop over pairs": Form(f'for number, row in enumerate(["{MARK}"]):\n    pass', ("number", "row")),
    "a while loop": Form(
        f'left = [1]\nwhile left:\n    left.pop()\n    seen = "{MARK}"', ("left", "seen")
    ),
    "a condition": Form(f'if True:\n    secret = "{MARK}"\nelse:\n    other = 1', ("secret",)),
    "a try": Form(
        f'try:\n    secret = "{MARK}"\nfinally:\n    done = "{MARK}"', ("secret", "done")
    ),
    "a walrus": Form(f'print(len(secret := "{MARK}"))', ("secret",)),
    "a walrus in a comprehension": Form(f'lengths = [len(last := each) for each in ["{MARK}"]]', ("lengths", "last")),
    "a walrus in a default": Form(f'def shown(text=(held := "{MARK}")): ...', ("shown", "held")),
    "with as": Form(
        f'import contextlib\nwith contextlib.nullcontext("{MARK}") as held:\n    pass', ("held", "contextlib")
    ),
    "with as a tuple": Form(
        f'from contextlib import nullcontext\nwith nullcontext((1, "{MARK}")) as (one, held):\n    pass',
        ("one", "held", "nullcontext"),
    ),
    "a function": Form(f'def load(of="{MARK}", {MARK}=1):\n    """Load the {MARK} of all."""', ("load",)),
    "an asynchronous function": Form(f'async def load({MARK}):\n    """Load {MARK}."""', ("load",)),
    "a lambda": Form(f"load = lambda {MARK}: {MARK}", ("load",)),
    "a class": Form(f'class {MARK}:\n    """A {MARK}."""', (MARK,)),
    "an import": Form(f"import json as {MARK}", (MARK,)),
    "an import of a part": Form(f"from json import dumps as {MARK}", (MARK,)),
    "an import of everything": Form(
        f"import sys, types\nsys.modules['kept_out'] = types.ModuleType('kept_out')\n"
        f"sys.modules['kept_out'].secret = '{MARK}'\nfrom kept_out import *",
        ("secret",),
    ),
    "except as": Form(
        f'try:\n    raise ValueError("{MARK}")\nexcept ValueError as error:\n    caught = error', ("caught",)
    ),
    "match": Form(
        f'match {{"a": ["x", "{MARK}"], "b": "{MARK}"}}:\n'
        '    case {"a": [first, *others], **rest} as whole:\n        pass',
        ("first", "others", "rest", "whole"),
    ),
    "del and once more": Form(f'secret = 1\ndel secret\nsecret = "{MARK}"', ("secret",)),
    "global in a function": Form(
        f'def fill():\n    global filled\n    filled = "{MARK}"\nfill()', ("fill", "filled")
    ),
    "global in a method": Form(
        f'class Filler:\n    def fill(self):\n        global filled\n        filled = "{MARK}"\nFiller().fill()',
        ("Filler", "filled"),
    ),
    "exec": Form(f"exec('secret = \"{MARK}\"')", ("secret",)),
    "the namespace itself": Form(f'globals()["secret"] = "{MARK}"', ("secret",)),
    "what a shell command printed": Form(f"printed = !echo {MARK}", ("printed",)),
    "%time": Form(f'%time secret = "{MARK}"', ("secret",)),
    "%%time": Form(f'%%time\n# codex-skip\nsecret, other = "{MARK}", 1', ("secret", "other")),
    "%%capture": Form(f'%%capture taken\n# codex-skip\nsecret = "{MARK}"', ("secret",)),
    "%%script --out": Form(f"%%bash --out printed\n# codex-skip\necho {MARK}", ("printed",)),
    "an indented cell": Form(f'    # codex-skip\n    secret = "{MARK}"', ("secret",)),
    "top-level await": Form(
        f'async def load():\n    return "{MARK}"\nsecret = await load()', ("load", "secret")
    ),
    "an error on the way": Form(f'secret = "{MARK}"\n1/0\nnever = 1', ("secret",)),
}  # fmt: skip


def bodies(sim: Simulator) -> list[RecordedRequest]:
    return sim.requests.to("/responses", "POST")


def assert_kept_out(sim: Simulator, mark: str = MARK) -> None:
    """Scan everything that was sent, as sent and as decoded."""
    for request in sim.requests:
        sent = json.dumps(request.body, ensure_ascii=False)
        at = sent.find(mark)
        assert at < 0, sent[max(0, at - 300) : at + 100]
        assert_no_leak(request.raw_body, {"what is kept out": mark}, request.path)


def skip(notebook: Notebook, source: str, **more: Any) -> Cell:
    """Run a cell with the mark."""
    return notebook.run(source if "codex-skip" in source else f"# codex-skip\n{source}", **more)


def looks(*names: str) -> tuple[Reply, Reply]:
    """A turn in which the model lists all variables, then looks at some by name."""
    names = tuple(name for name in names if MARK not in name)
    calls = (
        Call("inspect", {"names": []}, call_id="call_list"),
        Call("inspect", {"names": list(names)}, call_id="call_names"),
    )
    return Reply(stream=(*calls, End())), Reply(stream=(Say("Seen."), End()))


@pytest.mark.parametrize("form", FORMS)
def test_what_a_skipped_cell_binds_leaves_by_no_exit(notebook: Notebook, sim: Simulator, form: str) -> None:
    how = FORMS[form]
    assert notebook.run(f"ordinary = 'seen'\n{how.before}").succeeded
    ran = skip(notebook, how.source)
    assert ran.succeeded or "1/0" in how.source, ran.error
    for name in how.names:
        if MARK not in name:
            notebook.run(f"kind = type({name})\n{name}.missing")
    assert notebook.run("%codex context What is there?").succeeded
    sim.add_replies(*looks(*how.names))
    assert notebook.run("%%codex --approval auto\nWhat is there?").succeeded
    notebook.run("1 / len([])")
    assert notebook.run("%codex fix").succeeded
    assert notebook.run("%codex explain").succeeded
    assert len(bodies(sim)) == 4
    assert_kept_out(sim)
    assert MARK not in notebook.run("%codex context And now?").out
    told = outputs_of(bodies(sim)[1])
    assert "ordinary: str of 4 = 'seen'" in told["call_list"]
    listed = {line.partition(":")[0] for line in told["call_list"].splitlines()}
    assert not listed & set(how.names)
    assert "ordinary: str of 4 = 'seen'" in context_of(bodies(sim)[0])


@pytest.mark.parametrize("form", [form for form, how in FORMS.items() if MARK not in how.names[0]])
def test_a_name_is_sent_when_the_question_mentions_it(notebook: Notebook, sim: Simulator, form: str) -> None:
    how = FORMS[form]
    notebook.run(how.before)
    skip(notebook, how.source)
    name = how.names[0]
    notebook.run(f"%codex What of {name}?")
    assert f"{name}: " not in context_of(bodies(sim)[0])
    notebook.run(f"%codex What of @{name}?")
    assert f"@{name}\n{name}: " in context_of(bodies(sim)[1])
    notebook.run("%codex And now?")
    assert_kept_out_since(sim, 2, f"@{name}\n")


def assert_kept_out_since(sim: Simulator, number: int, text: str) -> None:
    """Scan what later requests tell anew of the notebook."""
    for request in bodies(sim)[number:]:
        assert text not in context_of(request)


def test_later_cells_that_use_a_name_do_not_bring_it_out(notebook: Notebook, sim: Simulator) -> None:
    skip(notebook, f'patients = ["{MARK}"]\ndef clean(given):\n    return list(given)\nimport json as codec')
    for later in (
        "count = len(patients)",
        "patients = clean(patients)",
        "same = patients",
        "other = list(patients)\ndel other",
        "held = [patients]\npatients = held[0]\ndel held",
        "for patient in []:\n    patients = 1",
        "if False:\n    patients = 2",
        "if patients:\n    patients += []",
        "def use():\n    return patients",
        "text = codec.dumps(1)",
        "alias = clean",
        "1/0\npatients = 1",
    ):
        notebook.run(later)
        sim.add_replies(*looks("patients", "same", "alias", "clean", "codec", "count"))
        notebook.run("%%codex --approval auto\nHow many patients?")
        assert_kept_out(sim)
    assert "count: int = 1" in context_of(bodies(sim)[0])
    assert "alias" not in context_of(bodies(sim)[-2]).partition("Variables")[2]


def test_a_name_that_an_ordinary_cell_binds_anew_is_its_own_again(notebook: Notebook, sim: Simulator) -> None:
    skip(notebook, f'table = "{MARK}"\nimport json')
    notebook.run('import json\ntable = json.loads("[17]")')
    notebook.run("%codex What is in the table?")
    assert "table: list of 1 = [17]" in context_of(bodies(sim)[0])
    assert_kept_out(sim)
    skip(notebook, f'table = "{MARK}"')
    notebook.run("%codex And now?")
    assert_kept_out(sim)


def test_what_an_earlier_run_of_a_skipped_cell_bound_stays_hidden(notebook: Notebook, sim: Simulator) -> None:
    skip(notebook, f'before = "{MARK}"', cell_id="one")
    skip(notebook, "after = 1", cell_id="one")
    notebook.run("%codex What is there?")
    assert_kept_out(sim)
    notebook.run("after = 2", cell_id="one")
    notebook.run("%codex And without the mark?")
    assert_kept_out(sim)
    assert "after: int = 2" in context_of(bodies(sim)[-1])


def test_cells_that_ran_before_the_extension_was_loaded_are_kept_out_too(
    notebook: Notebook, sim: Simulator
) -> None:
    notebook.run("%unload_ext codex_nb")
    skip(notebook, f'first, second = 1, "{MARK}"')
    notebook.run("len(second)")
    notebook.run("import codex_nb\ncodex_nb.ask('What is there?', context=True)")
    notebook.run("%load_ext codex_nb")
    notebook.run("%codex What is there?")
    assert len(bodies(sim)) == 2
    assert_kept_out(sim)


def test_a_question_from_python_keeps_to_the_same_names(notebook: Notebook, sim: Simulator) -> None:
    skip(notebook, f'first, second = 1, "{MARK}"')
    notebook.run("import codex_nb\ncodex_nb.ask('What of second?', context=True)")
    assert_kept_out(sim)
    notebook.run("codex_nb.ask('What of @second?', context=True)")
    assert MARK in str(bodies(sim)[1].body["input"])


CALLED = f"""\
def broken(rows):
    told = "{MARK}", rows
    if told:
        return rows["{MARK[:-1]}"]
    return told
"""
PRINTED = "import traceback\ntry:\n    broken({})\nexcept KeyError:\n    traceback.print_exc()"


@pytest.mark.parametrize("mode", ["Context", "Plain", "Verbose", "Minimal"])
def test_lines_of_a_skipped_cell_are_in_no_traceback(notebook: Notebook, sim: Simulator, mode: str) -> None:
    notebook.run(f"%xmode {mode}")
    skip(notebook, CALLED)
    notebook.run("rows = {}\nbroken(rows)  # the ordinary line")
    notebook.run("%codex fix")
    notebook.run(PRINTED)
    calls = [
        Call("run_python", {"code": code}, call_id=f"call_{number}")
        for number, code in enumerate(
            ("broken({'a': 1})", PRINTED, "import inspect\nprint(inspect.getsource(broken))")
        )
    ]
    sim.add_replies(Reply(stream=(*calls, End())), Reply(stream=(Say("Seen."), End())))
    notebook.run("%%codex --approval all\nWhat fails?")
    for request in bodies(sim):
        assert f'told = "{MARK}", rows' not in str(request.body)
        assert 'return rows["' not in str(request.body)
        assert f"told = ('{MARK}'" not in str(request.body)
    fixed = str(bodies(sim)[0].body["input"])
    assert "broken(rows)  # the ordinary line" in fixed
    assert "KeyError" in fixed
    assert "KeyError" in outputs_of(bodies(sim)[-1])["call_0"]


def test_the_source_of_a_skipped_function_is_not_told_under_another_name(
    notebook: Notebook, sim: Simulator
) -> None:
    skip(notebook, f'def secret({MARK}):\n    """The {MARK}."""\n    return {MARK}')
    notebook.run("import functools\nholder = {'f': secret}")
    notebook.run("other = holder['f']\n@functools.wraps(secret)\ndef around(*given):\n    return 1")
    sim.add_replies(*looks("other", "secret", "In", "_ih", "_i1", "_i2", "_i", "_ii"))
    notebook.run("%%codex --approval auto\nWhat is there?")
    assert_kept_out(sim)


def test_what_a_skipped_cell_showed_is_not_told_by_the_history(notebook: Notebook, sim: Simulator) -> None:
    skip(notebook, f'"{MARK}"')
    sim.add_replies(*looks("_", "__", "___", "_1", "_2", "_oh", "Out", "_ih", "In"))
    notebook.run("%%codex --approval auto\nWhat is there?")
    assert_kept_out(sim)


def test_a_tool_from_a_skipped_cell_is_not_offered(notebook: Notebook, sim: Simulator) -> None:
    notebook.run("import codex_nb\n@codex_nb.tool\ndef seen(x: int) -> int:\n    return x")
    skip(notebook, f'@codex_nb.tool\ndef {MARK}(x: int) -> int:\n    """Do {MARK}."""\n    return x')
    notebook.run("%codex What can you do?")
    assert "seen" in offered_tools(bodies(sim)[0])
    assert_kept_out(sim)


def test_the_notebooks_file_is_read_without_its_skipped_cells(
    notebook: Notebook, sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def code(source: str, *tags: str) -> dict[str, Any]:
        shown = {"output_type": "stream", "name": "stdout", "text": source}
        return {"cell_type": "code", "metadata": {"tags": tags}, "outputs": [shown], "source": source}

    cells = [code("seen = 1"), code(f"# codex-skip\n{MARK}"), code(MARK, "codex-skip")]
    (tmp_path / "other.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4}))
    (tmp_path / "torn.ipynb").write_text(json.dumps({"cells": cells})[:-2])
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "notebook.ipynb"))
    calls = [
        Call("read_file", {"path": name}, call_id=f"call_{name}") for name in ("other.ipynb", "torn.ipynb")
    ]
    sim.add_replies(Reply(stream=(*calls, End())), Reply(stream=(Say("Seen."), End())))
    notebook.run("%%codex --approval auto\nWhat is in @file:other.ipynb and @file:torn.ipynb?")
    assert_kept_out(sim)
    assert "seen = 1" in outputs_of(bodies(sim)[1])["call_other.ipynb"]
    assert "seen = 1" in context_of(bodies(sim)[0])


@pytest.mark.parametrize("command", ["fix", "fix --no-context", "fix Use numpy."])
def test_a_skipped_cell_that_failed_is_not_repaired(notebook: Notebook, sim: Simulator, command: str) -> None:
    notebook.run("missing_before")
    skip(notebook, f'secret = "{MARK}"\nsecret.missing')
    ran = notebook.run(f"%codex {command}")
    assert not ran.succeeded
    assert "codex-skip" in str(ran.failure)
    assert len(str(ran.failure).splitlines()) == 1
    assert bodies(sim) == []
    notebook.run(f'secret = "{MARK}"\nsecret.missing')
    assert notebook.run(f"%codex {command}").succeeded
    assert "secret.missing" in str(bodies(sim)[0].body["input"])


def test_a_skipped_cell_is_not_explained(notebook: Notebook, sim: Simulator) -> None:
    notebook.run("ordinary = 1")
    skip(notebook, f'secret = "{MARK}"')
    ran = notebook.run("%codex explain")
    assert not ran.succeeded
    assert "codex-skip" in str(ran.failure)
    assert bodies(sim) == []
    assert notebook.run("%codex explain the cell that binds ordinary").succeeded
    assert_kept_out(sim)


@pytest.fixture
def tagged(codex_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A notebook's file, in which the cell "private" has the tag."""
    del codex_home  # it leads to no notebook
    cells = [
        {"cell_type": "code", "id": "private", "metadata": {"tags": ["codex-skip"]}, "outputs": [], "source": "new"},
        {"cell_type": "code", "id": "plain", "metadata": {}, "outputs": [], "source": ""},
        {"cell_type": "code", "id": "ask", "metadata": {}, "outputs": [], "source": ""},
    ]  # fmt: skip
    path = tmp_path / "tagged.ipynb"
    path.write_text(json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}))
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    return path


@pytest.mark.usefixtures("tagged")
@pytest.mark.parametrize("form", ["a tuple", "a function", "exec", "an import of everything", "%time"])
def test_the_tag_in_the_notebooks_file_keeps_out_what_the_mark_does(
    notebook: Notebook, sim: Simulator, form: str
) -> None:
    how = FORMS[form]
    notebook.run(how.source, cell_id="private")
    notebook.run(f"kind = type({how.names[0]})\n{how.names[0]}.missing", cell_id="plain")
    sim.add_replies(*looks(*how.names))
    notebook.run("%%codex --approval auto\nWhat is there?", cell_id="ask")
    notebook.run("%codex fix", cell_id="ask")
    notebook.run("%codex explain", cell_id="ask")
    assert len(bodies(sim)) == 4
    assert_kept_out(sim)
    notebook.run(f"'{MARK}'.missing", cell_id="private")
    for command in ("fix", "fix --no-context"):
        ran = notebook.run(f"%codex {command}", cell_id="ask")
        assert "codex-skip" in str(ran.failure)
    assert len(bodies(sim)) == 4
