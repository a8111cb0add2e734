"""Whatever a hidden cell creates or binds anew in a real shell, and whatever hands it on, leaves by no exit."""

from __future__ import annotations

import itertools
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from codex_nb.host.notebook import OutputRecorder
from codex_nb.magics.session import offered_tools
from codex_nb.session.context import build_context
from codex_nb.session.outbound import Redactor, UntrustedBlock
from codex_nb.session.prompt import failure_data
from codex_nb.tools.builtin import inspect_variables
from codex_nb.tools.hiding import Hidden, hidden_in
from codex_nb.tools.introspection import imported_modules, snapshot
from codex_nb.tools.nbmodel import NotebookSnapshot

MARK = "kept0out"
NAMES = ("alpha", "beta", "gamma", "delta", "omega")
ORDINARY = """\
import contextlib, functools, types
seen = 'ordinary value'
rows, table = [], {}
class Place: ...
place = Place()"""


@dataclass
class Notebook:
    """A shell with a recorder, without the extension: a property needs many of them."""

    shell: InteractiveShell
    recorder: OutputRecorder
    before: dict[str, Any] = field(default_factory=dict)

    def start_anew(self) -> None:
        self.recorder.stop()
        for name in set(self.shell.user_ns) - set(self.before):
            del self.shell.user_ns[name]
        self.shell.user_ns.update(self.before)
        self.recorder = OutputRecorder(self.shell)
        self.recorder.start()
        self.run(ORDINARY)

    def run(self, source: str) -> frozenset[str]:
        """Run a cell; return the names that it created or bound anew."""
        before = snapshot(self.shell.user_ns)
        self.shell.run_cell(source, store_history=True)
        after = snapshot(self.shell.user_ns)
        return frozenset(name for name, value in after.items() if before.get(name, self) is not value)

    @property
    def hidden(self) -> Hidden:
        return hidden_in(NotebookSnapshot("kernel", self.recorder.cells()), self.recorder.runs())

    def exits(self) -> str:
        """Return everything that a question, its tools, and fix tell of the variables and cells."""
        hidden, variables = self.hidden, self.shell.user_ns
        visible = hidden.visible(variables)
        asked = sorted(snapshot(variables))
        texts = [inspect_variables(variables, [], hidden).text, imported_modules(visible)]
        texts += [str(tool.spec()) for tool in offered_tools(visible)]
        texts += [
            inspect_variables(variables, asked[n : n + 20], hidden).text for n in range(0, len(asked), 20)
        ]
        document = NotebookSnapshot("kernel", self.recorder.cells())
        texts.append(
            build_context(document, variables, "What is there?", redactor=Redactor({}), hidden=hidden).render(
                (), UntrustedBlock()
            )
        )
        texts += [
            failure_data(run, hidden)
            for run in self.recorder.runs()
            if run.error and not hidden.skips(run.cell)
        ]
        return "\n".join(texts)


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    folder: Path = tmp_path_factory.mktemp("ipython")
    configuration = Config({"HistoryManager": {"enabled": False}})
    shell = InteractiveShell(config=configuration, ipython_dir=str(folder))
    InteractiveShell._instance = shell
    recorder = OutputRecorder(shell)
    recorder.start()
    notebook = Notebook(shell, recorder, snapshot(shell.user_ns))
    yield notebook
    notebook.recorder.stop()
    InteractiveShell.clear_instance()


_number = itertools.count()


def value() -> str:
    """Return an expression for a list of a text that nothing else has."""
    return f"['{MARK}-{next(_number)}', 2]"


# {a}, {b}: names that are bound; {v}: an expression with the mark.
BINDING = """\
{a} = {v}
{a} = {b} = {v}
{a}, {b} = {v}
[{a}, *{b}] = {v}
{a}, ({b}, *_rest) = 1, {v}
{a}: list = {v}
{a} = []; {a} += {v}
print(len({a} := {v}))
{a} = [({b} := _each) for _each in {v}]
for {a}, {b} in zip({v}, {v}): pass
for {a} in {v}: {b} = {a}
while True: {a} = {v}; break
with contextlib.nullcontext({v}) as {a}: pass
with contextlib.nullcontext({v}) as ({a}, {b}): pass
try: raise ValueError({v})\\nexcept ValueError as {a}: {b} = {a}
try: pass\\nfinally: {a} = {v}
match {v}:\\n    case [{a}, *{b}]: pass
match {{"k": {v}, "l": 1}}:\\n    case {{"k": {a}, **{b}}}: pass
match {v}:\\n    case list() as {a} if ({b} := {a}): pass
def {a}({b}={v}, *, c={v}): return {b}
def {a}():\\n    "{m}"\\n    global {b}\\n    {b} = {v}\\n{a}()
async def {a}(): return {v}\\n{b} = await {a}()
class {a}:\\n    "{m}"\\n    {b} = {v}
class {a}:\\n    global {b}\\n    {b} = {v}
{a} = lambda {b}={v}: {b}
import json as {a}; {b} = {v}
from json import dumps as {a}; {b} = {a}({v})
{a} = 1; del {a}; {a} = {v}
exec("{a} = {v}")
{a} = 0; exec("del {a}; {a} = {v}")
globals()["{a}"] = {v}
get_ipython().push({{"{a}": {v}}})
get_ipython().user_ns.update({a}={v}, {b}={v})
%time {a} = {v}
{a} = !echo {m}
if seen: {a} = {v}\\nelse: {b} = 1
{a} = {v} if seen else None
{a} = types.SimpleNamespace(held={v})
{a} = iter({v}); {b} = (each for each in {v})
rows.append({v})
rows[:] = {v}
table["k"] = {v}
table.update(k={v})
place.held = {v}
setattr(place, "held", {v})
{a} = {v}; raise ValueError({a})
{a} = functools.partial(print, {v})
from contextlib import *; {a} = {v}""".splitlines()
if sys.version_info >= (3, 12):
    BINDING.append("type {a} = {v}\\n{b} = {a}.__value__")


def form(pattern: str) -> st.SearchStrategy[str]:
    names = st.lists(st.sampled_from(NAMES), min_size=2, max_size=2, unique=True)
    return names.map(
        lambda two: pattern.format(a=two[0], b=two[1], v=Quoted(value()), m=MARK).replace("\\n", "\n")
    )


class Quoted(str):
    """An expression whose representation is the expression itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def in_block(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    heads = st.sampled_from(
        ["if seen:", "for omega in range(1):", "with contextlib.nullcontext():", "try:", "for _ in range(2):"]
    )
    return st.builds(_block, heads, inner)


def _block(head: str, body: str) -> str:
    end = "\nfinally:\n    pass" if head == "try:" else ""
    return f"{head}\n{textwrap.indent(body, '    ')}{end}"


STATEMENT = st.sampled_from(BINDING).flatmap(form)
CELLS = st.lists(st.recursive(STATEMENT, in_block, max_leaves=3), min_size=1, max_size=4).map("\n".join)
HANDING_ON = """\
alias = {a}
box = [{a}]
box = {{"k": {a}}}
box = ({a}, 1); other = box
box = dict(k={a})
rows.append({a})
table["k"] = {a}
place.held = {a}
part = {a}[0]
part, _more = {a}
part, *_more = {a}
for part in {a}: pass
for number, part in enumerate({a}): other = part
copied = list({a})
copied = {a}.copy(); other = copied
copied = [each for each in {a}]
other = {a} if seen else None; third = other
told = str({a})
told = f"it is {{{a}}}"
told = ascii({a}); other = "it is %s" % {a}; third = "it is {{}}".format({a})
import json; told = json.dumps({a}); other = json.loads(told)
import pickle; told = pickle.dumps({a}); other = pickle.loads(told)
told = ", ".join(map(str, {a}))
import pandas as pd; told = pd.Series({a}).to_csv(); other = pd.DataFrame({{"n": {a}}}).to_html()
other = (walrus := {a})
def use(x={a}): return x
use = lambda: {a}; other = use()
other = (lambda held: (lambda: held))({a})
other = functools.partial(print, {a})
class Box: held = {a}\\nbox = Box; other = Box()
other = iter({a})
other = (each for each in [{a}])
with contextlib.nullcontext({a}) as part: pass
match {a}:\\n    case [part, *_more]: pass
if seen:\\n    alias = {a}\\n    box = [alias]
other = {a}; {a} = 1
box = [{a}]; del {a}""".splitlines()

anything = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@anything
@given(source=CELLS)
def test_all_that_a_hidden_cell_creates_or_binds_anew_is_hidden_at_every_exit(
    notebook: Notebook, source: str
) -> None:
    notebook.start_anew()
    created = notebook.run(f"# codex-skip\n{source}")
    ours = {name for name in created if not name.startswith("_") and name not in {"In", "Out"}}
    assert not ours & set(notebook.hidden.visible(notebook.shell.user_ns))
    notebook.run("len(seen)\nmissing_name")
    told = notebook.exits()
    assert MARK not in told
    assert "seen: str of 14 = 'ordinary value'" in told


@pytest.mark.parametrize("pattern", BINDING)
def test_each_form_of_binding_is_hidden(notebook: Notebook, pattern: str) -> None:
    notebook.start_anew()
    source = pattern.format(a="alpha", b="beta", v=Quoted(value()), m=MARK).replace("\\n", "\n")
    created = notebook.run(f"# codex-skip\n{source}")
    assert created
    assert MARK not in notebook.exits()
    notebook.run("alpha.missing\nbeta.missing")
    assert MARK not in notebook.exits()


# Changes that no assignment tells: by functions, by other names, inside what something holds.
CHANGED_WITHIN = """\
import heapq; heapq.heappush(rows, "{m}")
import operator; operator.setitem(table, "k", "{m}")
list.append(rows, "{m}")
list(map(rows.append, ["{m}"]))
[rows.append(each) for each in ["{m}"]]
(append := rows.append)("{m}")
getattr(rows, "append")("{m}")
def fill():\\n    rows.append("{m}")\\nfill()
fill_rows("{m}")
vars(place)["held"] = "{m}"
object.__setattr__(place, "held", "{m}")
nested[0].append("{m}")
box["rows"].append("{m}")
places[0].held = "{m}"
dict.update(counted, {{"{m}": 1}})
counted.subtract(["{m}"])
several.symmetric_difference_update(["{m}"])
np.copyto(array, "{m}")
np.put(array, [0], "{m}")
frame.values[0, 0] = "{m}"
frame.eval("name = '{m}'", inplace=True)""".splitlines()
BEFORE_CHANGES = """\
import collections, numpy as np, pandas as pd
inner = []; nested = [inner]; box = {"rows": rows}; places = [place]
counted, several = collections.Counter(), {"one"}
array, frame = np.zeros(2, "U20"), pd.DataFrame({"name": ["one", "two"]})
untouched = ["as it was"]
def fill_rows(value): rows.append(value)"""


@pytest.mark.parametrize("pattern", CHANGED_WITHIN)
def test_what_a_hidden_cell_changes_from_within_is_hidden_and_nothing_else(
    notebook: Notebook, pattern: str
) -> None:
    source = pattern.format(m=MARK).replace("\\n", "\n")
    for mark in ("", "# codex-skip\n"):
        notebook.start_anew()
        notebook.run(BEFORE_CHANGES)
        notebook.run(f"{mark}len(untouched)\n{source}")
        told = notebook.exits()
        assert "untouched: list of 1 = ['as it was']" in told
        variables = told.split("Variables in the kernel")[1]
        assert (MARK in variables, MARK in told) == (not mark, not mark)


@pytest.mark.parametrize("hidden", [f"alpha = ['{MARK}-1', 2]", f"alpha = [['{MARK}'], ['{MARK} 2']]"])
@pytest.mark.parametrize("pattern", HANDING_ON)
def test_what_holds_a_hidden_value_is_hidden_like_it(notebook: Notebook, pattern: str, hidden: str) -> None:
    notebook.start_anew()
    notebook.run(f"# codex-skip\n{hidden}")
    notebook.run(pattern.format(a="alpha").replace("\\n", "\n"))
    assert MARK not in notebook.exits()


# What an ordinary cell brings out of another place than a variable of its own: {v} is hidden in the first part.
BROUGHT_OUT = """\
{v} | other = In[-2]
{v} | other = In[-2:]; box = {{"cells": In[-2:]}}
alpha = {v} | other = chr(10).join(In[-3:])
alpha = {v} | other = get_ipython().history_manager.input_hist_raw[-2:]
def fill():\\n    globals()["alpha"] = {v} | fill()
def fill():\\n    exec("alpha = {v}", globals()) | fill()
def fill():\\n    get_ipython().run_cell("alpha = {v}") | fill()
class Filler:\\n    def __init__(self):\\n        globals().update(alpha={v}, beta=1) | filler = Filler()
import threading as t\\nfill = t.Timer(0, lambda: globals().update(alpha={v})) | fill.start(); fill.join()
import math\\nmath.kept = {v} | import math\\nother = math.kept
import math\\nsetattr(math, "kept", {v}) | from math import kept as other
import os.path as alpha\\nalpha.kept = {v} | import os.path\\nother = os.path.kept
import builtins\\nbuiltins.kept = {v} | other = kept; box = [kept]
import builtins\\nbuiltins.__dict__["kept"] = {v} | other = kept; box = [kept]
import builtins\\nvars(builtins).update(kept={v}) | other = kept
Place.kept = {v} | other = Place().kept; part = Place.kept[0]
class Inner:\\n    kept = {v} | other = Inner().kept; box = vars(Inner)["kept"]
raise ValueError({v}) | import sys\\nother = sys.last_value; third = str(other); box = [other.args]
def fill(): return {v} | other = fill(); box = [other]; third = str(other) + "."
class Inner:\\n    @property\\n    def kept(self): return str({v}) | other = Inner().kept
async def fill(): return {v} | other = await fill()
Place.kept = property(lambda self: {v}) | other = Place().kept
get_ipython().kept = {v} | other = get_ipython().kept
import sys\\nsys.argv[-1:] = [str({v})] | import sys\\nother = sys.argv; box = list(sys.argv); sys.argv[-1:] = ["x"]
import polars\\nalpha = polars.DataFrame({{"a": {v}[:1]}}) | other = alpha.select("a"); part = alpha.lazy()
import pyarrow\\nalpha = pyarrow.table({{"a": {v}[:1]}}) | other = alpha.slice(0); part = alpha.to_pylist()
""".splitlines()


@pytest.mark.parametrize("pattern", BROUGHT_OUT)
def test_what_a_hidden_cell_left_anywhere_is_hidden_when_it_is_brought_out(
    notebook: Notebook, pattern: str
) -> None:
    hidden, ordinary = pattern.format(v=value()).replace("\\n", "\n").split(" | ")
    told = []
    for mark in ("# codex-skip\n", ""):
        notebook.start_anew()
        notebook.run(f"{mark}{hidden}")
        notebook.run(f"{ordinary}\nlater = ['as it was']")
        variables = notebook.exits().split("Variables in the kernel")[1]
        assert "later: list of 1 = ['as it was']" in variables
        told.append(MARK in variables)
    assert told == [False, True]


# Ways by which a text comes out as another object, or in another place than a name that is assigned.
COPIED = r"""
other = alpha[0] + "x"; third = "x" + alpha[0]; fourth = alpha[0][:4] + alpha[0][4:]
other = alpha[0].split("-"); third = alpha[0].zfill(50); fourth = alpha[0].partition("-")
import pprint, textwrap; other = pprint.pformat(alpha); third = textwrap.fill(str(alpha))
import string; other = string.Template("$x").substitute(x=alpha)
import io; other = io.StringIO(); print(alpha, file=other); third = other.getvalue()
import io, csv; other = io.StringIO(); csv.writer(other).writerow(alpha); third = other.getvalue()
import io\nwith contextlib.redirect_stdout(io.StringIO()) as other: print(alpha)\nthird = other.getvalue()
from IPython.utils.capture import capture_output\nwith capture_output() as box: print(alpha)\nother = box.stdout
import re; other = re.sub("x", "y", str(alpha)); third = re.search(".*", str(alpha))
import pathlib, json; other = pathlib.Path(str(alpha)); third = json.JSONEncoder().encode(alpha)
import ast; other = ast.literal_eval(repr(alpha))
def copied(x): return str(x)\nother = copied(alpha)
async def copied(): return str(alpha)\nother = await copied()
class Kept:\n    def __init__(self, x): self.x = str(x)\nkept = Kept(alpha)
table[alpha[0]] = 1; other = {}; other.setdefault(alpha[0] + "", 1)
import collections; other = collections.Counter(map(str, alpha))
vars(place)["held"] = str(alpha)
object.__setattr__(place, "held", str(alpha))
rows.append(str(alpha) + "."); other = table | {"k": str(alpha)}
import heapq, bisect; heapq.heappush(rows, str(alpha)); other = []; bisect.insort(other, str(alpha))
for each in alpha: rows.insert(0, each + ".")
try: raise ValueError(str(alpha))\nexcept ValueError as error: other = error.args; third = str(error)
exec("other = str(alpha)"); third = eval("str(alpha)")
other = {name: str(each) for name, each in globals().items() if name.startswith("alp")}
%time other = str(alpha)
import queue; box = queue.Queue(); box.put(str(alpha) + "."); other = box.get()
import numpy as np; other = np.array(alpha).astype(str); third = other.tolist(); fourth = np.concatenate([other, other])
import pandas as pd; other = pd.DataFrame({"a": alpha}); third = other.merge(other); fourth = other.a.value_counts()
other = In[-2][12:]; third = [each[10:] for each in In[-2:]]
""".strip().splitlines()


@pytest.mark.parametrize("pattern", COPIED)
def test_a_text_that_is_copied_in_whatever_way_is_hidden_like_the_first(
    notebook: Notebook, pattern: str
) -> None:
    told = []
    for mark in ("# codex-skip\n", ""):
        notebook.start_anew()
        notebook.run(f"{mark}alpha = ['{MARK}-1', 'one more {MARK}']")
        notebook.run(pattern.replace("\\n", "\n") + "\nlater = ['as it was']")
        variables = notebook.exits().split("Variables in the kernel")[1]
        assert "later: list of 1 = ['as it was']" in variables
        told.append(MARK in variables)
    assert told == [False, True]


def test_what_is_only_used_together_with_a_hidden_text_is_told(notebook: Notebook) -> None:
    notebook.start_anew()
    notebook.run("def work(rows, options): return len(rows)\noptions = {'way of work': 'as it was'}")
    notebook.run(f"# codex-skip\nalpha = ['{MARK}-1', 'as it was']")
    notebook.run("count = work(alpha, options); number = sum(map(len, alpha)); print(alpha, options)")
    notebook.run("shout = print('as it was') or 'as it was, too'; alpha = ['an ordinary one']")
    told = notebook.exits()
    for name in ("options", "count", "number", "shout", "alpha"):
        assert f"\n{name}: the user keeps" not in told
        assert f"\n{name}: " in told


@anything
@given(
    source=CELLS, later=st.lists(st.tuples(st.sampled_from(HANDING_ON), st.sampled_from(NAMES)), max_size=4)
)
def test_cells_that_run_later_bring_nothing_out(
    notebook: Notebook, source: str, later: list[tuple[str, str]]
) -> None:
    notebook.start_anew()
    notebook.run(f"# codex-skip\n{source}")
    for pattern, name in later:
        notebook.run(pattern.format(a=name).replace("\\n", "\n"))
    assert MARK not in notebook.exits()


def told_after(notebook: Notebook, hidden: str, ordinary: str, *, before: str = "pass") -> set[str]:
    """Return which variables are told after a hidden cell and an ordinary one."""
    notebook.start_anew()
    notebook.run(f"import numpy as np, pandas as pd, math\n{before}")
    notebook.run(f"# codex-skip\n{hidden}")
    notebook.run(ordinary)
    told = notebook.exits()
    names = snapshot(notebook.shell.user_ns)
    return {name for name in names if f"\n{name}: " in f"\n{told}" and f"{name}: the user keeps" not in told}


FRAME = "frame = pd.DataFrame({'name': ['kept0out a', 'kept0out b'], 'age': [41, 43]})\narray = np.arange(1000, 2000)"


@pytest.mark.parametrize(
    "ordinary",
    [
        "part = frame[['name']]", "part = frame['name']", "part = frame.name", "part = frame.head(1)",
        "part = frame[frame.age > 41]", "part = frame.loc[0]", "part = frame.copy()", "part = frame.T",
        "part = {'frame': frame}", "part = array[10:]", "part = array.reshape(10, 100)", "part = array.view()",
        "part = memoryview(array)", "part = np.asarray(array)", "part = pd.Series(array)", "part = frame.to_dict()",
        "part = [frame.iloc[0]]", "part = frame.groupby('name')", "part = frame.itertuples()",
        "class Holder: pass\npart = Holder(); part.inner = Holder(); part.inner.inner = frame",
    ],
)  # fmt: skip
def test_a_view_of_hidden_data_is_hidden(notebook: Notebook, ordinary: str) -> None:
    told = told_after(notebook, FRAME, ordinary)
    assert "seen" in told
    assert not told & {"part", "frame", "array"}


@pytest.mark.parametrize(
    ("ordinary", "expected"),
    [
        ("count = len(frame)", {"count"}),
        ("mean = frame.age.mean(); summary = frame.describe()", {"mean", "summary"}),
        ("doubled = array * 2", {"doubled"}),
        ("number = 1000 + 1; text = 'a new text'; none = None", {"number", "text", "none"}),
        ("array = np.zeros(3)", {"array"}),
        ("settings['key'] = 1", set()),
    ],
)
def test_what_is_computed_and_what_only_stands_beside_hidden_data_is_told(
    notebook: Notebook, ordinary: str, expected: set[str]
) -> None:
    beside = "settings = {'nan': math.nan}; data = np.arange(5); class_of = dict; path = 'data.csv'"
    hidden = (
        f"{FRAME}\nnan, none_of, column = math.nan, None, 'age'\nview, client = data[1:], [settings, data]"
    )
    told = told_after(notebook, hidden, ordinary, before=beside)
    assert told >= expected | {"settings", "data", "seen"}
    assert not told & {"frame", "view", "client", "nan"}


def test_what_is_made_with_a_module_that_a_hidden_cell_imports_is_told(notebook: Notebook) -> None:
    hidden = f"import numpy as np, pandas as pd, copy\nfrom collections import deque\nkey = '{MARK}'"
    ordinary = (
        "array, frame, held = np.array([1]), pd.DataFrame({'a': [1]}), deque([1])\nother = copy.copy([1])"
    )
    notebook.start_anew()
    notebook.run(f"# codex-skip\n{hidden}")
    notebook.run(ordinary)
    told = notebook.exits()
    assert MARK not in told
    for name in ("array", "frame", "held", "other"):
        assert f"\n{name}: the user keeps" not in told
        assert f"\n{name}: " in told


@pytest.mark.parametrize("pattern", BINDING)
def test_without_the_mark_the_same_cells_are_told(notebook: Notebook, pattern: str) -> None:
    notebook.start_anew()
    notebook.run(pattern.format(a="alpha", b="beta", v=Quoted(value()), m=MARK).replace("\\n", "\n"))
    assert MARK in notebook.exits()


def test_names_are_hidden_while_their_cell_still_runs(notebook: Notebook) -> None:
    notebook.start_anew()
    notebook.shell.user_ns["look"] = notebook.exits
    notebook.run(f"# codex-skip\nexec('alpha = [\"{MARK}\"]')\ntold = look()")
    assert MARK not in notebook.shell.user_ns["told"]


FAILING = f"""\
# codex-skip
def broken(rows, *, of="{MARK}"):
    told = "{MARK}", rows  # {MARK}
    return rows["nothing"]  # {MARK}
def chained():
    try:
        broken({{}})
    except KeyError as error:
        raise ValueError("outer") from error  # {MARK}
def while_handling():
    try:
        broken({{}})
    except KeyError:
        raise ValueError("outer")  # {MARK}
async def awaited():
    broken({{}})  # {MARK}
def several():
    errors = []
    for _ in range(2):
        try:
            chained()
        except ValueError as error:
            errors.append(error)
    raise ExceptionGroup("several", errors)  # {MARK}
class Place:
    def __getattr__(self, name):
        return broken({{}})  # {MARK}
def over_lines():
    return broken(
        {{}},
        of="{MARK}",
    )
"""
CALLS = (
    "broken({})",
    "chained()",
    "while_handling()",
    "await awaited()",
    "several()",
    "Place().x",
    "over_lines()",
)
PRINTED = (
    "import traceback\ntry: several()\nexcept BaseException: traceback.print_exc()",
    "import traceback\ntry: chained()\nexcept ValueError as error: print(traceback.format_exception(error))",
    "import logging\ntry: chained()\nexcept ValueError: logging.exception('failed')",
    "print(In)", "%psource broken", "broken??", "import inspect\nprint(inspect.getsource(broken))",
)  # fmt: skip


@pytest.mark.parametrize("mode", ["Context", "Plain", "Verbose", "Minimal", "Docs"])
def test_no_traceback_quotes_a_hidden_cell(
    notebook: Notebook, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook.start_anew()
    notebook.run(f"%xmode {mode}")
    notebook.run(FAILING)
    for call in (*CALLS, *PRINTED):
        capsys.readouterr()
        notebook.run(call)
        shown = "".join(capsys.readouterr())
        told = notebook.hidden.text(shown) + notebook.hidden.text(notebook.recorder.runs()[-1].error)
        lines = [line for line in told.splitlines() if MARK in line and "Signature: " not in line]
        assert lines == [], call
    assert MARK not in notebook.exits()
    notebook.run("%xmode Context")
