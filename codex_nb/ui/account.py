"""The account, and the sign-in to one: widgets in a cell, or the same as text.

The account is who is signed in, the plan, the billing, where the credentials are stored, the limits. Its output is a
plain mimebundle from the first moment on, so it can be saved at any time. Its buttons are added by the front end and
are part of no output. A sign-in shows one step at a time.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, assert_never

from IPython.display import display
from pydantic import SecretStr

from codex_nb.auth.credentials import AuthMode
from codex_nb.auth.login import EnterSecret, EnterUserCode, LoginStep, OpenUrl, SignedIn, Waiting, first_of
from codex_nb.auth.manager import address_overrides
from codex_nb.errors import AccountChanged, CodexError, LoginFailed, SignInRequired, home_as_tilde
from codex_nb.http import host_of
from codex_nb.labels import (
    BILLED_PER_TOKEN,
    LOGIN_METHODS,
    limit_name,
    plan_name,
    short_account,
    short_id,
    time_span,
)
from codex_nb.rendering.answer_output import AnswerOutput, NoticeOutput, to_mimebundle
from codex_nb.rendering.markdown import escape_markdown, is_web_link, safe_html
from codex_nb.rendering.sanitize import sanitize_html, visible_line, visible_text
from codex_nb.ui.widgets import LiveOutput, Message, OutputArea, WidgetComm, WidgetKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from codex_nb.auth.login import LoginFlow
    from codex_nb.auth.manager import CredentialManager
    from codex_nb.labels import LoginMethod
    from codex_nb.rendering.answer_output import MimeBundle
    from codex_nb.rendering.sanitize import VisibleText
    from codex_nb.responses.events import RateLimits, Window


ActionName = Literal["refresh", "switch_profile", "sign_in", "sign_out", "confirm_sign_out"]
BAR = 20  # characters
ABSENCES = {
    "signed_out": "Not signed in",
    "changed": "A different account is signed in",
    "unusable": "The stored credentials cannot be used",
}
ACCOUNT_BUTTONS = {
    "refresh": ("Refresh", "Fetch the account and its limits again"),
    "switch_profile": ("Switch profile", "Use another login or config profile"),
    "sign_in": ("Sign in", "Sign in, or switch to another account"),
    "sign_out": ("Sign out", "Revoke and delete the stored login"),
}


@dataclass(frozen=True, kw_only=True)
class AccountStatus:
    """Who is signed in and who pays, the limits, and the model in use; it holds no secret.

    Shown as a widget where it is the last value of a cell, as text in a terminal; :meth:`as_dict` gives plain values.
    ``auth_mode`` and ``billing`` are None when not signed in; ``problem`` then gives the reason in one line, and
    ``absence`` its kind: no login, another account's, or one that cannot be used. ``expires_at`` is aware UTC.
    ``credentials_location`` names a file, the keyring, a variable or the host program. ``overrides`` are the settings
    that lead the login elsewhere than to OpenAI, each with its host.
    ``limits`` is None when the service did not send them; ``action_error`` says why a button's action failed. ``now``
    is aware and gives the zone in which times are shown. ``show`` displays it with its buttons. What is shown is saved
    in the notebook: it names the account and the workspace in full only with ``in_full``.
    """

    signed_in: bool
    auth_mode: AuthMode | None = None
    label: str = field(default="", repr=False)
    email: str | None = field(default=None, repr=False)
    plan: str = "unknown"
    account_id: str | None = field(default=None, repr=False)
    billing: Literal["chatgpt", "api_key"] | None = None
    credentials_location: str = field(default="", repr=False)
    expires_at: datetime | None = None
    profile: str | None = None
    problem: str | None = None
    absence: Literal["signed_out", "changed", "unusable"] = "signed_out"
    overrides: tuple[str, ...] = field(default=(), compare=False)
    limits: RateLimits | None = None
    model: str | None = None
    effort: str | None = None
    action_error: str = ""
    now: datetime | None = None
    in_full: bool = False
    show: Callable[[AccountStatus], None] | None = field(default=None, repr=False, compare=False)

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


async def login_status(manager: CredentialManager) -> AccountStatus:
    """Describe the login; the limits and the model are not known to it.

    Uses no network for a stored login; the account of a personal access token or an agent identity is looked up.
    """
    overrides = address_overrides(manager.settings)
    named = tuple(f"{name} ({host_of(url) or url})" for name, url in overrides.items())
    try:
        credentials = await manager.inspect()
    except CodexError as error:
        return AccountStatus(
            signed_in=False,
            credentials_location=str(manager.stored.store),
            profile=manager.settings.profile,
            problem=error.line,
            absence=_absence(error),
            overrides=named,
        )
    return AccountStatus(
        signed_in=True,
        auth_mode=credentials.mode,
        label=credentials.label,
        email=credentials.account.email,
        plan=credentials.account.plan,
        account_id=credentials.account.account_id,
        billing=credentials.billing,
        credentials_location=credentials.source,
        expires_at=credentials.expires_at,
        profile=manager.settings.profile,
        overrides=named,
    )


def _absence(error: CodexError) -> Literal["signed_out", "changed", "unusable"]:
    if isinstance(error, AccountChanged):
        return "changed"
    return "signed_out" if isinstance(error, SignInRequired) else "unusable"


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
            primary = "" if is_known else "sign_in"
            actions = [
                _button(name, ACCOUNT_BUTTONS[name], "codex-primary" if name == primary else "")
                for name in self._actions
                if is_known or name != "sign_out"
            ]
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
            answers = {"accept": ACCOUNT_BUTTONS["sign_out"][0], "decline": "Cancel"}
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


def _button(name: str, labels: tuple[str, str], style: str = "") -> dict[str, str]:
    label, help_text = labels
    return {"name": name, "label": label, "help": help_text, "style": style}


def _cell(text: str) -> str:
    return escape_markdown(text) or " "


def _window(window: Window) -> dict[str, Any]:
    return {"label": window.label, **vars(window), "resets_at": _iso(window.resets_at)}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()


def billing_label(billing: str | None, plan: str) -> str:
    """Return what pays for a question."""
    if billing == "chatgpt" and "usage_based" in plan:
        return f"{plan_name(plan)}, billed by use"
    if billing == "chatgpt":
        return f"included in {plan_name(plan)}"
    return f"API key, pay as you go ({BILLED_PER_TOKEN})" if billing == "api_key" else ""


TITLE = "Sign in to Codex"
STARTING = "Starting the sign-in …"
OPEN_PAGE = "Open the page and sign in."
PASTE_ADDRESS = (
    "If your browser runs on another machine, it ends on a page that cannot be loaded: "
    "copy that page's address and paste it here."
)
NO_LOGIN = "The sign-in ended without a login."

# Texts of the front end, which has none of its own.
LABELS = {
    "copied": "Copied",
    "copy": "Copy code",
    "copyFailed": "Could not copy",
    "expired": "The code has expired. Request a new one.",
    "expiresIn": "Expires in",
    "openPage": "Open the sign-in page",
    "pasteAddress": "Address shown in your browser after signing in",
    "submit": "Submit",
    "userCode": "Code to enter",
}
NEW_CODE = ("New code", "Start again with a new code")
TRY_AGAIN = ("Try again", "Start again")
CANCEL = ("Cancel", "Cancel sign-in")


def describe_step(
    step: LoginStep | LoginFailed, now: datetime, *, cell_waits: bool = True, in_full: bool = False
) -> dict[str, Any]:
    """Return a step, or why there is no further one, for the front end: ``kind`` and texts, a link only to the web.

    ``cell_waits`` tells whether a cell continues afterwards, ``in_full`` whether the account's
    address is shown.
    """
    then = _what_follows(cell_waits=cell_waits)
    match step:
        case EnterUserCode():
            return {
                "kind": "code",
                "text": f"Open the page, sign in and enter this code. {then}",
                "hint": "Code not accepted? Allow device code sign-in in ChatGPT's security settings.",
                "code": step.user_code,
                "expires_in": max(0.0, (step.expires_at - now).total_seconds()),
                **_link(step.url),
            }
        case OpenUrl():
            text = f"{OPEN_PAGE} {PASTE_ADDRESS if step.can_paste else then}"
            more = {"can_paste": step.can_paste, "note": step.note}
            return {"kind": "open", "text": text, **more, **_link(step.url)}
        case EnterSecret():
            place = f"Your {step.what} is stored with your Codex login, never in the notebook."
            return {
                "kind": "secret",
                "text": f"{step.help} {place}".lstrip(),
                "what": step.what,
            }
        case Waiting():
            return {"kind": "waiting", "text": step.text}
        case SignedIn():
            return {"kind": "done", "text": success(step, in_full=in_full)}
        case LoginFailed():
            return {"kind": "failed", "text": str(step), "hint": step.hint}
        case _:
            assert_never(step)


def _what_follows(*, cell_waits: bool) -> str:
    return "The cell then continues automatically." if cell_waits else "Your account then appears here."


def success(step: SignedIn, *, in_full: bool = False) -> str:
    """Return the line that remains after a sign-in."""
    label = step.account_label if in_full else saved_name(step.account_label)
    account = f" as {label}" if label else ""
    if step.account_label.startswith("API key "):
        account = f" with an API key ({step.account_label.removeprefix('API key ')})"
    plan = f" ({plan_name(step.plan)})" if step.plan != "unknown" else ""
    return f"Signed in{account}{plan}. {home_as_tilde(step.note)}".strip()


def _link(url: str) -> dict[str, str]:
    if is_web_link(url) and not url.lower().startswith("mailto:"):
        return {"href": url, "address": url}
    return {"href": "", "address": f"This is not a web address, so it is shown as text only: {url}"}


class LoginWidget:
    """The sign-in in the running cell.

    ``show`` and ``finish`` are called on the cell's thread; ``run`` is awaited on the engine while the cell's thread
    serves the front end. ``start`` opens a flow; ``methods`` are the offered login methods; the first starts at once.
    ``cell_waits`` tells whether a cell waits for the sign-in and continues afterwards. ``elsewhere`` waits for a login
    that comes from somewhere else, which ends this sign-in.
    """

    def __init__(
        self,
        start: Callable[[LoginMethod], LoginFlow],
        *,
        methods: tuple[LoginMethod, ...] = ("device", "browser", "api_key"),
        reason: str = "",
        cell_waits: bool = True,
        in_full: bool = False,
        elsewhere: Callable[[], Awaitable[SignedIn]] | None = None,
        area: OutputArea | None = None,
        open_comm: Callable[[WidgetKind], WidgetComm] = WidgetComm,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._start = start
        self._methods = methods
        self._reason = reason
        self._cell_waits = cell_waits
        self._in_full = in_full
        self._elsewhere = elsewhere
        self._now = now
        self._lock = threading.RLock()
        self._output = LiveOutput(open_comm(WidgetKind.LOGIN), area or OutputArea(), self._full_message)
        self._method: LoginMethod = methods[0]
        self._step: LoginStep | LoginFailed = Waiting(STARTING)
        self._flow: LoginFlow | None = None
        self._next: LoginMethod | None = None  # the method that the user switched to
        self._cancelled = False
        self._chosen: Callable[[], object] = lambda: None

    @property
    def ready(self) -> bool:
        """Whether the front end has drawn the widget."""
        return self._output.ready

    def show(self) -> None:
        """Show the widget."""
        self._output.show(visible_text("Signing in to Codex."), self._handle_message)

    async def run(self) -> SignedIn | None:
        """Run the sign-in until it succeeds or the user cancels it (None); a failure is shown and can be retried."""
        if self._elsewhere is None:
            return await self._attempts()
        signed_in = await first_of(self._attempts(), self._elsewhere())
        if signed_in is not None:
            self._show_step(signed_in)
        return signed_in

    async def _attempts(self) -> SignedIn | None:
        chosen = asyncio.Event()
        self._chosen = partial(asyncio.get_running_loop().call_soon_threadsafe, chosen.set)
        while True:
            chosen.clear()
            try:
                return await self._attempt()
            except LoginFailed as failure:
                if not self._cancelled and self._next is None:
                    self._show_step(failure)
                    await chosen.wait()
            if self._cancelled:
                return None
            self._method, self._next = self._next or self._method, None

    def finish(self) -> None:
        """Replace the widget by one line that says how it ended, unless it has ended before."""
        step = self._step
        text = "Sign-in cancelled. Nothing was changed."
        if isinstance(step, SignedIn):
            text = success(step, in_full=self._in_full)
        with self._lock:
            if not self._output.has_ended:
                self._output.end(to_mimebundle(AnswerOutput((NoticeOutput(text),))), {"labels": LABELS})

    def fall_back(self) -> None:
        """Close a widget that no front end has loaded, and leave the reason for the sign-in."""
        with self._lock:
            self._output.end(to_mimebundle(AnswerOutput((NoticeOutput(self._reason or TITLE),))), {})
            self._output.close()

    async def _attempt(self) -> SignedIn:
        with self._lock:
            self._flow = flow = self._start(self._method)
        self._show_step(Waiting(STARTING))
        async for step in flow.steps():
            self._show_step(step)
            if isinstance(step, SignedIn):
                return step
        raise LoginFailed(NO_LOGIN, reason="malformed")

    def _show_step(self, step: LoginStep | LoginFailed) -> None:
        with self._lock:
            self._step = step
            self._output.redraw()

    def _full_message(self) -> Message:
        described = describe_step(self._step, self._now(), cell_waits=self._cell_waits, in_full=self._in_full)
        return {
            "kind": "full",
            "title": TITLE,
            "reason": visible_text(self._reason),
            "step": {
                name: visible_text(value) if isinstance(value, str) else value
                for name, value in described.items()
            },
            "actions": self._actions(),
            "labels": LABELS,
        }

    def _actions(self) -> list[dict[str, str]]:
        if isinstance(self._step, SignedIn):
            return []
        actions = [_button("cancel", CANCEL)]
        if isinstance(self._step, LoginFailed):
            actions.insert(0, _button("again", TRY_AGAIN))
        elif isinstance(self._step, EnterUserCode):
            actions.insert(0, _button("again", NEW_CODE))
        others = [method for method in self._methods if method != self._method]
        return actions + [_button(method, LOGIN_METHODS[method], "codex-quiet") for method in others]

    def _handle_message(self, message: Message) -> None:
        with self._lock:
            match message:
                case {"kind": "action", "name": str(name)}:
                    self._choose(name)
                case {"kind": "submit", "buffers": [typed]}:
                    if self._flow is not None:
                        self._flow.submit(SecretStr(bytes(typed).decode("utf-8", "replace")))
                case _:
                    self._output.handle_message(message)

    def _choose(self, name: str) -> None:
        if name == "cancel":
            self._cancelled = True
        elif name == "again":
            self._next = self._method
        else:
            self._next = next((method for method in self._methods if method == name), None)
            if self._next is None:
                return
        if self._flow is not None:
            self._flow.cancel()
        self._chosen()


async def sign_in_by_text(
    flow: LoginFlow,
    write: Callable[[str], None],
    ask_hidden: Callable[[str], Awaitable[str]],
    *,
    cell_waits: bool = True,
    in_full: bool = False,
) -> SignedIn:
    """Go through a sign-in as text.

    ``write`` prints a paragraph; ``ask_hidden`` shows a prompt and returns what is typed without echoing it (getpass).
    ``cell_waits`` tells whether a cell continues afterwards, ``in_full`` whether the account is named by its
    address. Raises LoginFailed.
    """
    async for step in flow.steps():
        write(step_text(step, cell_waits=cell_waits, in_full=in_full))
        if isinstance(step, EnterSecret):
            flow.submit(SecretStr(await ask_hidden(f"{step.what} (hidden): ")))
        elif isinstance(step, SignedIn):
            return step
    raise LoginFailed(NO_LOGIN, reason="malformed")


def step_text(step: LoginStep, *, cell_waits: bool = True, in_full: bool = False) -> str:
    """Return a step as a paragraph that is safe to print in a terminal."""
    text = describe_step(step, datetime.now(UTC), cell_waits=cell_waits, in_full=in_full)["text"]
    match step:
        case EnterUserCode():
            text += f"\n\n    {step.url}\n    {step.user_code}\n"
        case OpenUrl():
            then = _what_follows(cell_waits=cell_waits)
            text = f"{step.note} {OPEN_PAGE} {then}\n\n    {step.url}\n".lstrip()
    return visible_text(text)
