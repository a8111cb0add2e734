"""Every word of signing in that a person reads."""

from __future__ import annotations

from typing import Literal

Method = Literal["device", "browser", "api_key", "access_token"]

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
UNSAFE_ADDRESS = "The address that was given is not a web address, so it is only shown: "

LABELS = {
    "copied": "Copied",
    "copy": "Copy code",
    "copyFailed": "Could not copy",
    "expired": "The code has expired. Ask for a new one.",
    "expiresIn": "Expires in",
    "openPage": "Open the sign-in page",
    "pasteAddress": "Address at which your browser ended",
    "submit": "Submit",
    "userCode": "Code to type in",
}

METHODS: dict[Method, tuple[str, str]] = {
    "device": ("Use a code", "Sign in to ChatGPT on any device"),
    "browser": ("Use this machine's browser", "Sign in to ChatGPT in a browser"),
    "api_key": ("Use an API key", "Pay by use with a key of the OpenAI platform"),
    "access_token": ("Use an access token", "Sign in with a personal access token"),
}
AGAIN = ("New code", "Start over with a new code")
TRY_AGAIN = ("Try again", "Start over")
CANCEL = ("Cancel", "End the sign-in; nothing is changed")


def signed_in(account: str, plan_name: str, note: str = "") -> str:
    """Return the line that stays when it worked."""
    whose = f"Signed in as {account}" if account else "Signed in"
    paid = f" ({plan_name})" if plan_name else ""
    return f"{whose}{paid}.{' ' + note if note else ''}"


def masked(what: str) -> str:
    """Return the prompt of a field that shows nothing of what is typed."""
    return f"{what} (it stays hidden): "
