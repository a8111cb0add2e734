"""A question of a cell: what is said once, why it cannot be asked, and that it was not answered."""

from __future__ import annotations

from codex_nb.words.message import Message
from codex_nb.words.next_steps import choose_one_of

NOT_ANSWERED = "The question was not answered; the reason stands above."

SEE_HELP = "See %codex help."
PICTURES = "Name a figure, or a .png, .jpg, .gif or .webp file."
ANOTHER_NAME = "Give another name for the answer, such as -o answer."
NO_QUESTION = Message("%%codex: there is no question.", "Write it below the magic's line.")
OPTIONS_THEN_PROMPT = Message("%%codex takes options, then a prompt.", SEE_HELP)
NO_CLOSING_QUOTATION = Message("%%codex: no closing quotation in the options.", SEE_HELP)


def bad_options(problem: str) -> Message:
    """Say what is wrong with the options, in the parser's words."""
    return Message(f"%%codex: {problem}.", SEE_HELP)


def no_such_option(option: str) -> Message:
    """Say that an option is not known."""
    return Message(f"%%codex: there is no option {option}.", SEE_HELP)


def no_value(option: str) -> Message:
    """Say that an option has no value."""
    return Message(f"%%codex: {option} needs a value behind it.", SEE_HELP)


def no_such_value(option: str, value: str, values: str) -> Message:
    """Say that an option does not take this value."""
    return Message(f"%%codex: {option} cannot be {value!r}.", choose_one_of(values))


def not_a_name(text: str) -> Message:
    """Say that an answer cannot be bound to this."""
    return Message(
        f"%%codex: {text!r} is not a Python name.", "Give a name for the answer, such as -o answer."
    )


def no_schema(schema: str, name: str) -> Message:
    """Say that a schema's name is unknown in the namespace."""
    return Message(f"--schema {schema}: there is no {name!r} in your namespace.", SEE_HELP)


def no_schema_inside(schema: str, owner: str, name: str) -> Message:
    """Say that a schema's dotted name leads nowhere."""
    return Message(f"--schema {schema}: {owner!r} has no {name!r}.", SEE_HELP)


def no_image(name: str) -> Message:
    """Say that there is no such picture."""
    return Message(f"--image {name}: neither a figure in your namespace nor a picture file.", PICTURES)


def image_too_large(name: str, megabytes: str) -> Message:
    """Say that a picture's file is too large."""
    return Message(f"--image {name}: the file is larger than {megabytes} MB.", "Send a smaller one.")


def not_an_image(name: str, type_name: str) -> Message:
    """Say that a variable is no picture."""
    return Message(f"--image {name}: {type_name} is no figure and no picture.", PICTURES)
