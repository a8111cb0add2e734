"""An MCP server that leaves a file in a folder for all that it does: ``started``, and the name of each tool called.

``look`` says that it only reads, ``wipe`` says nothing, ``orders`` tells its progress, ``ask`` asks for a name.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[1])
TOOLS: tuple[dict[str, Any], ...] = (
    {"name": "look", "annotations": {"readOnlyHint": True}},
    {"name": "wipe"},
    {"name": "orders"},
    {"name": "ask"},
)
FORM = {"type": "object", "properties": {"name": {"type": "string"}}}


def say(**message: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def called(name: str, token: object) -> str:
    if name == "ask":
        say(id="form", method="elicitation/create", params={"message": "Who is it?", "requestedSchema": FORM})
        answer = json.loads(sys.stdin.readline())["result"]
    (FOLDER / name).touch()
    if name == "ask":
        return json.dumps(answer.get("content") or answer["action"])
    if name == "orders":
        say(
            method="notifications/progress", params={"progressToken": token, "progress": 1, "message": "half"}
        )
        return "seven orders"
    return f"called {name}"


def result_of(method: str, params: dict[str, Any]) -> dict[str, Any]:
    match method:
        case "initialize":
            about = {"serverInfo": {"name": "shop", "version": "1"}, "capabilities": {"tools": {}}}
            return {"protocolVersion": params["protocolVersion"], **about}
        case "tools/list":
            return {
                "tools": [
                    {"description": "A tool.", "inputSchema": {"type": "object"}, **each} for each in TOOLS
                ]
            }
        case "tools/call":
            text = called(params["name"], params.get("_meta", {}).get("progressToken"))
            return {"content": [{"type": "text", "text": text}]}
        case _:
            return {}


(FOLDER / "started").touch()
for line in sys.stdin:
    asked = json.loads(line)
    if "id" in asked and "method" in asked:
        say(id=asked["id"], result=result_of(asked["method"], asked.get("params") or {}))
