"""Agent identities: the JWT is checked, a task registered once, every request signed by the agent's own key."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from nacl.public import SealedBox
from nacl.signing import SigningKey

from codex_nb.auth.accounts import AgentKey
from codex_nb.auth.credentials import decode_base64url, encode_base64url
from codex_nb.errors import CodexError, RefreshFailed, SignInRequired
from tests.auth.fakes import BACKEND, ISSUER, NOW, body, write_login

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.auth.fakes import LoginFixture

pytestmark = pytest.mark.anyio

JWKS = "/backend-api/wham/agent-identities/jwks"
REGISTER = "/api/accounts/v1/agent/agent-fab-1/task/register"
RESPONSES = "/backend-api/codex/responses"
SIGNER = generate_private_key(65537, 2048)
STRANGER = generate_private_key(65537, 2048)


@dataclass
class Agent:
    """An agent with a key, and the service that knows it."""

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def claims(self) -> dict[str, Any]:
        encoded = self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return {
            "iss": "https://chatgpt.com/codex-backend/agent-identity",
            "aud": "codex-app-server",
            "iat": int(NOW.timestamp()),
            "exp": int((NOW + timedelta(days=1)).timestamp()),
            "agent_runtime_id": "agent-fab-1",
            "agent_private_key": base64.b64encode(encoded).decode(),
            "account_id": "acct-1",
            "chatgpt_user_id": "user-1",
            "email": "ada@fab.example",
            "plan_type": "business",
            "chatgpt_account_is_fedramp": True,
        }

    def jwt(
        self, signer: RSAPrivateKey = SIGNER, kid: str = "key-1", alg: str = "RS256", **changes: Any
    ) -> str:
        parts = [{"alg": alg, "kid": kid}, {**self.claims, **changes}]
        signed = ".".join(encode_base64url(json.dumps(part).encode()) for part in parts)
        return f"{signed}.{encode_base64url(signer.sign(signed.encode(), PKCS1v15(), SHA256()))}"

    def serve(self, desk: LoginFixture, task: dict[str, Any] | None = None) -> None:
        numbers = SIGNER.public_key().public_numbers()
        size = (numbers.n.bit_length() + 7) // 8
        key = {"kty": "RSA", "kid": "key-1", "e": "AQAB", "n": encode_base64url(numbers.n.to_bytes(size))}
        desk.service.on[JWKS] = lambda _: httpx.Response(200, json={"keys": ["odd", key]})
        desk.service.on[REGISTER] = lambda _: httpx.Response(200, json=task or {"task_id": "task-fab-1"})

    def opened(self, authorization: str) -> dict[str, str]:
        """Check an assertion as the service does and give what it says."""
        scheme, _, assertion = authorization.partition(" ")
        assert scheme == "AgentAssertion"
        envelope = json.loads(decode_base64url(assertion))
        message = "{agent_runtime_id}:{task_id}:{timestamp}".format(**envelope)
        self.key.public_key().verify(base64.b64decode(envelope.pop("signature")), message.encode())
        return envelope


async def test_every_request_carries_an_assertion_of_its_own(make_desk: Callable[..., LoginFixture]) -> None:
    agent = Agent()
    desk = make_desk(environ={"CODEX_ACCESS_TOKEN": agent.jwt()})
    agent.serve(desk)
    await desk.post()
    desk.service.clock.now += timedelta(minutes=1)
    await desk.post()

    first, second = [one.headers for one in desk.service.requests if one.url.path == RESPONSES]
    facts = {"agent_runtime_id": "agent-fab-1", "task_id": "task-fab-1"}
    assert agent.opened(first["authorization"]) == {**facts, "timestamp": "2026-11-20T20:00:00Z"}
    assert agent.opened(second["authorization"]) == {**facts, "timestamp": "2026-11-20T20:01:00Z"}
    assert {name: first[name] for name in ("chatgpt-account-id", "x-openai-fedramp")} == {
        "chatgpt-account-id": "acct-1",
        "x-openai-fedramp": "true",
    }
    envelope = decode_base64url(first["authorization"].split(" ")[1])
    assert list(json.loads(envelope)) == ["agent_runtime_id", "signature", "task_id", "timestamp"]
    assert desk.service.counts == {JWKS: 1, REGISTER: 1, RESPONSES: 2}


async def test_the_task_is_registered_with_a_signature(make_desk: Callable[..., LoginFixture]) -> None:
    agent = Agent()
    desk = make_desk(environ={"CODEX_AGENT_IDENTITY": agent.jwt()})
    agent.serve(desk)
    await desk.post()
    (request,) = [one for one in desk.service.requests if one.url.path == REGISTER]
    assert str(request.url) == f"{ISSUER}{REGISTER}"
    sent = body(request)
    assert sent["timestamp"] == "2026-11-20T20:00:00Z"
    agent.key.public_key().verify(base64.b64decode(sent["signature"]), b"agent-fab-1:2026-11-20T20:00:00Z")


@pytest.mark.parametrize("where", ["a variable", "the store"])
async def test_a_task_that_the_service_has_forgotten_is_registered_again(
    where: str, make_desk: Callable[..., LoginFixture]
) -> None:
    agent = Agent()
    desk = make_desk(environ={"CODEX_ACCESS_TOKEN": agent.jwt()} if where == "a variable" else {})
    if where == "the store":
        write_login(desk.home, {"auth_mode": "agentIdentity", "agent_identity": agent.jwt()})
    agent.serve(desk)
    tasks = iter(["task-1", "task-2", "task-3"])
    desk.service.on[REGISTER] = lambda _: httpx.Response(200, json={"task_id": next(tasks)})
    known = {"task-1"}

    def answer(request: httpx.Request) -> httpx.Response:
        is_known = agent.opened(request.headers["authorization"])["task_id"] in known
        return httpx.Response(200 if is_known else 401, json={})

    desk.service.on[RESPONSES] = answer
    assert (await desk.post()).status_code == 200
    known = {"task-2"}
    assert [(await desk.post()).status_code for _ in range(2)] == [200, 200]
    known = set()
    # One other task is tried for a request, not one after the other.
    assert (await desk.post()).status_code == 401
    assert desk.service.counts[REGISTER] == 3


@pytest.mark.parametrize("name", ["task_id", "taskId"])
async def test_a_task_may_be_named_either_way(name: str, make_desk: Callable[..., LoginFixture]) -> None:
    agent = Agent()
    desk = make_desk(environ={"CODEX_ACCESS_TOKEN": agent.jwt()})
    agent.serve(desk, {name: "task-fab-2"})
    await desk.post()
    assert agent.opened(desk.service.requests[-1].headers["authorization"])["task_id"] == "task-fab-2"


@pytest.mark.parametrize("name", ["encrypted_task_id", "encryptedTaskId"])
async def test_a_sealed_task_is_opened_with_the_agents_key(
    name: str, make_desk: Callable[..., LoginFixture]
) -> None:
    agent = Agent()
    sealed = base64.b64encode(seal(b"task-sealed-" + b"x" * 100, agent.key)).decode()
    desk = make_desk(environ={"CODEX_ACCESS_TOKEN": agent.jwt()})
    agent.serve(desk, {name: sealed})
    await desk.post()
    opened = agent.opened(desk.service.requests[-1].headers["authorization"])
    assert opened["task_id"] == "task-sealed-" + "x" * 100


@pytest.mark.parametrize("kind", ["a JWT", "a record"])
async def test_an_identity_in_auth_json_signs_too(kind: str, make_desk: Callable[..., LoginFixture]) -> None:
    agent = Agent()
    desk = make_desk()
    value = agent.jwt() if kind == "a JWT" else agent.claims
    write_login(desk.home, {"auth_mode": "agentIdentity", "agent_identity": value})
    agent.serve(desk)
    assert (await desk.post()).status_code == 200
    assert agent.opened(desk.service.requests[-1].headers["authorization"])["task_id"] == "task-fab-1"


async def test_a_401_is_final_and_costs_one_request(make_desk: Callable[..., LoginFixture]) -> None:
    agent = Agent()
    desk = make_desk(environ={"CODEX_ACCESS_TOKEN": agent.jwt()})
    agent.serve(desk)
    desk.service.on[RESPONSES] = lambda _: httpx.Response(401)
    assert (await desk.post()).status_code == 401
    assert desk.service.counts[RESPONSES] == 1


INVALID: list[tuple[str, dict[str, Any], str]] = [
    ("another issuer", {"iss": "https://fab.example"}, "it was issued by another service"),
    ("another audience", {"aud": "fab"}, "intended for another service"),
    ("a stranger's signature", {"signer": STRANGER}, "signature is invalid"),
    ("an unknown key", {"kid": "key-2"}, "unknown key"),
    ("another algorithm", {"alg": "HS256"}, "not signed with RS256"),
    ("no algorithm", {"alg": "none"}, "not signed with RS256"),
    ("expired", {"exp": int(NOW.timestamp())}, "it has expired"),
    ("no runtime id", {"agent_runtime_id": None}, "id or key is missing"),
    ("no key", {"agent_private_key": None}, "id or key is missing"),
    (
        "a key of another kind",
        {"agent_private_key": base64.b64encode(b"nonsense").decode()},
        "not an Ed25519 key",
    ),
]


@pytest.mark.parametrize(("name", "changes", "words"), INVALID, ids=[row[0] for row in INVALID])
async def test_an_identity_that_does_not_hold_is_a_sign_in(
    name: str, changes: dict[str, Any], words: str, make_desk: Callable[..., LoginFixture]
) -> None:
    del name
    agent = Agent()
    desk = make_desk(environ={"CODEX_ACCESS_TOKEN": agent.jwt(**changes)})
    agent.serve(desk)
    with pytest.raises(SignInRequired, match=words):
        await desk.post()
    assert desk.service.counts[RESPONSES] == 0


@pytest.mark.parametrize("token", ["garbage-0123456789", "a.b.c", "eyJhbGciOiJSUzI1NiJ9.e30.AA"])
async def test_garbage_is_a_sign_in(token: str, make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk(environ={"CODEX_ACCESS_TOKEN": token})
    Agent().serve(desk)
    with pytest.raises(SignInRequired):
        await desk.post()


FAILURES = [
    (JWKS, httpx.Response(500), "its keys could not be fetched"),
    (JWKS, httpx.Response(200, json={}), "its keys could not be fetched"),
    (JWKS, httpx.Response(200, text="<html>"), "the response is invalid"),
    (JWKS, httpx.ConnectError("no"), "could not be reached"),
    (REGISTER, httpx.Response(403), "its task could not be registered"),
    (REGISTER, httpx.Response(200, json={}), "contains no task id"),
    (REGISTER, httpx.Response(200, json={"encrypted_task_id": "AAAA"}), "contains no task id"),
    (REGISTER, httpx.ReadTimeout("slow"), "did not answer in time"),
]


@pytest.mark.parametrize(("where", "answer", "words"), FAILURES)
async def test_a_service_that_fails_may_be_tried_again(
    where: str, answer: httpx.Response | Exception, words: str, make_desk: Callable[..., LoginFixture]
) -> None:
    agent = Agent()
    desk = make_desk(environ={"CODEX_ACCESS_TOKEN": agent.jwt()})
    agent.serve(desk)
    served = desk.service.on.pop(where)
    desk.service.on[where] = lambda _: answer
    with pytest.raises(RefreshFailed, match=words) as raised:
        await desk.post()
    assert raised.value.retryable
    desk.service.on[where] = served
    assert (await desk.post()).status_code == 200


async def test_without_cryptography_an_agent_identity_says_what_to_install(
    make_desk: Callable[..., LoginFixture], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nacl", None)
    desk = make_desk(environ={"CODEX_ACCESS_TOKEN": Agent().jwt()})
    with pytest.raises(SignInRequired, match="requires additional packages") as raised:
        await desk.post()
    assert raised.value.hint == "Install it with: pip install 'codex-nb[agent-identity]'"


@pytest.mark.parametrize("sealed", ["not base64", "", base64.b64encode(bytes(200)).decode()])
async def test_a_sealed_task_that_cannot_be_opened_is_no_task(
    sealed: str, make_desk: Callable[..., LoginFixture]
) -> None:
    agent = Agent()
    desk = make_desk(environ={"CODEX_ACCESS_TOKEN": agent.jwt()})
    agent.serve(desk, {"encrypted_task_id": sealed})
    with pytest.raises(RefreshFailed, match="contains no task id"):
        await desk.post()


ADDRESSES: list[tuple[dict[str, str], str, str]] = [
    ({}, f"{BACKEND}/wham/agent-identities/jwks", f"{ISSUER}/api/accounts/v1"),
    (
        {
            "agent_jwks_base_url": "https://jwks.example/base",
            "agent_authapi_base_url": "https://authapi.example/",
        },
        "https://jwks.example/base/wham/agent-identities/jwks",
        "https://authapi.example/v1",
    ),
    (
        {"chatgpt_base_url": "http://127.0.0.1:9/backend-api"},
        "http://127.0.0.1:9/backend-api/wham/agent-identities/jwks",
        "http://127.0.0.1:9/backend-api/v1",
    ),
]


@pytest.mark.parametrize(("settings", "jwks", "authapi"), ADDRESSES)
async def test_the_addresses_are_the_clis(
    settings: dict[str, str], jwks: str, authapi: str, make_desk: Callable[..., LoginFixture]
) -> None:
    agent = Agent()
    desk = make_desk(environ={"CODEX_ACCESS_TOKEN": agent.jwt()}, settings=settings)
    agent.serve(desk)
    serve_keys, serve_task = desk.service.on.pop(JWKS), desk.service.on.pop(REGISTER)
    desk.service.on[httpx.URL(jwks).path] = serve_keys
    desk.service.on[httpx.URL(f"{authapi}/agent/agent-fab-1/task/register").path] = serve_task
    await desk.manager.current()
    assert [str(one.url) for one in desk.service.requests] == [
        jwks,
        f"{authapi}/agent/agent-fab-1/task/register",
    ]


async def test_an_insecure_address_is_refused(make_desk: Callable[..., LoginFixture]) -> None:
    desk = make_desk(
        environ={"CODEX_ACCESS_TOKEN": Agent().jwt()}, settings={"agent_jwks_base_url": "http://jwks.example"}
    )
    with pytest.raises(CodexError, match="neither https nor on this machine"):
        await desk.post()
    assert desk.service.requests == []


def seal(text: bytes, key: Ed25519PrivateKey) -> bytes:
    """Make a sealed box as libsodium's crypto_box_seal does."""
    recipient = SigningKey(key.private_bytes_raw()).to_curve25519_private_key().public_key
    return bytes(SealedBox(recipient).encrypt(text))


def test_a_sealed_box_that_was_changed_or_is_for_another_stays_closed() -> None:
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    box = seal(b"task", key)
    opened = [
        AgentKey(who.private_bytes_raw()).unseal(base64.b64encode(sealed).decode())
        for who, sealed in ((key, box), (other, box), (key, box[:-1] + bytes([box[-1] ^ 1])), (key, box[:40]))
    ]
    assert opened == ["task", None, None, None]
