"""The names that a cell binds are read from its tree: all that running it can bind, and nothing that it only reads."""

from __future__ import annotations

import contextlib
import string
import subprocess
import textwrap
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_nb.tools.hiding import BindingFlow, bound_names

READ = ("seen", "pair", "pairs")
NAMES = st.sampled_from(["a", "b", "c", "d", "e"])


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 1\nprint(y)", "x"),
        ("a, (b, *c) = d[e] = f.g = h", "a b c d f"),
        ("a[i].b[j] += 1; del c[0], d.e, f", "a c d f"),
        ("f().a = 1", ""),
        ("for a, b in rows: pass\nelse: c = 1", "a b c"),
        ("async for a in rows:\n    async with b as c: await d", "a c"),
        ("[a for b in c if (d := b)]; {e: f for e, f in g}; lambda h: (i := h)", "d"),
        ("def f(a, b=(c := 1)) -> d:\n    global e\n    g = 1\n    def h(): global i", "f c e i"),
        ("@a\nclass B(C, d=(e := 1)):\n    f = 1\n    def g(self): global h", "B e h"),
        ("import a.b, c as d\nfrom e import f, g as h\nfrom . import i", "a d f h i"),
        ("try: pass\nexcept A as b: c = 1\nfinally: d = 1", "b c d"),
        ("match a:\n    case B(c, d=e) | [c, *f] | {'g': e, **h} as i if (j := c): k = 1", "c e f h i j k"),
        ("from this_is_no_module import *", ""),
        ("x = !ls {y}", "x"),
        ("!ls\n%cd ..\ny = 1", "y"),
        ("%time a = b", "a"),
        ("%time -n 1 a = b", "n a b"),
        ("%%time\na, b = c", "a b"),
        ("%%capture a --no-stderr\nb = c", "a b no stderr"),
        ("%%bash --out a\necho b", "out a echo b"),
        ("%%script --out a x\nb = 1", "out a x b"),
        ("%%html\n<b>a</b>", ""),
        ("x = %unknown -o y", "x o y"),
        ("df?", ""),
        ("    a = 1", "a"),
        ("a = await b", "a"),
        ("a = (b", "a b"),
        ("a = 1\n\0", "a"),
        ("ﬁ = 1", "fi"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_names_that_a_cell_binds(source: str, expected: str) -> None:
    assert bound_names(source) == set(expected.split())


def test_an_import_of_everything_binds_what_the_module_makes_public() -> None:
    assert bound_names("from string import *") == set(string.__all__)
    assert bound_names("from subprocess import *") == set(subprocess.__all__)


def test_a_cell_that_is_deeper_than_the_stack_is_read() -> None:
    assert bound_names("x = " + "+".join(["y"] * 5_000)) in ({"x"}, {"x", "y"})
    assert "x" in bound_names("x = " + "(" * 5_000 + ")" * 5_000)


TARGETS = st.recursive(
    NAMES, lambda inner: st.lists(inner, min_size=2, max_size=2).map(lambda two: f"({two[0]}, {two[1]})")
)


def value_for(target: str) -> str:
    """Return an expression that can be unpacked into a target."""
    return "".join("seen" if character.isalpha() else character for character in target)


@st.composite
def simple(draw: st.DrawFn) -> str:
    name, other, target = draw(NAMES), draw(NAMES), draw(TARGETS)
    return draw(
        st.sampled_from(
            [
                f"{target} = {value_for(target)}",
                f"{name} = {target} = {value_for(target)}",
                f"[{name}, *{other}] = pair",
                f"{name}: int = seen",
                f"{name} = 1\n{name} += seen",
                f"{name} = {{}}\n{name}['k'] = seen",
                f"print({name} := seen)",
                f"{name} = [({other} := _each) for _each in pair]",
                f"from json import dumps as {name}",
                f"import os.path as {name}",
                f"def {name}({other}=seen):\n    {other} = seen",
                f"def {name}():\n    global {other}\n    {other} = seen\n{name}()",
                f"class {name}:\n    {other} = seen",
                f"{name} = lambda {other}: {other}",
                f"{name} = {other} = seen\ndel {other}",
                f"exec('pass')\n{name} = eval('seen')",
            ]
        )
    )


def blocks(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    body = inner.map(lambda text: textwrap.indent(text, "    "))
    heads = st.one_of(
        st.just("if seen:"),
        st.builds("for {} in pair:".format, NAMES),
        st.builds("for {}, {} in pairs:".format, NAMES, NAMES),
        st.builds("with __import__('contextlib').nullcontext(seen) as {}:".format, NAMES),
        st.builds("try:\n    raise ValueError\nexcept ValueError as {}:".format, NAMES),
        st.builds("match pair:\n  case [{}, *_]:".format, NAMES),
        st.builds("match {{'k': seen, 'l': seen}}:\n  case {{'k': _, **{}}}:".format, NAMES),
        st.just("while True:\n    if not seen: break"),
    )
    ends = {"while": "\n    break"}
    return st.builds(lambda head, text: f"{head}\n{text}{ends.get(head[:5], '')}\n", heads, body)


CELLS = st.lists(st.recursive(simple(), blocks, max_leaves=3), min_size=1, max_size=3).map("\n".join)


@given(CELLS)
def test_everything_that_running_a_cell_binds_is_among_the_names_and_nothing_that_it_reads(
    source: str,
) -> None:
    namespace: dict[str, Any] = {
        "seen": 1,
        "pair": (1, 2),
        "pairs": ((1, 2), (3, 4)),
        "print": lambda *_: None,
    }
    before = dict(namespace)
    with contextlib.suppress(
        TypeError, NameError
    ):  # names of a shape that does not fit: what was bound till then counts
        exec(source, namespace)  # noqa: S102 -- the test's own code
    changed = {name for name in namespace if name not in before and not name.startswith("__")}
    assert changed <= bound_names(source)
    assert not bound_names(source) & {*READ, "_each", "print"}


def hidden_after(*cells: tuple[str, bool]) -> set[str]:
    """Follow ordinary cells after one that binds ``x`` and ``y`` was kept out."""
    flow = BindingFlow()
    flow.hide({"x", "y"})
    for source, succeeded in cells:
        flow.follow(source, succeeded=succeeded)
    return flow.hidden


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["len(x)", "print(y)"], "x y"),
        (["x = 1"], "y"),
        (["x: int = 1"], "y"),
        (["x: int"], "x y"),
        (["import json as x"], "y"),
        (["def x(): ...", "class y: ..."], ""),
        (["def f():\n    global x\n    x = 1"], "x y"),
        (["x = y"], "x y"),
        (["z = x"], "x y z"),
        (["z = w = x", "v = w"], "x y z w v"),
        (["z = dict(a=x)", "w = pd.DataFrame(data=[y])", "v = f(a=x)"], "x y z w"),
        (["x = f(x)"], "x y"),
        (["z = f(x)", "x = z"], "x y"),
        (["def f(): return x", "x = f()"], "x y"),
        (["z = f(x)", "z = 1", "x = z"], "y"),
        (["x[0] = 1", "x.y = 1", "x += 1"], "x y"),
        (["if z:\n    x = 1", "for x in z: pass", "with z as x: pass"], "x y"),
        (["%time x = 1"], "x y"),
        (["%time z = f(x)", "x = z"], "x y"),
        (["x = (1"], "x y"),
        (["x, z = 1, 2"], "y"),
        (["y = 1\nx = y"], ""),
    ],
)
def test_only_a_new_value_of_its_own_makes_a_hidden_name_an_ordinary_one(
    sources: list[str], expected: str
) -> None:
    assert hidden_after(*((source, True) for source in sources)) == set(expected.split())
    assert hidden_after(*((source, False) for source in sources)) >= {"x", "y"}
