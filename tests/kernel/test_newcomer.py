"""The first steps of a new user: each works, and every prompt shows what to do next."""

from __future__ import annotations

import pytest

from tests.newcomer import ANSWER, CODE, Walk, walk
from tests.tiers import ROOT


@pytest.fixture(scope="module")
def walked() -> Walk:
    """Perform all steps once."""
    return walk()


def test_a_new_user_gets_from_the_install_to_the_first_answer(walked: Walk) -> None:
    install, start, load, ask, confirm, answer = (step.shown for step in walked.steps)
    assert install.startswith("Successfully installed codex-nb-")
    assert "site-packages" in walked.package
    assert str(ROOT) not in walked.package
    assert (start, load.split()) == ("In [1]: ", ["%load_ext", "codex_nb", "In", "[2]:"])
    assert "/codex/device" in ask
    assert CODE.search(f"{ask}\n") is not None
    assert "Signed in as ada@example.com (ChatGPT Plus)." in confirm
    one_line = " ".join(answer.split())
    for fact in ("%codex context", ANSWER, "ChatGPT Plus"):
        assert fact in one_line
    assert "auth.json" in walked.files
