"""Forty planted values, every way out of the kernel, every body that the backend received: none of them is there."""

from __future__ import annotations

import base64
import json
import logging
import zlib
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pandas as pd
import pytest

from codex_nb.simulator import FRAME, Call, End, Reply, Say, Simulator
from tests.agent.conftest import Step, ask, install_fake, said
from tests.leaks import assert_no_leak, find_leaks
from tests.magics.conftest import Kernels, Notebook
from tests.magics.front_end import FrontEnd, front_end
from tests.magics.test_code_to_cells import document
from tests.pictures import find_leaks_in_images
from tests.session.test_mcp import hostile, listed


def planted(name: str) -> str:
    """Return a value that nothing but where it stands makes secret."""
    return f"pl{zlib.crc32(name.encode()):010}nt3d{zlib.adler32(name.encode()):08x}Zq"


NAMED = {
    name: planted(name)
    for name in (
        *("token", "db_password", "HF_TOKEN", "SERVICE_JWT", "API_KEYS", "SIGNING_SALT"),  # variables
        *("column:pwd", "key:client_secret", "attribute:api_key"),
        *("cell:access_token", "annotated:auth_token", "keyword:api_key", "yaml:password", "ini:secret_key"),
        *("env:GITHUB_PAT", "json:refreshToken", "header:X-Api-Key", "address:password"),
    )
}
FORMATS = {
    "OpenAI": "sk-proj-" + planted("OpenAI"),
    "GitHub": "ghp_" + planted("GitHub") + planted("more"),
    "SendGrid": f"SG.{planted('one')}.{planted('two')}",
    "Azure": base64.b64encode(planted("Azure").encode() * 2).decode(),
    "Slack": f"hooks.slack.com/services/T0PLANTED/B0PLANTED/{planted('Slack')}",
    "DigitalOcean": "dop_v1_" + "0a1b2c3d" * 8,
    "age": "AGE-SECRET-KEY-1" + planted("age").upper() * 2,
    "refresh": "rt_" + planted("refresh"),
    "JWT": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJwbGFudGVkIn0.cGxhbnRlZHNpZ25hdHVyZQ",
}
ENVIRON = {name: planted(name) for name in ("SERVICE_API_KEY", "SNOWFLAKE_PWD", "CI_JWT", "SLACK_SECRETS")}
SKIPPED = {
    name: planted(name) for name in ("skipped:diagnosis", "skipped:salary", "skipped:output", "skipped:error")
}
STORED = {name: planted(name) for name in ("other:access_token", "other:refresh_token")}
OUTSIDE = {name: planted(name) for name in ("outside:file", "outside:link", "outside:AGENTS.md")}
ALL = NAMED | FORMATS | ENVIRON | SKIPPED | STORED | OUTSIDE
ADDRESS = f"postgres://ada:{NAMED['address:password']}@db.example/x"
# What stands in the folder in the formats of settings.
SETTINGS = "\n".join((
    f"password: {NAMED['yaml:password']}",
    f"secret_key = {NAMED['ini:secret_key']}",
    f"export GITHUB_PAT={NAMED['env:GITHUB_PAT']}",
    f'{{"user": "ada", "refreshToken": "{NAMED["json:refreshToken"]}"}}',
    f"X-Api-Key: {NAMED['header:X-Api-Key']}",
    f"DefaultEndpointsProtocol=https;AccountKey={FORMATS['Azure']};EndpointSuffix=core",
    ADDRESS,
))  # fmt: skip


def ways(value: str) -> list[str]:
    """Return a value as it is often written."""
    data = f"x={value};".encode()
    return [
        value,
        base64.b64encode(data).decode(),
        base64.encodebytes(data * 3).decode(),
        data.hex(),
        data.hex(":"),
        quote(value, safe=""),
        "".join(f"&#{byte};" for byte in value.encode()),
        str(list(value.encode())),
        f"{value[:17]}\n    {value[17:]}",
    ]


def known_text() -> str:
    """Return all values that the kernel knows to be secret, each in some ways, without the names that tell it."""
    values = [*NAMED.values(), *ENVIRON.values(), *STORED.values(), *FORMATS.values()]
    return "\n".join(way for number, value in enumerate(values) for way in ways(value)[number % 4 :: 4])


@pytest.fixture
def project(codex_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cloned folder with a notebook, links out of it, and the login of another profile."""
    root = codex_home.parent / "project"
    outside = codex_home.parent / "outside.txt"
    for folder in (root / ".git", root / "data", codex_home / "profiles" / "other"):
        folder.mkdir(parents=True)
    outside.write_text(OUTSIDE["outside:file"])
    (root / "link.txt").symlink_to(outside)
    outside.with_name("linked.md").write_text(OUTSIDE["outside:AGENTS.md"])
    (root / "AGENTS.md").symlink_to(outside.with_name("linked.md"))
    outside.with_name("linked").mkdir()
    (outside.with_name("linked") / "inner.txt").write_text(OUTSIDE["outside:link"])
    (root / "data" / "folder").symlink_to(outside.with_name("linked"))
    (root / "settings.txt").write_text(SETTINGS)
    (root / "notes.txt").write_text(known_text())
    (root / f"{NAMED['token']}.txt").write_text("nothing")
    (root / "data" / "AGENTS.md").write_text(f"Sign in with {known_text()}")
    (codex_home / "AGENTS.md").write_text(f"Always use {known_text()}")
    stored = {"tokens": {name.partition(":")[2]: value for name, value in STORED.items()}}
    (codex_home / "profiles" / "other" / "auth.json").write_text(json.dumps(stored))
    monkeypatch.setenv("JPY_SESSION_NAME", str(root / "data" / "notebook.ipynb"))
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    return root


def plant(notebook: Notebook) -> None:
    """Plant the values in variables, cells, outputs and errors."""
    variables = ("token", "db_password", "HF_TOKEN", "SERVICE_JWT", "API_KEYS", "SIGNING_SALT")
    notebook.namespace.update({name: NAMED[name] for name in variables})
    values: dict[str, object] = {
        "pd": pd,
        "frame": pd.DataFrame({"user": ["ada"], "pwd": [NAMED["column:pwd"]]}),
        "mapping": {"user": "ada", "client_secret": NAMED["key:client_secret"]},
        "held": SimpleNamespace(api_key=NAMED["attribute:api_key"]),
        "text": known_text(),
        "lines": known_text().splitlines(),
    }
    notebook.namespace.update(values)
    notebook.namespace["table"] = pd.DataFrame({"line": notebook.namespace["lines"][:40]})
    notebook.run(f"access_token = '{NAMED['cell:access_token']}'")
    notebook.run(f"auth_token: str = (\n    '{NAMED['annotated:auth_token']}'\n)")
    notebook.run(f"connect = dict\nclient = connect(user='ada', api_key='{NAMED['keyword:api_key']}')")
    diagnosis, salary = SKIPPED["skipped:diagnosis"], SKIPPED["skipped:salary"]
    notebook.run(f"# codex-skip\ndiagnosis, salaries = '{diagnosis}', ['{salary}']")
    notebook.run(f"# codex-skip\nprint('{SKIPPED['skipped:output']}')\nsalaries")
    notebook.run(f"# codex-skip\ndef broken():\n    raise ValueError(len('{SKIPPED['skipped:error']}'))")
    notebook.run("print(text)\nlines")
    notebook.run("table")
    notebook.run("mapping, held, frame, client")
    notebook.run(f"settings = '''{SETTINGS}'''\nprint(settings)")
    notebook.run(f"# {FORMATS['JWT']} {known_text()[:2000]!r}")
    notebook.run("raise ValueError('refused: ' + text)")


def model_looks() -> list[Call]:
    """Return calls of every built-in tool that bring something back."""
    names = [
        "text",
        "lines",
        "frame",
        "mapping",
        "held",
        "table",
        "client",
        "settings",
        "diagnosis",
        "salaries",
        "In",
    ]
    code = [
        "import os\nprint(dict(os.environ))\nprint(text)\nlines",
        "import base64\nprint(base64.b64encode(text.encode()), text.encode().hex(' '))\nlist(text[:500].encode())",
        "raise KeyError(text)",
        "token",
        "[frame, mapping, held, client, table]",
        "print(open('../settings.txt').read())",
        "broken",
    ]
    looks = [Call("run_python", {"code": each}) for each in code]
    looks += [Call("inspect", {"names": [name]}) for name in names] + [Call("inspect", {"names": []})]
    paths = (
        *(
            "notes.txt",
            "../notes.txt",
            "../settings.txt",
            "../../outside.txt",
            "../link.txt",
            "folder/inner.txt",
        ),
        *(
            "/etc/hosts",
            "../AGENTS.md",
            "AGENTS.md",
            "../../codex-home/auth.json",
            f"../{NAMED['token']}.txt",
        ),
    )
    looks += [Call("read_file", {"path": path}) for path in paths]
    looks += [Call("list_files", {"pattern": pattern}) for pattern in ("*", "../*", "**/*", "folder/*")]
    return looks


def ask_everything(notebook: Notebook, sim: Simulator) -> str:
    """Ask in every way; return what the cells showed."""
    text = known_text()
    shown = []

    def run(source: str) -> None:
        cell = notebook.run(source)
        if source.startswith("%"):
            shown.append(f"{cell.out}{cell.error}{cell.failure}")

    mentions = "@text @lines @frame @mapping @held @table @client @settings @cell:1 @cell:7 @cell:9 @cell:11"
    files = "@file:notes.txt @file:../notes.txt @file:../settings.txt @file:../link.txt"
    looks = model_looks()
    parts = (looks[:4], looks[4:12], looks[12:])
    sim.add_replies(
        *(Reply(stream=(*part, End())) for part in parts), Reply(stream=(Say("Done."), End()), times=None)
    )
    run(f"%%codex --approval all\nWhat of {mentions} {files}? {text}")
    run(f"%%codex --no-context\nAnd without the notebook: {text}")
    run(f"%%codex --image {NAMED['token']}.png\nWhat is in it?")
    run("from matplotlib.figure import Figure\nfigure = Figure(figsize=(1, 1))")
    run(f"%%codex --image figure\nWhat is in it? {text[:500]}")
    run("del figure")
    for command in ("fix", f"fix Use {NAMED['token']}.", "explain", "fix --no-context"):
        run("raise RuntimeError('again: ' + text)")
        run(f"%codex {command}")
    run("broken()")
    run("%codex fix")
    run("%codex explain")
    run(f"%codex context {text.splitlines()[0]} @text")
    run(f"%%codex --schema {{'type': 'object', 'title': '{NAMED['token']}'}} -o row\nGive a row.")
    run("import codex_nb\ncodex_nb.ask('What is ' + text, context=True)")
    run("codex_nb.ask('What is ' + text)")
    run("codex_nb.map(['One: ' + text[:800], 'Two: ' + lines[3], 'Three'])")
    run("long = 'what of it? ' * 75_000 + text\ncodex_nb.ask(long, thread='long')")
    run(f"%%codex --thread long\nAnd now? {text[:300]}")
    for command in ("status", "threads", "usage", "models", "config", "thread x", f"model {NAMED['token']}"):
        run(f"%codex {command}")
    return "\n".join(shown)


def assert_clean(content: str | bytes, place: str, secrets: dict[str, str] = ALL) -> int:
    """Scan a text as it is, and for its letters and digits alone; return its size."""
    data = content.encode() if isinstance(content, str) else content
    assert_no_leak(data, secrets, place)
    assert find_leaks_in_images(data, secrets, place) == []
    squeezed = "".join(filter(str.isalnum, data.decode("utf-8", "replace")))
    assert [name for name, value in secrets.items() if "".join(filter(str.isalnum, value)) in squeezed] == []
    return len(data)


def test_no_planted_value_leaves_by_any_way(
    kernels: Kernels, sim: Simulator, project: Path, codex_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="codex_nb")
    with kernels() as notebook:
        plant(notebook)
        shown = ask_everything(notebook, sim)
    with kernels() as notebook:  # the thread goes on from its file
        plant(notebook)
        shown += notebook.run("%codex Where were we?").out
        shown += notebook.run("%%codex --thread long\nAnd there?").out
    tokens = json.loads((codex_home / "auth.json").read_text())["tokens"]
    own = {name: tokens[name] for name in ("access_token", "refresh_token", "id_token")}
    assert len(ALL) + len(own) >= 40
    requests = [request for request in sim.requests if "/oauth/" not in request.path]
    size = 0
    for number, request in enumerate(requests):
        place = f"request {number} to {request.path}"
        headers = {name: value for name, value in request.headers.items() if name != "authorization"}
        size += assert_clean(request.raw_body, place, ALL | own)
        size += assert_clean(json.dumps(request.body, ensure_ascii=False), place, ALL | own)
        size += assert_clean(f"{request.path}{dict(request.query)}{headers}", place, ALL | own)
    kept = [path for path in (codex_home / "codex_nb").rglob("*") if path.is_file()]
    for path in kept:
        size += assert_clean(path.read_bytes(), path.name, ALL | own)
    size += assert_clean(caplog.text, "the log", ALL | own)
    size += assert_clean(shown, "what the cells showed", SKIPPED | OUTSIDE | own)
    asked = sim.requests.to("/responses", "POST")
    logging.getLogger(__name__).info(
        "%s bodies, %s files, %s bytes: none found", len(requests), len(kept), size
    )
    assert len(asked) >= 20
    assert size > 2_000_000
    assert any(item["type"] == "compaction_trigger" for request in asked for item in request.body["input"])
    assert project.is_dir()


SERVER_TEXT = [{"type": "text", "text": known_text()}]


def configure_others(codex_home: Path, project: Path, seen: Path) -> None:
    """Configure an MCP server that returns all values, skills and a saved prompt that hold them."""
    server = hostile(
        "demo", f"seen={seen}", content=SERVER_TEXT, tools=[listed("ping", description=known_text())]
    )
    config = codex_home / "config.toml"
    config.write_text(f"mcp_optional_startup_grace_ms = 60000\n{config.read_text()}\n{server}")
    for folder, name in ((codex_home / "skills", "own"), (project / ".agents" / "skills", "shared")):
        (folder / name).mkdir(parents=True)
        (folder / name / "SKILL.md").write_text(
            f"---\nname: {name}\ndescription: With {NAMED['token']}\n---\n{known_text()}"
        )
        (folder / name / "more.txt").write_text(SETTINGS)
        (folder / name / "out.txt").symlink_to(project.parent / "outside.txt")
    (codex_home / "prompts").mkdir()
    (codex_home / "prompts" / "review.md").write_text(f"Review $1 with {known_text()}")


def agent_looks() -> list[Step]:
    """Return what the agent asks our tools for, and the user."""
    looks = [each for each in model_looks() if each.name != "list_files"][:14]
    steps = [
        ask("item/tool/call", tool=look.name, callId=f"call-{number}", arguments=look.arguments)
        for number, look in enumerate(looks)
    ]
    question = {"id": "q", "question": f"Use {NAMED['token']}?", "options": [{"label": NAMED["db_password"]}]}
    return [*steps, ask("item/tool/requestUserInput", itemId="item-1", questions=[question]), *said("Done.")]


def ask_in_other_ways(notebook: Notebook, page: FrontEnd, sim: Simulator, folder: Path) -> None:
    """Ask by servers, skills, cells, websockets, pools, journals, batches and the agent."""
    text = known_text()
    page.cells = document(
        "%%codex",
        f"settings = {SETTINGS!r}",
        f"key = '{NAMED['token']}'",
        f"# codex-skip\n{SKIPPED['skipped:salary']}",
        text,
    )
    page.cells[4]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": text}]
    calls = (
        *(Call("read_cells", {"cell_ids": ids}) for ids in ([], ["cell 1", "cell 2", "cell 4"], ["cell 3"])),
        Call("edit_cell", {"cell_id": "cell 2", "edits": [{"old": "key", "new": "name"}]}),
        Call("edit_cell", {"cell_id": "cell 4", "source": "nothing"}),
        Call("insert_cells", {"cells": [{"kind": "code", "source": "text"}], "after": "cell 2"}),
        Call("mcp__demo__ping", {}),
        *(Call("read_skill", {"skill": name, "path": path}) for name in ("own", "shared")
          for path in ("SKILL.md", "more.txt", "out.txt", "../../../outside.txt")),
        Call("run_python", {"code": "print(text); lines, diagnosis"}),
    )  # fmt: skip
    transports = ("websocket", "http")
    for transport in transports:
        notebook.run(f"%config CodexMagics.transport = {transport!r}")
        sim.add_replies(Reply(stream=(*calls, End())), Reply(stream=(Say("Done."), End())))
        assert notebook.run(
            f"%%codex -t {transport} --approval all --search\n$own $shared @text {text[:900]}"
        ).succeeded
        assert notebook.run(f"%%codex -t {transport}\n/review {NAMED['token']}").succeeded
    notebook.run("import codex_nb, concurrent.futures\npool = concurrent.futures.ThreadPoolExecutor(1)")
    notebook.namespace["prompts"] = [text[:900], *text.splitlines()[:3]]
    for options in (
        f"journal={str(folder / 'journal.jsonl')!r}",
        "executor=pool",
        "schema=dict[str, int], on_error='return'",
    ):
        assert notebook.run(f"codex_nb.map(prompts, **dict({options}))").succeeded, options
    assert notebook.run(f"%codex export http {folder / 'exported.md'}").succeeded
    for command in ("--agent --approval all -t agent", "--agent -t http"):
        assert notebook.run(f"%%codex {command}\n$own @text @lines {text[:900]}").succeeded
    assert notebook.run("codex_nb.map(prompts, batch=True).id").succeeded


def test_no_planted_value_leaves_by_servers_skills_cells_sockets_pools_journals_batches_or_the_agent(
    notebook: Notebook,
    sim: Simulator,
    project: Path,
    key_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places = {name: tmp_path / name for name in ("server.jsonl", "agent", "files")}
    places["files"].mkdir()
    configure_others(key_home, project, places["server.jsonl"])
    monkeypatch.setenv("CODEX_NB_CODEX", str(install_fake(places["agent"], agent_looks(), agent_looks())))
    with front_end(notebook, sim) as page:
        plant(notebook)
        ask_in_other_ways(notebook, page, sim, places["files"])
    kept = [
        path
        for place in (key_home / "codex_nb", *places.values())
        for path in ([place] if place.is_file() else place.rglob("*"))
        if path.is_file() and path.name != "plays.json"
    ]
    size = sum(assert_clean(path.read_bytes(), str(path)) for path in kept)
    for number, request in enumerate(sim.requests):
        size += assert_clean(request.raw_body, f"request {number} to {request.path}")
    size += sum(assert_clean(content, "a batch") for content in sim.state.batches.files.values())
    assert {path.name for path in kept} >= {"journal.jsonl", "exported.md", "seen.jsonl", "environ.json"}
    ways = {(request.path, request.method) for request in sim.requests}
    assert ways >= {("/v1/responses", FRAME), ("/v1/responses", "POST"), ("/v1/files", "POST")}
    assert size > 500_000


def test_the_scan_would_find_each_value() -> None:
    for name, value in ALL.items():
        for way in ways(value)[:4]:
            assert find_leaks(json.dumps({"input": way.replace("\n", "")}), {name: value}), (name, way)
