"""The product on independent servers: a script, its tools, one thread with two questions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.patience import LONGEST_TEST_S
from tests.servers.running import Server
from tests.servers.test_live_turns import WHOLE

pytestmark = pytest.mark.timeout(LONGEST_TEST_S)

SCRIPT = """
import json
import codex_nb

@codex_nb.tool
def add(a: int, b: int) -> int:
    "Adds numbers."
    return a + b

@codex_nb.tool
def multiply(a: int, b: int) -> int:
    "Multiplies numbers."
    return a * b

for prompt in ("please add 2 and 3", "do both"):
    answer = codex_nb.ask(prompt, tools=[add, multiply], approval="all", thread="sums")
    calls = [[call.name, call.output] for call in answer.tool_calls]
    print(json.dumps({"text": answer.text, "status": answer.status, "calls": calls}))
"""


def run(server: Server, home: Path) -> list[dict[str, Any]]:
    """Run the script in a fresh interpreter with nothing but a config.toml and a key."""
    config = f'model = "{server.model}"\nmodel_provider = "it"\n[model_providers.it]\nname = "It"\n'
    (home / "config.toml").write_text(f'{config}base_url = "{server.base_url}"\nenv_key = "IT_KEY"\n')
    environ = {**os.environ, "CODEX_HOME": str(home), "IT_KEY": server.key}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environ, cwd=home, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("name", WHOLE)
def test_a_script_asks_and_its_tools_are_called(
    servers: Mapping[str, Server], name: str, tmp_path: Path
) -> None:
    assert run(servers[name], tmp_path) == [
        {"text": "The sum is 5.", "status": "completed", "calls": [["add", "5"]]},
        {"text": "5 and 20.", "status": "completed", "calls": [["add", "5"], ["multiply", "20"]]},
    ]
