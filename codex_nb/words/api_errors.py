"""Errors of the API: what a service refused, and why it could not be reached."""

from __future__ import annotations

from codex_nb.words import next_steps
from codex_nb.words.message import Message

# Parts of sentences
THE_BACKEND = "the backend"
UNNAMED_TYPE = "an unnamed type"
NOT_ASCII = "a header is not plain ASCII"
UNKNOWN_NAME = "its name is not known"
NO_ANSWER = "no answer in time"

_IN_BETWEEN = "Check base_url, the proxy, or a sign-in page in between."
_NEXT_CONNECTION = "Check the network, the proxy and base_url, then run the cell again."

CONTEXT_FULL = Message("The conversation no longer fits the model's context window.", next_steps.SEND_LESS)
QUOTA_USED_UP = Message("The account's quota is used up.", next_steps.CHECK_BILLING)
NO_CREDITS = Message("The workspace is out of credits.", next_steps.SEE_USAGE)
NOT_IN_PLAN = Message(
    "Codex is not part of this ChatGPT plan.", "Upgrade at https://chatgpt.com/explore/plus."
)
MODEL_UNAVAILABLE = Message("The model is not available.", next_steps.SEE_MODELS)
MODEL_FULL = Message("The model is at capacity.", next_steps.TRY_LATER)
REFUSED_BY_POLICY = Message(
    "The service refused the request because of its usage policy.", "Ask in other words."
)
SEALED_FOR_ANOTHER = Message(
    "The thread's sealed reasoning belongs to another account or model.",
    "Start a new thread with %codex new.",
)
TOO_MANY_REQUESTS = Message("Too many requests in a short time.", next_steps.WAIT_AND_RUN_AGAIN)
PROXY_WANTS_LOGIN = Message(
    "The proxy asks for a login (407).",
    "Write the login in the proxy's address: http://name:password@host:port.",
)
BROKEN_COMPRESSION = Message("The reply's compression is broken.")
BROKEN_OFF = Message("The stream ended before the answer did.")


def it_says(text: str) -> str:
    """Quote the service."""
    return f'It says: "{text}"'


def resets_at(moment: str) -> str:
    """Say when a limit resets."""
    return f"It resets at {moment}."


def key_variable(variable: str) -> str:
    """Say where a provider's key comes from."""
    return f"Check the key in the environment variable {variable}."


def event_too_large(size: str) -> str:
    """Say how large one event may be."""
    return f"an event of the stream exceeds {size} bytes"


def failing(who: str, status: str) -> Message:
    """Say that the service has a fault of its own."""
    return Message(f"{who} fails at the moment ({status}).", next_steps.TRY_LATER)


def failed_while_answering(who: str) -> Message:
    """Say that the service failed in the middle of an answer."""
    return Message(f"{who} failed while answering.", next_steps.TRY_LATER)


def busy(who: str, status: str) -> Message:
    """Say that the service is busy."""
    return Message(f"{who} is busy ({status}).", next_steps.TRY_LATER)


def login_refused(who: str) -> Message:
    """Say that the service does not know the login."""
    return Message(f"{who} does not accept the login (401).")


def wants_payment(who: str) -> Message:
    """Say that the service asks for money."""
    return Message(f"{who} asks for payment (402).", next_steps.CHECK_BILLING)


def not_allowed(who: str) -> Message:
    """Say that the service knows the login and refuses it."""
    return Message(
        f"{who} refuses this account or address (403).",
        "Check the account's rights, the region and the proxy.",
    )


def not_served(url: str, status: str) -> Message:
    """Say that there is nothing at the address."""
    return Message(f"The server does not offer {url} ({status}).", "Check base_url in config.toml.")


def too_large(who: str) -> Message:
    """Say that the request is larger than the service takes."""
    return Message(f"The request is too large for {who} (413).", next_steps.SEND_LESS)


def refused(who: str, status: str) -> Message:
    """Say that the service refused the request as it stands."""
    return Message(f"{who} refused the request ({status}).", next_steps.CHANGE_REQUEST)


def usage_limit(window: str, plan: str) -> Message:
    """Say which window of which plan is full."""
    return Message(f"The {window} usage limit of the {plan} plan is reached.", next_steps.SEE_USAGE)


def usage_limit_of_plan(plan: str) -> Message:
    """Say that a plan's limit is reached."""
    return Message(f"The usage limit of the {plan} plan is reached.", next_steps.SEE_USAGE)


def usage_limit_of_window(window: str) -> Message:
    """Say which window is full."""
    return Message(f"The {window} usage limit is reached.", next_steps.SEE_USAGE)


USAGE_LIMIT = Message("The usage limit is reached.", next_steps.SEE_USAGE)


def redirected(who: str, target: str, status: str) -> Message:
    """Say that the service points elsewhere."""
    return Message(f"{who} redirects to {target} ({status}), where a login is never sent.", _IN_BETWEEN)


def answered_with_nothing(who: str, status: str) -> Message:
    """Say that there was no body."""
    return Message(f"{who} answered with nothing ({status}).", _IN_BETWEEN)


def no_stream(who: str, status: str) -> Message:
    """Say that the reply is no stream of events."""
    return Message(f"{who} answered with status {status}, not with a stream of events.", _IN_BETWEEN)


def another_type(who: str, kind: str, said: str) -> Message:
    """Say what came instead of a stream of events."""
    return Message(f'{who} answered with {kind}, not with a stream of events: "{said}".', _IN_BETWEEN)


def proxy_refuses(said: str) -> Message:
    """Say that the proxy does not let the connection through."""
    return Message(f"The proxy refuses the connection: {said}.", "Check HTTPS_PROXY and NO_PROXY.")


def certificate_untrusted(host: str, said: str) -> Message:
    """Say why a certificate is not trusted."""
    return Message(
        f"The certificate of {host} is not trusted: {said}.",
        "Name your organisation's CA file in CODEX_CA_CERTIFICATE or SSL_CERT_FILE.",
    )


def unsendable(host: str, said: str) -> Message:
    """Say why a request cannot even be written."""
    return Message(
        f"The request to {host} cannot be sent: {said}.", "Check the addresses and headers in config.toml."
    )


def unconnected(host: str, said: str) -> Message:
    """Say why there is no connection."""
    return Message(f"No connection to {host}: {said}.", _NEXT_CONNECTION)


def silent(host: str) -> Message:
    """Say that nothing comes any more."""
    return Message(f"{host} went silent.")


def connection_lost(host: str) -> Message:
    """Say that the connection ended in the middle."""
    return Message(f"The connection to {host} broke off.")


def closed_early(who: str) -> Message:
    """Say that the stream ended before it began."""
    return Message(f"{who} closed the stream before the first event.", next_steps.RUN_AGAIN)


def too_much_at_once(who: str, said: str) -> Message:
    """Say that an event is larger than can be taken."""
    return Message(f"{who} sends too much at once: {said}.", "Ask for a smaller answer.")
