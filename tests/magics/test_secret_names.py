"""What has a secret name stays here, wherever the name stands; and what was once found secret stays here everywhere."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from importlib.util import find_spec
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


def thread_files(codex_home: Path) -> str:
    return "".join(path.read_text() for path in (codex_home / "codex_nb").rglob("*.jsonl"))


def test_a_value_that_was_sent_before_it_was_known_is_sent_no_more(
    notebook: Notebook, sim: Simulator, codex_home: Path
) -> None:
    value = value_of("token", "later")
    notebook.run(f"x = {value!r}\nx")
    assert notebook.run(f"%codex What is x? Is it {value}?").succeeded
    assert value in bodies(sim)
    assert value in thread_files(codex_home)
    notebook.run("token = x")
    assert notebook.run("%codex And now?").succeeded
    assert_no_leak(json.dumps(sim.requests.to("/responses", "POST")[-1].body), {"token": value})
    assert_no_leak(thread_files(codex_home), {"token": value})
    notebook.run("del token, x")
    notebook.namespace["other"] = f"<{value}>"
    assert notebook.run("%codex What is @other?").succeeded
    assert_no_leak(json.dumps(sim.requests.to("/responses", "POST")[-1].body), {"token": value})


@pytest.mark.parametrize("found", ["a variable", "a result", "the environment"])
def test_a_secret_that_a_turn_finds_is_taken_out_of_what_it_sent_before(
    notebook: Notebook, sim: Simulator, codex_home: Path, found: str
) -> None:
    value = value_of("token", found)
    notebook.namespace["x"] = value
    code = {
        "a variable": "token = x",
        "a result": "print('token =', repr(x))",
        "the environment": "import os\nos.environ['HF_TOKEN'] = x",
    }[found]
    calls = [
        Call("run_python", {"code": each}, call_id=f"call_{number}")
        for number, each in enumerate(("print(x)", code, "print(x.encode().hex())"))
    ]
    sim.add_replies(*(Reply(stream=(call, End())) for call in calls), Reply(stream=(Say("Done."), End())))
    assert notebook.run("%%codex --approval all\nLook.").succeeded
    first, second, *later = (json.dumps(each.body) for each in sim.requests.to("/responses", "POST"))
    assert value in first
    assert value in second
    assert len(later) == 2
    assert_no_leak("".join(later), {"token": value})
    assert_no_leak(thread_files(codex_home), {"token": value})


@pytest.mark.parametrize("profile", ["", "profiles/work"])
def test_the_login_of_another_profile_is_known(
    notebook: Notebook, sim: Simulator, codex_home: Path, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("access_token", "refresh_token", "OPENAI_API_KEY", "bearer", "header", "variable")
    secrets = {name: value_of(name, "stored") for name in names}
    other = codex_home / "profiles" / "other"
    for home in (other, codex_home / profile):
        home.mkdir(parents=True, exist_ok=True)
    stored = {
        "tokens": {name: secrets[name] for name in names[:2]},
        "OPENAI_API_KEY": secrets["OPENAI_API_KEY"],
    }
    (other / "auth.json").write_text(json.dumps(stored))
    (other / "config.toml").write_text(
        f"[model_providers.x]\nexperimental_bearer_token = '{secrets['bearer']}'\nenv_key = 'MY_PROVIDER'\n"
        f"http_headers = {{ 'X-Api-Key' = '{secrets['header']}' }}\n"
    )
    monkeypatch.setenv("MY_PROVIDER", secrets["variable"])
    if profile:
        (codex_home / profile / "config.toml").write_text(sim.config_toml())
        sim.write_login(codex_home / profile)
        notebook.run("%codex config profile=work")
    notebook.namespace["x"] = list(secrets.values())
    notebook.run("print(x)")
    options = "--profile work" if profile else ""
    assert notebook.run(f"%%codex {options}\nWhat is @x?").succeeded
    assert_no_leak(bodies(sim), secrets)


def test_what_is_known_is_taken_out_before_a_thread_is_compacted(notebook: Notebook, sim: Simulator) -> None:
    value = value_of("token", "compacted")
    notebook.namespace["x"] = "why so? " * 105_000 + value
    notebook.run("import codex_nb\ncodex_nb.ask(x, thread='long')")
    assert value in bodies(sim)
    notebook.namespace.update(x="", token=value)
    assert notebook.run("%%codex --thread long\nAnd now?").succeeded
    compacted, asked = (request.body for request in sim.requests.to("/responses", "POST")[1:])
    assert compacted["input"][-1]["type"] == "compaction_trigger"
    assert asked["input"][0]["type"] != "compaction_trigger"
    assert_no_leak(json.dumps([compacted, asked]), {"token": value})


# Where no text tells the value: what an ordinary cell runs first, and how it then shows the value {v}.
HOLDERS = """\
def show(token={v}): return token | show()
def make(token):\\n    return lambda: token\\nshow = make({v}) | show()
def show(*, api_key={v}): return api_key | show()
import contextvars\\nheld = contextvars.ContextVar("token", default={v}) | held.get()
import io\\ntoken = io.StringIO({v}) | token.getvalue()
token = memoryview({v}.encode()) | bytes(token)
failure = ValueError("x"); failure.token = {v} | failure.token
def parts():\\n    token = {v}\\n    yield 1\\n    yield token\\nheld = parts(); next(held) | next(held)
from requests import Session\\nheld = Session(); held.headers["a-token"] = "Token " + {v} | held.headers["a-token"][6:]
import httpx\\nheld = httpx.Client(headers={{"x-api-key": {v}}}) | held.headers["x-api-key"]
held = [("Authorization", "Token " + {v})] | held[0][1][6:]
import xarray\\nheld = xarray.Dataset({{"token": ("x", [{v}])}}) | held.token.values[0]
import xarray\\nheld = xarray.DataArray([{v}], name="token") | held.values[0]
import xarray\\nheld = xarray.Dataset(attrs={{"api_token": {v}}}) | held.attrs["api_token"]
import getpass\\ngetpass.getpass = lambda prompt: {v} | getpass.getpass("API key: ")
import getpass\\ngetpass.getpass = lambda prompt: {v} | a = getpass.getpass("API key: ")
import getpass as g\\ng.getpass = lambda: {v} | user, a = "ada", g.getpass().strip()
class Store:\\n    def get(self, name): return {v}\\nuserdata = Store() | a = userdata.get("HF_TOKEN")
class Store:\\n    def get_password(self, *of): return {v}\\nkeyring = Store() | keyring.get_password("a", "b")
class Store:\\n    def get_password(self, *of): return {v}\\nk = Store() | (a := k.get_password("a"))
def get_secret(name): return {{"SecretString": {v}}} | a: str = get_secret("x")["SecretString"]
import os\\nos.environ["A_TOKEN"] = {v}\\na = os.environ["A_TOKEN"] | del os.environ["A_TOKEN"]
class Client:\\n    @property\\n    def token(self): return {v}\\nclient = Client() | client.token
API_TOKEN = {v}\\na = API_TOKEN or None | del API_TOKEN""".splitlines()
if find_spec("xarray") is None:  # it is installed for one of the Pythons
    HOLDERS = [each for each in HOLDERS if "xarray" not in each]


@pytest.mark.parametrize("context", ["", " --no-context"])
@pytest.mark.parametrize("written", HOLDERS)
def test_a_value_that_no_text_tells_is_known_by_what_holds_or_gives_it(
    notebook: Notebook, sim: Simulator, written: str, context: str
) -> None:
    look = Call("run_python", {"code": "print(globals().get('a'))"})
    sim.add_replies(Reply(stream=(look, End())), Reply(stream=(Say("Done."), End())))
    value = value_of(written)
    for cell in written.format(v=f"'{value[::-1]}'[::-1]").split(" | "):
        assert notebook.run(cell.replace("\\n", "\n")).succeeded
    assert notebook.run(f"%%codex --approval all{context}\nWhat is there?").succeeded
    assert len(sim.requests.to("/responses", "POST")) == 2
    assert value not in bodies(sim)


@pytest.mark.parametrize("shown", ["keyring.get_password('a')", "print(x := keyring.get_password('a'))"])
def test_a_value_that_the_models_code_shows_is_known_by_what_gives_it(
    notebook: Notebook, sim: Simulator, shown: str
) -> None:
    value = value_of(shown)
    assert notebook.run(
        f"class Store:\n    def get_password(self, of): return {value[::-1]!r}[::-1]\nkeyring = Store()"
    ).succeeded
    looks = [
        Call("run_python", {"code": code}, call_id=f"call_{code[:5]}") for code in (f"1\n{shown}", "print(2)")
    ]
    sim.add_replies(*(Reply(stream=(look, End())) for look in looks), Reply(stream=(Say("Done."), End())))
    assert notebook.run("%%codex --approval all\nLook.").succeeded
    assert len(sim.requests.to("/responses", "POST")) == len(looks) + 1
    assert "[redacted: " in bodies(sim)
    assert value not in bodies(sim)


@pytest.mark.parametrize(
    "written",
    [
        "a = len('token'); 'resnet50x2v1'",
        "a = {{'token_count': '{v}'}}['token_count']",
        "held = [('token', 1), ('name', '{v}')]",
        "def show(name='{v}'): return name\nshow()",
        "a = '{v}' if 'token' in 'tokens' else None",
    ],
)
def test_a_value_that_no_secret_name_gives_is_sent(notebook: Notebook, sim: Simulator, written: str) -> None:
    value = value_of(written)
    assert notebook.run(written.format(v=value) + f"\nkept = '{value}'").succeeded
    notebook.run("%%codex\nWhat is there?")
    assert value in bodies(sim)
