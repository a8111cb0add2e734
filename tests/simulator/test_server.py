"""The simulator as a server: CODEX_HOME files, TLS, start and stop, the foreground."""

from __future__ import annotations

import os
import re
import signal
import ssl
import stat
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import httpx
import pytest

from codex_nb.simulator import Simulator
from tests.simulator.asking import Asker, user


def test_a_home_is_written_as_the_cli_writes_it(sim: Simulator, tmp_path: Path) -> None:
    tokens = sim.write_home(tmp_path / "home")
    file = tmp_path / "home" / "auth.json"
    text = file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert re.findall(r'^ +"(\w+)":', text, re.MULTILINE) == [
        "auth_mode",
        "OPENAI_API_KEY",
        "tokens",
        "id_token",
        "access_token",
        "refresh_token",
        "oauth_provenance",
        "issuer",
        "client_id",
        "login_owner_id",
        "account_id",
        "last_refresh",
    ]
    assert re.search(r'"last_refresh": "\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"\n}$', text)
    assert tokens.refresh_token in text
    assert sorted(path.name for path in file.parent.iterdir()) == ["auth.json", "config.toml"]


def test_configurations_point_at_the_simulator(sim: Simulator) -> None:
    custom = tomllib.loads(sim.config_toml("custom", model="simulator-lite"))
    builtin, api = (tomllib.loads(sim.config_toml(kind)) for kind in ("builtin", "api"))
    provider = custom["model_providers"][custom["model_provider"]]
    assert (custom["model"], provider["base_url"]) == ("simulator-lite", sim.openai_base_url)
    assert (builtin["chatgpt_base_url"], builtin["openai_base_url"]) == (
        f"{sim.chatgpt_base_url}/",
        sim.openai_base_url,
    )
    assert api["openai_base_url"] == sim.api_base_url


def test_over_tls_only_its_own_authority_is_needed() -> None:
    with Simulator(tls=True) as sim:
        ca_file = sim.environ()["CODEX_CA_CERTIFICATE"]
        context = ssl.create_default_context(cafile=ca_file)
        with httpx.Client(verify=context, trust_env=False) as client:
            asker = Asker(sim, client, {"authorization": f"Bearer {sim.sign_in().access_token}"})
            assert asker.post(user("hi")).status_code == 200
        with pytest.raises(httpx.ConnectError), httpx.Client(trust_env=False) as stranger:
            stranger.get(sim.base_url)
    assert not Path(ca_file).exists()


def test_nothing_is_left_behind(client: httpx.Client) -> None:
    before = threading.active_count()
    with Simulator() as sim:
        address = sim.base_url
        assert client.get(address).status_code == 404
    assert threading.active_count() == before
    with pytest.raises(httpx.ConnectError):
        client.get(address)


def test_it_stops_while_streams_are_held(asker: Asker) -> None:
    from codex_nb.simulator import Hold, Reply, Scenario

    asker.sim.play(Scenario((Reply(stream=(Hold("never"),)),)))
    url = f"{asker.sim.openai_base_url}/responses"
    body = asker.body(user("hi"))
    with asker.client.stream("POST", url, headers=asker.headers, json=body) as answer:
        assert asker.sim.wait_held("never")
        asker.sim.stop()
        with pytest.raises(httpx.RemoteProtocolError):
            answer.read()


def test_an_address_is_known_only_once_it_listens() -> None:
    with pytest.raises(RuntimeError, match="not been started"):
        _ = Simulator().base_url


def test_requests_are_recorded_and_counted(asker: Asker) -> None:
    asker.post(user("hi"))
    asker.client.get(f"{asker.sim.chatgpt_base_url}/wham/usage?limit=2", headers=asker.headers)
    first, second = asker.sim.requests
    assert (first.method, first.body["stream"], first.outcome) == ("POST", True, "answered")
    assert (second.query, second.headers["authorization"]) == (
        {"limit": "2"},
        asker.headers["authorization"],
    )
    assert asker.sim.requests.count("/responses", "POST") == 1
    assert asker.sim.requests.counts == {
        "POST /backend-api/codex/responses": 1,
        "GET /backend-api/wham/usage": 1,
    }
    asker.sim.requests.clear()
    assert len(asker.sim.requests) == 0


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_in_the_foreground_it_prints_how_to_use_it_and_stops_on_a_signal(ending: signal.Signals) -> None:
    code = "from codex_nb.simulator import serve; serve(0, tls=False)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUTF8": "1"}
    )
    assert process.stdout is not None
    try:
        printed = ""
        while "requires_openai_auth" not in printed:
            printed += process.stdout.readline() or pytest.fail(f"it ended early: {printed}")
        home = re.search(r"export CODEX_HOME=(\S+)", printed)
        address = re.search(r"running at (http://127\.0\.0\.1:\d+)", printed)
        assert home is not None
        assert address is not None
        assert httpx.get(f"{address[1]}/codex/device", trust_env=False).status_code == 200
        assert (Path(home[1]) / "auth.json").exists()
        process.send_signal(ending)
        assert process.wait(20) == 0
        assert not Path(home[1]).exists()
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
