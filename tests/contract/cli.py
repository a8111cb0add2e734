"""The real Codex CLI in its own home, configured for a simulator only."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codex_nb.simulator import Simulator
from tests.patience import PATIENCE_S

QUIET = "[features]\nplugins = false\napps = false\n"
"""Keeps the CLI from fetching its public plugin list, which no simulator can stand for."""

SANDBOX = (".git", ".agents", ".codex")
"""The folders that the CLI's sandbox protects below a writable one, and leaves when a command is broken off."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@contextmanager
def without_traces() -> Iterator[None]:
    """Remove what the CLI's sandbox has left in the folders for temporary files."""
    places = {Path(folder, name) for folder in ("/tmp", tempfile.gettempdir()) for name in SANDBOX}  # noqa: S108  both are writable in the sandbox
    new = {each for each in places if not each.exists()}
    yield
    for each in new:
        with suppress(OSError):
            each.rmdir()


@dataclass(frozen=True)
class Outcome:
    """How a run of the CLI ended; ``words`` is everything it printed, without colours."""

    code: int
    words: str
    events: tuple[dict[str, Any], ...] = ()

    @property
    def text(self) -> str:
        """The answer of ``exec --json``."""
        items = [event["item"] for event in self.events if event["type"] == "item.completed"]
        return "\n".join(item["text"] for item in items if item["type"] == "agent_message")

    @property
    def usage(self) -> Mapping[str, int]:
        """The usage of ``exec --json``."""
        (usage,) = [event["usage"] for event in self.events if event["type"] == "turn.completed"]
        assert isinstance(usage, dict)
        return usage


class AppServer:
    """The CLI's app-server: one JSON object per line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._asked = 0

    def send(self, **message: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def messages(self) -> Iterator[dict[str, Any]]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield json.loads(line)

    def ask(self, method: str, **params: Any) -> Any:
        self._asked += 1
        self.send(id=self._asked, method=method, params=params)
        answer = next(each for each in self.messages() if each.get("id") == self._asked)
        assert "result" in answer, answer
        return answer["result"]

    def turn(self, thread: str, prompt: str) -> str:
        """Run a turn of a thread to its end; how it ended."""
        words = [{"type": "text", "text": prompt, "text_elements": []}]
        self.ask("turn/start", threadId=thread, input=words)
        done = next(each for each in self.messages() if each.get("method") == "turn/completed")
        return str(done["params"]["turn"]["status"])


@dataclass
class CodexCli:
    """The program and the folder that is its whole world."""

    program: Path
    sim: Simulator
    folder: Path
    more_environ: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """CODEX_HOME."""
        return self.folder / "codex-home"

    @property
    def auth(self) -> dict[str, Any]:
        """What auth.json contains."""
        contents: dict[str, Any] = json.loads((self.home / "auth.json").read_text())
        return contents

    def configure(self, config: str) -> None:
        """Write config.toml."""
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "config.toml").write_text(config + QUIET)

    def environ(self) -> dict[str, str]:
        """Nothing of the developer's but the search path."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        own = {"PATH": os.environ["PATH"], "HOME": str(home), "CODEX_HOME": str(self.home)}
        return own | self.sim.environ() | self.more_environ

    @contextmanager
    def running(self, *arguments: str, **more: Any) -> Iterator[subprocess.Popen[str]]:
        """A run of the CLI that is ended with the block."""
        work = self.folder / "work"
        work.mkdir(exist_ok=True)
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} | more
        command = [str(self.program), *arguments]
        with subprocess.Popen(command, cwd=work, env=self.environ(), text=True, **pipes) as process:
            try:
                yield process
            finally:
                process.kill()

    def run(self, *arguments: str, stdin: str | None = None) -> Outcome:
        """A run of the CLI to its end."""
        pipe = subprocess.DEVNULL if stdin is None else subprocess.PIPE
        with self.running(*arguments, stdin=pipe) as process:
            words, _ = process.communicate(stdin, timeout=PATIENCE_S)
        return Outcome(process.returncode, _COLOURS.sub("", words))

    def ask(self, prompt: str, *options: str) -> Outcome:
        """``codex exec --json`` to its end."""
        arguments = ("exec", *options, "--skip-git-repo-check", "--json", prompt)
        with self.running(*arguments, stderr=subprocess.PIPE) as process:
            out, errors = process.communicate(timeout=PATIENCE_S)
        events = tuple(json.loads(line) for line in out.splitlines() if line.startswith("{"))
        return Outcome(process.returncode, _COLOURS.sub("", out + errors), events)

    @contextmanager
    def app_server(self) -> Iterator[AppServer]:
        """``codex app-server``, past its greeting."""
        with self.running("app-server", stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            server = AppServer(process)
            server.ask("initialize", clientInfo={"name": "tests", "title": "Tests", "version": "1"})
            server.send(method="initialized")
            yield server
