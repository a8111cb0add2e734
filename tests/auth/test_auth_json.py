"""Every row of the contract's auth.json table: what the CLI makes of a file, and what we make of it.

``CLI`` is the outcome of Codex CLI 0.169.0 as observed; ``ours`` is better where they differ.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from codex_nb.errors import CodexError, CredentialsUnreadable, SignInRequired
from tests.auth.fakes import NOW, Service, access_token, id_token, login, write_login

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.auth.fakes import LoginFixture

pytestmark = pytest.mark.anyio

ACCESS = access_token(NOW + timedelta(hours=1))
KEY = "sk-fab-0123456789abcdef"
CHATGPT = {"authorization": f"Bearer {ACCESS}", "chatgpt-account-id": "acct-1"}
API = {"authorization": f"Bearer {KEY}", "chatgpt-account-id": None}


@dataclass(frozen=True)
class Row:
    """One row: the file, the CLI's outcome in words, and ours as the headers sent or the error raised."""

    name: str
    file: dict[str, Any] | str
    cli: str
    ours: dict[str, str | None] | type[CodexError]


def file(tokens: Any = None, **changes: Any) -> dict[str, Any]:
    return login(tokens=None if tokens is ... else {"access_token": ACCESS, **(tokens or {})}, **changes)


ROWS = [
    Row("no auth_mode, tokens only", file(auth_mode=...), "chatgpt", CHATGPT),
    Row("no auth_mode, a key and tokens", file(auth_mode=..., OPENAI_API_KEY=KEY), "the api key wins", API),
    Row("auth_mode chatgpt and a key", file(OPENAI_API_KEY=KEY), "chatgpt", CHATGPT),
    Row("no OPENAI_API_KEY at all", file(OPENAI_API_KEY=...), "chatgpt", CHATGPT),
    Row("last_refresh absent", file(last_refresh=...), "sends no authorization", CHATGPT),
    Row("last_refresh null", file(last_refresh=None), "sends no authorization", CHATGPT),
    Row("last_refresh with an offset", file(last_refresh="2026-11-20T21:00:00+02:00"), "chatgpt", CHATGPT),
    Row(
        "last_refresh without T and zone", file(last_refresh="2026-11-20 10:00:00"), "file rejected", CHATGPT
    ),
    Row("last_refresh is no time", file(last_refresh="yesterday"), "file rejected", CHATGPT),
    Row("refresh_token missing", file({"refresh_token": ...}), "file rejected", CHATGPT),
    Row("refresh_token empty", file({"refresh_token": ""}), "chatgpt", CHATGPT),
    Row("id_token missing", file({"id_token": ...}), "file rejected", CHATGPT),
    Row("id_token empty", file({"id_token": ""}), "file rejected", CHATGPT),
    Row("id_token garbage", file({"id_token": "garbage"}), "file rejected", CHATGPT),
    Row("id_token with only an email", file({"id_token": id_token(None)}), "chatgpt", CHATGPT),
    Row("account_id missing", file({"account_id": ...}), "no account header, no recovery", CHATGPT),
    Row(
        "account_id other than the claim",
        file({"account_id": "acct-file"}),
        "the file's account_id is sent",
        {"authorization": f"Bearer {ACCESS}", "chatgpt-account-id": "acct-file"},
    ),
    *(
        Row(f"account_id {odd!r}", file({"account_id": odd}), "no header holds it", SignInRequired)
        for odd in ("a\nb", "ü", "a\x00b")
    ),
    Row("auth_mode apikey with a key", {"auth_mode": "apikey", "OPENAI_API_KEY": KEY}, "api key", API),
    Row("auth_mode apikey without a key", {"auth_mode": "apikey"}, "not logged in", SignInRequired),
    Row("auth_mode apikey, tokens, no key", file(auth_mode="apikey"), "not logged in", SignInRequired),
    Row(
        "auth_mode apikey, empty key",
        {"auth_mode": "apikey", "OPENAI_API_KEY": ""},
        "an empty bearer",
        SignInRequired,
    ),
    Row(
        "auth_mode chatgpt, a key, no tokens",
        file(tokens=..., OPENAI_API_KEY=KEY),
        "the turn fails",
        SignInRequired,
    ),
    Row("an empty object", {}, "chatgpt without tokens: the turn fails", SignInRequired),
    Row("bad JSON", '{"auth_mode": "chatgpt",', "not logged in", CredentialsUnreadable),
    Row("an empty file", "", "not logged in", CredentialsUnreadable),
    Row("a list", "[]", "not logged in", CredentialsUnreadable),
    Row("tokens of the wrong type", {"tokens": "no"}, "not logged in", CredentialsUnreadable),
    Row("auth_mode weird", file(auth_mode="weird"), "file rejected", CredentialsUnreadable),
    Row("auth_mode ChatGPT", file(auth_mode="ChatGPT"), "file rejected", CredentialsUnreadable),
    Row("auth_mode api_key", file(auth_mode="api_key"), "file rejected", CredentialsUnreadable),
    Row("auth_mode bedrockApiKey", file(auth_mode="bedrockApiKey"), "Amazon Bedrock", SignInRequired),
    Row("auth_mode headers", file(auth_mode="headers"), "headers", SignInRequired),
    Row(
        "a personal access token",
        {"OPENAI_API_KEY": None, "personal_access_token": "at-fab-0123456789"},
        "PAT, asked for its account",
        {"authorization": "Bearer at-fab-0123456789", "chatgpt-account-id": "acct-1"},
    ),
    Row("auth_mode chatgptAuthTokens", file(auth_mode="chatgptAuthTokens"), "used, never refreshed", CHATGPT),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name} (CLI: {row.cli})")
async def test_a_file_is_understood_or_refused_and_never_changed(
    row: Row, make_desk: Callable[..., LoginFixture]
) -> None:
    desk = make_desk()
    path = write_login(desk.home, row.file)
    before = path.read_bytes()

    if isinstance(row.ours, dict):
        assert (await desk.post()).status_code == 200
        sent = desk.service.requests[-1].headers
        assert {name: sent.get(name) for name in row.ours} == row.ours
    else:
        with pytest.raises(row.ours):
            await desk.post()
        assert desk.service.counts["/backend-api/codex/responses"] == 0
    assert path.read_bytes() == before


async def test_without_a_file_nothing_is_sent(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk()
    with pytest.raises(SignInRequired, match="not signed in"):
        await desk.post()
    assert desk.service.requests == []


async def test_a_login_without_account_id_recovers_too(make_desk: Callable[..., LoginFixture]) -> None:
    """The CLI gives up there; the token's own claim says whose it is."""
    desk = make_desk(service=Service(valid_access=set()))
    write_login(desk.home, file({"account_id": ...}))
    assert (await desk.post()).status_code == 200
    assert desk.service.counts["/oauth/token"] == 1


async def test_an_encrypted_store_is_named_plainly(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk()
    (desk.home / "secrets").mkdir()
    (desk.home / "secrets" / "codex_auth.age").write_bytes(b"age-encryption.org/v1")
    with pytest.raises(CredentialsUnreadable, match="encrypted store"):
        await desk.post()


async def test_a_renewed_login_is_written_as_the_cli_writes_it(
    make_desk: Callable[..., LoginFixture],
) -> None:
    """Key order, indentation, time format, mode; keys nobody knows stay at both levels (the CLI erases them)."""
    desk = make_desk(service=Service(valid_access=set()))
    write_login(desk.home, {"zeta": {"kept": [1, "é"]}, **file({"alpha": "kept", "account_id": "acct-1"})})

    await desk.post()

    text = (desk.home / "auth.json").read_text()
    expected = file({"alpha": "kept"})
    expected["tokens"].update(desk.service.issued[-1])
    tokens = expected["tokens"]
    order = [
        "id_token",
        "access_token",
        "refresh_token",
        "oauth_provenance",
        "login_owner_id",
        "account_id",
        "alpha",
    ]
    expected["tokens"] = {key: tokens[key] for key in order}
    expected["last_refresh"] = "2026-11-20T20:00:00.000000000Z"
    expected["zeta"] = {"kept": [1, "é"]}
    assert text == json.dumps(expected, indent=2, ensure_ascii=False)
    assert (desk.home / "auth.json").stat().st_mode & 0o777 == 0o600


async def test_auth_mode_is_not_added_where_it_was_absent(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk(service=Service(valid_access=set()))
    write_login(desk.home, file(auth_mode=...))
    await desk.post()
    assert "auth_mode" not in desk.on_disk()
