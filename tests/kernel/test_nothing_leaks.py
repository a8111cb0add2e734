"""Nothing leaks out of a real kernel: a fault at every network and file step, and no secret anywhere it could be read.

The kernel logs every logger at its lowest level (and ipykernel its messages), shows verbose tracebacks, keeps its
history database. The scan covers all messages on iopub and shell (with them widget states), the notebook that they
come to, what the process wrote, the logs, the history, IPython's folder, CODEX_HOME but the login itself, the repr and
the fields of every live object of codex_nb, and each error with the variables of every frame of its whole chain.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, output_from_msg

from codex_nb.labels import LOGIN_METHODS
from codex_nb.simulator import GRACE, Cut, Event, Reply, Say, Scenario, Simulator
from tests.kernel.front_ends import APPROVE, Console, Headless, Page
from tests.kernel.kernel_client import OUTPUTS, RunningKernel, running
from tests.kernel.provision import ROOT, VERSIONS
from tests.leaks import Leak, find_leaks
from tests.pictures import PLACES, find_leaks_in_images, images_in, kind_of

TOKEN_FIELDS = ("refresh_token", "token", "code", "code_verifier", "device_auth_id", "subject_token")
PLANTED = {
    "the planted code": "ac_planted_0123456789abcdef",
    "the planted verifier": "verifier_planted_0123456789",
    "the planted refresh token": "rt_planted_0123456789abcdef",
    "the planted access token": "planted-opaque-access-token-0123456789",
    "the planted device id": "deviceauth_planted_0123456789",
}
ASK = "import codex_nb\ncodex_nb.ask('hello')"
CELL = "%%codex\nhello"


class Person(Page):
    """Somebody at JupyterLab who signs in, or begins to and cancels."""

    def __init__(self, sim: Simulator, *, secret: str = "", cancels: bool = False) -> None:
        super().__init__()
        self.sim = sim
        self.secret = secret
        self.cancels = cancels
        self.pasted: list[str] = []
        self._seen: list[str] = []

    def _hear(
        self, kernel: RunningKernel, comm: str, told: Mapping[str, Any], on_ask: Callable[[str], Any]
    ) -> None:
        super()._hear(kernel, comm, told, on_ask)
        step = told.get("step", {})
        kind = step.get("kind")
        if kind in {None, "waiting", "done"} or kind in self._seen:
            return
        self._seen.append(kind)
        if self.cancels or kind == "failed":
            self._say(kernel, comm, {"kind": "action", "name": "cancel", "view": "view"})
        elif kind == "code":
            self.sim.approve_device_code(step["code"])
        elif kind == "open":
            self.pasted.append(self.sim.answer_authorization(step["href"]))
            self._submit(kernel, comm, self.pasted[-1])
        else:
            self._submit(kernel, comm, self.secret)

    def _submit(self, kernel: RunningKernel, comm: str, value: str) -> None:
        data = {"method": "custom", "content": {"kind": "submit", "view": "view"}}
        kernel.request("comm_msg", {"comm_id": comm, "data": data}, buffers=[value.encode()])


class Typist(Console):
    """Somebody at a console who types a secret when a prompt asks for it."""

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def run(self, kernel: RunningKernel, code: str, on_ask: Callable[[str], Any]) -> Any:
        """Run a cell to its end."""
        del on_ask
        return super().run(kernel, code, lambda _: {"typed": self.secret})


@dataclass
class Scene:
    """A kernel, a simulator, a CODEX_HOME, and every secret that has come up."""

    sim: Simulator
    kernel: RunningKernel
    folder: Path
    environ: Mapping[str, str]
    secrets: dict[str, str] = field(default_factory=lambda: dict(PLANTED))
    cells: list[tuple[str, list[Any]]] = field(default_factory=list)
    ends: dict[Path, int] = field(default_factory=dict)
    scanned: int = 0

    @property
    def home(self) -> Path:
        """The CODEX_HOME."""
        return self.folder / "codex-home"

    @property
    def seen(self) -> Path:
        """Where the kernel tells of itself."""
        return self.folder / "seen"

    @property
    def vault(self) -> Path:
        """Where secrets lie that a cell reads into a variable of the environment."""
        return self.folder / "vault"

    def keep(self, name: str, secret: str) -> str:
        """Look for this secret from now on; return it."""
        if secret and secret not in self.secrets.values():
            self.secrets[f"{name} {len(self.secrets)}"] = secret
        return secret

    def person(self, way: str) -> Person:
        """Give somebody who signs in that way, with whatever is needed for it."""
        make = {"api_key": self.sim.new_api_key, "access_token": self.sim.new_personal_token}.get(way)
        return Person(self.sim, secret=self.keep(f"the typed {way}", make()) if make else "")

    def credential(self, variable: str) -> str:
        """Give a good credential for a variable of the environment."""
        make = {
            "CODEX_API_KEY": self.sim.new_api_key,
            "CODEX_ACCESS_TOKEN": self.sim.new_personal_token,
            "CODEX_AGENT_IDENTITY": self.sim.new_agent_identity,
        }
        return self.keep(variable, make[variable]())

    @contextmanager
    def variable(self, name: str, secret: str) -> Iterator[None]:
        """Let the kernel's environment hold a secret that no cell has written out."""
        (self.vault / name).write_text(secret)
        self.run(
            f"os.environ[{name!r}] = (Path(os.environ['CODEX_HOME']).parent / 'vault' / {name!r}).read_text()"
        )
        self.start_over()
        yield
        self.run(f"del os.environ[{name!r}]")

    @contextmanager
    def configured(self, config: str) -> Iterator[None]:
        """Put another config.toml in place for a while."""
        path = self.home / "config.toml"
        usual = path.read_text()
        path.write_text(config)
        yield
        path.write_text(usual)

    @contextmanager
    def unlocked(self) -> Iterator[None]:
        """Remove the obstacle in place of a file at the end."""
        yield
        for name in ("auth.json", "auth.lock"):
            path = self.home / name
            if path.is_symlink() or path.is_file():
                path.unlink()
            elif path.is_dir():
                shutil.rmtree(path)

    def sign_in(self) -> dict[str, str]:
        """Put a fresh login into the home, whose access token the backend takes for expired; return its tokens."""
        tokens = vars(self.sim.write_login(self.home))
        self.sim.expire_access_tokens()
        self.harvest()
        return {name: tokens[name] for name in ("access_token", "refresh_token", "id_token")}

    def harvest(self) -> None:
        """Take note of every secret that was stored or sent."""
        path = self.home / "auth.json"
        if path.is_file():
            self._harvest_login(path.read_text(errors="replace"))
        for request in self.sim.requests:
            self.keep("a sent bearer", request.headers.get("authorization", "").partition(" ")[2])
            if isinstance(request.body, dict):
                for name in TOKEN_FIELDS:
                    value = request.body.get(name)
                    self.keep(f"a sent {name}", value if isinstance(value, str) else "")

    def _harvest_login(self, text: str) -> None:
        try:
            held = json.loads(text)
        except ValueError:
            return
        if not isinstance(held, dict):
            return
        for name in ("OPENAI_API_KEY", "personal_access_token", "agent_identity"):
            self.keep(f"the stored {name}", held.get(name) or "")
        for name in ("access_token", "refresh_token", "id_token", "login_owner_id"):
            value = (held.get("tokens") or {}).get(name)
            self.keep(f"the stored {name}", value if isinstance(value, str) else "")

    def run(self, code: str, who: Any = None) -> str:
        """Run a cell, headless unless somebody sits there; return the reply's status."""
        self.kernel.published.clear()
        status = (who or Headless()).run(self.kernel, code, lambda _: APPROVE).status
        self.cells.append((code, list(self.kernel.published)))
        self.harvest()
        return status

    def start_over(self) -> None:
        """Let the session forget who it was."""
        assert self.run("%reload_ext codex_nb") == "ok"

    def doctor(self) -> str:
        """Let the doctor look, and status tell, in a terminal."""
        said = ""
        for command in ("doctor", "status"):
            ran = subprocess.run(
                [sys.executable, "-X", "dev", "-m", "codex_nb", command],
                env=dict(self.environ),
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            said += ran.stdout + ran.stderr
        return said

    def check(self, *, doctor: bool = False) -> None:
        """Scan all that came since the last scan; fail with one line for each leak."""
        leaks = self._leaks()
        if doctor:
            leaks += find_leaks(self.doctor(), self.secrets, "the doctor's words")
        assert not leaks, "\n".join(sorted(map(str, leaks)))

    def _leaks(self) -> list[Leak]:
        told = self.kernel.run(f"assert leak_probe.write_objects(Path({str(self.seen)!r})) > 0")
        assert told["status"] == "ok", told
        self.harvest()
        found = []
        for place, data in self._everything():
            self.scanned += len(data)
            found += find_leaks(data, self.secrets, place)
        self.cells.clear()
        return found

    def _everything(self) -> Iterator[tuple[str, bytes]]:
        for code, messages in self.cells:
            yield f"the messages of {code!r}", json.dumps(messages, default=repr).encode()
            yield f"the messages of {code!r}, as shown", str(messages).encode()
        yield "the notebook", nbformat.writes(self._notebook()).encode()
        yield "the replies", json.dumps(self.kernel.replies, default=repr).encode()
        for file in sorted(self.folder.rglob("*")):
            inside = file.relative_to(self.folder)
            is_login = inside.parts[:2] == ("codex-home", "auth.json") or inside.parts[0] == "vault"
            if file.is_file() and not is_login:
                data = file.read_bytes()
                start = self.ends.get(file, 0) if file.suffix in {".log", ".txt"} else 0
                start = 0 if file.name in {"objects.txt", "stacks.txt"} else start
                self.ends[file] = len(data)
                yield str(inside), data[start:]

    def _notebook(self) -> Any:
        notebook = new_notebook()
        for code, messages in self.cells:
            cell = new_code_cell(code)
            shown = [
                message for message in messages if message["msg_type"] in OUTPUTS - {"update_display_data"}
            ]
            cell.outputs = [output_from_msg(message) for message in shown]
            notebook.cells.append(cell)
        return notebook


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Start the newest kernel with everything on that could tell."""
    folder = tmp_path_factory.mktemp("scene")
    for name in ("codex-home", "seen", "vault", "ipython"):
        (folder / name).mkdir(mode=0o700)
    with Simulator(poll_interval_s=0) as sim, (folder / "kernel.log").open("wb") as output:
        retries = "request_max_retries = 1\nstream_max_retries = 1\n"
        (folder / "codex-home" / "config.toml").write_text(sim.config_toml() + retries)
        own = {
            "CODEX_HOME": str(folder / "codex-home"),
            "IPYTHONDIR": str(folder / "ipython"),
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
        }
        environ = {**os.environ, **sim.environ(), **own}
        with running(VERSIONS[-1], environ, "--debug", output=output) as kernel:
            scene = Scene(sim, kernel, folder, environ)
            lines = (
                "import os\nfrom pathlib import Path\nfrom tests.kernel import leak_probe",
                f"leak_probe.watch(get_ipython(), Path({str(scene.seen)!r}))",
                "%load_ext codex_nb",
            )
            for line in lines:
                assert kernel.run(line)["status"] == "ok"
            yield scene


@pytest.fixture
def signed_in(scene: Scene) -> Iterator[dict[str, str]]:
    """Begin with a fresh login and a session that knows nobody; end with the usual behaviour."""
    tokens = scene.sign_in()
    (scene.home / "codex_nb_models.json").unlink(missing_ok=True)
    scene.start_over()
    scene.sim.requests.clear()
    yield tokens
    scene.sim.play(Scenario())


def echo(status: int) -> Callable[[str, dict[str, str]], Reply]:
    """A refusal whose text, code and header repeat the login."""

    def reply(path: str, tokens: dict[str, str]) -> Reply:
        said = f"The token {tokens['access_token']} or {tokens['refresh_token']} is not good."
        error = {"message": said, "code": tokens["refresh_token"], "type": tokens["access_token"]}
        body = {"error": error, **tokens, "device_auth_id": PLANTED["the planted device id"]}
        return Reply(path, times=None, status=status, body=body, headers={"x-request-id": "req_1"})

    return reply


def plain(path: str, tokens: dict[str, str]) -> Reply:
    """A refusal in words of no format."""
    return Reply(
        path, times=None, status=403, body=f"<b>no</b> {tokens['refresh_token']} {tokens['access_token']}"
    )


def nonsense(path: str, tokens: dict[str, str]) -> Reply:
    """A success that is no JSON."""
    return Reply(path, times=None, body=f"<{tokens['refresh_token']}> {PLANTED['the planted code']}")


def wrong_types(path: str, tokens: dict[str, str]) -> Reply:
    """A success whose fields have the wrong types."""
    planted = {"x": PLANTED["the planted refresh token"], "y": tokens["access_token"]}
    names = (
        *TOKEN_FIELDS,
        "access_token",
        "id_token",
        "authorization_code",
        "user_code",
        "models",
        "accounts",
    )
    return Reply(path, times=None, body=dict.fromkeys(names, planted))


def cut(path: str, tokens: dict[str, str]) -> Reply:
    """A reply that breaks off."""
    del tokens
    return Reply(path, times=None, stream=(Say("half an ans"), Cut()))


def failed_stream(path: str, tokens: dict[str, str]) -> Reply:
    """A stream that fails with words that repeat the login."""
    error = {"code": tokens["refresh_token"], "message": f"bad token {tokens['access_token']}"}
    event = Event({"type": "response.failed", "response": {"id": "r", "error": error}})
    return Reply(path, times=None, stream=(event,))


FAULTS = {
    "400 echo": echo(400),
    "401 echo": echo(401),
    "429 echo": echo(429),
    "500 echo": echo(500),
    "plain": plain,
    "nonsense": nonsense,
    "wrong types": wrong_types,
    "cut": cut,
    "failed stream": failed_stream,
}
STEPS = ("/responses", "/models", "/wham/usage", "/oauth/token", "/oauth/revoke")
ROUTING = "/wham/accounts/check"
LOGIN_STEPS = (
    ("/deviceauth/usercode", "device"),
    ("/deviceauth/token", "device"),
    ("/oauth/token", "device"),
    ("/oauth/token", "browser"),
    ("/oauth/revoke", "device"),
    ("/user-auth-credential/whoami", "access_token"),
)


@pytest.mark.parametrize("path", STEPS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_network_tells_nothing(
    scene: Scene, signed_in: dict[str, str], fault: str, path: str
) -> None:
    scene.sim.play(Scenario((FAULTS[fault](path, signed_in),)))
    for code in (ASK, CELL, "%codex usage", "%codex status", "%codex models", "%codex logout"):
        scene.run(code)
    assert scene.sim.requests.count(path) > 0
    scene.check()


def test_a_fault_of_the_routing_tells_nothing(scene: Scene, signed_in: dict[str, str]) -> None:
    """Only the built-in provider asks where the workspace lives."""
    with scene.configured(scene.sim.config_toml("builtin")):
        for fault in (echo(401), plain, nonsense, wrong_types, cut):
            scene.sim.play(Scenario((fault(ROUTING, signed_in),)))
            scene.start_over()
            for code in (ASK, CELL):
                scene.run(code)
    assert scene.sim.requests.count(ROUTING) >= len(FAULTS)
    scene.check()


@pytest.mark.parametrize("way", LOGIN_METHODS)
def test_signing_in_in_the_cell_tells_nothing(scene: Scene, signed_in: dict[str, str], way: str) -> None:
    del signed_in
    person = scene.person(way)
    assert scene.run(f"%codex login {way}", person) == "ok"
    scene.keep("the pasted address", "".join(person.pasted))
    assert scene.run(CELL, Person(scene.sim)) == "ok"
    assert scene.run("%codex status", Person(scene.sim)) == "ok"
    scene.check()


@pytest.mark.parametrize("way", LOGIN_METHODS)
def test_a_cancelled_sign_in_tells_nothing(scene: Scene, signed_in: dict[str, str], way: str) -> None:
    del signed_in
    assert scene.run(f"%codex login {way}", Person(scene.sim, cancels=True)) == "error"
    scene.check()


@pytest.mark.parametrize(("path", "way"), LOGIN_STEPS)
@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "failed stream"])
def test_a_fault_while_signing_in_tells_nothing(
    scene: Scene, signed_in: dict[str, str], fault: str, path: str, way: str
) -> None:
    scene.sim.play(Scenario((replace(FAULTS[fault](path, signed_in), times=2),)))
    person = scene.person(way)
    scene.run(f"%codex login {way}", person)
    scene.keep("the pasted address", "".join(person.pasted))
    assert scene.sim.requests.count(path) > 0
    scene.check()


@pytest.mark.parametrize("way", ["api_key", "access_token"])
def test_what_is_typed_at_a_prompt_tells_nothing(scene: Scene, signed_in: dict[str, str], way: str) -> None:
    del signed_in
    typist = Typist(scene.person(way).secret)
    assert scene.run(f"%codex login {way}", typist) == "ok"
    scene.run(ASK)
    scene.check()


@pytest.mark.parametrize("variable", ["CODEX_API_KEY", "CODEX_ACCESS_TOKEN", "CODEX_AGENT_IDENTITY"])
@pytest.mark.parametrize("fault", ["none", "401 echo", "500 echo", "wrong types", "cut"])
def test_a_credential_of_the_environment_tells_nothing(
    scene: Scene, signed_in: dict[str, str], fault: str, variable: str
) -> None:
    if fault != "none":
        replies = [FAULTS[fault](path, signed_in) for path in ("/responses", "/whoami", "/jwks", "/register")]
        scene.sim.play(Scenario(tuple(replies)))
    with scene.variable(variable, scene.credential(variable)):
        for code in (ASK, CELL, "%codex status", "%codex config", "%codex logout", "codex_nb.status()"):
            scene.run(code)
        scene.run("os.environ['CODEX_HOME'] += '/config.toml'\n" + ASK)
        scene.run("os.environ['CODEX_HOME'] = os.environ['CODEX_HOME'].removesuffix('/config.toml')")
        scene.check()


FILES: Mapping[str, Callable[[Path], object]] = {
    "torn": lambda path: path.write_text(path.read_text()[:-40]),
    "not a login": lambda path: path.write_text(json.dumps([path.read_text()])),
    "wrong types": lambda path: path.write_text(
        path.read_text().replace('"refresh_token": "', '"refresh_token": ["')
    ),
    "wrong mode": lambda path: path.write_text(path.read_text().replace('"chatgpt"', '"odd"')),
    "not ASCII": lambda path: path.write_text(
        path.read_text().replace('"access_token": "', '"access_token": "\u043a')
    ),
    "a directory": lambda path: (path.unlink(), path.mkdir()),
    "a link to nowhere": lambda path: (path.unlink(), path.symlink_to(path.parent / "away" / "auth.json")),
    "a locked home": lambda path: (path.parent / "auth.lock").mkdir(),
}


@pytest.mark.parametrize("fault", FILES)
def test_a_fault_of_the_file_tells_nothing(scene: Scene, signed_in: dict[str, str], fault: str) -> None:
    del signed_in
    login = scene.home / "auth.json"
    with scene.unlocked():
        FILES[fault](login)
        for code in (ASK, CELL, "%codex status", "%codex config", "%codex logout"):
            scene.run(code)
        scene.run("%codex login", Person(scene.sim))
        scene.check(doctor=True)


def test_a_full_disk_tells_nothing(scene: Scene, signed_in: dict[str, str]) -> None:
    """A limit on the size of files: every write beyond it fails, as on a disk without room."""
    del signed_in
    full = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))\n"
    room = "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))"
    body = ASK.replace("\n", "\n    ")
    assert scene.run(f"{full}try:\n    {body}\nfinally:\n    {room}") == "ok"
    assert scene.sim.refreshes > 0
    scene.check(doctor=True)


def test_signing_in_goes_on_after_another_account_has_taken_the_place(
    scene: Scene, signed_in: dict[str, str]
) -> None:
    del signed_in
    assert scene.run(ASK) == "ok"
    scene.sim.write_login(scene.home, GRACE)
    assert scene.run(ASK) == "error"
    assert scene.run("%codex login", Person(scene.sim)) == "ok"
    assert scene.run(ASK) == "ok"
    scene.check()


def test_the_history_database_holds_the_cells_and_no_secret(scene: Scene, signed_in: dict[str, str]) -> None:
    del signed_in
    scene.run(ASK)
    scene.run("get_ipython().history_manager.writeout_cache()")
    (database,) = (scene.folder / "ipython").rglob("history.sqlite")
    held = b"".join(file.read_bytes() for file in database.parent.glob("history.sqlite*"))
    assert b"codex_nb.ask" in held
    scene.check()


def test_an_image_that_a_cell_shows_tells_nothing_but_its_picture(
    scene: Scene, signed_in: dict[str, str]
) -> None:
    del signed_in
    planted = {place: f"planted-in-an-image-{number:04}-0123456789" for number, place in enumerate(PLACES)}
    for place, value in planted.items():
        (scene.vault / "image").write_bytes(PLACES[place](value))
        data = "(Path(os.environ['CODEX_HOME']).parent / 'vault' / 'image').read_bytes()"
        scene.run(f"import IPython.display\nIPython.display.Image({data}, format={kind_of(place)!r})")
        assert scene.run("%%codex --fresh\nWhat does the plot show?") == "ok"
    (scene.vault / "image").unlink()
    bodies = [request.raw_body for request in scene.sim.requests.to("/responses", "POST")]
    bodies += [file.read_bytes() for file in (scene.home / "codex_nb").rglob("*") if file.is_file()]
    found = [leak for body in bodies for leak in find_leaks(body, planted)]
    found += [leak for body in bodies for leak in find_leaks_in_images(body, planted, "an image")]
    assert found == []
    assert sum(1 for body in bodies for _ in images_in(body, is_long=False)) >= len(PLACES)


def test_the_scan_finds_what_it_is_meant_to_find(scene: Scene, signed_in: dict[str, str]) -> None:
    """One spill into each place that is scanned."""
    del signed_in
    scene.check()
    (scene.vault / "spilt").write_text(scene.keep("the spilt", "sk-spilt-0123456789abcdefghij"))
    scene.run("spilt = (Path(os.environ['CODEX_HOME']).parent / 'vault' / 'spilt').read_text()")
    scene.run("import logging; logging.getLogger('anybody').debug(spilt)")
    scene.run("def fail(key):\n    raise ValueError(len(key))\nfail(spilt)")
    scene.run("from codex_nb.errors import CodexError; kept = CodexError(spilt)")
    scene.run("print(spilt.encode().hex())")
    scene.run(
        "get_ipython().history_manager.store_inputs(90_000, spilt); get_ipython().history_manager.writeout_cache()"
    )
    with pytest.raises(AssertionError) as found:
        scene.check()
    places = (
        "every.log",
        "errors.txt",
        "objects.txt",
        "history.sqlite",
        "kernel.log",
        "the messages",
        "the notebook",
    )
    assert [place for place in places if place not in str(found.value)] == []
    scene.run("del spilt, kept; get_ipython().user_ns.pop('_i', None)")
