"""A ``codex`` whose app-server plays what a test has written down, well-behaved or not.

It stands in a folder with ``plays.json``: for each turn, over all processes, a list of steps::

    {"notify": METHOD, "params": {…}}   a notification
    {"ask": METHOD, "params": {…}}      a request, whose answer is waited for
    {"raw": TEXT}                       a line as it is
    {"exit": STATUS, "says": TEXT}      a line on standard error, then the end of the process
    {"hang": true}                      nothing more, whatever is asked

What the client sends is appended to ``seen.jsonl``; the variables that the program was started with are in
``environ.json``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
THREAD, TURN = "thread-1", "turn-1"


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def receive() -> dict[str, Any]:
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    message: dict[str, Any] = json.loads(line)
    with (FOLDER / "seen.jsonl").open("a") as seen:
        seen.write(json.dumps({"pid": os.getpid(), **message}) + "\n")
    return message


def next_play() -> list[dict[str, Any]]:
    counter = FOLDER / "played"
    number = int(counter.read_text()) if counter.exists() else 0
    counter.write_text(str(number + 1))
    plays: list[list[dict[str, Any]]] = json.loads((FOLDER / "plays.json").read_text())
    return plays[number] if number < len(plays) else []


def play(steps: list[dict[str, Any]]) -> None:
    about = {"threadId": THREAD, "turnId": TURN}
    for number, step in enumerate(steps):
        if "notify" in step:
            send({"method": step["notify"], "params": about | step.get("params", {})})
        elif "ask" in step:
            send({"id": 1000 + number, "method": step["ask"], "params": about | step.get("params", {})})
            while "method" in (answer := receive()):
                send({"id": answer["id"], "result": {}})
                if answer["method"] == "turn/interrupt":
                    end("interrupted")
                    return
        elif "raw" in step:
            sys.stdout.write(step["raw"] + "\n")
            sys.stdout.flush()
        elif "exit" in step:
            sys.stderr.write(step.get("says", "") + "\n")
            sys.stderr.flush()
            os._exit(step["exit"])
        elif "hang" in step:
            while True:
                receive()
    end("completed")


def end(status: str) -> None:
    send({"method": "turn/completed", "params": {"threadId": THREAD, "turn": {"id": TURN, "status": status}}})


def main() -> None:
    if "--version" in sys.argv:
        version = FOLDER / "version"
        sys.stdout.write(f"codex-cli {version.read_text() if version.exists() else '0.171.0'}\n")
        return
    (FOLDER / "environ.json").write_text(json.dumps(dict(os.environ)))
    window = {"usedPercent": 12, "windowDurationMins": 300, "resetsAt": None}
    model = {
        "model": "gpt-cli",
        "displayName": "GPT CLI",
        "supportedReasoningEfforts": [{"reasoningEffort": "low"}],
    }
    results = {
        "thread/start": {"thread": {"id": THREAD}},
        "turn/start": {"turn": {"id": TURN}},
        "account/read": {"account": {"type": "chatgpt", "email": "cli@example.org"}},
        "account/rateLimits/read": {"rateLimits": {"limitId": "codex", "primary": window}},
        "model/list": {"data": [model], "nextCursor": None},
    }
    while True:
        message = receive()
        if "id" in message and "method" in message:
            send({"id": message["id"], "result": results.get(message["method"], {})})
            if message["method"] == "turn/start":
                play(next_play())


if __name__ == "__main__":
    main()
