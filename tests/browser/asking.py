"""A kernel that is signed in to a simulator, for tests that ask in a real notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from codex_nb.simulator import Simulator

LOAD = "%load_ext codex_nb"


def lead_to(sim: Simulator, environ: dict[str, str]) -> Path:
    """Fill the kernel's CODEX_HOME with a login and a configuration for the simulator; return it."""
    from pathlib import Path

    home = Path(environ["CODEX_HOME"])
    (home / "config.toml").write_text(sim.config_toml())
    sim.write_login(home)
    environ.update(sim.environ())
    return home
