"""What may be shown of a login: the account's status and the doctor's findings."""

from __future__ import annotations

import fcntl
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from codex_nb.auth.credentials import AuthMode
from codex_nb.config.settings import CredentialsStore, Provider, Settings
from codex_nb.doctor import Finding, examine
from codex_nb.errors import AccountChanged
from codex_nb.labels import date_time
from codex_nb.ui.account import AccountStatus, login_status
from tests.auth.fakes import NOW, Service, access_token, id_token, login, write_login

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.auth.fakes import LoginFixture

pytestmark = pytest.mark.anyio

KEY = "sk-fab-0123456789abcdef"


async def test_a_chatgpt_login_is_described_without_the_network(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk(settings={"profile": "work"})
    write_login(desk.home, tokens={"access_token": access_token(NOW - timedelta(hours=1))})
    assert await login_status(desk.manager) == AccountStatus(
        signed_in=True,
        auth_mode=AuthMode.CHATGPT,
        label="ada@fab.example",
        email="ada@fab.example",
        plan="plus",
        account_id="acct-1",
        billing="chatgpt",
        credentials_location=str(desk.home / "auth.json"),
        expires_at=NOW - timedelta(hours=1),
        profile="work",
    )
    assert desk.service.requests == []


async def test_an_api_key_is_described_by_its_ends(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk(environ={"CODEX_API_KEY": KEY})
    write_login(desk.home)
    assert await login_status(desk.manager) == AccountStatus(
        signed_in=True,
        auth_mode=AuthMode.API_KEY,
        label="API key sk-…cdef",
        billing="api_key",
        credentials_location="CODEX_API_KEY",
    )


async def test_nobody_signed_in_is_a_status_and_not_an_error(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk()
    assert await login_status(desk.manager) == AccountStatus(
        signed_in=False,
        credentials_location=str(desk.home / "auth.json"),
        problem="You are not signed in. Sign in with %codex login.",
    )


async def test_a_login_that_cannot_be_used_is_not_called_nobody(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk()
    write_login(desk.home)
    await desk.post()
    write_login(desk.home, tokens={"account_id": "acct-2"})
    changed = await login_status(desk.manager)
    (desk.home / "auth.json").write_text("{")
    unusable = await login_status(desk.manager)
    assert [(status.signed_in, status.absence) for status in (changed, unusable)] == [
        (False, "changed"),
        (False, "unusable"),
    ]


async def test_the_status_after_a_request_is_of_the_login_that_was_sent(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk()
    write_login(desk.home, tokens={"access_token": access_token(NOW - timedelta(hours=1))})
    await desk.manager.current()
    status = await login_status(desk.manager)
    assert status.expires_at == NOW + timedelta(hours=1)
    assert desk.service.counts == {"/oauth/token": 1}


PLANS = [
    ({}, "plus"),
    ({"chatgpt_plan_type": "brand_new_plan"}, "brand_new_plan"),
    ({"chatgpt_plan_type": 7}, "unknown"),
]


@pytest.mark.parametrize(("claims", "plan"), [*PLANS, ({"chatgpt_plan_type": None}, "unknown")])
async def test_a_plan_that_is_absent_or_odd_is_unknown(
    claims: dict[str, Any], plan: str, make_desk: Callable[..., LoginFixture]
) -> None:
    desk = make_desk()
    write_login(desk.home, tokens={"id_token": id_token(**claims)})
    assert (await login_status(desk.manager)).plan == plan


async def test_a_government_account_says_so_in_every_request(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk()
    write_login(desk.home, tokens={"id_token": id_token(chatgpt_account_is_fedramp=True)})
    await desk.post()
    assert desk.service.requests[-1].headers["x-openai-fedramp"] == "true"


async def test_identities_are_stable_when_tokens_change_and_differ_between_accounts(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk(service=Service(valid_access=set()))
    write_login(desk.home)
    before = (await desk.manager.current()).identity_key
    await desk.post()
    assert (await desk.manager.current()).identity_key == before

    others = [
        login(tokens={"id_token": id_token(None, user_id=""), "account_id": ..., "access_token": "opaque-1"})
    ]
    others += [login(tokens={"account_id": "acct-2"}), login(tokens={"id_token": id_token(user_id="user-2")})]
    others.append({"auth_mode": "apikey", "OPENAI_API_KEY": KEY})
    keys = {before}
    for other in others:
        write_login(desk.home, other)
        desk.manager = desk.open()
        keys.add((await desk.manager.current()).identity_key)
    assert len(keys) == 5
    assert KEY not in "".join(keys)


async def test_two_profiles_live_side_by_side(make_desk: Callable[..., LoginFixture], tmp_path: Any) -> None:
    work, private = make_desk(), make_desk()
    private.home = tmp_path / "private"
    private.manager = private.open()
    write_login(work.home)
    write_login(private.home, {"auth_mode": "apikey", "OPENAI_API_KEY": KEY})
    labels = [(await login_status(desk.manager)).label for desk in (work, private)]
    assert labels == ["ada@fab.example", "API key sk-…cdef"]
    await private.manager.sign_out()
    assert (await work.post()).status_code == 200


def findings(desk: LoginFixture) -> dict[str, Finding]:
    return {one.topic: one for one in examine(desk.manager.settings, desk.environ, clock=desk.service.clock)}


def test_a_healthy_login_needs_no_advice(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk()
    write_login(desk.home)
    assert examine(desk.manager.settings, desk.environ, clock=desk.service.clock) == (
        Finding("CODEX_HOME", str(desk.home)),
        Finding("store", "cli_auth_credentials_store = file"),
        Finding("login", "a…@fab.example (chatgpt, plan plus)"),
        Finding("access token", f"expires {date_time(NOW + timedelta(hours=1))}"),
    )


def test_the_doctor_names_each_ill_and_its_cure(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk(
        environ={"CODEX_API_KEY": KEY, "OPENAI_API_KEY": KEY},
        settings={
            "forced_login_method": "api",
            "refresh_url_override": "http://tokens.example",
            "revoke_url_override": "https://tokens.example",
        },
    )
    elsewhere = desk.home.parent / "elsewhere"
    target = write_login(elsewhere, tokens={"access_token": access_token(NOW), "refresh_token": ""})
    target.chmod(0o640)
    (desk.home / "auth.json").symlink_to(target)
    (elsewhere / ".auth-abc.codex_nb").write_text("half")
    (desk.home / "secrets").mkdir()
    (desk.home / "secrets" / "codex_auth.age").write_text("age")
    descriptor = os.open(desk.home / "auth.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        found = findings(desk)
    finally:
        os.close(descriptor)
    cures = {topic: one.advice for topic, one in found.items()}
    assert cures == {
        "CODEX_HOME": "",
        "CODEX_API_KEY": "Unset it to use the stored login.",
        "OPENAI_API_KEY": "",
        "store": "",
        "encrypted store": "Turn off the CLI feature secret_auth_storage and sign in again; only the CLI opens it.",
        "auth.json": f"Make it private: chmod 600 {desk.home / 'auth.json'}",
        "leftovers": "No action needed: they are removed at the next refresh.",
        "login": "",
        "restriction": "Sign in with an allowed account, or ask your administrator.",
        "access token": "Sign in with %codex login.",
        "CODEX_REFRESH_TOKEN_URL_OVERRIDE": (
            "Unset it: it is neither https nor on this machine, so it is not used."
        ),
        "CODEX_REVOKE_TOKEN_URL_OVERRIDE": "",
        "lock": "If this persists, stop the program that holds the lock.",
    }
    assert KEY not in str(found)


def test_the_doctor_sees_a_home_that_is_not_there(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk()
    desk.home.rmdir()
    assert {topic: one.advice for topic, one in findings(desk).items()} == {
        "CODEX_HOME": "Sign in with %codex login; this creates it.",
        "store": "",
        "auth.json": "Sign in with %codex login.",
    }


def test_the_doctor_reads_what_cannot_be_read(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk()
    write_login(desk.home, "{")
    assert findings(desk)["login"].found == (
        f"The stored credentials {desk.home / 'auth.json'} cannot be read: it is not valid JSON. "
        "The file was not changed."
    )


def test_the_doctor_says_when_a_renewal_is_due(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk()
    write_login(desk.home, tokens={"access_token": access_token(NOW)})
    assert (
        findings(desk)["access token"].found
        == f"expired or expires {date_time(NOW)}; the next request refreshes it"
    )


async def test_what_the_session_belongs_to_is_seen_when_the_disk_says_another(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk()
    write_login(desk.home)
    await desk.post()
    write_login(desk.home, tokens={"account_id": "acct-2"})
    status = await login_status(desk.manager)
    assert (
        status.signed_in,
        "This session belongs to another a…@fab.example" in str(status.problem),
    ) == (
        False,
        True,
    )
    with pytest.raises(AccountChanged):
        await desk.post()


async def test_an_ephemeral_login_lives_in_memory_only(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk(settings={"credentials_store": CredentialsStore.EPHEMERAL})
    from codex_nb.auth.login import DeviceCodeLogin

    assert [step async for step in DeviceCodeLogin(desk.manager).steps()]
    assert (await desk.post()).status_code == 200
    assert (await login_status(desk.manager)).credentials_location == "memory"
    assert list(desk.home.iterdir()) == []


async def test_every_setting_that_leads_a_login_elsewhere_is_named_with_its_host(
    make_desk: Callable[..., LoginFixture],
) -> None:
    elsewhere = {
        "refresh_url_override": "https://refresh.test/oauth/token",
        "revoke_url_override": "http://127.0.0.1:9/revoke",
        "issuer": "https://issuer.test",
        "authapi_base_url": "https://accounts.test",
        "agent_authapi_base_url": "https://agents.test",
        "agent_jwks_base_url": "https://keys.test",
        "chatgpt_base_url": "https://chat.test/backend-api",
        "provider": Provider(base_url="https://api.test/v1"),
    }
    desk = make_desk(settings=elsewhere)
    signed_out = await login_status(desk.manager)
    write_login(desk.home)
    signed_in = await login_status(desk.manager)
    assert (signed_out.signed_in, signed_in.signed_in) == (False, True)
    hosts = [named.partition(" ")[2] for named in signed_in.overrides]
    named = ["refresh", "127.0.0.1", "issuer", "accounts", "agents", "keys", "chat", "api"]
    assert hosts == [f"({name})" if "." in name else f"({name}.test)" for name in named]
    assert signed_out.overrides == signed_in.overrides
    for status in (signed_in, signed_out):
        assert "issuer.test" in status.text()


async def test_a_setting_that_is_no_address_is_named_as_it_stands(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk(settings={"revoke_url_override": "https://xn--a-", "issuer": "https://issuer.test:x"})
    named = (await login_status(desk.manager)).overrides
    assert {"(https://xn--a-)", "(https://issuer.test:x)"} <= {each.partition(" ")[2] for each in named}


async def test_nothing_is_named_where_nothing_is_set(make_desk: Callable[..., LoginFixture]) -> None:
    usual = Settings(codex_home=make_desk().home)
    same = {name: getattr(usual, name) for name in ("issuer", "authapi_base_url", "chatgpt_base_url")}
    desk = make_desk(settings=same)
    assert (await login_status(desk.manager)).overrides == ()
