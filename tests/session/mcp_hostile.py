"""A server without the SDK, fast to start, that does at a stage what an argument says: ``STAGE=DEED``, ``tools=JSON``.

Stages are start, initialize, list and call; deeds are hang, die, flood (without end), line (a line without end), junk
(text that is no message), error, and wrong (a reply of the wrong shape). ``stubborn`` outlives its input. ``seen=FILE``
writes down the environment and all that is received.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

deeds = dict(each.split("=", 1) for each in sys.argv[1:] if "=" in each)
TOOLS = [{"name": "ping", "description": "Says pong.", "inputSchema": {"type": "object", "properties": {}}}]


def send(message: Any) -> None:
    sys.stdout.write((message if isinstance(message, str) else json.dumps(message)) + "\n")
    sys.stdout.flush()


def do(stage: str) -> Any:
    """Do the deed of a stage; None where the stage is to go on as it should."""
    match deeds.get(stage):
        case "hang":
            time.sleep(3600)
        case "die":
            sys.stderr.write("Traceback:\nBoom: no database\n")
            sys.exit(3)
        case "flood":
            while True:
                send(
                    {
                        "jsonrpc": "2.0",
                        "method": "notifications/message",
                        "params": {"level": "info", "data": 1},
                    }
                )
        case "line":
            while True:
                sys.stdout.write("x" * 65536)
        case "junk":
            for _ in range(100):
                send("this is a log line, not JSON {")
        case "values":
            sys.stdout.write(
                '{"jsonrpc": "2.0", "id": 3, "result": {"content": [], "more": [' + "[]," * 1_000_000
            )
            sys.stdout.write("[]]}}\n")
        case "error":
            return {"error": {"code": -32000, "message": "<b>No</b>\u202ethanks"}}
        case "wrong":
            return {"result": {"tools": "none", "protocolVersion": 7, "content": 5}}
    return None


def reply(method: str, params: dict[str, Any]) -> Any:
    match method:
        case "initialize":
            about = {"name": "hostile", "version": "1"}
            version = params["protocolVersion"]
            return do("initialize") or {
                "result": {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about}
            }
        case "tools/list":
            tools = json.loads(deeds["tools"]) if "tools" in deeds else TOOLS
            return do("list") or {"result": {"tools": tools}}
        case "tools/call":
            content = (
                json.loads(deeds["content"]) if "content" in deeds else [{"type": "text", "text": "pong"}]
            )
            return do("call") or {"result": {"content": content}}
    return {"result": {}}


if "stubborn" in sys.argv:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    subprocess.Popen(["sleep", "3600"])  # and it has a child of its own
do("start")
seen = Path(deeds.get("seen", os.devnull))
with seen.open("a") as file:
    file.write(json.dumps(dict(os.environ)) + "\n")
for line in sys.stdin:
    with seen.open("a") as file:
        file.write(line)
    asked = json.loads(line)
    if "id" in asked and "method" in asked:
        send({"jsonrpc": "2.0", "id": asked["id"], **reply(asked["method"], asked.get("params") or {})})
if "stubborn" in sys.argv:
    time.sleep(3600)
