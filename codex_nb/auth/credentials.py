"""Credentials: who asks and who pays, made from what a store or the environment holds.

``auth.json`` has the shape in which the Codex CLI writes it; unknown keys are preserved.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Secret, SecretStr, ValidationError

from codex_nb.errors import CredentialsUnreadable, SignInRequired
from codex_nb.parse import is_printable_ascii, loads, parse_object, parse_time
from codex_nb.rendering.sanitize import visible_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


class _Document(BaseModel):
    """A JSON object whose known keys are typed and whose unknown ones pass through."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    def plain(self) -> dict[str, Any]:
        """Return the object as the file holds it: known keys in the CLI's order, then the others, secrets revealed."""
        known = {
            (field.alias or name): _reveal(getattr(self, name))
            for name, field in type(self).model_fields.items()
            if name in self.model_fields_set
        }
        return known | dict(self.__pydantic_extra__ or {})

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        yield "keys", sorted(self.plain())

    def __str__(self) -> str:
        return repr(self)


class TokenProvenance(_Document):
    """Which authorization server issued the tokens, and to which client."""

    issuer: str | None = None
    client_id: str | None = None


class Tokens(_Document):
    """The ChatGPT login's tokens."""

    id_token: SecretStr | None = None
    access_token: SecretStr | None = None
    refresh_token: SecretStr | None = None
    oauth_provenance: TokenProvenance | None = None
    login_owner_id: SecretStr | None = None
    account_id: str | None = None


class AuthFile(_Document):
    """The whole of ``auth.json``."""

    auth_mode: str | None = None
    openai_api_key: SecretStr | None = Field(default=None, alias="OPENAI_API_KEY")
    tokens: Tokens | None = None
    last_refresh: Secret[Any] | None = None
    agent_identity: Secret[Any] | None = None
    personal_access_token: SecretStr | None = None

    def pretty(self) -> str:
        """Render as the CLI writes the file."""
        return json.dumps(self.plain(), indent=2, ensure_ascii=False)

    def compact(self) -> str:
        """Render as the CLI writes the keyring entry."""
        return json.dumps(self.plain(), separators=(",", ":"), ensure_ascii=False)

    @property
    def refreshed_at(self) -> datetime | None:
        """When the tokens were last refreshed; None when absent or not a time. A time without zone is UTC."""
        value = None if self.last_refresh is None else self.last_refresh.get_secret_value()
        if not isinstance(value, str):
            return None
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def parse_auth_json(text: SecretStr) -> AuthFile | str:
    """Parse the text of ``auth.json``, or say in a few words why it cannot be parsed.

    The reason is returned, not raised: an exception from here would carry the file's text in its frames.
    """
    try:
        value = loads(text.get_secret_value())
    except ValueError:
        return "it is not valid JSON"
    if not isinstance(value, dict):
        return "it is not a JSON object"
    try:
        return AuthFile.model_validate(value)
    except ValidationError as error:
        key = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
        return f"the value of {key} has the wrong type"


def format_time(moment: datetime) -> str:
    """Format as the CLI does: RFC 3339, UTC, nine digits, ``Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def _reveal(value: object) -> object:
    match value:
        case _Document():
            return value.plain()
        case SecretStr() | Secret():
            return value.get_secret_value()
        case _:
            return value


AUTH_CLAIM = "https://api.openai.com/auth"
PROFILE_CLAIM = "https://api.openai.com/profile"


def account_of_token(token: SecretStr | None) -> Account:
    """Read the account in the claims of ``token``; a token that is no JWT names none, which is not an error."""
    payload = jwt_part(token, 1)
    auth = parse_object(payload.get(AUTH_CLAIM))
    profile = parse_object(payload.get(PROFILE_CLAIM))
    return replace(
        read_account(auth),
        user_id=_text(auth.get("chatgpt_user_id")) or _text(auth.get("user_id")) or _text(payload.get("sub")),
        email=_name(payload.get("email")) or _name(profile.get("email")),
    )


def read_account(value: Mapping[str, Any]) -> Account:
    """Read an account by the names that claims and the account service give its parts; each may be absent."""
    return Account(
        account_id=_text(value.get("chatgpt_account_id")),
        user_id=_text(value.get("chatgpt_user_id")),
        email=_name(value.get("email")),
        plan=_name(value.get("chatgpt_plan_type")) or UNKNOWN_PLAN,
        is_fedramp=value.get("chatgpt_account_is_fedramp") is True,
    )


def expiry_of_token(token: SecretStr | None) -> datetime | None:
    """Read when a token ends; None for one that does not say it."""
    return expiry_of(jwt_part(token, 1).get("exp"))


def jwt_part(token: SecretStr | None, index: int) -> dict[str, Any]:
    """Decode the header (0) or payload (1) of a JWT; ``{}`` when the token is not a JWT."""
    parts = [] if token is None else token.get_secret_value().split(".")
    if len(parts) != 3:  # noqa: PLR2004  (RFC 7519: header, payload, signature)
        return {}
    try:
        return parse_object(loads(decode_base64url(parts[index])))
    except (binascii.Error, ValueError):
        return {}


def decode_base64url(text: str) -> bytes:
    """Decode unpadded base64url (RFC 4648 section 5)."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encode_base64url(data: bytes) -> str:
    """Encode as unpadded base64url (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _name(value: object) -> str | None:
    """Read an email address or a plan's name, with invisible characters made visible."""
    text = _text(value)
    return None if text is None else visible_line(text)


def expiry_of(value: object) -> datetime | None:
    """Read the ``exp`` of a token; None when it is no time."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return parse_time(max(value, 1))  # what ended before there was a Unix time has ended, too


PERSONAL_ACCESS_TOKEN_PREFIX = "at-"  # noqa: S105  (a prefix)
UNKNOWN_PLAN = "unknown"

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the present time, aware and in UTC."""
    return datetime.now(UTC)


class AuthMode(StrEnum):
    """How requests are signed; the values are those of ``auth_mode`` in ``auth.json``."""

    API_KEY = "apikey"
    CHATGPT = "chatgpt"
    EXTERNAL = "chatgptAuthTokens"
    PERSONAL_ACCESS_TOKEN = "personalAccessToken"  # noqa: S105  (a name)
    AGENT_IDENTITY = "agentIdentity"


# The CLI's modes for services that codex_nb does not speak to.
FOREIGN_MODES = frozenset({"headers", "bedrockApiKey", "bedrockAccessKeys"})


@dataclass(frozen=True)
class Account:
    """The account of a login, as far as it is known; ``plan`` is "unknown" rather than absent."""

    account_id: str | None = None
    user_id: str | None = None
    email: str | None = None
    plan: str = UNKNOWN_PLAN
    is_fedramp: bool = False

    def may_be(self, other: Account) -> bool:
        """Whether both may be the same account; an id that either lacks counts as equal."""
        ids = ((self.account_id, other.account_id), (self.user_id, other.user_id))
        return all(mine is None or theirs is None or mine == theirs for mine, theirs in ids)


def format_seconds(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds and ``Z``, as assertions want it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class AgentIdentity:
    """An agent identity with its task, ready to sign; ``sign`` maps a message to its signature."""

    runtime_id: str
    task_id: str = field(repr=False)
    sign: Callable[[bytes], bytes] = field(repr=False, compare=False)
    clock: Clock = field(repr=False, compare=False)

    def assertion(self) -> SecretStr:
        """Compose the assertion for a request made now: base64url JSON with its keys in alphabetical order."""
        timestamp = format_seconds(self.clock())
        signature = self.sign(f"{self.runtime_id}:{self.task_id}:{timestamp}".encode())
        envelope = {
            "agent_runtime_id": self.runtime_id,
            "signature": base64.b64encode(signature).decode("ascii"),
            "task_id": self.task_id,
            "timestamp": timestamp,
        }
        return SecretStr(encode_base64url(json.dumps(envelope, separators=(",", ":")).encode()))


@dataclass(frozen=True)
class Credentials:
    """One immutable snapshot of what signs requests.

    ``expires_at`` is aware UTC, None for keys and opaque tokens. ``source`` names where it came from, for messages.
    ``issuer`` and ``client_id`` are the stored login's, None when it has none. ``workspace`` is the account that
    the ID token names; the file may say otherwise for requests. ``owner`` names the command that supplies
    a changing key.
    """

    mode: AuthMode
    account: Account = field(default_factory=Account)
    bearer: SecretStr | None = None
    refresh_token: SecretStr | None = None
    expires_at: datetime | None = None
    refreshed_at: datetime | None = None
    source: str = ""
    issuer: str | None = None
    client_id: str | None = None
    workspace: str | None = None
    agent: AgentIdentity | None = None
    owner: str | None = None

    @property
    def label(self) -> str:
        """The account's display name; of a key, too little to use it."""
        if self.mode is AuthMode.API_KEY:
            return f"API key {_masked(self.bearer)}" if self.bearer else "no sign-in needed"
        return self.account.email or self.account.account_id or f"the login from {self.source}"

    @property
    def billing(self) -> Literal["chatgpt", "api_key"]:
        """What pays for the request: ``chatgpt`` (the plan) or ``api_key``."""
        return "api_key" if self.mode is AuthMode.API_KEY else "chatgpt"

    @property
    def is_chatgpt_backend(self) -> bool:
        """Whether requests go to ChatGPT's backend rather than to the API platform."""
        return self.mode is not AuthMode.API_KEY

    @property
    def workspace_id(self) -> str | None:
        """The workspace that restrictions are compared with: what the token claims, not what the file says."""
        return self.workspace or self.account.account_id

    @property
    def identity_key(self) -> str:
        """A stable hash of the account for caches; it does not change when tokens are refreshed."""
        if self.owner is not None:
            parts = ["owner", self.owner]
        elif self.mode is AuthMode.API_KEY:
            parts = ["api", self.bearer.get_secret_value() if self.bearer else ""]
        elif self.account.account_id or self.account.user_id:
            parts = ["chatgpt", self.account.account_id or "", self.account.user_id or ""]
        elif self.account.email:
            parts = ["email", self.account.email]
        else:  # an opaque login is identified only by its tokens
            secret = self.refresh_token or self.bearer
            parts = ["login", secret.get_secret_value() if secret else ""]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def same_bearer(self, other: Credentials) -> bool:
        """Whether both would send the same authorization."""
        return self.mode is other.mode and self.bearer == other.bearer and self.agent == other.agent

    def same_tokens(self, other: Credentials) -> bool:
        """Whether both are the same state of a login, of which no refresh lies between."""
        return self.same_bearer(other) and self.refresh_token == other.refresh_token

    def same_account(self, other: Credentials) -> bool:
        """Whether both have the same account and billing; an id that either lacks counts as equal."""
        if self.billing != other.billing or self.owner != other.owner:
            return False
        if self.owner is not None:
            return True
        if self.mode is AuthMode.API_KEY:
            return self.bearer == other.bearer
        return self.account.may_be(other.account)


def credentials_from_document(document: AuthFile, *, source: str, path: Path | None = None) -> Credentials:
    """Read the credentials of a stored login.

    Raises SignInRequired when the mode's credential is missing (never falling through to another mode) and
    CredentialsUnreadable when the mode is unknown.
    """
    mode = _mode(document, path)
    match mode:
        case AuthMode.API_KEY:
            return api_key_credentials(_require(document.openai_api_key, "API key", source), source=source)
        case AuthMode.CHATGPT | AuthMode.EXTERNAL:
            return _from_tokens(document, mode, source)
        case AuthMode.PERSONAL_ACCESS_TOKEN:
            token = _require(document.personal_access_token, "personal access token", source)
            return Credentials(mode=mode, bearer=token, source=source)
        case AuthMode.AGENT_IDENTITY:
            if document.agent_identity is None:
                raise SignInRequired(f"The stored login ({source}) has no agent identity.")
            return Credentials(mode=mode, source=source)


def api_key_credentials(token: SecretStr, *, source: str) -> Credentials:
    """Return the credentials of an API key; a blank one is none, and requests are not signed then."""
    key = token.get_secret_value().strip()
    return Credentials(mode=AuthMode.API_KEY, bearer=SecretStr(key) if key else None, source=source)


def _mode(document: AuthFile, path: Path | None) -> AuthMode:
    name = document.auth_mode
    if name is None:
        return _implied_mode(document)
    if name in FOREIGN_MODES:
        raise SignInRequired(f"The stored login is for another service (auth_mode {name!r}).")
    if name not in set(AuthMode):
        raise CredentialsUnreadable(
            f"The stored login has an unknown auth_mode: {name[:40]!r}.",
            hint="Fix the file, or sign in again with %codex login.",
            path=path,
        )
    return AuthMode(name)


def _implied_mode(document: AuthFile) -> AuthMode:
    if document.personal_access_token is not None:
        return AuthMode.PERSONAL_ACCESS_TOKEN
    if document.openai_api_key is not None and (document.tokens is None or _present(document.openai_api_key)):
        return AuthMode.API_KEY  # a blank key beside tokens is none
    if document.tokens is None and document.agent_identity is not None:
        return AuthMode.AGENT_IDENTITY
    return AuthMode.CHATGPT


def _from_tokens(document: AuthFile, mode: AuthMode, source: str) -> Credentials:
    tokens = document.tokens
    if tokens is None:
        raise SignInRequired(f"The stored login ({source}) contains no tokens.")
    provenance = tokens.oauth_provenance
    return Credentials(
        mode=mode,
        account=account_of_tokens(tokens),
        workspace=account_of_token(tokens.id_token).account_id,
        bearer=_require(tokens.access_token, "access token", source),
        refresh_token=_present(tokens.refresh_token) if mode is AuthMode.CHATGPT else None,
        expires_at=expiry_of_token(tokens.access_token),
        refreshed_at=document.refreshed_at,
        source=source,
        issuer=provenance.issuer if provenance else None,
        client_id=provenance.client_id if provenance else None,
    )


def account_of_tokens(tokens: Tokens) -> Account:
    """Return the account that the ID token names; the access token fills what it leaves out.

    An id that is stored beside the tokens comes before their own.
    """
    account, spare = account_of_token(tokens.id_token), account_of_token(tokens.access_token)
    return Account(
        account_id=tokens.account_id or account.account_id or spare.account_id,
        user_id=account.user_id or spare.user_id,
        email=account.email or spare.email,
        plan=spare.plan if account.plan == UNKNOWN_PLAN else account.plan,
        is_fedramp=account.is_fedramp or spare.is_fedramp,
    )


def _require(secret: SecretStr | None, what: str, source: str) -> SecretStr:
    found = _present(secret)
    if found is None:
        raise SignInRequired(f"The stored login ({source}) has no {what}.")
    return found


def _present(secret: SecretStr | None) -> SecretStr | None:
    return secret if secret is not None and secret.get_secret_value().strip() else None


def _masked(secret: SecretStr) -> str:
    value = secret.get_secret_value()
    return f"{value[:3]}…{value[-4:]}" if len(value) >= 16 else "…"  # noqa: PLR2004  (nothing of a short key is shown)


def fits_header(secret: SecretStr) -> bool:
    """Whether a credential can be sent in a header."""
    value = secret.get_secret_value()
    return bool(value) and is_printable_ascii(value) and " " not in value


def fingerprint(secret: SecretStr | Secret[Any] | None) -> str:
    """Return a hash that identifies a token, or an agent's JSON record, without revealing it."""
    value = "" if secret is None else secret.get_secret_value()
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
