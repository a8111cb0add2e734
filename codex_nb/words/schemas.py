"""Schemas: why one cannot be used, and what of an answer does not fit it."""

from __future__ import annotations

from codex_nb.words.message import Message

GIVE_A_SCHEMA = "Give a pydantic model, a dataclass, a TypedDict or a JSON schema."
NO_TYPE = Message("The JSON schema does not say what it describes: it has no type.", 'Add a "type" to it.')
ONE_KEY = 'the answer must be an object with the one key "value"'
OR = " or "


def is_a_function(name: str) -> Message:
    """Say that a function was given as schema."""
    return Message(f"{name} is a function, not a schema.", GIVE_A_SCHEMA)


def unusable(schema: str, problem: str) -> Message:
    """Say why a type cannot be put as a JSON schema."""
    return Message(f"{schema} cannot be used as a schema: {problem}", GIVE_A_SCHEMA)


def own_code_failed(kind: str, problem: str) -> Message:
    """Say that a validator of the user's failed."""
    return Message(
        f"The schema's own code failed: {kind}: {problem}",
        "Mend the schema's own code; the answer's text is kept.",
    )


def not_json(problem: str) -> str:
    """Say where an answer stops being JSON."""
    return f"the answer is not JSON: {problem}"


def not_allowed(place: str) -> str:
    """Say that there may be nothing."""
    return f"{place} is not allowed"


def fits_none(place: str, union: str) -> str:
    """Say that none of the alternatives fits."""
    return f"{place} fits none of {union}"


def must_be(place: str, kinds: str) -> str:
    """Say what kind of value is wanted."""
    return f"{place} must be {kinds}"


def must_be_one_of(place: str, values: str) -> str:
    """Say which values are wanted."""
    return f"{place} must be one of {values}"


def is_missing(place: str) -> str:
    """Say that a key is missing."""
    return f"{place} is missing"


def must_match(place: str, pattern: str) -> str:
    """Say which pattern a text has to match."""
    return f"{place} must match {pattern}"


def bound(place: str, name: str, value: str) -> str:
    """Say which bound was passed."""
    return f"{place}: {name} is {value}"


def must_be_more(place: str, value: str) -> str:
    """Say what a number has to exceed."""
    return f"{place} must be more than {value}"


def must_be_less(place: str, value: str) -> str:
    """Say what a number has to stay below."""
    return f"{place} must be less than {value}"
