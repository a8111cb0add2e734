"""A kernel that is killed while it renews its login, again and again, for the crash tests.

Run as ``python -m tests.auth.crash``: one interpreter imports the client once and forks a kernel for each order it
reads (a line of JSON), kills it after the ordered delay, waits until nobody holds the login any more, and says what the
kernel had got to ("killed", or "done" when it was faster).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codex_nb.auth.locks import LoginLock
from codex_nb.auth.oauth import READY, DetachedRefresher, DirectRefresher, OAuthClient, launch_process, serve
from codex_nb.auth.store import FileStore, StoredCredentials
from codex_nb.config.settings import Settings
from codex_nb.http import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class ForkedCompanion:
    """The renewing process as a fork instead of a fresh interpreter: the same code, in milliseconds."""

    def __init__(self, writing: int, reading: int) -> None:
        self._writing = writing
        self._reading = reading

    async def communicate(self, job: bytes | None = None, /) -> tuple[bytes, bytes]:
        os.write(self._writing, job or b"")
        os.close(self._writing)
        with os.fdopen(self._reading, "rb") as stream:
            return await asyncio.to_thread(stream.read), b""


async def fork(descriptors: Sequence[int]) -> ForkedCompanion | None:
    job_out, job_in = os.pipe()
    word_out, word_in = os.pipe()
    if os.fork() == 0:
        os.setsid()
        os.close(job_in)
        os.close(word_out)
        asyncio.events._set_running_loop(None)
        serve(job_out, word_in, open_client=open_plainly)
        os._exit(0)
    os.close(job_out)
    os.close(word_in)
    del descriptors  # a fork inherits them as they are
    assert os.read(word_out, len(READY)) == READY
    return ForkedCompanion(job_in, word_out)


def open_plainly(settings: Settings, environ: Mapping[str, str]) -> httpx.AsyncClient:
    """A client without certificates: reading them would cost more than all the rest, and loopback needs none."""
    del settings, environ
    return httpx.AsyncClient(verify=False, trust_env=False)


async def refresh(order: dict[str, Any]) -> None:
    """Be the kernel."""
    settings = Settings(codex_home=Path(order["home"]), refresh_url_override=order["refresh_url"])
    store = FileStore(settings.codex_home / "auth.json")
    async with open_plainly(settings, {}) as http:
        oauth = OAuthClient(http, settings)
        refresher: Any = DirectRefresher(store, oauth, clock=lambda: datetime.now(UTC), sleep=asyncio.sleep)
        if order["companion"] != "none":
            launch = fork if order["companion"] == "fork" else partial(launch_process, environ=os.environ)
            refresher = DetachedRefresher(settings, store, refresher, launch)
        stored = StoredCredentials(store, LoginLock(settings.codex_home), refresher, sleep=asyncio.sleep)
        seen = await stored.read()
        assert seen is not None
        os.write(order["begun"], b".")
        await stored.refresh(seen, "unauthorized_recovery")


def kill_once(order: dict[str, Any]) -> str:
    """Fork a kernel, kill it after the delay, wait until the lock is free."""
    waiting, begun = os.pipe()
    kernel = os.fork()
    if kernel == 0:
        os.close(waiting)
        asyncio.run(refresh({**order, "begun": begun}))
        os._exit(0)
    os.close(begun)
    os.read(waiting, 1)
    os.close(waiting)
    time.sleep(order["delay_s"])
    os.kill(kernel, signal.SIGKILL)
    _, status = os.waitpid(kernel, 0)
    asyncio.run(free(Path(order["home"])))
    return "killed" if os.WIFSIGNALED(status) else "done"


async def free(home: Path) -> None:
    async with LoginLock(home, timeout_s=30).held():
        pass


def main() -> None:
    """Serve orders until there are no more."""
    for line in sys.stdin:
        sys.stdout.write(kill_once(json.loads(line)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
