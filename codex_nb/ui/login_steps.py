"""The steps of a sign-in as the plain values that its widget draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

from codex_nb.auth.steps import EnterCode, EnterSecret, LoginStep, OpenUrl, SignedIn, Waiting
from codex_nb.rendering.markdown import is_web_link
from codex_nb.ui import words, words_sign_in

if TYPE_CHECKING:
    from datetime import datetime

    from codex_nb.errors import LoginFailed


def describe_step(step: LoginStep, now: datetime, *, cell_waits: bool = True) -> dict[str, Any]:
    """Return a step for the front end: ``kind`` and texts; a link only when it leads to the web.

    ``cell_waits`` tells whether a cell goes on when it is done.
    """
    then = words_sign_in.CELL_GOES_ON if cell_waits else words_sign_in.ACCOUNT_FOLLOWS
    match step:
        case EnterCode():
            return {
                "kind": "code",
                "text": f"{words_sign_in.ENTER_CODE} {then}",
                "hint": words_sign_in.NO_CODE_HINT,
                "code": step.user_code,
                "expires_in": max(0.0, (step.expires_at - now).total_seconds()),
                **_link(step.url),
            }
        case OpenUrl():
            text = words_sign_in.OPEN_URL_AND_PASTE if step.can_paste else f"{words_sign_in.OPEN_URL} {then}"
            return {"kind": "open", "text": text, "can_paste": step.can_paste, **_link(step.url)}
        case EnterSecret():
            return {"kind": "secret", "text": words_sign_in.ENTER_HIDDEN, "what": step.what}
        case Waiting():
            return {"kind": "waiting", "text": step.text}
        case SignedIn():
            plan = words.plan_name(step.plan) if step.plan != "unknown" else ""
            return {
                "kind": "done",
                "text": words_sign_in.signed_in(step.account_label, plan, step.note),
            }
        case _:
            assert_never(step)


def describe_failure(failure: LoginFailed) -> dict[str, Any]:
    """Return why a sign-in failed, for the front end."""
    return {"kind": "failed", "text": str(failure), "hint": failure.hint}


def _link(url: str) -> dict[str, str]:
    if is_web_link(url) and not url.lower().startswith("mailto:"):
        return {"href": url, "address": url}
    return {"href": "", "address": words_sign_in.UNSAFE_ADDRESS + url}
