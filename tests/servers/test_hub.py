"""``codex-nb hub`` in a real JupyterHub: three users, six kernels, one sign-in and one refresh for each user."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codex_nb.simulator import Simulator
from codex_nb.simulator.accounts import ADA
from tests.leaks import find_leaks
from tests.patience import LONGEST_TEST_S
from tests.servers.jupyter_hub import USERS, Browser, Hub, Kernel, open_kernel, running_hub, wait_for

pytestmark = pytest.mark.timeout(LONGEST_TEST_S)

ACCOUNTS = {
    user: replace(
        ADA, email=f"{user}@example.com", account_id=f"account-of-{user}", user_id=f"user-Simulated-{user}"
    )
    for user in USERS
}
ASK = """
import codex_nb
try:
    print(codex_nb.ask("hello").status)
except codex_nb.CodexError as error:
    print(type(error).__name__, error.line)
"""
TOKEN = "import os; print(os.environ['JUPYTERHUB_API_TOKEN'])"


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def hub(sim: Simulator, tmp_path: Path) -> Iterator[Hub]:
    with running_hub(tmp_path, sim) as running:
        running.start_servers()
        yield running


@pytest.fixture
def kernels(hub: Hub) -> Iterator[list[Kernel]]:
    """Give two kernels of each user."""
    with ThreadPoolExecutor(6) as pool:
        opened = list(pool.map(lambda user: open_kernel(hub, user), USERS * 2))
    hub.note_processes()
    yield opened
    for kernel in opened:
        kernel.socket.close()


def on_all(kernels: list[Kernel], code: str) -> list[str]:
    """Run code in all kernels at once."""
    with ThreadPoolExecutor(len(kernels)) as pool:
        return [printed.strip() for printed in pool.map(lambda kernel: kernel.run(code), kernels)]


def sign_in(hub: Hub, sim: Simulator, user: str) -> str:
    """Sign a user in on the page, and return the page afterwards."""
    with closing(Browser(hub, user)) as browser:
        browser.press("Sign in")
        code = wait_for(lambda: re.search(r"<p><strong>([^<]+)</strong></p>", browser.page()))[1]
        sim.approve_device_code(code, ACCOUNTS[user])
        wait_for(lambda: "Sign out" in browser.page())
        return browser.page()


def requests_of(sim: Simulator) -> Counter[str]:
    """Count the requests to the sign-in service by what they ask for."""
    return Counter(str(request.body.get("grant_type")) for request in sim.requests.to("/oauth/token"))


def test_each_user_signs_in_once_and_all_kernels_are_theirs(
    hub: Hub, kernels: list[Kernel], sim: Simulator
) -> None:
    page = f"{hub.url}/services/codex/"
    signed_out = f"SignInRequired You are not signed in to Codex on your JupyterHub. Sign in at {page}"
    assert on_all(kernels, ASK) == [signed_out] * 6

    pages = {user: sign_in(hub, sim, user) for user in USERS}
    assert [f"{user}@example.com" in pages[user] for user in USERS] == [True] * 3
    assert on_all(kernels, ASK) == ["completed"] * 6
    statuses = on_all(kernels, "print(codex_nb.status())")
    for kernel, status in zip(kernels, statuses, strict=True):
        assert f"{kernel.user[0]}…@example.com" in status
        assert "from your JupyterHub" in status
    assert requests_of(sim) == {"authorization_code": 3}

    # a storm: the tokens of all six kernels are refused at once
    sim.expire_access_tokens()
    assert on_all(kernels, ASK) == ["completed"] * 6
    assert requests_of(sim) == {"authorization_code": 3, "refresh_token": 3}

    tokens_of_kernels = on_all(kernels, TOKEN)
    assert_only_users_get_their_own(hub, tokens_of_kernels, sim)
    secrets = issued_secrets(sim)
    assert_nothing_leaks(hub, secrets)

    # a server that was stopped is nobody's any more, although the service was given its token a moment ago
    stopped, token = USERS[2], tokens_of_kernels[2]
    assert hub.api("GET", "/services/codex/token", token).status_code == 200
    hub.api("DELETE", f"/hub/api/users/{stopped}/server").raise_for_status()
    wait_for(lambda: hub.api("GET", "/services/codex/token", token).status_code == 401)

    # nobody answers for the hub: what the kernels have is used until its end
    hub.kill_hub_and_service()
    others = [kernel for kernel in kernels if kernel.user != stopped]
    assert on_all(others, ASK) == ["completed"] * 4
    sim.expire_access_tokens()
    for said in on_all(others, ASK):
        assert re.fullmatch(r"RefreshFailed Your JupyterHub gave no Codex token: [^\n]+", said)
    assert requests_of(sim)["refresh_token"] == 3


def assert_only_users_get_their_own(hub: Hub, tokens: list[str], sim: Simulator) -> None:
    given: dict[str, Any] = {}
    for user, token in zip(USERS, tokens, strict=False):
        given[user] = hub.api("GET", "/services/codex/token?reason=start", token)
        assert given[user].json()["account_id"] == f"account-of-{user}"
        assert "refresh" not in given[user].text
    ada, grace = tokens[0], USERS[1]
    refused = {
        "another user's": hub.api("GET", f"/services/codex/token?user={grace}", ada),
        "nobody's": hub.api("GET", "/services/codex/token", "fabricated-token-of-nobody"),
        "no token": hub.api("GET", "/services/codex/token", ""),
        "a service's": hub.api("GET", "/services/codex/token"),
    }
    with closing(Browser(hub, USERS[0])) as browser:
        by_cookie = browser.client.get("/services/codex/token")
        forged = browser.client.post("/services/codex/?do=sign_out")  # as a page elsewhere would have it sent
        assert (forged.status_code, "Sign out" in browser.page()) == (403, True)
    statuses = {name: reply.status_code for name, reply in refused.items()}
    assert statuses == {"another user's": 403, "nobody's": 401, "no token": 401, "a service's": 403}
    assert by_cookie.status_code == 401
    for reply in (*refused.values(), by_cookie):
        assert reply.json()["error"] == "refused"
        assert find_leaks(reply.content, issued_secrets(sim)) == []


def issued_secrets(sim: Simulator) -> dict[str, str]:
    """Return every token that the service was ever given."""
    tokens = sim.state.tokens
    refresh = {f"refresh token {number}": token for number, token in enumerate(tokens._refresh)}
    return refresh | {f"access token {number}": token for number, token in enumerate(tokens._access)}


def assert_nothing_leaks(hub: Hub, secrets: dict[str, str]) -> None:
    """Only the service's own folder, which others cannot read, holds tokens: no log, database, home or environment."""
    kept = [path for path in (hub.folder / "logins").rglob("*") if path.is_file()]
    logins = [path for path in kept if path.name == "auth.json"]
    assert len(logins) == 3
    assert {path.stat().st_mode & 0o777 for path in logins} == {0o600}
    assert {path.parent.stat().st_mode & 0o777 for path in logins} == {0o700}
    elsewhere = [path for path in hub.folder.rglob("*") if path.is_file() and path not in kept]
    assert {"hub.log", "hub.sqlite"} <= {path.name for path in elsewhere}
    found = [leak for path in elsewhere for leak in find_leaks(path.read_bytes(), secrets, path.name)]
    assert found == []
    processes = hub.note_processes()
    assert len(processes) >= 3 + 6 + 2
    for process in processes:
        environment = Path(f"/proc/{process.pid}/environ").read_bytes()
        assert find_leaks(environment, secrets, " ".join(process.cmdline()[:4])) == []
