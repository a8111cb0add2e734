"""The independent Responses servers and clients, each in a fixed version, in a folder in ``.tiers``.

``python -m tests.servers.provision`` installs what is missing. None of these servers shares code with this project or
with another of them:

* aimock (npm) implements the Responses API;
* LiteLLM (PyPI) passes the Responses API through, or translates it from chat completions;
* the SGLang router (PyPI, written in Rust) parses a provider's events and writes new ones;
* Open Responses Server (PyPI) translates chat completions into fewer events.

The clients (PyPI) ask the simulator: OpenAI's own SDK, an SDK for the ChatGPT backend, and llm with its plugin for it.

The proxy of JupyterHub (npm) is here, too; the hub itself is in the test extra.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".tiers" / "servers"

AIMOCK = "@copilotkit/aimock@1.43.0"
HUB_PROXY = "configurable-http-proxy@5.3.0"
LITELLM = "litellm[proxy]==1.106.2"
OPEN_RESPONSES = "open-responses-server==0.4.1"
ROUTER = "sglang-router==0.3.2"
OPENAI = ("openai[realtime]==3.57.0",)
BACKEND_SDK = ("codex-backend-sdk==0.5.9",)
LLM = ("llm==0.36", "llm-openai-via-codex==0.1a0")


def aimock() -> Path:
    """Install aimock (12 MB, a few seconds) and give its program."""
    return _from_npm("aimock", AIMOCK) / "aimock"


def hub_proxy() -> Path:
    """Install JupyterHub's proxy (9 MB, a few seconds) and give its program."""
    return _from_npm("hub-proxy", HUB_PROXY) / "configurable-http-proxy"


def litellm() -> Path:
    """Install the LiteLLM proxy (about 740 MB, one to two minutes) and give its program."""
    return _environment("litellm", LITELLM) / "litellm"


def open_responses() -> Path:
    """Install the Open Responses Server (about 80 MB, a quarter of a minute) and give its interpreter."""
    return _environment("open-responses", OPEN_RESPONSES) / "python"


def router() -> Path:
    """Install the SGLang router (about 150 MB, half a minute) and give its interpreter."""
    return _environment("router", ROUTER) / "python"


def openai_sdk() -> Path:
    """Install OpenAI's SDK (40 MB, a few seconds) and give its interpreter."""
    return _environment("openai", *OPENAI) / "python"


def backend_sdk() -> Path:
    """Install the SDK for the ChatGPT backend and give its interpreter."""
    return _environment("codex-backend-sdk", *BACKEND_SDK) / "python"


def llm() -> Path:
    """Install llm with its plugin for a Codex login and give its interpreter."""
    return _environment("llm", *LLM) / "python"


SERVERS: Mapping[str, Callable[[], Path]] = {
    "aimock": aimock,
    "hub proxy": hub_proxy,
    "litellm": litellm,
    "router": router,
    "open-responses": open_responses,
    "openai": openai_sdk,
    "codex-backend-sdk": backend_sdk,
    "llm": llm,
}


def _from_npm(folder: str, package: str) -> Path:
    """Install a package and what it needs; return the folder of its programs."""
    home = HOME / folder
    name, _, version = package.rpartition("@")
    manifest = home / "node_modules" / name / "package.json"
    if not (manifest.exists() and json.loads(manifest.read_text())["version"] == version):
        home.mkdir(parents=True, exist_ok=True)
        options = ["--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--prefix", str(home)]
        _run([_program("npm"), "install", *options, package])
    return home / "node_modules" / ".bin"


def _environment(name: str, *requirements: str) -> Path:
    """Create a virtual environment with the requirements; a stamp marks it as complete."""
    home, requirement = HOME / name, "\n".join(requirements)
    stamp = home / "requirement.txt"
    if not (stamp.exists() and stamp.read_text() == requirement):
        _run([sys.executable, "-m", "venv", "--clear", str(home)])
        _run([str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-compile", *requirements])
        stamp.write_text(requirement)
    return home / "bin"


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        sys.exit(f"{name} is not installed")
    return found


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        sys.exit(f"{' '.join(command[:4])} … ended with {done.returncode}: {tail}")


def _timed(server: str) -> str:
    begin = time.monotonic()
    SERVERS[server]()
    return f"{server}: ready after {time.monotonic() - begin:.1f} s"


if __name__ == "__main__":
    with ThreadPoolExecutor(2) as pool:
        for line in pool.map(_timed, SERVERS):
            print(line, flush=True)
