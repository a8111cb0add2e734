"""What the simulator takes: bodies and a log of bounded size, from programs and pages of this machine only."""

from __future__ import annotations

import gzip
import json
import socket
import tracemalloc
from collections.abc import Callable, Iterator

import httpx
import pytest
import zstandard

from codex_nb.simulator import Simulator
from codex_nb.simulator.state import RecordedRequest, RequestLog
from tests.simulator.asking import Asker, user

MEGABYTE = 1024 * 1024
BOMB = b" " * (256 * MEGABYTE)
BOMBS: dict[str, Callable[[], bytes]] = {
    "gzip": lambda: gzip.compress(BOMB, 1),
    "zstd": lambda: zstandard.compress(BOMB),
}


@pytest.fixture
def peak() -> Iterator[Callable[[], int]]:
    """The most memory that Python has taken since the last call."""
    tracemalloc.start()

    base = 0

    def most() -> int:
        nonlocal base
        current, found = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        before, base = base, current
        return found - before

    yield most
    tracemalloc.stop()


@pytest.mark.parametrize("encoding", BOMBS)
def test_a_compressed_bomb_is_refused_before_it_is_unpacked(
    asker: Asker, encoding: str, peak: Callable[[], int]
) -> None:
    bomb = BOMBS[encoding]()
    peak()
    for login in (asker.headers, {}):
        headers = {**login, "content-type": "application/json", "content-encoding": encoding}
        url = f"{asker.sim.openai_base_url}/responses"
        assert asker.client.post(url, headers=headers, content=bomb).status_code == 413
    assert peak() < 64 * MEGABYTE
    assert [len(request.raw_body) for request in asker.sim.requests] == [0, 0]
    assert asker.post(user("Hello")).status_code == 200


def test_a_body_beyond_the_bound_is_not_received(asker: Asker, peak: Callable[[], int]) -> None:
    address = asker.sim.base_url.removeprefix("http://").split(":")
    peak()
    with socket.create_connection((address[0], int(address[1]))) as connection:
        head = f"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-length: {10**10}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(1000)[:12] in {b"", b"HTTP/1.1 400", b"HTTP/1.1 413"}
    assert peak() < MEGABYTE
    assert asker.post(user("Hello")).status_code == 200


def test_a_body_of_very_many_values_is_refused(asker: Asker, peak: Callable[[], int]) -> None:
    headers = {**asker.headers, "content-type": "application/json"}
    data = b"[" + b"{}," * 5_000_000 + b"{}]"
    peak()
    answer = asker.client.post(f"{asker.sim.openai_base_url}/responses", headers=headers, content=data)
    assert answer.status_code == 413
    assert peak() < 64 * MEGABYTE


FORMS = {
    "escapes": ("application/x-www-form-urlencoded", b"%f0" * 5 * MEGABYTE),
    "fields": ("application/x-www-form-urlencoded", b"a&" * 7 * MEGABYTE),
    "a field": ("application/x-www-form-urlencoded", b"a=" + b"b" * 15 * MEGABYTE),
    "parts": ("multipart/form-data; boundary=x", b"--x\r\n" * 3 * MEGABYTE + b"--x--"),
}


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/files", "/oauth/token", "/codex/device"])
@pytest.mark.parametrize("form", FORMS)
def test_a_large_form_is_refused_before_it_is_read(
    asker: Asker, form: str, path: str, peak: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    kind, data = FORMS[form]
    headers = {"authorization": f"Bearer {asker.sim.new_api_key()}", "content-type": kind}
    peak()
    answer = asker.client.post(f"{asker.sim.base_url}{path}", headers=headers, content=data)
    assert answer.status_code in {400, 413}
    assert peak() < 64 * MEGABYTE
    assert "Uncaught exception" not in caplog.text
    assert asker.post(user("Hello")).status_code == 200


@pytest.mark.parametrize("method", ["BREW", "PROPFIND"])
def test_an_unknown_method_is_refused_as_json(
    sim: Simulator, client: httpx.Client, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.request(method, f"{sim.openai_base_url}/responses")
    assert (answer.status_code, answer.json()) == (405, {"detail": "Method Not Allowed"})
    assert "Uncaught exception" not in caplog.text


def test_deep_json_is_refused(asker: Asker) -> None:
    headers = {**asker.headers, "content-type": "application/json"}
    for depth in (1_000, 100_000):
        data = b"[" * depth + b"]" * depth
        answer = asker.client.post(f"{asker.sim.openai_base_url}/responses", headers=headers, content=data)
        assert answer.status_code == 400


def test_the_log_lets_old_bodies_go() -> None:
    log = RequestLog(max_bytes=1000)
    for number in range(50):
        body = bytes([number]) * 100
        log.add(RecordedRequest("POST", f"/{number}", {}, {}, raw_body=body, body=body.hex(), size=100))
    assert len(log) == 50
    assert sum(len(request.raw_body) + request.size for request in log) <= 1000
    assert (log[0].body, log[-1].raw_body) == (None, bytes([49]) * 100)
    log.clear()
    log.add(RecordedRequest("POST", "/", {}, {}, raw_body=b"x" * 5000, size=5000))
    assert len(log[0].raw_body) == 5000


@pytest.mark.parametrize(
    "host",
    [
        "evil.test",
        "evil.test:{port}",
        "127.0.0.1.evil.test:{port}",
        "localhost.evil.test",
        "localhost.",
        "192.168.0.7",
        "2130706433",
        "0x7f.1",
        "localhost:80:evil.test",
        "[::1%25lo]",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/codex/device", "/oauth/authorize", "/v1/models", "/nowhere"])
def test_another_name_for_this_machine_is_refused(
    sim: Simulator, client: httpx.Client, host: str, path: str
) -> None:
    named = host.format(port=sim.base_url.rpartition(":")[2])
    assert client.get(f"{sim.base_url}{path}", headers={"host": named}).status_code == 403


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_the_names_of_this_machine_are_taken(sim: Simulator, client: httpx.Client, name: str) -> None:
    named = f"{name}:{sim.base_url.rpartition(':')[2]}"
    assert client.get(f"{sim.base_url}/codex/device", headers={"host": named}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.test"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "http://localhost"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
def test_a_form_of_another_site_confirms_nothing(
    sim: Simulator, client: httpx.Client, headers: dict[str, str]
) -> None:
    code = client.post(f"{sim.base_url}/api/accounts/deviceauth/usercode", json={"client_id": "app"}).json()
    data = {"user_code": code["user_code"], "decision": "confirm"}
    answer = client.post(f"{sim.base_url}/codex/device", data=data, headers=headers)
    assert (answer.status_code, sim.waiting_device_codes()) == (403, [code["user_code"]])
    own = {"origin": sim.base_url, "sec-fetch-site": "same-origin"}
    assert client.post(f"{sim.base_url}/codex/device", data=data, headers=own).status_code == 200
    assert sim.waiting_device_codes() == []


@pytest.mark.parametrize(
    "headers", [{"host": "evil.test"}, {"origin": "https://evil.test"}, {"origin": "null"}]
)
def test_a_page_of_another_site_opens_no_websocket(
    asker: Asker, client: httpx.Client, headers: dict[str, str]
) -> None:
    handshake = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "ZmFicmljYXRlZC1rZXkxMg==",
    }
    url = f"{asker.sim.openai_base_url}/responses"
    answer = client.get(url, headers={**asker.headers, **handshake, **headers})
    assert answer.status_code == 403


def test_a_refused_body_is_told_as_json(asker: Asker) -> None:
    answer = asker.client.get(f"{asker.sim.base_url}/v1/models", headers={"host": "evil.test"})
    assert json.loads(answer.text) == {"detail": "The simulator answers at 127.0.0.1 and localhost only."}
