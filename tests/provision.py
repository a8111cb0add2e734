"""Set up what the tiers need: ``python -m tests.provision [tier ...]``. Running it again costs nothing.

Each tier ends with one line: ready or why not, and the seconds it took; the same stands in ``.tiers/report.json``,
where :mod:`tests.tiers` finds it. A tier that cannot be had is not an error here: whether it must run is decided by
the tests.
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

CODEX_CLI = "@openai/codex@0.169.0"
AXE = "axe-core@4.14.1"
QT_LIBRARIES = ("libegl1", "libgl1", "libglib2.0-0", "libxkbcommon0", "libfontconfig1", "libdbus-1-3")
REHYPE = "rehype@13.0.2"
REHYPE_SANITIZE = "rehype-sanitize@6.0.0"
VS_CODE = (  # what VS Code draws notebook outputs with, and what the page around it needs to reach a kernel
    "@vscode/jupyter-ipywidgets8@1.0.9",
    "@jupyterlab/services@7.6.6",
    "requirejs@2.3.8",
    "markdown-it@12.3.2",
    "dompurify@3.2.7",
)

one_at_a_time = threading.Lock()


class NotHereError(Exception):
    """A tier's tool cannot be had on this machine; the message says why."""


def run(command: Sequence[str], **environ: str) -> None:
    """Run one set-up command; its last lines become the reason when it fails."""
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
        raise NotHereError(reason) from None
    if done.returncode:
        tail = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        reason = f"{shown} ended with {done.returncode}: {tail}"
        raise NotHereError(reason)


def install_from_debian(what: str, *packages: str) -> None:
    """Install Debian's packages where this process may; ``what`` says what is missing without them."""
    if shutil.which("apt-get") is None:
        reason = f"{what}, and no apt-get to install it"
        raise NotHereError(reason)
    if os.geteuid() != 0:
        reason = f"{what}; as root: apt-get install {' '.join(packages)}"
        raise NotHereError(reason)
    with one_at_a_time:  # two tiers are set up side by side
        run(["apt-get", "update"])
        run(
            ["apt-get", "install", "--yes", "--no-install-recommends", *packages],
            DEBIAN_FRONTEND="noninteractive",
        )


def install_chromium() -> None:
    """Install Debian's Chromium when there is none."""
    if tiers.chromium() is None:
        install_from_debian("no Chromium here (or set CODEX_NB_CHROMIUM)", "chromium")


def install_qt_libraries() -> None:
    """Install the system's libraries that Qt loads, when it cannot be loaded without."""
    from tests.kernel.provision import QT_CONSOLE

    try:
        run([str(QT_CONSOLE.python), "-c", "import PySide6.QtWidgets"])
    except NotHereError as error:
        install_from_debian(f"Qt cannot be loaded ({error})", *QT_LIBRARIES)


def is_installed(target: Path, package: str) -> bool:
    """Say whether an npm package lies in a folder, at the version it names."""
    name, _, version = package.rpartition("@")
    manifest = target / "node_modules" / name / "package.json"
    return manifest.exists() and json.loads(manifest.read_text())["version"] == version


def unpack_from_npm(folder: str, package: str) -> None:
    """Put the files of one npm package into a folder under ``.tiers``, without what it depends on."""
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
    """Install one npm package, at the version it names, into a folder of its own under ``.tiers``."""
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
    """Chromium, axe-core, GitHub's allow-list as a sanitizer, VS Code's packages, pandoc for nbconvert's LaTeX."""
    install_chromium()
    install_from_npm("axe", AXE)
    install_from_npm("rehype", REHYPE)
    install_from_npm("rehype-sanitize", REHYPE_SANITIZE)
    for package in VS_CODE:
        unpack_from_npm("vscode", package)
    if shutil.which("pandoc") is None:
        install_from_debian("no pandoc here", "pandoc")


def set_up_contract() -> None:
    """The real Codex CLI."""
    install_from_npm("codex", CODEX_CLI)


def set_up_kernel() -> None:
    """The kernels of each generation, and the Qt console."""
    by_its_own_program("kernel")()
    install_qt_libraries()


def by_its_own_program(tier: str) -> Callable[[], None]:
    """Return the set-up that lies in the tier's folder as ``provision.py``."""

    def set_up() -> None:
        if (tiers.TESTS / tier / "provision.py").exists():
            run([sys.executable, "-m", f"tests.{tier}.provision"])

    return set_up


SET_UPS: Mapping[str, Callable[[], None]] = {
    "browser": set_up_browser,
    "contract": set_up_contract,
    "kernel": set_up_kernel,
    "servers": by_its_own_program("servers"),
    "pythons": by_its_own_program("pythons"),
}


def set_up(tier: str) -> dict[str, object]:
    """Set one tier up and tell how it went."""
    begin = time.monotonic()
    try:
        SET_UPS[tier]()
        outcome: dict[str, object] = {"ready": True, "reason": ""}
    except NotHereError as error:
        outcome = {"ready": False, "reason": str(error)}
    outcome["seconds"] = round(time.monotonic() - begin, 1)
    state = "ready" if outcome["ready"] else f"not here: {outcome['reason']}"
    print(f"  {tier:<10} {outcome['seconds']:>6} s  {state}", flush=True)
    return outcome


def remember(outcomes: Mapping[str, dict[str, object]]) -> None:
    """Write the outcomes beside those of the tiers that were not touched this time."""
    report = json.loads(tiers.REPORT.read_text()) if tiers.REPORT.exists() else {}
    report.update(outcomes)
    fresh = tiers.REPORT.with_suffix(".new")
    fresh.write_text(json.dumps(report, indent=1))
    fresh.replace(tiers.REPORT)


def main(arguments: Sequence[str]) -> int:
    """Set up the named tiers, all of them when none is named; two at a time."""
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
        remember(outcomes)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
