"""JSON, numbers and times from elsewhere: what is read can be written, and what cannot be read is a ValueError."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_nb.parse import MAX_DEPTH, loads, memory_of, needs_care, parse_integer, parse_number, parse_time

REFUSED = [
    "",
    "{",
    "NaN",
    '{"a": -Infinity}',
    "1e999",
    "[-1e999]",
    "7" * 5000,
    "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
    '{"a":' * 5000 + "1" + "}" * 5000,
    "[" * 1_000_000,
]
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)


def reads(text: str | bytes) -> Any:
    """Read a text; None when it is refused."""
    try:
        return loads(text)
    except ValueError:
        return None


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:12])
def test_what_could_not_be_written_again_is_refused(text: str) -> None:
    for given_text in (text, text.encode()):
        assert reads(given_text) is None


@given(values)
def test_what_json_can_write_is_read_as_it_was(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert loads(text) == loads(text.encode()) == loads("\ufeff" + text) == value


@given(st.text(st.characters()))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (text, text.encode("utf-8", "replace"), json.dumps([text])):
        try:
            value = loads(read)
        except ValueError:
            continue
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


@given(st.binary())
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        value = loads(data)
    except ValueError:
        return
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def test_half_a_surrogate_pair_is_kept_where_it_is_to_be_shown() -> None:
    assert loads('"\\ud800"') == "?"
    assert loads('"\\ud800"', keep_surrogates=True) == "\ud800"
    assert loads('"\\ud83d\\ude80"') == "\N{ROCKET}"


@pytest.mark.parametrize(
    "text", [text for text in REFUSED if text[:1] not in {"", "{"} and text[1:2] != text[:1]]
)
def test_what_other_parsers_let_through_is_known_beforehand(text: str) -> None:
    assert needs_care(b'{"a": %s}' % text.encode())


@given(values)
def test_the_memory_of_a_value_is_estimated_from_above(value: Any) -> None:
    def size(value: Any) -> int:
        below = (
            [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
        )
        # An int, a float or a short text takes about 60 bytes, a list or table as much and more with each value.
        own = len(value) * (4 if not value.isascii() else 1) if isinstance(value, str) else 0
        return own + 32 * bool(below) + sum(map(size, below))

    assert memory_of(json.dumps(value).encode()) >= size(value) / 2


@pytest.mark.parametrize(
    "value", [None, "x", [], {}, "9e999", math.nan, math.inf, 10**4000, "9" * 400, object(), "\ud800"]
)
def test_what_is_no_number_is_none(value: object) -> None:
    assert (parse_number(value), parse_integer(value), parse_time(value)) == (None, None, None)


@given(st.integers() | st.floats() | st.text())
def test_any_time_can_be_shown_anywhere(value: object) -> None:
    found = parse_time(value)
    if found is not None:
        assert found.astimezone() == found
        assert datetime(1970, 1, 1, tzinfo=UTC) <= found < datetime(3001, 1, 1, tzinfo=UTC)
