"""Which API we talk to: the ChatGPT backend, OpenAI's API, or a provider of config.toml, each with its own ways.

Every difference between them is a field of :class:`Backend`; nothing else asks who is at the other end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from codex_nb.errors import ConfigError
from codex_nb.settings import API_BASE_URL
from codex_nb.words import api_errors
from codex_nb.words import settings as words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codex_nb.settings import Settings

# The release of the Codex CLI whose wire contract is spoken; the ChatGPT backend offers models by it.
CONTRACT_VERSION = "0.169.0"


@dataclass(frozen=True)
class Backend:
    """One API's address and ways; URLs carry no trailing slash.

    ``is_chatgpt``: the ChatGPT backend itself, with routing and usage limits. ``is_codex``: that or something that
    stands for it: understands ``client_metadata``, the lite form of requests, and lists models by the CLI's release.
    ``can_compress``: takes zstd bodies. ``lists_models``: has a model list worth asking for. ``keeps_responses``:
    insists on ``store: true`` (Azure). Retries are None where the configuration says nothing of them.
    """

    base_url: str
    provider_id: str = "openai"
    name: str = "OpenAI"
    is_chatgpt: bool = False
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    query: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    can_compress: bool = False
    lists_models: bool = False
    keeps_responses: bool = False
    is_codex: bool = False
    is_built_in: bool = True
    idle_timeout_s: float = 300.0
    request_max_retries: int | None = None
    stream_max_retries: int | None = None
    account_base_url: str | None = None
    key_hint: str | None = None

    @property
    def takes_reasoning(self) -> bool:
        """Whether each request carries reasoning in the CLI's form; the public API has models that do not reason."""
        return self.is_codex or not self.is_built_in

    @property
    def responses_url(self) -> str:
        """Where a response is asked for."""
        return f"{self.base_url}/responses"

    @property
    def models_url(self) -> str:
        """Where the models are listed."""
        return f"{self.base_url}/models"

    @property
    def usage_url(self) -> str | None:
        """Where the plan's usage is told, None where there is no plan."""
        if self.account_base_url is None:
            return None
        path = "/wham/usage" if "/backend-api" in self.account_base_url else "/api/codex/usage"
        return f"{self.account_base_url}{path}"


def choose_backend(settings: Settings, *, is_chatgpt_auth: bool) -> Backend:
    """Find the API for these settings and this kind of login."""
    provider = settings.provider
    if provider.is_built_in and is_chatgpt_auth:
        return Backend(
            base_url=provider.base_url or f"{settings.chatgpt_base_url}/codex",
            is_chatgpt=True,
            can_compress=True,
            lists_models=True,
            is_codex=True,
            idle_timeout_s=provider.stream_idle_timeout_s,
            account_base_url=settings.chatgpt_base_url,
        )
    if provider.is_built_in:
        return Backend(
            base_url=provider.base_url or API_BASE_URL, idle_timeout_s=provider.stream_idle_timeout_s
        )
    if provider.base_url is None:
        key = f"model_providers.{provider.id}.base_url"
        raise ConfigError(words.address_missing(key), key=key)
    speaks_codex = provider.requires_openai_auth and is_chatgpt_auth
    return Backend(
        base_url=provider.base_url,
        provider_id=provider.id,
        name=provider.name,
        headers=provider.http_headers,
        query=provider.query_params,
        lists_models=True,
        keeps_responses=_is_azure(provider.base_url),
        is_codex=speaks_codex,
        is_built_in=False,
        idle_timeout_s=provider.stream_idle_timeout_s,
        request_max_retries=provider.request_max_retries,
        stream_max_retries=provider.stream_max_retries,
        account_base_url=settings.chatgpt_base_url if speaks_codex else None,
        key_hint=_key_hint(provider.env_key, provider.env_key_instructions),
    )


def _is_azure(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    return host.endswith((".openai.azure.com", ".cognitiveservices.azure.com", ".azure-api.net"))


def _key_hint(variable: str | None, instructions: str | None) -> str | None:
    if variable is None:
        return None
    return instructions or api_errors.key_variable(variable)
