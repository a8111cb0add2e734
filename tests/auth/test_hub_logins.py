"""What ``codex-nb hub`` keeps: a login for each user, refreshed once however many kernels come at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from codex_nb.auth.credentials import fingerprint
from codex_nb.config.settings import Settings
from codex_nb.errors import SignInRequired
from codex_nb.http import httpx
from codex_nb.hub import UserLogin, UserLogins
from tests.auth.fakes import BACKEND, ISSUER, Service, access_token, write_login

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
    write_login(login.home, tokens={"refresh_token": refresh_token, "access_token": bearer})


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
    homes = {logins.of(name).home for name in names}
    assert len(homes) == len(names)
    assert len({home.name.casefold() for home in homes}) == len(names)
    assert {home.parent for home in homes} == {logins.of("ada").home.parent}
    assert {home.stat().st_mode & 0o777 for home in homes} == {0o700}
    sign_in(logins.of("ada"), service, "rt_fab_of_ada_0123456789")
    assert (await logins.of("ada").fetch("")).bearer is not None
    for name in names[1:]:
        with pytest.raises(SignInRequired):
            await logins.of(name).fetch("")
