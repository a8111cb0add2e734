"""When a login is renewed, and when trying again is not worth a request."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from codex_nb.auth.credentials import AuthMode, Credentials
from codex_nb.errors import RefreshFailed
from codex_nb.words import renewal as words

if TYPE_CHECKING:
    from datetime import datetime

    from codex_nb.auth.credentials import Clock

# The CLI's own margins: a JWT is renewed within five minutes of its end, a token without end when it is eight days old.
EXPIRY_MARGIN = timedelta(minutes=5)
OPAQUE_LIFETIME = timedelta(days=8)
FIRST_PAUSE = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(minutes=1)


@dataclass(frozen=True)
class _Failure:
    """A failed renewal of one very login; ``until`` is None when it is for good."""

    login: Credentials
    error: RefreshFailed
    until: datetime | None
    pause: timedelta


class RenewalPolicy:
    """Decides by the clock and by what failed before; forgets as soon as the login is another one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failure: _Failure | None = None

    def reason(self, credentials: Credentials) -> str | None:
        """Name the reason to renew now (a value of ``refresh_reason`` on the wire); None when there is none."""
        if not can_refresh(credentials) or self.recall(credentials) is not None:
            return None
        now = self._clock()
        if credentials.expires_at is not None:
            return "proactive_expiry" if credentials.expires_at <= now + EXPIRY_MARGIN else None
        refreshed_at = credentials.refreshed_at
        return "scheduled" if refreshed_at is not None and refreshed_at < now - OPAQUE_LIFETIME else None

    def is_expired(self, credentials: Credentials) -> bool:
        """Whether the token says of itself that it is over."""
        return credentials.expires_at is not None and credentials.expires_at <= self._clock()

    def is_hopeless(self, credentials: Credentials) -> bool:
        """Whether the token is over and cannot be renewed for good: sending it would only cost a 401."""
        error = self.recall(credentials)
        return error is not None and error.permanent and self.is_expired(credentials)

    def remember(self, login: Credentials, error: RefreshFailed) -> None:
        """Keep a failure: a permanent one for as long as this login lasts, others for a growing pause."""
        before = self._failure
        repeated = before is not None and _is_same(before.login, login)
        pause = min(before.pause * 2, LONGEST_PAUSE) if before is not None and repeated else FIRST_PAUSE
        self._failure = _Failure(login, error, None if error.permanent else self._clock() + pause, pause)

    def recall(self, login: Credentials) -> RefreshFailed | None:
        """Give the failure that still holds for this login, as a new error."""
        failure = self._failure
        if failure is None or not _is_same(failure.login, login):
            return None
        if failure.until is not None and self._clock() >= failure.until:
            return None
        error = failure.error
        return RefreshFailed(str(error), permanent=error.permanent, reason=error.reason, hint=error.hint)

    def forget(self) -> None:
        """Begin anew after a success or a sign-in."""
        self._failure = None


def can_refresh(credentials: Credentials) -> bool:
    """Whether there is a refresh token to spend."""
    return credentials.mode is AuthMode.CHATGPT and credentials.refresh_token is not None


def nothing_renewed() -> RefreshFailed:
    """The service may answer a refresh with ``{}``: a success that changes nothing and is not worth repeating soon."""
    return RefreshFailed(words.NOTHING_RENEWED, permanent=False, reason="unchanged")


def _is_same(one: Credentials, other: Credentials) -> bool:
    return one.same_bearer(other) and one.refresh_token == other.refresh_token
