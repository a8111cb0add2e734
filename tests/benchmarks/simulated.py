"""A shell that talks to the simulator, in a process of its own; what it does is seen from here, the other side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codex_nb.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from codex_nb.simulator.scenario import Scenario

MARK = "MARK "
PATIENCE_S = 60.0
PREPARE = f"""
import json, os, sys, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "codex_nb")
def mark(value=None):
    print("\\n{MARK}" + json.dumps(value), flush=True)
def ask(prompt, options="--no-tools"):
    shell.run_cell_magic("codex", options, prompt)
"""


@contextmanager
def signed_in(
    scenario: Scenario | None = None, *, pace_s: float = 0.0, tls: bool = False
) -> Iterator[tuple[Simulator, dict[str, str]]]:
    """Start the simulator; give it, and the environment of a client that is signed in to it."""
    with tempfile.TemporaryDirectory() as folder, Simulator(scenario, pace_s=pace_s, tls=tls) as simulator:
        home = Path(folder) / "codex-home"
        home.mkdir(mode=0o700)
        simulator.write_home(home)
        own = {"CODEX_HOME": str(home), "IPYTHONDIR": f"{folder}/ipython"}
        yield simulator, {**os.environ, **simulator.environ(), **own}


@dataclass
class Shell:
    """The child process; ``next_mark`` reads on until its program calls ``mark``."""

    process: subprocess.Popen[str]

    def next_mark(self) -> Any:
        """Return the value of the next mark; RuntimeError when the program has ended before."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(MARK):
                return json.loads(line.removeprefix(MARK))
        message = "the shell ended before its next mark"
        raise RuntimeError(message)


@contextmanager
def shell(program: str, environ: dict[str, str]) -> Iterator[Shell]:
    """Run a program that begins with a shell in which codex_nb is loaded."""
    command = [sys.executable, "-c", PREPARE + program]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Shell(process)
            process.stdout.read()  # type: ignore[union-attr]  # it is a pipe
        except BaseException:
            process.kill()
            raise


def wait_for_request(simulator: Simulator, number: int) -> float:
    """Wait for the n-th model request (from 1); return the time of day at which it had arrived."""
    if not simulator.requests.wait(lambda log: log.count("/responses", "POST") >= number, PATIENCE_S):
        message = f"request {number} did not come; so far: {dict(simulator.requests.counts)}"
        raise RuntimeError(message)
    return time.time()
