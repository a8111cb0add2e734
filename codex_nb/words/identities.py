"""Credentials that do not come from a sign-in here: access tokens, agents, host programs, providers, commands."""

from __future__ import annotations

from codex_nb.words import next_steps
from codex_nb.words.message import Message

# What is wrong with an agent identity
INCOMPLETE = "it lacks its id or its key"
EXPIRED = "it has expired"
OTHER_KIND_OF_KEY = "its key is not an Ed25519 key"
NOT_RS256 = "it is not signed by RS256"
UNKNOWN_SIGNER = "the service does not know the key it is signed with"
WRONG_SIGNATURE = "its signature is wrong"
OTHER_ISSUER = "another service has issued it"
OTHER_AUDIENCE = "it is meant for another service"

# What an agent identity could not get
NO_KEYS = "its keys could not be fetched"
NO_KEY_SET = "the answer holds no keys"
NO_TASK = "its task could not be registered"
NO_TASK_NAMED = "the answer names no task"

ACCOUNT_SERVICE_INSECURE = "the account service's address is neither https nor on this machine"
NOT_EXTERNAL_TOKENS = "what it gave is not an ExternalTokens"
THE_HOST_PROGRAM = "the host program"
OUTSIDE = "outside"

NO_CREDENTIAL = Message("No credential was given to sign the request with.")
NO_CRYPTOGRAPHY = Message(
    "This login is an agent identity, which needs the package cryptography.",
    "Install it with: pip install 'codex-nb[agent]'",
)
UNKNOWN_FORM = Message("The agent identity is neither a record nor a JWT.")


def account_service_status(status: str) -> str:
    """Name the HTTP status of the account service."""
    return f"the account service answered with status {status}"


def command_too_slow(seconds: str) -> str:
    """Say that a command took too long."""
    return f"it took longer than {seconds} s"


def command_ended(status: str) -> str:
    """Say that a command printed no token."""
    return f"it ended with status {status} and no token"


def the_command(command: str) -> str:
    """Name a command as the source of a credential."""
    return f"the command {command}"


def the_provider(name: str) -> str:
    """Name a provider as the source of a credential."""
    return f"provider {name}"


def senseless_characters(source: str) -> Message:
    """Say that a credential cannot be sent as a header."""
    return Message(
        f"The credential from {source} holds characters that no key has.",
        "Copy it anew, as a whole, or sign in with %codex login.",
    )


def agent_invalid(problem: str) -> Message:
    """Say why an agent's JWT is not accepted."""
    return Message(f"The agent identity is not valid: {problem}.")


def agent_unusable(source: str, problem: str) -> Message:
    """Say why an agent identity cannot be used."""
    return Message(f"The agent identity from {source} cannot be used: {problem}.")


def agent_not_now(what: str, problem: str) -> Message:
    """Say why an agent identity cannot sign for the moment."""
    return Message(
        f"The agent identity cannot sign just now, because {what}: {problem}.", next_steps.RUN_AGAIN_SOON
    )


def token_unchecked(problem: str) -> Message:
    """Say why nobody could be asked whose token it is."""
    return Message(f"The personal access token could not be checked: {problem}.", next_steps.RUN_AGAIN_SOON)


def token_invalid(source: str) -> Message:
    """Say that a personal access token has been refused."""
    return Message(f"The personal access token from {source} is not valid any more.")


def host_program_failed(problem: str) -> Message:
    """Say that the host program gave no token."""
    return Message(f"The host program gave no token ({problem}).", "Sign in where this notebook was started.")


def command_failed(command: str, problem: str) -> Message:
    """Say why a provider's sign-in command failed."""
    return Message(
        f"The provider's sign-in command {command!r} failed: {problem}.",
        "Check model_providers.*.auth in config.toml.",
    )


def variable_missing(provider: str, variable: str) -> Message:
    """Say which variable a provider's key is read from."""
    return Message(f"The provider {provider} needs the environment variable {variable}.", f"Set {variable}.")
