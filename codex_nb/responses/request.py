"""What is sent: the backend that is spoken to, and one request as its exact JSON body and headers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NewType

from codex_nb.config.settings import API_BASE_URL
from codex_nb.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codex_nb.config.settings import Settings
    from codex_nb.responses.throttle import Throttle


# The release of the Codex CLI whose wire contract is spoken; the ChatGPT backend offers models by it.
CONTRACT_VERSION = "0.171.0"


@dataclass(frozen=True)
class Backend:
    """One API's address and ways; URLs carry no trailing slash.

    ``is_chatgpt``: the ChatGPT backend itself, with routing and usage limits. ``is_codex``: that or something that
    stands for it: understands ``client_metadata``, the lite form of requests, and lists models by the CLI's release.
    ``can_compress``: takes zstd bodies. ``lists_models``: has a model list worth asking for. Retries are None where the
    configuration says nothing of them.
    """

    base_url: str
    provider_id: str = "openai"
    name: str = "OpenAI"
    is_chatgpt: bool = False
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    query: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    can_compress: bool = False
    lists_models: bool = False
    is_codex: bool = False
    is_built_in: bool = True
    idle_timeout_s: float = 300.0
    request_max_retries: int | None = None
    stream_max_retries: int | None = None
    account_base_url: str | None = None
    key_hint: str | None = None

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
            headers=provider.http_headers,
            is_chatgpt=True,
            can_compress=True,
            lists_models=True,
            is_codex=True,
            idle_timeout_s=provider.stream_idle_timeout_s,
            account_base_url=settings.chatgpt_base_url,
        )
    if provider.is_built_in:
        return Backend(
            base_url=provider.base_url or API_BASE_URL,
            headers=provider.http_headers,
            idle_timeout_s=provider.stream_idle_timeout_s,
        )
    if provider.base_url is None:
        key = f"model_providers.{provider.id}.base_url"
        raise ConfigError(
            f"{key} is missing: expected the base URL of the API.", key=key, hint="Add it to config.toml."
        )
    speaks_codex = provider.requires_openai_auth and is_chatgpt_auth
    return Backend(
        base_url=provider.base_url,
        provider_id=provider.id,
        name=provider.name,
        headers=provider.http_headers,
        query=provider.query_params,
        lists_models=True,
        is_codex=speaks_codex,
        is_built_in=False,
        idle_timeout_s=provider.stream_idle_timeout_s,
        request_max_retries=provider.request_max_retries,
        stream_max_retries=provider.stream_max_retries,
        account_base_url=settings.chatgpt_base_url if speaks_codex else None,
        key_hint=_key_hint(provider.env_key, provider.env_key_instructions),
    )


def _key_hint(variable: str | None, instructions: str | None) -> str | None:
    if variable is None:
        return None
    return instructions or f"Check the API key in the environment variable {variable}."


# An item of the model's input that may leave this machine: it is redacted and bounded, and text from elsewhere in it
# is marked as untrusted. Only session/outbound makes one (tests/architecture).
Outbound = NewType("Outbound", dict[str, Any])

TURN_STATE_HEADER = "x-codex-turn-state"
LITE_HEADER = "x-openai-internal-codex-responses-lite"
ENCRYPTED_REASONING = "reasoning.encrypted_content"


@dataclass(frozen=True)
class ResponsesRequest:
    """One request of a turn.

    ``input`` is the whole history, a developer message first (there is no ``instructions`` field); items are sent as
    they are, in their own key order. ``received`` are items that an interrupted response to this request has completed;
    they follow the input. ``tools`` are tool specifications. ``text_format`` is a ``json_schema`` format.
    ``turn_state`` is the last reply's, within one turn only. ``is_lite`` is the model's wish for the lite form,
    ``is_reasoning`` whether it may be told how to reason. ``throttle`` is shared by the requests of a batch; it is not
    sent.
    """

    model: str
    input: tuple[Outbound, ...]
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: str = "auto"
    parallel_tool_calls: bool = True
    effort: str | None = None
    summary: str | None = None
    verbosity: str | None = None
    service_tier: str | None = None
    text_format: dict[str, Any] | None = None
    prompt_cache_key: str | None = None
    thread_id: str | None = None
    turn_id: str | None = None
    turn_state: str | None = None
    is_lite: bool = False
    is_reasoning: bool = True
    received: tuple[dict[str, Any], ...] = ()
    throttle: Throttle | None = field(default=None, repr=False, compare=False)


def request_body(request: ResponsesRequest, backend: Backend, *, stream: bool = True) -> bytes:
    """Write the JSON body; ``stream`` asks for an event stream, which a batch job cannot have.

    Text that is not valid Unicode (half surrogate pairs) becomes question marks.
    """
    return dump_json(request_fields(request, backend, stream=stream))


def request_fields(request: ResponsesRequest, backend: Backend, *, stream: bool = True) -> dict[str, Any]:
    """Return the fields of the body."""
    lite = request.is_lite
    body: dict[str, Any] = {
        "model": request.model,
        "stream": stream,
        "input": [*request.input, *request.received],
    }
    if lite and request.tools:
        body["input"].insert(0, _additional_tools(request.tools))
    if request.tools and not lite:
        body["tools"] = list(request.tools)
    if request.tools:
        body["tool_choice"] = request.tool_choice
        body["parallel_tool_calls"] = request.parallel_tool_calls and not lite
    reasoning = _reasoning(request, lite=lite)
    is_reasoning = bool(reasoning) or request.is_reasoning
    if is_reasoning:
        body["reasoning"] = reasoning
    body["store"] = False
    if is_reasoning:
        body["include"] = [ENCRYPTED_REASONING]
    if request.service_tier is not None:
        body["service_tier"] = request.service_tier
    if request.prompt_cache_key is not None:
        body["prompt_cache_key"] = request.prompt_cache_key
    text = _text(request)
    if text:
        body["text"] = text
    metadata = _metadata(request)
    if metadata and backend.is_codex:
        body["client_metadata"] = metadata
    return body


def request_headers(request: ResponsesRequest, backend: Backend) -> dict[str, str]:
    """Return the headers of a request, without authorization."""
    headers = {
        "accept": "text/event-stream",
        "accept-encoding": "identity",
        "content-type": "application/json",
    }
    if request.thread_id is not None:
        headers.update(dict.fromkeys(("x-client-request-id", "session-id", "thread-id"), request.thread_id))
    if request.turn_state is not None:
        headers[TURN_STATE_HEADER] = request.turn_state
    if backend.is_chatgpt:
        headers["x-codex-routing-hint"] = f"model={request.model}"
    if request.is_lite:
        headers[LITE_HEADER] = "true"
    return headers | dict(backend.headers)


def dump_json(value: Any) -> bytes:
    """Write compact JSON in the order of the keys, as UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _additional_tools(tools: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """Return the tools as an input item, as lite models take them; its id follows from the tools and so is stable."""
    digest = hashlib.sha256(dump_json(tools)).hexdigest()[:32]
    namespace = {"type": "namespace", "name": "functions", "description": "", "tools": list(tools)}
    return {"type": "additional_tools", "id": f"at_{digest}", "role": "developer", "tools": [namespace]}


def _reasoning(request: ResponsesRequest, *, lite: bool) -> dict[str, str]:
    reasoning = {
        "effort": request.effort,
        "summary": request.summary,
        "context": "all_turns" if lite else None,
    }
    return {key: value for key, value in reasoning.items() if value is not None}


def _text(request: ResponsesRequest) -> dict[str, Any]:
    text = {"verbosity": request.verbosity, "format": request.text_format}
    return {key: value for key, value in text.items() if value is not None}


def _metadata(request: ResponsesRequest) -> dict[str, str]:
    ids = {"thread_id": request.thread_id, "session_id": request.thread_id, "turn_id": request.turn_id}
    return {key: value for key, value in ids.items() if value is not None}
