"""The comparison measures what it says: ours grows with the answer, drawing everything again with its square."""

from __future__ import annotations

import pytest

from tests.benchmarks.answers import answer_of
from tests.benchmarks.screens import redrawn, resent, terminal, transcript

SHORT, LONG = answer_of(4_000), answer_of(16_000)


@pytest.mark.parametrize("way", [transcript, terminal])
def test_what_ours_sends_grows_with_the_answer(way: object) -> None:
    assert 3 < way(LONG).size / way(SHORT).size < 5  # type: ignore[operator]  # a function of this package


@pytest.mark.parametrize("way", [resent, redrawn])
def test_what_is_drawn_again_as_a_whole_grows_with_the_square(way: object) -> None:
    assert 12 < way(LONG, most=10).size / way(SHORT, most=10).size < 20  # type: ignore[operator]  # as above


def test_the_sample_stands_for_all_draws() -> None:
    whole, sample = resent(SHORT, most=1_000), resent(SHORT, most=5)
    assert (whole.share, sample.share) == (1, 0.25)
    assert sample.size == pytest.approx(whole.size, rel=0.1)
