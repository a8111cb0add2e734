from __future__ import annotations

import ast
import importlib
import inspect
import pickle
import pkgutil

import pytest

import codex_nb
from codex_nb.errors import CodexError, ToolError
from tests.architecture.sources import PACKAGE, modules

WITHOUT_DEFAULT = {"AuthError", "ApiError", "ConfigError", "CredentialsUnreadable"}
"""Classes whose hint depends on the cause: each error needs its own."""


def classes(base: type[CodexError] = CodexError) -> list[type[CodexError]]:
    return [one for child in base.__subclasses__() for one in (child, *classes(child))]


def user_errors() -> list[type[CodexError]]:
    """Return every error class that a user can see."""
    for module in pkgutil.walk_packages(codex_nb.__path__, "codex_nb."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return [one for one in classes() if not issubclass(one, ToolError)]


@pytest.mark.parametrize("error", user_errors(), ids=lambda one: one.__name__)
def test_every_error_that_a_user_can_see_says_what_to_do_next(error: type[CodexError]) -> None:
    assert error.default_hint or error.__name__ in WITHOUT_DEFAULT


@pytest.mark.parametrize("error", classes(), ids=lambda one: one.__name__)
def test_every_error_travels_between_processes(error: type[CodexError]) -> None:
    needed = {
        name: f"the {name}"
        for name, parameter in inspect.signature(error).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
    }
    sent = error("It failed.", hint="Try this.", **needed)
    sent.add_note("A note.")
    arrived = pickle.loads(pickle.dumps(sent))  # noqa: S301  (pickled here)
    assert (type(arrived), arrived.line, vars(arrived)) == (error, "It failed. Try this.", vars(sent))


def test_an_error_without_a_default_hint_is_created_with_one() -> None:
    missing = []
    for path in modules():
        for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
            if (
                not isinstance(node, ast.Call)
                or ast.unparse(node.func).rpartition(".")[2] not in WITHOUT_DEFAULT
            ):
                continue
            if not any(keyword.arg in {"hint", None} for keyword in node.keywords):
                missing.append(f"{path}:{node.lineno} {ast.unparse(node)[:80]}")
    assert missing == []
