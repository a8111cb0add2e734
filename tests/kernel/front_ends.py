"""The three kinds of front ends, as a kernel sees them: message by message.

Each runs a cell to its end and answers requests for approval: with the widget's messages, by typing, or not at all.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from codex_nb.host.shell import OUTPUT_MESSAGES, OutputCollector
from tests.kernel.kernel_client import RunningKernel

Answer = Mapping[str, Any]
"""What the widget's half sends for a decision; typing takes its ``typed``."""

APPROVE: Answer = {"decision": "approve", "typed": "y"}
POLL_S = 0.02


@dataclass
class Ran:
    """A cell that has ended: its reply's status, what it printed, what asked for approval, what was inserted."""

    status: str
    text: str
    asked: list[str] = field(default_factory=list)
    inserted: list[tuple[str, str]] = field(default_factory=list)


class AskingFrontEnd(Protocol):
    """A front end; ``on_ask`` is called with what an approval request shows and returns the answer."""

    def run(self, kernel: RunningKernel, code: str, on_ask: Callable[[str], Answer]) -> Ran:
        """Run a cell to its end."""
        ...


class Headless:
    """nbclient, papermill: nobody can answer."""

    def run(self, kernel: RunningKernel, code: str, on_ask: Callable[[str], Answer]) -> Ran:
        """Run a cell to its end; nothing can ask."""
        del on_ask
        cell = kernel.start(code)
        return Ran(kernel.finish(cell)["status"], kernel.text(cell))


class Console:
    """jupyter console: a user who can type."""

    cell_id: str | None = None

    def run(self, kernel: RunningKernel, code: str, on_ask: Callable[[str], Answer]) -> Ran:
        """Run a cell to its end; every ``input()`` is answered."""
        cell = kernel.start(code, cell_id=self.cell_id, allow_stdin=True)
        asked = []
        while not self._has_replied(kernel, cell):
            try:
                prompt = kernel.client.get_stdin_msg(timeout=POLL_S)["content"]["prompt"]
            except queue.Empty:
                continue
            asked.append(prompt)
            kernel.client.input(on_ask(prompt)["typed"])
        return Ran(kernel.finish(cell)["status"], kernel.text(cell), asked)

    def _has_replied(self, kernel: RunningKernel, cell: str) -> bool:
        try:
            message = kernel.client.get_shell_msg(timeout=POLL_S)
        except queue.Empty:
            return cell in kernel.replies
        kernel.replies[str(message["parent_header"]["msg_id"])] = message
        return cell in kernel.replies


class Colab(Console):
    """A front end with a document and a user who can type; the widget's front end never answers."""

    cell_id = "asking"


class Page:
    """JupyterLab, Notebook 7: the transcript's front-end half, with a document around it."""

    def __init__(self, document: Sequence[Mapping[str, Any]] = (), cell_id: str | None = "asking") -> None:
        self.document = list(document)
        self.cell_id = cell_id
        self._ran = Ran("", "")

    def run(self, kernel: RunningKernel, code: str, on_ask: Callable[[str], Answer]) -> Ran:
        """Run a cell to its end; widgets are drawn, buttons clicked, the document's questions answered."""
        cell = kernel.start(code, cell_id=self.cell_id, allow_stdin=True)
        self._ran = Ran("", "")

        def take(message: Mapping[str, Any]) -> bool:
            self._take(kernel, message, on_ask)
            is_idle = message["content"].get("execution_state") == "idle"
            return is_idle and message["parent_header"].get("msg_id") == cell

        kernel.published.clear()
        kernel.read_until(take)
        self._ran.status = kernel.reply(cell)["status"]
        self._ran.text = kernel.text(cell)
        return self._ran

    def _take(
        self, kernel: RunningKernel, message: Mapping[str, Any], on_ask: Callable[[str], Answer]
    ) -> None:
        content = message["content"]
        if message["msg_type"] == "comm_open" and "_esm" in content["data"].get("state", {}):
            self._say(kernel, content["comm_id"], {"kind": "ready", "view": "view", "visible": True})
        if message["msg_type"] == "comm_msg" and content["data"].get("method") == "custom":
            self._hear(kernel, content["comm_id"], content["data"]["content"], on_ask)

    def _hear(
        self, kernel: RunningKernel, comm: str, told: Mapping[str, Any], on_ask: Callable[[str], Answer]
    ) -> None:
        for operation in told.get("ops", ()):
            if operation["op"] == "ask":
                request = operation["request"]
                self._ran.asked.append(request["code"])
                click = {
                    "kind": "action",
                    "name": "decide",
                    "view": "view",
                    "call_number": request["call_number"],
                }
                self._say(kernel, comm, click | dict(on_ask(request["code"])))
        match told["kind"]:
            case "request":
                self._say(kernel, comm, {"kind": "reply", "id": told["id"], "value": self._answer(told)})
            case "ended":
                self._say(kernel, comm, {"kind": "replaced"})

    def _answer(self, told: Mapping[str, Any]) -> dict[str, Any]:
        if told["operation"] == "read_document":
            return {"notebook": {"nbformat": 4, "cells": self.document}, "path": "notebook.ipynb"}
        if told["operation"] == "find_page":
            return {"page": told["page"] or "page"}
        cells, before = told["payload"]["cells"], len(self._ran.inserted)
        self._ran.inserted += [(each["kind"], each["source"]) for each in cells]
        return {"ids": [f"inserted-{before + number}" for number in range(len(cells))]}

    def _say(self, kernel: RunningKernel, comm: str, said: Mapping[str, Any]) -> None:
        data = {"method": "custom", "content": dict(said)}
        kernel.request("comm_msg", {"comm_id": comm, "data": data})


def left_of(kernel: RunningKernel) -> list[str]:
    """Return what each output of the cell that ran last contains when the notebook is saved, as plain text."""
    fold = OutputCollector()
    cell = kernel.published[-1]["parent_header"]["msg_id"]
    for message in kernel.published:
        of_cell = message["parent_header"].get("msg_id") == cell
        if of_cell and message["msg_type"] in OUTPUT_MESSAGES:
            fold.add(message["msg_type"], message["content"])
    saved = fold.outputs()
    assert "widget-view" not in str(saved)
    return [each["data"]["text/plain"] if "data" in each else str(each.get("text")) for each in saved]
