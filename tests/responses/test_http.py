"""The one HTTP client: who it says it is, whom it trusts, which way it goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from codex_nb.errors import ConfigError
from codex_nb.http import httpx, open_http, user_agent
from tests.responses.fakes import SETTINGS

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def listener(name: str) -> AsyncIterator[tuple[str, list[str]]]:
    """Answer every request with 200 and the listener's name; give its address and the request lines it saw."""
    seen: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = [(await reader.readline()).decode().strip()]
        while lines[-1]:
            lines.append((await reader.readline()).decode().strip())
        seen.append(lines[0])
        data = name.encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(data), data)
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen


def test_the_user_agent_is_honest_and_can_be_the_clis() -> None:
    assert user_agent("codex_nb").startswith("codex_nb/0.")
    assert user_agent("codex_exec").startswith("codex_exec/")
    assert user_agent("codex_exec").endswith(") codex_nb")


FAR = "http://nowhere.invalid"
WAYS = [
    ({}, FAR, "direct"),
    ({"HTTP_PROXY": "{proxy}"}, FAR, "proxy"),
    ({"http_proxy": "{proxy}"}, FAR, "proxy"),
    ({"ALL_PROXY": "{proxy}"}, FAR, "proxy"),
    ({"HTTPS_PROXY": "{proxy}"}, FAR, "direct"),
    ({"HTTP_PROXY": "{proxy}", "NO_PROXY": "nowhere.invalid"}, FAR, "direct"),
    ({"HTTP_PROXY": "{proxy}", "no_proxy": "example.com, nowhere.invalid"}, FAR, "direct"),
    ({"HTTP_PROXY": "{proxy}", "NO_PROXY": "*"}, FAR, "direct"),
    ({"HTTP_PROXY": "{proxy}", "NO_PROXY": "example.com"}, FAR, "proxy"),
    ({"HTTP_PROXY": ""}, FAR, "direct"),
    # A credential for this machine may travel in clear text, so it never passes a proxy.
    ({"HTTP_PROXY": "{proxy}"}, "http://127.0.0.1", "direct"),
    ({"ALL_PROXY": "{proxy}"}, "http://localhost", "direct"),
    ({"HTTP_PROXY": "{proxy}", "NO_PROXY": "example.com"}, "http://127.0.0.1", "direct"),
]


@pytest.mark.parametrize(("environ", "host", "way"), WAYS)
async def test_a_request_goes_the_way_the_environment_says(
    environ: dict[str, str], host: str, way: str
) -> None:
    async with listener("direct") as (address, _), listener("proxy") as (proxy, seen):
        named = {name: value.format(proxy=proxy.removeprefix("http://")) for name, value in environ.items()}
        async with open_http(SETTINGS, named) as http:
            try:
                answered_by = (await http.get(f"{host}:{address.rpartition(':')[2]}")).text
            except httpx.ConnectError:
                answered_by = "direct"  # there is no such host
        assert (answered_by, bool(seen)) == (way, way == "proxy")


@pytest.mark.parametrize(
    ("no_proxy", "host", "way"),
    [
        ("corp.test", "corp.test", "direct"),
        ("corp.test", "llm.corp.test", "direct"),
        (".corp.test", "llm.corp.test", "direct"),
        (".corp.test", "corp.test", "proxy"),
        ("corp.test", "notcorp.test", "proxy"),
        ("http://corp.test", "corp.test", "direct"),
        ("[::1],::2", "[::2]", "direct"),
    ],
)
async def test_hosts_that_need_no_proxy_are_told_by_name(no_proxy: str, host: str, way: str) -> None:
    async with open_http(SETTINGS, {"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": no_proxy}) as http:
        # Looking inside keeps the test from asking a name server.
        chosen = http._transport_for_url(httpx.URL(f"http://{host}/"))
        assert ("direct" if chosen is http._transport else "proxy") == way


async def test_the_process_own_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listener("direct") as (address, _), listener("proxy") as (proxy, _):
        monkeypatch.setenv("HTTP_PROXY", proxy)
        async with open_http(SETTINGS, {}) as http:
            assert (await http.get(address)).text == "direct"


@pytest.mark.parametrize("address", ["ftp://ada:fabricated-password@proxy.test", "http://["])
def test_an_address_that_is_no_proxy_is_named_without_its_password(address: str) -> None:
    with pytest.raises(ConfigError, match="HTTPS_PROXY") as caught:
        open_http(SETTINGS, {"HTTPS_PROXY": address})
    assert (caught.value.path, caught.value.key) == ("environment", "HTTPS_PROXY")
    assert "fabricated" not in caught.value.line


def test_a_certificate_file_that_is_absent_is_named(tmp_path: Path) -> None:
    settings = replace(SETTINGS, ca_certificate=tmp_path / "absent.pem")
    with pytest.raises(ConfigError, match=r"absent\.pem cannot be used: No such file") as caught:
        open_http(settings, {})
    assert "CODEX_CA_CERTIFICATE" in caught.value.line


def test_a_certificate_file_without_a_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(ConfigError, match="holds no certificates"):
        open_http(replace(SETTINGS, ca_certificate=tmp_path / "empty.pem"), {})


async def test_a_certificate_of_ones_own_comes_on_top_of_the_usual_ones(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "own.pem"))
    async with open_http(replace(SETTINGS, ca_certificate=tmp_path / "own.pem"), {}) as http:
        context = http._transport._transport._pool._ssl_context  # type: ignore[attr-defined] # the library tells it nowhere else
        assert context.cert_store_stats()["x509_ca"] > 50
