"""The command line: ``codex-nb demo | status | login | logout | doctor | hub | simulate``."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from codex_nb.config import __version__
from codex_nb.errors import CodexError, ConfigError
from codex_nb.labels import LOGIN_METHODS

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Mapping, Sequence
    from typing import Any


TOUR = "01_first_question.ipynb"
READING_PACE_S = 0.02  # between two deltas of the simulator
MAGIC = re.compile(rf"%codex (login(?: ({'|'.join(LOGIN_METHODS)})\b)?|logout|status)")
_SIMULATED = (
    "No Codex login was found, so the demo uses the simulator that comes with codex_nb. "
    "It is not a model, and every answer says so."
)


def _demo(options: argparse.Namespace) -> int:
    """Open the tour, or run it headless and print its answers: with the login on this machine, else the simulator."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="codex-nb-demo-")))
        environment, label = dict(os.environ), _own_login()
        if label is None:
            pace_s = 0.0 if options.execute else READING_PACE_S
            environment = stack.enter_context(_simulated(folder / "codex_home", pace_s=pace_s))
        print(_SIMULATED if label is None else f"The demo uses your own Codex login: {label}.", flush=True)
        work = _unrun_tour(folder / "notebooks")
        if not options.execute:
            return _lab(work, folder / "runtime", environment, browser=not options.no_browser)
        if label is None:
            # Nobody can be asked here, and only the simulator's own code would run.
            environment["CODEX_NB_APPROVAL"] = "all"
        return _execute(work / TOUR, environment)


def _unrun_tour(work: Path) -> Path:
    """Copy the tour's notebooks to ``work`` as they are before they run: their outputs would be of another run."""
    import nbformat

    shutil.copytree(_notebooks(), work, ignore=shutil.ignore_patterns(".*"))
    for path in work.glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, path)
    return work


def _notebooks() -> Path:
    """Return the folder of the tour notebooks: in the installed package, else in the checkout."""
    here = Path(__file__).resolve().parent
    for folder in (here / "notebooks", here.parent / "notebooks"):
        if (folder / TOUR).is_file():
            return folder
    raise CodexError("The tour notebooks are not installed.", hint="Reinstall codex-nb.")


@contextmanager
def _simulated(codex_home: Path, *, pace_s: float) -> Iterator[dict[str, str]]:
    """Start the simulator, and yield the environment that leads there, with a CODEX_HOME made for it."""
    from codex_nb.simulator import Simulator

    with Simulator(pace_s=pace_s) as simulator:
        codex_home.mkdir(mode=0o700)
        (codex_home / "config.toml").write_text(simulator.config_toml(), encoding="utf-8")
        simulator.write_login(codex_home)
        hidden = {"CODEX_API_KEY", "CODEX_ACCESS_TOKEN"}
        kept = {name: value for name, value in os.environ.items() if name not in hidden}
        yield {**kept, **simulator.environ(), "CODEX_HOME": str(codex_home)}


def _own_login() -> str | None:
    """Return the label of the login on this machine, None when there is none that works."""
    from codex_nb.profile import open_profile_at

    async def look() -> str | None:
        async with open_profile_at(os.environ) as profile:
            try:
                return (await profile.credentials.current()).label
            except CodexError:
                return None

    return asyncio.run(look())


def _lab(work: Path, runtime: Path, environment: Mapping[str, str], *, browser: bool) -> int:
    """Run JupyterLab with the tour open until it is stopped; its log is shown only when it fails."""
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={work}"]
    command += [f"--LabApp.default_url=/lab/tree/{TOUR}", "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0"]
    if not browser:
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    environment = {**environment, "JUPYTER_RUNTIME_DIR": str(runtime)}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        with subprocess.Popen(command, env=environment, cwd=work, stdout=log, stderr=log) as server:
            try:
                if (address := _address(server, runtime)) is not None:
                    print(f"{address}\nPress Ctrl-C to stop.", flush=True)
                status = server.wait()
            except KeyboardInterrupt:
                server.terminate()
                return 0
        if status != 0:
            log.seek(0)
            print(log.read()[-4000:], file=sys.stderr)
            raise CodexError(f"JupyterLab ended with status {status}.", hint="Its log is above.")
        return status


def _address(server: subprocess.Popen[bytes], runtime: Path) -> str | None:
    """Return the tour's address once the server listens, None when it ends before."""
    while server.poll() is None:
        for path in runtime.glob("jpserver-*.json"):
            with suppress(ValueError, KeyError):  # it is being written
                listening = json.loads(path.read_text(encoding="utf-8"))
                return f"{listening['url']}lab/tree/{TOUR}?token={listening['token']}"
        time.sleep(0.1)
    return None


def _execute(notebook: Path, environment: Mapping[str, str]) -> int:
    """Run the tour headless and print each cell's question and answer as text."""
    import nbformat
    from nbclient import NotebookClient

    page = nbformat.read(notebook, as_version=4)
    client = NotebookClient(
        page, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(notebook.parent)}}
    )
    client.execute(env=environment)
    for cell in page.cells:
        if cell.cell_type == "code":
            print(f"\n>>> {cell.source.strip()}\n")
            for output in cell.outputs:
                print(_plain(output).rstrip())
    return 0


def _plain(output: Mapping[str, object]) -> str:
    data = output.get("data")
    if isinstance(data, dict):
        return str(data.get("text/plain", ""))
    return str(output.get("text", ""))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; a CodexError is one line on standard error."""
    options = _parser().parse_args(arguments)
    try:
        status: int | Coroutine[Any, Any, int] = options.run(options)
        return status if isinstance(status, int) else asyncio.run(status)
    except CodexError as error:
        print(f"codex-nb: {in_a_shell(error.line)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def in_a_shell(text: str) -> str:
    """Return a text as a terminal may show it, with the shell's commands in place of the notebook's.

    >>> in_a_shell("Sign in with %codex login.")
    'Sign in with codex-nb login.'
    """
    from codex_nb.rendering.sanitize import visible_text

    return visible_text(MAGIC.sub(_as_command, text))


def _as_command(magic: re.Match[str]) -> str:
    return f"codex-nb login --with {magic[2]}" if magic[2] else f"codex-nb {magic[1]}"


class _Parser(argparse.ArgumentParser):
    """A parser that names the command nearest to a misspelt one."""

    def error(self, message: str) -> NoReturn:
        from codex_nb.magics.options import did_you_mean
        from codex_nb.rendering.sanitize import visible_line

        unknown = _INVALID_CHOICE.search(message)
        near = did_you_mean(unknown["word"], re.findall(r"[\w-]+", unknown["known"])) if unknown else ""
        super().error(visible_line(f"{message}. {near}" if near else message))


_INVALID_CHOICE = re.compile(r"invalid choice: '(?P<word>[^']*)' \(choose from (?P<known>.*)\)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="codex-nb", description="The Codex you already pay for, inside your notebook.")
    parser.add_argument("--version", action="version", version=f"codex-nb {__version__}")

    def show_help(_: argparse.Namespace) -> int:
        parser.print_help()
        return 0

    parser.set_defaults(run=show_help)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    demo = commands.add_parser("demo", help="open the tour notebook in JupyterLab")
    demo.add_argument(
        "--no-browser", action="store_true", help="print the address instead of opening a browser"
    )
    demo.add_argument("--execute", action="store_true", help="run the tour headless and print the answers")
    demo.set_defaults(run=_demo)

    status = commands.add_parser("status", help="show who is signed in, the plan and the limits")
    status.set_defaults(run=_status)
    login = commands.add_parser("login", help="sign in")
    login.add_argument(
        "--with", dest="method", choices=LOGIN_METHODS, default="device", help="how to sign in"
    )
    login.set_defaults(run=_login)
    logout = commands.add_parser("logout", help="sign out: revoke and delete the stored credentials")
    logout.add_argument("--yes", action="store_true", help="do not ask")
    logout.set_defaults(run=_logout)
    doctor = commands.add_parser("doctor", help="print what was found where, and what to do about it")
    doctor.set_defaults(run=_doctor)
    for command in (status, login, logout, doctor):
        command.add_argument("--profile", help="use another login or config profile")

    hub = commands.add_parser("hub", help="keep the logins of a JupyterHub's users, as a service of the hub")
    hub.add_argument(
        "--logins", type=Path, help="the folder of the logins, CODEX_HOME/codex_nb/hub if left out"
    )
    hub.set_defaults(run=_hub)

    simulate = commands.add_parser(
        "simulate",
        help="run the simulated Codex backend on loopback",
        description="Run the simulated Codex backend on loopback, until Ctrl-C.",
        epilog=(
            "codex_nb, codex exec, OpenAI's SDK and other clients that are given an address need no --tls. The Codex"
            " CLI needs it with its built-in provider, and so do programs around it, such as editors that start codex"
            " app-server or codex-acp: they take an https address only. --tls needs pip install 'codex-nb[simulator]'."
        ),
    )
    simulate.add_argument("--port", type=int, default=0, help="the port, 0 for any free one")
    simulate.add_argument(
        "--tls", action="store_true", help="serve https, with a certificate made for this run (see below)"
    )
    simulate.set_defaults(run=_simulate)
    return parser


def _simulate(options: argparse.Namespace) -> int:
    from codex_nb.simulator import serve

    serve(port=options.port, tls=options.tls)
    return 0


def _hub(options: argparse.Namespace) -> int:
    try:
        from codex_nb.hub import run
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"codex-nb hub needs the package {error.name}.",
            key="hub",
            hint="Install it with: pip install 'codex-nb[hub]'",
        ) from error
    run(options.logins)
    return 0


async def _status(options: argparse.Namespace) -> int:
    from codex_nb.magics.account import profile_status
    from codex_nb.profile import open_profile_at

    async with open_profile_at(os.environ, profile=options.profile) as profile:
        account = await profile_status(profile, in_full=True)
        print(in_a_shell(str(account)))
        return 0 if account.signed_in else 1


async def _login(options: argparse.Namespace) -> int:
    from codex_nb.profile import open_profile_at
    from codex_nb.ui.account import sign_in_by_text

    async def ask_hidden(prompt: str) -> str:
        return await asyncio.to_thread(getpass.getpass, prompt)

    async with open_profile_at(os.environ, profile=options.profile) as profile:
        flow = profile.login_flow(options.method)
        await sign_in_by_text(flow, print, ask_hidden, cell_waits=False, in_full=True)
        return 0


def _logout(options: argparse.Namespace) -> int:
    from codex_nb.magics.account import SignOut, find_sign_out
    from codex_nb.magics.subcommands import confirmed
    from codex_nb.profile import open_profile_at
    from codex_nb.ui.account import sign_out_question

    async def find() -> tuple[SignOut | None, str]:
        async with open_profile_at(os.environ, profile=options.profile) as profile:
            return await find_sign_out(profile.credentials, in_full=True), profile.credentials.external_note

    async def sign_out(expected: SignOut) -> None:
        async with open_profile_at(os.environ, profile=options.profile) as profile:
            await replace(expected, manager=profile.credentials).run()

    target, note = asyncio.run(find())
    if target is None:
        print(note or "You were not signed in.")
    elif sys.stdin.isatty() and not options.yes and not confirmed(sign_out_question(target.who)):
        print("Not signed out. Nothing was changed.")
        return 1
    else:
        asyncio.run(sign_out(target))
        print(in_a_shell(target.done))
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from codex_nb.doctor import diagnose

    findings = diagnose(os.environ, profile=options.profile, folder=Path.cwd())
    width = max(len(finding.topic) for finding in findings)
    for finding in findings:
        mark = "ok " if finding.is_well else "-> "
        print(f"{mark}{finding.topic:<{width}}  {in_a_shell(finding.found)}")
        if finding.advice:
            print(f"{'':<{width + 3}}  {in_a_shell(finding.advice)}")
    return 0 if all(finding.is_well for finding in findings) else 1
