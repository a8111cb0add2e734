"""Tokens, codes and keys: JSON web tokens with realistic claims, device codes, and whether each is still valid."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from codex_nb.simulator.accounts import Person


_KEY = secrets.token_bytes(32)


def encode_part(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode_part(text: str) -> bytes:
    """The bytes of base64url text, padded or not."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def compact_json(value: object) -> bytes:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()


def sign(claims: Mapping[str, Any]) -> str:
    """A token with these claims."""
    head = encode_part(compact_json({"alg": "HS256", "typ": "JWT", "kid": "simulator"}))
    signed = f"{head}.{encode_part(compact_json(dict(claims)))}"
    return f"{signed}.{_signature(signed)}"


def verified_claims(token: str) -> dict[str, Any] | None:
    """The claims of a token that was signed here; None for every other text."""
    signed, _, signature = token.rpartition(".")
    if not hmac.compare_digest(_signature(signed), signature):
        return None
    claims: dict[str, Any] = json.loads(decode_part(signed.split(".")[1]))
    return claims


def _signature(signed: str) -> str:
    return encode_part(hmac.digest(_KEY, signed.encode(), hashlib.sha256))


def id_claims(person: Person, issuer: str, client_id: str, now: float, lifetime_s: float) -> dict[str, Any]:
    """The claims of an ID token."""
    return {
        "aud": [client_id],
        "auth_provider": "password",
        "email": person.email,
        "email_verified": True,
        "exp": int(now + lifetime_s),
        "https://api.openai.com/auth": {
            **_account(person),
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
        "name": person.name,
        "sub": f"auth0|{person.user_id}",
    }


def access_claims(
    person: Person, issuer: str, client_id: str, now: float, lifetime_s: float
) -> dict[str, Any]:
    """The claims of an access token."""
    return {
        "aud": ["https://api.openai.com/v1"],
        "client_id": client_id,
        "exp": int(now + lifetime_s),
        "https://api.openai.com/auth": _account(person),
        "https://api.openai.com/profile": {"email": person.email, "email_verified": True},
        "iat": int(now),
        "iss": issuer,
        "jti": secrets.token_hex(16),
        "nbf": int(now),
        "scp": ["openid", "profile", "email", "offline_access"],
        "sub": f"auth0|{person.user_id}",
    }


def _account(person: Person) -> dict[str, Any]:
    return {
        "chatgpt_account_id": person.account_id,
        "chatgpt_account_is_fedramp": person.is_fedramp,
        "chatgpt_plan_type": person.plan,
        "chatgpt_user_id": person.user_id,
        "user_id": person.user_id,
    }


CLIENT_ID = "app_EMoamEEZ73f0CkXaXp7hrann"
"""The public client id of the Codex CLI."""


@dataclass(frozen=True)
class TokenSet:
    """What one grant gives."""

    id_token: str
    access_token: str
    refresh_token: str
    person: Person


@dataclass
class Grant:
    """One login: every token set that came out of it has the same grant."""

    person: Person
    client_id: str
    revoked: bool = False
    expired: bool = False


@dataclass
class AuthorizationCode:
    """A code that can be redeemed once; ``redirect_uri`` None accepts any."""

    person: Person
    client_id: str
    challenge: str
    redirect_uri: str | None
    used: bool = False


class RefreshRefusedError(Exception):
    """A refresh token is not accepted; ``code`` is the issuer's error code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


Rejection = Literal["missing", "unknown", "expired", "revoked"]


@dataclass
class TokenOffice:
    """Issues and checks. ``clock`` gives unix seconds; lifetimes are seconds."""

    issuer: str
    clock: Callable[[], float]
    access_lifetime_s: float = 10 * 24 * 3600.0
    id_lifetime_s: float = 3600.0
    refreshes: int = 0
    _access: dict[str, tuple[Grant, float]] = field(default_factory=dict)
    _refresh: dict[str, tuple[Grant, bool]] = field(default_factory=dict)
    _codes: dict[str, AuthorizationCode] = field(default_factory=dict)
    _api_keys: dict[str, Person] = field(default_factory=dict)
    _personal: dict[str, Person] = field(default_factory=dict)

    def sign_in(
        self, person: Person, client_id: str = CLIENT_ID, *, lifetime_s: float | None = None
    ) -> TokenSet:
        """A fresh login; ``lifetime_s`` is its first access token's when it is not the usual one."""
        return self._issue(Grant(person, client_id), lifetime_s)

    def _issue(self, grant: Grant, lifetime_s: float | None = None) -> TokenSet:
        now = self.clock()
        lifetime_s = self.access_lifetime_s if lifetime_s is None else lifetime_s
        arguments = (grant.person, self.issuer, grant.client_id, now)
        tokens = TokenSet(
            id_token=sign(id_claims(*arguments, self.id_lifetime_s)),
            access_token=sign(access_claims(*arguments, lifetime_s)),
            refresh_token="rt_sim." + secrets.token_urlsafe(48),
            person=grant.person,
        )
        self._access[tokens.access_token] = (grant, now + lifetime_s)
        self._refresh[tokens.refresh_token] = (grant, False)
        return tokens

    def refresh(self, token: str) -> TokenSet:
        """New tokens for a refresh token, which is spent by it; RefreshRefusedError when it is not good."""
        grant, spent = self._refresh.get(token, (None, False))
        if grant is None or grant.revoked:
            raise RefreshRefusedError("refresh_token_invalidated")
        if spent:
            raise RefreshRefusedError("refresh_token_reused")
        if grant.expired:
            raise RefreshRefusedError("refresh_token_expired")
        self._refresh[token] = (grant, True)
        self.refreshes += 1
        return self._issue(grant)

    def check_access(self, token: str) -> Person | Rejection:
        """Whose access token this is, or why it is not accepted."""
        if not token:
            return "missing"
        grant, expires_at = self._access.get(token, (None, 0.0))
        if grant is None:
            return "unknown"
        if grant.revoked:
            return "revoked"
        return "expired" if self.clock() >= expires_at else grant.person

    def expire_access_tokens(self) -> None:
        """Let every access token given out so far be expired, whatever its claims say."""
        self._access = {token: (grant, 0.0) for token, (grant, _) in self._access.items()}

    def expire_refresh_tokens(self) -> None:
        """Let every refresh token given out so far be expired."""
        for grant, _ in self._refresh.values():
            grant.expired = True

    def revoke(self, token: str) -> bool:
        """End the login that a refresh or access token belongs to."""
        grant = (self._refresh.get(token) or self._access.get(token) or (None,))[0]
        if grant is not None:
            grant.revoked = True
        return grant is not None

    def new_code(
        self, person: Person, challenge: str, redirect_uri: str | None, client_id: str = CLIENT_ID
    ) -> str:
        """An authorization code for a PKCE challenge (S256)."""
        code = "ac_sim_" + secrets.token_urlsafe(24)
        self._codes[code] = AuthorizationCode(person, client_id, challenge, redirect_uri)
        return code

    def redeem_code(self, code: str, verifier: str, redirect_uri: str) -> TokenSet | None:
        """Tokens for an authorization code; None when code, verifier or redirect address do not fit."""
        known = self._codes.get(code)
        if known is None or known.used or known.redirect_uri not in {None, redirect_uri}:
            return None
        known.used = True
        if challenge_of(verifier) != known.challenge:
            return None
        return self.sign_in(known.person, known.client_id)

    def new_api_key(self, person: Person) -> str:
        """An API key that pays from the person's API account."""
        key = "sk-simulated-" + secrets.token_urlsafe(32)
        self._api_keys[key] = person
        return key

    def check_api_key(self, key: str) -> Person | None:
        """Whose API key this is."""
        return self._api_keys.get(key)

    def new_personal_token(self, person: Person) -> str:
        """A personal access token for the ChatGPT backend."""
        token = "at-simulated-" + secrets.token_urlsafe(32)
        self._personal[token] = person
        return token

    def check_personal_token(self, token: str) -> Person | None:
        """Whose personal access token this is."""
        return self._personal.get(token)

    def person_of_id_token(self, token: str) -> Person | None:
        """Whose ID token this is, by the subject it names."""
        claims = verified_claims(token) or {}
        people = (grant.person for grant, _ in self._refresh.values())
        return next((person for person in people if f"auth0|{person.user_id}" == claims.get("sub")), None)


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a PKCE verifier (RFC 7636, section 4.2)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


VALID_S = 15 * 60.0
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"


@dataclass
class DeviceCode:
    """One device login under way; ``denied`` when the person said no."""

    device_auth_id: str
    user_code: str
    client_id: str
    expires_at: float
    person: Person | None = None
    denied: bool = False
    collected: bool = False


@dataclass
class DeviceDesk:
    """The device logins of one issuer."""

    tokens: TokenOffice
    clock: Callable[[], float]
    _codes: dict[str, DeviceCode] = field(default_factory=dict)

    def begin(self, client_id: str) -> DeviceCode:
        """A new code, valid for 15 minutes."""
        left = "".join(secrets.choice(_LETTERS) for _ in range(4))
        code = DeviceCode(
            "deviceauth_sim_" + secrets.token_hex(12),
            f"{left}-{secrets.randbelow(10_000):04d}",
            client_id,
            self.clock() + VALID_S,
        )
        self._codes[code.user_code] = code
        return code

    def find(self, user_code: str) -> DeviceCode | None:
        """The valid code that a person typed, however they wrote it."""
        code = self._codes.get(user_code.strip().upper())
        return code if code is not None and self.clock() < code.expires_at else None

    def waiting(self) -> list[str]:
        """The user codes that nobody has decided about, the newest last."""
        return [
            code.user_code
            for code in self._codes.values()
            if code.person is None and not code.denied and self.clock() < code.expires_at
        ]

    def decide(self, user_code: str, person: Person | None) -> bool:
        """Confirm a code for a person, or deny it (None); False when there is no such code."""
        code = self.find(user_code)
        if code is None:
            return False
        code.person, code.denied = person, person is None
        return True

    def poll(self, device_auth_id: object, user_code: object) -> DeviceCode | None:
        """The login that a client asks about; None when it is unknown, expired or already collected."""
        code = self.find(str(user_code))
        if code is None or code.device_auth_id != device_auth_id or code.collected:
            return None
        return code

    def collect(self, code: DeviceCode, redirect_uri: str) -> dict[str, str]:
        """What a confirmed login gives to the client that polls: an authorization code and its PKCE pair."""
        if code.person is None:
            message = "the code is not confirmed"
            raise ValueError(message)
        code.collected = True
        verifier = secrets.token_urlsafe(64)
        challenge = challenge_of(verifier)
        authorization_code = self.tokens.new_code(code.person, challenge, redirect_uri, code.client_id)
        return {
            "authorization_code": authorization_code,
            "code_challenge": challenge,
            "code_verifier": verifier,
        }

    def expire(self) -> None:
        """Let every code be too old."""
        for code in self._codes.values():
            code.expires_at = 0.0
