"""A shell in this process, a CODEX_HOME that leads to a simulator: what most tests of the magics stand on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from codex_nb import api
from codex_nb.simulator import Simulator


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """Run a simulator with its usual behaviour."""
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def codex_home(sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Lead this process to the simulator, signed in."""
    folder = tmp_path / "codex-home"
    folder.mkdir(mode=0o700)
    (folder / "config.toml").write_text(sim.config_toml())
    sim.write_login(folder)
    for name, value in (sim.environ() | {"CODEX_HOME": str(folder)}).items():
        monkeypatch.setenv(name, value)
    for name in (
        "CODEX_API_KEY",
        "CODEX_ACCESS_TOKEN",
        "CODEX_AGENT_IDENTITY",
        "OPENAI_API_KEY",
        "JPY_SESSION_NAME",
    ):
        monkeypatch.delenv(name, raising=False)
    yield folder
    api.close()


@pytest.fixture
def key_home(codex_home: Path, sim: Simulator) -> Path:
    """Lead this process to the simulator, signed in with an API key."""
    (codex_home / "auth.json").unlink()
    sim.write_api_key(codex_home)
    (codex_home / "config.toml").write_text(sim.config_toml("api"))
    return codex_home


@dataclass
class Cell:
    """What running a cell left behind."""

    out: str
    error: str
    failure: BaseException | None

    @property
    def shown(self) -> str:
        """Everything that the cell printed."""
        return self.out + self.error

    @property
    def succeeded(self) -> bool:
        """Whether the cell ended without an exception."""
        return self.failure is None


class Notebook:
    """A shell whose cells are run one by one."""

    def __init__(self, shell: InteractiveShell, capture: pytest.CaptureFixture[str]) -> None:
        self.shell = shell
        self._capture = capture

    @property
    def namespace(self) -> dict[str, Any]:
        """The user's variables."""
        return self.shell.user_ns

    def run(self, source: str, *, cell_id: str | None = None) -> Cell:
        """Run a cell to its end; ``cell_id`` is what a front end with a document sends along."""
        self._capture.readouterr()
        result = self.shell.run_cell(source, store_history=True, cell_id=cell_id)
        out, error = self._capture.readouterr()
        return Cell(out, error, result.error_before_exec or result.error_in_exec)


@contextmanager
def running(folder: Path, capture: pytest.CaptureFixture[str]) -> Iterator[Notebook]:
    """Load the extension into a fresh shell, as a kernel that has just started; nobody sits before it."""
    configuration = Config({"HistoryManager": {"enabled": False}})
    shell = InteractiveShell(config=configuration, ipython_dir=str(folder / "ipython"))
    InteractiveShell._instance = shell
    # IPython 9 keeps outputs in one dict for all shells of a process
    getattr(shell.history_manager, "outputs", {}).clear()
    shell.run_line_magic("load_ext", "codex_nb")
    yield Notebook(shell, capture)
    shell.run_line_magic("unload_ext", "codex_nb")
    InteractiveShell.clear_instance()
    api.close()


@pytest.fixture
def notebook(codex_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Notebook]:
    """Give a fresh shell with the extension."""
    del codex_home
    with running(tmp_path, capsys) as notebook:
        yield notebook


Kernels = Callable[[], AbstractContextManager[Notebook]]


@pytest.fixture
def kernels(codex_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Kernels:
    """Start one kernel after the other, each with a new namespace and all with one CODEX_HOME."""
    del codex_home
    return lambda: running(tmp_path, capsys)
