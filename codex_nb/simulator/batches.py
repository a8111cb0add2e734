"""The Batch API: ``/v1/files`` and ``/v1/batches``; a batch is worked off as soon as it is asked about.

A scenario's replies for ``/v1/responses`` answer lines of a batch, too. ``State.batches`` says how long a batch takes
and how many lines it answers before it expires.
"""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPFile, HTTPInputError, parse_body_arguments
from tornado.web import stream_request_body

from codex_nb.simulator import error_replies
from codex_nb.simulator.answerer import answer
from codex_nb.simulator.handlers import ApiHandler
from codex_nb.simulator.responses import ResponseWriter, estimated_usage
from codex_nb.simulator.scenario import Call, CustomCall, End, Say, Think

if TYPE_CHECKING:
    from codex_nb.simulator.scenario import Reply
    from codex_nb.simulator.state import State

MOST_LINES = 50_000
MOST_BYTES = 200 * 1024 * 1024
_ROOM_FOR_FIELDS = 1024 * 1024
_OPEN = {"validating", "in_progress", "finalizing"}
_OUTPUT = Think | Say | Call | CustomCall


def _line_reply(body: dict[str, Any], state: State) -> tuple[int, dict[str, Any]]:
    """The status and body of one line's response."""
    reply = state.replies.take("POST", "/v1/responses", lambda: True)
    if reply is not None and reply.status != 200:  # noqa: PLR2004  a scenario's error
        return reply.status, reply.body if isinstance(reply.body, dict) else {}
    if body.get("stream"):
        return 400, error_replies.error_body("Streaming is not supported in the Batch API.", None)
    if not state.catalog.accepts(body.get("model")):
        failed = error_replies.unsupported_model(body.get("model"), is_chatgpt=False)
        return failed.status, failed.body if isinstance(failed.body, dict) else {}
    writer = ResponseWriter(body, state.clock())
    steps = answer(body, 0.0) if reply is None or reply.stream is None else reply.stream
    ending = End()
    for step in steps:
        if isinstance(step, End):
            ending = step
        elif isinstance(step, _OUTPUT):
            list(writer.output_item(step))
    usage = estimated_usage(body, writer.output, 0)
    return 200, dict(writer.end(ending, usage)["response"])


def _work_off(batch: dict[str, Any], state: State) -> None:
    """Answer the lines of a batch, into its output and error files."""
    store = state.batches
    answered: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    lines = store.files[batch["input_file_id"]].splitlines()
    room = len(lines) if store.answers is None else store.answers
    for number, line in enumerate(map(json.loads, lines)):
        done: dict[str, Any] = {"id": f"batch_req_{number}", "custom_id": line["custom_id"], "error": None}
        if number >= room:
            message = "This request could not be executed before the completion window expired."
            failed.append({**done, "response": None, "error": {"code": "batch_expired", "message": message}})
            continue
        status, body = _line_reply(line["body"], state)
        response = {"status_code": status, "request_id": f"req_sim_{secrets.token_hex(6)}", "body": body}
        (answered if status < 400 else failed).append({**done, "response": response})  # noqa: PLR2004  HTTP errors
    answered.reverse()  # the order of the output is not that of the input
    for name, entries in (("output_file_id", answered), ("error_file_id", failed)):
        if entries:
            batch[name] = store.add_file("".join(json.dumps(entry) + "\n" for entry in entries).encode())
    batch["status"] = "completed" if room >= len(lines) else "expired"
    batch["request_counts"] = {"total": len(lines), "completed": len(answered), "failed": len(failed)}


@stream_request_body
class FilesHandler(ApiHandler):
    """``POST /v1/files``: the one endpoint that takes large bodies."""

    async def prepare(self) -> None:
        """Take the body in pieces, up to the size of a file; the rest is done when it is there."""
        connection = self.request.connection
        if isinstance(connection, HTTP1Connection):
            connection.set_max_body_size(MOST_BYTES + _ROOM_FOR_FIELDS)
        self._body = bytearray()

    def data_received(self, chunk: bytes) -> None:
        """Take a piece of the body."""
        self._body += chunk

    async def post(self) -> None:
        """Keep the uploaded file."""
        await super().prepare()
        if self._finished:
            return
        fields: dict[str, list[bytes]] = {}
        files: dict[str, list[HTTPFile]] = {}
        kind = self.request.headers.get("content-type", "")
        with suppress(HTTPInputError):
            if kind.startswith("multipart/form-data"):
                parse_body_arguments(kind, bytes(self._body), fields, files)
        if fields.get("purpose") != [b"batch"] or len(files.get("file", ())) != 1:
            self.write_json(error_replies.error_body("'purpose' and 'file' are required.", None), 400)
            return
        content = files["file"][0]["body"]
        name = self.state.batches.add_file(content)
        self.write_json({"id": name, "object": "file", "bytes": len(content), "purpose": "batch"})


class FileContentHandler(ApiHandler):
    """``GET /v1/files/{id}/content``."""

    def get(self, name: str) -> None:
        """Return the file."""
        content = self.state.batches.files.get(name)
        if content is None:
            self.write_json(error_replies.error_body(f"No such File object: {name}", None), 404)
            return
        self.set_header("content-type", "application/octet-stream")
        self.finish(content)


class BatchesHandler(ApiHandler):
    """``POST /v1/batches``."""

    async def post(self) -> None:
        """Begin a batch, or refuse it."""
        body, store = self.json_body, self.state.batches
        content = store.files.get(str(body.get("input_file_id")))
        refusal = _refusal(body, content)
        if refusal is not None:
            await self.send_reply(refusal)
            return
        name, now = "batch_sim" + secrets.token_hex(8), int(self.state.clock())
        store.batches[name] = {
            "id": name,
            "object": "batch",
            "endpoint": body["endpoint"],
            "input_file_id": body["input_file_id"],
            "completion_window": body["completion_window"],
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "errors": None,
            "created_at": now,
            "expires_at": now + 24 * 3600,
            "metadata": body.get("metadata"),
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
        }
        self.write_json(store.batches[name])


def _refusal(body: dict[str, Any], content: bytes | None) -> Reply | None:
    if body.get("endpoint") != "/v1/responses" or body.get("completion_window") != "24h":
        return error_replies.bad_request("Invalid 'endpoint' or 'completion_window'.")
    if content is None:
        return error_replies.bad_request(f"Invalid 'input_file_id': {body.get('input_file_id')}.")
    if len(content) > MOST_BYTES or content.count(b"\n") > MOST_LINES:
        return error_replies.bad_request("The batch is too large.")
    return None


class BatchHandler(ApiHandler):
    """``GET /v1/batches/{id}`` and ``POST /v1/batches/{id}/cancel``."""

    def get(self, name: str) -> None:
        """Return the batch; it is done once it has been asked about often enough."""
        batch = self._find(name)
        if batch is None:
            return
        store = self.state.batches
        store.asked[name] = store.asked.get(name, 0) + 1
        if batch["status"] in _OPEN:
            if store.asked[name] > store.polls:
                _work_off(batch, self.state)
            else:
                batch["status"] = "in_progress"
        elif batch["status"] == "cancelling":
            batch["status"] = "cancelled"
        self.write_json(batch)

    def post(self, name: str) -> None:
        """Cancel the batch."""
        batch = self._find(name)
        if batch is None:
            return
        if batch["status"] in _OPEN:
            batch["status"] = "cancelling"
        self.write_json(batch)

    def _find(self, name: str) -> dict[str, Any] | None:
        batch = self.state.batches.batches.get(name)
        if batch is None:
            self.write_json(error_replies.error_body(f"No batch found with id '{name}'.", None), 404)
        return batch
