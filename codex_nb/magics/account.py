"""Signing in where a cell or the user needs it, signing out, and the account widget."""

from __future__ import annotations

import asyncio
import getpass
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from codex_nb.config.settings import profile_names
from codex_nb.errors import CodexError, CredentialsUnreadable, LoginFailed, SignInRequired
from codex_nb.host.interrupts import deferring_interrupts, uninterruptible
from codex_nb.host.shell import front_end
from codex_nb.rendering.sanitize import visible_text
from codex_nb.ui.account import AccountStatus, AccountView, LoginWidget, login_status, saved_name
from codex_nb.ui.widgets import READY_S, in_output_widget

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from codex_nb.auth.credentials import Credentials
    from codex_nb.auth.login import SignedIn
    from codex_nb.auth.manager import CredentialManager
    from codex_nb.host.engine import Mailbox
    from codex_nb.host.shell import FrontEnd
    from codex_nb.labels import LoginMethod
    from codex_nb.magics.session import ShellSession
    from codex_nb.profile import Profile
    from codex_nb.ui.account import ActionName
    from codex_nb.ui.widgets import OutputArea

    Elsewhere = Callable[[], Awaitable[SignedIn]]


@dataclass(frozen=True)
class SignOut:
    """Stored credentials that can be signed out; ``credentials`` is None when the store cannot be read.

    ``who`` is the account.
    """

    manager: CredentialManager
    credentials: Credentials | None
    who: str

    @property
    def done(self) -> str:
        """The confirmation."""
        return (
            f"Signed out of {self.who}: the login was revoked and deleted. "
            "The Codex CLI and other programs that used it are signed out, too."
        )

    async def run(self) -> None:
        """Sign out; raises AccountChanged when the stored credentials are another account's by now."""
        await self.manager.sign_out(self.credentials)


async def find_sign_out(manager: CredentialManager, *, in_full: bool) -> SignOut | None:
    """Return what signing out would do now; None when no credentials are stored.

    With ``in_full`` the account is named by its address, which what is saved does not hold.
    """
    try:
        credentials = await manager.stored_login()
    except (CredentialsUnreadable, SignInRequired):
        return SignOut(manager, None, "the stored login, which cannot be read")
    if credentials is None:
        return None
    label = credentials.label
    return SignOut(manager, credentials, label if in_full else saved_name(label))


@dataclass(frozen=True)
class LoginPrompt:
    """How the user can sign in here: by a widget, by typing, or not at all.

    ``reserve_output`` is called on the cell's thread before anything is shown, and returns the place for it;
    None is text.
    """

    profile: Profile
    has_widgets: bool
    has_user: bool
    in_full: bool
    reserve_output: Callable[[], OutputArea | None] = lambda: None

    async def log_in(self, main: Mailbox, method: LoginMethod, reason: str = "") -> SignedIn | None:
        """Sign the user in; None when the user cancels or cannot be asked. Runs on the engine.

        With a ``reason`` a cell waits, and a login that appears from elsewhere ends the wait.
        """
        from codex_nb.auth.login import login_from_elsewhere

        credentials = self.profile.credentials
        waits = bool(reason) and not credentials.is_external
        elsewhere = partial(login_from_elsewhere, credentials) if waits else None
        widget = await self._widget(main, method, reason, elsewhere) if self.has_widgets else None
        if widget is not None and not widget.ready:
            await main.call(partial(uninterruptible, widget.fall_back))
            reason, widget = "", None
        if widget is not None:
            try:
                return await widget.run()
            finally:
                await main.call(partial(uninterruptible, widget.finish))
        return await self._by_text(main, method, reason, elsewhere) if self.has_user else None

    async def _widget(
        self, main: Mailbox, method: LoginMethod, reason: str, elsewhere: Elsewhere | None
    ) -> LoginWidget:
        """Show the widget and give the front end time to answer it."""
        methods = (method, *(other for other in self.profile.login_methods if other != method))

        def show() -> LoginWidget:
            area = self.reserve_output()
            widget = LoginWidget(
                self.profile.login_flow,
                methods=methods,
                reason=reason,
                in_full=self.in_full,
                elsewhere=elsewhere,
                area=area,
            )
            main.at_close(widget.finish)  # also when this sign-in is cancelled before it has the widget
            widget.show()  # in the same step: the front end may answer at once
            return widget

        widget = await main.call(partial(uninterruptible, show))
        await is_answered(widget)
        return widget

    async def _by_text(
        self, main: Mailbox, method: LoginMethod, reason: str, elsewhere: Elsewhere | None
    ) -> SignedIn:
        from codex_nb.auth.login import first_of
        from codex_nb.rendering.answer_output import AnswerOutput, NoticeOutput, to_mimebundle
        from codex_nb.ui.account import sign_in_by_text, step_text

        shown: list[asyncio.Task[None]] = []

        def write(text: str) -> None:
            shown.append(asyncio.ensure_future(main.call(partial(print, text))))

        async def ask_hidden(prompt: str) -> str:
            await asyncio.gather(*shown)
            return await main.call(lambda: getpass.getpass(prompt))

        place = await main.call(partial(uninterruptible, self.reserve_output))
        if reason and place is not None:
            await main.call(lambda: place.show(to_mimebundle(AnswerOutput((NoticeOutput(reason),)))))
        elif reason:
            write(visible_text(reason))
        try:
            flow = self.profile.login_flow(method)
            signing_in = sign_in_by_text(flow, write, ask_hidden, in_full=self.in_full)
            if elsewhere is None:
                return await signing_in

            async def found() -> SignedIn:
                step = await elsewhere()
                write(step_text(step, in_full=self.in_full))
                return step

            return await first_of(signing_in, found())
        finally:
            await asyncio.gather(*shown)


async def is_answered(widget: LoginWidget | AccountView) -> bool:
    """Give the front end time to answer a widget; return whether it has. Runs on the engine."""
    for _ in range(int(READY_S / 0.05)):
        if widget.ready:
            return True
        await asyncio.sleep(0.05)
    return widget.ready


def login_prompt(session: ShellSession, profile: Profile, end: FrontEnd | None = None) -> LoginPrompt:
    """Return how the user can sign in here: not under a capture, which shows nothing.

    Runs on the cell's thread, unless it is given what that thread has found to be the front end.
    """
    end = end or front_end(session.shell)
    has_widgets = end.may_have_widgets and session.config.display != "text"
    has_user = end.allows_input and not end.is_captured
    return LoginPrompt(profile, has_widgets, has_user, session.names_in_full)


def log_in(session: ShellSession, method: LoginMethod, name: str | None) -> None:
    """Sign in because the user asked for it; raises LoginFailed."""
    prompt = login_prompt(session, session.profile(name))
    if not (prompt.has_widgets or prompt.has_user):
        raise LoginFailed(
            "Nobody can be asked to sign in here.",
            reason="unsupported",
            hint="Run `codex-nb login` in a terminal.",
        )
    if session.wait_with(lambda main: prompt.log_in(main, method)) is None:
        raise LoginFailed("The sign-in was cancelled.", reason="cancelled")


def account_status(session: ShellSession, name: str | None) -> AccountStatus:
    """Return the account's status, which shows itself with buttons. Runs on the cell's thread."""
    profile = session.profile(name)
    status = session.wait(_account_status(session, profile))
    return replace(status, show=AccountWidget(session, profile).show)


async def _account_status(session: ShellSession, profile: Profile) -> AccountStatus:
    config = session.config
    return await profile_status(
        profile, model=config.model, effort=config.effort, in_full=session.names_in_full
    )


async def profile_status(
    profile: Profile, *, model: str | None = None, effort: str | None = None, in_full: bool
) -> AccountStatus:
    """Return the status of a profile's account; ``model`` and ``effort`` take the place of those in the settings."""
    status = await login_status(profile.credentials)
    settings, limits = profile.settings, profile.assistant.limits
    if status.signed_in:
        try:
            limits = await profile.backend.usage() or limits
        except CodexError as error:
            status = replace(status, problem=error.line)
    model, effort = model or settings.model, effort or settings.effort
    return replace(status, limits=limits, model=model, effort=effort, in_full=in_full)


class AccountWidget:
    """The account's view and its buttons, whose actions run on the engine; the new state is shown in place."""

    def __init__(self, session: ShellSession, profile: Profile) -> None:
        self._session = session
        self._profile = profile
        self._view: AccountView | None = None
        self._sign_out: SignOut | None = None  # that is asked about
        self._newest = 0  # the number of the action that was touched last
        self._failures: list[str] = []  # of actions, until they are shown

    def show(self, status: AccountStatus) -> None:
        """Show the status, with buttons where the front end answers."""
        # under a capture there are none: they would replace what it shows
        if not login_prompt(self._session, self._profile).has_widgets or in_output_widget():
            replace(status, show=None)._ipython_display_()
            return
        with deferring_interrupts():
            self._view = view = self._make(status)
            view.show()
            self._session.wait_until(lambda: view.ready, READY_S)
            view.finish()

    def _make(self, status: AccountStatus, area: OutputArea | None = None) -> AccountView:
        several = bool(profile_names(self._session.environ))
        actions: tuple[ActionName, ...] = ("refresh", "sign_in", "sign_out")
        return AccountView(
            status,
            on_action=self._on_action,
            actions=("refresh", "switch_profile", *actions[1:]) if several else actions,
            area=area,
        )

    def _on_action(self, action: ActionName) -> None:
        self._session.engine.submit(self._run(action))

    async def _run(self, action: ActionName) -> None:
        view, self._newest = self._view, self._newest + 1
        number = self._newest
        if view is None:
            return
        try:
            match action:
                case "sign_in":
                    await self._log_in(view)
                    return
                case "sign_out":
                    self._sign_out = await find_sign_out(self._profile.credentials, in_full=True)
                    if self._sign_out is not None:
                        view.ask_to_sign_out(self._sign_out.who)
                        return
                    note = self._profile.credentials.external_note
                    self._failures.append(f"There are no stored credentials to sign out. {note}".strip())
                case "confirm_sign_out":
                    if self._sign_out is not None:
                        await self._sign_out.run()
                case "switch_profile":
                    self._profile = self._next_profile()
                case "refresh":
                    pass
        except CodexError as error:
            self._failures.append(error.line)
        except Exception as error:  # noqa: BLE001 - a button has no cell that could show it
            self._failures.append(f"The action failed ({type(error).__name__}).")
        status = await _account_status(self._session, self._profile)
        if number == self._newest:  # an answer that comes late must not take the place of a newer one
            failures, self._failures = self._failures, []
            view.update(replace(status, action_error=" ".join(failures)))

    def _next_profile(self) -> Profile:
        """Switch the session to the next profile; no profile is one of them."""
        names = [None, *profile_names(self._session.environ)]
        current = self._profile.settings.profile
        place = names.index(current) if current in names else 0
        self._session.config.profile = names[(place + 1) % len(names)]
        return self._session.profile()

    async def _log_in(self, view: AccountView) -> None:
        """Show a login in the view's place, and the account afterwards."""
        place = view.output
        methods = self._profile.login_methods
        widget = LoginWidget(self._profile.login_flow, methods=methods, cell_waits=False, area=place)
        view.close()  # JupyterLab loses messages when the last widget closes before the next one opens
        widget.show()
        try:
            if await is_answered(widget):
                await widget.run()
        finally:
            self._view = view = self._make(await _account_status(self._session, self._profile), place)
            widget.finish()
        view.show()
        await is_answered(view)
        view.finish()
