"""The command line: ``codex-nb demo | status | login | logout | simulate | doctor``."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import re
import sys
from typing import TYPE_CHECKING

from codex_nb._version import __version__
from codex_nb.errors import CodexError
from codex_nb.rendering.visible import visible
from codex_nb.words import command_line as words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WAYS = ("device", "browser", "api_key", "access_token")
MAGIC_WITH_A_WAY = re.compile(rf"%codex login ({'|'.join(WAYS)})\b")
MAGIC = re.compile(r"%codex (?=login|logout|status)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; a CodexError is one line on standard error."""
    options = _parser().parse_args(arguments)
    try:
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except CodexError as error:
        print(words.error(in_a_shell(error.line)), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def in_a_shell(text: str) -> str:
    """Return a text as a terminal may show it, with the shell's commands where it names the notebook's.

    >>> in_a_shell("Sign in with %codex login.")
    'Sign in with codex-nb login.'
    """
    return visible(MAGIC.sub("codex-nb ", MAGIC_WITH_A_WAY.sub(r"codex-nb login --with \1", text)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="codex-nb", description=words.DESCRIPTION)
    parser.add_argument("--version", action="version", version=words.version(__version__))
    commands = parser.add_subparsers(title=words.COMMANDS_HEADING, required=True, metavar=words.COMMAND)

    demo = commands.add_parser("demo", help=words.COMMANDS["demo"])
    demo.add_argument("--no-browser", action="store_true", help=words.OPTIONS["--no-browser"])
    demo.add_argument("--execute", action="store_true", help=words.OPTIONS["--execute"])
    demo.set_defaults(run=_demo)

    status = commands.add_parser("status", help=words.COMMANDS["status"])
    status.set_defaults(run=_status)
    login = commands.add_parser("login", help=words.COMMANDS["login"])
    login.add_argument("--with", dest="way", choices=WAYS, default="device", help=words.OPTIONS["--with"])
    login.set_defaults(run=_login)
    logout = commands.add_parser("logout", help=words.COMMANDS["logout"])
    logout.set_defaults(run=_logout)
    doctor = commands.add_parser("doctor", help=words.COMMANDS["doctor"])
    doctor.set_defaults(run=_doctor)
    for command in (status, login, logout, doctor):
        command.add_argument("--profile", help=words.OPTIONS["--profile"])

    simulate = commands.add_parser("simulate", help=words.COMMANDS["simulate"])
    simulate.add_argument("--port", type=int, default=0, help=words.OPTIONS["--port"])
    simulate.add_argument("--tls", action="store_true", help=words.OPTIONS["--tls"])
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
            report = AccountReport(status.account, status.limits, status.model, status.effort)
            print(in_a_shell(str(report)))
            return 0 if status.account.signed_in else 1

    return asyncio.run(run())


def _login(options: argparse.Namespace) -> int:
    from codex_nb.assembly import open_home
    from codex_nb.ui.login import sign_in_by_text

    async def ask_hidden(prompt: str) -> str:
        return await asyncio.to_thread(getpass.getpass, prompt)

    async def run() -> int:
        async with open_home(os.environ, profile=options.profile) as home:
            await sign_in_by_text(home.login_flow(options.way), print, ask_hidden, cell_waits=False)
            return 0

    return asyncio.run(run())


def _logout(options: argparse.Namespace) -> int:
    from codex_nb.assembly import open_home
    from codex_nb.words.commands import SIGNED_OUT, WAS_NOT_SIGNED_IN

    async def run() -> int:
        async with open_home(os.environ, profile=options.profile) as home:
            had_one = await home.credentials.sign_out()
            print(SIGNED_OUT if had_one else WAS_NOT_SIGNED_IN)
            return 0

    return asyncio.run(run())


def _doctor(options: argparse.Namespace) -> int:
    from codex_nb.assembly import diagnose

    findings = diagnose(os.environ, profile=options.profile)
    width = max(len(finding.topic) for finding in findings)
    for finding in findings:
        mark = words.WELL if finding.is_well else words.NOT_WELL
        print(f"{mark}{finding.topic:<{width}}  {in_a_shell(finding.found)}")
        if finding.advice:
            print(f"{'':<{width + 3}}  {in_a_shell(finding.advice)}")
    return 0 if all(finding.is_well for finding in findings) else 1
