"""Signing in: each step as it is asked for, the buttons, and how it ended."""

from __future__ import annotations

from codex_nb.words import next_steps, transcript
from codex_nb.words.message import Message

TITLE = "Sign in to Codex"
PLACEHOLDER = "Signing in to Codex."
STARTING = "Starting the sign-in …"
ENTER_CODE = "Open the page, sign in, and type this code there."
NO_CODE_HINT = "If the page refuses codes: allow device code sign-in in the security settings of ChatGPT."
OPEN_URL = "Open the page and sign in."
CELL_GOES_ON = "This cell goes on by itself afterwards."
ACCOUNT_FOLLOWS = "The account is shown here afterwards."
OPEN_URL_AND_PASTE = (
    "Open the page and sign in. If your browser runs on another machine, it ends at an address that it cannot open: "
    "copy that address and paste it here."
)
ENTER_HIDDEN = (
    "It goes into Codex's own store through the kernel; neither the notebook nor its outputs keep it."
)
CANCELLED = "The sign-in was cancelled. Nothing was changed."

# What the front-end half shows; it knows no word of its own.
LABELS = {
    "copied": "Copied",
    "copy": "Copy code",
    "copyFailed": transcript.LABELS["copyFailed"],
    "expired": "The code has expired. Ask for a new one.",
    "expiresIn": "Expires in",
    "openPage": "Open the sign-in page",
    "pasteAddress": "Address at which your browser ended",
    "submit": "Submit",
    "userCode": "Code to type in",
}

BUTTONS = {
    "device": "Use a code",
    "browser": "Use this machine's browser",
    "api_key": "Use an API key",
    "access_token": "Use an access token",
    "new_code": "New code",
    "try_again": "Try again",
    "cancel": "Cancel",
}
BUTTON_HELP = {
    "device": "Sign in to ChatGPT on any device",
    "browser": "Sign in to ChatGPT in a browser",
    "api_key": "Pay by use with a key of the OpenAI platform",
    "access_token": "Sign in with a personal access token",
    "new_code": "Start over with a new code",
    "try_again": "Start over",
    "cancel": "End the sign-in; nothing is changed",
}

SIGNED_IN = "Signed in."

NOBODY_HERE = Message("Nobody is here to sign in.", "Run `codex-nb login` in a terminal.")
NO_LOGIN_CAME = Message("The sign-in ended without a login.", next_steps.START_SIGN_IN_AGAIN)


def signed_in_as(account: str) -> str:
    """Return the line that stays when it worked."""
    return f"Signed in as {account}."


def signed_in_with_plan(account: str, plan: str) -> str:
    """Return the line that stays when it worked and the plan is known."""
    return f"Signed in as {account} ({plan})."


def signed_in_somehow(plan: str) -> str:
    """Return the line that stays when it worked and only the plan is known."""
    return f"Signed in ({plan})."


def unsafe_address(address: str) -> str:
    """Return an address that leads nowhere on the web, so that it is no link."""
    return f"The address that was given is not a web address, so it is only shown: {address}"


def masked(what: str) -> str:
    """Return the prompt of a field that shows nothing of what is typed."""
    return f"{what} (it stays hidden): "


def begun_with_another_account(before: str, now: str) -> Message:
    """Say that somebody else signed in while an answer was half done."""
    return Message(
        f"This answer was begun as {before}, and you have signed in as {now}.",
        "Run the cell again, and all of the answer goes through the account you chose.",
    )
