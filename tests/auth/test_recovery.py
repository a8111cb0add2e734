"""What happens after a 401 and when the login changes under a session: adopt, refresh once, never switch silently."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest
from pydantic import SecretStr

from codex_nb.auth.credentials import AuthFile
from codex_nb.auth.sources import ExternalTokens, TokenRequest
from codex_nb.errors import AccountChanged, CredentialsUnreadable, RefreshFailed, SignInRequired
from tests.auth.fakes import NOW, LoginFixture, Service, access_token, id_token, login, write_login

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

RESPONSES = "/backend-api/codex/responses"
TOKEN = "/oauth/token"
KEY = "sk-fab-0123456789abcdef"
FRESH = access_token(NOW + timedelta(hours=2), serial=99)


def always_401(_: httpx.Request) -> httpx.Response:
    return httpx.Response(401, json={"error": {"message": "no"}})


async def test_a_hard_401_costs_two_requests_and_one_refresh(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk()
    write_login(desk.home)
    desk.service.on[RESPONSES] = always_401
    assert (await desk.post()).status_code == 401
    assert (desk.service.counts[RESPONSES], desk.service.counts[TOKEN]) == (2, 1)


async def test_a_hard_401_after_another_program_renewed_costs_three_and_one(
    make_desk: Callable[..., LoginFixture],
) -> None:
    """The most there is; the CLI spends 18 and 6."""
    desk = make_desk()
    write_login(desk.home)

    def refresh_elsewhere(request: httpx.Request) -> httpx.Response:
        if desk.service.counts[RESPONSES] == 1:
            write_login(desk.home, tokens={"access_token": FRESH})
        return always_401(request)

    desk.service.on[RESPONSES] = refresh_elsewhere
    assert (await desk.post()).status_code == 401
    assert (desk.service.counts[RESPONSES], desk.service.counts[TOKEN]) == (3, 1)


async def test_however_often_the_file_changes_a_request_is_sent_three_times(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk()
    write_login(desk.home)

    def refresh_elsewhere(request: httpx.Request) -> httpx.Response:
        token = access_token(NOW + timedelta(hours=2), serial=desk.service.counts[RESPONSES])
        write_login(desk.home, tokens={"access_token": token})
        return always_401(request)

    desk.service.on[RESPONSES] = refresh_elsewhere
    assert (await desk.post()).status_code == 401
    assert (desk.service.counts[RESPONSES], desk.service.counts[TOKEN]) == (3, 0)


async def test_what_another_program_renewed_is_adopted_without_a_refresh(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk(service=Service(valid_access={FRESH}))
    write_login(desk.home)

    def refresh_elsewhere(_: httpx.Request) -> None:
        if desk.service.counts[RESPONSES] == 1:
            write_login(desk.home, tokens={"access_token": FRESH, "refresh_token": "rt_of_the_other"})

    desk.service.on[RESPONSES] = refresh_elsewhere
    assert (await desk.post()).status_code == 200
    assert (desk.service.counts[RESPONSES], desk.service.counts[TOKEN]) == (2, 0)


async def test_a_login_renewed_between_two_requests_is_used_at_once(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk()
    write_login(desk.home)
    await desk.post()
    write_login(desk.home, tokens={"access_token": FRESH})
    await desk.post()
    assert desk.service.requests[-1].headers["authorization"] == f"Bearer {FRESH}"


async def test_many_requests_refused_at_once_share_one_refresh(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk(service=Service(valid_access=set()))
    write_login(desk.home)
    answers = await asyncio.gather(*(desk.post() for _ in range(20)))
    assert [answer.status_code for answer in answers] == [200] * 20
    assert desk.service.counts[TOKEN] == 1


async def test_the_loser_of_a_race_waits_for_the_winners_tokens(
    make_desk: Callable[..., LoginFixture],
) -> None:
    """The winner, a CLI, may be waiting for our very lock to save them."""
    desk = make_desk(service=Service(valid_access={FRESH}, valid_refresh=set()))
    write_login(desk.home)
    naps: list[float] = []

    async def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            write_login(desk.home, tokens={"access_token": FRESH, "refresh_token": "rt_of_the_winner"})

    desk.options["sleep"] = sleep
    desk.manager = desk.open()
    assert (await desk.post()).status_code == 200
    assert desk.service.counts[TOKEN] == 1


async def test_an_interrupted_cell_does_not_lose_the_renewed_login(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk(service=Service(valid_access=set()))
    write_login(desk.home)
    spent, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: httpx.Request) -> httpx.Response:
        answer = desk.service(request)
        if request.url.path == TOKEN:
            spent.set()
            await go_on.wait()
        return answer

    desk.http = httpx.AsyncClient(transport=httpx.MockTransport(slow))
    desk.manager = desk.open()
    cell = asyncio.create_task(desk.post())
    await spent.wait()
    cell.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cell
    go_on.set()
    await desk.manager.close()

    assert desk.on_disk()["tokens"]["refresh_token"] == desk.service.issued[-1]["refresh_token"]
    assert (await desk.post()).status_code == 200
    assert desk.service.counts[TOKEN] == 1


OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("another workspace", {"tokens": {"account_id": "acct-2", "id_token": id_token("acct-2")}}),
    ("another member of the workspace", {"tokens": {"id_token": id_token(user_id="user-2")}}),
    ("an API key", {"auth_mode": "apikey", "OPENAI_API_KEY": KEY}),
]


@pytest.mark.parametrize(("name", "changes"), OTHERS, ids=[name for name, _ in OTHERS])
async def test_another_login_on_disk_is_never_a_silent_switch(
    name: str, changes: dict[str, Any], make_desk: Callable[..., LoginFixture]
) -> None:
    del name
    desk = make_desk()
    write_login(desk.home)
    await desk.post()
    write_login(desk.home, **changes)
    for _ in range(2):
        with pytest.raises(
            AccountChanged,
            match=r"This session belongs to (another )?a…@fab\.example",
        ):
            await desk.post()
    assert desk.service.counts == {RESPONSES: 1}

    await desk.manager.save_login(AuthFile.model_validate(login(**changes)))
    assert (await desk.post()).status_code == 200


async def test_another_login_found_after_a_401_is_never_a_silent_switch(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk()
    write_login(desk.home)

    def switch(request: httpx.Request) -> httpx.Response:
        write_login(desk.home, tokens={"account_id": "acct-2", "access_token": FRESH})
        return always_401(request)

    desk.service.on[RESPONSES] = switch
    with pytest.raises(AccountChanged):
        await desk.post()
    assert (desk.service.counts[RESPONSES], desk.service.counts[TOKEN]) == (1, 0)


async def test_a_request_begun_before_a_sign_in_is_not_repeated_as_the_new_account(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk()
    write_login(desk.home)
    before = await desk.manager.current()
    await desk.manager.save_login(AuthFile.model_validate({"auth_mode": "apikey", "OPENAI_API_KEY": KEY}))
    with pytest.raises(AccountChanged):
        await desk.manager.retry_after_401(before)
    assert (await desk.manager.current()).billing == "api_key"


async def test_a_login_removed_after_a_401_is_a_sign_in(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk()
    path = write_login(desk.home)

    def remove(request: httpx.Request) -> httpx.Response:
        path.unlink()
        return always_401(request)

    desk.service.on[RESPONSES] = remove
    with pytest.raises(SignInRequired):
        await desk.post()
    assert desk.service.counts[TOKEN] == 0


async def test_a_login_made_unreadable_after_a_401_is_said_once(
    make_desk: Callable[..., LoginFixture],
) -> None:
    """The CLI tries six times."""
    desk = make_desk()
    path = write_login(desk.home)

    def spoil(request: httpx.Request) -> httpx.Response:
        path.write_text("{")
        return always_401(request)

    desk.service.on[RESPONSES] = spoil
    with pytest.raises(CredentialsUnreadable, match="not valid JSON"):
        await desk.post()
    assert (desk.service.counts[RESPONSES], desk.service.counts[TOKEN]) == (1, 0)


async def test_a_login_made_by_another_program_ends_the_need_to_sign_in(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk()
    with pytest.raises(SignInRequired):
        await desk.post()
    write_login(desk.home)
    assert (await desk.post()).status_code == 200


NO_RECOVERY: list[tuple[str, dict[str, Any]]] = [
    ("API key", {"auth_mode": "apikey", "OPENAI_API_KEY": KEY}),
    ("personal access token", {"OPENAI_API_KEY": None, "personal_access_token": "at-fab-0123456789"}),
    ("chatgptAuthTokens in a file", login(auth_mode="chatgptAuthTokens")),
    ("no refresh token", login(tokens={"refresh_token": ""})),
]


@pytest.mark.parametrize(("name", "document"), NO_RECOVERY, ids=[name for name, _ in NO_RECOVERY])
async def test_what_cannot_be_renewed_is_sent_once(
    name: str, document: dict[str, Any], make_desk: Callable[..., LoginFixture]
) -> None:
    """The CLI sends it six times."""
    del name
    desk = make_desk()
    write_login(desk.home, document)
    desk.service.on[RESPONSES] = always_401
    assert (await desk.post()).status_code == 401
    assert (desk.service.counts[RESPONSES], desk.service.counts[TOKEN]) == (1, 0)


async def test_recover_tells_when_nothing_helps(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk()
    write_login(desk.home, {"auth_mode": "apikey", "OPENAI_API_KEY": KEY})
    rejected = await desk.manager.current()
    assert (await desk.manager.retry_after_401(rejected)).credentials is None


async def test_peek_reads_nothing(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk()
    write_login(desk.home)
    assert desk.manager.peek() is None
    credentials = await desk.manager.current()
    (desk.home / "auth.json").unlink()
    assert desk.manager.peek() is credentials


async def test_a_directory_that_cannot_be_written_is_said_before_the_token_is_spent(
    make_desk: Callable[..., LoginFixture],
) -> None:
    desk = make_desk(service=Service(valid_access=set()))
    write_login(desk.home)
    (desk.home / "auth.lock").mkdir()
    with pytest.raises(RefreshFailed, match="not writable"):
        await desk.post()
    assert desk.service.counts[TOKEN] == 0


class Host:
    """A host program that hands in tokens, one after another."""

    def __init__(self, *tokens: ExternalTokens) -> None:
        self.tokens = list(tokens)
        self.asked: list[TokenRequest] = []

    async def __call__(self, request: TokenRequest) -> ExternalTokens:
        self.asked.append(request)
        return self.tokens[min(len(self.asked), len(self.tokens)) - 1]


def handed(serial: int, account_id: str = "acct-1") -> ExternalTokens:
    token = access_token(NOW + timedelta(hours=1), serial=serial, account_id=account_id)
    return ExternalTokens(SecretStr(token), account_id)


async def test_a_host_program_is_asked_again_after_a_401_and_nothing_is_written(
    make_desk: Callable[..., LoginFixture],
) -> None:
    host = Host(handed(1), handed(2))
    desk = make_desk(service=Service(valid_access={host.tokens[1].access_token.get_secret_value()}))
    desk.options["external"] = host
    desk.manager = desk.open()
    assert (await desk.post()).status_code == 200
    assert host.asked == [TokenRequest("start"), TokenRequest("unauthorized", "acct-1")]
    assert list(desk.home.iterdir()) == []


async def test_a_host_program_that_has_nothing_newer_is_asked_once(
    make_desk: Callable[..., LoginFixture],
) -> None:
    host = Host(handed(1))
    desk = make_desk(service=Service(valid_access=set()))
    desk.options["external"] = host
    desk.manager = desk.open()
    assert (await desk.post()).status_code == 401
    assert len(host.asked) == 2
    assert desk.service.counts[RESPONSES] == 1


async def test_a_host_program_cannot_switch_the_account_silently(
    make_desk: Callable[..., LoginFixture],
) -> None:
    host = Host(handed(1), handed(2, "acct-2"))
    desk = make_desk(service=Service(valid_access=set()))
    desk.options["external"] = host
    desk.manager = desk.open()
    with pytest.raises(AccountChanged):
        await desk.post()


async def test_a_host_programs_token_that_is_over_is_asked_for_before_the_request(
    make_desk: Callable[..., LoginFixture],
) -> None:
    host = Host(handed(1), handed(2))
    desk = make_desk()
    desk.options["external"] = host
    desk.manager = desk.open()
    await desk.post()
    desk.service.clock.now += timedelta(hours=2)
    await desk.post()
    assert [asked.reason for asked in host.asked] == ["start", "expiring"]


class _Failure(BaseException):
    """As libraries written in Rust raise it."""


ODDLY_HANDED = [
    *(None, "text", b"x", 5, {}, [], ExternalTokens),
    *(
        ExternalTokens(cast("Any", odd))
        for odd in ("a-plain-text", None, 5, SecretStr(cast("Any", b"token")))
    ),
    *(ExternalTokens(SecretStr(odd)) for odd in ("", " ", "a b", "a\nb", "ü")),
    *(ExternalTokens(SecretStr("token"), cast("Any", odd)) for odd in (5, ["x"], "a\nb", "ü")),
    *(ExternalTokens(SecretStr("token"), None, cast("Any", odd)) for odd in (5, ["x"], b"plus")),
]
ODDLY_FAILING = [SystemExit(1), asyncio.CancelledError(), _Failure(), StopIteration(), RecursionError()]


@pytest.mark.parametrize("odd", [*ODDLY_HANDED, *ODDLY_FAILING], ids=repr)
@pytest.mark.parametrize("is_async", [True, False])
async def test_whatever_a_host_program_does_is_a_sentence_and_nothing_is_sent(
    odd: Any, is_async: bool, make_desk: Callable[..., LoginFixture]
) -> None:
    def give(_: TokenRequest) -> Any:
        if isinstance(odd, BaseException):
            raise odd
        return odd

    async def give_later(request: TokenRequest) -> Any:
        await asyncio.sleep(0)
        return give(request)

    desk = make_desk()
    desk.options["external"] = give_later if is_async else give
    desk.manager = desk.open()
    with pytest.raises(SignInRequired):
        await desk.post()
    assert desk.service.requests == []


async def test_a_host_program_that_is_waited_for_does_not_keep_a_cell_from_ending(
    make_desk: Callable[..., LoginFixture],
) -> None:
    async def wait(_: TokenRequest) -> ExternalTokens:
        await asyncio.sleep(600)
        return handed(1)

    desk = make_desk()
    desk.options["external"] = wait
    desk.manager = desk.open()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await desk.post()


async def test_a_host_programs_failure_is_told_by_its_kind_only(
    make_desk: Callable[..., LoginFixture],
) -> None:
    def fail(_: TokenRequest) -> ExternalTokens:
        raise LookupError("secret-of-the-host-0123456789")

    desk = make_desk()
    desk.options["external"] = fail
    desk.manager = desk.open()
    with pytest.raises(SignInRequired, match="LookupError") as raised:
        await desk.post()
    assert raised.value.__context__ is None
