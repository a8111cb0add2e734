"""The outer edge of the views: a front end that remembers what it was sent, outputs that remember what they show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from codex_nb.rendering.sanitize import CONTINUED_LIST
from codex_nb.responses.events import Usage
from codex_nb.session.events import Answer, TurnFinished, TurnStarted

STARTED = TurnStarted("turn", "main", "gpt-5.2-codex", "medium", "ada@example.com", "plus", "chatgpt")


def finished(text: str = "", *, status: Any = "completed", error: str | None = None) -> TurnFinished:
    usage = Usage(1_200, 1_000, 40, 8, 1_240)
    return TurnFinished(Answer(text, status=status, usage=usage, model="gpt-5.2-codex"), error)


class FakeComm:
    """A widget whose front end is played by the test."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.sent: list[dict[str, Any]] = []
        self.closed = False
        self._callback: Callable[[dict[str, Any]], None] = lambda _: None

    @property
    def model_id(self) -> str:
        assert not self.closed, "a closed widget has no id"
        return f"model-{self._number}"

    def send(self, message: dict[str, Any]) -> None:
        assert not self.closed, "a closed widget cannot send"
        self.sent.append(message)

    def listen(self, callback: Callable[[dict[str, Any]], None]) -> None:
        self._callback = callback

    def close(self) -> None:
        self.closed = True

    def says(self, kind: str, **more: Any) -> None:
        """Send a message from the front end."""
        self._callback({"kind": kind, "view": "v1", **more})

    def ready(self, view: str = "v1", *, visible: bool = True) -> None:
        self._callback({"kind": "ready", "view": view, "visible": visible})

    def frames(self) -> list[list[dict[str, Any]]]:
        """Return the operations of each frame sent, the whole page included."""
        return [message["ops"] for message in self.sent if message["kind"] in {"full", "frame"}]


class FakeOutput:
    def __init__(self, data: Mapping[str, Any]) -> None:
        self.shown = [dict(data)]

    def update(self, data: Mapping[str, Any]) -> None:
        self.shown.append(dict(data))


class FakeNotebook:
    """The outputs of the running cell, and the widgets that are open."""

    def __init__(self) -> None:
        self.outputs: list[FakeOutput] = []
        self.comms: list[FakeComm] = []

    def show(self, data: Mapping[str, Any]) -> FakeOutput:
        self.outputs.append(FakeOutput(data))
        return self.outputs[-1]

    def open_comm(self, kind: object = None) -> FakeComm:
        del kind
        self.comms.append(FakeComm(len(self.comms)))
        return self.comms[-1]

    def print(self, text: str) -> None:
        """Let the model's code show an ordinary output."""
        self.outputs.append(FakeOutput({"text/plain": text}))

    def standing(self) -> list[dict[str, Any]]:
        """Return what each output shows now."""
        return [output.shown[-1] for output in self.outputs]


class FakePage:
    """What a page shows after a list of frames: the front end's own work, in a few lines."""

    def __init__(self) -> None:
        self.sections: dict[int, dict[str, Any]] = {}
        self.status = ""
        self.clock: tuple[float, bool] = (0.0, False)  # what it was set to, and whether it stands

    def draw(self, frames: list[list[dict[str, Any]]]) -> FakePage:
        for operation in (operation for frame in frames for operation in frame):
            self._draw(operation)
        return self

    def _draw(self, operation: dict[str, Any]) -> None:
        key = operation.get("key", 0)
        match operation["op"]:
            case "section":
                self.sections.setdefault(key, {"kind": operation["kind"], "closed": "", "open": ""})
                self.sections[key]["title"] = operation["title"]
            case "html":
                section = self.sections[key]
                closed = section["closed"] + operation.get("closed", "")
                section["closed"] = closed.replace(f'</ul>\n<ul class="{CONTINUED_LIST}">\n', "")
                section["open"] = operation.get("open", section["open"]) + operation.get("tail", "")
            case "state":
                self.sections[key]["phase"] = operation["phase"]
                self.sections[key]["folded"] = operation["folded"]
            case "ask":
                self.sections[key]["asks"] = operation["request"]
            case "asked":
                self.sections[key].pop("asks", None)
            case "output":
                self.sections[key]["output"] = operation["text"]
            case "reset":
                self.sections[key] |= {"closed": "", "open": ""}
            case "remove":
                del self.sections[key]
            case "status":
                self.status = operation["text"]
                self.clock = (operation["elapsed"], operation["paused"])

    def html(self, kind: str = "text") -> str:
        """Return the HTML of all sections of a kind, lists that go on joined."""
        html = "".join(s["closed"] + s["open"] for s in self.sections.values() if s["kind"] == kind)
        return html.replace(f'</ul>\n<ul class="{CONTINUED_LIST}">\n', "")
