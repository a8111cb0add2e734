"""The environment of this process, as a value that may stand in any frame: its repr tells nothing.

A verbose traceback prints the variables of each frame, and the environment holds keys.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping


class Environment(Mapping[str, str]):
    """What ``os.environ`` holds at the moment it is asked."""

    def __getitem__(self, name: str) -> str:
        return os.environ[name]

    def __iter__(self) -> Iterator[str]:
        return iter(os.environ)

    def __len__(self) -> int:
        return len(os.environ)

    def __repr__(self) -> str:
        return "<the environment of this process>"
