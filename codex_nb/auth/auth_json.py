"""The shape of ``auth.json`` as the Codex CLI writes it; unknown keys are preserved."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, Secret, SecretStr, ValidationError

from codex_nb.parse import loads

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Document(BaseModel):
    """A JSON object whose known keys are typed and whose unknown ones pass through."""

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True, hide_input_in_errors=True)

    def plain(self) -> dict[str, Any]:
        """Return the object as the file holds it: known keys in the CLI's order, then the others, secrets revealed."""
        known = {
            (field.alias or name): _reveal(getattr(self, name))
            for name, field in type(self).model_fields.items()
            if name in self.model_fields_set
        }
        return known | dict(self.__pydantic_extra__ or {})

    def changed(self, **values: object) -> Any:
        """Copy with some known keys set; everything else stays, unknown keys included."""
        return type(self).model_validate(
            {**self.plain(), **{self._key(name): v for name, v in values.items()}}
        )

    @classmethod
    def _key(cls, name: str) -> str:
        return cls.model_fields[name].alias or name

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
