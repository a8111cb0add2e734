"""JSON web tokens as the issuer writes them: realistic claims, fabricated signatures.

ID and access tokens are signed with a key of this process (HS256): clients read their claims and never verify them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codex_nb.simulator.people import Person

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
