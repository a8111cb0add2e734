"""A real kernel in another process, controlled message by message."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from jupyter_client import BlockingKernelClient, KernelManager
from jupyter_client.kernelspec import KernelSpec

from tests.kernel.provision import ROOT, KernelVersion
from tests.patience import PATIENCE_S

TIMEOUT_S = PATIENCE_S
OUTPUTS = {"stream", "display_data", "execute_result", "error", "update_display_data"}


@dataclass
class RunningKernel:
    """The received messages by request, in order."""

    client: BlockingKernelClient
    manager: KernelManager
    version: str
    published: list[dict[str, Any]] = field(default_factory=list)
    replies: dict[str, dict[str, Any]] = field(default_factory=dict)

    def start(
        self,
        code: str,
        *,
        allow_stdin: bool = False,
        cell_id: str | None = None,
        deleted: tuple[str, ...] = (),
        tags: tuple[str, ...] = (),
    ) -> str:
        """Send a cell and return its message id at once; JupyterLab sends the cell's metadata along."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": allow_stdin,
            "stop_on_error": True,
        }
        metadata: dict[str, Any] = {}
        if cell_id is not None:
            metadata = {"cellId": cell_id, "deletedCells": list(deleted), "tags": list(tags)}
        return self.request("execute_request", content, metadata=metadata)

    def request(
        self,
        kind: str,
        content: Mapping[str, Any],
        *,
        metadata: Mapping[str, Any] | None = None,
        buffers: Sequence[bytes] = (),
    ) -> str:
        """Send any message on the shell channel."""
        message = self.client.session.msg(kind, dict(content), metadata=dict(metadata or {}))
        message["buffers"] = list(buffers)
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def run(self, code: str, **options: Any) -> dict[str, Any]:
        """Run a cell to its end; return its reply's content."""
        return self.finish(self.start(code, **options))

    def finish(self, request: str) -> dict[str, Any]:
        """Wait for a request's reply and for its last output; return the reply's content."""
        content = self.reply(request)
        self.read_until(lambda message: _is_idle(message) and _parent(message) == request)
        return content

    def reply(self, request: str) -> dict[str, Any]:
        """Wait for a request's reply."""
        while request not in self.replies:
            message = self.client.get_shell_msg(timeout=TIMEOUT_S)
            self.replies[_parent(message)] = message
        content: dict[str, Any] = self.replies[request]["content"]
        return content

    def read_until(self, is_it: Any) -> dict[str, Any]:
        """Read what the kernel publishes up to a certain message, unless it has been read already."""
        for message in self.published:
            if is_it(message):
                return message
        while True:
            message = self.client.get_iopub_msg(timeout=TIMEOUT_S)
            self.published.append(message)
            if is_it(message):
                return message

    def read_text(self, text: str) -> dict[str, Any]:
        """Read until ``text`` was printed."""
        return self.read_until(lambda message: text in str(message["content"].get("text", "")))

    def outputs(self, request: str) -> list[tuple[str, Any]]:
        """Return what a finished cell showed: (message type, its text, data or error name)."""
        return [
            (message["msg_type"], _gist(message["content"]))
            for message in self.published
            if _parent(message) == request and message["msg_type"] in OUTPUTS
        ]

    def text(self, request: str) -> str:
        """Return what a finished cell printed."""
        return "".join(gist for kind, gist in self.outputs(request) if kind == "stream")

    def value(self, expression: str) -> Any:
        """Return the value of an expression of plain data in the kernel."""
        reply = self.run(f"print(repr({expression}))")
        assert reply["status"] == "ok", reply
        last = self.published[-1]
        printed = [text for kind, text in self.outputs(_parent(last)) if kind == "stream"]
        return eval("".join(printed), {})  # noqa: S307 - the kernel is our own child and says what we asked it

    def open_button(self) -> None:
        """Open the comm that :mod:`tests.kernel.inside` listens on, as a widget's front-end half does."""
        self.request("comm_open", {"comm_id": "button", "target_name": "button", "data": {}})

    def click(self, **data: Any) -> str:
        """Send a click."""
        return self.request("comm_msg", {"comm_id": "button", "data": data})


@contextlib.contextmanager
def running(
    version: KernelVersion, environ: Mapping[str, str], *options: str, output: IO[bytes] | None = None
) -> Iterator[RunningKernel]:
    """Start a kernel of a version in the checkout's folder, and end it; ``output`` takes what it writes itself."""
    manager = KernelManager()
    manager._kernel_spec = KernelSpec(
        argv=[str(version.python), "-m", "ipykernel_launcher", "-f", "{connection_file}", *options],
        language="python",
        display_name=version.name,
    )
    manager.start_kernel(cwd=str(ROOT), env=dict(environ), stdout=output, stderr=output)
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=TIMEOUT_S)
        yield RunningKernel(client, manager, version.name)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def _parent(message: Mapping[str, Any]) -> str:
    return str(message["parent_header"].get("msg_id", ""))


def _is_idle(message: Mapping[str, Any]) -> bool:
    return message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"


def _gist(content: Mapping[str, Any]) -> Any:
    return content.get("text") or content.get("data") or content.get("ename")
