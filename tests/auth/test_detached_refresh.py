"""The process that renews on behalf of a kernel: what is agreed between the two, and what happens when it breaks."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pydantic import SecretStr

from codex_nb.auth.credentials import fingerprint
from codex_nb.auth.locks import LoginLock, state_of_lock
from codex_nb.auth.oauth import (
    DetachedRefresher,
    DirectRefresher,
    RefreshJob,
    RefreshResult,
    launch_process,
    serve,
    work,
)
from codex_nb.auth.store import FileStore, StoredCredentials
from codex_nb.config.settings import Settings
from codex_nb.errors import AccountChanged, RefreshFailed, SignInRequired
from codex_nb.files import LockState
from codex_nb.simulator import Simulator
from tests.auth.fakes import ISSUER, LoginFixture, Service, login, write_login

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

pytestmark = pytest.mark.anyio

SPENT = SecretStr("rt_fab_0_0123456789abcdef")


class RefreshProcess:
    """A companion that says what it was told to say, and does something first."""

    def __init__(self, said: bytes, deed: Callable[[], object] = lambda: None) -> None:
        self.said = said
        self.deed = deed
        self.jobs: list[dict[str, Any]] = []

    async def launch(self, descriptors: Sequence[int]) -> RefreshProcess:
        self.descriptors = tuple(descriptors)
        return self

    async def communicate(self, job: bytes | None = None, /) -> tuple[bytes, bytes]:
        self.jobs.append(json.loads(job or b""))
        self.deed()
        return self.said, b""


def stored_login(desk: LoginFixture, launch: Any) -> StoredCredentials:
    settings = Settings(codex_home=desk.home, issuer=ISSUER)
    store = FileStore(desk.home / "auth.json")
    clock = desk.service.clock
    direct = DirectRefresher(store, desk.manager.oauth, clock=clock, sleep=clock.sleep)
    refresher = DetachedRefresher(settings, store, direct, launch)
    return StoredCredentials(store, LoginLock(desk.home), refresher, sleep=clock.sleep)


async def refresh(desk: LoginFixture, launch: Any) -> tuple[str, bool]:
    """The refresh token after a renewal, and whether it lives in memory only."""
    stored = stored_login(desk, launch)
    seen = await stored.read()
    assert seen is not None
    token = (await stored.refresh(seen, "unauthorized_recovery")).snapshot.credentials.refresh_token
    assert token is not None
    return token.get_secret_value(), stored.has_unsaved_tokens


async def test_the_job_names_no_secret_and_the_saved_login_is_read(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk()
    write_login(desk.home)
    saved = RefreshProcess(
        RefreshResult("saved").encoded(), lambda: write_login(desk.home, tokens={"refresh_token": "rt_new"})
    )
    assert await refresh(desk, saved.launch) == ("rt_new", False)
    assert saved.jobs == [
        {
            "auth_json": str(desk.home / "auth.json"),
            "spends": fingerprint(SPENT),
            "reason": "unauthorized_recovery",
            "issuer": ISSUER,
            "client_id": Settings(codex_home=desk.home).client_id,
            "refresh_url_override": None,
            "ca_certificate": None,
            "originator": "codex_nb",
        }
    ]
    assert len(saved.descriptors) == 2
    assert desk.service.requests == []


async def test_a_login_that_could_not_be_saved_comes_through_the_pipe(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk()
    write_login(desk.home)
    document = json.dumps(login(tokens={"refresh_token": "rt_unsaved"}))
    said = RefreshResult("unsaved", document=SecretStr(document)).encoded()
    assert await refresh(desk, RefreshProcess(said).launch) == ("rt_unsaved", True)


ERRORS: list[tuple[RefreshResult, type[Exception], str]] = [
    (RefreshResult("RefreshFailed", "No.", "Do.", "expired", permanent=True), RefreshFailed, "No."),
    (RefreshResult("AccountChanged", "Another.", "Do."), AccountChanged, "Another."),
    (RefreshResult("SignInRequired", "Gone.", "Do."), SignInRequired, "Gone."),
]


@pytest.mark.parametrize(("outcome", "error", "words"), ERRORS)
async def test_its_errors_are_ours(
    outcome: RefreshResult, error: type[Exception], words: str, make_desk: Callable[..., LoginFixture]
) -> None:
    desk = make_desk()
    write_login(desk.home)
    with pytest.raises(error, match=words) as raised:
        await refresh(desk, RefreshProcess(outcome.encoded()).launch)
    assert getattr(raised.value, "hint", None) == "Do."
    assert getattr(raised.value, "reason", "") == outcome.reason


@pytest.mark.parametrize(
    "said", [b"", b"nonsense", b"[]\n", b'{"kind": "saved"}\n', b'{"document": "", "odd": 1}\n']
)
async def test_a_companion_that_dies_is_a_failure_that_may_pass(
    said: bytes, make_desk: Callable[..., LoginFixture]
) -> None:
    desk = make_desk()
    write_login(desk.home)
    with pytest.raises(RefreshFailed, match="the refresh process ended early") as raised:
        await refresh(desk, RefreshProcess(said).launch)
    assert not raised.value.permanent
    assert state_of_lock(desk.home / "auth.lock") is not LockState.HELD


async def test_what_it_saved_before_it_died_is_adopted(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk()
    write_login(desk.home)
    died = RefreshProcess(b"", lambda: write_login(desk.home, tokens={"refresh_token": "rt_new"}))
    assert await refresh(desk, died.launch) == ("rt_new", False)


async def test_where_it_cannot_be_started_the_kernel_renews_by_itself(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk()
    write_login(desk.home)

    async def launch(_: Sequence[int]) -> None:
        return None

    assert await refresh(desk, launch) == ("rt_fab_1_0123456789abcdef", False)


async def test_an_interpreter_that_cannot_be_started_is_no_companion(monkeypatch: pytest.MonkeyPatch) -> None:
    for program in ("/no/such/python", "/bin/cat", "/bin/false"):
        monkeypatch.setattr(sys, "executable", program)
        assert await launch_process((), environ=dict(os.environ)) is None


def job(home: Path, **changes: Any) -> RefreshJob:
    facts = {
        "auth_json": str(home / "auth.json"),
        "spends": fingerprint(SPENT),
        "reason": "scheduled",
        "issuer": ISSUER,
        "client_id": "app_fab",
        "refresh_url_override": None,
        "ca_certificate": None,
        "originator": "codex_nb",
    }
    return RefreshJob(**{**facts, **changes})


async def outcome_of(job: RefreshJob, service: Service) -> str:
    return (await work(job, lambda *_: httpx.AsyncClient(transport=httpx.MockTransport(service)))).kind


async def test_it_spends_what_the_job_is_about_and_nothing_else(home: Path) -> None:
    service = Service()
    assert await outcome_of(job(home), service) == "changed"
    write_login(home, tokens={"refresh_token": "rt_of_another"})
    assert await outcome_of(job(home), service) == "changed"
    assert service.requests == []

    write_login(home)
    assert await outcome_of(job(home), service) == "saved"
    assert [sent["refresh_reason"] for sent in service.sent("/oauth/token")] == ["scheduled"]
    assert (
        json.loads((home / "auth.json").read_text())["tokens"]["refresh_token"] == "rt_fab_1_0123456789abcdef"
    )


async def test_its_failures_are_outcomes(home: Path) -> None:
    write_login(home)
    assert await outcome_of(job(home), Service(valid_refresh=set())) == "RefreshFailed"
    service = Service()
    service.on["/oauth/token"] = lambda _: httpx.Response(200, json=service.new_tokens(account_id="acct-2"))
    assert await outcome_of(job(home), service) == "AccountChanged"
    write_login(home, "{")
    assert await outcome_of(job(home), service) == "CredentialsUnreadable"


def test_without_a_job_nothing_is_spent() -> None:
    """The kernel has died before it could give one."""
    reading, job_in = os.pipe()
    word_out, writing = os.pipe()
    os.close(job_in)
    serve(reading, writing)
    os.close(writing)
    assert os.read(word_out, 100) == b"ready\n"
    os.close(reading)
    os.close(word_out)


async def test_the_real_process_holds_the_lock_when_the_kernels_group_is_killed(home: Path) -> None:
    """As "Restart kernel" does: the whole process group of the kernel gets SIGKILL, the renewal goes on."""
    with Simulator() as sim:
        before = sim.write_login(home, lifetime_s=-60.0).refresh_token
        order = {"home": str(home), "refresh_url": f"{sim.base_url}/oauth/token", "companion": "process"}
        kernel = await asyncio.create_subprocess_exec(
            sys.executable, "-c", KERNEL, json.dumps(order), start_new_session=True
        )
        assert await asyncio.to_thread(sim.requests.wait, lambda log: log.count("/oauth/token") > 0, 30)
        os.killpg(kernel.pid, signal.SIGKILL)
        await kernel.wait()
        async with LoginLock(home, timeout_s=30).held():
            after = json.loads((home / "auth.json").read_text())["tokens"]["refresh_token"]
        assert (after != before, sim.refreshes) == (True, 1)


KERNEL = """
import asyncio, json, os, sys
from tests.auth.crash import refresh
asyncio.run(refresh({**json.loads(sys.argv[1]), "begun": 2}))
"""
