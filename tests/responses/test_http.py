"""The one HTTP client: who it says it is, whom it trusts, which way it goes."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from codex_nb.errors import ConfigError
from codex_nb.http import Proxies, httpx, open_http, request_json
from tests.responses.fakes import SETTINGS

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def listener(name: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[str, list[str]]]:
    """Answer every request with 200 and the listener's name; give its address and the request lines it saw."""
    seen: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = [(await reader.readline()).decode("latin-1").strip()]
        while lines[-1]:
            lines.append((await reader.readline()).decode("latin-1").strip())
        seen.append(lines[0])
        data = name.encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(data), data)
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen


def test_the_user_agent_is_honest_and_can_be_the_clis() -> None:
    assert SETTINGS.user_agent.startswith("codex_nb/0.")
    assert replace(SETTINGS, originator="codex_exec").user_agent.startswith("codex_exec/")
    assert replace(SETTINGS, originator="codex_exec").user_agent.endswith(") codex_nb")


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
        (".corp.test", "corp.test", "direct"),
        ("corp.test", "notcorp.test", "proxy"),
        ("LLM.corp.test", "llm.CORP.test", "direct"),
        ("test", "llm.corp.test", "direct"),
        ("x, corp.test ", "corp.test", "direct"),
        ("x corp.test", "corp.test", "proxy"),
        ("corp.test.", "corp.test", "proxy"),
        ("http://corp.test", "corp.test", "proxy"),
        ("*.corp.test", "llm.corp.test", "proxy"),
        ("corp.*", "corp.test", "proxy"),
        ("x,*", "corp.test", "direct"),
        ("*", "10.1.2.3", "proxy"),
        ("corp.test:80", "corp.test", "proxy"),
        ("corp.test:8080", "corp.test:8080", "proxy"),
        ("10.1.2.3:9", "10.1.2.3:9", "proxy"),
        ("10.0.0.0/8", "10.1.2.3", "direct"),
        ("10.0.0.1/8", "10.1.2.3:9", "direct"),
        ("10.0.0.0/8", "11.1.2.3", "proxy"),
        ("10.0.0.1/33", "10.0.0.1", "proxy"),
        ("10.0.0", "10.0.0.1", "proxy"),
        ("::2", "[::2]", "direct"),
        ("[::2]", "[::2]", "proxy"),
        ("fd00::/8", "[fd00::1]", "direct"),
        ("::ffff:10.0.0.1", "10.0.0.1", "proxy"),
    ],
)
def test_hosts_that_need_no_proxy_are_read_as_the_cli_reads_them(no_proxy: str, host: str, way: str) -> None:
    proxies = Proxies.of({"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": no_proxy})
    assert ("direct" if proxies.find(httpx.URL(f"http://{host}/")) is None else "proxy") == way


@pytest.mark.parametrize(
    ("environ", "variable"),
    [
        ({"HTTP_PROXY": "a", "http_proxy": "b", "ALL_PROXY": "c"}, "HTTP_PROXY"),
        ({"HTTP_PROXY": "", "http_proxy": "b", "ALL_PROXY": "c"}, "http_proxy"),
        ({"HTTPS_PROXY": "a", "all_proxy": "c"}, "all_proxy"),
        ({"HTTPS_PROXY": "a"}, None),
        ({"HTTP_PROXY": "a", "NO_PROXY": "x", "no_proxy": "corp.test"}, "HTTP_PROXY"),
        ({"HTTP_PROXY": "a", "NO_PROXY": "", "no_proxy": "corp.test"}, None),
    ],
)
def test_the_variable_of_the_scheme_comes_first_and_capitals_before_small_letters(
    environ: dict[str, str], variable: str | None
) -> None:
    found = Proxies.of(environ).find(httpx.URL("http://corp.test"))
    assert (found and found[0]) == variable


def test_an_address_alone_is_a_proxy_of_http_for_whoever_asks() -> None:
    """MCP servers got it without the scheme, which their library refuses."""
    proxies = Proxies.of({"HTTP_PROXY": "proxy.test:8080", "HTTPS_PROXY": "socks5://proxy.test"})
    found = [proxies.find(httpx.URL(url)) for url in ("http://corp.test", "https://corp.test")]
    assert found == [("HTTP_PROXY", "http://proxy.test:8080"), ("HTTPS_PROXY", "socks5://proxy.test")]


def test_a_proxys_password_is_in_no_repr() -> None:
    assert "fabricated" not in repr(Proxies.of({"HTTP_PROXY": "http://ada:fabricated@p.test"}))


async def test_a_proxy_that_is_not_needed_need_not_be_a_good_one() -> None:
    environ = {"HTTPS_PROXY": "http://[", "ALL_PROXY": "socks5://127.0.0.1:9"}
    async with listener("direct") as (address, _), listener("proxy") as (proxy, seen):
        async with open_http(SETTINGS, {**environ, "HTTP_PROXY": proxy}) as http:
            assert (await http.get(address)).text == "direct"
            assert (await http.get("http://nowhere.invalid")).text == "proxy"
        assert len(seen) == 1


async def test_a_request_says_where_it_may_be_processed() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=request.headers.get("x-openai-internal-codex-residency", "anywhere"))

    transport = httpx.MockTransport(answer)
    settings = [replace(SETTINGS, residency=region) for region in ("us", None)]
    said = []
    for each in settings:
        async with open_http(each, {}, transport=transport) as http:
            said.append((await http.get("http://x.test")).text)
    assert said == ["us", "anywhere"]


async def test_the_process_own_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listener("direct") as (address, _), listener("proxy") as (proxy, _):
        monkeypatch.setenv("HTTP_PROXY", proxy)
        async with open_http(SETTINGS, {}) as http:
            assert (await http.get(address)).text == "direct"


@pytest.mark.parametrize("address", ["ftp://ada:fabricated-password@proxy.test", "http://["])
async def test_an_address_that_is_no_proxy_is_named_without_its_password(address: str) -> None:
    async with open_http(SETTINGS, {"HTTPS_PROXY": address}) as http:
        with pytest.raises(ConfigError, match="HTTPS_PROXY") as caught:
            await http.get("https://nowhere.invalid")
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
        context = http._transport._transport._direct._pool._ssl_context  # type: ignore[attr-defined] # the library tells it nowhere else
        assert context.cert_store_stats()["x509_ca"] > 50


def company_certificates(folder: Path) -> tuple[Path, Path]:
    """Write an authority of a company, and a certificate of it for 127.0.0.1; neither has a key identifier."""
    now = datetime.now(UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("Inspection", "leaf")]
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    extensions: list[x509.ExtensionType] = [x509.BasicConstraints(ca=True, path_length=None), loopback]
    written = []
    for key, name, extension in zip(keys, names, extensions, strict=True):
        builder = x509.CertificateBuilder(names[0], name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        certificate = builder.add_extension(extension, critical=True).sign(keys[0], hashes.SHA256())
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        written.append(folder / f"{len(written)}.pem")
        written[-1].write_bytes(secret + certificate.public_bytes(Encoding.PEM))
    return written[0], written[1]


async def test_a_companys_authority_without_a_key_identifier_is_trusted(tmp_path: Path) -> None:
    authority, leaf = company_certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(leaf)
    async with listener("company", context) as (address, _):
        async with open_http(replace(SETTINGS, ca_certificate=authority), {}) as http:
            assert (await http.get(address.replace("http:", "https:"))).text == "company"
        async with open_http(SETTINGS, {}) as http:
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await http.get(address.replace("http:", "https:"))


KEPT_COOKIES = {
    ("https://chatgpt.com", "__cf_bm=a; Path=/; Secure"): "__cf_bm=a",
    ("https://chatgpt.com", "__cf_bm=a; Path=/; Domain=chatgpt.com"): "__cf_bm=a",
    ("https://api.openai.com", "_cfuvid=b; Path=/"): "_cfuvid=b",
    ("https://chatgpt.com", "session=a; Path=/"): None,
    ("https://chatgpt.com", "__cf_bm=a; Path=/other"): None,
    ("https://chatgpt.com", f"__cf_bm={'a' * 5_000}; Path=/"): None,
    ("http://chatgpt.com", "__cf_bm=a; Path=/"): None,
    ("https://chatgpt.com.evil.example", "__cf_bm=a; Path=/"): None,
    ("https://evilchatgpt.com", "__cf_bm=a; Path=/"): None,
    ("https://lab.example", "__cf_bm=a; Path=/"): None,
    ("http://127.0.0.1:8000", "__cf_bm=a; Path=/"): None,
}


@pytest.mark.parametrize(("address", "cookie"), KEPT_COOKIES)
async def test_of_cookies_only_those_of_cloudflare_are_kept_for_openai(address: str, cookie: str) -> None:
    sent: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers.get("cookie"))
        return httpx.Response(200, headers={"set-cookie": cookie}, json={})

    async with open_http(SETTINGS, {}, transport=httpx.MockTransport(answer)) as http:
        for _ in range(2):
            await http.get(address)
    assert sent == [None, KEPT_COOKIES[address, cookie]]


async def test_no_number_of_cookies_makes_later_requests_larger() -> None:
    sent: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(len(str(request.headers)))
        cookies = [("set-cookie", f"a{len(sent)}x{number}={'x' * 1_000}; Path=/") for number in range(50)]
        return httpx.Response(200, headers=cookies, json={})

    async with open_http(SETTINGS, {}, transport=httpx.MockTransport(answer)) as http:
        for _ in range(5):
            await http.get("https://chatgpt.com")
    assert len(set(sent)) == 1


async def test_no_library_writes_our_addresses_into_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={}))

    async def ask() -> None:
        async with open_http(SETTINGS, {}, transport=transport) as http:
            await http.get("https://lab.example", params={"key": "of-a-provider"})

    await asyncio.create_task(ask())
    assert "of-a-provider" not in caplog.text
    async with httpx.AsyncClient(transport=transport) as own:
        await own.get("https://own.example", params={"a": "of-the-user"})
    assert "of-the-user" in caplog.text


PROXY_REPLIES = {
    "nothing": b"",
    "too little": b"\x05",
    "no way to sign in": b"\x05\xff",
    "another way to sign in": b"\x05\x01",
    "another version": b"\x04\x02",
    "a sign-in that fails": b"\x05\x02\x01\x01",
    "half of a reply": b"\x05\x02\x01\x00\x05\x00\x00",
    "an address of no kind": b"\x05\x02\x01\x00\x05\x00\x00\x09aaaa",
    "a name that is cut off": b"\x05\x02\x01\x00\x05\x00\x00\x03\xffaa",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "no login": b"HTTP/1.1 407 Login\r\ncontent-length: 0\r\n\r\n",
    "a tunnel to nowhere": b"HTTP/1.1 200 OK\r\n\r\nnot TLS",
    "no end": b"\x05\x02" * 50_000,
}


@contextmanager
def answering(pieces: Sequence[bytes]) -> Iterator[int]:
    """Listen on a port; answer each message of the first connection with a piece, then hang up."""
    accepted: list[socket.socket] = []

    def answer() -> None:
        with suppress(OSError):
            connection, _ = listening.accept()
            accepted.append(connection)
            with connection:
                for piece in pieces:
                    connection.recv(1000)
                    connection.sendall(piece)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        thread = threading.Thread(target=answer)
        thread.start()
        yield listening.getsockname()[1]
        for connection in accepted:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "http"])
@pytest.mark.parametrize("sent", PROXY_REPLIES.values(), ids=PROXY_REPLIES)
async def test_whatever_a_proxy_answers_is_a_problem_and_its_password_is_in_no_log(
    caplog: pytest.LogCaptureFixture, scheme: str, sent: bytes
) -> None:
    caplog.set_level(logging.DEBUG)
    is_short = scheme != "http" and len(sent) < 100  # of SOCKS, each answer has its own message
    with answering([sent[:2], sent[2:4], sent[4:]] if is_short else [sent]) as port:
        proxy = f"{scheme}://user:of-a-proxy@127.0.0.1:{port}"
        async with open_http(SETTINGS, {"ALL_PROXY": proxy}) as http:
            reply = await asyncio.create_task(request_json(http, "GET", "https://lab.example", timeout_s=2))
    assert reply.problem
    assert "of-a-proxy" not in reply.problem + caplog.text
    del reply
    gc.collect()  # to which the library leaves the socket of a proxy that fails
