"""Signing in from a cell, and the account status with its widget."""

from __future__ import annotations

import asyncio
import getpass
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from codex_nb.config.settings import profile_names
from codex_nb.errors import AuthError, CodexError, CredentialsUnreadable, LoginFailed, SignInRequired
from codex_nb.host.frontend import front_end
from codex_nb.rendering.visible import visible
from codex_nb.session.turn import needs_sign_in
from codex_nb.ui.account import AccountReport, AccountView
from codex_nb.ui.live_output import is_catching
from codex_nb.ui.login import LoginWidget
from codex_nb.words import login_flows
from codex_nb.words import sign_in as words

if TYPE_CHECKING:
    from collections.abc import Callable

    from codex_nb.auth import CredentialManager, Credentials, LoginMethod, SignedIn
    from codex_nb.magics.session import ShellSession
    from codex_nb.profile import Profile, Status
    from codex_nb.session.turn import SignIn
    from codex_nb.ui.account import CommandName
    from codex_nb.ui.live_output import Displays


@dataclass(frozen=True)
class SignOut:
    """A stored login that can be signed out; ``login`` is None when the store's content cannot be read."""

    manager: CredentialManager
    login: Credentials | None

    @property
    def who(self) -> str:
        """Whom it signs out."""
        return self.login.label if self.login is not None else "the stored login, which cannot be read"

    @property
    def done(self) -> str:
        """What was done."""
        return (
            f"Signed out of {self.who}: the login was revoked and deleted. "
            "The Codex CLI and other programs that used it are signed out, too."
        )

    async def carry_out(self) -> None:
        """Sign out; raises AccountChanged when the stored login is another account's by now."""
        await self.manager.sign_out(self.login)


async def find_sign_out(manager: CredentialManager) -> SignOut | None:
    """Return what signing out would do now; None when no login is stored."""
    try:
        login = await manager.stored_login()
    except (CredentialsUnreadable, SignInRequired):
        return SignOut(manager, None)
    return None if login is None else SignOut(manager, login)


T = TypeVar("T")

READY_S = 1.5
WAYS: tuple[LoginMethod, ...] = ("device", "browser", "api_key", "access_token")


class MainThread(Protocol):
    """Runs a function on the thread of the cell."""

    async def call(self, function: Callable[[], T]) -> T:
        """Return what the function returned there."""
        ...


@dataclass(frozen=True)
class LoginPrompt:
    """Where a person can sign in: by a widget, by typing, or not at all.

    ``reserve_output`` is called on the cell's thread before anything is shown, and returns the place for it;
    None is text.
    """

    profile: Profile
    has_widgets: bool
    has_person: bool
    reserve_output: Callable[[], Displays | None] = lambda: None

    async def sign_in(self, main: MainThread, first: LoginMethod, reason: str = "") -> SignedIn | None:
        """Go through a sign-in; None when the person cancels or nobody is there. Runs on the engine."""
        widget = await self._widget(main, first, reason) if self.has_widgets else None
        if widget is not None and not widget.ready:
            await main.call(widget.fall_back)
            reason, widget = "", None
        if widget is not None:
            try:
                return await widget.run()
            finally:
                await main.call(widget.finish)
        return await self._by_text(main, first, reason) if self.has_person else None

    async def _widget(self, main: MainThread, first: LoginMethod, reason: str) -> LoginWidget:
        """Show the widget and give its front-end half the time to answer."""
        from codex_nb.ui.login import LoginWidget

        methods = (first, *(way for way in WAYS if way != first))

        def show() -> LoginWidget:
            displays = self.reserve_output()
            widget = LoginWidget(self.profile.login_flow, methods=methods, reason=reason, displays=displays)
            widget.show()  # in the same step: the front end may answer at once
            return widget

        widget = await main.call(show)
        await answered(lambda: widget.ready)
        return widget

    async def _by_text(self, main: MainThread, first: LoginMethod, reason: str) -> SignedIn:
        from codex_nb.rendering.answer_output import Document, Remark, bundle
        from codex_nb.ui.login import sign_in_by_text

        shown: list[asyncio.Task[None]] = []

        def write(text: str) -> None:
            shown.append(asyncio.ensure_future(main.call(partial(print, text))))

        async def ask_hidden(prompt: str) -> str:
            await asyncio.gather(*shown)
            return await main.call(lambda: getpass.getpass(prompt))

        place = await main.call(self.reserve_output)
        if reason and place is not None:
            await main.call(lambda: place.show(bundle(Document((Remark(reason),)))))
        elif reason:
            write(visible(reason))
        try:
            return await sign_in_by_text(self.profile.login_flow(first), write, ask_hidden)
        finally:
            await asyncio.gather(*shown)


async def answered(is_ready: Callable[[], bool]) -> bool:
    """Give a front end the time to draw a widget; return whether it has. Runs on the engine."""
    for _ in range(int(READY_S / 0.05)):
        if is_ready():
            return True
        await asyncio.sleep(0.05)
    return is_ready()


def desk(session: ShellSession, profile: Profile) -> LoginPrompt:
    """Look at who could sign in here: nobody under a capture, which shows nothing. Runs on the thread of the cell."""
    wants_text = session.config.display == "text"
    end = front_end(session.shell)
    return LoginPrompt(
        profile, end.may_have_widgets and not wants_text, end.allows_input and not end.is_captured
    )


def ensure_signed_in(session: ShellSession, profile: Profile) -> None:
    """See to a login before anything is shown; ask the person to sign in where there is one to ask."""
    try:
        session.wait(profile.signed_in())
    except AuthError as error:
        place, reason = desk(session, profile), str(error)
        if not needs_sign_in(error) or not (place.has_widgets or place.has_person):
            raise
        done = session.wait_with(lambda main: place.sign_in(main, "device", reason))
        if done is None:
            raise


def sign_in_during(
    session: ShellSession, profile: Profile, main: MainThread, reserve_output: Callable[[], Displays | None]
) -> SignIn:
    """Return what a turn calls when its login has ended on the way; ``reserve_output`` is its screen's."""
    there = desk(session, profile)
    answers = there.has_widgets and session.unanswered is None
    place = replace(there, has_widgets=answers, reserve_output=reserve_output)

    async def sign_in(error: AuthError) -> bool:
        return await place.sign_in(main, "device", str(error)) is not None

    return sign_in


def sign_in(session: ShellSession, way: LoginMethod, name: str | None) -> None:
    """Sign in because the person asked for it."""
    profile = session.profile(name)
    place = desk(session, profile)
    if not (place.has_widgets or place.has_person):
        raise LoginFailed(words.NOBODY_HERE, reason="unsupported")
    done = session.wait_with(lambda main: place.sign_in(main, way))
    if done is None:
        raise LoginFailed(login_flows.CANCELLED, reason="cancelled")


def overview(session: ShellSession, name: str | None) -> AccountReport:
    """Return the account's report, which shows itself with buttons. Runs on the thread of the cell."""
    profile = session.profile(name)
    report = _report(session, session.wait(profile.status()))
    return replace(report, show=AccountWidget(session, profile).show)


def _report(session: ShellSession, status: Status) -> AccountReport:
    config = session.config
    model, effort = config.model or status.model, config.effort or status.effort
    return AccountReport.from_status(status.account, limits=status.limits, model=model, effort=effort)


class AccountWidget:
    """The account's view with its buttons. A touch is carried out on the engine, the new state shown in place."""

    def __init__(self, session: ShellSession, profile: Profile) -> None:
        self._session = session
        self._profile = profile
        self._view: AccountView | None = None
        self._sign_out: SignOut | None = None  # that is asked about

    def show(self, report: AccountReport) -> None:
        """Show a report: with buttons, once the front end has had the time to answer, where it can have them."""
        if (
            not desk(self._session, self._profile).has_widgets or is_catching()
        ):  # its buttons replace what it shows
            replace(report, show=None)._ipython_display_()
            return
        self._view = view = self._make(report)
        view.show()
        self._session.wait_until(lambda: view.ready, READY_S)
        view.settle()

    def _make(self, report: AccountReport, displays: Displays | None = None) -> AccountView:
        several = bool(profile_names(self._session.environ))
        commands: tuple[CommandName, ...] = ("refresh", "sign_in", "sign_out")
        return AccountView(
            report,
            on_command=self._obey,
            commands=("refresh", "switch_profile", *commands[1:]) if several else commands,
            displays=displays,
        )

    def _obey(self, command: CommandName) -> None:
        self._session.engine.submit(self._carry_out(command))

    async def _carry_out(self, command: CommandName) -> None:
        view, problem = self._view, ""
        if view is None:
            return
        try:
            match command:
                case "sign_in":
                    await self._sign_in(view)
                    return
                case "sign_out":
                    self._sign_out = await find_sign_out(self._profile.credentials)
                    if self._sign_out is not None:
                        view.ask_to_sign_out(self._sign_out.who)
                        return
                    problem = "No login is stored here that could be signed out."
                case "confirm_sign_out":
                    if self._sign_out is not None:
                        await self._sign_out.carry_out()
                case "switch_profile":
                    self._profile = self._next_profile()
                case "refresh":
                    pass
        except CodexError as error:
            problem = error.line
        view.update(replace(await self._present(), action_error=problem))

    async def _present(self) -> AccountReport:
        return _report(self._session, await self._profile.status())

    def _next_profile(self) -> Profile:
        """Let the session go on with the profile after this one; the login without a profile is one of them."""
        names = [None, *profile_names(self._session.environ)]
        present = self._profile.settings.profile
        place = names.index(present) if present in names else 0
        self._session.config.profile = names[(place + 1) % len(names)]
        return self._session.profile()

    async def _sign_in(self, view: AccountView) -> None:
        """Show the steps of a sign-in in the view's place, and afterwards the account that came of it."""
        place = view.place
        widget = LoginWidget(self._profile.login_flow, methods=WAYS, cell_waits=False, displays=place)
        view.close()  # JupyterLab loses messages when the last widget closes before the next one opens
        widget.show()
        try:
            if await answered(lambda: widget.ready):
                await widget.run()
        finally:
            self._view = view = self._make(await self._present(), place)
            widget.finish()
        view.show()
        await answered(lambda: view.ready)
        view.settle()


def show_status(session: ShellSession, name: str | None) -> None:
    """Show the account: with buttons where a front end can have them."""
    overview(session, name)._ipython_display_()
