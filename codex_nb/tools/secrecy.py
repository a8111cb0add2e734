"""Names that say that what they hold is secret."""

from __future__ import annotations

import re

WITHHELD = "(withheld: its name says that it is secret)"
_SECRET = re.compile(
    r"(?:api|access|private|secret|auth|session)_?(?:key|token)|passw(?:or)?d|passphrase|secret|credential|bearer",
    re.IGNORECASE,
)


def names_a_secret(name: object) -> bool:
    """Whether a variable, attribute or column of this name should keep its value to itself."""
    return type(name) is str and bool(_SECRET.search(name))
