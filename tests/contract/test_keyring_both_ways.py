"""The keyring that both programs share on a Linux desktop: one entry, whichever program writes it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from codex_nb.auth.credentials import AuthMode
from codex_nb.auth.login import open_login
from codex_nb.errors import SignInRequired
from codex_nb.simulator import GRACE
from tests.contract.secret_service import SecretService, desktop
from tests.contract.test_credentials_both_ways import kernel_beside, ours, sign_in_here, theirs
from tests.contract.test_logins import sign_in_by_device

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from codex_nb.simulator.server import Provider
    from tests.contract.cli import CodexCli

pytestmark = pytest.mark.anyio


def use_keyring(cli: CodexCli, provider: Provider = "custom") -> None:
    cli.configure(cli.sim.config_toml(provider).replace('_store = "file"', '_store = "keyring"'))


@pytest.fixture
def keyring(cli: CodexCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SecretService]:
    """A desktop with a keyring, where both programs are told to use it."""
    use_keyring(cli)
    with desktop(tmp_path) as (service, address):
        cli.more_environ["DBUS_SESSION_BUS_ADDRESS"] = address
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
        yield service


def login_in(keyring: SecretService) -> dict[str, object]:
    """The one login that the keyring contains."""
    (item,) = keyring.items.values()
    login: dict[str, object] = json.loads(item.secret)
    return login


async def test_an_entry_of_the_cli_works_here(cli: CodexCli, keyring: SecretService) -> None:
    await asyncio.to_thread(sign_in_by_device, cli)
    status, credentials = await ours(cli)
    assert (status, credentials.label, credentials.source) == (200, GRACE.email, "keyring (Codex Auth)")
    assert not (cli.home / "auth.json").exists()
    assert login_in(keyring)["auth_mode"] == "chatgpt"


async def test_an_api_key_and_an_access_token_of_the_cli_work_here(
    cli: CodexCli, keyring: SecretService
) -> None:
    await asyncio.to_thread(cli.run, "login", "--with-api-key", stdin=cli.sim.new_api_key())
    assert (await ours(cli))[1].mode is AuthMode.API_KEY
    await asyncio.to_thread(cli.run, "login", "--with-access-token", stdin=cli.sim.new_personal_token(GRACE))
    assert (await ours(cli))[1].label == GRACE.email
    assert len(keyring.items) == 1


async def test_an_entry_of_ours_works_there(cli: CodexCli, keyring: SecretService) -> None:
    await sign_in_here(cli, "device")
    await theirs(cli, "Logged in using ChatGPT")
    (item,) = keyring.items.values()
    assert item.attributes | {"username": "cli|…"} == {
        "application": "rust-keyring",
        "service": "Codex Auth",
        "target": "default",
        "username": "cli|…",
    }
    assert not (cli.home / "auth.json").exists()


async def test_a_login_renewed_here_is_the_one_the_cli_finds(cli: CodexCli, keyring: SecretService) -> None:
    """With Python's keyring alone a second entry would lie beside the CLI's, whose refresh token is spent."""
    await asyncio.to_thread(sign_in_by_device, cli)
    cli.sim.expire_access_tokens()
    assert (await ours(cli))[0] == 200
    assert cli.sim.refreshes == 1
    await theirs(cli, "Logged in using ChatGPT")
    assert (cli.sim.refreshes, len(keyring.items)) == (1, 1)


async def test_a_login_renewed_by_the_cli_is_adopted_here(cli: CodexCli, keyring: SecretService) -> None:
    await asyncio.to_thread(sign_in_by_device, cli)
    async with kernel_beside(cli) as kernel:
        assert await kernel.asks() == 200
        cli.sim.expire_access_tokens()
        assert (await asyncio.to_thread(cli.ask, "say hi")).code == 0
        assert await kernel.asks() == 200
    assert (cli.sim.refreshes, len(keyring.items)) == (1, 1)


async def test_signing_out_here_signs_out_there(cli: CodexCli, keyring: SecretService) -> None:
    await asyncio.to_thread(sign_in_by_device, cli)
    async with kernel_beside(cli) as kernel:
        assert await kernel.manager.sign_out() is True
    assert (await asyncio.to_thread(cli.run, "login", "status")).code == 1
    assert keyring.items == {}


async def test_signing_out_there_signs_out_here(cli: CodexCli, keyring: SecretService) -> None:
    use_keyring(cli, "api")  # where the key is checked
    async with kernel_beside(cli) as kernel:
        flow = open_login("api_key", kernel.manager)
        flow.submit(SecretStr(cli.sim.new_api_key()))
        assert [step async for step in flow.steps()]
    await asyncio.to_thread(cli.run, "logout")
    with pytest.raises(SignInRequired):
        await ours(cli)
    assert keyring.items == {}
