"""Many kernels' worth of processes that share one login, for the storm tests.

Run as ``python -m tests.auth.fleet``: one interpreter imports the client once and forks the others, so that thirty of
them cost what one does. Each waits for the starting signal, signs one request, and reports its status.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codex_nb.auth.manager import open_credentials
from codex_nb.config.settings import Settings
from codex_nb.errors import CodexError
from codex_nb.http import open_http

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Orders:
    """What every process of the fleet does."""

    home: str
    url: str
    issuer: str
    refresh_url: str
    count: int
    requests: int = 1
    ca_certificate: str | None = None


def sail(orders: Orders, environ: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start a fleet; its standard output is one line for each request: a status, or an error's name."""
    command = [sys.executable, "-m", "tests.auth.fleet", json.dumps(asdict(orders))]
    return subprocess.Popen(command, cwd=ROOT, env=dict(environ), stdout=subprocess.PIPE, text=True)


async def voyage(orders: Orders, environ: Mapping[str, str]) -> list[str]:
    """Sign the requests of one process."""
    settings = Settings(
        codex_home=Path(orders.home),
        issuer=orders.issuer,
        refresh_url_override=orders.refresh_url,
        ca_certificate=None if orders.ca_certificate is None else Path(orders.ca_certificate),
    )
    said = []
    async with open_http(settings, environ) as http:
        manager = open_credentials(settings, environ, http, outlive=True)
        for _ in range(orders.requests):
            try:
                response = await http.get(orders.url, auth=manager.auth())
                said.append(str(response.status_code))
            except CodexError as error:
                said.append(f"{type(error).__name__}: {error}")
    return said


def main() -> None:
    """Fork the fleet, give the signal, wait for the last."""
    orders = Orders(**json.loads(sys.argv[1]))
    waiting, signal = os.pipe()
    children = []
    for _ in range(orders.count):
        child = os.fork()
        if child == 0:
            os.close(signal)
            os.read(waiting, 1)  # returns when the signal's last holder closes it
            lines = asyncio.run(voyage(orders, os.environ))
            os.write(1, "".join(f"{line}\n" for line in lines).encode())
            os._exit(0)
        children.append(child)
    os.close(signal)
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
