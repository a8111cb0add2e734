"""The models that the package brings along, from the pinned CLI: ``python -m tests.contract.bundled_models [CODEX]``.

It rewrites ``codex_nb/responses/bundled_models.json`` from ``codex debug models --bundled``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from codex_nb.responses import models
from tests import tiers

if TYPE_CHECKING:
    from collections.abc import Sequence

TABLE = Path(models.__file__).with_name(models.BUNDLED_FILE)


def printed_models(program: Path) -> list[dict[str, Any]]:
    """Return the entries that the CLI prints."""
    with TemporaryDirectory() as home:
        environ = {"PATH": os.environ["PATH"], "HOME": home, "CODEX_HOME": home}
        command = [str(program), "debug", "models", "--bundled"]
        printed = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout
    entries: list[dict[str, Any]] = json.loads(printed)["models"]
    return entries


def bundled_table(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep of each entry what a question depends on, in the order of priority."""
    return [
        {
            **{key: entry[key] for key in models.BUNDLED_KEYS if entry.get(key) is not None},
            "supported_reasoning_levels": [level["effort"] for level in entry["supported_reasoning_levels"]],
            "service_tiers": [tier["id"] for tier in entry.get("service_tiers", ())],
        }
        for entry in sorted(entries, key=lambda entry: entry["priority"])
    ]


def main(arguments: Sequence[str]) -> int:
    """Write the table of the named CLI, or of the pinned one."""
    program = Path(arguments[0]) if arguments else tiers.codex_cli()
    if program is None:
        print("the Codex CLI is not here: python -m tests.provision contract")
        return 1
    table = bundled_table(printed_models(program))
    TABLE.write_text(json.dumps({"models": table}, indent=1) + "\n")
    print(f"{len(table)} models in {TABLE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
