"""The ChatGPT backend and the API around ``/responses``."""

from __future__ import annotations

import gzip
import json

import httpx
import pytest

from codex_nb.simulator import ADA, CLASSIC, LITE, Account, Limits, LimitWindow, Simulator
from tests.simulator.asking import Asker, user


def get(asker: Asker, path: str) -> httpx.Response:
    return asker.client.get(f"{asker.sim.chatgpt_base_url}{path}", headers=asker.headers)


def test_accounts_check_names_the_workspace_and_its_routing(sim: Simulator, client: httpx.Client) -> None:
    account = Account(backend_origin="https://eu.example.com", routing_override="us", account_id="acc-1")
    headers = {"authorization": f"Bearer {sim.sign_in(account).access_token}"}
    answer = client.get(f"{sim.chatgpt_base_url}/wham/accounts/check", headers=headers)
    workspace = {
        "id": "acc-1",
        "workspace_backend_origin": "https://eu.example.com",
        "account_routing_override": "us",
    }
    assert answer.json() == {
        "accounts": [workspace],
        "account_ordering": ["acc-1"],
        "default_account_id": "acc-1",
    }


def test_the_model_list_has_a_classic_and_a_lite_model(asker: Asker) -> None:
    answer = get(asker, "/codex/models?client_version=0.169.0")
    models = {model["slug"]: model["use_responses_lite"] for model in answer.json()["models"]}
    assert models == {CLASSIC: False, LITE: True}
    assert answer.headers["etag"] == asker.post(user("hi")).headers["x-models-etag"]


def test_usage_and_response_headers_report_the_same_limits(asker: Asker) -> None:
    asker.sim.change(limits=Limits(LimitWindow(100.0, 300, 60), None, has_credits=True, balance="3"))
    usage = get(asker, "/wham/usage").json()
    headers = asker.post(user("hi")).headers
    window = usage["rate_limit"]["primary_window"]
    assert (window["used_percent"], window["limit_window_seconds"]) == (100, 18_000)
    assert (usage["rate_limit"]["limit_reached"], usage["rate_limit"]["secondary_window"]) == (True, None)
    assert (usage["plan_type"], usage["credits"]["balance"]) == (ADA.plan, "3")
    assert (headers["x-codex-primary-used-percent"], headers["x-codex-primary-window-minutes"]) == (
        "100.0",
        "300",
    )
    assert "x-codex-secondary-used-percent" not in headers


@pytest.mark.parametrize(
    ("authorization", "body"),
    [
        (None, {"detail": "Unauthorized"}),
        ("Bearer not-a-token", "token_invalid"),
        ("Bearer at-not-a-token", "token_invalid"),
    ],
)
def test_requests_without_valid_credentials_get_a_401(
    sim: Simulator, client: httpx.Client, authorization: str | None, body: object
) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    answer = client.get(f"{sim.chatgpt_base_url}/wham/accounts/check", headers=headers)
    found = answer.json()
    assert answer.status_code == 401
    assert body in (found, found.get("error", {}).get("code"))


def test_an_expired_and_a_revoked_token_have_their_own_error_codes(asker: Asker) -> None:
    asker.sim.expire_access_tokens()
    assert get(asker, "/wham/usage").json()["error"]["code"] == "token_expired"
    tokens = asker.sim.sign_in(lifetime_s=-1)
    asker.headers["authorization"] = f"Bearer {tokens.access_token}"
    assert get(asker, "/wham/usage").json()["error"]["code"] == "token_expired"
    asker.sim.revoke(tokens.access_token)
    assert get(asker, "/wham/usage").json()["error"]["code"] == "token_invalidated"


def test_an_api_key_is_valid_for_the_api_only(sim: Simulator, client: httpx.Client) -> None:
    headers = {"authorization": f"Bearer {sim.new_api_key()}"}
    assert client.get(f"{sim.api_base_url}/models", headers=headers).json()["data"][0]["id"] == CLASSIC
    assert client.get(f"{sim.chatgpt_base_url}/codex/models", headers=headers).status_code == 401


def test_a_wrong_api_key_is_not_repeated_in_the_error(sim: Simulator, client: httpx.Client) -> None:
    key = "sk-wrong-0123456789abcdef"
    answer = client.get(f"{sim.api_base_url}/models", headers={"authorization": f"Bearer {key}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert key not in answer.text


def test_the_api_requires_a_key(sim: Simulator, client: httpx.Client) -> None:
    answer = client.get(f"{sim.api_base_url}/models")
    assert (answer.status_code, answer.json()["error"]["message"]) == (401, "You didn't provide an API key.")


def test_its_mcp_server_has_no_tools(asker: Asker) -> None:
    def call(**message: object) -> httpx.Response:
        return asker.client.post(f"{asker.sim.chatgpt_base_url}/ps/mcp", json={"jsonrpc": "2.0", **message})

    assert call(id=1, method="tools/list").json()["result"] == {"tools": []}
    assert call(id=2, method="resources/list").json()["error"]["code"] == -32601
    assert call(method="notifications/initialized").status_code == 202


def test_a_personal_access_token_is_valid_for_the_backend(asker: Asker) -> None:
    asker.headers["authorization"] = f"Bearer {asker.sim.new_personal_token()}"
    assert asker.post(user("hi")).status_code == 200


def test_addresses_that_do_not_exist_are_not_found(asker: Asker) -> None:
    assert (get(asker, "/nowhere").status_code, get(asker, "/nowhere").json()) == (
        404,
        {"detail": "Not Found"},
    )


@pytest.mark.parametrize("packed", ["zstd", "gzip"])
def test_compressed_bodies_are_read(asker: Asker, packed: str) -> None:
    import zstandard

    plain = json.dumps(asker.body(user("hi"))).encode()
    data = zstandard.compress(plain) if packed == "zstd" else gzip.compress(plain)
    headers = {**asker.headers, "content-type": "application/json", "content-encoding": packed}
    url = f"{asker.sim.openai_base_url}/responses"
    assert asker.client.post(url, headers=headers, content=data).status_code == 200
    assert asker.sim.requests[-1].body == json.loads(plain)
    assert asker.client.post(url, headers=headers, content=b"nonsense").status_code == 400


def test_an_unknown_encoding_and_bad_json_are_refused(asker: Asker) -> None:
    url = f"{asker.sim.openai_base_url}/responses"
    odd = {**asker.headers, "content-type": "application/json", "content-encoding": "br"}
    assert asker.client.post(url, headers=odd, content=b"{}").status_code == 415
    bad = {**asker.headers, "content-type": "application/json"}
    assert asker.client.post(url, headers=bad, content=b"{").status_code == 400


def test_a_websocket_is_refused_at_once_where_there_is_none(asker: Asker) -> None:
    asker.sim.change(websockets=False)
    headers = {**asker.headers, "connection": "Upgrade", "upgrade": "websocket"}
    answer = asker.client.get(f"{asker.sim.openai_base_url}/responses", headers=headers)
    assert answer.status_code == 426
