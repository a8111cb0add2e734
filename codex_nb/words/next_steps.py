"""What a person can do next, where many messages end in the same advice."""

from __future__ import annotations

SIGN_IN = "Sign in with %codex login."
SIGN_IN_AGAIN = "Sign in again with %codex login."
START_SIGN_IN_AGAIN = "Start the sign-in again with %codex login."
SIGN_IN_OR_RELOAD = "Run %codex login, or %reload_ext codex_nb to go on with the account on disk."
SIGN_IN_ALLOWED = "Sign in with an allowed account, or ask your administrator."
SIGN_IN_ALLOWED_KEPT = (
    "Sign in with an allowed account, or ask your administrator; the stored login was left as it is."
)
START_AGAIN_KEPT = "Start the sign-in again with %codex login; the stored login, if any, was left as it is."
WAIT_AND_RUN_AGAIN = "Wait a moment and run the cell again."
RUN_AGAIN = "Run the cell again."
RUN_AGAIN_SOON = "Run the cell again in a moment."
RUN_AGAIN_OR_CONTINUE = "What arrived is kept. Run the cell again, or ask to continue."
SEE_USAGE = "See %codex usage."
SEE_MODELS = "See %codex models."
SEE_STATUS = "See %codex status."
ASK_ADMINISTRATOR = "Ask the administrator of the workspace."
CHANGE_REQUEST = "Change what is asked, or choose another model with -m."
CHOOSE_ONE = "Choose one of them."
CHECK_BILLING = "Check the plan and billing details of the API account."
CHECK_NETWORK = "Check the network and try again."
CHECK_NETWORK_RUN_AGAIN = "Check the network, then run the cell again."
SEND_LESS = "Start a new thread with %codex new, or send less with --no-context."
TRY_LATER = "Try again in a little while, or choose another model with -m."
MEND_OR_SIGN_IN = "Mend or remove the file, or sign in again with %codex login."


def choose_one_of(names: str) -> str:
    """Name what there is to choose from."""
    return f"Choose one of these: {names}."
