"""The notebook's context: what of it was not sent, and why."""

from __future__ import annotations

THE_NOTEBOOK = "the notebook"
THE_QUESTION = "the question"


def left_out(cuts: str) -> str:
    """Say what did not go along."""
    return f"Left out of the context: {cuts}."


def looks_secret(found: str) -> str:
    """Say what was taken out, and where."""
    return f"Not sent, because it looks secret: {found}."


def found_in(name: str, place: str) -> str:
    """Name a secret and where it was found."""
    return f"{name} in {place}"


def cell(number: str) -> str:
    """Name a cell as a place."""
    return f"cell {number}"


def variable(name: str) -> str:
    """Name a variable as a place."""
    return f"variable {name}"


def part_of(mention: str) -> str:
    """Say that a mentioned thing was shortened."""
    return f"part of {mention}"


def earlier_questions(count: str) -> str:
    """Say how many earlier questions found no room."""
    return f"{count} earlier questions"


def some_variables(count: str, all_of_them: str) -> str:
    """Say how many variables found no room."""
    return f"{count} of {all_of_them} variables"


def marked_cells(count: str) -> str:
    """Say how many cells stay behind because they are marked."""
    return f"{count} cells marked codex-skip"


def farthest_cells(count: str) -> str:
    """Say how many cells found no room."""
    return f"the {count} cells farthest above"


def parts_of_cells(count: str) -> str:
    """Say how many cells were shortened."""
    return f"parts of {count} cells"


def no_cell(number: str) -> str:
    """Say that a mentioned cell is not there."""
    return f"there is no cell {number}"


def marked_cell(number: str) -> str:
    """Say that a mentioned cell is marked."""
    return f"cell {number} is marked codex-skip"


def unreadable(file: str, problem: str) -> str:
    """Say that a mentioned file cannot be read."""
    return f"{file} cannot be read ({problem})"


def not_text(file: str) -> str:
    """Say that a mentioned file is neither text nor a picture."""
    return f"{file} is not a text file"


def too_large(file: str) -> str:
    """Say that a mentioned picture is too large."""
    return f"{file} is too large to be sent"
