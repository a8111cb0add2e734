"""Restart and Run All: a stored answer is shown only where a new one would be the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from codex_nb import Answer
from codex_nb.simulator import GRACE, Call, End, Item, Reply, Say, Scenario, Simulator, Think
from tests.magics.conftest import Kernels, Notebook

QUESTION = "%%codex\nWhat is the mean?"
NUMBERS = ["numbers = [1, 2, 3]", "title = 'heights'"]
FRAME = ["import pandas as pd", "df = pd.read_csv('d.csv')"]
RUNS_CODE = "%%codex --approval all\nWhat is the mean?"
COMPUTES = Call("run_python", {"code": "mean = 2.5"})


def says(text: str) -> Reply:
    """Reply with a message."""
    return Reply(stream=(Say(text), End()))


def computes() -> Reply:
    """Reply with a call of run_python."""
    return Reply(stream=(COMPUTES, End()))


def write_rows(folder: Path, row_500: float = 2.0) -> None:
    """Write a table of 1,000 rows."""
    rows = ["v", *(str(row_500 if row == 500 else 1.0) for row in range(1000))]
    (folder / "d.csv").write_text("\n".join(rows))


def run_all(
    kernels: Kernels, cells: Sequence[str], *names: str, approval: str | None = None
) -> tuple[str, list[object]]:
    """Run the cells in a kernel of their own; return what the last one showed, and the values of names."""
    with kernels() as notebook:
        if approval is not None:
            notebook.shell.run_line_magic("config", f"CodexMagics.approval = {approval!r}")
        for number, source in enumerate(cells):
            ran = notebook.run(source, cell_id=f"cell-{number}")
            assert ran.succeeded, ran.error + ran.out
        return ran.out, [notebook.namespace.get(name) for name in names]


def nothing(sim: Simulator, codex_home: Path, folder: Path) -> None:
    """Change nothing."""
    del sim, codex_home, folder


def data(sim: Simulator, codex_home: Path, folder: Path) -> None:
    """Change one row in the middle of the table."""
    del sim, codex_home
    write_rows(folder, row_500=3_000_000.0)


def account(sim: Simulator, codex_home: Path, folder: Path) -> None:
    """Sign in as somebody else."""
    del folder
    sim.write_login(codex_home, GRACE)


def provider(sim: Simulator, codex_home: Path, folder: Path) -> None:
    """Choose another provider, with the same login."""
    del sim, folder
    config = codex_home / "config.toml"
    config.write_text(config.read_text().replace("simulator", "somebody"))


def address(sim: Simulator, codex_home: Path, folder: Path) -> None:
    """Let the provider live at another address."""
    del sim, folder
    config = codex_home / "config.toml"
    head, table = config.read_text().split("[model_providers", 1)
    config.write_text(f"{head}[model_providers{table.replace('127.0.0.1', 'localhost')}")


def model(sim: Simulator, codex_home: Path, folder: Path) -> None:
    """Choose another model."""
    del sim, folder
    config = codex_home / "config.toml"
    config.write_text(f'model = "simulator-lite"\n{config.read_text()}')


def edit(sim: Simulator, codex_home: Path, folder: Path) -> None:
    """Leave all as it is: the questions are edited instead."""
    del sim, codex_home, folder


def consent(sim: Simulator, codex_home: Path, folder: Path) -> None:
    """Leave all as it is: nobody is there to approve instead."""
    del sim, codex_home, folder


Change = Callable[[Simulator, Path, Path], None]
CHANGES: list[Change] = [nothing, data, account, provider, address, model, edit, consent]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a table."""
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path)
    return tmp_path


def runs(code: str) -> Call:
    """Call run_python."""
    return Call("run_python", {"code": code})


DRAWS = "get_ipython().display_pub.publish({{'image/png': '{}', 'text/plain': 'a figure'}})"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
QUESTIONS: dict[str, tuple[str, str | None]] = {
    "text only": ("%%codex\nWhat is the mean?", None),
    "value": ("%%codex -o value --schema float\nWhich number is the mean?", None),
    "code": ("%%codex\nCompute the mean.", "print(df.v.mean())"),
    "a figure": ("%%codex\nDraw the mean.", DRAWS.format(PIXEL)),
    "failed code": ("%%codex\nDivide the mean.", "df.v.mean() / nobody"),
    "a variable": ("%%codex\nKeep the mean.", "mean = df.v.mean()"),
}
Told = dict[str, tuple[int, str, str]]


def ask_all(
    kernels: Kernels, sim: Simulator, number: str, *, edited: bool = False, approval: str = "all"
) -> Told:
    """Run a notebook with all questions in a kernel of its own; return requests, number and code of each.

    A model that is asked answers with this number.
    """
    told = {}
    with kernels() as notebook:
        notebook.shell.run_line_magic("config", f"CodexMagics.approval = {approval!r}")
        for count, source in enumerate(FRAME):
            assert notebook.run(source, cell_id=f"cell-{count}").succeeded
        for kind, (question, code) in QUESTIONS.items():
            said = says(f'{{"value": {number}}}' if kind == "value" else f"It is {number}.")
            replies = [*([Reply(stream=(runs(code), End()))] if code else []), said]
            before = sim.requests.count("/responses")
            sim.play(Scenario(tuple(replies)))
            ran = notebook.run(question + " Really?" * edited, cell_id=kind)
            assert ran.succeeded, ran.out + ran.error
            asked = sim.requests.count("/responses") - before
            shown = [each for each in ("1.5", "2.5") if f"{each}." in ran.out or f"\n    {each}\n" in ran.out]
            answer = notebook.namespace["_codex"]
            assert [each for each in ("1.5", "2.5") if each in answer.text] == shown
            told[kind] = (asked, *shown, _made(notebook, kind, answer, ran.out + ran.error))
        assert notebook.namespace["value"] == float(told["value"][1])
    return told


def _made(notebook: Notebook, kind: str, answer: Answer, out: str) -> str:
    """Return whether what an answer's code gives is there: its output, its figure, its variable."""
    outputs = [output for call in answer.tool_calls for output in call.outputs]
    there = {
        "code": "\n1.001" in out or "\n3000.999" in out,
        "a figure": any("image/png" in (output.get("data") or {}) for output in outputs),
        "a variable": "mean" in notebook.namespace,
        "failed code": "NameError" in out,
    }
    return "there" if there.get(kind) else "nothing"


@pytest.mark.parametrize("change", CHANGES)
def test_run_all_after_a_restart(
    kernels: Kernels, sim: Simulator, codex_home: Path, folder: Path, change: Change
) -> None:
    before = ask_all(kernels, sim, "1.5")
    assert before == {
        kind: (2 if code else 1, "1.5", "there" if code else "nothing")
        for kind, (_, code) in QUESTIONS.items()
    }
    change(sim, codex_home, folder)
    approval = "ask" if change is consent else "all"
    after = ask_all(kernels, sim, "2.5", edited=change is edit, approval=approval)
    if change is nothing:
        assert after == {kind: (0, "1.5", made) for kind, (_, _, made) in before.items()}
    elif change is consent:
        assert after == {kind: (0, "1.5", made) for kind, (_, _, made) in before.items()} | {
            "a variable": (0, "1.5", "nothing")
        }
    else:
        assert after == {kind: (asked, "2.5", made) for kind, (asked, _, made) in before.items()}


def test_two_profiles_of_one_home_get_each_their_own_answer(
    kernels: Kernels, sim: Simulator, codex_home: Path
) -> None:
    config = (codex_home / "config.toml").read_text()
    other = config[config.index("[model_providers") :].replace("simulator", "other")
    (codex_home / "config.toml").write_text(f"{config}\n{other}\n")
    (codex_home / "pa.config.toml").write_text('model_provider = "simulator"\n')
    (codex_home / "pb.config.toml").write_text('model_provider = "other"\n')
    sim.add_replies(says("For the first."), says("For the second."))
    cells = [QUESTION.replace("%%codex", f"%%codex --profile {name}") for name in ("pa", "pb", "pa")]
    texts = [run_all(kernels, [*NUMBERS, cell])[0] for cell in cells]
    assert ["For the first." in text for text in texts] == [True, False, True]
    assert ["For the second." in text for text in texts] == [False, True, False]


WHOLE = [
    "x = 3",
    "x = 2.25",
    "x = True",
    "x = None",
    "x = 'a short text'",
    "x = [1, 'two', None]",
    "x = (1, 2)",
    "x = {'a': 1, 'b': [1, 2]}",
    "import datetime\nx = datetime.date(2025, 1, 1)",
    "from pathlib import Path\nx = Path('d.csv')",
    "def x(a, b=1):\n    return a + b",
    "class X:\n    limit = 3\n    def double(self):\n        return 2 * self.limit",
    "from dataclasses import dataclass\n@dataclass\nclass X:\n    n: int = 1",
    "from pydantic import BaseModel\nclass X(BaseModel):\n    n: int = 1",
    "import json\nfrom math import sqrt\nfrom typing import Literal, Optional",
    "1 + 1",
    "print('a line')",
]


@pytest.mark.parametrize("source", WHOLE)
def test_what_was_told_whole_makes_run_all_free(kernels: Kernels, sim: Simulator, source: str) -> None:
    sim.add_replies(says("The first answer."))
    run_all(kernels, [source, QUESTION])
    shown, _ = run_all(kernels, [source, QUESTION])
    assert sim.requests.count("/responses") == 1
    assert "The first answer." in shown


READ = "int(Path('n.txt').read_text())"
PARTIAL = [
    "x = list(range(1000))\nx[500] = N",
    "x = ['a' * 200 + str(N)]",
    "x = 'a' * 5000 + str(N) + 'a' * 5000",
    "x = {'a': {'b': {'c': {'d': [N]}}}}",
    "x = {number: 'a' * 50 for number in range(30)} | {20: N}",
    "x = set(range(100)) | {N + 1000}",
    "x = bytes([N])",
    "x = 10 ** 80 + N",
    "import numpy as np\nx = np.zeros(1000)\nx[500] = N",
    "import numpy as np\nx = [np.zeros(3) + N]",
    "import pandas as pd\nx = pd.Series(range(1000))\nx[500] = N",
    "import pandas as pd\nx = {'frame': pd.DataFrame({'a': range(1000)})}\nx['frame'].loc[500, 'a'] = N",
    "import pandas as pd\nx = pd.DataFrame({'a': [0.1234567 + N / 1e12]})",
    "import pandas as pd\npd.Series([*range(500), N, *range(500)])",
    "import collections\nx = collections.Counter({'a': N})",
    "class Box:\n    pass\nx = Box()\nx._held = N",
    "class Box:\n    held = [N] * 1000",
    "def make(n):\n    def inner():\n        return n\n    return inner\nx = make([N] * 100)",
    "def x(n=[N] * 100):\n    return n",
    "exec('def x(a):\\n    return a + ' + str(N))",
    "exec('class X:\\n    def x(self):\\n        return ' + str(N))",
    "api_key = str(N)",
    "str(N) * 5000",
    "for number in range(100):\n    globals()[f'x{number}'] = number + (number == 5) * N",
]


@pytest.mark.parametrize("source", PARTIAL)
def test_what_was_only_described_is_asked_about_anew_when_it_has_changed(
    kernels: Kernels, sim: Simulator, folder: Path, source: str
) -> None:
    sim.add_replies(says("The first answer."), says("The second answer."))
    for n in (1, 2):
        (folder / "n.txt").write_text(str(n))
        cells = ["from pathlib import Path", source.replace("N", READ), QUESTION]
        shown, _ = run_all(kernels, cells)
    assert "The second answer." in shown


COMPARED = [
    "x = list(range(1000))",
    "x = 'one word ' * 1000",
    "x = set(range(100))",
    "x = bytes(100)",
    "import numpy as np\nx = np.zeros(1000)",
    "import numpy as np\nx = [np.zeros(3)]",
    "import pandas as pd\nx = pd.Series(range(1000))",
    "import pandas as pd\nx = {'frame': pd.DataFrame({'a': range(1000), 'b': 'text'})}",
    "import polars as pl\nx = pl.DataFrame({'a': range(1000), 'b': 'text'})",
    "import pyarrow as pa\nx = pa.table({'a': list(range(1000))})",
    "import pandas as pd\npd.DataFrame({'a': range(3)})",
]


@pytest.mark.parametrize("source", COMPARED)
def test_data_that_is_the_same_makes_run_all_free(kernels: Kernels, sim: Simulator, source: str) -> None:
    sim.add_replies(says("The first answer."))
    run_all(kernels, [source, QUESTION])
    shown, _ = run_all(kernels, [source, QUESTION])
    assert sim.requests.count("/responses") == 1
    assert "The first answer." in shown


UNREADABLE = [
    "class Box:\n    pass\nx = Box()\nx._held = [1]",
    "x = {'api_key': 'kT9vLq2Zx7Rb4Wn8Ym3P', 'more': list(range(1000))}",
    "import pandas as pd\nx = pd.DataFrame({'password': ['kT9vLq2Zx7Rb4Wn8Ym3P']})",
]


@pytest.mark.parametrize("source", UNREADABLE)
def test_what_cannot_be_compared_or_is_secret_is_asked_about_anew(
    kernels: Kernels, sim: Simulator, source: str
) -> None:
    sim.add_replies(says("The first answer."), says("The second answer."))
    run_all(kernels, [source, QUESTION])
    assert "The second answer." in run_all(kernels, [source, QUESTION])[0]


def test_with_replay_off_nothing_is_saved_or_shown(
    kernels: Kernels, sim: Simulator, codex_home: Path
) -> None:
    sim.add_replies(says("The first answer."), says("The second answer."), says("The third answer."))
    off = "%config CodexMagics.replay = 'off'"
    run_all(kernels, [off, QUESTION])
    assert not (codex_home / "codex_nb" / "answers").exists()
    run_all(kernels, [QUESTION])
    assert "The third answer." in run_all(kernels, [off, QUESTION])[0]


def test_a_footer_says_that_there_was_too_much_to_compare(kernels: Kernels, sim: Simulator) -> None:
    sim.add_replies(says("The first answer."), says("The second answer."))
    cells = ["x = [[text] for text in map(str, range(3_000_000))]", QUESTION]
    before, _ = run_all(kernels, cells)
    shown, _ = run_all(kernels, cells)
    assert "not saved for Run All" in before
    assert "The second answer." in shown


def test_a_file_that_is_mentioned_counts_by_all_of_its_bytes(
    kernels: Kernels, sim: Simulator, folder: Path
) -> None:
    sim.add_replies(says("The first answer."), says("The second answer."))
    cells = ["%cd -q .", "%%codex\nWhat is in @file:long.txt?"]
    asked, texts = [], []
    for middle in ("same", "same", "else"):
        (folder / "long.txt").write_text("a" * 300_000 + middle + "a" * 300_000)
        texts.append(run_all(kernels, cells)[0])
        asked.append(sim.requests.count("/responses"))
    assert asked == [1, 1, 2]
    assert "The second answer." in texts[-1]


OTHER_CHANGES = {
    "a cell above": (["a = 1"], ["a = 1  # one"]),
    "a cell below that ran before": (["later = 1", QUESTION], ["later = 2", QUESTION]),
    "one more cell": (["a = 1"], ["a = 1", "# nothing"]),
    "an import": (["import json"], ["import json, math"]),
}


@pytest.mark.parametrize(("before", "after"), OTHER_CHANGES.values(), ids=OTHER_CHANGES)
def test_what_is_told_otherwise_is_asked_about_anew(
    kernels: Kernels, sim: Simulator, before: list[str], after: list[str]
) -> None:
    sim.add_replies(*map(says, ("The first answer.",) * before.count(QUESTION)))
    sim.add_replies(says("The first answer."), *map(says, ("The second answer.",) * 2))
    run_all(kernels, [*before, QUESTION])
    shown, _ = run_all(kernels, [*after, QUESTION])
    assert "The second answer." in shown


def test_an_answer_on_which_a_later_one_builds_counts(kernels: Kernels, sim: Simulator) -> None:
    first, second = "%%codex --no-context\nThink of a number.", "%%codex --no-context\nDouble it."
    sim.add_replies(says("Three."), says("Six."), says("Four."), says("Eight."))
    run_all(kernels, [first, second])
    shown, _ = run_all(kernels, [first, second])
    assert (sim.requests.count("/responses"), "Six." in shown) == (2, True)
    shown, _ = run_all(kernels, [first.replace("%%codex", "%%codex --fresh"), second])
    assert (sim.requests.count("/responses"), "Eight." in shown) == (4, True)
    shown, _ = run_all(kernels, [first, second])
    assert (sim.requests.count("/responses"), "Eight." in shown) == (4, True)


def test_in_one_kernel_a_question_knows_what_was_asked_since(kernels: Kernels, sim: Simulator) -> None:
    asks = "%%codex --no-context\nWhich number is it?"
    sim.add_replies(says("I know of none."), says("Noted."), says("Five."))
    shown, _ = run_all(kernels, [asks, "%%codex --no-context\nIt is five.", asks])
    assert "Five." in shown


def test_the_newest_answer_is_the_one_that_is_stored(kernels: Kernels, sim: Simulator) -> None:
    sim.add_replies(says("Old."), says("New."), computes(), says("Last."))
    fresh = "%%codex --approval all --fresh\nWhat is the mean?"
    for asking in (RUNS_CODE, fresh):
        run_all(kernels, [*NUMBERS, asking])
    assert "New." in run_all(kernels, [*NUMBERS, RUNS_CODE])[0]
    run_all(kernels, [*NUMBERS, fresh])
    assert "Last." in run_all(kernels, [*NUMBERS, RUNS_CODE])[0]


def test_a_thread_in_which_others_speak_is_asked_anew(kernels: Kernels, sim: Simulator) -> None:
    sim.add_replies(says("The first answer."), says("The second answer."))
    asking = "%%codex -t shared\nWhat is the mean?"
    run_all(kernels, [*NUMBERS, asking])
    assert "The second answer." in run_all(kernels, [*NUMBERS, asking])[0]


def test_a_plan_and_a_look_are_made_again_without_a_request(kernels: Kernels, sim: Simulator) -> None:
    plan = Call("update_plan", {"plan": [{"step": "Count", "status": "completed"}]})
    look = Call("inspect", {"names": ["numbers"]})
    sim.add_replies(Reply(stream=(plan, look, End())), says("The first answer."))
    run_all(kernels, [*NUMBERS, QUESTION])
    shown, _ = run_all(kernels, [*NUMBERS, QUESTION])
    assert (sim.requests.count("/responses"), "The first answer." in shown) == (2, True)
    assert "Count" in shown


def test_a_refused_call_is_asked_about_anew_but_does_not_replace_what_was_saved(
    kernels: Kernels, sim: Simulator
) -> None:
    run_code, fresh = Reply(stream=(COMPUTES, End())), QUESTION.replace("%%codex", "%%codex --fresh")
    sim.add_replies(run_code, says("The first answer."), run_code, says("The second answer."))
    run_all(kernels, [*NUMBERS, QUESTION])
    shown, _ = run_all(kernels, [*NUMBERS, QUESTION], approval="all")
    assert "The second answer." in shown
    sim.add_replies(run_code, says("I could not."))
    run_all(kernels, [*NUMBERS, fresh])
    shown, [mean] = run_all(kernels, [*NUMBERS, QUESTION], "mean", approval="all")
    assert ("The second answer." in shown, mean) == (True, 2.5)


def test_code_that_shows_something_else_has_the_model_asked_about_it(
    kernels: Kernels, sim: Simulator, folder: Path
) -> None:
    reads = runs("from pathlib import Path\nn = Path('n.txt').read_text()\nprint('read', n)")
    then = runs("print('doubled', 2 * n)")
    sim.add_replies(*(Reply(stream=(call, End())) for call in (reads, then)), says("The first answer."))
    sim.add_replies(says("The second answer."))
    asked = []
    for text in ("7", "7", "9", "9"):
        (folder / "n.txt").write_text(text)
        shown, [n] = run_all(kernels, [QUESTION], "n", approval="all")
        asked.append(sim.requests.count("/responses"))
    assert asked == [3, 3, 4, 4]
    assert ("The second answer." in shown, "doubled" in shown, n) == (True, False, "9")
    sent = json.dumps(sim.requests.to("/responses")[-1].body["input"])
    assert ("-read 7" in sent, "+read 9" in sent) == (True, True)


def test_a_search_of_the_web_is_made_anew(kernels: Kernels, sim: Simulator) -> None:
    search = Item({"type": "web_search_call", "id": "ws_1", "status": "completed"})
    sim.add_replies(Reply(stream=(search, Say("The first answer."), End())), says("The second answer."))
    run_all(kernels, [*NUMBERS, QUESTION])
    assert "The second answer." in run_all(kernels, [*NUMBERS, QUESTION])[0]


def test_a_stored_answer_shows_all_that_was_said(kernels: Kernels, sim: Simulator) -> None:
    steps = (Think(("Weighing.",)), Say("On the way.", phase="commentary"), Say("It is two."), End())
    sim.add_replies(Reply(stream=steps))
    html = "%config CodexMagics.display = 'html'"
    before, _ = run_all(kernels, [html, *NUMBERS, QUESTION])
    shown, _ = run_all(kernels, [html, *NUMBERS, QUESTION])
    assert sim.requests.count("/responses") == 1
    for said in ("On the way.", "It is two."):
        assert (said in before, said in shown) == (True, True)


def test_answers_that_an_older_release_stored_are_not_shown(
    kernels: Kernels, sim: Simulator, codex_home: Path
) -> None:
    sim.add_replies(says("The first answer."), says("The second answer."))
    run_all(kernels, [*NUMBERS, QUESTION])
    (stored,) = (codex_home / "codex_nb" / "answers").iterdir()
    stored.write_text(stored.read_text().replace('"version": 4', '"version": 1'))
    assert "The second answer." in run_all(kernels, [*NUMBERS, QUESTION])[0]
