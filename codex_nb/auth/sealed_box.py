"""libsodium's sealed box (``crypto_box_seal``), opened with what ``cryptography`` and hashlib offer.

A box is the sender's one-time X25519 public key, then XSalsa20-Poly1305 under a key derived by HSalsa20; the nonce is
the BLAKE2b-192 hash of both public keys. Boxes here hold an identifier of some bytes, so Salsa20 in Python is enough.
"""

from __future__ import annotations

import hmac
import struct
from hashlib import blake2b

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.poly1305 import Poly1305

KEY_BYTES = 32
TAG_BYTES = 16
BLOCK_BYTES = 64
SIGMA = struct.unpack("<4I", b"expand 32-byte k")
MASK = 0xFFFFFFFF
# One double round: the quarter rounds' indices, columns first and then rows.
QUARTERS = (
    (0, 4, 8, 12), (5, 9, 13, 1), (10, 14, 2, 6), (15, 3, 7, 11),
    (0, 1, 2, 3), (5, 6, 7, 4), (10, 11, 8, 9), (15, 12, 13, 14),
)  # fmt: skip


def open_sealed_box(box: bytes, key: X25519PrivateKey) -> bytes | None:
    """Open a sealed box; None when it was not made for this key or was changed on the way."""
    if len(box) < KEY_BYTES + TAG_BYTES:
        return None
    sender, sealed = box[:KEY_BYTES], box[KEY_BYTES:]
    nonce = blake2b(sender + key.public_key().public_bytes_raw(), digest_size=24).digest()
    shared = key.exchange(X25519PublicKey.from_public_bytes(sender))
    return open_secret_box(sealed, hsalsa20(shared, bytes(16)), nonce)


def open_secret_box(sealed: bytes, key: bytes, nonce: bytes) -> bytes | None:
    """Open XSalsa20-Poly1305 (tag first); None when the tag does not fit."""
    tag, text = sealed[:TAG_BYTES], sealed[TAG_BYTES:]
    stream = xsalsa20(key, nonce, KEY_BYTES + len(text))
    if not hmac.compare_digest(tag, Poly1305.generate_tag(stream[:KEY_BYTES], text)):
        return None
    return bytes(a ^ b for a, b in zip(text, stream[KEY_BYTES:], strict=True))


def xsalsa20(key: bytes, nonce: bytes, length: int) -> bytes:
    """Give ``length`` bytes of the key stream for a 24-byte nonce."""
    subkey = hsalsa20(key, nonce[:16])
    blocks = range(-(-length // BLOCK_BYTES))
    stream = b"".join(_salsa20_block(subkey, nonce[16:] + struct.pack("<Q", number)) for number in blocks)
    return stream[:length]


def hsalsa20(key: bytes, nonce: bytes) -> bytes:
    """Derive a key from a key and 16 bytes."""
    words = _rounds(_state(key, nonce))
    return struct.pack("<8I", *(words[index] for index in (0, 5, 10, 15, 6, 7, 8, 9)))


def _salsa20_block(key: bytes, nonce_and_counter: bytes) -> bytes:
    state = _state(key, nonce_and_counter)
    return struct.pack("<16I", *((a + b) & MASK for a, b in zip(state, _rounds(state), strict=True)))


def _state(key: bytes, sixteen: bytes) -> list[int]:
    k, n = struct.unpack("<8I", key), struct.unpack("<4I", sixteen)
    return [SIGMA[0], *k[:4], SIGMA[1], *n, SIGMA[2], *k[4:], SIGMA[3]]


def _rounds(state: list[int]) -> list[int]:
    words = list(state)
    for _ in range(10):
        for a, b, c, d in QUARTERS:
            words[b] ^= _rotate(words[a] + words[d], 7)
            words[c] ^= _rotate(words[b] + words[a], 9)
            words[d] ^= _rotate(words[c] + words[b], 13)
            words[a] ^= _rotate(words[d] + words[c], 18)
    return words


def _rotate(value: int, bits: int) -> int:
    value &= MASK
    return ((value << bits) | (value >> (32 - bits))) & MASK
