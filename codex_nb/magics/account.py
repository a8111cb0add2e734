"""Signing in and out because the user asks for it, and the account widget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from codex_nb.config.settings import profile_names
from codex_nb.errors import CodexError, CredentialsUnreadable, LoginFailed, SignInRequired
from codex_nb.host.interrupts import deferring_interrupts
from codex_nb.magics.cell import READY_S, is_answered, login_prompt
from codex_nb.ui.account import AccountStatus, AccountView
from codex_nb.ui.login import LoginWidget
from codex_nb.ui.widgets import in_output_widget

if TYPE_CHECKING:
    from codex_nb.auth.credentials import Credentials
    from codex_nb.auth.manager import CredentialManager
    from codex_nb.labels import LoginMethod
    from codex_nb.magics.session import ShellSession
    from codex_nb.profile import Profile
    from codex_nb.ui.account import ActionName
    from codex_nb.ui.widgets import OutputArea


@dataclass(frozen=True)
class SignOut:
    """Stored credentials that can be signed out; ``credentials`` is None when the store cannot be read."""

    manager: CredentialManager
    credentials: Credentials | None

    @property
    def who(self) -> str:
        """The account that is signed out."""
        return (
            self.credentials.label
            if self.credentials is not None
            else "the stored login, which cannot be read"
        )

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


async def find_sign_out(manager: CredentialManager) -> SignOut | None:
    """Return what signing out would do now; None when no credentials are stored."""
    try:
        credentials = await manager.stored_login()
    except (CredentialsUnreadable, SignInRequired):
        return SignOut(manager, None)
    return None if credentials is None else SignOut(manager, credentials)


def log_in(session: ShellSession, method: LoginMethod, name: str | None) -> None:
    """Sign in because the user asked for it; raises LoginFailed."""
    prompt = login_prompt(session, session.profile(name))
    if not prompt.is_available:
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
    config, settings = session.config, profile.settings
    status, limits = await profile.status()
    model, effort = config.model or settings.model, config.effort or settings.effort
    return AccountStatus.from_status(status, limits=limits, model=model, effort=effort)


class AccountWidget:
    """The account's view and its buttons, whose actions run on the engine; the new state is shown in place."""

    def __init__(self, session: ShellSession, profile: Profile) -> None:
        self._session = session
        self._profile = profile
        self._view: AccountView | None = None
        self._sign_out: SignOut | None = None  # that is asked about

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
        view, failure = self._view, ""
        if view is None:
            return
        try:
            match action:
                case "sign_in":
                    await self._log_in(view)
                    return
                case "sign_out":
                    self._sign_out = await find_sign_out(self._profile.credentials)
                    if self._sign_out is not None:
                        view.ask_to_sign_out(self._sign_out.who)
                        return
                    note = self._profile.credentials.external_note
                    failure = f"There are no stored credentials to sign out. {note}".strip()
                case "confirm_sign_out":
                    if self._sign_out is not None:
                        await self._sign_out.run()
                case "switch_profile":
                    self._profile = self._next_profile()
                case "refresh":
                    pass
        except CodexError as error:
            failure = error.line
        except Exception as error:  # noqa: BLE001 - a button has no cell that could show it
            failure = f"The action failed ({type(error).__name__})."
        view.update(replace(await _account_status(self._session, self._profile), action_error=failure))

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
