"""What stands in the place of something that is not shown."""

from __future__ import annotations


def characters_left_out(count: str) -> str:
    """Say how much of an output is not shown."""
    return f"… {count} characters left out …"
