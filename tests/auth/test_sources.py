"""Which credential signs: the precedence of sources, explicit wishes, restrictions, personal access tokens."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pydantic import SecretStr

from codex_nb.auth.sources import ExternalTokens, TokenRequest
from codex_nb.config.settings import BearerCommand, CredentialsStore, Provider
from codex_nb.errors import ConfigError, RefreshFailed, SignInRequired
from tests.auth.fakes import NOW, Service, access_token, login, write_login

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auth.fakes import LoginFixture

pytestmark = pytest.mark.anyio

STORED = login()["tokens"]["access_token"]
HANDED = access_token(NOW + timedelta(hours=1), serial=42)
KEY, OTHER_KEY, PAT = "sk-fab-env-0123456789", "sk-fab-openai-0123456789", "at-fab-env-0123456789"
WHOAMI = "/api/accounts/v1/user-auth-credential/whoami"


def hand_in(_: TokenRequest) -> ExternalTokens:
    return ExternalTokens(SecretStr(HANDED), "acct-1")


@dataclass(frozen=True)
class Row:
    """What is there, and the bearer that is sent (None: sign in)."""

    name: str
    bearer: str | None
    environ: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    external: Any = None
    stored: dict[str, Any] | None = None


KEY_FILE = {"auth_mode": "apikey", "OPENAI_API_KEY": OTHER_KEY}
BOTH = {"CODEX_API_KEY": KEY, "CODEX_ACCESS_TOKEN": PAT}
ROWS = [
    Row("the stored login", STORED),
    Row("CODEX_ACCESS_TOKEN before the stored login", PAT, {"CODEX_ACCESS_TOKEN": PAT}),
    Row("CODEX_API_KEY before CODEX_ACCESS_TOKEN", KEY, BOTH),
    Row("a host program before CODEX_API_KEY", HANDED, BOTH, external=hand_in),
    Row("OPENAI_API_KEY is never used silently", STORED, {"OPENAI_API_KEY": OTHER_KEY}),
    Row(
        "OPENAI_API_KEY when asked for",
        OTHER_KEY,
        {"OPENAI_API_KEY": OTHER_KEY},
        {"use_openai_api_key_env": True},
    ),
    Row(
        "CODEX_API_KEY before OPENAI_API_KEY",
        KEY,
        {"OPENAI_API_KEY": OTHER_KEY, "CODEX_API_KEY": KEY},
        {"use_openai_api_key_env": True},
    ),
    Row("OPENAI_API_KEY asked for and absent", STORED, {}, {"use_openai_api_key_env": True}),
    Row("an empty variable is none", STORED, {"CODEX_API_KEY": " ", "CODEX_ACCESS_TOKEN": ""}),
    Row("chatgpt asked for passes over a key", STORED, {"CODEX_API_KEY": KEY}, {"auth_mode": "chatgpt"}),
    Row("apikey asked for passes over a token", KEY, BOTH, {"auth_mode": "apikey"}),
    Row("chatgpt asked for, an API key stored", None, {}, {"auth_mode": "chatgpt"}, stored=KEY_FILE),
    Row("apikey asked for, a ChatGPT login stored", None, {}, {"auth_mode": "apikey"}),
    Row("apikey asked for, an API key stored", OTHER_KEY, {}, {"auth_mode": "apikey"}, stored=KEY_FILE),
    Row(
        "chatgpt forced, CODEX_API_KEY set", None, {"CODEX_API_KEY": KEY}, {"forced_login_method": "chatgpt"}
    ),
    Row("chatgpt forced, an API key stored", None, {}, {"forced_login_method": "chatgpt"}, stored=KEY_FILE),
    Row("api forced, a ChatGPT login stored", None, {}, {"forced_login_method": "api"}),
    Row("api forced, an API key stored", OTHER_KEY, {}, {"forced_login_method": "api"}, stored=KEY_FILE),
    Row("another workspace forced", None, {}, {"forced_workspaces": ("ws-other",)}),
    Row("this workspace forced", STORED, {}, {"forced_workspaces": ("ws-other", "acct-1")}),
    Row(
        "the claim decides, not the file's account_id",
        None,
        {},
        {"forced_workspaces": ("acct-file",)},
        stored=login(tokens={"account_id": "acct-file"}),
    ),
    Row("an ephemeral store ignores the file", None, {}, {"credentials_store": CredentialsStore.EPHEMERAL}),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_the_nearer_source_signs_and_no_login_is_touched(
    row: Row, make_desk: Callable[..., LoginFixture]
) -> None:
    """The CLI deletes auth.json when a forced method or workspace does not fit."""
    desk = make_desk(environ=row.environ, settings=row.settings, options={"external": row.external})
    path = write_login(desk.home, row.stored)
    before = path.read_bytes()
    if row.bearer is None:
        with pytest.raises(SignInRequired):
            await desk.post()
        assert desk.service.requests == []
    else:
        assert (await desk.post()).status_code == 200
        assert desk.service.requests[-1].headers["authorization"] == f"Bearer {row.bearer}"
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("forced", "name"),
    [
        ({"forced_login_method": "api"}, "forced_login_method"),
        ({"forced_workspaces": ("ws",)}, "forced_workspaces"),
    ],
)
async def test_a_login_that_is_not_allowed_is_told_who_has_fixed_it(
    forced: dict[str, Any], name: str, make_desk: Callable[..., LoginFixture]
) -> None:
    desk = make_desk(settings={**forced, "origins": {name: "/etc/codex/requirements.toml"}})
    write_login(desk.home)
    with pytest.raises(SignInRequired, match=r"/etc/codex/requirements\.toml"):
        await desk.post()


def test_an_auth_mode_that_is_not_known_is_a_mistake_in_the_settings(
    make_desk: Callable[..., LoginFixture],
) -> None:
    with pytest.raises(ConfigError, match="'api-key'"):
        make_desk(settings={"auth_mode": "api-key"}, environ={"CODEX_API_KEY": KEY})


async def test_a_key_that_no_header_can_carry_is_refused_before_it_is_sent(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk(environ={"CODEX_API_KEY": "sk-fab-ключ-0123"})
    with pytest.raises(SignInRequired, match="characters that cannot be sent") as raised:
        await desk.post()
    assert "ключ" not in str(raised.value)


async def test_a_personal_access_token_is_asked_for_its_account_once(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk(environ={"CODEX_ACCESS_TOKEN": PAT})
    for _ in range(3):
        await desk.post()
    assert desk.service.counts[WHOAMI] == 1
    asked, *_ = desk.service.requests
    assert asked.headers["authorization"] == f"Bearer {PAT}"
    assert desk.service.requests[-1].headers["chatgpt-account-id"] == "acct-1"
    credentials = await desk.manager.current()
    assert (credentials.label, credentials.account.plan, credentials.billing) == (
        "ada@fab.example",
        "pro",
        "chatgpt",
    )


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(401), SignInRequired),
        (httpx.Response(403), SignInRequired),
        (httpx.Response(500), RefreshFailed),
        (httpx.Response(200, text="<html>"), RefreshFailed),
        (httpx.Response(200, json=[]), RefreshFailed),
        (httpx.ConnectError("no"), RefreshFailed),
    ],
)
async def test_a_personal_access_token_that_cannot_be_checked_is_not_sent(
    answer: httpx.Response | Exception, error: type[Exception], make_desk: Callable[..., LoginFixture]
) -> None:
    desk = make_desk(environ={"CODEX_ACCESS_TOKEN": PAT})
    desk.service.on[WHOAMI] = lambda _: answer
    with pytest.raises(error):
        await desk.post()
    assert desk.service.counts == {WHOAMI: 1}


def provider(**parts: Any) -> dict[str, Any]:
    return {"provider": Provider(id="fab", name="Fab", base_url="https://fab.example/v1", **parts)}


async def test_a_providers_own_key_comes_from_its_variable(make_desk: Callable[..., LoginFixture]) -> None:
    settings = provider(env_key="FAB_KEY", requires_openai_auth=False)
    desk = make_desk(settings=settings, environ={"FAB_KEY": KEY, "CODEX_API_KEY": OTHER_KEY})
    write_login(desk.home)
    await desk.post()
    assert desk.service.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    assert "chatgpt-account-id" not in desk.service.requests[-1].headers


FORCED = {"forced_login_method": "chatgpt", "restricts_every_login": True}


@pytest.mark.parametrize("needs_login", [True, False])
@pytest.mark.parametrize(
    ("forced", "environ", "stored", "is_allowed"),
    [
        (FORCED, {}, login(), True),
        (FORCED, {}, KEY_FILE, False),
        (FORCED, {}, None, True),
        (FORCED, {"CODEX_API_KEY": OTHER_KEY}, login(), False),
        (FORCED, {"OPENAI_API_KEY": OTHER_KEY}, login(), True),
        ({**FORCED, "forced_login_method": "api"}, {}, login(), False),
        ({"forced_workspaces": ("ws-other",), "restricts_every_login": True}, {}, login(), False),
        ({"forced_workspaces": ("acct-1",), "restricts_every_login": True}, {}, login(), True),
        ({"forced_login_method": "chatgpt"}, {}, KEY_FILE, True),  # required of the login that signs
    ],
)
async def test_a_login_that_is_not_allowed_stops_a_provider_with_a_key_of_its_own(
    make_desk: Callable[..., LoginFixture],
    needs_login: bool,
    forced: dict[str, Any],
    environ: dict[str, str],
    stored: dict[str, Any] | None,
    is_allowed: bool,
) -> None:
    own = provider(env_key="FAB_KEY", requires_openai_auth=needs_login)
    desk = make_desk(settings={**own, **forced}, environ={"FAB_KEY": KEY, **environ})
    if stored is not None:
        write_login(desk.home, stored)
    if is_allowed:
        await desk.post()
        assert desk.service.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    else:
        with pytest.raises(SignInRequired):
            await desk.post()
        assert desk.service.requests == []


async def test_an_empty_key_is_not_replaced_by_the_login(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk(settings=provider(bearer=SecretStr(" "), requires_openai_auth=True))
    write_login(desk.home)
    await desk.post()
    assert "authorization" not in desk.service.requests[-1].headers


@pytest.mark.parametrize("blank", ["", "  "])
async def test_a_blank_key_beside_tokens_is_none(make_desk: Callable[..., LoginFixture], blank: str) -> None:
    desk = make_desk()
    stored = {**login(), "OPENAI_API_KEY": blank}
    stored.pop("auth_mode", None)
    write_login(desk.home, stored)
    await desk.post()
    assert desk.service.requests[-1].headers["authorization"] == f"Bearer {STORED}"


async def test_a_providers_missing_variable_is_named(make_desk: Callable[..., LoginFixture]) -> None:
    settings = provider(
        env_key="FAB_KEY", env_key_instructions="Ask Fab for one.", requires_openai_auth=False
    )
    desk = make_desk(settings=settings)
    write_login(desk.home)
    with pytest.raises(SignInRequired) as raised:
        await desk.post()
    assert raised.value.line == "The provider Fab needs the environment variable FAB_KEY. Ask Fab for one."


async def test_a_provider_without_sign_in_gets_no_authorization(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk(settings=provider(requires_openai_auth=False))
    write_login(desk.home)
    await desk.post()
    assert "authorization" not in desk.service.requests[-1].headers
    assert (await desk.manager.current()).label == "no sign-in needed"


async def test_a_provider_that_uses_the_login_gets_it(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk(settings=provider(requires_openai_auth=True))
    write_login(desk.home)
    await desk.post()
    assert desk.service.requests[-1].headers["authorization"] == f"Bearer {STORED}"


async def test_a_providers_command_is_run_again_after_a_401_and_when_its_time_is_over(
    make_desk: Callable[..., LoginFixture], tmp_path: Path
) -> None:
    count = tmp_path / "count"
    count.write_text("")
    command = BearerCommand(sys.executable, ("-c", COUNT, str(count)), refresh_interval_s=300.0)
    settings = provider(requires_openai_auth=False, bearer_command=command)
    desk = make_desk(settings=settings, service=Service(valid_access={"tok-xx", "tok-xxx"}))
    assert [(await desk.post()).status_code for _ in range(3)] == [200, 200, 200]
    desk.service.clock.now += timedelta(seconds=301)
    await desk.post()
    sent = [request.headers["authorization"] for request in desk.service.requests]
    assert sent == ["Bearer tok-x", *["Bearer tok-xx"] * 3, "Bearer tok-xxx"]


async def test_a_host_program_may_answer_at_once_or_not_at_all(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk(options={"external": lambda _: None})
    with pytest.raises(SignInRequired, match="not an ExternalTokens"):
        await desk.post()


async def test_a_command_runs_once_for_requests_that_come_at_once(
    make_desk: Callable[..., LoginFixture], tmp_path: Path
) -> None:
    count = tmp_path / "count"
    count.write_text("")
    command = BearerCommand(sys.executable, ("-c", COUNT, str(count)), refresh_interval_s=0)
    desk = make_desk(settings=provider(requires_openai_auth=False, bearer_command=command))
    desk.service.valid_access = {"tok-x"}
    await asyncio.gather(*(desk.post() for _ in range(5)))
    desk.service.clock.now += timedelta(days=365)
    await desk.post()
    assert count.read_text() == "x"
    desk.service.valid_access = {"tok-xx"}
    assert (await desk.post()).status_code == 200
    assert count.read_text() == "xx"


async def test_a_command_ends_with_the_cell_and_with_all_that_it_has_started(
    make_desk: Callable[..., LoginFixture], tmp_path: Path
) -> None:
    pipe = tmp_path / "alive"
    os.mkfifo(pipe)
    command = BearerCommand("sh", ("-c", f"sleep 600 > {pipe} & wait"), timeout_s=600)
    desk = make_desk(settings=provider(requires_openai_auth=False, bearer_command=command))
    asking = asyncio.ensure_future(desk.post())
    with await asyncio.to_thread(pipe.open, "rb") as alive:  # opened once the command runs
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await asyncio.to_thread(alive.read) == b""  # ends once nobody holds the other end


async def test_a_host_programs_plan_wins_over_the_tokens(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk(options={"external": lambda _: ExternalTokens(SecretStr(HANDED), "acct-1", "edu")})
    credentials = await desk.manager.current()
    assert (credentials.account.plan, credentials.source) == ("edu", "the host program")


# What of a provider signs, measured with the CLI: each has the variable's value, the file's token, and what is sent.
PRECEDENCE = [
    ("env-key", None, "Bearer env-key"),
    ("env-key", "file-key", "Bearer env-key"),
    ("", "file-key", None),
    (" ", "file-key", None),
    (None, "file-key", "Bearer file-key"),
]


@pytest.mark.parametrize("uses_login", [False, True])
@pytest.mark.parametrize(("variable", "token", "sent"), PRECEDENCE)
async def test_a_named_variable_comes_before_the_token_of_the_file_and_both_before_the_login(
    variable: str | None,
    token: str | None,
    sent: str | None,
    uses_login: bool,
    make_desk: Callable[..., LoginFixture],
) -> None:
    own = {"env_key": "FAB_KEY"} if variable is not None else {}
    settings = provider(
        requires_openai_auth=uses_login, bearer=SecretStr(token) if token is not None else None, **own
    )
    desk = make_desk(settings=settings, environ={"FAB_KEY": variable} if variable else {})
    write_login(desk.home)
    if sent is None:
        with pytest.raises(SignInRequired, match="FAB_KEY"):
            await desk.post()
        return
    await desk.post()
    assert desk.service.requests[-1].headers["authorization"] == sent


async def test_a_providers_bearer_in_the_configuration_signs(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk(settings=provider(requires_openai_auth=False, bearer=SecretStr(KEY)))
    await desk.post()
    assert desk.service.requests[-1].headers["authorization"] == f"Bearer {KEY}"


COUNT = """
import pathlib, sys
path = pathlib.Path(sys.argv[1])
path.write_text(path.read_text() + "x")
print("tok-" + path.read_text())
"""
COMMANDS = [
    (("-c", "raise SystemExit(3)"), "it exited with status 3 and no token"),
    (("-c", "pass"), "it exited with status 0 and no token"),
    (("-c", "import time; time.sleep(60)"), r"it took longer than 0\.2 s"),
]


@pytest.mark.parametrize(("arguments", "words"), COMMANDS)
async def test_a_providers_command_that_fails_is_explained(
    arguments: tuple[str, ...], words: str, make_desk: Callable[..., LoginFixture]
) -> None:
    command = BearerCommand(sys.executable, arguments, timeout_s=0.2 if "sleep" in arguments[1] else 20.0)
    desk = make_desk(settings=provider(requires_openai_auth=False, bearer_command=command))
    with pytest.raises(SignInRequired, match=words):
        await desk.post()
    assert desk.service.requests == []


async def test_a_providers_command_that_does_not_exist_is_explained(
    make_desk: Callable[..., LoginFixture],
) -> None:
    command = BearerCommand("no-such-command-of-fab")
    desk = make_desk(settings=provider(requires_openai_auth=False, bearer_command=command))
    with pytest.raises(SignInRequired, match="No such file"):
        await desk.post()
