"""Every state of the views, each shown in its own cell by ``show(name)``.

A state does not change: its view is live, but nothing continues.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from codex_nb.auth.login import EnterSecret, EnterUserCode, LoginStep, OpenUrl, SignedIn, Waiting
from codex_nb.errors import LoginFailed
from codex_nb.labels import LoginMethod
from codex_nb.session.events import (
    Answer,
    ApprovalRequested,
    ApprovalResolved,
    Notice,
    ReasoningDelta,
    ReasoningDone,
    RetryScheduled,
    StepStarted,
    TextDelta,
    TextDone,
    ToolArgumentsDelta,
    ToolCallReady,
    ToolCallStarted,
    ToolFinished,
    ToolStarted,
    TurnEvent,
    TurnFinished,
    TurnStarted,
    Usage,
)
from codex_nb.tools.approval import Decision, DecisionKind
from codex_nb.tools.base import Tool, tool
from codex_nb.tools.builtin import run_python
from codex_nb.tools.cells import insert_cells
from codex_nb.ui.account import AccountStatus, AccountView, ActionName, LoginWidget
from tests.browser.transcript_scenes import ANSWER, CODE, PLAN, planning, print_and_plot
from tests.browser.transcript_stage import STARTED, Stage, finish
from tests.patience import PATIENCE_S
from tests.ui.test_account import KEY, NOW, REPORT, STATUS

THOUGHT = "**Looking at the data**\n\nThe user asks about penguins; the frame comes first, then its columns."
KEY_STARTED = TurnStarted("turn", "main", "gpt-5.2-codex", "high", "API key sk-…cdef", "unknown", "api_key")
CELLS = [{"kind": "markdown", "source": "## Penguins"}, {"kind": "code", "source": CODE}]
MAIL = {"to": "ada@example.com", "subject": "Penguins", "attachments": ["penguins.csv"]}
LONG_NAME = "a_name_that_goes_on_and_on_and_has_no_place_where_it_could_be_broken_" * 2
WIDE = f"""\
A [link]( https://example.com/{"path/" * 30}) and `{LONG_NAME}` in one line.

| {" | ".join(f"column {n}" for n in range(14))} |
|{"---|" * 14}
| {" | ".join(str(n * 123_456) for n in range(14))} |

```python
{LONG_NAME} = [{", ".join(str(n) for n in range(60))}]
```

- one
  - two
    1. three

      with a paragraph

# A heading
## A smaller one

$$ \\sum_{{i=1}}^n i = \\frac{{n(n+1)}}{{2}} {"+ 0" * 40} $$
"""
Step = TurnEvent | Callable[[Stage], Any]
held: list[Any] = []
told: dict[str, list[Any]] = {}  # what was touched in each state


def call(name: str, arguments: str, call_number: int = 1) -> list[TurnEvent]:
    """Return a call whose arguments have come."""
    return [ToolCallStarted(call_number, name), ToolCallReady(call_number, name, arguments)]


def asked(asking: Tool = run_python, **arguments: Any) -> list[TurnEvent]:
    """Return a call that waits for the user's approval."""
    text = json.dumps(arguments or {"code": CODE})
    return [
        ToolCallStarted(1, asking.name),
        ToolCallReady(1, asking.name, text),
        ApprovalRequested(asking.request(1, asking.parse(text))),
    ]


@tool
def send_mail(to: str, subject: str, attachments: list[str]) -> str:
    """Send a mail."""
    return f"sent {subject} to {to} with {attachments}"


def decided(kind: DecisionKind, *, by: str = "user", message: str = "") -> list[TurnEvent]:
    """Return the decision on the call, and its result."""
    decision = Decision(kind, by=by, message=message)
    events: list[TurnEvent] = [ApprovalResolved(1, decision)]
    if decision.approved:
        return [*events, ToolStarted(1)]
    return [*events, ToolFinished(1, f"The user rejected this. {message}".strip(), ok=False)]


def finished(text: str, status: Any, error: str | None = None) -> list[TurnEvent]:
    """Return a message and the end of its turn."""
    return [TextDone("m1", text), finish(text, status=status, error=error)]


ASKS_PYTHON = asked()
LIVE: Mapping[str, list[TurnEvent]] = {
    "waiting": [],
    "thinking": [ReasoningDelta("r1", 0, THOUGHT)],
    "writing": [ReasoningDone("r1", THOUGHT), TextDelta("m1", ANSWER[: ANSWER.index("Adelie and")])],
    "writing-code": [TextDelta("m1", ANSWER[: ANSWER.index(".agg(")])],
    "arguments": [
        ReasoningDone("r1", THOUGHT),
        TextDone("m1", "I look at the frame before I answer."),
        ToolCallStarted(1, "run_python"),
        ToolArgumentsDelta(1, json.dumps({"code": CODE})[:-30]),
    ],
    "asking-python": [TextDone("m1", "I look at the frame before I answer."), *ASKS_PYTHON],
    "asking-editing": ASKS_PYTHON,
    "asking-rejecting": ASKS_PYTHON,
    "asking-cells": asked(insert_cells, cells=CELLS),
    "asking-own-tool": asked(send_mail, **MAIL),
    "running": [*ASKS_PYTHON, *decided(DecisionKind.APPROVE)],
    "looking": [
        *call("inspect", '{"names": ["penguins"]}'),
        ToolStarted(1),
        ToolFinished(1, "penguins: DataFrame, 336 rows", ok=True),
        *call("read_file", '{"path": "penguins.csv"}', 2),
        ToolStarted(2),
        ToolFinished(2, "There is no file penguins.csv here.", ok=False),
    ],
    "retrying": [
        TextDelta("m1", "The frame has **336"),
        RetryScheduled(2, 5, 4.0, "The connection broke in the middle of the answer."),
    ],
    "plan": [*planning(11, 1, "Eight rows are not complete; the rest is enough."), *ASKS_PYTHON],
    "wide": [ReasoningDone("r1", WIDE), TextDone("m1", WIDE), *asked(code=WIDE.split("```")[1])],
}


def with_outputs() -> list[Step]:
    """Return a whole turn whose code prints and draws."""
    return [
        Notice("limits", "82 % of the 5 h limit is used; it resets today 19:00."),
        ReasoningDone("r1", THOUGHT),
        TextDone("m0", "I look at the frame before I answer."),
        *ASKS_PYTHON,
        *decided(DecisionKind.APPROVE),
        lambda _: [ToolFinished(1, print_and_plot(), ok=True)],
        StepStarted(2),
        *finished(ANSWER, "completed"),
    ]


ENDED: Mapping[str, list[Step]] = {
    "answered": with_outputs(),
    "answered-wide": [ReasoningDone("r1", WIDE), *finished(WIDE, "completed")],
    "answered-plan": [*planning(11, len(PLAN)), *finished("That was it.", "completed")],
    "answered-looking": [*LIVE["looking"], *finished("There is no such file.", "completed")],
    "rejected": [
        *ASKS_PYTHON,
        *decided(DecisionKind.REJECT, message="use polars"),
        *finished("Then I leave it.", "completed"),
    ],
    "unanswered": [
        *ASKS_PYTHON,
        *decided(DecisionKind.REJECT, by="nobody"),
        *finished("I could not look.", "completed"),
    ],
    "failed": finished(
        "The frame", "failed", "The service is overloaded (503). Try again later, or choose another model."
    ),
    "stopped": finished(
        "The frame has **336 rows**; the mean\n\n```python\npenguins.mean()\n```", "cancelled"
    ),
    "incomplete": finished("The frame has", "incomplete", "The answer reached its token limit."),
    "stored": [
        Notice("cached", "Saved answer from 20 Nov 18:04; no request was made. Use --fresh to ask again."),
        TextDone("m1", "The frame has **336 rows**."),
        TurnFinished(Answer("", model="gpt-5.2-codex", usage=Usage(), billing="chatgpt")),
    ],
}

UNKNOWN = replace(
    STATUS,
    email=None,
    label="",
    plan="unknown",
    account_id=None,
    expires_at=None,
    billing=None,
    action_error="The service did not answer: the limits are not known.",
    now=NOW,
)
NOBODY = replace(STATUS, signed_in=False, absence="signed_out", problem="Sign in with %codex login.", now=NOW)
FULL = replace(
    REPORT,
    profile="work",
    credentials_location=str(Path.home() / ".codex" / "profiles" / "work" / "auth.json"),
)
ACCOUNTS: Mapping[str, AccountStatus] = {
    "account": FULL,
    "account-key": replace(KEY, model="gpt-5.2-codex", now=NOW),
    "account-nobody": NOBODY,
    "account-unknown": UNKNOWN,
}
ALL: tuple[ActionName, ...] = ("refresh", "switch_profile", "sign_in", "sign_out")

EXPIRED = "Your ChatGPT session has ended (the refresh token was revoked)."
PAGE = "https://auth.openai.com/codex/device"
AUTHORIZE = f"https://auth.openai.com/oauth/authorize?response_type=code&client_id=app_0&state={'s' * 43}"


numbers = itertools.count(1)


def in_minutes(minutes: float) -> datetime:
    """Return a moment to come."""
    return datetime.now(UTC) + timedelta(minutes=minutes)


SIGN_INS: Mapping[str, Callable[[], tuple[LoginMethod, LoginStep | LoginFailed]]] = {
    "sign-in-starting": lambda: ("device", Waiting("Starting the sign-in …")),
    "sign-in-code": lambda: ("device", EnterUserCode(f"ABCD-EFGH{next(numbers)}", PAGE, in_minutes(15))),
    "sign-in-code-over": lambda: ("device", EnterUserCode("ABCD-EFGHJ", PAGE, in_minutes(-1))),
    "sign-in-browser": lambda: ("browser", OpenUrl(AUTHORIZE, can_paste=False)),
    "sign-in-paste": lambda: ("browser", OpenUrl(AUTHORIZE, can_paste=True)),
    "sign-in-pasted": lambda: (
        "browser",
        OpenUrl(
            AUTHORIZE,
            can_paste=True,
            note="This address does not belong to this sign-in. Paste the whole address from your browser.",
        ),
    ),
    "sign-in-odd-address": lambda: ("browser", OpenUrl("file:///etc/passwd", can_paste=False)),
    "sign-in-key": lambda: ("api_key", EnterSecret("OpenAI API key")),
    "sign-in-failed": lambda: (
        "device",
        LoginFailed("The sign-in page refused the code.", reason="refused", hint="The old login is kept."),
    ),
    "signed-in": lambda: ("device", SignedIn("ada@example.com", "plus")),
    "sign-in-cancelled": lambda: ("device", Waiting("Starting the sign-in …")),
}
STATES = (*LIVE, *ENDED, *ACCOUNTS, *SIGN_INS)


WAYS: Mapping[LoginMethod, str] = {
    "device": "sign-in-code",
    "browser": "sign-in-browser",
    "api_key": "sign-in-key",
}


class OneStep:
    """A sign-in that stops at one step, until it is cancelled."""

    def __init__(self, step: LoginStep | LoginFailed) -> None:
        self._step = step
        self._cancelled = asyncio.Event()

    async def steps(self) -> AsyncIterator[LoginStep]:
        """Come to the step and stay there."""
        if isinstance(self._step, LoginFailed):
            raise self._step
        yield self._step
        await self._cancelled.wait()
        raise LoginFailed("The sign-in was cancelled.", reason="cancelled")

    def submit(self, text: object) -> None:
        """Take what is typed."""

    def cancel(self) -> None:
        """End."""
        self._cancelled.set()


def show(name: str) -> None:
    """Show one state in the running cell."""
    if name in LIVE:
        started = TurnStarted("t", "main", "gpt-5.2-codex", "medium", "ada@example.com", "plus", "chatgpt")
        stage = Stage()
        stage.hold([started, StepStarted(1), *LIVE[name]])
        held.append(stage)
        told[name] = stage.commands
    elif name in ENDED:
        started = KEY_STARTED if name == "failed" else STARTED
        stage = Stage(offers_more=True)
        stage.play([started, StepStarted(1), *ENDED[name]])
        told[name] = stage.commands
    elif name in ACCOUNTS:
        show_account(name)
    else:
        show_sign_in(name)


def show_account(name: str) -> None:
    """Show an account with all the buttons that it may have."""
    report = ACCOUNTS[name]
    touched = told.setdefault(name, [])
    view = AccountView(report, on_action=touched.append, actions=ALL)
    view.show()
    Stage.serve(lambda: view.ready, PATIENCE_S)
    view.finish()
    held.append(view)


def show_sign_in(name: str) -> None:
    """Show a sign-in at one of its steps."""
    method, _ = SIGN_INS[name]()
    methods: list[LoginMethod] = ["device", "browser", "api_key"]
    methods.sort(key=lambda each: each != method)
    widget = LoginWidget(
        lambda chosen: OneStep(SIGN_INS[name if chosen == method else WAYS[chosen]]()[1]),
        methods=tuple(methods),
        reason=EXPIRED,
    )
    widget.show()
    Stage.serve(lambda: widget.ready, PATIENCE_S)
    running = asyncio.get_running_loop().create_task(widget.run())
    held.extend([widget, running])
    running.add_done_callback(lambda _: widget.finish())
    if name == "sign-in-cancelled":
        running.cancel()
