"""Sign-in in a cell: a widget with one step at a time, or the same steps as text."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, assert_never

from pydantic import SecretStr

from codex_nb.auth.login import EnterSecret, EnterUserCode, LoginStep, OpenUrl, SignedIn, Waiting, first_of
from codex_nb.errors import LoginFailed, home_as_tilde
from codex_nb.labels import LOGIN_METHODS, plan_name
from codex_nb.rendering.answer_output import AnswerOutput, NoticeOutput, to_mimebundle
from codex_nb.rendering.markdown import is_web_link
from codex_nb.rendering.visible import visible_text
from codex_nb.ui.account import saved_name
from codex_nb.ui.widgets import LiveOutput, Message, OutputArea, WidgetComm, WidgetKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from codex_nb.auth.login import LoginFlow
    from codex_nb.labels import LoginMethod


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
BUTTONS: dict[str, tuple[str, str]] = {
    **{method: (labels.button, labels.help) for method, labels in LOGIN_METHODS.items()},
    "new_code": ("New code", "Start again with a new code"),
    "try_again": ("Try again", "Start again"),
    "cancel": ("Cancel", "Cancel sign-in"),
}


def describe_step(
    step: LoginStep, now: datetime, *, cell_waits: bool = True, in_full: bool = False
) -> dict[str, Any]:
    """Return a step for the front end: ``kind`` and texts, and a link only for a web address.

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


def describe_failure(failure: LoginFailed) -> dict[str, Any]:
    """Return why a sign-in failed, for the front end."""
    return {"kind": "failed", "text": str(failure), "hint": failure.hint}


def _link(url: str) -> dict[str, str]:
    if is_web_link(url) and not url.lower().startswith("mailto:"):
        return {"href": url, "address": url}
    return {"href": "", "address": f"This is not a web address, so it is shown as text only: {url}"}


def _utc_now() -> datetime:
    return datetime.now(UTC)


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
        now: Callable[[], datetime] = _utc_now,
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
        self._chosen: Callable[[], None] = lambda: None

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
        loop, chosen = asyncio.get_running_loop(), asyncio.Event()

        def choose() -> None:
            loop.call_soon_threadsafe(chosen.set)

        self._chosen = choose
        while True:
            chosen.clear()
            try:
                return await self._attempt()
            except LoginFailed as failure:
                if not self._has_chosen():
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

    def _has_chosen(self) -> bool:
        return self._cancelled or self._next is not None

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
        step = self._step
        described = (
            describe_failure(step)
            if isinstance(step, LoginFailed)
            else describe_step(step, self._now(), cell_waits=self._cell_waits, in_full=self._in_full)
        )
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

    def _actions(self) -> list[dict[str, Any]]:
        if isinstance(self._step, SignedIn):
            return []
        actions = [_action("cancel", "cancel")]
        if isinstance(self._step, LoginFailed):
            actions.insert(0, _action("again", "try_again"))
        elif isinstance(self._step, EnterUserCode):
            actions.insert(0, _action("again", "new_code"))
        others = [method for method in self._methods if method != self._method]
        return actions + [_action(method, method, "codex-quiet") for method in others]

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


def _action(name: str, button: str, style: str = "") -> dict[str, Any]:
    label, help_text = BUTTONS[button]
    return {"name": name, "label": label, "help": help_text, "style": style}


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
    return visible_text(_step_text(step, cell_waits=cell_waits, in_full=in_full))


def _step_text(step: LoginStep, *, cell_waits: bool, in_full: bool) -> str:
    described = describe_step(step, datetime.now(UTC), cell_waits=cell_waits, in_full=in_full)
    match step:
        case EnterUserCode():
            return f"{described['text']}\n\n    {step.url}\n    {step.user_code}\n"
        case OpenUrl():
            then = _what_follows(cell_waits=cell_waits)
            return f"{step.note} {OPEN_PAGE} {then}\n\n    {step.url}\n".lstrip()
        case _:
            return str(described["text"])
