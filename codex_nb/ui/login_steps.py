"""The steps of a sign-in as the plain values that its widget draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

from codex_nb.auth.steps import EnterCode, EnterSecret, LoginStep, OpenUrl, SignedIn, Waiting
from codex_nb.rendering.markdown import is_web_link
from codex_nb.ui.account_facts import plan_name
from codex_nb.words import sign_in as words

if TYPE_CHECKING:
    from datetime import datetime

    from codex_nb.errors import LoginFailed


def describe_step(step: LoginStep, now: datetime, *, cell_waits: bool = True) -> dict[str, Any]:
    """Return a step for the front end: ``kind`` and texts; a link only when it leads to the web.

    ``cell_waits`` tells whether a cell goes on when it is done.
    """
    then = words.CELL_GOES_ON if cell_waits else words.ACCOUNT_FOLLOWS
    match step:
        case EnterCode():
            return {
                "kind": "code",
                "text": f"{words.ENTER_CODE} {then}",
                "hint": words.NO_CODE_HINT,
                "code": step.user_code,
                "expires_in": max(0.0, (step.expires_at - now).total_seconds()),
                **_link(step.url),
            }
        case OpenUrl():
            text = words.OPEN_URL_AND_PASTE if step.can_paste else f"{words.OPEN_URL} {then}"
            more = {"can_paste": step.can_paste, "note": step.note}
            return {"kind": "open", "text": text, **more, **_link(step.url)}
        case EnterSecret():
            return {"kind": "secret", "text": words.ENTER_HIDDEN, "what": step.what}
        case Waiting():
            return {"kind": "waiting", "text": step.text}
        case SignedIn():
            return {"kind": "done", "text": success(step)}
        case _:
            assert_never(step)


def success(step: SignedIn) -> str:
    """Return the line that stays when a sign-in worked."""
    plan = plan_name(step.plan) if step.plan != "unknown" else ""
    match bool(step.account_label), bool(plan):
        case True, True:
            line = words.signed_in_with_plan(step.account_label, plan)
        case True, False:
            line = words.signed_in_as(step.account_label)
        case False, True:
            line = words.signed_in_somehow(plan)
        case _:
            line = words.SIGNED_IN
    return f"{line} {step.note}".strip()


def describe_failure(failure: LoginFailed) -> dict[str, Any]:
    """Return why a sign-in failed, for the front end."""
    return {"kind": "failed", "text": str(failure), "hint": failure.hint}


def _link(url: str) -> dict[str, str]:
    if is_web_link(url) and not url.lower().startswith("mailto:"):
        return {"href": url, "address": url}
    return {"href": "", "address": words.unsafe_address(url)}
