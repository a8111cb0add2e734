"""The account before the person's eyes: what ``codex_nb.status()`` gives, and its view with buttons in a notebook."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from codex_nb.errors import CodexError
from codex_nb.magics.account import READY_S, WAYS, answered, desk
from codex_nb.magics.signing_out import find_sign_out
from codex_nb.settings import profile_names
from codex_nb.ui.account import AccountReport, AccountView
from codex_nb.ui.login import SignInWidget
from codex_nb.ui.output_widget import is_catching

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from codex_nb.auth import AuthMode
    from codex_nb.home import Home, Status
    from codex_nb.magics.signing_out import SignOut
    from codex_nb.magics.workspace import Workspace
    from codex_nb.responses.limits import Window
    from codex_nb.ui.account import CommandName
    from codex_nb.ui.channel import Displays


@dataclass(frozen=True)
class Overview(AccountReport):
    """Who is signed in, who pays, what is left of the limits, and where the login is kept.

    Shown as a widget where it is the last value of a cell, as text in a terminal; :meth:`as_dict` gives plain values.
    """

    show: Callable[[AccountReport], None] | None = field(default=None, repr=False, compare=False)

    @property
    def signed_in(self) -> bool:
        """Whether somebody is signed in."""
        return self.status.signed_in

    @property
    def auth_mode(self) -> AuthMode | None:
        """How requests are signed, None when nobody is signed in."""
        return self.status.auth_mode

    @property
    def label(self) -> str:
        """The account as a person would name it."""
        return self.status.label

    @property
    def email(self) -> str | None:
        """The account's address, None when it is not told."""
        return self.status.email

    @property
    def plan(self) -> str:
        """The plan as the service names it, "unknown" when it does not."""
        return self.status.plan

    @property
    def account_id(self) -> str | None:
        """The workspace's or account's id."""
        return self.status.account_id

    @property
    def billing(self) -> str | None:
        """What pays: "chatgpt" (the plan) or "api_key"; None when nobody is signed in."""
        return self.status.billing

    @property
    def credentials_location(self) -> str:
        """Where the login is kept, in words."""
        return self.status.credentials_location

    @property
    def expires_at(self) -> datetime | None:
        """When the access token ends, aware UTC."""
        return self.status.expires_at

    @property
    def windows(self) -> tuple[Window, ...]:
        """The limits, each labelled by the length of its window; none when they were not told."""
        return self.limits.windows if self.limits is not None else ()

    def _ipython_display_(self) -> None:
        (self.show or show_plainly)(self)


def overview(workspace: Workspace, profile: str | None) -> Overview:
    """Find out what is to be told of the account. Runs on the thread of the cell."""
    home = workspace.home(profile)
    told = _report(workspace, workspace.wait(home.status()))
    board = StatusBoard(workspace, home)
    return Overview(**vars(told), show=board.show)


def _report(workspace: Workspace, status: Status) -> AccountReport:
    config = workspace.config
    model, effort = config.model or status.model, config.effort or status.effort
    return AccountReport(status.account, status.limits, model, effort)


def show_plainly(report: AccountReport) -> None:
    """Show a report as an output without buttons."""
    from IPython.display import display

    display(report._repr_mimebundle_(), raw=True)


class StatusBoard:
    """The account's view with its buttons. A touch is carried out on the engine, the new state shown in place."""

    def __init__(self, workspace: Workspace, home: Home) -> None:
        self._workspace = workspace
        self._home = home
        self._view: AccountView | None = None
        self._sign_out: SignOut | None = None  # that is asked about

    def show(self, report: AccountReport) -> None:
        """Show a report: with buttons, once the front end has had the time to answer, where it can have them."""
        if (
            not desk(self._workspace, self._home).has_widgets or is_catching()
        ):  # its buttons replace what it shows
            show_plainly(report)
            return
        self._view = view = self._make(report)
        view.show()
        self._workspace.wait_until(lambda: view.ready, READY_S)
        view.settle()

    def _make(self, report: AccountReport, displays: Displays | None = None) -> AccountView:
        several = bool(profile_names(self._workspace.environ))
        commands: tuple[CommandName, ...] = ("refresh", "sign_in", "sign_out")
        return AccountView(
            report,
            on_command=self._obey,
            commands=("refresh", "switch_profile", *commands[1:]) if several else commands,
            displays=displays,
        )

    def _obey(self, command: CommandName) -> None:
        self._workspace.engine.submit(self._carry_out(command))

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
                    self._sign_out = await find_sign_out(self._home.credentials)
                    if self._sign_out is not None:
                        view.ask_to_sign_out(self._sign_out.who)
                        return
                    problem = "No login is stored here that could be signed out."
                case "confirm_sign_out":
                    if self._sign_out is not None:
                        await self._sign_out.carry_out()
                case "switch_profile":
                    self._home = self._next_profile()
                case "refresh":
                    pass
        except CodexError as error:
            problem = error.line
        view.update(replace(await self._present(), problem=problem))

    async def _present(self) -> AccountReport:
        return _report(self._workspace, await self._home.status())

    def _next_profile(self) -> Home:
        """Let the session go on with the profile after this one; the login without a profile is one of them."""
        names = [None, *profile_names(self._workspace.environ)]
        present = self._home.settings.profile
        place = names.index(present) if present in names else 0
        self._workspace.config.profile = names[(place + 1) % len(names)]
        return self._workspace.home()

    async def _sign_in(self, view: AccountView) -> None:
        """Show the steps of a sign-in in the view's place, and afterwards the account that came of it."""
        place = view.place
        widget = SignInWidget(self._home.login_flow, methods=WAYS, cell_waits=False, displays=place)
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


def show_status(workspace: Workspace, profile: str | None) -> None:
    """Show the account: with buttons where a front end can have them."""
    overview(workspace, profile)._ipython_display_()
