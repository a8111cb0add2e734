"""The process that renews a login on behalf of a kernel, and goes on when the kernel is killed.

It inherits the locked lock files, says that it is ready, reads one job from its standard input and one login from the
store, spends the refresh token if it is still the one the job is about, saves, and says how it went. It reads nothing
when the kernel has died before: then nothing is spent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from codex_nb.auth.locks import Hold
from codex_nb.auth.oauth import OAuthClient
from codex_nb.auth.outliving import READY, Job, Outcome, fingerprint
from codex_nb.auth.renewer import DirectRenewer
from codex_nb.auth.snapshots import take_snapshot
from codex_nb.auth.store import FileStore
from codex_nb.errors import AuthError, RefreshFailed
from codex_nb.http import open_http
from codex_nb.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from codex_nb.http import httpx

    OpenClient = Callable[[Settings, Mapping[str, str]], httpx.AsyncClient]


def main() -> None:
    """Do one job."""
    serve(sys.stdin.fileno(), sys.stdout.fileno())


def serve(reading: int, writing: int, *, open_client: OpenClient = open_http) -> None:
    """Do one job that comes in on one descriptor, and tell the outcome on another."""
    _tell(writing, READY)
    with os.fdopen(reading, "rb", closefd=False) as stream:
        line = stream.readline()
    if line.endswith(b"\n"):
        _tell(writing, asyncio.run(work(Job(**json.loads(line)), open_client)).encoded())


async def work(job: Job, open_client: OpenClient) -> Outcome:
    """Renew the login; whatever happens is an outcome."""
    settings = Settings(
        codex_home=Path(job.auth_json).parent,
        issuer=job.issuer,
        client_id=job.client_id,
        refresh_url_override=job.refresh_url_override,
        ca_certificate=None if job.ca_certificate is None else Path(job.ca_certificate),
        originator=job.originator,
    )
    try:
        async with open_client(settings, os.environ) as http:
            return await _renew(job, FileStore(Path(job.auth_json)), OAuthClient(http, settings))
    except RefreshFailed as error:
        return _failed(error)
    except AuthError as error:
        return Outcome(type(error).__name__, str(error), error.hint)


async def _renew(job: Job, store: FileStore, oauth: OAuthClient) -> Outcome:
    present = take_snapshot(store)
    if present is None or fingerprint(present.credentials.refresh_token) != job.spends:
        return Outcome("changed")
    renewer = DirectRenewer(store, oauth, clock=lambda: datetime.now(UTC), sleep=asyncio.sleep)
    renewed = await renewer.renew(present, job.reason, Hold())
    if isinstance(renewed, RefreshFailed):
        return _failed(renewed)
    if renewed.is_saved:
        return Outcome("saved")
    return Outcome("unsaved", document=SecretStr(renewed.snapshot.document.compact()))


def _failed(error: RefreshFailed) -> Outcome:
    return Outcome("RefreshFailed", str(error), error.hint, error.reason, error.permanent)


def _tell(descriptor: int, line: bytes) -> None:
    with contextlib.suppress(OSError):  # the kernel is gone; the login is saved all the same
        while line:
            line = line[os.write(descriptor, line) :]
