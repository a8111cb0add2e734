"""Device codes: asked for by a client, confirmed by a person, collected by polling."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from codex_nb.simulator.tokens import TokenOffice, challenge_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from codex_nb.simulator.people import Person

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
