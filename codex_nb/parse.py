"""Reading what others wrote: JSON, numbers and times, each bounded; what is not of its kind is refused or None."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import Any, NoReturn

MAX_DEPTH = 64
LATEST_S = 32_503_680_000  # the year 3000; later moments break the arithmetic of time zones
BYTES_OF_A_VALUE = 96
_NO_JSON = re.compile(rb"NaN|Infinity|\d[eE]\+?\d{3}")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


def loads(text: str | bytes, *, keep_surrogates: bool = False) -> Any:
    """Parse JSON text into values that can be written, compared and copied.

    Raises ValueError for anything else: also for more than MAX_DEPTH levels, NaN, and numbers out of range. Lone
    surrogates become question marks, which any encoding can hold, unless they are to be shown as what they are.
    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text), "replace")
    try:
        value = _DECODER.decode(text.removeprefix("\ufeff"))
    except RecursionError:
        raise ValueError("the JSON text is nested too deeply") from None
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _ensure_shallow(value)
    if not keep_surrogates and _SURROGATE.search(text):
        value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    return value


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


def _ensure_shallow(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        tables = [one for one in level if isinstance(one, dict)]
        lists = [one for one in level if isinstance(one, list)]
        level = [inner for one in tables for inner in one.values() if isinstance(inner, dict | list)]
        level += [inner for one in lists for inner in one if isinstance(inner, dict | list)]
        if not level:
            return
    raise ValueError("the JSON text is nested too deeply")


def needs_care(raw: bytes) -> bool:
    """Whether JSON text may hold what ``loads`` refuses and other parsers let through."""
    return raw.count(b"[") + raw.count(b"{") > MAX_DEPTH or _NO_JSON.search(raw) is not None


def memory_of(raw: bytes) -> int:
    """Estimate from above how many bytes the parsed JSON text takes in memory."""
    width = 1 if raw.isascii() and b"\\u" not in raw else 4
    values = raw.count(b",") + raw.count(b"[") + raw.count(b"{")
    return width * len(raw) + BYTES_OF_A_VALUE * values


def fits(raw: bytes, memory: int) -> bool:
    """Whether the parsed JSON text takes at most so many bytes in memory."""
    at_most = (4 + BYTES_OF_A_VALUE) * len(raw)  # which needs no look at the text
    return at_most <= memory or memory_of(raw) <= memory


def parse_number(value: Any) -> float | None:
    """Read a finite number, also from text; None for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def parse_integer(value: Any) -> int | None:
    """Read a whole number of at most 15 digits, also from text; None for anything else."""
    number = parse_number(value)
    return None if number is None or abs(number) >= 1e15 else int(number)  # noqa: PLR2004  (floats count exactly so far)


def parse_time(value: Any) -> datetime | None:
    """Read seconds since the epoch as aware UTC; None for anything else."""
    seconds = parse_number(value)
    if isinstance(value, bool) or seconds is None or not 0 < seconds < LATEST_S:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def parse_boolean(value: Any) -> bool | None:
    """Read a truth value, also from text or from 1 and 0; None for anything else."""
    if isinstance(value, bool):
        return value
    return {"true": True, "1": True, "false": False, "0": False}.get(str(value).lower())
