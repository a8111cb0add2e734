"""The login of every source, as the agent's process gets it: when it starts, when a token is refused, and on disk."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from codex_nb.agent.app_server import AppServer
from codex_nb.agent.engine import AgentEngine
from codex_nb.auth.sources import ExternalTokens, TokenRequest
from codex_nb.auth.store import FileStore, KeyringStore, MemoryStore
from codex_nb.session.events import Notice
from codex_nb.simulator import End, Reply, Say, Think
from codex_nb.simulator.accounts import ADA, GRACE, Account
from tests.agent.conftest import Stage, install_fake, said
from tests.auth.conftest import home, make_desk
from tests.auth.fakes import NOW, LoginFixture, access_token, id_token
from tests.auth.test_hub_source import ENVIRON as HUB
from tests.auth.test_hub_source import PATH as HUB_PATH
from tests.auth.test_hub_source import gives
from tests.auth.test_stores import Keyring, document

__all__ = ["home", "make_desk"]

pytestmark = pytest.mark.anyio

MINE, NEWER = (access_token(NOW + timedelta(hours=hours), serial=hours) for hours in (1, 4))
THEIRS = access_token(NOW + timedelta(hours=1), serial=3, account_id="acct-2")
KEY = "sk-of-the-user-0123456789"


def tokens_of(token: str) -> dict[str, str]:
    account = "acct-2" if token == THEIRS else "acct-1"
    return {"access_token": token, "id_token": id_token(account), "account_id": account}


@dataclass
class Source:
    """A login somewhere: the parts of a session that has it, and what makes the place give another token."""

    options: dict[str, Any] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[LoginFixture], None] = lambda _desk: None
    give: Callable[[LoginFixture, str], None] = lambda _desk, _token: None


def stored_in(store: Any) -> Source:
    """Return the source that a store is; another process of the user's writes a newer login into it."""

    def give(_desk: LoginFixture, token: str) -> None:
        store.save(document(tokens=tokens_of(token)))

    return Source({"store": store}, prepare=lambda desk: give(desk, MINE), give=give)


def of_a_hub() -> Source:
    def give(desk: LoginFixture, token: str) -> None:
        desk.service.on[HUB_PATH] = gives(token)

    return Source(environ=HUB, prepare=lambda desk: give(desk, MINE), give=give)


def of_a_host_program() -> Source:
    tokens = [MINE]

    def provide(_request: TokenRequest) -> ExternalTokens:
        return ExternalTokens(SecretStr(tokens[-1]), None, "plus")

    return Source({"external": provide}, give=lambda _desk, token: tokens.append(token))


SOURCES: dict[str, Callable[[Path], Source]] = {
    "file": lambda home: stored_in(FileStore(home / "auth.json")),
    "keyring": lambda home: stored_in(KeyringStore(home, backend=Keyring())),
    "memory": lambda _home: stored_in(MemoryStore()),
    "host program": lambda _home: of_a_host_program(),
    "hub": lambda _home: of_a_hub(),
}


@dataclass
class Started:
    """An agent whose program was started with a login."""

    desk: LoginFixture
    source: Source
    engine: AgentEngine
    folder: Path
    server: AppServer

    def seen(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "seen.jsonl").read_text().splitlines()]

    def handed_in(self) -> list[str]:
        """Return the tokens that the program was given at its start."""
        return [
            each["params"]["accessToken"]
            for each in self.seen()
            if each.get("method") == "account/login/start"
        ]

    async def asked_for_another(self) -> list[Any]:
        """Let the program ask for a new token; return the answers."""
        await self.server.request("turn/start", {})
        answers: list[Any] = []
        while not answers:
            await self.server.request("account/read", {})
            answers = [each.get("result", each.get("error")) for each in self.seen() if each.get("id") == 77]
        return answers

    def on_disk(self) -> bytes:
        agent = self.desk.home / "codex_nb"
        return b"".join(each.read_bytes() for each in agent.rglob("*") if each.is_file())


Start = Callable[[str], Awaitable[Started]]


@pytest.fixture
def start(make_desk: Callable[..., LoginFixture], tmp_path: Path) -> Start:
    """Sign in at a source, and put the program there that asks once for a new token."""

    async def start_it(name: str) -> Started:
        asks = {"id": 77, "method": "account/chatgptAuthTokens/refresh", "params": {"reason": "unauthorized"}}
        program = install_fake(tmp_path / "bin", [{"raw": json.dumps(asks)}])
        source = SOURCES[name](tmp_path / "codex-home")
        desk = make_desk(environ=source.environ, options=source.options)
        source.prepare(desk)
        environ = {"CODEX_NB_CODEX": str(program), "CODEX_HOME": str(desk.home), **source.environ}
        engine = AgentEngine(desk.manager.settings, environ, desk.manager)
        return Started(desk, source, engine, tmp_path / "bin", await engine.server())

    return start_it


@pytest.mark.parametrize("name", list(SOURCES))
async def test_the_login_of_each_source_is_handed_in_and_is_neither_a_variable_nor_a_file(
    start: Start, name: str
) -> None:
    agent = await start(name)
    assert agent.handed_in() == [MINE]
    environ = (agent.folder / "environ.json").read_text()
    assert [secret for secret in (MINE, HUB["JUPYTERHUB_API_TOKEN"]) if secret in environ] == []
    assert MINE.encode() not in agent.on_disk()
    await agent.engine.close()
    assert MINE.encode() not in agent.on_disk()


@pytest.mark.parametrize("name", list(SOURCES))
async def test_a_refused_token_is_replaced_from_the_source_that_it_came_from(start: Start, name: str) -> None:
    agent = await start(name)
    agent.source.give(agent.desk, NEWER)
    (answer,) = await agent.asked_for_another()
    assert answer == {"accessToken": NEWER, "chatgptAccountId": "acct-1", "chatgptPlanType": "plus"} | (
        {"chatgptPlanType": "pro"} if name == "hub" else {}
    )
    await agent.engine.close()


@pytest.mark.parametrize("name", list(SOURCES))
async def test_neither_another_accounts_token_nor_the_refused_one_is_given(start: Start, name: str) -> None:
    agent = await start(name)
    agent.source.give(agent.desk, THEIRS)
    (answer,) = await agent.asked_for_another()
    assert "accessToken" not in answer
    await agent.engine.close()


@pytest.mark.parametrize("name", list(SOURCES))
async def test_a_newer_token_is_handed_in_before_the_next_turn(start: Start, name: str) -> None:
    agent = await start(name)
    agent.source.give(agent.desk, NEWER)
    agent.desk.service.clock.now += timedelta(minutes=61)  # the first one has expired
    await agent.engine.server()
    assert agent.handed_in() == [MINE, NEWER]
    await agent.engine.close()


async def test_a_key_reaches_the_program_by_its_own_variable_alone(
    make_desk: Callable[..., LoginFixture], tmp_path: Path
) -> None:
    program = install_fake(tmp_path / "bin")
    desk = make_desk(environ={"CODEX_API_KEY": KEY})
    environ = {"CODEX_NB_CODEX": str(program), "CODEX_HOME": str(desk.home), "CODEX_API_KEY": KEY}
    engine = AgentEngine(desk.manager.settings, environ, desk.manager)
    await engine.server()
    child = json.loads((tmp_path / "bin" / "environ.json").read_text())
    assert [name for name, value in child.items() if KEY in value] == ["CODEX_NB_PROVIDER_KEY"]
    assert "account/login/start" not in (tmp_path / "bin" / "seen.jsonl").read_text()
    await engine.close()


@pytest.mark.parametrize("asker", [ADA, GRACE], ids=["the same account", "another account"])
@pytest.mark.parametrize("ways", [(True, True), (False, True), (True, False), (False, False)])
async def test_what_is_encrypted_for_one_account_reaches_no_other_by_the_agent_or_by_requests(
    stage: Stage, ways: tuple[bool, bool], asker: Account
) -> None:
    """The CLI's own thread is given up with the account: the reasoning in it is that account's."""
    stage.sim.add_replies(Reply(stream=(Think(("Hm.",)), Say("Yes."), End()), times=None))
    async with stage.opened(said("Yes.")) as profile:
        await stage.ask(profile, agent=ways[0])
    stage.sim.requests.clear()
    (stage.folder / "seen.jsonl").unlink(missing_ok=True)
    async with stage.opened(said("Yes."), account=asker) as profile:
        events, last = await stage.ask(profile, agent=ways[1])
    assert last.answer.status == "completed"
    assert any("different account" in each.text for each in events if isinstance(each, Notice)) is (
        asker is GRACE
    )
    sent = [item for request in stage.sim.requests.to("/responses") for item in request.body["input"]]
    if ways[1]:
        assert stage.methods().count("thread/resume") == (ways[0] and asker is ADA)
        injected = [
            each["params"]["items"] for each in stage.seen if each.get("method") == "thread/inject_items"
        ]
        sent = [item for items in injected for item in items]
        assert (ways[0] and asker is ADA) or sent
    kinds = {item["type"] for item in sent}
    assert ("reasoning" in kinds) is (not ways[0] and asker is ADA)
