"""The shortest way to ask the simulator a question, as a signed-in client does."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import httpx

from codex_nb.simulator import CLASSIC, Simulator


@dataclass
class Asker:
    """Asks the simulator as a signed-in client does."""

    sim: Simulator
    client: httpx.Client
    headers: dict[str, str] = field(default_factory=dict)
    base_url: str = ""  # the ChatGPT backend's unless given

    def body(self, *items: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {
            "model": CLASSIC,
            "stream": True,
            "store": False,
            "include": ["reasoning.encrypted_content"],
            "input": list(items),
            **more,
        }

    def post(self, *items: dict[str, Any], **more: Any) -> httpx.Response:
        url = f"{self.base_url or self.sim.openai_base_url}/responses"
        return self.client.post(url, headers=self.headers, json=self.body(*items, **more))

    def events(self, *items: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
        return events_of(self.post(*items, **more).text)

    def final(self, *items: dict[str, Any], **more: Any) -> dict[str, Any]:
        response: dict[str, Any] = self.events(*items, **more)[-1]["response"]
        return response


def events_of(text: str) -> list[dict[str, Any]]:
    """The data of every whole event in a stream."""
    return [
        json.loads(line.removeprefix("data: "))
        for block in text.split("\n\n")
        for line in block.splitlines()
        if line.startswith("data: ")
    ]


def user(*texts: str) -> dict[str, Any]:
    """A user's message."""
    content = [{"type": "input_text", "text": text} for text in texts]
    return {"type": "message", "role": "user", "content": content}


def text_of(response: dict[str, Any]) -> str:
    """The visible text of a finished response."""
    return "".join(
        part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"]
    )
