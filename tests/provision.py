"""Set up the tools of the tiers, unless they are set up: ``python -m tests.provision [tier ...]``.

The result for each tier (ready, or the reason why not, and the time) is printed and written to ``.tiers/report.json``,
which :mod:`tests.tiers` reads. A tier that is not available is not an error here; the tests decide whether it must run.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tests import tiers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

CODEX_CLI = "@openai/codex@0.171.0"
AXE = "axe-core@4.14.1"
QT_LIBRARIES = ("libegl1", "libgl1", "libglib2.0-0", "libxkbcommon0", "libfontconfig1", "libdbus-1-3")
LATEX_PROGRAMS = {"pandoc": "pandoc", "pdflatex": "texlive-latex-base", "strace": "strace"}
REHYPE = "rehype@13.0.2"
REHYPE_SANITIZE = "rehype-sanitize@6.0.0"
VS_CODE = (  # what VS Code renders outputs with, and what its page needs to connect to a kernel
    "@vscode/jupyter-ipywidgets8@1.0.9",
    "@jupyterlab/services@7.6.6",
    "requirejs@2.3.8",
    "markdown-it@12.3.2",
    "dompurify@3.2.7",
)

apt_lock = threading.Lock()


class UnavailableError(Exception):
    """The tool of a tier is not available on this machine; the message says why."""


def run(command: Sequence[str], **environ: str) -> None:
    """Run a set-up command; if it fails, the end of its output is the reason."""
    shown = " ".join(command)
    try:
        done = subprocess.run(
            command,
            cwd=tiers.ROOT,
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        reason = f"{command[0]} is not installed"
        raise UnavailableError(reason) from None
    if done.returncode:
        tail = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        reason = f"{shown} ended with {done.returncode}: {tail}"
        raise UnavailableError(reason)


def install_from_debian(what: str, *packages: str) -> None:
    """Install Debian packages if permitted; ``what`` says what is missing without them."""
    if shutil.which("apt-get") is None:
        reason = f"{what}, and no apt-get to install it"
        raise UnavailableError(reason)
    if os.geteuid() != 0:
        reason = f"{what}; as root: apt-get install {' '.join(packages)}"
        raise UnavailableError(reason)
    with apt_lock:  # two tiers are set up in parallel
        run(["apt-get", "update"])
        run(
            ["apt-get", "install", "--yes", "--no-install-recommends", *packages],
            DEBIAN_FRONTEND="noninteractive",
        )


def install_chromium() -> None:
    """Install Debian's Chromium unless one is installed."""
    if tiers.chromium() is None:
        install_from_debian("no Chromium (or set CODEX_NB_CHROMIUM)", "chromium")


def install_programs() -> None:
    """Install what the tests of nbconvert's LaTeX run, unless it is installed."""
    absent = [name for name in LATEX_PROGRAMS if shutil.which(name) is None]
    if absent:
        install_from_debian(f"no {', '.join(absent)}", *(LATEX_PROGRAMS[name] for name in absent))


def install_qt_libraries() -> None:
    """Install the system libraries of Qt unless it can be loaded."""
    from tests.kernel.provision import QT_CONSOLE

    try:
        run([str(QT_CONSOLE.python), "-c", "import PySide6.QtWidgets"])
    except UnavailableError as error:
        install_from_debian(f"Qt cannot be loaded ({error})", *QT_LIBRARIES)


def is_installed(target: Path, package: str) -> bool:
    """Whether a folder has an npm package in the required version."""
    name, _, version = package.rpartition("@")
    manifest = target / "node_modules" / name / "package.json"
    return manifest.exists() and json.loads(manifest.read_text())["version"] == version


def unpack_from_npm(folder: str, package: str) -> None:
    """Unpack an npm package into a folder in ``.tiers``, without its dependencies."""
    target = tiers.TIERS_FOLDER / folder
    if is_installed(target, package):
        return
    place = target / "node_modules" / package.rpartition("@")[0]
    shutil.rmtree(place, ignore_errors=True)
    with TemporaryDirectory() as packed:
        run(["npm", "pack", "--silent", "--pack-destination", packed, package])
        (archive,) = Path(packed).iterdir()
        with tarfile.open(archive) as files:
            files.extractall(packed, filter="data")
        shutil.copytree(Path(packed) / "package", place)


def install_from_npm(folder: str, package: str) -> None:
    """Install an npm package into a folder in ``.tiers``."""
    target = tiers.TIERS_FOLDER / folder
    if is_installed(target, package):
        return
    target.mkdir(parents=True, exist_ok=True)
    run(
        [
            "npm",
            "install",
            "--no-save",
            "--no-package-lock",
            "--no-audit",
            "--no-fund",
            "--prefix",
            str(target),
            package,
        ]
    )


def set_up_browser() -> None:
    """Chromium, axe-core, GitHub's allow-list as a sanitizer, VS Code's packages; pandoc, pdflatex and strace."""
    install_chromium()
    install_from_npm("axe", AXE)
    install_from_npm("rehype", REHYPE)
    install_from_npm("rehype-sanitize", REHYPE_SANITIZE)
    for package in VS_CODE:
        unpack_from_npm("vscode", package)
    install_programs()


def set_up_contract() -> None:
    """The real Codex CLI."""
    install_from_npm("codex", CODEX_CLI)


def set_up_kernel() -> None:
    """Ipykernel in several versions, and the Qt console."""
    from_folder("kernel")()
    install_qt_libraries()


def from_folder(tier: str) -> Callable[[], None]:
    """Return the set-up in ``provision.py`` of the tier's folder."""

    def set_up() -> None:
        if (tiers.TESTS / tier / "provision.py").exists():
            run([sys.executable, "-m", f"tests.{tier}.provision"])

    return set_up


SET_UPS: Mapping[str, Callable[[], None]] = {
    "browser": set_up_browser,
    "contract": set_up_contract,
    "kernel": set_up_kernel,
    "servers": from_folder("servers"),
    "pythons": from_folder("pythons"),
}


def set_up(tier: str) -> dict[str, object]:
    """Set up a tier and return the result."""
    begin = time.monotonic()
    try:
        SET_UPS[tier]()
        outcome: dict[str, object] = {"ready": True, "reason": ""}
    except UnavailableError as error:
        outcome = {"ready": False, "reason": str(error)}
    outcome["seconds"] = round(time.monotonic() - begin, 1)
    state = "ready" if outcome["ready"] else f"not available: {outcome['reason']}"
    print(f"  {tier:<10} {outcome['seconds']:>6} s  {state}", flush=True)
    return outcome


def save(outcomes: Mapping[str, dict[str, object]]) -> None:
    """Write the results, in addition to those of the other tiers."""
    report = json.loads(tiers.REPORT.read_text()) if tiers.REPORT.exists() else {}
    report.update(outcomes)
    temporary = tiers.REPORT.with_suffix(".new")
    temporary.write_text(json.dumps(report, indent=1))
    temporary.replace(tiers.REPORT)


def main(arguments: Sequence[str]) -> int:
    """Set up the named tiers, or all, two at a time."""
    unknown = set(arguments) - set(SET_UPS)
    if unknown:
        print(f"no set-up for {', '.join(sorted(unknown))}; there is one for {', '.join(SET_UPS)}")
        return 2
    names = list(arguments) or list(SET_UPS)
    tiers.TIERS_FOLDER.mkdir(exist_ok=True)
    with (tiers.TIERS_FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs in one checkout set up once
        print("setting up the tiers", flush=True)
        with ThreadPoolExecutor(max_workers=2) as pool:
            outcomes = dict(zip(names, pool.map(set_up, names), strict=True))
        save(outcomes)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
