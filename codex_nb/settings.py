"""Settings: what config.toml, the environment and the user's options add up to, as one frozen value.

The file's shape is parsed in :mod:`codex_nb.config_toml`; everything above works with :class:`Settings` only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

CHATGPT_BASE_URL = "https://chatgpt.com/backend-api"
API_BASE_URL = "https://api.openai.com/v1"
ISSUER = "https://auth.openai.com"
CLIENT_ID = "app_EMoamEEZ73f0CkXaXp7hrann"


class CredentialsStore(StrEnum):
    """Where the login is kept: config.toml's ``cli_auth_credentials_store``."""

    FILE = "file"
    KEYRING = "keyring"
    AUTO = "auto"
    EPHEMERAL = "ephemeral"


class ApprovalPolicy(StrEnum):
    """When a tool call needs the user's word."""

    ASK = "ask"
    AUTO = "auto"
    ALL = "all"
    NEVER = "never"


@dataclass(frozen=True)
class BearerCommand:
    """A command whose standard output is the provider's bearer (``model_providers.*.auth``)."""

    command: str
    args: tuple[str, ...] = ()
    timeout_s: float = 5.0
    refresh_interval_s: float = 300.0
    cwd: Path | None = None


@dataclass(frozen=True)
class Provider:
    """One entry of ``model_providers``; the built-in one has ``id == "openai"``.

    ``base_url`` is None for the built-in provider without an override: the auth mode decides then.
    Durations are seconds. Header values may be secrets, so they stay out of ``repr``.
    """

    id: str = "openai"
    name: str = "OpenAI"
    base_url: str | None = None
    env_key: str | None = None
    env_key_instructions: str | None = None
    http_headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    env_http_headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    query_params: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    requires_openai_auth: bool = True
    request_max_retries: int | None = None
    stream_max_retries: int | None = None
    stream_idle_timeout_s: float = 300.0
    bearer_command: BearerCommand | None = None

    @property
    def is_built_in(self) -> bool:
        """Whether this is OpenAI's own service, by ChatGPT plan or API key."""
        return self.id == "openai"


@dataclass(frozen=True)
class Settings:
    """Everything that is decided before a question is asked.

    Base URLs carry no trailing slash. ``auth_mode`` is an explicit wish ("chatgpt", "apikey", …) or None.
    """

    codex_home: Path
    model: str | None = None
    effort: str | None = None
    summary: str | None = "auto"
    verbosity: str | None = None
    service_tier: str | None = None
    provider: Provider = field(default_factory=Provider)
    chatgpt_base_url: str = CHATGPT_BASE_URL
    credentials_store: CredentialsStore = CredentialsStore.FILE
    forced_login_method: Literal["api", "chatgpt"] | None = None
    forced_workspaces: tuple[str, ...] = ()
    profile: str | None = None
    use_openai_api_key_env: bool = False
    auth_mode: str | None = None
    issuer: str = ISSUER
    client_id: str = CLIENT_ID
    refresh_url_override: str | None = None
    revoke_url_override: str | None = None
    authapi_base_url: str = f"{ISSUER}/api/accounts"
    agent_authapi_base_url: str | None = None
    agent_jwks_base_url: str | None = None
    ca_certificate: Path | None = None
    originator: str = "codex_nb"
    approval: ApprovalPolicy = ApprovalPolicy.ASK
    project_doc_max_bytes: int = 32 * 1024
