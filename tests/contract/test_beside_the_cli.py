"""The same conversation (text, image, tool call, second turn) by both programs: their requests are compared.

Every header, body key and item key is either the same or listed in ``docs/compatibility.md`` with the reason; a listed
key that no longer differs is an error too.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise
from typing import Any

import pytest

from codex_nb.simulator import Call, End, RecordedRequest, Reply, Say, Scenario, Think
from tests import tiers
from tests.contract.cli import CodexCli
from tests.contract.test_both_directions import ours

PAGE = tiers.ROOT / "docs" / "compatibility.md"
HEADING = "## Differences from the requests of the CLI"
OURS = """
import codex_nb

@codex_nb.tool
def look(cmd: str) -> str:
    "Looks at something."
    return "seen"

for prompt, images in (("look at this", ["dot.png"]), ("and again", [])):
    answer = codex_nb.ask(prompt, tools=[look], images=images, thread="beside", approval="all", effort="medium")
    assert answer.status == "completed", answer
"""
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
CONTENT = {"input", "tools", "client_metadata"}
EXACT = {"detail"}
LENGTHS = {"content-length", "x-codex-turn-state"}


def dot() -> bytes:
    """A PNG of one red pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\x00\xff\x00\x00")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def conversation(tool: str) -> Scenario:
    call = Call(tool, {"cmd": "echo seen"}, "call_1")
    return Scenario(
        (
            Reply(stream=(Think(("I look.",)), Say("One moment."), call, End())),
            Reply(stream=(Say("A dot."), End())),
            Reply(stream=(Say("Still a dot."), End())),
        )
    )


def facts(request: RecordedRequest) -> dict[str, str]:
    """Every key of a request with its value; ids look alike, contents count by the keys of their items."""
    found = {f"header {name}": value for name, value in request.headers.items() if name not in LENGTHS}
    found |= body_facts(request.body, CONTENT)
    return {name: ID.sub("<id>", value) for name, value in found.items()}


def body_facts(body: Mapping[str, Any], contents: Collection[str]) -> dict[str, str]:
    """Every key of a body, with its value where it is none of the contents."""
    found = {f"body {name}": "" if name in contents else json.dumps(value) for name, value in body.items()}
    found |= {f"client_metadata {name}": "" for name in body.get("client_metadata", {})}
    for item in body["input"]:
        found |= dict(item_facts(item))
    for tool in body.get("tools", []):
        if tool["type"] == "function":
            found |= {f"function tool {name}": "" for name in tool}
    return found


def item_facts(item: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    kind = item["type"] if item["type"] != "message" else f"{item['role']} message"
    for name, value in item.items():
        yield f"{kind} {name}", ""
        if name == "content" and isinstance(value, list):
            for part in value:
                yield from (
                    (f"{part['type']} {key}", str(value) if key in EXACT else "")
                    for key, value in part.items()
                )


def differences(theirs: list[RecordedRequest], mine: list[RecordedRequest]) -> dict[str, str]:
    """What differs in any of the requests: who sends it, or that the values differ."""
    found: dict[str, str] = {}
    for their, my in zip(theirs, mine, strict=True):
        left, right = facts(their), facts(my)
        found |= dict.fromkeys(left.keys() - right.keys(), "CLI only")
        found |= dict.fromkeys(right.keys() - left.keys(), "codex_nb only")
        found |= {key: "different values" for key in left.keys() & right.keys() if left[key] != right[key]}
    return found


def documented(heading: str = HEADING) -> dict[str, str]:
    """The table of the page below a heading: key and who sends it."""
    section = re.split(r"\n##+ ", PAGE.read_text().partition(f"\n{heading}\n")[2])[0]
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| [^|]{15,} \|$", section, re.MULTILINE)
    return {key: who.strip() for key, who in rows}


@pytest.fixture
def requests(cli: CodexCli) -> tuple[list[RecordedRequest], list[RecordedRequest]]:
    """Both programs' requests."""
    cli.configure(cli.sim.config_toml(model="simulator-classic"))
    cli.sim.write_login(cli.home)
    (cli.folder / "dot.png").write_bytes(dot())
    cli.sim.play(conversation("exec_command"))
    assert cli.ask("look at this", "--image", str(cli.folder / "dot.png")).text.endswith("A dot.")
    assert cli.ask("and again", "resume", "--last").text == "Still a dot."
    theirs = cli.sim.requests.to("/responses", "POST")
    cli.sim.requests.clear()
    cli.sim.play(conversation("look"))
    answer = ours(cli, "-c", OURS)
    assert answer.code == 0, answer.words
    return theirs, cli.sim.requests.to("/responses", "POST")


def test_every_key_is_the_same_or_explained(
    requests: tuple[list[RecordedRequest], list[RecordedRequest]], codex_version: str
) -> None:
    listed = documented(f"### {codex_version}").items()
    of_version = {key: who for key, who in listed if not key.startswith(("model ", "default "))}
    assert dict(sorted(differences(*requests).items())) == dict(
        sorted({**documented(), **of_version}.items())
    )


def test_both_threads_only_grow(requests: tuple[list[RecordedRequest], list[RecordedRequest]]) -> None:
    for side in requests:
        inputs = [request.body["input"] for request in side]
        assert [later[: len(earlier)] == earlier for earlier, later in pairwise(inputs)] == [
            True,
            True,
        ]
