"""The recorded streams that lie beside the checkout, and never in it; where they are absent their tests say so."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CORPUS = Path(__file__).resolve().parents[2].parent / "shared" / "corpus"
IS_HERE = CORPUS.is_dir()

# In CI the corpus lies beside the clone: there its absence is a failure of the tests, never a skip.
needs_corpus = pytest.mark.skipif(
    not IS_HERE and os.environ.get("CI") != "true", reason="the recorded streams are not beside this checkout"
)


@dataclass(frozen=True)
class Vector:
    """One case of the event-stream rules."""

    name: str
    data: bytes
    events: list[dict[str, str]]


@dataclass(frozen=True)
class Recording:
    """One recorded stream; ``expected`` is what the reference makes of it."""

    name: str
    data: bytes
    expected: dict[str, Any]

    @property
    def responses(self) -> list[bytes]:
        """The stream, cut after each terminal event: some recordings hold the responses of a whole turn."""
        ends = (b'"type":"response.completed"', b'"type": "response.completed"')
        parts: list[bytes] = [b""]
        for line in self.data.splitlines(keepends=True):
            if not line.strip() and any(end in parts[-1].rpartition(b"data:")[2] for end in ends):
                parts[-1] += line
                parts.append(b"")
            else:
                parts[-1] += line
        return [part for part in parts if b"data:" in part.replace(b"data: [DONE]", b"")]


def vectors() -> list[Vector]:
    if not IS_HERE:
        return []
    table = json.loads((CORPUS / "sse_vectors.json").read_text())
    return [
        Vector(case["name"], base64.b64decode(case["bytes_b64"]), case["events"]) for case in table["vectors"]
    ]


def recordings() -> list[Recording]:
    if not IS_HERE:
        return []
    return [
        Recording(
            folder.name,
            (folder / "stream.sse").read_bytes(),
            json.loads((folder / "expected.json").read_text()),
        )
        for folder in sorted((CORPUS / "streams").iterdir())
    ]
