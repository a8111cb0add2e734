"""Replies of any shape to the small questions: what comes of them is a value or an error of ours."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from codex_nb.auth.credentials import AuthMode, credentials_from_document, parse_auth_json
from codex_nb.auth.manager import BearerAuth
from codex_nb.config.settings import Settings
from codex_nb.errors import CodexError
from codex_nb.http import httpx, open_http
from codex_nb.responses.client import fetch_usage
from codex_nb.responses.events import RateLimits
from codex_nb.responses.models import CLI_FILE, OWN_FILE, ModelCatalog
from codex_nb.responses.request import choose_backend
from codex_nb.ui.account import AccountStatus
from tests.auth.fakes import login
from tests.auth.test_addresses import SIGN_IN, SIGNED, Signer, settings_for
from tests.responses.test_odd_events import ODD, WINDOW, places, text_with

pytestmark = pytest.mark.anyio

MODEL = {
    "slug": "gpt-5.5",
    "display_name": "GPT-5.5",
    "description": "A model.",
    "supported_reasoning_levels": [
        {"effort": "low", "description": ""},
        {"effort": "high", "description": ""},
    ],
    "default_reasoning_level": "low",
    "default_reasoning_summary": "auto",
    "multi_agent_reasoning_effort": "high",
    "visibility": "list",
    "priority": 1,
    "use_responses_lite": False,
    "context_window": 272000,
    "input_modalities": ["text", "image"],
    "supports_reasoning_summaries": True,
    "support_verbosity": True,
    "default_verbosity": "low",
    "supports_parallel_tool_calls": True,
}
WINDOWS = {"primary_window": WINDOW, "secondary_window": WINDOW, "allowed": True, "limit_reached": False}
USAGE = {
    "plan_type": "plus",
    "rate_limit": WINDOWS,
    "additional_rate_limits": [{"limit_name": "images", "metered_feature": "images", "rate_limit": WINDOWS}],
    "credits": {"has_credits": True, "unlimited": False, "balance": "3"},
}
TOKENS = {"id_token": "a.b.c", "access_token": "a.b.c", "refresh_token": "rt"}
ACCOUNTS = {
    "accounts": [
        {
            "id": "acct-1",
            "workspace_backend_origin": "NO_CONSTRAINT",
            "account_routing_override": "NO_CONSTRAINT",
        }
    ],
    "default_account_id": "acct-1",
}
WHOAMI = {
    "chatgpt_account_id": "acct-1",
    "chatgpt_user_id": "user-1",
    "email": "ada@fab.example",
    "chatgpt_plan_type": "plus",
    "chatgpt_account_is_fedramp": False,
}
SOUND: dict[str, dict[str, Any]] = {
    "models": {"models": [MODEL]},
    "accounts/check": ACCOUNTS,
    "refresh": TOKENS,
    "token exchange": TOKENS,
    "device code": {"device_auth_id": "d", "user_code": "ABCD-1234", "interval": "5"},
    "device poll": {"authorization_code": "c", "code_verifier": "v"},
    "whoami": WHOAMI,
    "agent": {"keys": [{"kid": "key-1", "e": "AQAB", "n": "AQAB"}], "task_id": "t", "encrypted_task_id": "x"},
}


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("place", SOUND)
async def test_any_value_in_a_reply_is_a_value_or_an_error_of_ours(place: str, status: int) -> None:
    bodies = [text_with(SOUND[place], path, odd) for path in places(SOUND[place]) for odd in ODD]
    settings = settings_for("https://codex.test")
    for body in [*bodies, *ODD]:
        transport = httpx.MockTransport(lambda _, body=body: httpx.Response(status, text=body))
        async with open_http(settings, {}, transport=transport) as http:
            auth = BearerAuth(Signer(AuthMode.CHATGPT), settings)
            try:
                line = str(await {**SIGNED, **SIGN_IN}[place](http, settings, auth))
            except CodexError as error:
                line = error.line
        assert len(line.encode()) < 20_000


async def test_any_value_in_the_usage_can_be_shown() -> None:
    settings = settings_for("https://codex.test")
    for body in [*(text_with(USAGE, path, odd) for path in places(USAGE) for odd in ODD), *ODD]:
        transport = httpx.MockTransport(lambda _, body=body: httpx.Response(200, text=body))
        async with open_http(settings, {}, transport=transport) as http:
            try:
                limits = await fetch_usage(http, choose_backend(settings, is_chatgpt_auth=True), None)
            except CodexError:
                continue
        assert isinstance(limits, RateLimits)
        status = AccountStatus(signed_in=True, limits=limits)
        status.text().encode()
        json.dumps(status.as_dict())


@pytest.mark.parametrize("file", [CLI_FILE, OWN_FILE])
async def test_any_value_in_a_list_of_models_on_disk_counts_as_absent_or_can_be_used(
    file: str, tmp_path: Path
) -> None:
    fetched_at = 1e9
    backend = choose_backend(Settings(codex_home=tmp_path), is_chatgpt_auth=True)

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"models": [MODEL]})

    def catalog(http: httpx.AsyncClient) -> ModelCatalog:
        return ModelCatalog(
            http, backend, None, codex_home=tmp_path, identity=lambda: "ada", clock=lambda: fetched_at + 1
        )

    async with open_http(Settings(codex_home=tmp_path), {}, transport=httpx.MockTransport(answer)) as http:
        await catalog(http).models()  # writes a file of our own
        own = json.loads((tmp_path / OWN_FILE).read_text())
        (tmp_path / OWN_FILE).unlink()
        theirs = {"fetched_at": "2001-09-09T01:46:40Z", "models": [MODEL]}
        sound = own if file == OWN_FILE else theirs
        for text in [*(text_with(sound, path, odd) for path in places(sound) for odd in ODD), *ODD]:
            (tmp_path / file).write_text(text)
            models = await catalog(http).models()
            for model in models:
                assert isinstance(model.slug, str)
                json.dumps(asdict(model)).encode()
                model.reasoning(summary="auto", verbosity="low")
            assert models
            (tmp_path / file).unlink()
            (tmp_path / OWN_FILE).unlink(missing_ok=True)


def test_any_value_in_auth_json_is_a_login_or_a_reason() -> None:
    sound = login(agent_identity={"agent_runtime_id": "a"}, personal_access_token="at-1")
    for text in [*(text_with(sound, path, odd) for path in places(sound) for odd in ODD), *ODD]:
        found = parse_auth_json(SecretStr(text))
        if isinstance(found, str):
            continue
        try:
            credentials = credentials_from_document(found, source="the file")
        except CodexError:
            continue
        f"{credentials.label} {credentials.identity_key} {credentials.expires_at}".encode()
        found.pretty().encode()
