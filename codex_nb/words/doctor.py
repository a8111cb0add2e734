"""What the doctor finds, and its advice."""

from __future__ import annotations

# Topics
HOME = "CODEX_HOME"
STORE = "store"
KEYRING = "keyring"
ENCRYPTED_STORE = "encrypted store"
LOGIN_FILE = "auth.json"
LEFTOVERS = "leftovers"
LOGIN = "login"
RESTRICTION = "restriction"
ACCESS_TOKEN = "access token"  # noqa: S105  (a name)
LOCK = "lock"

# What was found
COMES_FIRST = "is set and comes before the stored login"
SET_AND_USED = "is set and used, as configured"
SET_NOT_USED = "is set and not used"
NO_KEYRING = "the package keyring is missing"
NO_FILE = "there is none"
REPLACES_ADDRESS = "replaces the login's own address"

# Advice
ADVICE_NO_HOME = "Sign in: %codex login makes it."
ADVICE_READ_ONLY_HOME = (
    "Make the directory writable, or point CODEX_HOME elsewhere; logins cannot be renewed here."
)
ADVICE_UNSET_KEY = "Unset it to use the stored login."
ADVICE_KEYRING = "Install it with: pip install 'codex-nb[keyring]'"
ADVICE_ENCRYPTED = "Turn its feature secret_auth_storage off and sign in again; only the CLI opens it."
ADVICE_LEFTOVERS = "Leave them: they are removed at the next renewal."
ADVICE_INSECURE = "Unset it: it is neither https nor on this machine, so nothing goes there."
ADVICE_LOCK = "If it stays so, end the program that holds it."


def no_home(home: str) -> str:
    """Say that there is no CODEX_HOME."""
    return f"{home} does not exist yet"


def read_only_home(home: str) -> str:
    """Say that CODEX_HOME takes no file."""
    return f"{home} cannot be written"


def store(kind: str) -> str:
    """Name the setting of the store."""
    return f"cli_auth_credentials_store = {kind}"


def encrypted(path: str) -> str:
    """Say that the CLI keeps a login that only it can open."""
    return f"the Codex CLI keeps a login in {path}"


def link(target: str) -> str:
    """Say where a linked login file lies."""
    return f"is a link to {target}"


def open_to_others(mode: str) -> str:
    """Name the permissions of a login file that others may read."""
    return f"others may read it (mode {mode})"


def make_private(path: str) -> str:
    """Give the command that closes the file."""
    return f"Close it to others with: chmod 600 {path}"


def leftovers(count: str) -> str:
    """Say how many files a killed program left half-written."""
    return f"{count} half-written files"


def login(label: str, mode: str, plan: str) -> str:
    """Name the login, its mode and its plan."""
    return f"{label} ({mode}, plan {plan})"


def ends(when: str) -> str:
    """Say when an access token ends."""
    return f"ends {when}"


def renewed_next(when: str) -> str:
    """Say that an access token is over, and will be renewed."""
    return f"ended or ends {when}; it is renewed by the next request"


def over(when: str) -> str:
    """Say that an access token is over for good."""
    return f"ended or ends {when} and cannot be renewed"


def locked(file: str) -> str:
    """Say that another program is changing the login."""
    return f"another program is changing the login ({file})"
