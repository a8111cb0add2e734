"""Modules and functions stay small enough to be read in one go."""

from __future__ import annotations

from collections.abc import Callable

from tests.architecture.sources import PACKAGE, FunctionLength, function_lengths, modules

MODULE_LINES = 400
FUNCTION_LINES = 60
ROOMS_WITHOUT_A_PURPOSE = {"utils", "util", "helpers", "common", "misc"}


def test_no_module_is_longer_than_can_be_held_in_mind() -> None:
    lines = {str(module): len((PACKAGE / module).read_text().splitlines()) for module in modules()}
    assert {module: count for module, count in lines.items() if count > MODULE_LINES} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    assert [length for length in function_lengths() if length.lines > FUNCTION_LINES] == []


def test_every_module_is_named_after_what_it_does() -> None:
    assert [
        module for module in modules() if ROOMS_WITHOUT_A_PURPOSE & set(module.with_suffix("").parts)
    ] == []


def test_the_lengths_of_all_functions_are_reported(record_property: Callable[[str, object], None]) -> None:
    lengths = function_lengths()
    counts = sorted(length.lines for length in lengths)
    for share in (50, 75, 90, 99):
        record_property(f"function lines, {share} % at most", counts[len(counts) * share // 100])
    longest: list[FunctionLength] = lengths[:10]
    record_property("longest functions", ", ".join(f"{length.place} {length.lines}" for length in longest))
    assert counts[len(counts) // 2] <= FUNCTION_LINES // 4
