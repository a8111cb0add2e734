"""The kernels of the kernel tier: one virtual environment for each supported ipykernel version.

An environment has only its own ipykernel and IPython; everything else, including codex_nb, comes from the environment
that creates it, so a kernel is set up within seconds and always runs the checkout under test.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KERNELS_DIR = ROOT / ".tiers" / "kernels"


@dataclass(frozen=True)
class KernelVersion:
    """One column of the matrix; ``requirements`` has the pinned packages, empty for those of the outer environment."""

    name: str
    requirements: tuple[str, ...] = ()

    @property
    def python(self) -> Path:
        """The interpreter that runs this kernel."""
        if not self.requirements:
            return Path(sys.executable)
        return KERNELS_DIR / self.name / "bin" / "python"


VERSIONS = (
    KernelVersion(
        "6.29.5", ("ipykernel==6.29.5", "ipython==8.39.0", "nest_asyncio==1.6.0", "decorator==5.2.1")
    ),
    KernelVersion("7.0.1", ("ipykernel==7.0.1", "nest_asyncio==1.6.0")),
    KernelVersion("7.3.0", ("ipykernel==7.3.0",)),
    KernelVersion("newest"),
)
# Not a kernel but a front end of its own; it runs the kernel of the outer environment.
QT_CONSOLE = KernelVersion(
    "qtconsole", ("qtconsole==5.7.2", "QtPy==2.4.3", "PySide6-Essentials==6.12.0", "shiboken6==6.12.0")
)
# Not a kernel either, but the server of two people in one notebook; what they run is the outer environment's.
COLLABORATION = KernelVersion(
    "collaboration",
    (
        *("jupyter-collaboration==5.0.4", "jupyter-collaboration-ui==3.0.4", "jupyter-docprovider==3.0.4"),
        *("jupyter-server-ydoc==3.0.4", "jupyter-server-fileid==0.10.0", "jupyter-ydoc==4.2.1"),
        *("pycrdt==0.14.13", "pycrdt-websocket==0.16.5", "pycrdt-store==0.1.5", "sqlite-anyio==0.2.10"),
    ),
)


def is_ready(version: KernelVersion) -> bool:
    """Whether the kernel's environment exists and contains what is pinned now."""
    if not version.requirements:
        return True
    stamp = KERNELS_DIR / version.name / "requirements.txt"
    return version.python.exists() and stamp.exists() and stamp.read_text() == "\n".join(version.requirements)


def provide(version: KernelVersion) -> None:
    """Make the kernel's environment if it is missing; a failure of pip is the caller's to report.

    Raises :class:`subprocess.CalledProcessError` with pip's own words on standard error.
    """
    if is_ready(version):
        return
    home = KERNELS_DIR / version.name
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(home)], check=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(version.python)]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", *version.requirements], check=True)
    outer = sysconfig.get_path("purelib")
    inner = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    # addsitedir and not a plain path: the outer environment's own .pth files (the editable codex_nb) count too
    (inner / "zz_outer.pth").write_text(f"import site; site.addsitedir({outer!r})\n")
    (home / "requirements.txt").write_text("\n".join(version.requirements))


def provide_all() -> None:
    """Make every environment that is missing."""
    for version in (*VERSIONS, QT_CONSOLE, COLLABORATION):
        provide(version)


if __name__ == "__main__":
    provide_all()
