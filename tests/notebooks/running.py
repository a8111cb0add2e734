"""Run a tour notebook headless on the simulator, with all tool calls approved by the IPython profile."""

from __future__ import annotations

from tests.patience import PATIENCE_S

import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from codex_nb.simulator import Simulator
from tests.tiers import ROOT

NOTEBOOKS = ROOT / "notebooks"
PROFILE = "c.CodexMagics.approval = 'all'\nc.CodexMagics.display = 'html'\n"


def tour() -> list[Path]:
    """Return the notebooks of the tour in order."""
    return sorted(NOTEBOOKS.glob("*.ipynb"))


def executed(path: Path, home: Path) -> nbformat.NotebookNode:
    """Run a copy of a notebook with its own simulator and login in ``home``; raises the error of a cell."""
    notebook = nbformat.read(path, as_version=4)
    work = home / "work"
    work.mkdir()
    profile = home / "ipython" / "profile_default"
    profile.mkdir(parents=True)
    (profile / "ipython_config.py").write_text(PROFILE)
    with Simulator() as simulator:
        simulator.write_home(home)
        own = {"CODEX_HOME": str(home), "IPYTHONDIR": str(profile.parent)}
        environ = {**os.environ, **simulator.environ(), **own}
        client = NotebookClient(
            notebook,
            timeout=PATIENCE_S,
            kernel_name="python3",
            resources={"metadata": {"path": str(work)}},
            record_timing=False,
            coalesce_streams=True,
        )
        client.execute(env=environ)
    return notebook
