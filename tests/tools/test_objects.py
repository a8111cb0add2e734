"""Each kind of object is told by what a colleague would need, in little room."""

from __future__ import annotations

import pytest

from codex_nb.tools.describe import Detail, describe
from tests.tools.objects import KINDS

LARGEST = 3_000  # bytes
LARGEST_MENTIONED = 20_000


@pytest.mark.parametrize("name", KINDS)
def test_a_colleague_would_know_enough(name: str) -> None:
    kind = KINDS[name]
    value = kind.make()
    shown = describe("thing", value).text
    mentioned = describe("thing", value, Detail.FULL).text
    for text in (shown, mentioned):
        assert text.startswith("thing: ")
        assert kind.type in text.partition("\n")[0]
        assert "cannot be read" not in text
    missing = {aspect: words for aspect, words in kind.told.items() if words not in shown}
    assert missing == {}, shown
    assert len(shown.encode("utf-8", "replace")) <= LARGEST
    assert len(mentioned.encode("utf-8", "replace")) <= LARGEST_MENTIONED


def test_the_table_covers_what_notebooks_hold() -> None:
    assert len(KINDS) >= 172
