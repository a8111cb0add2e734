"""The command line: what ``codex-nb --help`` says, and what its commands print."""

from __future__ import annotations

DESCRIPTION = "The Codex you already pay for, inside your notebook."
COMMANDS_HEADING = "commands"
COMMAND = "COMMAND"

COMMANDS = {
    "demo": "open the tour notebook in JupyterLab",
    "status": "show who is signed in, the plan and the limits",
    "login": "sign in",
    "logout": "sign out: revoke and delete the stored login",
    "doctor": "print what was found where, and what to do",
    "simulate": "run the simulated Codex backend on loopback",
}
OPTIONS = {
    "--no-browser": "do not open a browser, print the address",
    "--execute": "run the tour without a screen and print the answers",
    "--with": "how to sign in",
    "--profile": "use another login or config profile",
    "--port": "the port, 0 for any free one",
    "--tls": "serve https with a certificate made for this run",
}

# What stands before each line of the doctor.
WELL = "ok "
NOT_WELL = "-> "


def error(line: str) -> str:
    """Return an error as the one line that a command ends with."""
    return f"codex-nb: {line}"


def version(number: str) -> str:
    """Return what ``--version`` prints."""
    return f"codex-nb {number}"
