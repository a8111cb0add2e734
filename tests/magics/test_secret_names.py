"""What has a secret name stays here, wherever the name stands; and what was once found secret stays here everywhere."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from codex_nb.simulator import Call, End, Reply, Say, Simulator
from tests.leaks import assert_no_leak
from tests.magics.conftest import Notebook

NAMES = (
    "token", "pwd", "pass", "password", "passwd", "secret", "salt", "cookie", "credentials", "HF_TOKEN", "hf_token",
    "hfToken", "token_2", "SNOWFLAKE_PWD", "SERVICE_JWT", "SLACK_WEBHOOK", "KEYS", "API_KEYS", "apiKey", "api_key",
    "TOKENS", "SIGNING_SALT", "db_pass", "GITHUB_PAT", "CONNECTION_STRING", "aws_secret_access_key", "SERVICE_KEY",
)  # fmt: skip
ORDINARY = (
    "tokenizer", "max_tokens", "token_count", "tokens", "pad_token", "passenger", "compass", "passed", "keyboard",
    "keyword", "join_key", "primary_key", "author", "authority", "path", "pattern", "secretary", "token_type",
    "cookiecutter", "monkey", "low_pass", "basalt", "password_length", "model_name",
)  # fmt: skip


def value_of(name: str, place: str = "") -> str:
    """Return a value that nothing but its name makes secret, another one for each name and place."""
    return f"fab{zlib.crc32(f'{name} {place}'.encode()):010}r1cat3d"


def cells_of_assignments(name: str, value: str) -> str:
    if name == "pass":
        return f"vars()['pass'] = {value!r}"
    return f"{name} = {value!r}"


PLACES: dict[str, Callable[[str, str], str]] = {
    "assignment": cells_of_assignments,
    "annotated assignment": lambda name, value: (
        f"class Held:\n    {name + '_' * (name == 'pass')}: str = {value!r}"
    ),
    "subscript": lambda name, value: f"settings = {{}}\nsettings[{name!r}] = {value!r}",
    "attribute": lambda name, value: (
        f"import types\nheld = types.SimpleNamespace()\nsetattr(held, {name!r}, {value!r})"
    ),
    "keyword argument": lambda name, value: f"keep = dict\nkept = keep(**{{{name!r}: {value!r}}})",
    "dict": lambda name, value: f"mapping = {{'user': 'ada', {name!r}: {value!r}, 'n': 1}}",
    "deep dict": lambda name, value: f"mapping = {{'db': [{{'login': {{{name!r}: {value!r}}}}}]}}",
    "frame": lambda name, value: f"frame = pd.DataFrame({{'user': ['ada'], {name!r}: [{value!r}]}})\nframe",
    "index of a frame": lambda name, value: (
        f"frame = pd.DataFrame({{'n': [1], {name!r}: [{value!r}]}}).set_index({name!r})\nframe"
    ),
    "rows of a frame": lambda name, value: (
        f"kept_{value} = pd.DataFrame({{'value': ['ada', {value!r}]}}, index=['user', {name!r}])\nkept_{value}"
    ),
    "Series": lambda name, value: f"series = pd.Series([{value!r}], name={name!r})\nseries",
    "labels of a Series": lambda name, value: (
        f"series = pd.Series({{'user': 'ada', {name!r}: {value!r}}})\nseries"
    ),
    "JSON": lambda name, value: f"text = '{json.dumps({'user': 'ada', name: value})}'",
    "a magic": lambda name, value: f"%env {name}={value}",
    "a comparison": lambda name, value: f"held = {{}}\nheld.get({name!r}) == {value!r}",
}


MENTIONS = ("@frame", "@series", "@mapping", "@settings", "@held", "@kept", "@text")


def bodies(sim: Simulator) -> str:
    """Return everything that was sent, decoded."""
    return json.dumps([request.body for request in sim.requests.to("/responses", "POST")])


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, codex_home: Path) -> None:
    """Let the notebook's folder be known, and forget afterwards what a cell puts into the environment."""
    monkeypatch.setenv("JPY_SESSION_NAME", str(codex_home.parent / "notebook.ipynb"))
    for name in (*NAMES, "SERVICE_token", "SERVICE_pwd", "SERVICE_password"):
        monkeypatch.setenv(name, "")


@pytest.mark.parametrize("place", PLACES)
def test_a_value_under_a_secret_name_is_nowhere_in_what_is_sent(
    notebook: Notebook, sim: Simulator, place: str
) -> None:
    secrets = {name: value_of(name, place) for name in NAMES}
    notebook.namespace["pd"] = pd
    for name, value in secrets.items():
        assert notebook.run(PLACES[place](name, value)).succeeded
    assert notebook.run(f"%codex What of {' '.join(MENTIONS)}?").succeeded
    assert_no_leak(bodies(sim), secrets)


@pytest.mark.parametrize("place", ["assignment", "dict", "frame", "Series", "environment"])
def test_the_model_is_told_that_a_value_was_withheld(
    notebook: Notebook, sim: Simulator, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    notebook.namespace["pd"] = pd
    if place == "environment":
        monkeypatch.setenv("HF_TOKEN", value_of("HF_TOKEN"))
        notebook.run("import os\nos.environ['HF_TOKEN']")
    else:
        notebook.run(PLACES[place]("HF_TOKEN", value_of("HF_TOKEN")))
    assert notebook.run("%codex What of @HF_TOKEN, @mapping, @frame and @series?").succeeded
    sent = bodies(sim).replace("[redacted: NAME]", "")
    assert "[redacted: " in sent
    assert place == "environment" or "(withheld" in sent


def test_a_variable_of_the_environment_with_a_secret_name_is_taken_out_of_an_output(
    notebook: Notebook, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {name: value_of(name) for name in NAMES}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    notebook.namespace["names"] = NAMES
    notebook.run("import os\n' '.join(os.environ[name] for name in names)")
    assert notebook.run("%codex What was that?").succeeded
    assert_no_leak(bodies(sim), secrets)
    assert [name for name in NAMES if f"[redacted: ${name}]" not in bodies(sim)] == []


@pytest.mark.parametrize("place", ["assignment", "dict", "frame", "Series"])
def test_a_value_under_an_ordinary_name_is_sent(notebook: Notebook, sim: Simulator, place: str) -> None:
    notebook.namespace["pd"] = pd
    told = {name: value_of(name, f"{place} told") for name in ORDINARY}
    for name, value in told.items():
        notebook.run(PLACES[place](name, value))
    assert notebook.run(f"%codex What is {' '.join(MENTIONS)}?").succeeded
    sent = bodies(sim).replace("[redacted: NAME]", "")
    assert [name for name, value in told.items() if value not in sent] == []
    assert "[redacted: " not in sent


@pytest.mark.parametrize(
    "assigned",
    [
        "{name} = {value!r}",
        "user, {name} = 'ada', {value!r}",
        "{name} = user = {value!r}",
        "{name} = (\n    {value!r}\n)",
        "if ({name} := {value!r}):\n    user = 1",
        "# {name}: {value}",
        "%env SERVICE_{name}={value}",
        "!echo --{name}={value}",
        "url = 'https://example.com/?user=ada&{name}={value}&n=1'",
        'text = \'{{"{name}": "{value}"}}\'',
    ],
)
@pytest.mark.parametrize(
    ("name", "value"), [("token", "abc12345xyz"), ("pwd", "hunter2x9"), ("password", "correcthorse")]
)
def test_a_value_found_secret_in_a_cell_occurs_nowhere_in_what_is_sent(
    notebook: Notebook, codex_home: Path, sim: Simulator, assigned: str, name: str, value: str
) -> None:
    if value.isalpha() and ("{value!r}" not in assigned and '"{value}"' not in assigned):
        value = f"{value}7"
    (codex_home.parent / "notes.txt").write_text(f"remember {value}")
    (codex_home / "AGENTS.md").write_text(f"Log in with {value}.")
    notebook.namespace.update(pd=pd, x=value, holds=[f"<{value}>"], frame=pd.DataFrame({value: [value]}))
    notebook.run(assigned.format(name=name, value=value))
    notebook.run("[x, x.encode().hex(), frame]")
    notebook.run("raise ValueError(f'refused: {x}')")
    looks = [
        Call("run_python", {"code": "print(x)\nraise KeyError(x)"}, call_id="call_1"),
        Call("inspect", {"names": ["x", "holds", "frame"]}, call_id="call_2"),
        Call("read_file", {"path": "notes.txt"}, call_id="call_3"),
    ]
    sim.add_replies(Reply(stream=(*looks, End())), Reply(stream=(Say("Done."), End())))
    asked = f"%%codex --approval all\nWhat of @x, @holds, @frame, @cell:1 and @file:notes.txt? Not {value}?"
    assert notebook.run(asked).succeeded
    assert notebook.run("%codex fix").succeeded
    assert_no_leak(bodies(sim), {name: value})
    shown = notebook.run(f"%codex context Is it {value}?").out
    assert_no_leak(shown, {name: value})


def test_a_secret_that_the_model_comes_upon_is_taken_out_of_later_results_of_the_turn(
    notebook: Notebook, sim: Simulator, codex_home: Path
) -> None:
    value = value_of("token")
    (codex_home.parent / "settings.json").write_text(json.dumps({"token": value}))
    notebook.namespace["later"] = "".join(reversed(value))
    looks = [
        Call("read_file", {"path": "settings.json"}, call_id="call_1"),
        Call("run_python", {"code": "x = later[::-1]\nprint(x)"}, call_id="call_2"),
        Call("run_python", {"code": "api_key = later[::-1].upper()\nprint(api_key)"}, call_id="call_3"),
        Call("run_python", {"code": "raise ValueError(api_key, x)"}, call_id="call_4"),
    ]
    sim.add_replies(*(Reply(stream=(look, End())) for look in looks), Reply(stream=(Say("Done."), End())))
    assert notebook.run("%%codex --approval all\nLook.").succeeded
    assert_no_leak(bodies(sim), {"token": value, "api_key": value.upper()})


def test_what_a_cell_that_is_left_out_assigns_is_taken_out_of_the_others(
    notebook: Notebook, sim: Simulator
) -> None:
    notebook.run("# codex-skip\ntoken = 'abc12345xyz'")
    notebook.run("x = token\nx")
    assert notebook.run("%codex What is @x?").succeeded
    assert_no_leak(bodies(sim), {"token": "abc12345xyz"})
