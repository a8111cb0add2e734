"""The account: who, which plan, who pays, where the login is kept, the limits; as output, as dict, as text.

The output is a plain mimebundle from the first moment on, so it can be saved at any time. Its buttons are added by the
front-end half and are part of no output.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from codex_nb.rendering.inert_markdown import escape_markdown
from codex_nb.rendering.markdown import safe_html
from codex_nb.rendering.sanitize import clean
from codex_nb.rendering.visible import visible, visible_line
from codex_nb.ui.labels import account_plan, limit_name, model_in_use, paid_by, when
from codex_nb.ui.live_output import Channel, Displays, LiveOutput, Message, NotebookDisplays, open_account
from codex_nb.words import account as words

if TYPE_CHECKING:
    from collections.abc import Callable

    from codex_nb.auth.diagnostics import AccountStatus
    from codex_nb.rendering.answer_output import Bundle
    from codex_nb.responses.limits import RateLimits, Window

CommandName = Literal["refresh", "switch_profile", "sign_in", "sign_out", "confirm_sign_out"]
BAR = 20  # characters


@dataclass(frozen=True)
class AccountReport:
    """Everything that is known about the account; what is not known says so.

    ``limits`` is None when they have not been told; ``problem`` says why something could not be found out. ``now`` is
    aware and gives the zone in which times are shown.
    """

    status: AccountStatus
    limits: RateLimits | None = None
    model: str | None = None
    effort: str | None = None
    problem: str = ""
    now: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values; times are ISO 8601 in UTC."""
        status = self.status
        return {
            "signed_in": status.signed_in,
            "auth_mode": None if status.auth_mode is None else str(status.auth_mode),
            "label": status.label,
            "email": status.email,
            "plan": status.plan,
            "account_id": status.account_id,
            "billing": status.billing,
            "credentials_location": status.credentials_location,
            "expires_at": _iso(status.expires_at),
            "profile": status.profile,
            "model": self.model,
            "effort": self.effort,
            "limits": None if self.limits is None else [_window(window) for window in self.limits.windows],
            "problem": status.problem or self.problem or None,
        }

    def __str__(self) -> str:
        width = max(len(name) for name, _ in self._rows())
        lines = [f"{name:<{width}}  {value}" for name, value in self._rows()]
        for name, used, resets in self._limits():
            lines.append(f"{name:<{width}}  {used}  {words.resets(resets)}")
        return visible("\n".join([*lines, *self._remarks()]))

    def _repr_mimebundle_(self, **_: Any) -> Bundle:
        markdown = self._markdown()
        html = clean(f'<div class="codex-account">\n{safe_html(markdown)}</div>')
        return {"text/html": html, "text/markdown": markdown, "text/plain": str(self)}

    def _rows(self) -> list[tuple[str, str]]:
        status = self.status
        if not status.signed_in:
            return [
                (words.ACCOUNT, words.ABSENCES[status.absence]),
                (words.LOGIN, status.credentials_location or words.UNKNOWN),
            ]
        rows = [
            (words.ACCOUNT, status.email or status.label or words.UNKNOWN),
            (words.PLAN, account_plan(status.billing, status.plan)),
            (words.PAID, paid_by(status.billing, status.plan)),
            (words.WORKSPACE, status.account_id or words.UNKNOWN),
            (words.LOGIN, status.credentials_location or words.UNKNOWN),
            (words.VALID, self._valid_until()),
            (words.MODEL, model_in_use(self.model, self.effort)),
        ]
        return rows if status.profile is None else [*rows, (words.PROFILE, status.profile)]

    def _valid_until(self) -> str:
        until = self._when(self.status.expires_at)
        is_renewed = self.status.billing == "chatgpt" and self.status.expires_at is not None
        return words.renewed(until) if is_renewed else until

    def _limits(self) -> list[tuple[str, str, str]]:
        windows = self.limits.windows if self.limits is not None else ()
        return [
            (limit_name(window.label, window.limit), bar(window.used_percent), self._when(window.resets_at))
            for window in windows
        ]

    def _remarks(self) -> list[str]:
        status = self.status
        remarks = [status.problem or "", self.problem]
        if self.limits is not None and (own := self.limits.credits) is not None and own.balance:
            remarks.append(words.credit(str(own.balance)))
        if status.signed_in and not self._limits():
            remarks.append(words.NO_LIMITS_FOR_KEYS if status.billing == "api_key" else words.NO_LIMITS)
        return [remark for remark in remarks if remark]

    def _markdown(self) -> str:
        lines = [f"| {words.TITLE} | |", "|---|---|"]
        lines += [f"| {_cell(name)} | {_cell(value)} |" for name, value in self._rows()]
        if self._limits():
            lines += ["", f"| {words.LIMITS} | {words.USED} | {words.RESETS} |", "|---|---|---|"]
            lines += [f"| {_cell(name)} | {_cell(used)} | {_cell(at)} |" for name, used, at in self._limits()]
        for remark in self._remarks():
            lines += ["", escape_markdown(visible(remark))]
        return "\n".join(lines)

    def _when(self, moment: datetime | None) -> str:
        return when(moment, self.now or datetime.now(UTC).astimezone())


class AccountView:
    """Shows a report with its buttons.

    ``show``, then wait a moment for :attr:`ready`, then ``settle``: from there on the output is plain, with buttons
    where the front-end half has answered. ``on_command`` takes what is touched, on the thread of the message; whoever
    takes "sign_out" asks by :meth:`ask_to_sign_out`, and the answer yes is "confirm_sign_out".
    """

    def __init__(
        self,
        report: AccountReport,
        *,
        on_command: Callable[[CommandName], None],
        commands: tuple[CommandName, ...] = ("refresh", "sign_in", "sign_out"),
        displays: Displays | None = None,
        open_channel: Callable[[], Channel] = open_account,
    ) -> None:
        self._report = report
        self._on_command = on_command
        self._commands = commands
        self._lock = threading.RLock()
        self._asks_to_sign_out = False
        whole = {"kind": "full", "labels": {}}
        self._output = LiveOutput(open_channel(), displays or NotebookDisplays(), lambda: whole)

    @property
    def ready(self) -> bool:
        """Whether the front-end half has answered."""
        return self._output.ready

    def show(self) -> None:
        """Show the widget that will bring the buttons."""
        self._output.show(str(self._report), self._take)

    def settle(self) -> None:
        """Put the report in the widget's place."""
        with self._lock:
            self._asks_to_sign_out = False
            is_known = self._report.status.signed_in
            names = [name for name in self._commands if is_known or name != "sign_out"]
            commands = [_command(name, is_known=is_known) for name in names]
            ending = {"commands": commands, "labels": {}}
            self._output.end(self._report._repr_mimebundle_(), ending, stays_open=bool(commands))
            if not self._output.hears:
                self._output.close()

    def update(self, report: AccountReport) -> None:
        """Show another report in its place."""
        self._report = report
        self.settle()

    def ask_to_sign_out(self, who: str) -> None:
        """Ask in the place of the buttons whether to sign somebody out."""
        with self._lock:
            self._asks_to_sign_out = True
            question = sign_out_question(who)
            answers = {"accept": words.BUTTONS["sign_out"], "decline": "Cancel"}
            self._output.send({"kind": "confirm", "question": question, **answers})

    @property
    def place(self) -> Displays:
        """This view's output, for another view to be shown there."""
        return self._output.place

    def close(self) -> None:
        """End the buttons."""
        with self._lock:
            self._output.close()

    def _take(self, message: Message) -> None:
        if message.get("kind") == "command":
            command = self._command(message.get("name"))
            if command is not None:
                self._on_command(command)
            return
        with self._lock:
            self._output.take(message)

    def _command(self, name: object) -> CommandName | None:
        if name == "confirm_sign_out":
            with self._lock:
                was_asked, self._asks_to_sign_out = self._asks_to_sign_out, False
            return "confirm_sign_out" if was_asked else None
        return next((each for each in self._commands if each == name), None)


def sign_out_question(who: str) -> str:
    """Return the question that is asked before somebody is signed out."""
    return f"Sign out of {visible_line(who)}? This also signs out the Codex CLI and other programs that use this login."


def bar(used_percent: float | None) -> str:
    """Return a used share as a bar of characters and a number; unknown stays unknown."""
    if used_percent is None:
        return words.UNKNOWN
    share = min(max(used_percent, 0.0), 100.0)
    full = round(share / 100 * BAR)
    return f"{'█' * full}{'░' * (BAR - full)} {used_percent:.0f} %"


def _command(name: CommandName, *, is_known: bool) -> dict[str, str]:
    style = "codex-primary" if name == "sign_in" and not is_known else ""
    return {"name": name, "label": words.BUTTONS[name], "help": words.BUTTON_HELP[name], "style": style}


def _cell(text: str) -> str:
    return escape_markdown(visible(text)) or " "


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
