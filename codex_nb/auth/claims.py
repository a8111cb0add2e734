"""Claims of OpenAI's JWTs, read without checking the signature: the service checks it, we only want to know whose."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from codex_nb.rendering.visible import visible_line

if TYPE_CHECKING:
    from pydantic import SecretStr

AUTH_CLAIM = "https://api.openai.com/auth"
PROFILE_CLAIM = "https://api.openai.com/profile"


@dataclass(frozen=True)
class Claims:
    """What a token says about its owner; everything may be absent, as in an opaque token."""

    account_id: str | None = None
    user_id: str | None = None
    email: str | None = None
    plan: str | None = None
    is_fedramp: bool = False
    expires_at: datetime | None = None


def read_claims(token: SecretStr | None) -> Claims:
    """Read the claims of ``token``; a token that is no JWT has none, which is not an error."""
    payload = jwt_part(token, 1)
    auth = _mapping(payload.get(AUTH_CLAIM))
    profile = _mapping(payload.get(PROFILE_CLAIM))
    return Claims(
        account_id=_text(auth.get("chatgpt_account_id")),
        user_id=_text(auth.get("chatgpt_user_id")) or _text(auth.get("user_id")) or _text(payload.get("sub")),
        email=name_of(payload.get("email")) or name_of(profile.get("email")),
        plan=name_of(auth.get("chatgpt_plan_type")),
        is_fedramp=auth.get("chatgpt_account_is_fedramp") is True,
        expires_at=_moment(payload.get("exp")),
    )


def jwt_part(token: SecretStr | None, index: int) -> dict[str, Any]:
    """Decode the header (0) or payload (1) of a JWT; ``{}`` when it is none."""
    parts = [] if token is None else token.get_secret_value().split(".")
    if len(parts) != 3:  # noqa: PLR2004  (RFC 7519: header, payload, signature)
        return {}
    try:
        return _mapping(json.loads(decode_base64url(parts[index])))
    except (binascii.Error, ValueError):
        return {}


def decode_base64url(text: str) -> bytes:
    """Decode unpadded base64url (RFC 4648 section 5)."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encode_base64url(data: bytes) -> str:
    """Encode as unpadded base64url (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def name_of(value: object) -> str | None:
    """Read what people read: an address or a plan, in which nothing hides."""
    text = _text(value)
    return None if text is None else visible_line(text)


def _moment(value: object) -> datetime | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, OSError, ValueError):
        return None
