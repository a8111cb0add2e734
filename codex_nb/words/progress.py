"""Many questions at once: how far they are."""

from __future__ import annotations


def done(count: str, total: str) -> str:
    """Tell how many questions have their outcome."""
    return f"{count} of {total}"


def failed(count: str) -> str:
    """Tell how many of the outcomes are errors."""
    return f"{count} failed"


def waiting(seconds: str) -> str:
    """Tell that a rate limit holds the rest up."""
    return f"waiting {seconds} s for a rate limit"
