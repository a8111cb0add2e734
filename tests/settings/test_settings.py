"""What config.toml, profiles, the environment and options add up to, and how a wrong one is named."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from codex_nb.config.config_toml import ConfigToml, ProviderTable, parse_config
from codex_nb.config.layers import Layer, MergedConfig
from codex_nb.config.settings import (
    ApprovalPolicy,
    BearerCommand,
    CredentialsStore,
    Provider,
    Settings,
    load_settings,
)
from codex_nb.doctor import diagnose, settings_table
from codex_nb.errors import ConfigError


def write(home: Path, text: str) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    (home / "config.toml").write_text(text)
    return home


def loaded(home: Path, text: str = "", environ: dict[str, str] | None = None, **options: Any) -> Settings:
    write(home, text)
    return load_settings({"CODEX_HOME": str(home), **(environ or {})}, **options)


def refused(home: Path, text: str, **options: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        loaded(home, text, **options)
    return caught.value


def test_without_any_file_the_defaults_stand(tmp_path: Path) -> None:
    assert load_settings({"HOME": str(tmp_path)}) == Settings(codex_home=tmp_path / ".codex")


def test_the_home_is_taken_from_the_variable_then_the_users_home(tmp_path: Path) -> None:
    environ = {"CODEX_HOME": str(tmp_path / "named"), "HOME": str(tmp_path)}
    assert load_settings(environ).codex_home == tmp_path / "named"
    assert load_settings({"CODEX_HOME": "", "HOME": str(tmp_path)}).codex_home == tmp_path / ".codex"


def test_a_home_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="not a directory") as caught:
        load_settings({"CODEX_HOME": str(tmp_path / "file")})
    assert (caught.value.path, caught.value.key) == ("environment", "CODEX_HOME")


EVERYTHING = """
model = "gpt-6.1-sol"
model_reasoning_effort = "high"
model_reasoning_summary = "detailed"
model_verbosity = "low"
service_tier = "fast"
chatgpt_base_url = "https://chat.example.test/backend-api/"
openai_base_url = "https://chat.example.test/backend-api/codex/"
cli_auth_credentials_store = "keyring"
forced_login_method = "chatgpt"
forced_chatgpt_workspace_id = ["ws-1", "ws-2"]
project_doc_max_bytes = 1000
"""


def test_every_key_of_the_file_has_its_setting(tmp_path: Path) -> None:
    assert loaded(tmp_path, EVERYTHING) == Settings(
        codex_home=tmp_path,
        model="gpt-6.1-sol",
        effort="high",
        summary="detailed",
        verbosity="low",
        service_tier="fast",
        chatgpt_base_url="https://chat.example.test/backend-api",
        provider=Provider(base_url="https://chat.example.test/backend-api/codex"),
        credentials_store=CredentialsStore.KEYRING,
        forced_login_method="chatgpt",
        forced_workspaces=("ws-1", "ws-2"),
        restricts_every_login=True,
        project_doc_max_bytes=1000,
    )


def test_a_byte_order_mark_before_the_first_key_is_no_part_of_the_file(tmp_path: Path) -> None:
    assert loaded(tmp_path, '\ufeffmodel = "gpt-5.5"\n') == Settings(codex_home=tmp_path, model="gpt-5.5")


def test_keys_that_are_the_clis_business_are_left_alone(tmp_path: Path) -> None:
    text = 'approval_policy = "on-request"\n[tui]\ntheme = 1\n[hooks.x]\ncommand = "x"\n'
    assert loaded(tmp_path, text) == Settings(codex_home=tmp_path)


@pytest.mark.parametrize(
    ("host", "whole"),
    [
        ("https://chatgpt.com", "https://chatgpt.com/backend-api"),
        ("https://chat.openai.com/", "https://chat.openai.com/backend-api"),
        ("https://proxy.example.test", "https://proxy.example.test"),
    ],
)
def test_a_bare_chatgpt_host_is_completed(tmp_path: Path, host: str, whole: str) -> None:
    assert loaded(tmp_path, f'chatgpt_base_url = "{host}"').chatgpt_base_url == whole


def test_one_workspace_may_be_written_alone(tmp_path: Path) -> None:
    assert loaded(tmp_path, 'forced_chatgpt_workspace_id = "ws-1"').forced_workspaces == ("ws-1",)


def test_no_summary_is_asked_for_when_the_file_says_none(tmp_path: Path) -> None:
    assert loaded(tmp_path, 'model_reasoning_summary = "none"').summary == "none"
    assert loaded(tmp_path).summary is None


PROVIDER = """
model_provider = "corp"
[model_providers.corp]
name = "The company's own"
base_url = "https://llm.corp.test/v1/"
env_key = "CORP_KEY"
env_key_instructions = "Ask the help desk for CORP_KEY."
http_headers = { "X-Team" = "ada" }
env_http_headers = { "X-Org" = "CORP_ORG", "X-None" = "CORP_NONE" }
query_params = { "api-version" = "2026-10-01" }
request_max_retries = 2
stream_max_retries = 3
stream_idle_timeout_ms = 1500
"""
COMMAND = """
model_provider = "corp"
[model_providers.corp]
base_url = "https://llm.corp.test/v1/"
[model_providers.corp.auth]
command = "corp-token"
args = ["--plain"]
timeout_ms = 2000
refresh_interval_ms = 60000
cwd = "bin"
"""


def test_a_provider_of_ones_own_is_read_whole(tmp_path: Path) -> None:
    assert loaded(tmp_path, PROVIDER, {"CORP_ORG": "research"}).provider == Provider(
        id="corp",
        name="The company's own",
        base_url="https://llm.corp.test/v1",
        env_key="CORP_KEY",
        env_key_instructions="Ask the help desk for CORP_KEY.",
        http_headers={"X-Team": "ada", "X-Org": "research"},
        query_params={"api-version": "2026-10-01"},
        requires_openai_auth=False,
        request_max_retries=2,
        stream_max_retries=3,
        stream_idle_timeout_s=1.5,
    )


def test_a_command_that_prints_the_bearer_is_read_whole(tmp_path: Path) -> None:
    provider = loaded(tmp_path, COMMAND).provider
    assert provider.bearer_command == BearerCommand("corp-token", ("--plain",), 2.0, 60.0, tmp_path / "bin")


def test_a_bearer_in_the_file_is_a_secret(tmp_path: Path) -> None:
    text = 'model_provider = "x"\n[model_providers.x]\nbase_url = "http://x.test"\n'
    settings = loaded(tmp_path, text + 'experimental_bearer_token = "fabricated-token"\n')
    assert settings.provider.bearer == SecretStr("fabricated-token")
    assert "fabricated" not in repr(settings)


def test_headers_and_query_stay_out_of_the_repr(tmp_path: Path) -> None:
    text = 'model_provider = "x"\n[model_providers.x]\nbase_url = "http://x.test"\n'
    text += 'http_headers = { "x-key" = "fabricated-key" }\nquery_params = { "code" = "fabricated-code" }\n'
    assert "fabricated" not in repr(loaded(tmp_path, text))


@pytest.mark.parametrize(("name", "port"), [("ollama", 11434), ("lmstudio", 1234)])
def test_local_servers_need_no_table(tmp_path: Path, name: str, port: int) -> None:
    provider = loaded(tmp_path, f'model_provider = "{name}"').provider
    assert (provider.base_url, provider.requires_openai_auth) == (f"http://localhost:{port}/v1", False)


def test_an_organization_and_a_project_of_the_environment_pay(tmp_path: Path) -> None:
    environ = {"OPENAI_ORGANIZATION": "org", "OPENAI_PROJECT": "proj"}
    headers = {"OpenAI-Organization": "org", "OpenAI-Project": "proj"}
    assert dict(loaded(tmp_path, "", environ).provider.http_headers) == headers
    assert dict(loaded(tmp_path, 'model_provider = "ollama"', environ).provider.http_headers) == {}
    assert loaded(tmp_path, "", {"OPENAI_PROJECT": "é"}).warnings != ()


def test_a_local_server_may_be_at_another_port(tmp_path: Path) -> None:
    provider = loaded(tmp_path, 'model_provider = "ollama"', {"CODEX_OSS_PORT": "8080"}).provider
    assert provider.base_url == "http://localhost:8080/v1"
    with pytest.raises(ConfigError, match="CODEX_OSS_BASE_URL"):
        loaded(tmp_path, 'model_provider = "ollama"', {"CODEX_OSS_PORT": "port"})


def test_a_local_server_may_be_elsewhere(tmp_path: Path) -> None:
    environ = {"CODEX_OSS_BASE_URL": "http://gpu.test:8080/v1/"}
    assert (
        loaded(tmp_path, 'model_provider = "ollama"', environ).provider.base_url == "http://gpu.test:8080/v1"
    )


def test_a_profile_is_a_file_over_the_users(tmp_path: Path) -> None:
    text = 'model = "of the file"\nmodel_reasoning_effort = "low"\n[model_providers.lab]\n'
    text += 'base_url = "http://x.test"\nhttp_headers = { a = "1", b = "1" }\n'
    (tmp_path / "special.config.toml").write_text(
        'model = "of the profile"\nmodel_verbosity = "high"\nmodel_provider = "lab"\n'
        '[model_providers.lab]\nhttp_headers = { b = "2" }\n'
    )
    settings = loaded(tmp_path, text, profile="special")
    assert (settings.model, settings.effort, settings.verbosity) == ("of the profile", "low", "high")
    assert (settings.profile, settings.codex_home) == ("special", tmp_path)
    assert settings.provider == Provider(
        "lab",
        "lab",
        "http://x.test",
        http_headers={"a": "1", "b": "2"},
        requires_openai_auth=False,
    )
    assert settings.origins == {
        "codex_home": "variable CODEX_HOME",
        "model": str(tmp_path / "special.config.toml"),
        "effort": str(tmp_path / "config.toml"),
        "verbosity": str(tmp_path / "special.config.toml"),
        "provider": str(tmp_path / "special.config.toml"),
        "base_url": str(tmp_path / "config.toml"),
    }


def test_the_origin_of_an_address_is_that_of_the_provider_in_use(tmp_path: Path) -> None:
    text = '[model_providers.x]\nbase_url = "http://x.test"\n'
    assert loaded(tmp_path, text, overrides={"provider": "x"}).origins["base_url"] == str(
        tmp_path / "config.toml"
    )
    assert "base_url" not in loaded(tmp_path, f'model_provider = "ollama"\n{text}').origins


@pytest.mark.parametrize("place", ["the file", "the profile"])
def test_a_profile_in_the_old_form_is_refused_with_the_way_to_the_new_one(tmp_path: Path, place: str) -> None:
    (tmp_path / "usual.config.toml").write_text('profile = "x"' if place == "the profile" else "")
    text = "" if place == "the profile" else 'profile = "x"\n[profiles.x]\nmodel = "m"\n'
    error = refused(tmp_path, text, profile="usual")
    assert error.key == "profile"
    assert "x.config.toml" in error.line


def test_an_old_table_beside_the_file_of_the_same_profile_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.config.toml").write_text("")
    (tmp_path / "y.config.toml").write_text('model = "m"')
    text = "[profiles.x]\nmodel = true\n"
    assert (refused(tmp_path, text, profile="x").key, loaded(tmp_path, text, profile="y").model) == (
        "profiles.x",
        "m",
    )
    assert loaded(tmp_path, text).model is None


def test_a_profile_may_be_a_home_of_its_own(tmp_path: Path) -> None:
    write(tmp_path / "profiles" / "work", 'model = "of the home"')
    settings = loaded(tmp_path, 'model = "of the file"', profile="work")
    assert (settings.codex_home, settings.model) == (tmp_path / "profiles" / "work", "of the home")


@pytest.mark.parametrize("name", ["nobody", "../..", "work/..", "a b", "a.b"])
def test_a_profile_that_is_not_there_names_those_that_are(tmp_path: Path, name: str) -> None:
    write(tmp_path / "profiles" / "work", "")
    (tmp_path / "special.config.toml").touch()
    (tmp_path / "a.b.config.toml").touch()
    error = refused(tmp_path, "", profile=name)
    assert error.key == name
    assert error.hint == "Choose one of: special, work."


def test_the_environment_says_where_the_services_are(tmp_path: Path) -> None:
    environ = {
        "CODEX_INTERNAL_ORIGINATOR_OVERRIDE": "codex_exec",
        "CODEX_REFRESH_TOKEN_URL_OVERRIDE": "https://a.test/token",
        "CODEX_REVOKE_TOKEN_URL_OVERRIDE": "https://a.test/revoke",
        "CODEX_APP_SERVER_LOGIN_ISSUER": "https://a.test/",
        "CODEX_APP_SERVER_LOGIN_CLIENT_ID": "app_test",
        "CODEX_AUTHAPI_BASE_URL": "https://a.test/api/",
        "CODEX_AGENT_IDENTITY_AUTHAPI_BASE_URL": "https://b.test",
        "CODEX_AGENT_IDENTITY_JWKS_BASE_URL": "https://c.test",
        "SSL_CERT_FILE": "/certs/usual.pem",
    }
    assert loaded(tmp_path, "", environ) == Settings(
        codex_home=tmp_path,
        originator="codex_exec",
        refresh_url_override="https://a.test/token",
        revoke_url_override="https://a.test/revoke",
        issuer="https://a.test",
        client_id="app_test",
        authapi_base_url="https://a.test/api",
        agent_authapi_base_url="https://b.test",
        agent_jwks_base_url="https://c.test",
        ca_certificate=Path("/certs/usual.pem"),
    )


def test_the_policy_of_a_run_without_a_person_comes_from_the_environment(tmp_path: Path) -> None:
    environ = {"CODEX_HOME": str(tmp_path), "CODEX_NB_APPROVAL": "all"}
    assert load_settings(environ).approval is ApprovalPolicy.ALL
    with pytest.raises(ConfigError, match="CODEX_NB_APPROVAL 'yes'") as caught:
        load_settings(environ | {"CODEX_NB_APPROVAL": "yes"})
    assert "ask, auto, all, read-only" in caught.value.hint


def test_codexs_own_certificate_variable_comes_first(tmp_path: Path) -> None:
    environ = {"CODEX_CA_CERTIFICATE": "/certs/codex.pem", "SSL_CERT_FILE": "/certs/usual.pem"}
    assert loaded(tmp_path, "", environ).ca_certificate == Path("/certs/codex.pem")


def test_options_are_nearest_and_none_of_them_counts_as_unsaid(tmp_path: Path) -> None:
    overrides = {
        "model": "of the option",
        "effort": None,
        "approval": "all",
        "summary": "none",
        "provider": "lmstudio",
    }
    settings = loaded(tmp_path, 'model = "of the file"\nmodel_reasoning_effort = "low"', overrides=overrides)
    assert (settings.model, settings.effort, settings.summary) == ("of the option", "low", "none")
    assert (settings.approval, settings.provider.id) == (ApprovalPolicy.ALL, "lmstudio")


@pytest.mark.parametrize(
    ("overrides", "key", "names"),
    [
        ({"approval": "never"}, "approval", "read-only"),
        ({"approval": "sometimes"}, "approval", "ask, auto, all, read-only"),
        ({"verbosity": "loud"}, "verbosity", "low, medium, high"),
        ({"modle": "x"}, "modle", "model"),
    ],
)
def test_a_wrong_option_is_named(tmp_path: Path, overrides: dict[str, str], key: str, names: str) -> None:
    error = refused(tmp_path, "", overrides=overrides)
    assert (error.path, error.key) == ("options", key)
    assert names in error.line


WRONG = [
    ("model = 5", "model", "a string"),
    ('model = ""', "model", "a non-empty string"),
    ('model_verbosity = "loud"', "model_verbosity", "'low', 'medium' or 'high'"),
    ('model_reasoning_effort = ""', "model_reasoning_effort", "a non-empty string"),
    ("project_doc_max_bytes = -1", "project_doc_max_bytes", "at least 0"),
    ("forced_chatgpt_workspace_id = 5", "forced_chatgpt_workspace_id", "a string"),
    ('chatgpt_base_url = "chatgpt.com"', "chatgpt_base_url", "http:// or https://"),
    ('openai_base_url = "ftp://x"', "openai_base_url", "http:// or https://"),
    ('openai_base_url = "http://a b"', "openai_base_url", "http:// or https://"),
    ('openai_base_url = "http://x:port"', "openai_base_url", "http:// or https://"),
    ('model_providers = "x"', "model_providers", "a table"),
    (
        "[model_providers.x]\nrequest_max_retries = -1",
        "model_providers.x.request_max_retries",
        "at least 0",
    ),
    (
        "[model_providers.x]\nstream_idle_timeout_ms = -1",
        "model_providers.x.stream_idle_timeout_ms",
        "at least 0",
    ),
    (
        '[model_providers.x]\nrequires_openai_auth = "yes"',
        "model_providers.x.requires_openai_auth",
        "true or false",
    ),
    ("[model_providers.x.auth]\nargs = []", "model_providers.x.auth.command", "is missing"),
    ("[model_providers.x]\nhttp_headers = { a = 1 }", "model_providers.x.http_headers.a", "a string"),
    ('[model_providers.x]\nwire_api = "chat"', "model_providers.x.wire_api", '"responses"'),
    ('model_provider = "x"\n[model_providers.x]', "model_providers.x.base_url", "base URL"),
    ('model_provider = "olama"', "model_provider", "ollama"),
    ('model_provider = "amazon-bedrock"', "model_provider", "does not support"),
    *(
        (
            f'[model_providers.{name}]\nbase_url = "http://x"',
            f"model_providers.{name}",
            "cannot be overridden",
        )
        for name in ("openai", "ollama", "lmstudio")
    ),
    *(
        (
            f'[model_providers.x]\n{other}\n[model_providers.x.auth]\ncommand = "c"',
            "model_providers.x.auth",
            named,
        )
        for other, named in (
            ('env_key = "K"', "env_key"),
            ('experimental_bearer_token = "t"', "experimental_bearer_token"),
            ("requires_openai_auth = true", "requires_openai_auth"),
        )
    ),
]


@pytest.mark.parametrize(("text", "key", "expected"), WRONG, ids=[row[1] for row in WRONG])
def test_a_wrong_key_names_the_file_the_key_and_what_was_expected(
    tmp_path: Path, text: str, key: str, expected: str
) -> None:
    error = refused(tmp_path, text)
    assert (error.path, error.key) == (str(tmp_path / "config.toml"), key)
    assert str(tmp_path / "config.toml") in str(error)
    assert key in str(error)
    assert expected in error.line
    assert error.__cause__ is None


def test_a_wrong_value_that_may_be_a_secret_is_not_repeated(tmp_path: Path) -> None:
    error = refused(tmp_path, '[model_providers.x]\nexperimental_bearer_token = ["fabricated-token"]')
    assert "fabricated" not in error.line


def test_an_originator_that_no_header_can_hold_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="printable ASCII") as caught:
        loaded(tmp_path, "", {"CODEX_INTERNAL_ORIGINATOR_OVERRIDE": "codex\r\nx-evil: 1"})
    assert caught.value.key == "CODEX_INTERNAL_ORIGINATOR_OVERRIDE"


LOADED = [
    ('modelProvider = "x"', "modelProvider", "model_provider"),
    (
        '[model_providers.x]\nbase-url = "http://x"',
        "model_providers.x.base-url",
        "model_providers.x.base_url",
    ),
    ('[model_providers.x]\nbaseURL = "http://x"', "model_providers.x.baseURL", "model_providers.x.base_url"),
    (
        'model_provider = "x"\n[model_providers.x]\nbase_url = "http://x"\nhttp_headers = { k = "ü", l = "1" }',
        "model_providers.x.http_headers.k",
        "printable ASCII",
    ),
    (
        'model_provider = "x"\n[model_providers.x]\nbase_url = "http://x"\nhttp_headers = { "a b" = "1", l = "1" }',
        "model_providers.x.http_headers.a b",
        "printable ASCII",
    ),
]


@pytest.mark.parametrize(("text", "key", "reason"), LOADED, ids=[row[1] for row in LOADED])
def test_what_the_cli_passes_over_is_passed_over_and_said(
    tmp_path: Path, text: str, key: str, reason: str
) -> None:
    (warning,) = loaded(tmp_path, text).warnings
    assert warning.startswith(f"{tmp_path / 'config.toml'}: {key} ")
    assert reason in warning


@pytest.mark.parametrize(
    ("line", "setting", "value"),
    [
        ("request_max_retries = 200", "request_max_retries", 100),
        ("stream_max_retries = 1000000", "stream_max_retries", 100),
        ("stream_idle_timeout_ms = 0", "stream_idle_timeout_s", 86_400),
        ("stream_idle_timeout_ms = 99999999999999999", "stream_idle_timeout_s", 86_400),
    ],
)
def test_a_number_out_of_range_is_the_nearest_that_is_used(
    tmp_path: Path, line: str, setting: str, value: object
) -> None:
    text = f'model_provider = "x"\n[model_providers.x]\nbase_url = "http://x"\n{line}\n'
    assert getattr(loaded(tmp_path, text).provider, setting) == value


@pytest.mark.parametrize("token", ["", " "])
def test_an_empty_key_is_told_and_no_other_takes_its_place(tmp_path: Path, token: str) -> None:
    text = (
        'model_provider = "x"\n[model_providers.x]\nbase_url = "http://x"\nrequires_openai_auth = true\n'
        f'experimental_bearer_token = "{token}"\n'
    )
    settings = loaded(tmp_path, text)
    (warning,) = settings.warnings
    assert "experimental_bearer_token is empty" in warning
    assert not settings.provider.uses_login


@pytest.mark.parametrize("size", [0, -5])
def test_a_context_window_that_is_none_is_not_used_and_told(tmp_path: Path, size: int) -> None:
    settings = loaded(tmp_path, f"model_context_window = {size}")
    assert settings.model_context_window is None
    assert [warning for warning in settings.warnings if "model_context_window" in warning] != []


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("1979-05-27", "1979-05-27"),
        ("07:32", "07:32:00"),
        ("07:32:00.500", "07:32:00.5"),
        ("1979-05-27 07:32:00Z", "1979-05-27T07:32:00Z"),
        ("1979-05-27T07:32:00-05:00", "1979-05-27T07:32:00-05:00"),
    ],
)
def test_a_date_is_taken_where_a_string_is_wanted(tmp_path: Path, written: str, text: str) -> None:
    assert loaded(tmp_path, f"model = {written}").model == text


@pytest.mark.parametrize("written", ["[]", "[[]]"])
def test_an_empty_list_of_skills_is_an_empty_table_as_for_the_cli(tmp_path: Path, written: str) -> None:
    assert loaded(tmp_path, f"skills = {written}") == Settings(codex_home=tmp_path)
    assert refused(tmp_path, "skills = [1]").key == "skills"


@pytest.mark.parametrize("tier", ["", "default"])
def test_the_usual_service_tier_is_none(tmp_path: Path, tier: str) -> None:
    assert loaded(tmp_path, f'service_tier = "{tier}"').service_tier is None


def test_a_wrong_address_that_is_not_used_stops_nothing(tmp_path: Path) -> None:
    text = 'openai_base_url = "ftp://x"\nchatgpt_base_url = "chatgpt.com"\nmodel_provider = "ollama"'
    assert loaded(tmp_path, text).provider.id == "ollama"


NAMES = sorted({*ConfigToml.model_fields, *ProviderTable.model_fields, "x", "base-url"})
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["openai", "x", "http://x"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


def problem_with(tables: dict[str, Any]) -> ConfigError | None:
    merged = MergedConfig()
    merged.add(Layer("config.toml", tables))
    try:
        parse_config(merged)
    except ConfigError as error:
        return error
    return None


@given(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6))
def test_whatever_the_tables_hold_only_a_named_error_comes_of_it(tables: dict[str, Any]) -> None:
    error = problem_with(tables)
    assert error is None or (error.key and str(error).startswith("config.toml: "))


def inline(value: Any) -> str:
    """Write a value as TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {inline(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(inline, value))}]"
    return "0.5" if value is None else json.dumps(value)


ODD = st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), max_size=4)
VALID = {
    "model_providers": st.dictionaries(
        st.sampled_from(["a", "b.c", "openai", "é"]),
        st.fixed_dictionaries(
            {"base_url": ODD | st.just("http://x.test")},
            optional={
                "env_key": ODD,
                "http_headers": st.dictionaries(ODD, ODD, max_size=2),
                "auth": st.fixed_dictionaries({"command": ODD}, optional={"cwd": ODD}),
            },
        ),
        max_size=2,
    ),
    "model_provider": st.sampled_from(["a", "b.c", "é", "ollama", "none"]),
    "projects": VALUES,
    "project_root_markers": VALUES,
    "profiles": VALUES,
    "chatgpt_base_url": ODD,
}


@given(
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3),
    st.fixed_dictionaries({}, optional=VALID),
    st.sampled_from(["config.toml", "p.config.toml"]),
)
@settings(max_examples=60, deadline=None)
def test_whatever_a_file_holds_it_is_loaded_or_refused_and_the_doctor_tells(
    tmp_path_factory: pytest.TempPathFactory, some: dict[str, Any], more: dict[str, Any], name: str
) -> None:
    home = tmp_path_factory.mktemp("home")
    lines = (f"{json.dumps(key)} = {inline(value)}\n" for key, value in {**some, **more}.items())
    (home / name).write_text("".join(lines), encoding="utf-8")
    environ = {"CODEX_HOME": str(home), "PATH": ""}
    profile = "p" if name.startswith("p.") else None
    try:
        is_loaded = bool(settings_table(load_settings(environ, profile=profile, folder=home)))
    except ConfigError as error:
        is_loaded, refusal = False, str(error)
    found = diagnose(environ, profile=profile, folder=home)
    assert is_loaded or refusal in [each.found for each in found]


def test_a_broken_file_says_where_it_breaks(tmp_path: Path) -> None:
    error = refused(tmp_path, "model = \n")
    assert "line 1" in str(error)
    assert error.path == str(tmp_path / "config.toml")


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"model = '\xff'")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_settings({"CODEX_HOME": str(tmp_path)})


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings({"CODEX_HOME": str(tmp_path)})


def test_a_pipe_and_a_device_end_as_files_do(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.toml")
    assert load_settings({"CODEX_HOME": str(tmp_path)}) == Settings(codex_home=tmp_path)
    (tmp_path / "config.toml").unlink()
    (tmp_path / "config.toml").symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match="larger than"):
        load_settings({"CODEX_HOME": str(tmp_path)})


def test_tables_that_are_nested_too_deeply_are_named(tmp_path: Path) -> None:
    assert "nested too deeply" in str(refused(tmp_path, f"x = {'[' * 100_000}"))
