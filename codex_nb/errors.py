"""The error tree: the class of an error tells the user's next action.

::

    CodexError (hint, retryable)
      AuthError
        SignInRequired        sign in
        RefreshFailed         sign in again (permanent) or try again (transient)
        LoginFailed           start the sign-in again
        AccountChanged        choose the account
        CredentialsUnreadable fix or remove the named file
      ApiError (status, code, request_id)
        RateLimited           wait a moment
        UsageLimitReached     wait for the reset, or change plan
        QuotaExceeded         check billing
        ContextWindowExceeded start a new thread, send less
        ModelUnavailable      choose another model
        BackendOverloaded     try later, or another model
        BadRequest            change the request
        MalformedResponse     ask again, check the provider
      StreamInterrupted       run the cell again; the partial answer is kept
      ToolError               becomes a function call output, never reaches the user
        UnknownTool
        InvalidArguments
      ConfigError             fix the named file and key
      AgentFailed             run the cell again, or check the Codex CLI

No error ever holds a secret, in its message, its fields or its chained cause.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path
    from typing import Self


def home_as_tilde(text: str) -> str:
    """Return a text in which paths of the user's home folder begin with ``~``: a home folder has its user's name."""
    home = os.path.expanduser("~").rstrip("/\\")  # noqa: PTH111 -- Path.home() raises where there is none
    if len(home) < 2 or home == "~":  # noqa: PLR2004 -- a system account's home is the root
        return text
    return re.sub(rf"(?<![\w.~/\\-]){re.escape(home)}(?![\w-]|\.\w)", "~", text)


class CodexError(Exception):
    """Anything that codex_nb tells a user went wrong.

    ``str(error)`` says what happened and why, in one sentence or two; ``hint`` says what to do next, and is the
    class's ``default_hint`` unless another is given. ``is_shown`` tells that the cell shows the error already.
    ``answers`` is what :func:`codex_nb.map` had when this error ended it: one entry for each prompt, in order, an error
    where a prompt failed, an Answer with the status "cancelled" where there was no answer.
    """

    default_hint: ClassVar[str] = ""
    retryable: bool = False
    is_shown: bool = False
    answers: Any = ()

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(home_as_tilde(message))  # a notebook saves it
        self.hint: str = home_as_tilde(self.default_hint if hint is None else hint)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let an error travel between processes: pickle would call the class with the message alone."""
        return _restored, (type(self), self.args, self.__dict__)

    @property
    def line(self) -> str:
        """The message and the hint as the one readable line that a notebook shows."""
        return f"{self} {self.hint}".strip()

    def bare(self) -> Self:
        """Return the error without its tracebacks and those of its causes.

        Their frames hold what was sent and received, and a verbose traceback prints local variables.
        """
        link: BaseException | None = self
        seen: set[int] = set()
        while link is not None and id(link) not in seen:
            seen.add(id(link))
            link.__traceback__ = None
            link = link.__cause__ or link.__context__
        return self


def _restored(kind: type[CodexError], args: tuple[Any, ...], attributes: dict[str, Any]) -> CodexError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class AuthError(CodexError):
    """The login does not allow the request."""


class SignInRequired(AuthError):
    """There is no usable login."""

    default_hint = "Sign in with %codex login."


class RefreshFailed(AuthError):
    """The access token could not be refreshed.

    ``permanent`` tells whether only a new login helps; ``reason`` is the machine-readable cause:
    ``expired``, ``reused``, ``revoked``, ``rejected``, ``unreachable``, ``malformed``; ``insecure`` (its
    address is neither https nor on this machine), ``locked`` (another program is changing the login),
    ``unwritable`` (CODEX_HOME is not writable, so the refresh token was not used), ``unchanged`` (the
    service returned the old token) or ``ended`` (the refreshing process ended early).
    """

    default_hint = "Sign in again with %codex login."

    def __init__(
        self, message: str, *, reason: str, permanent: bool = False, hint: str | None = None
    ) -> None:
        if hint is None and not permanent:
            hint = "Run the cell again in a moment."
        super().__init__(message, hint=hint)
        self.permanent = permanent
        self.reason = reason
        self.retryable: bool = not permanent


class LoginFailed(AuthError):
    """A sign-in ended without a login.

    ``reason`` is one of ``cancelled``, ``expired``, ``refused``, ``network``, ``malformed``, ``unsupported``,
    ``forbidden`` (by config.toml or the workspace) or ``unsaved`` (the store did not take it).
    """

    default_hint = "Start again with %codex login."

    def __init__(self, message: str, *, reason: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class AccountChanged(AuthError):
    """Another account's login has taken the place of the one this session began with."""

    default_hint = "Run %codex login, or %reload_ext codex_nb to continue with the account on disk."


class CredentialsUnreadable(AuthError):
    """The stored login exists but cannot be read; it is left untouched."""

    def __init__(self, message: str, *, path: Path | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.path = path


class ApiError(CodexError):
    """The API answered with an error."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code
        self.request_id = request_id


class RateLimited(ApiError):
    """Too many requests in a short time; ``retry_after`` is in seconds if the server said so."""

    default_hint = "Wait a moment and run the cell again."
    retryable = True
    retry_after: float | None = None


class UsageLimitReached(ApiError):
    """The plan's limit is reached until ``resets_at`` (aware UTC, None when unknown)."""

    default_hint = "Run %codex usage to see your limits."
    resets_at: datetime | None = None
    plan: str | None = None


class QuotaExceeded(ApiError):
    """The API key's account has no quota left."""

    default_hint = "Check the plan and billing details of your API account."


class ContextWindowExceeded(ApiError):
    """The conversation and its context no longer fit the model."""

    default_hint = "Start a new thread with %codex new, or send less with --no-context."


class ModelUnavailable(ApiError):
    """The model does not exist or is not available to this account; ``available`` names the nearest ones."""

    default_hint = "Run %codex models to see the available models."
    available: tuple[str, ...] = ()


class BackendOverloaded(ApiError):
    """The service or the model is at capacity; ``retry_after`` is in seconds if the server said so."""

    default_hint = "Try again shortly, or choose another model with -m."
    retryable = True
    retry_after: float | None = None


class BadRequest(ApiError):
    """The API rejected the request."""

    default_hint = "Change the prompt, or choose another model with -m."


class MalformedResponse(ApiError):
    """The response contradicts itself, so it is unclear which call is meant; none of its calls ran."""

    default_hint = (
        "None of its tool calls ran. Ask again; if the error persists, check the provider and any proxy."
    )


class StreamInterrupted(CodexError):
    """The answer ended early; ``events_seen`` events had arrived."""

    default_hint = "The partial answer is kept. Run the cell again, or ask Codex to continue."
    retryable = True

    def __init__(self, message: str, *, events_seen: int = 0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.events_seen = events_seen


class ToolError(CodexError):
    """A tool call that cannot be carried out; the model is told and the cell continues."""


class UnknownTool(ToolError):
    """The model called a tool that was not offered."""


class InvalidArguments(ToolError):
    """The arguments of a tool call do not fit the tool's schema."""


class ConfigError(CodexError):
    """A setting is wrong: ``path`` names the file (or variable), ``key`` the setting."""

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        key: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.path = path
        self.key = key

    @classmethod
    def invalid_value(cls, path: str, key: str, expected: str) -> Self:
        """Return the error for a value of another kind than is expected."""
        message = f"{path}: invalid value of {key}: expected {expected}."
        return cls(message, path=path, key=key, hint=f"Correct the value of {key}.")


class AgentFailed(CodexError):
    """The Codex CLI, in which the agent runs, ended or did not do what its protocol demands."""

    default_hint = "Run the cell again; codex-nb doctor checks the Codex CLI."
