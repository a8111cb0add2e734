"""Tokens, codes and keys: what the issuer has given out and whether it is still good.

Lives on the simulator's loop thread; nothing here locks.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from codex_nb.simulator import jwt

if TYPE_CHECKING:
    from collections.abc import Callable

    from codex_nb.simulator.people import Person

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
            id_token=jwt.sign(jwt.id_claims(*arguments, self.id_lifetime_s)),
            access_token=jwt.sign(jwt.access_claims(*arguments, lifetime_s)),
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
        claims = jwt.verified_claims(token) or {}
        people = (grant.person for grant, _ in self._refresh.values())
        return next((person for person in people if f"auth0|{person.user_id}" == claims.get("sub")), None)


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a PKCE verifier (RFC 7636, section 4.2)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
