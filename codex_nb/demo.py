"""The demo: the tour notebook in JupyterLab, on the user's own login if there is one, on the simulator otherwise."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codex_nb.errors import CodexError
from codex_nb.words import demo as words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TOUR = "01_first_question.ipynb"


@dataclass(frozen=True)
class Backend:
    """What the demo runs on: the sentence that says so, and the environment that makes it so."""

    sentence: str
    environment: Mapping[str, str]
    simulated: bool


def run(*, browser: bool, execute: bool) -> int:
    """Open the tour, or run it headless and print its answers; return the process's exit status."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="codex-nb-demo-")))
        backend = stack.enter_context(_backend(folder))
        print(backend.sentence, flush=True)
        work = folder / "notebooks"
        shutil.copytree(notebooks(), work, ignore=shutil.ignore_patterns(".*"))
        if execute:
            return _execute(work / TOUR, backend)
        return _lab(work, backend, browser=browser)


def notebooks() -> Path:
    """Return the folder of the tour notebooks: in the installed package, else in the checkout."""
    here = Path(__file__).resolve().parent
    for folder in (here / "notebooks", here.parent / "notebooks"):
        if (folder / TOUR).is_file():
            return folder
    raise CodexError(words.NO_TOUR)


@contextmanager
def _backend(folder: Path) -> Iterator[Backend]:
    """Choose the user's own login, else start the simulator with a home of its own below ``folder``."""
    label = _own_login()
    if label is not None:
        yield Backend(words.own_login(label), {}, simulated=False)
        return
    from codex_nb.simulator import Simulator

    with Simulator() as simulator:
        home = folder / "codex_home"
        home.mkdir(mode=0o700)
        (home / "config.toml").write_text(simulator.config_toml(), encoding="utf-8")
        simulator.write_login(home)
        environment = {**simulator.environ(), "CODEX_HOME": str(home)}
        yield Backend(words.SIMULATED, environment, simulated=True)


def _own_login() -> str | None:
    """Return the label of the login on this machine, None when there is none that works."""
    import asyncio

    from codex_nb.assembly import open_home

    async def look() -> str | None:
        async with open_home(os.environ) as home:
            try:
                return (await home.credentials.current()).label
            except CodexError:
                return None

    return asyncio.run(look())


def _child_environment(backend: Backend) -> dict[str, str]:
    hidden = {"CODEX_API_KEY", "CODEX_ACCESS_TOKEN"} if backend.simulated else set()
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return kept | dict(backend.environment)


def _lab(work: Path, backend: Backend, *, browser: bool) -> int:
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        str(work / TOUR),
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port=0",
    ]
    command += [f"--ServerApp.root_dir={work}", *([] if browser else ["--no-browser"])]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    try:
        return subprocess.call(command, env=_child_environment(backend), cwd=work)
    except KeyboardInterrupt:
        return 0


def _execute(notebook: Path, backend: Backend) -> int:
    """Run the tour without a screen and print each cell's question and answer as text."""
    import nbformat
    from nbclient import NotebookClient

    environment = _child_environment(backend)
    if backend.simulated:
        # Nobody can be asked here, and only the simulator's own code would run: the demo says yes for it.
        environment["CODEX_NB_APPROVAL"] = "all"
    page = nbformat.read(notebook, as_version=4)
    client = NotebookClient(
        page, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(notebook.parent)}}
    )
    client.execute(env=environment)
    for cell in page.cells:
        if cell.cell_type == "code":
            print(f"\n>>> {cell.source.strip()}\n")
            for output in cell.outputs:
                print(_plain(output).rstrip())
    return 0


def _plain(output: Mapping[str, object]) -> str:
    data = output.get("data")
    if isinstance(data, dict):
        return str(data.get("text/plain", ""))
    return str(output.get("text", ""))
