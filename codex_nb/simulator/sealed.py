"""Fabricated encrypted contents: opaque to clients, checked when they come back."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import struct
from typing import Any

_KEY = hashlib.sha256(b"the Codex simulator's seal: no secret, only a checksum").digest()


def seal(payload: dict[str, Any], now: float) -> str:
    """A blob that looks like the backend's (base64url of a Fernet-like frame) and carries the payload."""
    frame = b"\x80" + struct.pack(">Q", int(now)) + json.dumps(payload).encode()
    return base64.urlsafe_b64encode(frame + hmac.digest(_KEY, frame, hashlib.sha256)).decode()


def unseal(blob: str) -> dict[str, Any] | None:
    """The payload of a blob, None when it is not the simulator's or was altered."""
    try:
        data = base64.urlsafe_b64decode(blob)
    except ValueError:
        return None
    frame, tag = data[:-32], data[-32:]
    if not hmac.compare_digest(hmac.digest(_KEY, frame, hashlib.sha256), tag):
        return None
    payload = json.loads(frame[9:])
    return payload if isinstance(payload, dict) else None
