"""Agent identities: signed JWTs, task registration, signed assertions (needs ``cryptography``, imported when used)."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from codex_nb.simulator import tokens as jwt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from codex_nb.simulator.accounts import Person


ISSUER = "https://chatgpt.com/codex-backend/agent-identity"
AUDIENCE = "codex-app-server"
_KEY_ID = "simulator-agent-1"
_MAX_SKEW_S = 300.0


@dataclass
class Agent:
    """One agent that was given an identity."""

    runtime_id: str
    person: Person
    public_key: Ed25519PublicKey
    tasks: set[str] = field(default_factory=set)


@dataclass
class AgentOffice:
    """Gives out agent identities and checks what they sign; ``clock`` gives unix seconds."""

    clock: Callable[[], float]
    _signing_key: RSAPrivateKey | None = None
    _agents: dict[str, Agent] = field(default_factory=dict)

    def new_identity(self, person: Person, lifetime_s: float = 3600.0) -> str:
        """The JWT of a new agent: its private key is in the claims."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        private_key = Ed25519PrivateKey.generate()
        runtime_id = "agent_sim_" + secrets.token_hex(8)
        self._agents[runtime_id] = Agent(runtime_id, person, private_key.public_key())
        pkcs8 = private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        now = int(self.clock())
        return self._sign(
            {
                "iss": ISSUER,
                "aud": AUDIENCE,
                "iat": now,
                "exp": int(now + lifetime_s),
                "agent_runtime_id": runtime_id,
                "agent_private_key": base64.b64encode(pkcs8).decode(),
                "account_id": person.account_id,
                "chatgpt_user_id": person.user_id,
                "email": person.email,
                "plan_type": person.plan,
                "chatgpt_account_is_fedramp": person.is_fedramp,
            }
        )

    def jwks(self) -> dict[str, Any]:
        """The public key that verifies the JWTs."""
        numbers = self._key().public_key().public_numbers()
        key = {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": _KEY_ID,
            "n": jwt.encode_part(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")),
            "e": jwt.encode_part(numbers.e.to_bytes(3, "big")),
        }
        return {"keys": [key]}

    def register_task(self, runtime_id: str, body: Mapping[str, Any]) -> str | None:
        """A new task id for a signed registration; None when the signature is not the agent's."""
        agent = self._agents.get(runtime_id)
        timestamp = str(body.get("timestamp", ""))
        if agent is None or not self._is_recent(timestamp):
            return None
        if not _verifies(agent.public_key, str(body.get("signature", "")), f"{runtime_id}:{timestamp}"):
            return None
        task_id = "task_sim_" + secrets.token_hex(8)
        agent.tasks.add(task_id)
        return task_id

    def check_assertion(self, assertion: str) -> Person | None:
        """Whose agent signed this ``AgentAssertion``; None when it does not hold."""
        try:
            parts = json.loads(jwt.decode_part(assertion))
            runtime_id, task_id = str(parts["agent_runtime_id"]), str(parts["task_id"])
            timestamp, signature = str(parts["timestamp"]), str(parts["signature"])
        except (ValueError, KeyError, TypeError):
            return None
        agent = self._agents.get(runtime_id)
        if agent is None or task_id not in agent.tasks or not self._is_recent(timestamp):
            return None
        signed = f"{runtime_id}:{task_id}:{timestamp}"
        return agent.person if _verifies(agent.public_key, signature, signed) else None

    def _is_recent(self, timestamp: str) -> bool:
        try:
            moment = datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError:
            return False
        return abs(self.clock() - moment.timestamp()) <= _MAX_SKEW_S

    def _key(self) -> RSAPrivateKey:
        from cryptography.hazmat.primitives.asymmetric import rsa

        if self._signing_key is None:
            self._signing_key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
        return self._signing_key

    def _sign(self, claims: Mapping[str, Any]) -> str:
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        head = jwt.encode_part(jwt.compact_json({"alg": "RS256", "typ": "JWT", "kid": _KEY_ID}))
        signed = f"{head}.{jwt.encode_part(jwt.compact_json(dict(claims)))}"
        signature = self._key().sign(signed.encode(), PKCS1v15(), SHA256())
        return f"{signed}.{jwt.encode_part(signature)}"


def _verifies(key: Ed25519PublicKey, signature: str, text: str) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(base64.b64decode(signature, validate=True), text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True
