"""The cryptography of agent identities: RS256 check, Ed25519 signatures, libsodium sealed boxes."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_private_key
from nacl.exceptions import CryptoError
from nacl.public import SealedBox
from nacl.signing import SigningKey
from pydantic import Secret, SecretStr

from codex_nb.auth.credentials import decode_base64url, jwt_part

if TYPE_CHECKING:
    from collections.abc import Sequence

ISSUER = "https://chatgpt.com/codex-backend/agent-identity"
AUDIENCE = "codex-app-server"


class AgentKey:
    """An agent's Ed25519 key; it signs and opens what was sealed for it."""

    def __init__(self, seed: bytes) -> None:
        self._key = SigningKey(seed)

    def sign(self, message: bytes) -> bytes:
        """Sign the message."""
        return bytes(self._key.sign(message).signature)

    def unseal(self, sealed: str) -> str | None:
        """Open a sealed box (base64) made for the X25519 key of the same seed; None when it is not ours."""
        box = SealedBox(self._key.to_curve25519_private_key())
        try:
            return bytes(box.decrypt(base64.b64decode(sealed, validate=True))).decode("utf-8", "replace")
        except (ValueError, binascii.Error, CryptoError):
            return None


def open_key(encoded: SecretStr) -> AgentKey | None:
    """Read a base64 PKCS#8 Ed25519 key; None when it is something else."""
    try:
        key = load_der_private_key(base64.b64decode(encoded.get_secret_value()), password=None)
    except (ValueError, TypeError):
        return None
    return AgentKey(key.private_bytes_raw()) if isinstance(key, Ed25519PrivateKey) else None


def verify(token: SecretStr, keys: Sequence[dict[str, Any]]) -> Secret[dict[str, Any]] | str:
    """Check a JWT's signature, issuer and audience and give its claims, or say what is wrong with it."""
    header, payload = jwt_part(token, 0), jwt_part(token, 1)
    key = next((key for key in keys if key.get("kid") == header.get("kid")), None)
    if header.get("alg") != "RS256":
        return "it is not signed with RS256"
    if key is None:
        return "it is signed with an unknown key"
    if not _is_signed(token, key):
        return "its signature is invalid"
    if payload.get("iss") != ISSUER:
        return "it was issued by another service"
    audience = payload.get("aud")
    if AUDIENCE not in (audience if isinstance(audience, list) else [audience]):
        return "it is intended for another service"
    return Secret(payload)


def _is_signed(token: SecretStr, key: dict[str, Any]) -> bool:
    signed, _, signature = token.get_secret_value().rpartition(".")
    try:
        numbers = [int.from_bytes(decode_base64url(key[name])) for name in ("e", "n")]
        public_key = RSAPublicNumbers(*numbers).public_key()
        public_key.verify(decode_base64url(signature), signed.encode("ascii"), PKCS1v15(), SHA256())
    except (InvalidSignature, KeyError, TypeError, ValueError):
        return False
    return True
