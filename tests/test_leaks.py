from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.leaks import Leak, assert_no_leak, find_leaks, find_leaks_in_files

SECRET = 'sk-fabricated/0123+4567"89=='
SECRETS = {"the key": SECRET}


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (f"Authorization: Bearer {SECRET}", "itself"),
        (json.dumps({"key": SECRET}), "JSON"),
        (f"?key={quote(SECRET, safe='')}", "percent-encoding"),
        (SECRET.encode().hex(), "hex"),
    ],
)
def test_a_secret_is_found_in_every_encoding(content: str, form: str) -> None:
    assert Leak("the key", form, "the text") in find_leaks(content, SECRETS)


@given(st.binary(max_size=8), st.binary(max_size=8), st.booleans())
def test_a_secret_is_found_in_base64_with_any_surrounding_bytes(
    before: bytes, after: bytes, url_safe: bool
) -> None:
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    text = encode(before + SECRET.encode() + after)
    assert find_leaks(text, SECRETS)


@given(st.text(alphabet="abcdefghijkl mnop", max_size=200))
def test_a_text_without_the_secret_has_no_leaks(text: str) -> None:
    assert find_leaks(text, SECRETS) == []


def test_a_folder_is_scanned_recursively(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "log").write_text(f"... {SECRET} ...")
    (tmp_path / "clean").write_text("nothing")
    places = [leak.place for leak in find_leaks_in_files([tmp_path], SECRETS)]
    assert places == [str(tmp_path / "deep" / "log")]


def test_the_failure_names_the_secret_without_repeating_it() -> None:
    with pytest.raises(AssertionError) as failure:
        assert_no_leak(SECRET, SECRETS, "the notebook")
    assert str(failure.value).splitlines()[0] == "the key as itself in the notebook"
    assert SECRET not in str(failure.value)


def test_a_secret_too_short_to_find_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        find_leaks("anything", {"pin": "1234"})
