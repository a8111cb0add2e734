"""Signing in from a cell, and showing whose account it is."""

from __future__ import annotations

import asyncio
import getpass
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from codex_nb.errors import AuthError, LoginFailed
from codex_nb.host.frontend import front_end
from codex_nb.magics.signing_in import needs_sign_in

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from codex_nb.auth import FlowKind, SignedIn
    from codex_nb.home import Home
    from codex_nb.magics.workspace import Workspace
    from codex_nb.ui.account import AccountReport
    from codex_nb.ui.login import SignInWidget

T = TypeVar("T")

READY_S = 1.5
WAYS: tuple[FlowKind, ...] = ("device", "browser", "api_key", "access_token")


class MainThread(Protocol):
    """Runs a function on the thread of the cell."""

    async def call(self, function: Callable[[], T]) -> T:
        """Return what the function returned there."""
        ...


@dataclass(frozen=True)
class Desk:
    """Where a person can sign in: by a widget, by typing, or not at all."""

    home: Home
    has_widgets: bool
    has_person: bool

    async def sign_in(self, main: MainThread, first: FlowKind, reason: str = "") -> SignedIn | None:
        """Go through a sign-in; None when the person cancels or nobody is there. Runs on the engine."""
        widget = await self._widget(main, first, reason) if self.has_widgets else None
        if widget is not None:
            try:
                return await widget.run()
            finally:
                await main.call(widget.finish)
        return await self._by_text(main, first, reason) if self.has_person else None

    async def _widget(self, main: MainThread, first: FlowKind, reason: str) -> SignInWidget | None:
        """Show the widget; None when no front-end half answers."""
        from codex_nb.ui.login import SignInWidget

        methods = (first, *(way for way in WAYS if way != first))
        widget = await main.call(lambda: SignInWidget(self.home.login_flow, methods=methods, reason=reason))
        await main.call(widget.show)
        for _ in range(int(READY_S / 0.05)):
            if widget.ready:
                break
            await asyncio.sleep(0.05)
        if widget.ready:
            return widget
        await main.call(widget.finish)
        return None

    async def _by_text(self, main: MainThread, first: FlowKind, reason: str) -> SignedIn:
        from codex_nb.ui.login import sign_in_by_text

        shown: list[asyncio.Task[None]] = []

        def write(text: str) -> None:
            shown.append(asyncio.ensure_future(main.call(partial(print, text))))

        async def ask_hidden(prompt: str) -> str:
            await asyncio.gather(*shown)
            return await main.call(lambda: getpass.getpass(f"{prompt}: "))

        if reason:
            write(reason)
        try:
            return await sign_in_by_text(self.home.login_flow(first), write, ask_hidden)
        finally:
            await asyncio.gather(*shown)


def desk(workspace: Workspace, home: Home) -> Desk:
    """Look at who could sign in here. Runs on the thread of the cell."""
    wants_text = workspace.config.display == "text"
    return Desk(home, front_end(workspace.shell).may_have_widgets and not wants_text, workspace.has_person)


def ensure_signed_in(workspace: Workspace, home: Home) -> None:
    """See to a login before anything is shown; ask the person to sign in where there is one to ask."""
    try:
        workspace.wait(home.signed_in())
    except AuthError as error:
        place, reason = desk(workspace, home), str(error)
        if not needs_sign_in(error) or not (place.has_widgets or place.has_person):
            raise
        done = workspace.wait_with(lambda main: place.sign_in(main, "device", reason))
        if done is None:
            raise


def sign_in_during(
    workspace: Workspace, home: Home, main: MainThread
) -> Callable[[AuthError], Awaitable[bool]]:
    """Return what a turn calls when its login has ended on the way."""
    place = desk(workspace, home)

    async def sign_in(error: AuthError) -> bool:
        try:
            return await place.sign_in(main, "device", str(error)) is not None
        except LoginFailed:
            return False

    return sign_in


def sign_in(workspace: Workspace, way: FlowKind, profile: str | None) -> None:
    """Sign in because the person asked for it."""
    home = workspace.home(profile)
    place = desk(workspace, home)
    if not (place.has_widgets or place.has_person):
        raise LoginFailed(
            "Nobody is here to sign in.", reason="unsupported", hint="Run `codex-nb login` in a terminal."
        )
    done = workspace.wait_with(lambda main: place.sign_in(main, way))
    if done is None:
        raise LoginFailed("The sign-in was cancelled.", reason="cancelled")


def report(workspace: Workspace, home: Home) -> AccountReport:
    """Find out what is to be told of the account."""
    from codex_nb.ui.account import AccountReport

    status = workspace.wait(home.status())
    config = workspace.config
    return AccountReport(
        status.account, status.limits, config.model or status.model, config.effort or status.effort
    )


def show_status(workspace: Workspace, profile: str | None) -> None:
    """Show the account: with buttons where a front end can have them."""
    from IPython.display import display

    home = workspace.home(profile)
    if not desk(workspace, home).has_widgets:
        display(report(workspace, home))
        return
    StatusBoard(workspace, home).show()


class StatusBoard:
    """The account's view with its buttons; a touch is carried out on the engine, the new state shown in place."""

    def __init__(self, workspace: Workspace, home: Home) -> None:
        from codex_nb.ui.account import AccountView

        self._workspace = workspace
        self._home = home
        self._view = AccountView(
            report(workspace, home), on_command=self._obey, commands=("refresh", "sign_out")
        )

    def show(self) -> None:
        """Show it, and settle once the front end has had the time to answer."""
        self._view.show()
        self._workspace.wait_until(lambda: self._view.ready, READY_S)
        self._view.settle()

    def _obey(self, command: str) -> None:
        self._workspace.engine.submit(self._carry_out(command))

    async def _carry_out(self, command: str) -> None:
        from codex_nb.ui.account import AccountReport

        if command == "sign_out":
            await self._home.credentials.sign_out()
        status = await self._home.status()
        self._view.update(AccountReport(status.account, status.limits, status.model, status.effort))
