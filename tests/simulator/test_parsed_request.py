"""What is found in the context of a request."""

from __future__ import annotations

import pytest

from codex_nb.simulator.parsed_request import Frame, errors_in, frames_in


@pytest.mark.parametrize(
    ("line", "frame"),
    [
        ("df: DataFrame", Frame("df", "DataFrame")),
        ("- df: pandas.DataFrame (150 rows \u00d7 4 columns)", Frame("df", "pandas.DataFrame", (150, 4))),
        ("`sales` (DataFrame, shape 12x3)", Frame("sales", "DataFrame", (12, 3))),
        ("q = polars.DataFrame (2, 1)", Frame("q", "polars.DataFrame", (2, 1))),
        ("df: pandas.DataFrame, 1,500 rows \u00d7 4 columns", Frame("df", "pandas.DataFrame", (1500, 4))),
        ("t: pyarrow.Table 1_000 \u00d7 2", Frame("t", "pyarrow.Table", (1000, 2))),
        ("    df — no frame at all", None),
        ("print(DataFrame)", None),
        ('df = pd.DataFrame({"a": [1, 2]})', Frame("df", "pd.DataFrame")),
    ],
)
def test_frames_are_found_however_they_are_described(line: str, frame: Frame | None) -> None:
    assert frames_in(f"Some text\n{line}\nmore") == ([] if frame is None else [frame])


def test_errors_are_found() -> None:
    assert errors_in("x\nKeyError: 'a'\nKeyboardInterrupt:") == ["KeyError: 'a'", "KeyboardInterrupt"]
