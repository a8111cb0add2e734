"""The way of somebody who has nothing yet: every step works, every prompt shows what to do, the docs list them."""

from __future__ import annotations

import pytest

from codex_nb.session.assistant import FIRST_USE
from tests.newcomer import ANSWER, Walk, walk
from tests.tiers import ROOT


@pytest.fixture(scope="module")
def walked() -> Walk:
    """Walk the whole way once."""
    return walk()


def test_a_newcomer_comes_from_the_install_to_the_first_answer_without_a_guess(walked: Walk) -> None:
    install, start, load, ask, confirm, answer = (step.shown for step in walked.steps)
    assert install.startswith("Successfully installed codex-nb-")
    assert "site-packages" in walked.package
    assert str(ROOT) not in walked.package
    assert (start, load.split()) == ("In [1]: ", ["%load_ext", "codex_nb", "In", "[2]:"])
    for words in ("You are not signed in.", "type this code there", "/codex/device", "goes on by itself"):
        assert words in ask
    assert "Signed in as ada@example.com (ChatGPT Plus)." in confirm
    one_line = " ".join(answer.split())
    for words in (FIRST_USE, ANSWER, "ada@example.com · ChatGPT Plus"):
        assert words in one_line
    assert "auth.json" in walked.files


def test_the_quickstart_lists_these_very_steps(walked: Walk) -> None:
    page = (ROOT / "docs" / "quickstart.md").read_text()
    section = page.partition("## The first answer, step by step")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| ")][1:]
    assert [row[1].strip().replace("`", "") for row in rows] == [step.does for step in walked.steps]
