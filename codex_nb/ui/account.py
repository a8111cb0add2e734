"""The account: who is signed in, the plan, the billing, where the credentials are stored, the limits.

The output is a plain mimebundle from the first moment on, so it can be saved at any time. Its buttons are added by the
front end and are part of no output.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Self

from IPython.display import display

from codex_nb.auth.credentials import AuthMode
from codex_nb.auth.diagnostics import LoginStatus
from codex_nb.errors import home_as_tilde
from codex_nb.labels import BILLED_PER_TOKEN, limit_name, plan_name, short_account, short_id, time_span
from codex_nb.rendering.markdown import escape_markdown, safe_html
from codex_nb.rendering.sanitize import sanitize_html
from codex_nb.rendering.visible import visible_line, visible_text
from codex_nb.ui.widgets import LiveOutput, Message, OutputArea, WidgetComm, WidgetKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from codex_nb.rendering.answer_output import MimeBundle
    from codex_nb.rendering.visible import VisibleText
    from codex_nb.responses.events import RateLimits, Window

ActionName = Literal["refresh", "switch_profile", "sign_in", "sign_out", "confirm_sign_out"]
BAR = 20  # characters
ABSENCES = {
    "signed_out": "Not signed in",
    "changed": "A different account is signed in",
    "unusable": "The stored credentials cannot be used",
}
BUTTONS = {
    "refresh": ("Refresh", "Fetch the account and its limits again"),
    "switch_profile": ("Switch profile", "Use another login or config profile"),
    "sign_in": ("Sign in", "Sign in, or switch to another account"),
    "sign_out": ("Sign out", "Revoke and delete the stored login"),
}


@dataclass(frozen=True, kw_only=True)
class AccountStatus(LoginStatus):
    """The account's status with its limits and the model in use.

    Shown as a widget where it is the last value of a cell, as text in a terminal; :meth:`as_dict` gives plain values.
    ``limits`` is None when the service did not send them; ``action_error`` says why a button's action failed. ``now``
    is aware and gives the zone in which times are shown. ``show`` displays it with its buttons. What is shown is saved
    in the notebook: it names the account and the workspace in full only with ``in_full``.
    """

    limits: RateLimits | None = None
    model: str | None = None
    effort: str | None = None
    action_error: str = ""
    now: datetime | None = None
    in_full: bool = False
    show: Callable[[AccountStatus], None] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_status(cls, status: LoginStatus, **more: Any) -> Self:
        """Return the status of an account from that of its login; ``more`` are the fields of its own."""
        return cls(**vars(status), **more)

    @property
    def windows(self) -> tuple[Window, ...]:
        """The limits, each labelled by the length of its window; none when the service did not send them."""
        return self.limits.windows if self.limits is not None else ()

    @property
    def full_names(self) -> dict[str, str]:
        """What names the account and the workspace in full, by the short form that a notebook saves."""
        names = zip(self._short_names, self._names, strict=True)
        return {short: name for short, name in names if name}

    @property
    def _names(self) -> tuple[str, str]:
        return self.email or self.label, self.account_id or ""

    @property
    def _short_names(self) -> tuple[str, str]:
        account, workspace = self._names
        return saved_name(account), short_id(workspace)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values; times are ISO 8601 in UTC."""
        return {
            "signed_in": self.signed_in,
            "auth_mode": None if self.auth_mode is None else str(self.auth_mode),
            "label": self.label,
            "email": self.email,
            "plan": self.plan,
            "account_id": self.account_id,
            "billing": self.billing,
            "credentials_location": self.credentials_location,
            "expires_at": _iso(self.expires_at),
            "profile": self.profile,
            "model": self.model,
            "effort": self.effort,
            "limits": None if self.limits is None else [_window(window) for window in self.windows],
            "problem": self.problem or self.action_error or None,
        }

    def __str__(self) -> str:
        return self.text()

    def text(self) -> VisibleText:
        """Return the status as aligned lines."""
        rows = self._rows()
        width = max(len(name) for name, _ in rows)
        lines = [f"{name:<{width}}  {value}" for name, value in rows]
        lines += [
            f"{name:<{width}}  {used}{f'  resets {at}' if at else ''}" for name, used, at in self._limits()
        ]
        return visible_text("\n".join([*lines, *self._notes()]))

    def _repr_mimebundle_(self, **_: Any) -> MimeBundle:
        markdown = self._markdown()
        html = sanitize_html(f'<div class="codex-account">\n{safe_html(markdown)}</div>')
        return {"text/html": html, "text/markdown": visible_text(markdown), "text/plain": self.text()}

    def _ipython_display_(self) -> None:
        if self.show is not None:
            self.show(self)
        else:
            display(self._repr_mimebundle_(), raw=True)

    def _rows(self) -> list[tuple[str, str]]:
        """Return what is known, a row each."""
        where = home_as_tilde(self.credentials_location)
        is_handed_in = self.auth_mode is AuthMode.EXTERNAL
        location = ("Credentials", f"from {where}") if is_handed_in else ("Credentials stored in", where)
        overrides = ("Addresses set by", visible_line(", ".join(self.overrides)))
        if not self.signed_in:
            rows = [("Account", ABSENCES[self.absence]), location, overrides]
        else:
            account, workspace = self._names if self.in_full else self._short_names
            rows = [
                ("Account", account or "signed in"),
                ("Plan", self._plan()),
                ("Billing", billing_label(self.billing, self.plan)),
                ("Workspace ID", workspace),
                location,
                overrides,
                ("Valid until", self._valid_until()),
                ("Model", self._model()),
                ("Profile", self.profile or ""),
            ]
        return [(name, value) for name, value in rows if value.removeprefix("from ")]

    def _plan(self) -> str:
        if self.billing == "api_key":
            return "none (API key)"
        return plan_name(self.plan) if self.plan != "unknown" else ""

    def _model(self) -> str:
        model = self.model or "account default"
        return f"{model}, {self.effort} effort" if self.effort else model

    def _valid_until(self) -> str:
        if self.expires_at is None:
            return ""
        until = local_time(self.expires_at, self._now)
        return f"{until} (renews automatically)" if self.billing == "chatgpt" else until

    def _limits(self) -> list[tuple[str, str, str]]:
        return limit_rows(self.limits, self._now)

    def _notes(self) -> list[str]:
        notes = [self.problem or "", self.action_error]
        extra = self.limits.credits if self.limits is not None else None
        if extra is not None and extra.balance and extra.balance.strip("0."):
            notes.append(f"Credits: {extra.balance}")
        if self.signed_in and not self._limits():
            notes.append(
                "Limits: an API key is billed per token; see the OpenAI platform for its limits."
                if self.billing == "api_key"
                else "Limits: not known yet. Ask a question or refresh to fetch them."
            )
        return [note for note in notes if note]

    def _markdown(self) -> str:
        lines = ["| Codex account | |", "|---|---|"]
        lines += [f"| {_cell(name)} | {_cell(value)} |" for name, value in self._rows()]
        if limits := self._limits():
            lines += ["", "| Limit | Used | Resets |", "|---|---|---|"]
            lines += [f"| {_cell(name)} | {_cell(used)} | {_cell(at)} |" for name, used, at in limits]
        for note in self._notes():
            lines += ["", escape_markdown(note)]
        return "\n".join(lines)

    @property
    def _now(self) -> datetime:
        return self.now or datetime.now(UTC).astimezone()


class AccountView:
    """Shows a report with its buttons.

    Call ``show``, wait a moment for :attr:`ready`, then call ``finish``: the output is plain from then on, with buttons
    where a front end has loaded the widget. ``on_action`` is called on the message's thread; it answers "sign_out" by
    :meth:`ask_to_sign_out`, and the confirmation is "confirm_sign_out".
    """

    def __init__(
        self,
        report: AccountStatus,
        *,
        on_action: Callable[[ActionName], None],
        actions: tuple[ActionName, ...] = ("refresh", "sign_in", "sign_out"),
        area: OutputArea | None = None,
        open_comm: Callable[[WidgetKind], WidgetComm] = WidgetComm,
    ) -> None:
        self._report = report
        self._on_action = on_action
        self._actions = actions
        self._lock = threading.RLock()
        self._asks_to_sign_out = False
        full_message = {"kind": "full", "labels": {}}
        self._output = LiveOutput(open_comm(WidgetKind.ACCOUNT), area or OutputArea(), lambda: full_message)

    @property
    def ready(self) -> bool:
        """Whether the front end has drawn the widget."""
        return self._output.ready

    def show(self) -> None:
        """Show the widget whose front end adds the buttons."""
        self._output.show(self._report.text(), self._handle_message)

    def finish(self) -> None:
        """Replace the widget by the report."""
        with self._lock:
            self._asks_to_sign_out = False
            is_known = self._report.signed_in
            names = [name for name in self._actions if is_known or name != "sign_out"]
            actions = [_action(name, is_known=is_known) for name in names]
            ending = {"actions": actions, "labels": {}, "names": self._report.full_names}
            self._output.end(self._report._repr_mimebundle_(), ending, stays_open=bool(actions))
            if not self._output.loaded:
                self._output.close()

    def update(self, report: AccountStatus) -> None:
        """Replace the report by another one."""
        self._report = report
        self.finish()

    def ask_to_sign_out(self, who: str) -> None:
        """Ask for a confirmation in place of the buttons."""
        with self._lock:
            self._asks_to_sign_out = True
            question = sign_out_question(who)
            answers = {"accept": BUTTONS["sign_out"][0], "decline": "Cancel"}
            self._output.send({"kind": "confirm", "question": question, **answers})

    @property
    def output(self) -> OutputArea:
        """This view's output, for another view to be shown in it."""
        return self._output.output

    def close(self) -> None:
        """Close the widget and its buttons."""
        with self._lock:
            self._output.close()

    def _handle_message(self, message: Message) -> None:
        if message.get("kind") == "action":
            action = self._action(message.get("name"))
            if action is not None:
                self._on_action(action)
            return
        with self._lock:
            self._output.handle_message(message)

    def _action(self, name: object) -> ActionName | None:
        if name == "confirm_sign_out":
            with self._lock:
                was_asked, self._asks_to_sign_out = self._asks_to_sign_out, False
            return "confirm_sign_out" if was_asked else None
        return next((each for each in self._actions if each == name), None)


def saved_name(label: str) -> str:
    """Return an account's label as a notebook may save it; an account without a name is named by its login's file."""
    return home_as_tilde(short_account(label))


def sign_out_question(who: str) -> str:
    """Return the question that is asked before signing out."""
    return f"Sign out of {visible_line(who)}? This also signs out the Codex CLI and other programs that use this login."


def limit_rows(limits: RateLimits | None, now: datetime) -> list[tuple[str, str, str]]:
    """Return of each limit whose use is known its name, its use and when it resets; ``now`` is aware."""
    return [
        (
            limit_name(window.label, window.limit),
            usage_bar(window.used_percent),
            "" if window.resets_at is None else _reset(window.resets_at, now),
        )
        for window in (limits.windows if limits is not None else ())
        if window.used_percent is not None
    ]


def usage_bar(used_percent: float) -> str:
    """Return a used share as a bar of characters and a number."""
    share = min(max(used_percent, 0.0), 100.0)
    full = round(share / 100 * BAR)
    return f"{'█' * full}{'░' * (BAR - full)} {used_percent:.0f} %"


def local_time(moment: datetime, now: datetime) -> str:
    """Return a moment in the zone of ``now``, as short as it can be read."""
    local = moment.astimezone(now.tzinfo)
    if local.date() == now.date():
        return f"today {local:%H:%M}"
    return (
        f"{local:%a} {local.day} {local:%b %H:%M}"
        if local.year == now.year
        else f"{local.day} {local:%b %Y %H:%M}"
    )


def _reset(moment: datetime, now: datetime) -> str:
    at = local_time(moment, now)
    return f"{at} (in {time_span(moment - now)})" if moment > now else at


def _action(name: ActionName, *, is_known: bool) -> dict[str, str]:
    label, help_text = BUTTONS[name]
    style = "codex-primary" if name == "sign_in" and not is_known else ""
    return {"name": name, "label": label, "help": help_text, "style": style}


def _cell(text: str) -> str:
    return escape_markdown(text) or " "


def _window(window: Window) -> dict[str, Any]:
    return {
        "label": window.label,
        "limit": window.limit,
        "used_percent": window.used_percent,
        "window_minutes": window.window_minutes,
        "resets_at": _iso(window.resets_at),
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()


def billing_label(billing: str | None, plan: str) -> str:
    """Return what pays for a question."""
    if billing == "chatgpt" and "usage_based" in plan:
        return f"{plan_name(plan)}, billed by use"
    if billing == "chatgpt":
        return f"included in {plan_name(plan)}"
    return f"API key, pay as you go ({BILLED_PER_TOKEN})" if billing == "api_key" else ""
