"""Which API is talked to, for which login and configuration."""

from __future__ import annotations

from dataclasses import replace

import pytest

from codex_nb.config.settings import Provider, Settings
from codex_nb.errors import ConfigError
from codex_nb.responses.request import Backend, choose_backend
from tests.responses.fakes import SETTINGS


def chosen(*, is_chatgpt_auth: bool, **changes: object) -> Backend:
    return choose_backend(replace(SETTINGS, **changes), is_chatgpt_auth=is_chatgpt_auth)  # type: ignore[arg-type] # by name


def test_a_chatgpt_login_talks_to_the_chatgpt_backend() -> None:
    backend = chosen(is_chatgpt_auth=True)
    assert backend.responses_url == "https://chatgpt.com/backend-api/codex/responses"
    assert backend.models_url == "https://chatgpt.com/backend-api/codex/models"
    assert backend.usage_url == "https://chatgpt.com/backend-api/wham/usage"
    assert (backend.is_chatgpt, backend.can_compress, backend.is_codex) == (True, True, True)


def test_an_api_key_talks_to_the_api() -> None:
    backend = chosen(is_chatgpt_auth=False)
    assert backend.responses_url == "https://api.openai.com/v1/responses"
    assert (backend.is_chatgpt, backend.can_compress, backend.is_codex, backend.usage_url) == (
        False,
        False,
        False,
        None,
    )


@pytest.mark.parametrize("is_chatgpt_auth", [True, False])
def test_openai_base_url_is_for_either_login(is_chatgpt_auth: bool) -> None:
    backend = chosen(is_chatgpt_auth=is_chatgpt_auth, provider=Provider(base_url="http://127.0.0.1:5/v1"))
    assert backend.responses_url == "http://127.0.0.1:5/v1/responses"


def test_the_responses_follow_another_chatgpt_address_and_so_does_the_usage() -> None:
    backend = chosen(is_chatgpt_auth=True, chatgpt_base_url="https://gate.test/backend-api")
    assert backend.responses_url == "https://gate.test/backend-api/codex/responses"
    assert backend.usage_url == "https://gate.test/backend-api/wham/usage"


def test_an_address_without_backend_api_has_the_other_usage_path() -> None:
    backend = chosen(is_chatgpt_auth=True, chatgpt_base_url="https://gate.test")
    assert backend.usage_url == "https://gate.test/api/codex/usage"


LOCAL = Provider(id="local", name="Local", base_url="http://127.0.0.1:1/v1", requires_openai_auth=False)


def test_a_provider_of_ones_own_has_no_chatgpt_ways_even_with_a_chatgpt_login() -> None:
    backend = chosen(is_chatgpt_auth=True, provider=LOCAL)
    assert backend == Backend(
        base_url="http://127.0.0.1:1/v1",
        provider_id="local",
        name="Local",
        lists_models=True,
        is_built_in=False,
    )


def test_a_provider_that_takes_the_openai_login_is_a_chatgpt_backend_without_compression() -> None:
    backend = chosen(is_chatgpt_auth=True, provider=replace(LOCAL, requires_openai_auth=True))
    assert (backend.is_codex, backend.is_chatgpt, backend.can_compress) == (True, False, False)
    assert backend.usage_url == "https://chatgpt.com/backend-api/wham/usage"


def test_a_provider_with_a_key_says_where_the_key_comes_from() -> None:
    assert chosen(is_chatgpt_auth=False, provider=replace(LOCAL, env_key="LOCAL_KEY")).key_hint == (
        "Check the API key in the environment variable LOCAL_KEY."
    )
    told = replace(LOCAL, env_key="LOCAL_KEY", env_key_instructions="Ask Bob.")
    assert chosen(is_chatgpt_auth=False, provider=told).key_hint == "Ask Bob."


def test_a_providers_patience_is_its_own() -> None:
    patient = replace(LOCAL, stream_idle_timeout_s=5.0, request_max_retries=1, stream_max_retries=2)
    backend = chosen(is_chatgpt_auth=False, provider=patient)
    assert (backend.idle_timeout_s, backend.request_max_retries, backend.stream_max_retries) == (5.0, 1, 2)


def test_a_provider_without_an_address_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match="base_url is missing"):
        chosen(is_chatgpt_auth=False, provider=replace(LOCAL, base_url=None))


def test_headers_and_query_stay_out_of_the_repr() -> None:
    provider = replace(LOCAL, http_headers={"k": "fabricated-1"}, query_params={"k": "fabricated-2"})
    assert "fabricated" not in repr(chosen(is_chatgpt_auth=False, provider=provider))
    assert "fabricated" not in repr(Settings(codex_home=SETTINGS.codex_home, provider=provider))
