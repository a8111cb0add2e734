"""Request bodies: content encodings and media types to Python values."""

from __future__ import annotations

import gzip
import json
from importlib import import_module
from typing import Any
from urllib.parse import parse_qsl


class UndecodableBodyError(ValueError):
    """The body cannot be read; ``status`` is the reply's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def decode_body(raw: bytes, content_type: str, content_encoding: str) -> Any:
    """The JSON value, form fields or text of a body; None when it is empty."""
    data = _decompress(raw, content_encoding.strip().lower())
    if not data:
        return None
    if content_type.startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(data.decode(), keep_blank_values=True))
    if "json" not in content_type:
        return data.decode(errors="replace")
    try:
        return json.loads(data)
    except ValueError as error:
        message = "We could not parse the JSON body of your request."
        raise UndecodableBodyError(message, 400) from error


def _decompress(raw: bytes, encoding: str) -> bytes:
    try:
        match encoding:
            case "" | "identity":
                return raw
            case "gzip":
                return gzip.decompress(raw)
            case "zstd":
                return _unpack_zstd(raw)
    except UndecodableBodyError:
        raise
    except Exception as error:
        message = f"The body is not {encoding}."
        raise UndecodableBodyError(message, 400) from error
    message = f"Content encoding {encoding} is not supported."
    raise UndecodableBodyError(message, 415)


def _unpack_zstd(raw: bytes) -> bytes:
    try:
        zstandard = import_module("zstandard")
    except ImportError as error:
        message = "zstd bodies need the zstandard package in the simulator's environment."
        raise UndecodableBodyError(message, 415) from error
    unpacked: bytes = zstandard.ZstdDecompressor().decompressobj().decompress(raw)
    return unpacked
