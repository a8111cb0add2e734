from __future__ import annotations

import pytest

from codex_nb.session.events import Answer, Status


def test_an_answer_shows_itself_harmlessly_in_three_forms() -> None:
    shown = Answer("**Yes** <script>alert(1)</script>")._repr_mimebundle_()
    assert set(shown) == {"text/html", "text/markdown", "text/plain"}
    assert "<strong>Yes</strong>" in shown["text/html"]
    assert "<script" not in shown["text/html"]
    assert shown == Answer("**Yes** <script>alert(1)</script>")._repr_mimebundle_()


@pytest.mark.parametrize(
    ("status", "remark"),
    [
        ("incomplete", "The answer is incomplete."),
        ("cancelled", "The turn was stopped."),
        ("failed", "The turn failed."),
    ],
)
def test_an_answer_that_did_not_end_well_says_so(status: Status, remark: str) -> None:
    assert remark in Answer("Half", status=status)._repr_mimebundle_()["text/plain"]
