"""Signing in from a cell, and showing whose account it is."""

from __future__ import annotations

import asyncio
import getpass
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from codex_nb.errors import AuthError, LoginFailed
from codex_nb.host.frontend import front_end
from codex_nb.rendering.visible import visible
from codex_nb.session.signing_in import needs_sign_in
from codex_nb.words import login_flows
from codex_nb.words import sign_in as words

if TYPE_CHECKING:
    from collections.abc import Callable

    from codex_nb.auth import FlowKind, SignedIn
    from codex_nb.home import Home
    from codex_nb.magics.workspace import Workspace
    from codex_nb.session.signing_in import SignIn
    from codex_nb.ui.channel import Displays
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
    """Where a person can sign in: by a widget, by typing, or not at all.

    ``make_room`` is called on the cell's thread before anything is shown, and gives the place for it; None is text.
    """

    home: Home
    has_widgets: bool
    has_person: bool
    make_room: Callable[[], Displays | None] = lambda: None

    async def sign_in(self, main: MainThread, first: FlowKind, reason: str = "") -> SignedIn | None:
        """Go through a sign-in; None when the person cancels or nobody is there. Runs on the engine."""
        widget = await self._widget(main, first, reason) if self.has_widgets else None
        if widget is not None and not widget.ready:
            await main.call(widget.give_up)
            reason, widget = "", None
        if widget is not None:
            try:
                return await widget.run()
            finally:
                await main.call(widget.finish)
        return await self._by_text(main, first, reason) if self.has_person else None

    async def _widget(self, main: MainThread, first: FlowKind, reason: str) -> SignInWidget:
        """Show the widget and give its front-end half the time to answer."""
        from codex_nb.ui.login import SignInWidget

        methods = (first, *(way for way in WAYS if way != first))

        def show() -> SignInWidget:
            displays = self.make_room()
            widget = SignInWidget(self.home.login_flow, methods=methods, reason=reason, displays=displays)
            widget.show()  # in the same step: the front end may answer at once
            return widget

        widget = await main.call(show)
        await answered(lambda: widget.ready)
        return widget

    async def _by_text(self, main: MainThread, first: FlowKind, reason: str) -> SignedIn:
        from codex_nb.rendering.bundle import bundle
        from codex_nb.rendering.document import Document, Remark
        from codex_nb.ui.login import sign_in_by_text

        shown: list[asyncio.Task[None]] = []

        def write(text: str) -> None:
            shown.append(asyncio.ensure_future(main.call(partial(print, text))))

        async def ask_hidden(prompt: str) -> str:
            await asyncio.gather(*shown)
            return await main.call(lambda: getpass.getpass(prompt))

        place = await main.call(self.make_room)
        if reason and place is not None:
            await main.call(lambda: place.show(bundle(Document((Remark(reason),)))))
        elif reason:
            write(visible(reason))
        try:
            return await sign_in_by_text(self.home.login_flow(first), write, ask_hidden)
        finally:
            await asyncio.gather(*shown)


async def answered(is_ready: Callable[[], bool]) -> bool:
    """Give a front end the time to draw a widget; return whether it has. Runs on the engine."""
    for _ in range(int(READY_S / 0.05)):
        if is_ready():
            return True
        await asyncio.sleep(0.05)
    return is_ready()


def desk(workspace: Workspace, home: Home) -> Desk:
    """Look at who could sign in here: nobody under a capture, which shows nothing. Runs on the thread of the cell."""
    wants_text = workspace.config.display == "text"
    end = front_end(workspace.shell)
    return Desk(home, end.may_have_widgets and not wants_text, end.allows_input and not end.is_captured)


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
    workspace: Workspace, home: Home, main: MainThread, make_room: Callable[[], Displays | None]
) -> SignIn:
    """Return what a turn calls when its login has ended on the way; ``make_room`` is its screen's."""
    there = desk(workspace, home)
    answers = there.has_widgets and workspace.unanswered is None
    place = replace(there, has_widgets=answers, make_room=make_room)

    async def sign_in(error: AuthError) -> bool:
        return await place.sign_in(main, "device", str(error)) is not None

    return sign_in


def sign_in(workspace: Workspace, way: FlowKind, profile: str | None) -> None:
    """Sign in because the person asked for it."""
    home = workspace.home(profile)
    place = desk(workspace, home)
    if not (place.has_widgets or place.has_person):
        raise LoginFailed(words.NOBODY_HERE, reason="unsupported")
    done = workspace.wait_with(lambda main: place.sign_in(main, way))
    if done is None:
        raise LoginFailed(login_flows.CANCELLED, reason="cancelled")
