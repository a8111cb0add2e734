"""The credentials that the simulator issues: tokens, keys, device codes, agent identities; and how it checks them.

ID and access tokens are JWTs signed with a key of this process (HS256): clients read their claims and never verify
them. Agent identities are signed with RS256, and clients do verify those; they need ``cryptography``, which is
imported when it is used. The stores belong to the server's event loop and take no locks.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from codex_nb.simulator.accounts import Account


# JSON web tokens

_HMAC_KEY = secrets.token_bytes(32)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _base64url_decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _jwt(header: Mapping[str, Any], claims: Mapping[str, Any], sign: Callable[[bytes], bytes]) -> str:
    parts = (json.dumps(part, separators=(",", ":")).encode() for part in (header, claims))
    signed = ".".join(map(_base64url, parts))
    return f"{signed}.{_base64url(sign(signed.encode()))}"


def _hs256(signed: bytes) -> bytes:
    return hmac.digest(_HMAC_KEY, signed, hashlib.sha256)


def _signed(claims: Mapping[str, Any]) -> str:
    return _jwt({"alg": "HS256", "typ": "JWT", "kid": "simulator"}, claims, _hs256)


def _verified_claims(token: str) -> dict[str, Any] | None:
    """The claims of a token that this process signed; None for any other text."""
    signed, _, signature = token.rpartition(".")
    if not hmac.compare_digest(_base64url(_hs256(signed.encode())), signature):
        return None
    claims: dict[str, Any] = json.loads(_base64url_decode(signed.split(".")[1]))
    return claims


def _subject(account: Account) -> str:
    return f"auth0|{account.user_id}"


def _account_claims(account: Account) -> dict[str, Any]:
    return {
        "chatgpt_account_id": account.account_id,
        "chatgpt_account_is_fedramp": account.is_fedramp,
        "chatgpt_plan_type": account.plan,
        "chatgpt_user_id": account.user_id,
        "user_id": account.user_id,
    }


def _id_claims(
    account: Account, issuer: str, client_id: str, now: float, lifetime_s: float
) -> dict[str, Any]:
    return {
        "aud": [client_id],
        "auth_provider": "password",
        "email": account.email,
        "email_verified": True,
        "exp": int(now + lifetime_s),
        "https://api.openai.com/auth": {
            **_account_claims(account),
            "chatgpt_subscription_active_start": "2026-01-01T00:00:00+00:00",
            "chatgpt_subscription_active_until": "2027-01-01T00:00:00+00:00",
            "groups": [],
            "organizations": [
                {"id": "org-simulated", "is_default": True, "role": "owner", "title": "Personal"}
            ],
        },
        "iat": int(now),
        "iss": issuer,
        "jti": secrets.token_hex(8),
        "name": account.name,
        "sub": _subject(account),
    }


def _access_claims(
    account: Account, issuer: str, client_id: str, now: float, lifetime_s: float
) -> dict[str, Any]:
    return {
        "aud": ["https://api.openai.com/v1"],
        "client_id": client_id,
        "exp": int(now + lifetime_s),
        "https://api.openai.com/auth": _account_claims(account),
        "https://api.openai.com/profile": {"email": account.email, "email_verified": True},
        "iat": int(now),
        "iss": issuer,
        "jti": secrets.token_hex(16),
        "nbf": int(now),
        "scp": ["openid", "profile", "email", "offline_access"],
        "sub": _subject(account),
    }


# OAuth tokens, API keys, personal access tokens

CLIENT_ID = "app_EMoamEEZ73f0CkXaXp7hrann"
"""The public client id of the Codex CLI."""


@dataclass(frozen=True)
class TokenSet:
    """The tokens of one answer of the token endpoint."""

    id_token: str
    access_token: str
    refresh_token: str
    account: Account


@dataclass
class Grant:
    """A login; all token sets obtained by refreshing it share the grant."""

    account: Account
    client_id: str
    revoked: bool = False
    expired: bool = False


@dataclass
class AuthorizationCode:
    """An authorization code, valid for one use; any redirect URI is accepted where ``redirect_uri`` is None."""

    account: Account
    client_id: str
    challenge: str
    redirect_uri: str | None
    used: bool = False


class RefreshError(Exception):
    """A refresh token is rejected; ``code`` is the issuer's error code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


TokenProblem = Literal["missing", "unknown", "expired", "revoked"]


@dataclass
class TokenStore:
    """Issues and checks tokens and keys; ``clock`` returns Unix seconds, lifetimes are in seconds."""

    issuer: str
    clock: Callable[[], float]
    access_lifetime_s: float = 10 * 24 * 3600.0
    id_lifetime_s: float = 3600.0
    refreshes: int = 0
    _access: dict[str, tuple[Grant, float]] = field(default_factory=dict)
    _refresh: dict[str, tuple[Grant, bool]] = field(default_factory=dict)
    _codes: dict[str, AuthorizationCode] = field(default_factory=dict)
    _api_keys: dict[str, Account] = field(default_factory=dict)
    _personal: dict[str, Account] = field(default_factory=dict)

    def sign_in(
        self, account: Account, client_id: str = CLIENT_ID, *, lifetime_s: float | None = None
    ) -> TokenSet:
        """The tokens of a new login; ``lifetime_s`` overrides the lifetime of its first access token."""
        return self._issue(Grant(account, client_id), lifetime_s)

    def _issue(self, grant: Grant, lifetime_s: float | None = None) -> TokenSet:
        now = self.clock()
        lifetime_s = self.access_lifetime_s if lifetime_s is None else lifetime_s
        arguments = (grant.account, self.issuer, grant.client_id, now)
        tokens = TokenSet(
            id_token=_signed(_id_claims(*arguments, self.id_lifetime_s)),
            access_token=_signed(_access_claims(*arguments, lifetime_s)),
            refresh_token="rt_sim." + secrets.token_urlsafe(48),
            account=grant.account,
        )
        self._access[tokens.access_token] = (grant, now + lifetime_s)
        self._refresh[tokens.refresh_token] = (grant, False)
        return tokens

    def refresh(self, token: str) -> TokenSet:
        """New tokens for a refresh token, which cannot be used again; RefreshError when it is rejected."""
        grant, used = self._refresh.get(token, (None, False))
        if grant is None or grant.revoked:
            raise RefreshError("refresh_token_invalidated")
        if used:
            raise RefreshError("refresh_token_reused")
        if grant.expired:
            raise RefreshError("refresh_token_expired")
        self._refresh[token] = (grant, True)
        self.refreshes += 1
        return self._issue(grant)

    def check_access_token(self, token: str) -> Account | TokenProblem:
        """The account of an access token, or why the token is rejected."""
        if not token:
            return "missing"
        grant, expires_at = self._access.get(token, (None, 0.0))
        if grant is None:
            return "unknown"
        if grant.revoked:
            return "revoked"
        return "expired" if self.clock() >= expires_at else grant.account

    def expire_access_tokens(self) -> None:
        """Expire every access token issued so far, whatever its claims say."""
        self._access = {token: (grant, 0.0) for token, (grant, _) in self._access.items()}

    def expire_refresh_tokens(self) -> None:
        """Expire every refresh token issued so far."""
        for grant, _ in self._refresh.values():
            grant.expired = True

    def revoke(self, token: str) -> bool:
        """Revoke the login of a refresh or access token; False when the token is unknown."""
        grant = (self._refresh.get(token) or self._access.get(token) or (None,))[0]
        if grant is not None:
            grant.revoked = True
        return grant is not None

    def new_code(
        self, account: Account, challenge: str, redirect_uri: str | None, client_id: str = CLIENT_ID
    ) -> str:
        """An authorization code for a PKCE challenge (S256)."""
        code = "ac_sim_" + secrets.token_urlsafe(24)
        self._codes[code] = AuthorizationCode(account, client_id, challenge, redirect_uri)
        return code

    def redeem_code(self, code: str, verifier: str, redirect_uri: str) -> TokenSet | None:
        """The tokens for an authorization code; None when code, verifier or redirect URI do not match."""
        known = self._codes.get(code)
        if known is None or known.used or known.redirect_uri not in {None, redirect_uri}:
            return None
        known.used = True
        if pkce_challenge(verifier) != known.challenge:
            return None
        return self.sign_in(known.account, known.client_id)

    def new_api_key(self, account: Account) -> str:
        """An API key of the account."""
        key = "sk-simulated-" + secrets.token_urlsafe(32)
        self._api_keys[key] = account
        return key

    def check_api_key(self, key: str) -> Account | None:
        """The account of an API key."""
        return self._api_keys.get(key)

    def new_personal_token(self, account: Account) -> str:
        """A personal access token for the ChatGPT backend."""
        token = "at-simulated-" + secrets.token_urlsafe(32)
        self._personal[token] = account
        return token

    def check_personal_token(self, token: str) -> Account | None:
        """The account of a personal access token."""
        return self._personal.get(token)

    def check_id_token(self, token: str) -> Account | None:
        """The account of an ID token, by its subject."""
        claims = _verified_claims(token) or {}
        accounts = (grant.account for grant, _ in self._refresh.values())
        return next((account for account in accounts if _subject(account) == claims.get("sub")), None)


def pkce_challenge(verifier: str) -> str:
    """The S256 challenge of a PKCE verifier (RFC 7636, section 4.2)."""
    return _base64url(hashlib.sha256(verifier.encode()).digest())


# Device codes

_DEVICE_CODE_LIFETIME_S = 15 * 60.0
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"


@dataclass
class DeviceCode:
    """A pending device login: ``account`` once it is approved, ``denied`` once it is denied."""

    device_auth_id: str
    user_code: str
    client_id: str
    expires_at: float
    account: Account | None = None
    denied: bool = False
    redeemed: bool = False


@dataclass
class DeviceCodeStore:
    """The device codes: requested by a client, approved by a user, redeemed by polling."""

    tokens: TokenStore
    clock: Callable[[], float]
    _codes: dict[str, DeviceCode] = field(default_factory=dict)

    def new(self, client_id: str) -> DeviceCode:
        """A new code, valid for 15 minutes."""
        letters = "".join(secrets.choice(_LETTERS) for _ in range(4))
        code = DeviceCode(
            "deviceauth_sim_" + secrets.token_hex(12),
            f"{letters}-{secrets.randbelow(10_000):04d}",
            client_id,
            self.clock() + _DEVICE_CODE_LIFETIME_S,
        )
        self._codes[code.user_code] = code
        return code

    def _find(self, user_code: str) -> DeviceCode | None:
        """The valid code that a user typed, in any case and with surrounding spaces."""
        code = self._codes.get(user_code.strip().upper())
        return code if code is not None and self.clock() < code.expires_at else None

    def pending(self) -> list[str]:
        """The user codes that are neither approved nor denied, the newest last."""
        return [
            code.user_code
            for code in self._codes.values()
            if code.account is None and not code.denied and self.clock() < code.expires_at
        ]

    def decide(self, user_code: str, account: Account | None) -> bool:
        """Approve a code for an account, or deny it (None); False when the code is unknown or expired."""
        code = self._find(user_code)
        if code is None:
            return False
        code.account, code.denied = account, account is None
        return True

    def poll(self, device_auth_id: object, user_code: object) -> DeviceCode | None:
        """The login that a client asks about; None when it is unknown, expired or already redeemed."""
        code = self._find(str(user_code))
        if code is None or code.device_auth_id != device_auth_id or code.redeemed:
            return None
        return code

    def redeem(self, code: DeviceCode, redirect_uri: str) -> dict[str, str]:
        """The authorization code and PKCE pair that the client receives for an approved login."""
        if code.account is None:
            raise ValueError("the device code is not approved")
        code.redeemed = True
        verifier = secrets.token_urlsafe(64)
        challenge = pkce_challenge(verifier)
        return {
            "authorization_code": self.tokens.new_code(code.account, challenge, redirect_uri, code.client_id),
            "code_challenge": challenge,
            "code_verifier": verifier,
        }

    def expire(self) -> None:
        """Expire every code."""
        for code in self._codes.values():
            code.expires_at = 0.0


# Agent identities

_AGENT_ISSUER = "https://chatgpt.com/codex-backend/agent-identity"
_AGENT_AUDIENCE = "codex-app-server"
_AGENT_KEY_ID = "simulator-agent-1"
_MAX_CLOCK_SKEW_S = 300.0


@dataclass
class Agent:
    """A registered agent."""

    runtime_id: str
    account: Account
    public_key: Ed25519PublicKey
    tasks: set[str] = field(default_factory=set)


@dataclass
class AgentRegistry:
    """Issues agent identities and checks what agents sign; ``clock`` returns Unix seconds."""

    clock: Callable[[], float]
    _signing_key: RSAPrivateKey | None = None
    _agents: dict[str, Agent] = field(default_factory=dict)

    def new_identity(self, account: Account, lifetime_s: float = 3600.0) -> str:
        """The JWT of a new agent, with its private key among the claims."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        private_key = Ed25519PrivateKey.generate()
        runtime_id = "agent_sim_" + secrets.token_hex(8)
        self._agents[runtime_id] = Agent(runtime_id, account, private_key.public_key())
        pkcs8 = private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        now = int(self.clock())
        claims = {
            "iss": _AGENT_ISSUER,
            "aud": _AGENT_AUDIENCE,
            "iat": now,
            "exp": int(now + lifetime_s),
            "agent_runtime_id": runtime_id,
            "agent_private_key": base64.b64encode(pkcs8).decode(),
            "account_id": account.account_id,
            "chatgpt_user_id": account.user_id,
            "email": account.email,
            "plan_type": account.plan,
            "chatgpt_account_is_fedramp": account.is_fedramp,
        }
        return _jwt({"alg": "RS256", "typ": "JWT", "kid": _AGENT_KEY_ID}, claims, self._rs256)

    def jwks(self) -> dict[str, Any]:
        """The public key that verifies the JWTs."""
        numbers = self._key().public_key().public_numbers()
        key = {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": _AGENT_KEY_ID,
            "n": _base64url(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")),
            "e": _base64url(numbers.e.to_bytes(3, "big")),
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

    def check_assertion(self, assertion: str) -> Account | None:
        """The account of the agent that signed an ``AgentAssertion``; None when it is not valid."""
        try:
            parts = json.loads(_base64url_decode(assertion))
            runtime_id, task_id = str(parts["agent_runtime_id"]), str(parts["task_id"])
            timestamp, signature = str(parts["timestamp"]), str(parts["signature"])
        except (ValueError, KeyError, TypeError):
            return None
        agent = self._agents.get(runtime_id)
        if agent is None or task_id not in agent.tasks or not self._is_recent(timestamp):
            return None
        signed = f"{runtime_id}:{task_id}:{timestamp}"
        return agent.account if _verifies(agent.public_key, signature, signed) else None

    def _is_recent(self, timestamp: str) -> bool:
        try:
            moment = datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError:
            return False
        return abs(self.clock() - moment.timestamp()) <= _MAX_CLOCK_SKEW_S

    def _key(self) -> RSAPrivateKey:
        from cryptography.hazmat.primitives.asymmetric import rsa

        if self._signing_key is None:
            self._signing_key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
        return self._signing_key

    def _rs256(self, signed: bytes) -> bytes:
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        return self._key().sign(signed, PKCS1v15(), SHA256())


def _verifies(key: Ed25519PublicKey, signature: str, text: str) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(base64.b64decode(signature, validate=True), text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True
