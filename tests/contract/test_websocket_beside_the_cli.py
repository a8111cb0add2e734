"""The same conversation over a websocket by both programs: their handshakes and frames are compared.

Every key is either the same, or listed in ``docs/compatibility.md``: for both transports, or for websockets only.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from codex_nb.simulator import FRAME, WEBSOCKET, RecordedRequest
from tests.contract.cli import CodexCli
from tests.contract.test_beside_the_cli import CONTENT as CONTENT_OVER_HTTP
from tests.contract.test_beside_the_cli import ID, body_facts, conversation, documented
from tests.contract.test_both_directions import ours

HEADING = "## Differences on a websocket"
OURS = """
import codex_nb

@codex_nb.tool
def look(cmd: str) -> str:
    "Looks at something."
    return "seen"

for prompt in ("look at this", "and again"):
    answer = codex_nb.ask(prompt, tools=[look], thread="beside", approval="all", effort="medium")
    assert answer.status == "completed", answer
"""
RANDOM = {"sec-websocket-key"}
CONTENT = CONTENT_OVER_HTTP | {"previous_response_id"}
Requests = list[RecordedRequest]


@pytest.fixture(params=["chatgpt", "api"])
def requests(cli: CodexCli, request: pytest.FixtureRequest) -> tuple[Requests, Requests]:
    """Both programs' handshakes and frames."""
    sim = cli.sim
    sim.change(websockets=True)
    cli.configure(sim.config_toml("api" if request.param == "api" else None, model="simulator-classic"))
    if request.param == "api":
        sim.write_api_key(cli.home)
    else:
        sim.write_login(cli.home)
    sim.play(conversation("exec_command"))
    with cli.app_server() as server:
        thread = server.ask("thread/start")["thread"]["id"]
        assert [server.turn(thread, prompt) for prompt in ("look at this", "and again")] == ["completed"] * 2
    theirs = list(on_the_socket(sim.requests))
    sim.requests.clear()
    sim.play(conversation("look"))
    cli.more_environ["CODEX_NB_TRANSPORT"] = "websocket"
    answer = ours(cli, "-c", OURS)
    assert answer.code == 0, answer.words
    return theirs, list(on_the_socket(sim.requests))


def on_the_socket(requests: object) -> Iterator[RecordedRequest]:
    for each in requests:  # type: ignore[attr-defined]  # a RequestLog
        if each.path.endswith("/responses"):
            assert each.method in {WEBSOCKET, FRAME}
            yield each


def facts(requests: Requests) -> dict[str, str]:
    """Every key of a program's handshake and frames with its value; contents count by the keys of their items."""
    found: dict[str, str] = {}
    for request in requests:
        if request.method == WEBSOCKET:
            found |= {
                f"header {name}": value for name, value in request.headers.items() if name not in RANDOM
            }
            continue
        found |= body_facts(request.body, CONTENT)
    return {name: ID.sub("<id>", value) for name, value in found.items()}


@pytest.mark.parametrize("requests", ["chatgpt"], indirect=True)
def test_every_key_is_the_same_or_explained(requests: tuple[Requests, Requests]) -> None:
    theirs, mine = (facts(each) for each in requests)
    found = dict.fromkeys(theirs.keys() - mine.keys(), "CLI only")
    found |= dict.fromkeys(mine.keys() - theirs.keys(), "codex_nb only")
    found |= {key: "different values" for key in theirs.keys() & mine.keys() if theirs[key] != mine[key]}
    on_websockets_only = documented(HEADING)
    explained = documented() | on_websockets_only
    assert {key: who for key, who in found.items() if explained.get(key) != who} == {}
    assert [key for key in on_websockets_only if key not in found] == []


def test_both_send_only_what_is_new_on_one_connection(requests: tuple[Requests, Requests]) -> None:
    for handshake, *frames in requests:
        assert (handshake.method, {each.method for each in frames}) == (WEBSOCKET, {FRAME})
        assert len({each.connection for each in frames} | {handshake.connection}) == 1
        *_, first, tool, second = [each.body for each in frames]
        assert [item["type"] for item in tool["input"]] == ["function_call_output"]
        assert {item["type"] for item in second["input"]} == {"message"}
        assert first["tools"] == tool["tools"] == second["tools"]
        followed = [each.get("previous_response_id") for each in (tool, second)]
        assert None not in followed
        assert len(set(followed)) == 2
