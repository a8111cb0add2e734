"""Agent identities: the simulator checks what an agent signs, and the tests sign as an agent does."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_private_key

from codex_nb.simulator import GRACE, Simulator


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Agent:
    """An agent with its JWT."""

    def __init__(self, sim: Simulator, client: httpx.Client) -> None:
        self.sim, self.client = sim, client
        self.jwt = sim.new_agent_identity(GRACE)
        self.claims: dict[str, Any] = json.loads(unpadded(self.jwt.split(".")[1]))
        key = load_der_private_key(base64.b64decode(self.claims["agent_private_key"]), None)
        assert isinstance(key, Ed25519PrivateKey)
        self.key = key
        self.runtime_id = str(self.claims["agent_runtime_id"])

    def sign(self, text: str) -> str:
        return base64.b64encode(self.key.sign(text.encode())).decode()

    def register(self, *, signed: str | None = None) -> httpx.Response:
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        body = {"timestamp": now, "signature": self.sign(signed or f"{self.runtime_id}:{now}")}
        url = f"{self.sim.issuer}/api/accounts/v1/agent/{self.runtime_id}/task/register"
        return self.client.post(url, json=body)

    def usage(self, task_id: str, moment: datetime) -> httpx.Response:
        timestamp = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
        assertion = {
            "agent_runtime_id": self.runtime_id,
            "signature": self.sign(f"{self.runtime_id}:{task_id}:{timestamp}"),
            "task_id": task_id,
            "timestamp": timestamp,
        }
        packed = base64.urlsafe_b64encode(json.dumps(assertion).encode()).rstrip(b"=").decode()
        headers = {"authorization": f"AgentAssertion {packed}"}
        return self.client.get(f"{self.sim.chatgpt_base_url}/wham/usage", headers=headers)


@pytest.fixture
def agent(sim: Simulator, client: httpx.Client) -> Agent:
    return Agent(sim, client)


def test_the_published_key_verifies_the_identity(agent: Agent) -> None:
    (key,) = agent.client.get(f"{agent.sim.chatgpt_base_url}/wham/agent-identities/jwks").json()["keys"]
    numbers = RSAPublicNumbers(*(int.from_bytes(unpadded(key[name]), "big") for name in ("e", "n")))
    signed, _, signature = agent.jwt.rpartition(".")
    numbers.public_key().verify(unpadded(signature), signed.encode(), PKCS1v15(), SHA256())
    assert json.loads(unpadded(signed.split(".")[0]))["kid"] == key["kid"]


def test_a_signed_assertion_of_a_registered_task_is_accepted(agent: Agent) -> None:
    task_id = agent.register().json()["task_id"]
    assert agent.usage(task_id, datetime.now(UTC)).json()["email"] == GRACE.email


def test_tasks_signatures_and_times_are_checked(agent: Agent) -> None:
    now = datetime.now(UTC)
    assert agent.register(signed="another text").status_code == 401
    task_id = agent.register().json()["task_id"]
    assert agent.usage("task_unknown", now).status_code == 401
    assert agent.usage(task_id, now - timedelta(hours=1)).status_code == 401
    stranger = {"authorization": "AgentAssertion bm90IGpzb24"}
    answer = agent.client.get(f"{agent.sim.chatgpt_base_url}/wham/usage", headers=stranger)
    assert answer.status_code == 401
