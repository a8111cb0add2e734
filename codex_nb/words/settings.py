"""Settings: what is wrong in config.toml, in the environment or in an option."""

from __future__ import annotations

from codex_nb.words import next_steps
from codex_nb.words.message import Message

# Where a setting stands, when it is in no file
ENVIRONMENT = "environment"
OPTIONS = "options"

# What is expected of a value
A_TEXT = "a text"
A_TEXT_NOT_EMPTY = "a text that is not empty"
A_WHOLE_NUMBER = "a whole number"
TRUE_OR_FALSE = "true or false"
A_TABLE = "a table"
A_LIST_OF_TEXTS = "a list of texts"
A_LOWER_CASE_WORD = "a lower-case word"
A_VALUE = "a value, and there is none"
AN_ADDRESS = "an address that begins with http:// or https://"
PRINTABLE_TEXT = "a text of printable ASCII characters"


def one_of(choices: str) -> str:
    """Name what is expected of a value with a few choices."""
    return f"one of {choices}"


def above(bound: str) -> str:
    """Name what is expected of a number that has to be larger."""
    return f"a number above {bound}"


def at_least(bound: str) -> str:
    """Name what is expected of a number with a lower bound."""
    return f"a number of at least {bound}"


def at_most(bound: str) -> str:
    """Name what is expected of a number with an upper bound."""
    return f"a number of at most {bound}"


def unreadable(path: str, problem: str) -> Message:
    """Say why the file cannot be read."""
    return Message(f"{path} cannot be read: {problem}.", "Make the file readable, or remove it.")


def not_toml(path: str, problem: str) -> Message:
    """Say where the file stops being TOML."""
    return Message(f"{path} is not valid TOML: {problem}.", "Mend the file at that place.")


def wrong(path: str, key: str, expected: str) -> Message:
    """Say what is expected of a key's value."""
    return Message(f"{path}: {key} is wrong: expected {expected}.", f"Mend the value of {key}.")


def chat_wire(path: str, key: str) -> Message:
    """Say that only the Responses API is spoken."""
    return Message(
        f'{path}: {key} must be "responses"; the chat API is not supported.',
        "Use the provider's Responses API endpoint.",
    )


def respelled(path: str, key: str, meant: str) -> Message:
    """Say how a key is spelled."""
    return Message(f"{path}: {key} is not a key of Codex: expected {meant}.", f"Write it as {meant}.")


def no_address(path: str, key: str) -> Message:
    """Say that a provider has no address."""
    return Message(f"{path}: {key} is missing: expected the address of the API.", "Add it to the file.")


def address_missing(key: str) -> Message:
    """Say that a provider has no address, wherever it is configured."""
    return Message(f"{key} is missing: expected the address of the API.", "Add it to config.toml.")


def unknown_provider(path: str, provider: str, known: str) -> Message:
    """Say that the provider is not defined."""
    return Message(
        f"{path}: model_provider is {provider!r}, and there is no [model_providers.{provider}].",
        f"Define it, or choose a known one: {known}.",
    )


def known_profiles(names: str) -> str:
    """Name the profiles that there are."""
    return f"Choose one of the known profiles: {names}."


def unknown_profile(name: str, file: str, home: str) -> Message:
    """Say where a profile was looked for."""
    return Message(
        f"There is no profile {name!r}: neither [profiles.{name}] in {file} nor {home}.",
        "Define it in config.toml; no profile is defined yet.",
    )


def home_is_no_directory(home: str) -> Message:
    """Say that CODEX_HOME is a file."""
    return Message(f"CODEX_HOME names {home}, which is not a directory.", "Let it name a directory.")


def variable_is_wrong(variable: str, value: str, choices: str) -> Message:
    """Say which values a variable takes."""
    return Message(f"{variable} is {value!r}: expected one of {choices}.", next_steps.CHOOSE_ONE)


def unknown_option(option: str, known: str) -> Message:
    """Say that there is no such option."""
    return Message(f"There is no option {option!r}.", f"Choose a known one: {known}.")


def option_is_wrong(option: str, value: str, choices: str) -> Message:
    """Say which values an option takes."""
    return Message(f"The option {option} is {value}: expected one of {choices}.", next_steps.CHOOSE_ONE)


def bad_certificate_file(path: str, problem: str) -> Message:
    """Say why a file of certificates cannot be used."""
    return Message(
        f"The certificate file {path} cannot be used: {problem}.",
        "Let CODEX_CA_CERTIFICATE (or SSL_CERT_FILE) name a PEM file with at least one certificate.",
    )


def bad_proxy(variable: str) -> Message:
    """Say that the address is none."""
    return Message(
        f"The proxy named by {variable} cannot be used: it is not a proxy address.",
        "Write it as http://host:port.",
    )


def proxy_needs_socks(variable: str) -> Message:
    """Say what a SOCKS proxy needs."""
    return Message(
        f"The proxy named by {variable} cannot be used: SOCKS needs the package socksio.",
        "Install it with: pip install socksio",
    )
