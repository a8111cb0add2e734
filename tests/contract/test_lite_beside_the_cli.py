"""The lite format of a request, by both programs: tools as the first item, the same keys in order."""

from __future__ import annotations

from typing import Any

import pytest

from codex_nb.simulator import RecordedRequest
from tests.contract.cli import CodexCli
from tests.contract.test_both_directions import ours

OURS = """
import codex_nb

@codex_nb.tool
def look(cmd: str) -> str:
    "Looks at something."
    return "seen"

answer = codex_nb.ask("say hi", tools=[look], approval="all")
assert answer.status == "completed", answer
"""
BODY = ("store", "include", "tool_choice", "parallel_tool_calls")


@pytest.fixture
def requests(cli: CodexCli) -> tuple[RecordedRequest, RecordedRequest]:
    """The CLI's request, and ours."""
    cli.configure(cli.sim.config_toml(model="simulator-lite"))
    cli.sim.write_login(cli.home)
    assert cli.ask("say hi").code == 0
    (theirs,) = cli.sim.requests.to("/responses", "POST")
    cli.sim.requests.clear()
    answer = ours(cli, "-c", OURS)
    assert answer.code == 0, answer.words
    (mine,) = cli.sim.requests.to("/responses", "POST")
    return theirs, mine


def shape(request: RecordedRequest) -> dict[str, Any]:
    """What makes a request lite; the tools themselves count by the keys of their specification."""
    first, *rest = request.body["input"]
    (namespace, *_) = first["tools"]
    (tool, *_) = [tool for tool in namespace["tools"] if tool["type"] == "function"]
    return {
        "header": request.headers["x-openai-internal-codex-responses-lite"],
        "first": {**first, "id": first["id"][:3], "tools": list(namespace)},
        "keys": list(first),
        "namespace": {**namespace, "tools": list(tool)},
        "others": {item["type"] for item in rest},
        "has tools": "tools" in request.body,
        "context": request.body["reasoning"]["context"],
        **{key: request.body[key] for key in BODY},
    }


def test_both_programs_send_the_lite_form_alike(requests: tuple[RecordedRequest, RecordedRequest]) -> None:
    theirs, mine = requests
    assert shape(mine) == shape(theirs)
