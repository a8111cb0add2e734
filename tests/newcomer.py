"""The first steps of a new user, timed: install, load, ask, sign in by device code, first answer.

Only the service is simulated: a wheel is installed into a fresh environment (with the dependencies of the outer one, so
that no package index is used), IPython runs in a terminal, and the code is confirmed at the simulator.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pexpect
from jupyter_client.blocking.client import BlockingKernelClient

from codex_nb.simulator import End, Reply, Say, Scenario, Simulator
from tests.patience import PATIENCE_S
from tests.tiers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

QUESTION = "Which of mean and median does an outlier move?"
ANSWER = "The mean. The median stays where it is."
SCENARIO = Scenario((Reply(stream=(Say(ANSWER), End()), authenticated=True),))
CODE = re.compile(r"[A-Z0-9]{4}-[A-Z0-9]{4,5}\s")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r")


@dataclass(frozen=True)
class Step:
    """What the user does, how long the machine takes (in seconds), and what is shown."""

    does: str
    seconds: float
    shown: str


@dataclass(frozen=True)
class Walk:
    """All steps in order, and the files in the home folder afterwards."""

    steps: tuple[Step, ...]
    files: tuple[str, ...]
    package: str

    @property
    def seconds(self) -> float:
        """The total time of the machine."""
        return sum(step.seconds for step in self.steps)


def build_wheel(folder: Path) -> Path:
    """Build the wheel that a package index would serve."""
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("codex_nb-*.whl")
    return wheel


def make_environment(folder: Path) -> Path:
    """Make an environment that sees the outer one's packages but not its codex_nb; return its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    inner = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    # a plain path: the .pth files of the outer environment, with the editable codex_nb among them, do not count
    (Path(inner) / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


class Newcomer:
    """A user at a terminal without any files; every step and its output are recorded."""

    def __init__(self, folder: Path, sim: Simulator) -> None:
        self.home = folder / "home"
        self.sim = sim
        self.steps: list[Step] = []
        self.python = make_environment(folder / "environment")
        codex_home = self.home / ".codex"
        codex_home.mkdir(parents=True, mode=0o700)
        # the only difference from a real user: the simulator instead of the service
        (codex_home / "config.toml").write_text(sim.config_toml())
        inherited = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        own = {"HOME": str(self.home), "TERM": "dumb", "COLUMNS": "110", "PYTHONFROZENMODULES": "on"}
        self._environ = {**inherited, **sim.environ(), **own}

    @contextmanager
    def step(self, does: str, shown: list[str]) -> Iterator[None]:
        """Time a step; ``shown`` collects what the screen shows during it."""
        begin = time.monotonic()
        yield
        text = _CONTROL.sub("", "".join(shown)).strip("\n")
        self.steps.append(Step(does, time.monotonic() - begin, text))

    def install(self, wheel: Path) -> None:
        """``pip install codex-nb``, with the dependencies installed."""
        shown: list[str] = []
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(self.python)]
        with self.step("pip install codex-nb", shown):
            command = [*pip, "install", "--no-deps", "--no-index", str(wheel)]
            done = subprocess.run(command, env=self._environ, check=True, capture_output=True, text=True)
            shown.append(done.stdout.splitlines()[-1])

    def package(self) -> str:
        """Return the file of the codex_nb that this environment imports outside the checkout."""
        show = [str(self.python), "-c", "import codex_nb; print(codex_nb.__file__)"]
        done = subprocess.run(
            show, env=self._environ, check=True, capture_output=True, text=True, cwd=self.home
        )
        return done.stdout.strip()

    def start_ipython(self) -> pexpect.spawn:
        """Start IPython."""
        arguments = [
            "-m",
            "IPython",
            "--simple-prompt",
            "--no-banner",
            "--no-confirm-exit",
            "--colors=NoColor",
        ]
        shown: list[str] = []
        with self.step("ipython", shown):
            child = pexpect.spawn(
                str(self.python),
                arguments,
                env=self._environ,
                cwd=str(self.home),
                encoding="utf-8",
                timeout=PATIENCE_S,
                dimensions=(50, 110),
            )
            child.expect(r"In \[1\]: ")
            shown += [child.before, child.after]
        return child

    def type(self, child: pexpect.spawn, does: str, lines: list[str], until: str) -> None:
        """Type lines and wait for the expected output."""
        shown: list[str] = []
        with self.step(does, shown):
            for line in lines:
                child.send(line + "\r")
            child.expect(until)
            shown += [child.before, child.after]

    def confirm(self, child: pexpect.spawn) -> None:
        """Confirm the code on the screen on another device; the cell continues."""
        (code,) = self.sim.waiting_device_codes()
        on_screen = code in self.steps[-1].shown
        if not on_screen:
            message = f"the code {code} is not on the screen:\n{self.steps[-1].shown}"
            raise RuntimeError(message)
        shown: list[str] = []
        with self.step("open the page on any device, type the code, confirm", shown):
            self.sim.approve_device_code(code)
            child.expect(r"Signed in as [^\n]*\n")
            shown += [child.before, child.after]
        self.type(child, "nothing: the cell continues", [], r"In \[3\]: ")


def walk() -> Walk:
    """Perform all steps once."""
    with tempfile.TemporaryDirectory() as name, Simulator(SCENARIO) as sim:
        folder = Path(name)
        wheel = build_wheel(folder)
        newcomer = Newcomer(folder, sim)
        newcomer.install(wheel)
        child = newcomer.start_ipython()
        try:
            newcomer.type(child, "%load_ext codex_nb", ["%load_ext codex_nb"], r"In \[2\]: ")
            newcomer.type(child, "%%codex, a question", ["%%codex", QUESTION, "", ""], CODE.pattern)
            newcomer.confirm(child)
        finally:
            child.close(force=True)
        codex_home = newcomer.home / ".codex"
        files = sorted(str(path.relative_to(codex_home)) for path in codex_home.rglob("*") if path.is_file())
        return Walk(tuple(newcomer.steps), tuple(files), newcomer.package())


def demo() -> tuple[float, float]:
    """Return the seconds from ``codex-nb demo`` to its address, and from the first question there to its first word."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        environ = {
            name: each for name, each in os.environ.items() if not name.startswith(("CODEX_", "OPENAI_"))
        }
        environ |= {"HOME": folder, "TMPDIR": folder, "PYTHONUNBUFFERED": "1"}
        begin = time.monotonic()
        command = [sys.executable, "-m", "codex_nb", "demo", "--no-browser"]
        with subprocess.Popen(command, env=environ, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            try:
                address = next(line.strip() for line in process.stdout or () if line.startswith("http://"))
                opened = time.monotonic() - begin
                kernel = httpx.post(
                    httpx.URL(address).copy_with(path="/api/kernels"), trust_env=False
                ).json()["id"]
                (connection,) = home.glob(f"codex-nb-demo-*/runtime/kernel-{kernel}.json")
                return opened, _first_word(connection)
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(PATIENCE_S)


def _first_word(connection: Path) -> float:
    """Ask a question in a kernel that is ready; return the seconds to the first word that it prints."""
    client = BlockingKernelClient(connection_file=str(connection))
    client.load_connection_file()
    client.start_channels()
    try:
        client.wait_for_ready(PATIENCE_S)
        settings = "%load_ext codex_nb\n%config CodexMagics.display = 'text'"
        client.execute_interactive(settings, timeout=PATIENCE_S, output_hook=lambda _: None)
        begin, words = time.monotonic(), list[float]()

        def note(message: Mapping[str, Any]) -> None:
            if message["msg_type"] == "stream":
                words.append(time.monotonic() - begin)

        client.execute_interactive(f"%%codex\n{QUESTION}", timeout=PATIENCE_S, output_hook=note)
        return words[1]  # the first is the notice of what is sent, which is shown once
    finally:
        client.stop_channels()


def printed(walked: Walk) -> str:
    """Return the steps as readable text."""
    parts = [
        f"{number}. {step.does} ({step.seconds:.1f} s)\n{_indented(step.shown)}"
        for number, step in enumerate(walked.steps, 1)
    ]
    return "\n".join(
        [*parts, f"total {walked.seconds:.1f} s of machine time; files: {', '.join(walked.files)}"]
    )


def _indented(text: str) -> str:
    return "\n".join(f"      {line}" for line in text.splitlines())


if __name__ == "__main__":
    sys.stdout.write(printed(walk()) + "\n")
    sys.stdout.write("codex-nb demo: {:.1f} s to its address, {:.1f} s to the first word\n".format(*demo()))
