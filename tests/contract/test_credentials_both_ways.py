"""One login, two programs: each uses the credentials that the other writes, immediately."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from codex_nb.auth.credentials import AuthFile, AuthMode
from codex_nb.auth.login import EnterUserCode, OpenUrl, SignedIn, open_login
from codex_nb.auth.manager import open_credentials
from codex_nb.auth.store import FileStore
from codex_nb.config.settings import load_settings
from codex_nb.errors import AccountChanged, SignInRequired
from codex_nb.http import httpx, open_http
from codex_nb.simulator import ADA, GRACE, Hold, Reply, Scenario
from tests.auth.fleet import Orders, sail
from tests.contract.test_logins import sign_in_by_device

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from codex_nb.auth.credentials import Credentials
    from codex_nb.auth.manager import CredentialManager
    from codex_nb.labels import LoginMethod
    from tests.contract.cli import CodexCli

pytestmark = pytest.mark.anyio


class Kernel:
    """A kernel of ours in the CLI's home."""

    def __init__(self, cli: CodexCli, http: httpx.AsyncClient, manager: CredentialManager) -> None:
        self.cli = cli
        self.http = http
        self.manager = manager

    async def asks(self) -> int:
        """Ask the service something that needs a login of either kind."""
        credentials = await self.manager.current()
        base = self.cli.sim.openai_base_url if credentials.is_chatgpt_backend else self.cli.sim.api_base_url
        return (await self.http.get(f"{base}/models", auth=self.manager.auth())).status_code


@asynccontextmanager
async def kernel_beside(cli: CodexCli) -> AsyncIterator[Kernel]:
    environ = cli.environ()
    settings = load_settings(environ)
    async with open_http(settings, environ) as http:
        manager = open_credentials(settings, environ, http, outlive=True)
        yield Kernel(cli, http, manager)
        await manager.close()


async def ours(cli: CodexCli) -> tuple[int, Credentials]:
    """What a fresh kernel gets with the login that is there."""
    async with kernel_beside(cli) as kernel:
        return await kernel.asks(), await kernel.manager.current()


async def theirs(cli: CodexCli, words: str) -> None:
    """The CLI says that it is signed in, and answers."""
    status = await asyncio.to_thread(cli.run, "login", "status")
    assert (status.code, words in status.words) == (0, True), status.words
    answer = await asyncio.to_thread(cli.ask, "say hi")
    assert (answer.code, "simulator" in answer.text) == (0, True), answer.words


async def test_a_device_login_of_the_cli_works_here(cli: CodexCli) -> None:
    await asyncio.to_thread(sign_in_by_device, cli)
    status, credentials = await ours(cli)
    assert (status, credentials.mode, credentials.label) == (200, AuthMode.CHATGPT, GRACE.email)
    assert credentials.account.account_id == GRACE.account_id


async def test_a_browser_login_of_the_cli_works_here(cli: CodexCli) -> None:
    def sign_in() -> None:
        with cli.app_server() as server:
            url = server.ask("account/login/start", type="chatgpt")["authUrl"]
            httpx.get(cli.sim.answer_authorization(url, ADA), trust_env=False, follow_redirects=True)
            next(each for each in server.messages() if each.get("method") == "account/login/completed")

    await asyncio.to_thread(sign_in)
    status, credentials = await ours(cli)
    assert (status, credentials.mode, credentials.label) == (200, AuthMode.CHATGPT, ADA.email)
    assert cli.auth["OPENAI_API_KEY"] is not None, (
        "the key beside the login is there, and the plan pays all the same"
    )
    assert credentials.billing == "chatgpt"


async def test_an_api_key_of_the_cli_works_here(cli: CodexCli) -> None:
    key = cli.sim.new_api_key()
    await asyncio.to_thread(cli.run, "login", "--with-api-key", stdin=key)
    status, credentials = await ours(cli)
    assert (status, credentials.mode) == (200, AuthMode.API_KEY)


async def test_a_personal_access_token_of_the_cli_works_here(cli: CodexCli) -> None:
    token = cli.sim.new_personal_token(GRACE)
    await asyncio.to_thread(cli.run, "login", "--with-access-token", stdin=token)
    status, credentials = await ours(cli)
    assert (status, credentials.mode, credentials.label) == (200, AuthMode.PERSONAL_ACCESS_TOKEN, GRACE.email)


async def test_an_agent_identity_of_the_cli_works_here(cli: CodexCli) -> None:
    identity = cli.sim.new_agent_identity(GRACE)
    await asyncio.to_thread(cli.run, "login", "--with-access-token", stdin=identity)
    status, credentials = await ours(cli)
    assert (status, credentials.mode) == (200, AuthMode.AGENT_IDENTITY)
    assert credentials.account.account_id == GRACE.account_id


async def sign_in_here(cli: CodexCli, kind: LoginMethod, secret: str | None = None) -> SignedIn:
    """Go through a sign-in of ours, with Grace at the browser."""
    async with kernel_beside(cli) as kernel:
        flow = open_login(kind, kernel.manager)
        if secret is not None:
            flow.submit(SecretStr(secret))
        async for step in flow.steps():
            match step:
                case EnterUserCode(user_code=code):
                    cli.sim.approve_device_code(code, GRACE)
                case OpenUrl(url=url):
                    flow.submit(SecretStr(cli.sim.answer_authorization(url, GRACE)))
                case SignedIn():
                    return step
        pytest.fail("the sign-in ended without a login")


async def test_a_device_login_of_ours_works_there(cli: CodexCli) -> None:
    assert (await sign_in_here(cli, "device")).account_label == GRACE.email
    await theirs(cli, "Logged in using ChatGPT")


async def test_a_browser_login_of_ours_works_there(cli: CodexCli) -> None:
    assert (await sign_in_here(cli, "browser")).account_label == GRACE.email
    await theirs(cli, "Logged in using ChatGPT")


async def test_an_api_key_of_ours_works_there(cli: CodexCli) -> None:
    cli.configure(cli.sim.config_toml("api"))
    await sign_in_here(cli, "api_key", cli.sim.new_api_key())
    await theirs(cli, "API key configured")


async def test_a_personal_access_token_of_ours_works_there(cli: CodexCli) -> None:
    await sign_in_here(cli, "access_token", cli.sim.new_personal_token(GRACE))
    await theirs(cli, "Logged in using")


async def test_an_agent_identity_of_ours_works_there(cli: CodexCli) -> None:
    await sign_in_here(cli, "access_token", cli.sim.new_agent_identity(GRACE))
    await theirs(cli, "Logged in using")


async def test_a_login_renewed_here_is_adopted_by_a_running_cli(cli: CodexCli) -> None:
    cli.sim.write_login(cli.home)
    async with kernel_beside(cli) as kernel:
        with cli.app_server() as server:
            thread = server.ask("thread/start", cwd=str(cli.folder))["thread"]["id"]
            assert server.turn(thread, "say hi") == "completed"
            cli.sim.expire_access_tokens()
            assert await kernel.asks() == 200
            assert server.turn(thread, "say hi") == "completed"
    assert cli.sim.refreshes == 1


async def test_a_login_renewed_by_the_cli_is_adopted_by_a_running_kernel(cli: CodexCli) -> None:
    cli.sim.write_login(cli.home)
    async with kernel_beside(cli) as kernel:
        assert await kernel.asks() == 200
        cli.sim.expire_access_tokens()
        assert (await asyncio.to_thread(cli.ask, "say hi")).code == 0
        assert await kernel.asks() == 200
    assert cli.sim.refreshes == 1


async def test_a_cli_that_signs_out_signs_out_a_running_kernel(cli: CodexCli) -> None:
    cli.sim.write_login(cli.home)
    async with kernel_beside(cli) as kernel:
        assert await kernel.asks() == 200
        await asyncio.to_thread(cli.run, "logout")
        with pytest.raises(SignInRequired):
            await kernel.asks()


async def test_another_account_in_the_cli_is_no_silent_switch_here(cli: CodexCli) -> None:
    cli.sim.write_login(cli.home, ADA)
    async with kernel_beside(cli) as kernel:
        assert await kernel.asks() == 200
        await asyncio.to_thread(sign_in_by_device, cli)
        with pytest.raises(
            AccountChanged, match=r"g…@example\.org\. This session belongs to a…@example\.com"
        ):
            await kernel.asks()


async def test_the_cli_waits_while_a_kernel_holds_the_lock(cli: CodexCli) -> None:
    """Both programs respect each other: the CLI saves nothing in between."""
    cli.sim.write_login(cli.home, lifetime_s=100)
    async with kernel_beside(cli) as kernel:
        async with kernel.manager.stored.lock.held():
            before = cli.auth
            running = asyncio.create_task(asyncio.to_thread(cli.ask, "say hi"))
            await asyncio.to_thread(cli.sim.requests.wait, lambda log: log.count("/oauth/token") > 0, 30)
            await asyncio.sleep(0.5)
            assert cli.auth == before
        assert (await running).code == 0
        assert cli.auth != before


STORM_KERNELS, STORM_CLIS = 12, 3


async def test_a_mixed_storm_signs_nobody_out(cli: CodexCli) -> None:
    """Kernels and CLIs with one expired login, at once; the CLI takes no lock for its own refresh.

    A CLI that came too late reads the file again for a moment only. One that gave up on a machine this crowded is asked
    once more: what counts is that the login it finds is good.
    """
    for round_ in range(2):
        cli.sim.write_login(cli.home, lifetime_s=-60.0 if round_ == 0 else 3600.0)
        cli.sim.expire_access_tokens()
        cli.sim.requests.clear()
        kernels, answers = await storm(cli)

        assert kernels == {"200": STORM_KERNELS}
        assert answers == {0: STORM_CLIS}
        assert (await asyncio.to_thread(cli.ask, "say hi")).code == 0
        assert (await ours(cli))[0] == 200


async def storm(cli: CodexCli) -> tuple[Counter[str], Counter[int]]:
    sim, codes = cli.sim, Counter[int]()
    orders = Orders(
        home=str(cli.home),
        url=f"{sim.openai_base_url}/models",
        issuer=sim.issuer,
        refresh_url=f"{sim.base_url}/oauth/token",
        count=STORM_KERNELS,
        ca_certificate=str(sim.ca_file),
    )

    def ask() -> None:
        outcome = cli.ask("say hi")
        came_too_late = outcome.code != 0 and "refresh token was already used" in outcome.words
        codes[cli.ask("say hi").code if came_too_late else outcome.code] += 1

    threads = [threading.Thread(target=ask) for _ in range(STORM_CLIS)]
    for thread in threads:
        thread.start()
    with sail(orders, cli.environ() | {"PYTHONDONTWRITEBYTECODE": "1"}) as fleet:
        assert fleet.stdout is not None
        kernels = (await asyncio.to_thread(fleet.stdout.read)).splitlines()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    return Counter(kernels), codes


async def test_a_cli_that_loses_the_race_goes_on_with_the_kernels_login(cli: CodexCli) -> None:
    """The kernel has spent the refresh token and saves the new login before the CLI hears that it came too late.

    The CLI then reads the file again, without the lock, and goes on. How long it keeps reading is its own affair: some
    tenths of a second on a busy machine, less on a fast one. A kernel saves within milliseconds of the answer.
    """
    before = cli.sim.write_login(cli.home, lifetime_s=-60.0)
    cli.sim.play(Scenario((Reply("/oauth/token", skip=1, times=None, stream=(Hold("late"),), then="usual"),)))
    store = FileStore(cli.home / "auth.json")
    async with kernel_beside(cli) as kernel, kernel.manager.stored.lock.held():
        seen = await kernel.manager.stored.read()
        assert seen is not None
        reply = await kernel.manager.oauth.refresh(seen.credentials, "proactive_expiry")
        running = asyncio.create_task(asyncio.to_thread(cli.ask, "say hi"))
        assert await asyncio.to_thread(cli.sim.wait_held, "late", 30)
        before_it = seen.document.plain()
        tokens = {**before_it["tokens"], **reply.plain()}
        store.save(AuthFile.model_validate({**before_it, "tokens": tokens}))
        cli.sim.release("late")
    outcome = await running
    statuses = [one.status for one in cli.sim.requests.to("/oauth/token")]
    assert statuses[:2] == [200, 401]
    assert (outcome.code, cli.auth["tokens"]["refresh_token"] != before.refresh_token) == (0, True), (
        outcome.words
    )
