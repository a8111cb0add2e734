"""What another Codex CLI does otherwise than the pinned one: ``python -m tests.contract.drift [VERSION]``.

The version (``latest`` by default) is installed from npm, beside the pinned one. Printed are the differences in the
requests of a question with each kind of login, in the models that it brings along, and in its app-server's schemas.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from codex_nb.simulator import Simulator
from tests import provision, tiers
from tests.contract.bundled_models import bundled_table, printed_models
from tests.contract.cli import CodexCli
from tests.contract.test_beside_the_cli import facts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from codex_nb.simulator.server import Provider

WIDTH = 120
OF_THE_RUN = {"header host", "header authorization", "header x-codex-turn-metadata"}
LOGINS: tuple[Provider, ...] = ("builtin", "api", "custom")


def installed(version: str) -> Path:
    """Install a version in a folder of its own, anew for a tag; return the program."""
    folder = f"codex-{version}"
    provision.install_from_npm(folder, f"@openai/codex@{version}")
    return tiers.TIERS_FOLDER / folder / "node_modules" / ".bin" / "codex"


def requests_of(program: Path, login: Provider) -> dict[str, str]:
    """Return what a program asks for in a fresh home: each request's method and path, and the facts of the question."""
    with TemporaryDirectory() as folder, Simulator(tls=login != "custom") as sim:
        sim.change(websockets=False)
        sim.state.catalog.unlisted |= {entry["slug"] for entry in printed_models(program)}
        cli = CodexCli(program, sim, Path(folder))
        cli.configure(sim.config_toml(login, "simulator-classic"))
        if login == "api":
            sim.write_api_key(cli.home)
        else:
            sim.write_login(cli.home)
        outcome = cli.ask("say hi")
        found = {"exit code": str(outcome.code)}
        found |= {f"{request.method} {request.path}": "requested" for request in sim.requests}
        for request in sim.requests.to("/responses", "POST"):
            found |= facts(request)
    return {key: value for key, value in found.items() if key not in OF_THE_RUN}


def models_of(program: Path) -> dict[str, str]:
    """Return what the program says of each of its models."""
    table = bundled_table(printed_models(program))
    return {f"{entry['slug']} {key}": json.dumps(entry[key]) for entry in table for key in entry}


def schemas_of(program: Path) -> dict[str, str]:
    """Return the app-server's own schemas: each definition, and each property of one."""
    with TemporaryDirectory() as folder:
        environ = {"PATH": os.environ["PATH"], "HOME": folder, "CODEX_HOME": folder}
        out = Path(folder) / "schemas"
        command = [str(program), "app-server", "generate-json-schema", "--out", str(out)]
        subprocess.run(command, env=environ, capture_output=True, check=True)
        files = {file.stem: json.loads(file.read_text()) for file in sorted(out.rglob("*.json"))}
    definitions = {
        name: each for file in files.values() for name, each in file.get("definitions", {}).items()
    }
    found = {}
    for name, schema in {**definitions, **files}.items():
        rest = {key: value for key, value in schema.items() if key not in {"properties", "definitions"}}
        found[name] = json.dumps(rest, sort_keys=True)
        for key, value in schema.get("properties", {}).items():
            found[f"{name}.{key}"] = json.dumps(value, sort_keys=True)
    return found


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each key that was added, removed or changed."""
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old is None:
            yield f"+ {key}"
        elif new is None:
            yield f"- {key}"
        elif old != new:
            shown = f": {old} -> {new}" if len(old + new) <= WIDTH else ""
            yield f"~ {key}{shown}"


def compared(pinned: Path, other: Path) -> dict[str, list[str]]:
    """Return the differences by subject."""
    found: dict[str, Any] = {
        f"requests, {login}": (requests_of(pinned, login), requests_of(other, login)) for login in LOGINS
    }
    found["models"] = (models_of(pinned), models_of(other))
    found["schemas"] = (schemas_of(pinned), schemas_of(other))
    return {subject: list(differences(*pair)) for subject, pair in found.items()}


def main(arguments: Sequence[str]) -> int:
    """Print what differs; the exit code is 0 whatever it is."""
    try:
        provision.install_from_npm("codex", provision.CODEX_CLI)
        other = installed(arguments[0] if arguments else "latest")
    except provision.UnavailableError as error:
        print(error)
        return 1
    version = subprocess.run([other, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    print(f"{version} beside {provision.CODEX_CLI} (+ only there, - no longer there, ~ changed)")
    for subject, lines in compared(
        tiers.TIERS_FOLDER / "codex" / "node_modules" / ".bin" / "codex", other
    ).items():
        print(f"\n{subject}: {len(lines) or 'no'} differences", *lines, sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
