"""What ``codex-nb hub`` keeps: a login for each user, refreshed once however many kernels come at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend

from codex_nb.auth.credentials import fingerprint
from codex_nb.auth.login import DeviceCodeLogin
from codex_nb.config.settings import CredentialsStore, Settings
from codex_nb.errors import SignInRequired
from codex_nb.http import httpx
from codex_nb.hub import UserLogin, UserLogins
from tests.auth.fakes import BACKEND, ISSUER, Clock, Service, access_token, write_login

pytestmark = pytest.mark.anyio


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def logins(service: Service, tmp_path: Path) -> UserLogins:
    settings = Settings(codex_home=tmp_path / "home", issuer=ISSUER, chatgpt_base_url=BACKEND)
    http = httpx.AsyncClient(transport=httpx.MockTransport(service))
    return UserLogins(settings, http, tmp_path / "logins")


def sign_in(login: UserLogin, service: Service, refresh_token: str) -> None:
    """Leave a login as the sign-in of a user does; its access token holds for a long time."""
    service.valid_refresh.add(refresh_token)
    bearer = access_token(service.clock() + timedelta(days=3000))
    write_login(
        login.manager.settings.codex_home, tokens={"refresh_token": refresh_token, "access_token": bearer}
    )


async def test_a_storm_of_kernels_is_one_refresh_for_each_user(logins: UserLogins, service: Service) -> None:
    users = [f"user-{number}" for number in range(3)]
    for user in users:
        sign_in(logins.of(user), service, f"rt_fab_of_{user}_0123456789")
    rejected = {user: fingerprint((await logins.of(user).fetch("")).bearer) for user in users}
    kernels = [user for user in users for _ in range(70)]
    found = await asyncio.gather(*(logins.of(user).fetch(rejected[user]) for user in kernels))
    assert service.counts == {"/oauth/token": 3}
    bearers = {(user, str(fingerprint(each.bearer))) for user, each in zip(kernels, found, strict=True)}
    assert len(bearers) == 3
    assert {hashed for _, hashed in bearers}.isdisjoint(rejected.values())


async def test_names_that_look_alike_are_different_users(logins: UserLogins, service: Service) -> None:
    names = ["ada", "Ada", "ADA", "../ada", "ada/..", "a/d/a", ".", "", "ada\0", "\u0430d\u0430", "x" * 5000]
    homes = {logins.of(name).manager.settings.codex_home for name in names}
    assert len(homes) == len(names)
    assert len({home.name.casefold() for home in homes}) == len(names)
    assert {home.parent for home in homes} == {logins.of("ada").manager.settings.codex_home.parent}
    assert {home.stat().st_mode & 0o777 for home in homes} == {0o700}
    sign_in(logins.of("ada"), service, "rt_fab_of_ada_0123456789")
    assert (await logins.of("ada").fetch("")).bearer is not None
    for name in names[1:]:
        with pytest.raises(SignInRequired):
            await logins.of(name).fetch("")


class MemoryKeyring(KeyringBackend):
    """A keyring of this process."""

    priority = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.entries[service, username]


@pytest.fixture
def memory_keyring() -> Iterator[MemoryKeyring]:
    before = keyring.get_keyring()
    keyring.set_keyring(found := MemoryKeyring())
    yield found
    keyring.set_keyring(before)


async def test_each_user_has_an_entry_of_the_keyring_where_that_keeps_the_logins(
    service: Service, tmp_path: Path, memory_keyring: MemoryKeyring
) -> None:
    service.clock = Clock(datetime.now(UTC) + timedelta(days=30))
    settings = Settings(
        codex_home=tmp_path / "home",
        issuer=ISSUER,
        chatgpt_base_url=BACKEND,
        credentials_store=CredentialsStore.KEYRING,
    )
    http = httpx.AsyncClient(transport=httpx.MockTransport(service))
    logins = UserLogins(settings, http, tmp_path / "logins")
    given = []
    for user in ("ada", "grace"):
        async for _ in DeviceCodeLogin(logins.of(user).manager).steps():
            pass
        given.append((await logins.of(user).fetch("")).bearer)
    assert [token.get_secret_value() for token in given if token] == [
        tokens["access_token"] for tokens in service.issued
    ]
    assert len(memory_keyring.entries) == len(service.issued) == 2
    assert [
        login.manager.settings.codex_home.joinpath("auth.json").exists()
        for login in map(logins.of, ("ada", "grace"))
    ] == [False] * 2
    with pytest.raises(SignInRequired):
        await logins.of("linus").fetch("")
    await logins.close()
