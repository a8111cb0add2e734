"""What a sign-in shows, step by step; the widget, the magic and the command line draw the same steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class EnterCode:
    """Type ``user_code`` in at ``url`` before ``expires_at`` (aware UTC)."""

    user_code: str
    url: str
    expires_at: datetime


@dataclass(frozen=True)
class OpenUrl:
    """Open ``url`` in a browser; with ``can_paste`` the address it ends at may be submitted instead.

    ``note`` says what was wrong with the address that was submitted last.
    """

    url: str
    can_paste: bool
    note: str = ""


@dataclass(frozen=True)
class EnterSecret:
    """Type a secret into a masked field and submit it; ``what`` names it."""

    what: str


@dataclass(frozen=True)
class Waiting:
    """Nothing to do for the user but wait."""

    text: str


@dataclass(frozen=True)
class SignedIn:
    """The end: the login is saved. ``note`` says what else there is to know, as that a variable still comes first."""

    account_label: str
    plan: str
    note: str = ""


LoginStep = EnterCode | OpenUrl | EnterSecret | Waiting | SignedIn
