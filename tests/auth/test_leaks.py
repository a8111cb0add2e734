"""Nothing leaks: a fault at every network and file step, and no secret in any error, repr, log or leftover file.

The scan looks for the values and for their base64, URL-encoded, JSON and hexadecimal forms. Tracebacks are looked at
with the local variables of every frame of the whole chain, as ``%xmode Verbose`` and crash reports do.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pydantic import SecretStr

from codex_nb.auth.credentials import AuthFile
from codex_nb.auth.login import (
    AccessTokenLogin,
    ApiKeyLogin,
    BrowserLogin,
    DeviceCodeLogin,
    LoginFlow,
    OpenUrl,
)
from codex_nb.auth.store import FileStore, KeyringStore
from codex_nb.doctor import examine
from codex_nb.errors import CredentialsUnreadable
from codex_nb.ui.account import login_status
from tests.auth.fakes import NOW, LoginFixture, Service, access_token, id_token, login, write_login
from tests.auth.test_agent import Agent
from tests.leaks import assert_no_leak, find_leaks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from types import FrameType

pytestmark = pytest.mark.anyio

KEY = "sk-fab-leak-0123456789abcdef"
PAT = "at-fab-leak-0123456789abcdef"
SECRETS = {
    "the refresh token": "rt_fab_0_0123456789abcdef",
    "the access token": access_token(NOW + timedelta(minutes=-5)),
    "the ID token": id_token(),
    "the owner id": "owner_fab_0123456789",
    "the unknown secret": "unknown-fab-secret-0123456789",
    "the authorization code": "code_fab_1_long",
    "the code verifier": "verifier_fab_1",
    "the device id": "device_fab_1",
    "the API key": KEY,
    "the personal access token": PAT,
    "the new refresh token": "rt_fab_1_0123456789abcdef",
}
TESTS = Path(__file__).parent.parent
PATHS = ("/oauth/token", "/oauth/revoke", "/backend-api/codex/responses")


@dataclass
class Watch:
    """Everything that can be seen from outside."""

    seen: list[tuple[str, str]] = field(default_factory=list)

    def note(self, place: str, text: object) -> None:
        self.seen.append((place, str(text)))

    def error(self, error: BaseException) -> None:
        """Note the error, its whole chain whether shown or hidden, and the local variables of every frame."""
        self.note("a traceback", "".join(traceback.format_exception(error)))
        links = [error]
        for link in links:
            self.note("the chain of errors", f"{link!r} {vars(link)!r} {link.args!r}")
            links += [
                one for one in (link.__cause__, link.__context__) if one is not None and one not in links
            ]
            for frame, _ in traceback.walk_tb(link.__traceback__):
                self.frame(frame)

    def frame(self, frame: FrameType) -> None:
        """Note a frame as a verbose traceback shows it; the tests' own frames know the secrets, of course."""
        if TESTS not in Path(frame.f_code.co_filename).parents:
            place = f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_name}"
            self.note(
                f"the local variables of {place}",
                {name: repr(value) for name, value in frame.f_locals.items()},
            )

    def check(self, secrets: dict[str, str]) -> None:
        assert self.seen
        for place, text in self.seen:
            assert_no_leak(text, secrets, place)


@contextmanager
def watching(secrets: dict[str, str]) -> Iterator[Watch]:
    """Record all logging at every level, and scan what was seen at the end."""
    watch = Watch()
    handler = logging.Handler(level=0)
    handler.emit = lambda record: watch.note("the log", handler.format(record))  # type: ignore[method-assign]  # a probe
    root = logging.getLogger()
    level, root.level = root.level, 0
    root.addHandler(handler)
    try:
        yield watch
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    watch.check(secrets)


FAULTS: list[tuple[str, Any]] = [
    ("no connection", lambda request: httpx.ConnectError("no", request=request)),
    ("no answer", lambda request: httpx.ReadTimeout("slow", request=request)),
    ("cut", lambda request: httpx.RemoteProtocolError("cut", request=request)),
    ("400 echo", lambda request: httpx.Response(400, content=request.content)),
    ("401 echo", lambda request: httpx.Response(401, content=request.content)),
    ("500 echo", lambda request: httpx.Response(500, content=request.content)),
    ("200 nonsense", lambda request: httpx.Response(200, content=b"<" + request.content)),
    (
        "200 wrong types",
        lambda _: httpx.Response(200, json={"access_token": {"x": SECRETS["the new refresh token"]}}),
    ),
    (
        "200 half of it",
        lambda _: httpx.Response(
            200,
            json={
                **dict.fromkeys(("device_auth_id", "authorization_code"), SECRETS["the authorization code"]),
                **dict.fromkeys(("access_token", "refresh_token"), SECRETS["the new refresh token"]),
                **dict.fromkeys(("user_code", "code_verifier", "id_token"), 5),
            },
        ),
    ),
    ("an odd error", lambda _: ValueError("odd")),
]


def stored(**changes: Any) -> dict[str, Any]:
    tokens = {"access_token": SECRETS["the access token"]}
    return login(tokens=tokens, other_tool={"key": SECRETS["the unknown secret"]}, **changes)


async def attempt(watch: Watch, desk: LoginFixture, action: Callable[[], Awaitable[Any]]) -> None:
    try:
        watch.note("the outcome", repr(await action()))
    except Exception as error:  # noqa: BLE001  (whatever it is, it must not tell)
        watch.error(error)
    watch.note("the manager", f"{desk.manager!r} {vars(desk.manager)!r} {vars(desk.manager.stored)!r}")
    watch.note("the credentials", f"{desk.manager.peek()!r} {desk.manager.peek()}")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("name", "fault"), FAULTS, ids=[name for name, _ in FAULTS])
async def test_a_fault_on_the_network_tells_nothing(
    name: str, fault: Any, path: str, make_desk: Callable[..., LoginFixture]
) -> None:
    del name
    desk = make_desk(service=Service(valid_access=set()))
    write_login(desk.home, stored())
    desk.service.on[path] = fault
    with watching(SECRETS) as watch:
        await attempt(watch, desk, desk.post)
        await attempt(watch, desk, desk.manager.sign_out)
        watch.note("the status", await login_status(desk.manager))


LOGIN_PATHS = {
    "device": (
        "/api/accounts/deviceauth/usercode",
        "/api/accounts/deviceauth/token",
        "/oauth/token",
        "/oauth/revoke",
    ),
    "browser": ("/oauth/token",),
    "api_key": ("/oauth/revoke",),
    "access_token": ("/api/accounts/v1/user-auth-credential/whoami",),
}
LOGIN_STEPS = [(kind, path) for kind, paths in LOGIN_PATHS.items() for path in paths]


@pytest.mark.parametrize(("kind", "path"), LOGIN_STEPS)
@pytest.mark.parametrize(("name", "fault"), FAULTS, ids=[name for name, _ in FAULTS])
async def test_a_fault_while_signing_in_tells_nothing(
    name: str, fault: Any, kind: str, path: str, make_desk: Callable[..., LoginFixture]
) -> None:
    del name
    desk = make_desk()
    write_login(desk.home, stored())
    confirm = {
        "authorization_code": SECRETS["the authorization code"],
        "code_verifier": SECRETS["the code verifier"],
    }
    desk.service.on["/api/accounts/deviceauth/token"] = lambda _: httpx.Response(200, json=confirm)
    desk.service.on[path] = fault
    secrets = dict(SECRETS)
    with watching(secrets) as watch:
        await attempt(watch, desk, lambda: sign_in(desk, kind, watch, secrets))
        await attempt(watch, desk, desk.post)


async def sign_in(desk: LoginFixture, kind: str, watch: Watch, secrets: dict[str, str]) -> None:
    kinds = {"device": DeviceCodeLogin, "api_key": ApiKeyLogin, "access_token": AccessTokenLogin}
    flow: LoginFlow = (
        BrowserLogin(desk.manager, ports=(0,)) if kind == "browser" else kinds[kind](desk.manager)
    )
    flow.submit(SecretStr({"api_key": KEY, "access_token": PAT}.get(kind, "garbage")))
    async for step in flow.steps():
        if isinstance(step, OpenUrl):
            query = httpx.URL(step.url).params
            code = SECRETS["the authorization code"]
            secrets["the pasted address"] = f"{query['redirect_uri']}?code={code}&state={query['state']}"
            flow.submit(SecretStr(secrets["the pasted address"]))
        else:
            watch.note("a step", repr(step))
        watch.note("the flow", f"{flow!r} {vars(flow)!r}")


AGENT_PATHS = ("/backend-api/wham/agent-identities/jwks", "/api/accounts/v1/agent/agent-fab-1/task/register")


@pytest.mark.parametrize("path", AGENT_PATHS)
@pytest.mark.parametrize(("name", "fault"), FAULTS, ids=[name for name, _ in FAULTS])
async def test_a_fault_of_an_agents_services_tells_nothing(
    name: str, fault: Any, path: str, make_desk: Callable[..., LoginFixture]
) -> None:
    del name
    agent = Agent()
    token = agent.jwt()
    secrets = {
        "the identity": token,
        "the agent's key": agent.claims["agent_private_key"],
        "the task": "task-fab-1",
    }
    desk = make_desk(environ={"CODEX_ACCESS_TOKEN": token})
    agent.serve(desk)
    served = desk.service.on[path]
    desk.service.on[path] = fault
    with watching(secrets) as watch:
        await attempt(watch, desk, desk.post)
        desk.service.on[path] = served
        await attempt(watch, desk, desk.post)
        sent = [one.headers.get("authorization", "") for one in desk.service.requests]
        assertions = [
            text.removeprefix("AgentAssertion ") for text in sent if text.startswith("AgentAssertion ")
        ]
        assert len(assertions) == 1
        secrets["the assertion"] = assertions[0]


@pytest.mark.parametrize(("name", "fault"), FAULTS, ids=[name for name, _ in FAULTS])
async def test_a_fault_of_a_hub_tells_nothing(
    name: str, fault: Any, make_desk: Callable[..., LoginFixture]
) -> None:
    del name
    key = "fabricated-hub-token-0123456789"
    environ = {"CODEX_NB_TOKEN_URL": "https://hub.test/codex/token", "JUPYTERHUB_API_TOKEN": key}
    desk = make_desk(environ=environ)
    desk.service.on["/codex/token"] = fault
    with watching(SECRETS | {"the hub's token": key}) as watch:
        await attempt(watch, desk, desk.post)
        await attempt(watch, desk, desk.post)


@pytest.mark.parametrize("identity", ["aa.bb", '{"a": "fabricated-identity-0123456789"}', '["fabricated-x"]'])
async def test_an_identity_that_is_none_tells_nothing(
    identity: str, make_desk: Callable[..., LoginFixture]
) -> None:
    identity = identity.replace("aa.bb", "fabricated-identity.0123456789")
    desk = make_desk(environ={"CODEX_ACCESS_TOKEN": identity})
    with watching({"the identity": identity}) as watch:
        await attempt(watch, desk, desk.post)


SPOILED = [
    ("torn", lambda text: text[: len(text) // 2]),
    ("torn at the end", lambda text: text[:-1]),
    ("a wrong type", lambda text: text.replace('"refresh_token": "', '"refresh_token": ["x"], "was": "')),
    ("a wrong mode", lambda text: text.replace('"auth_mode": "chatgpt"', '"auth_mode": "odd"')),
    ("a surrogate", lambda text: text.replace('"rt_fab', '"\\ud800rt_fab')),
    ("a line break in the token", lambda text: text.replace('"access_token": "', '"access_token": "\\n')),
    ("not ASCII in the token", lambda text: text.replace('"access_token": "', '"access_token": "ключ')),
]


@pytest.mark.parametrize(("name", "spoil"), SPOILED, ids=[name for name, _ in SPOILED])
async def test_a_spoiled_file_tells_nothing(
    name: str, spoil: Any, make_desk: Callable[..., LoginFixture]
) -> None:
    del name
    desk = make_desk(service=Service(valid_access=set()))
    path = write_login(desk.home, stored())
    text = path.read_text()
    assert spoil(text) != text
    path.write_text(spoil(text))
    with watching(SECRETS) as watch:
        await attempt(watch, desk, desk.post)
        watch.note("the status", await login_status(desk.manager))
        watch.note("the doctor", examine(desk.manager.settings, desk.environ, clock=desk.service.clock))


class FaultyStore(FileStore):
    """A file store whose n-th step fails, as a disk does."""

    def __init__(self, path: Any, failing: str) -> None:
        super().__init__(path, sleep=lambda _: None)
        self.failing = failing
        self.done = 0

    def load(self) -> AuthFile | None:
        self.done += 1
        if self.failing == f"load {self.done}":
            raise CredentialsUnreadable("The disk is gone.")
        return super().load()

    def save(self, document: AuthFile) -> None:
        if self.failing == "save":
            raise CredentialsUnreadable("The disk is full.")
        super().save(document)


@pytest.mark.parametrize("failing", ["load 1", "load 2", "load 3", "load 4", "save", "lock", "directory"])
async def test_a_fault_of_the_disk_tells_nothing(
    failing: str, make_desk: Callable[..., LoginFixture]
) -> None:
    desk = make_desk(service=Service(valid_access=set()))
    path = write_login(desk.home, stored())
    if failing == "lock":
        (desk.home / "auth.lock").mkdir()
    if failing == "directory":
        elsewhere = desk.home.parent / "elsewhere"
        write_login(elsewhere, stored())
        path.unlink()
        path.symlink_to(elsewhere / "auth.json")
        desk.service.on["/oauth/token"] = lambda _: elsewhere.rename(desk.home.parent / "away") and None
    desk.options["store"] = FaultyStore(path, failing)
    desk.manager = desk.open()
    with watching(SECRETS) as watch:
        for action in (desk.post, desk.post, desk.manager.sign_out):
            await attempt(watch, desk, action)


class LoudKeyring:
    """A keyring whose errors repeat what they were given, as some do."""

    def get_password(self, service: str, account: str) -> str:
        raise RuntimeError(f"{service} {account} {SECRETS['the refresh token']}")

    def set_password(self, service: str, account: str, value: str) -> None:
        raise RuntimeError(f"{service} {account} {value}")


async def test_a_keyring_that_tells_is_not_passed_on(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk()
    desk.options["store"] = KeyringStore(desk.home, backend=LoudKeyring())
    desk.manager = desk.open()
    with watching(SECRETS) as watch:
        await attempt(watch, desk, desk.post)
        await attempt(watch, desk, lambda: desk.manager.save_login(AuthFile.model_validate(stored())))
        await attempt(watch, desk, desk.manager.sign_out)


async def test_an_interrupt_at_any_moment_tells_nothing(make_desk: Callable[..., LoginFixture]) -> None:
    """The traceback of a cancelled request, with all its local variables."""
    for turns in range(1, 40):
        desk = make_desk(service=Service(valid_access=set()))
        write_login(desk.home, stored())
        with watching(SECRETS) as watch:
            task = asyncio.create_task(desk.post())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            try:
                watch.note("the outcome", repr(await task))
            except asyncio.CancelledError as error:
                watch.error(error)
            await desk.manager.close()


async def test_no_file_but_the_login_itself_holds_a_secret(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk(service=Service(valid_access=set()))
    write_login(desk.home, stored())
    await desk.post()
    holders = {path.name for path in desk.home.iterdir() if find_leaks(path.read_bytes(), SECRETS)}
    assert holders == {"auth.json"}


def test_the_scan_finds_what_it_is_meant_to_find() -> None:
    def spill() -> None:
        with watching(SECRETS) as watch:
            try:
                base64.b64decode(SECRETS["the refresh token"].encode(), validate=True)
            except ValueError as error:
                watch.error(error)

    def log() -> None:
        with watching(SECRETS):
            logging.getLogger("anybody").debug("key %s", KEY)

    with pytest.raises(
        AssertionError, match=r"the refresh token as itself in the local variables of base64\.py"
    ):
        spill()
    with pytest.raises(AssertionError, match="the API key as itself in the log"):
        log()
