"""A kernel's front end in this process: it draws widgets, clicks, and keeps what each output shows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import comm
from comm.base_comm import BaseComm
from IPython.core.displaypub import DisplayPublisher

from codex_nb.simulator import Simulator
from tests.magics.conftest import Notebook

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


class Kernel:
    """What the shell's kernel tells of the request that runs; its messages go nowhere."""

    def __init__(self) -> None:
        self.session = self
        self.pid = os.getpid()

    def get_parent(self, _channel: str = "shell") -> dict[str, Any]:
        header = {"msg_id": "request"}
        return {"header": header, "metadata": {"cellId": "asking"}, "content": {"allow_stdin": False}}

    def send(self, *_args: Any, **_more: Any) -> None:
        pass


class FrontEnd:
    """Answers at once: views are drawn when they are displayed, calls approved, device codes entered.

    ``clicks`` are called with each message that a widget sends, on its thread, before it is answered.
    """

    def __init__(self, sim: Simulator) -> None:
        self.outputs: dict[str, dict[str, Any]] = {}
        self.open: dict[str, BaseComm] = {}
        self.cells: list[dict[str, Any]] = []  # of the open notebook, as read_document finds them
        self.inserted: list[tuple[str | None, list[dict[str, Any]]]] = []  # the cell above, and the cells
        self.kept: list[dict[str, Any]] = []  # the cells that the last answer offers to insert
        self.edits: dict[str, str] = {}  # what is approved in place of the code that is asked about
        self.on_message: Callable[[Mapping[str, Any]], None] = lambda _message: None
        self._sim = sim

    def forget(self) -> None:
        """Forget the outputs of the cells so far."""
        self.outputs.clear()

    def publish(self, data: Mapping[str, Any], transient: Mapping[str, Any]) -> None:
        """Show, or update, an output."""
        key = transient.get("display_id") or f"output {len(self.outputs)}"
        self.outputs[key] = dict(data)
        view = data.get(WIDGET_VIEW)
        if view and view["model_id"] in self.open:
            self.say(view["model_id"], {"kind": "ready", "view": "view", "visible": True})

    def say(self, comm_id: str, content: Mapping[str, Any]) -> None:
        """Send a widget's message to the kernel."""
        if (widget := self.open.get(comm_id)) is not None:
            widget.handle_msg(
                {"content": {"data": {"method": "custom", "content": dict(content)}}, "buffers": []}
            )

    def hear(self, comm_id: str, content: Mapping[str, Any]) -> None:
        """Answer a widget's message."""
        self.on_message(content)
        for operation in content.get("ops", ()):
            if operation["op"] == "ask":
                number = operation["request"]["call_number"]
                click = {"kind": "action", "name": "decide", "view": "view", "decision": "approve"}
                code = operation["request"]["code"]
                self.say(comm_id, click | {"call_number": number, "code": self.edits.get(code)})
        code = str(content.get("step", {}).get("code", ""))
        if code in self._sim.waiting_device_codes():
            self._sim.approve_device_code(code)
        match content["kind"]:
            case "request":
                self.say(comm_id, {"kind": "reply", "id": content["id"], **self._reply(content)})
            case "ended":
                self.kept = list(content.get("kept", ()))
                self.say(comm_id, {"kind": "replaced"})
                if content["stays_open"]:  # for buttons that work after the cell
                    self.open.pop(comm_id)

    def _reply(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if request["operation"] == "read_document":
            return {"value": {"notebook": {"nbformat": 4, "cells": self.cells}, "path": "notebook.ipynb"}}
        if request["operation"] == "find_page":
            return {"value": {"page": "page"}}
        if request["operation"] == "edit_cell":
            change = request["payload"]
            (edited,) = (cell for cell in self.cells if cell["id"] == change["id"])
            if edited["source"] != change["before"]:
                return {"error": "the cell has been changed"}
            edited["source"] = change["after"]
            return {"value": {"shown": []}}
        cells, after = request["payload"]["cells"], request["payload"]["after"]
        if after not in {"asking", *(cell["id"] for cell in self.cells)}:
            return {"error": "cell not found"}
        self.inserted.append((after, cells))
        return {"value": {"ids": [f"inserted-{number}" for number in range(len(cells))]}}

    def texts(self) -> list[str]:
        """Return what each output shows now, as plain text."""
        return [str(output.get("text/plain", "")) for output in self.outputs.values()]

    def dead(self) -> list[str]:
        """Return what would never change any more though it looks alive: open widgets and their views."""
        views = [str(output) for output in self.outputs.values() if WIDGET_VIEW in output]
        return [*views, *(f"widget {each}" for each in self.open)]


class _Publisher(DisplayPublisher):
    front_end: FrontEnd

    def publish(
        self, data: Any, metadata: Any = None, *, transient: Any = None, update: bool = False, **more: Any
    ) -> None:
        del metadata, update, more
        self.front_end.publish(data, transient or {})


@contextmanager
def front_end(notebook: Notebook, sim: Simulator) -> Iterator[FrontEnd]:
    """Put a front end before a shell; the extension is loaded anew."""
    page = FrontEnd(sim)
    shell, create = notebook.shell, comm.create_comm

    class Comm(BaseComm):
        def publish_msg(self, msg_type: str, data: Any = None, *_: Any, **more: Any) -> None:
            if msg_type == "comm_open" and "_esm" in str((data or {}).get("state", {}).keys()):
                page.open[self.comm_id] = self
            if msg_type == "comm_close":
                page.open.pop(self.comm_id, None)
            if msg_type == "comm_msg" and data["method"] == "custom":
                page.hear(self.comm_id, data["content"])

    comm.create_comm = Comm
    shell.run_line_magic("unload_ext", "codex_nb")
    shell.kernel = Kernel()
    shell.run_line_magic("load_ext", "codex_nb")
    shell.display_pub = publisher = _Publisher(parent=shell)
    publisher.front_end = page
    try:
        yield page
    finally:
        comm.create_comm = create
