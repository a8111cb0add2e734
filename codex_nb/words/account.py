"""The account: who is signed in, which plan, who pays, where the login is kept, the limits, the buttons."""

from __future__ import annotations

TITLE = "Codex account"
UNKNOWN = "unknown"
ABSENCES = {
    "nobody": "Nobody is signed in",
    "changed": "Another account than the one of this session",
    "unusable": "The login cannot be used",
}

ACCOUNT = "Account"
PLAN = "Plan"
WORKSPACE = "Workspace or account id"
PAID = "Paid by"
LOGIN = "Login kept in"
VALID = "Login valid until"
PROFILE = "Profile"
MODEL = "Model"
LIMITS = "Limit"
USED = "Used"
RESETS = "Resets"

NO_LIMITS = "Limits: unknown until a question has been answered or they are asked for."
NO_LIMITS_FOR_KEYS = "Limits: an API key is billed by use; the OpenAI platform shows its limits."

BUTTONS = {
    "refresh": "Refresh",
    "switch_profile": "Switch profile",
    "sign_in": "Sign in",
    "sign_out": "Sign out",
}
BUTTON_HELP = {
    "refresh": "Ask for the limits again",
    "switch_profile": "Use another login",
    "sign_in": "Sign in, or sign in to another account",
    "sign_out": "Revoke and delete the login",
}

PLANS = {
    "free": "ChatGPT Free",
    "go": "ChatGPT Go",
    "plus": "ChatGPT Plus",
    "pro": "ChatGPT Pro",
    "team": "ChatGPT Business",
    "business": "ChatGPT Business",
    "enterprise": "ChatGPT Enterprise",
    "edu": "ChatGPT Edu",
}
SOME_PLAN = "ChatGPT plan"
NO_PLAN = "none (API key)"
BY_USE = "API key, billed by use"
BILLED_BY_USE = "billed by use"
DEFAULT_MODEL = "the default of the account"


def another_plan(name: str) -> str:
    """Return what a plan is called that is not known here: as the service names it."""
    return f"ChatGPT {name}"


def paid_by_plan(plan: str) -> str:
    """Return that the plan pays."""
    return f"{plan}, nothing extra per question"


def limit_of(window: str, name: str) -> str:
    """Return what a limit of something special is called: by the length of its window, and by its own name."""
    return f"{window} ({name})"


def renewed(until: str) -> str:
    """Return until when a login is valid that is renewed without the person."""
    return f"{until}, renewed by itself"


def resets(moment: str) -> str:
    """Return when a limit begins anew, at the end of its line."""
    return f"resets {moment}"


def credit(balance: str) -> str:
    """Return what is left of the credits."""
    return f"Credits: {balance}"


def today(time: str) -> str:
    """Return a moment of this day."""
    return f"today {time}"
