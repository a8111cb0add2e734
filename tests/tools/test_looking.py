"""Looking at variables runs none of their code, whatever they are and whichever exit looks."""

from __future__ import annotations

import functools
import gc
import linecache
import os
import threading
import types
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from codex_nb.magics.session import offered_tools
from codex_nb.session.context import build_context
from codex_nb.session.known_values import secrets_of_namespace
from codex_nb.session.outbound import Redactor, UntrustedBlock
from codex_nb.tools.builtin import inspect_variables
from codex_nb.tools.describe import Detail, describe
from codex_nb.tools.hiding import Hidden, hidden_in
from codex_nb.tools.introspection import imported_modules, instance_vars, is_user_variable, snapshot
from codex_nb.tools.nbmodel import Cell, NotebookSnapshot
from tests.tools.hostile import CASES, Colliding, armed, hook, hostile, text, thing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SKIPPED = hidden_in(
    NotebookSnapshot(
        "document", (Cell("code", "# codex-skip\nkept_out = 1"), Cell("code", "inside = f(kept_out)"))
    )
)
NOTEBOOK = NotebookSnapshot("document", (Cell("code", "thing = password = 1"),))


def look_everywhere(namespace: dict[Any, Any]) -> list[str]:
    """Look at all variables in every way in which a request does; return the descriptions."""
    variables = snapshot(namespace)
    texts = [describe(name, variables[name], detail).text for name in variables for detail in Detail]
    for name, value in variables.items():
        is_user_variable(name, value)
    texts.append(imported_modules(namespace))
    secrets_of_namespace(namespace)
    for hidden in (Hidden(), SKIPPED):
        texts.append(inspect_variables(namespace, [], hidden).text)
        texts.append(inspect_variables(namespace, ["thing", "password"], hidden).text)
    offered_tools(SKIPPED.visible(namespace))
    prompt = "What are @thing and @password?"
    context = build_context(NOTEBOOK, namespace, prompt, redactor=Redactor({}), hidden=SKIPPED)
    texts.append(context.render((), UntrustedBlock()))
    return texts


@pytest.fixture(autouse=True)
def _no_class_of_arrow_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "exten" in request.node.name:
        gc.collect()


@pytest.mark.parametrize("name", CASES)
def test_no_exit_runs_a_hook_of_a_variable(name: str) -> None:
    value = CASES[name]()
    with armed() as ran:
        variables = {
            "thing": value,
            "password": value,
            "inside": [value, {"k": value}],
            "kept_out": [object(), value],
        }
        texts = look_everywhere(variables)
    assert ran == []
    assert "cannot be read" not in "\n".join(texts)
    assert "root:" not in "\n".join(texts)


def test_a_namespace_of_a_class_of_its_own_is_read_as_the_dictionary_that_it_is() -> None:
    namespace = hostile(dict)({"seen": 1, text("odd"): 2, Colliding("password"): 3, thing(): 4})
    with armed() as ran:
        texts = look_everywhere(namespace)
    assert ran == []
    assert texts[0] == "seen: int = 1"
    with armed() as ran:
        assert snapshot(type("Mapping", (), {"items": hook("items"), "__iter__": hook("iter")})()) == {}
    assert ran == []


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (pd.DataFrame, name)
        for name in ("shape", "index", "columns", "dtypes", "iloc", "head", "__len__", "attrs")
    ]
    + [(pd.Series, name) for name in ("dtype", "index", "iloc", "name", "tolist", "__len__")]
    + [(pd.Index, name) for name in ("tolist", "name", "names", "dtype", "__len__", "__getitem__")],
)
def test_an_accessor_or_a_patch_on_a_library_is_not_run(
    owner: type, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pd.DataFrame({"a": [1, 2], "password": ["x", "y"]}, index=["r", "s"])
    values = {"frame": frame, "series": frame["a"], "index": frame.index}
    accessor = type("Accessor", (), {"__get__": hook(f"{owner.__name__}.{name}")})()
    for patch in (accessor, property(hook("property")), hook("method")):
        monkeypatch.setattr(owner, name, patch)
        with armed() as ran:
            look_everywhere(values)
        assert ran == []
        monkeypatch.undo()


def test_only_the_interpreters_own_attributes_are_read() -> None:
    plain = type("Plain", (), {})()
    plain.a = 1
    assert instance_vars(plain) == {"a": 1}
    raised = type("OwnError", (Exception,), {})()
    raised.b = 2
    assert instance_vars(raised) == {"b": 2}
    # extension types keep a __dict__ of their own, whose getter may do anything
    assert instance_vars(functools.partial(print)) == {}
    assert instance_vars(type("Derived", (functools.partial,), {})(print)) == {}


def test_the_source_of_a_function_is_that_of_a_cell_and_of_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "secret.py"
    file.write_text("def f(): return 'outside'\n")

    def claims(name: str) -> types.FunctionType:
        return types.FunctionType(f.__code__.replace(co_filename=name, co_firstlineno=1), {})

    f = types.FunctionType(compile("def f(): pass", str(file), "exec").co_consts[0], {})
    wrapper = claims("<nowhere>")
    wrapper.__wrapped__ = f  # type: ignore[attr-defined]
    functions = {"f": f, "g": claims(os.path.relpath(file)), "h": wrapper, "i": look_everywhere}
    functions["passwd"] = claims("/etc/passwd")
    linecache.getlines(str(file))
    for _ in ("as it is", "when another has read the file"):
        told = inspect_variables(functions, list(functions), Hidden()).text
        assert [text for text in ("outside", "root:", "def look_everywhere") if text in told] == []
        linecache.getlines("/etc/passwd")
    linecache.cache["a cell"] = (1, None, ["def f(): return 'in the notebook'\n"], "a cell")
    assert "in the notebook" in inspect_variables({"f": claims("a cell")}, ["f"], Hidden()).text


def test_a_namespace_that_a_thread_changes_is_read_whole() -> None:
    namespace: dict[str, Any] = {"kept": 1}
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            namespace[f"name_{number % 5_000}"] = number
            namespace.pop(f"name_{(number * 7) % 5_000}", None)

    threads = [threading.Thread(target=change) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(100):
            assert snapshot(namespace)["kept"] == 1
            assert SKIPPED.visible(namespace)["kept"] == 1
            secrets_of_namespace(namespace)
            imported_modules(namespace)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
