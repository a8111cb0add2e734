"""Request bodies as zstd, where the package for it is installed; the ChatGPT backend takes them."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LEVEL = 3


@cache
def zstd_compressor() -> Callable[[bytes], bytes] | None:
    """Give the compressing function, None without the optional package ``zstandard``."""
    if find_spec("zstandard") is None:
        return None
    compress: Callable[[bytes], bytes] = import_module("zstandard").ZstdCompressor(level=LEVEL).compress
    return compress
