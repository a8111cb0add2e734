"""Signing in at the simulator, without any of the client's code."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from codex_nb.simulator import GRACE, Simulator
from codex_nb.simulator.credentials import pkce_challenge

CLIENT = "app_EMoamEEZ73f0CkXaXp7hrann"
REDIRECT = "http://127.0.0.1:1455/auth/callback"
VERIFIER = "a-verifier-of-the-tests-that-is-long-enough-for-the-rule"
DEVICE_AUTH = "/api/accounts/deviceauth"


def begin(sim: Simulator, client: httpx.Client) -> dict[str, Any]:
    answer: dict[str, Any] = client.post(
        f"{sim.issuer}{DEVICE_AUTH}/usercode", json={"client_id": CLIENT}
    ).json()
    return answer


def poll(sim: Simulator, client: httpx.Client, device: dict[str, Any]) -> httpx.Response:
    body = {name: device[name] for name in ("device_auth_id", "user_code")}
    return client.post(f"{sim.issuer}{DEVICE_AUTH}/token", json=body)


def redeem(sim: Simulator, client: httpx.Client, **changes: str) -> httpx.Response:
    form = {"grant_type": "authorization_code", "client_id": CLIENT, "redirect_uri": REDIRECT}
    return client.post(f"{sim.issuer}/oauth/token", data=form | changes)


def refresh(sim: Simulator, client: httpx.Client, token: str) -> httpx.Response:
    body = {"client_id": CLIENT, "grant_type": "refresh_token", "refresh_token": token}
    return client.post(f"{sim.issuer}/oauth/token", json=body)


def authorize_url(sim: Simulator, **changes: str) -> str:
    fields = {
        "response_type": "code",
        "client_id": CLIENT,
        "redirect_uri": REDIRECT,
        "code_challenge": pkce_challenge(VERIFIER),
        "code_challenge_method": "S256",
        "state": "the-state",
        "scope": "openid profile email offline_access",
    }
    return f"{sim.issuer}/oauth/authorize?{urlencode(fields | changes)}"


def email_of(sim: Simulator, client: httpx.Client, access_token: str) -> str:
    headers = {"authorization": f"Bearer {access_token}"}
    answer = client.get(f"{sim.chatgpt_base_url}/wham/usage", headers=headers)
    return str(answer.json().get("email", answer.status_code))


def test_a_device_code_is_pending_until_a_user_confirms_it(sim: Simulator, client: httpx.Client) -> None:
    device = begin(sim, client)
    assert device["interval"] == "1"
    assert poll(sim, client, device).status_code == 403
    assert sim.waiting_device_codes() == [device["user_code"]]
    sim.approve_device_code(device["user_code"], GRACE)
    answer = poll(sim, client, device).json()
    tokens = redeem(
        sim,
        client,
        code=answer["authorization_code"],
        code_verifier=answer["code_verifier"],
        redirect_uri=f"{sim.issuer}/deviceauth/callback",
    ).json()
    assert email_of(sim, client, tokens["access_token"]) == GRACE.email
    assert poll(sim, client, device).status_code == 404, "a login is collected once"


def test_a_user_confirms_a_device_code_on_the_page(sim: Simulator, client: httpx.Client) -> None:
    device = begin(sim, client)
    url = f"{sim.issuer}/codex/device"
    page = client.get(url, params={"user_code": device["user_code"]})
    assert device["user_code"] in page.text
    assert 'id="confirm"' in page.text
    typed = {"user_code": f" {device['user_code'].lower()} ", "email": GRACE.email, "decision": "confirm"}
    assert "Signed in" in client.post(url, data=typed).text
    assert poll(sim, client, device).status_code == 200


def test_a_mistyped_device_code_is_refused_on_the_page(sim: Simulator, client: httpx.Client) -> None:
    answer = client.post(f"{sim.issuer}/codex/device", data={"user_code": "<b>XXXX", "decision": "confirm"})
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert "<b>XXXX" not in answer.text


def test_a_denied_device_code_ends_the_polling(sim: Simulator, client: httpx.Client) -> None:
    device = begin(sim, client)
    sim.deny_device_code(device["user_code"])
    answer = poll(sim, client, device)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "access_denied")


def test_a_user_denies_a_device_code_on_the_page(sim: Simulator, client: httpx.Client) -> None:
    device = begin(sim, client)
    form = {"user_code": device["user_code"], "decision": "deny"}
    assert "Sign-in denied" in client.post(f"{sim.issuer}/codex/device", data=form).text
    assert poll(sim, client, device).status_code == 400


def test_an_unknown_grant_is_refused(sim: Simulator, client: httpx.Client) -> None:
    answer = client.post(f"{sim.issuer}/oauth/token", json={"grant_type": "password"})
    assert (answer.status_code, answer.json()) == (400, {"error": "unsupported_grant_type"})


def test_an_old_device_code_is_unknown(sim: Simulator, client: httpx.Client) -> None:
    device = begin(sim, client)
    sim.expire_device_codes()
    assert poll(sim, client, device).status_code == 404
    with pytest.raises(LookupError, match=device["user_code"]):
        sim.approve_device_code(device["user_code"])


def test_a_browser_is_sent_back_with_a_code_that_fits_the_verifier(
    sim: Simulator, client: httpx.Client
) -> None:
    url = authorize_url(sim)
    assert 'id="confirm"' in client.get(url).text
    form = dict(httpx.URL(url).params) | {"decision": "confirm", "email": GRACE.email}
    back = client.post(f"{sim.issuer}/oauth/authorize", data=form)
    assert back.status_code == 302
    answer = parse_qs(urlsplit(back.headers["location"]).query)
    assert answer["state"] == ["the-state"]
    tokens = redeem(sim, client, code=answer["code"][0], code_verifier=VERIFIER).json()
    assert email_of(sim, client, tokens["access_token"]) == GRACE.email


def test_a_cancelled_browser_login_comes_back_as_access_denied(sim: Simulator) -> None:
    back = sim.answer_authorization(authorize_url(sim), deny=True)
    answer = parse_qs(urlsplit(back).query)
    assert (answer["error"], answer["state"]) == (["access_denied"], ["the-state"])


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"redirect_uri": "https://example.com/callback"}, "loopback"),
        ({"code_challenge": ""}, "code_challenge"),
        ({"code_challenge_method": "plain"}, "code_challenge_method"),
        ({"state": ""}, "state"),
    ],
)
def test_an_invalid_authorization_request_is_rejected(
    sim: Simulator, client: httpx.Client, changes: dict[str, str], word: str
) -> None:
    answer = client.get(authorize_url(sim, **changes))
    assert answer.status_code == 400
    assert word in answer.text


@pytest.mark.parametrize(
    "changes",
    [
        {"code_verifier": "another verifier"},
        {"redirect_uri": "http://127.0.0.1:1457/auth/callback"},
        {"code": "ac_unknown"},
    ],
)
def test_a_code_is_valid_only_with_its_verifier_and_redirect_uri(
    sim: Simulator, client: httpx.Client, changes: dict[str, str]
) -> None:
    back = sim.answer_authorization(authorize_url(sim))
    code = parse_qs(urlsplit(back).query)["code"][0]
    answer = redeem(sim, client, **({"code": code, "code_verifier": VERIFIER} | changes))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


def test_a_code_is_redeemed_once(sim: Simulator, client: httpx.Client) -> None:
    back = sim.answer_authorization(authorize_url(sim))
    code = parse_qs(urlsplit(back).query)["code"][0]
    statuses = [redeem(sim, client, code=code, code_verifier=VERIFIER).status_code for _ in range(2)]
    assert statuses == [200, 400]


def test_a_refresh_token_is_valid_once(sim: Simulator, client: httpx.Client) -> None:
    first = sim.sign_in()
    second = refresh(sim, client, first.refresh_token).json()
    assert email_of(sim, client, second["access_token"]) == first.account.email
    again = refresh(sim, client, first.refresh_token)
    assert (again.status_code, again.json()["error"]["code"]) == (401, "refresh_token_reused")
    assert refresh(sim, client, second["refresh_token"]).status_code == 200, "the successor is still good"
    assert sim.refreshes == 2


def test_old_revoked_and_unknown_refresh_tokens_have_their_codes(
    sim: Simulator, client: httpx.Client
) -> None:
    old = sim.sign_in()
    sim.expire_refresh_tokens()
    revoked = sim.sign_in()
    sim.revoke(revoked.refresh_token)
    tokens = (old.refresh_token, revoked.refresh_token, "rt_unknown")
    codes = [refresh(sim, client, token).json()["error"]["code"] for token in tokens]
    assert codes == ["refresh_token_expired", "refresh_token_invalidated", "refresh_token_invalidated"]


def test_revoking_a_refresh_token_ends_its_access_tokens(sim: Simulator, client: httpx.Client) -> None:
    tokens = sim.sign_in()
    body = {"token": tokens.refresh_token, "token_type_hint": "refresh_token", "client_id": CLIENT}
    assert client.post(f"{sim.issuer}/oauth/revoke", json=body).status_code == 200
    assert email_of(sim, client, tokens.access_token) == "401"


def test_an_id_token_is_exchanged_for_an_api_key(sim: Simulator, client: httpx.Client) -> None:
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "client_id": CLIENT,
        "requested_token": "openai-api-key",
        "subject_token": sim.sign_in().id_token,
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
    }
    url = f"{sim.issuer}/oauth/token"
    key = client.post(url, data=form).json()["access_token"]
    models = client.get(f"{sim.api_base_url}/models", headers={"authorization": f"Bearer {key}"})
    assert models.status_code == 200
    forged = form | {"subject_token": form["subject_token"][:-4] + "AAAA"}
    assert client.post(url, data=forged).status_code == 400


def test_whoami_names_the_account_of_a_personal_access_token(sim: Simulator, client: httpx.Client) -> None:
    url = f"{sim.issuer}/api/accounts/v1/user-auth-credential/whoami"
    headers = {"authorization": f"Bearer {sim.new_personal_token(GRACE)}"}
    assert client.get(url, headers=headers).json() == {
        "email": GRACE.email,
        "chatgpt_user_id": GRACE.user_id,
        "chatgpt_account_id": GRACE.account_id,
        "chatgpt_plan_type": GRACE.plan,
        "chatgpt_account_is_fedramp": False,
    }
    assert client.get(url, headers={"authorization": "Bearer at-unknown"}).status_code == 401
