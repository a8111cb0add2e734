"""Limits of a plan: what their windows are called, by their length."""

from __future__ import annotations

LIMIT = "limit"
DAY = "day"
WEEK = "week"
MONTH = "month"


def days(count: str) -> str:
    """Name a window of some days."""
    return f"{count} days"


def hours(count: str) -> str:
    """Name a window of some hours."""
    return f"{count} h"


def minutes(count: str) -> str:
    """Name a window of less than an hour."""
    return f"{count} min"
