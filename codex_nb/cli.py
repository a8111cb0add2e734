"""The command line: ``codex-nb demo | status | login | logout | simulate | doctor``."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import sys
from typing import TYPE_CHECKING

from codex_nb import __version__
from codex_nb.errors import CodexError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WAYS = ("device", "browser", "api_key", "access_token")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; a CodexError is one line on standard error."""
    options = _parser().parse_args(arguments)
    try:
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except CodexError as error:
        print(f"codex-nb: {error.line}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codex-nb", description="The Codex you already pay for, inside your notebook."
    )
    parser.add_argument("--version", action="version", version=f"codex-nb {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="open the tour notebook in JupyterLab")
    demo.add_argument("--no-browser", action="store_true", help="do not open a browser, print the address")
    demo.add_argument(
        "--execute", action="store_true", help="run the tour without a screen and print the answers"
    )
    demo.set_defaults(run=_demo)

    status = commands.add_parser("status", help="show who is signed in, the plan and the limits")
    status.set_defaults(run=_status)
    login = commands.add_parser("login", help="sign in")
    login.add_argument("--with", dest="way", choices=WAYS, default="device", help="how to sign in")
    login.set_defaults(run=_login)
    logout = commands.add_parser("logout", help="sign out: revoke and delete the stored login")
    logout.set_defaults(run=_logout)
    doctor = commands.add_parser("doctor", help="print what was found where, and what to do")
    doctor.set_defaults(run=_doctor)
    for command in (status, login, logout, doctor):
        command.add_argument("--profile", help="another login or config profile")

    simulate = commands.add_parser("simulate", help="run the simulated Codex backend on loopback")
    simulate.add_argument("--port", type=int, default=0, help="the port, 0 for any free one")
    simulate.add_argument(
        "--tls", action="store_true", help="serve https with a certificate made for this run"
    )
    simulate.set_defaults(run=_simulate)
    return parser


def _demo(options: argparse.Namespace) -> int:
    from codex_nb.demo import run

    return run(browser=not options.no_browser, execute=options.execute)


def _simulate(options: argparse.Namespace) -> int:
    from codex_nb.simulator import serve

    serve(port=options.port, tls=options.tls)
    return 0


def _status(options: argparse.Namespace) -> int:
    from codex_nb.assembly import open_home
    from codex_nb.ui.account import AccountReport

    async def run() -> int:
        async with open_home(os.environ, profile=options.profile) as home:
            status = await home.status()
            print(AccountReport(status.account, status.limits, status.model, status.effort))
            return 0 if status.account.signed_in else 1

    return asyncio.run(run())


def _login(options: argparse.Namespace) -> int:
    from codex_nb.assembly import open_home
    from codex_nb.ui.login import sign_in_by_text

    async def ask_hidden(prompt: str) -> str:
        return await asyncio.to_thread(getpass.getpass, f"{prompt}: ")

    async def run() -> int:
        async with open_home(os.environ, profile=options.profile) as home:
            await sign_in_by_text(home.login_flow(options.way), print, ask_hidden)
            return 0

    return asyncio.run(run())


def _logout(options: argparse.Namespace) -> int:
    from codex_nb.assembly import open_home

    async def run() -> int:
        async with open_home(os.environ, profile=options.profile) as home:
            had_one = await home.credentials.sign_out()
            print("Signed out: the login was revoked and deleted." if had_one else "You were not signed in.")
            return 0

    return asyncio.run(run())


def _doctor(options: argparse.Namespace) -> int:
    from codex_nb.assembly import diagnose

    findings = diagnose(os.environ, profile=options.profile)
    width = max(len(finding.topic) for finding in findings)
    for finding in findings:
        mark = "ok " if finding.is_well else "-> "
        print(f"{mark}{finding.topic:<{width}}  {finding.found}")
        if finding.advice:
            print(f"{'':<{width + 3}}  {finding.advice}")
    return 0 if all(finding.is_well for finding in findings) else 1
