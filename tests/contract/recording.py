"""A Responses API of nobody's make: it notes what it is asked, and always gives the same answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import zstandard

MESSAGE = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hi."}],
}
EVENTS = (
    {"type": "response.created", "response": {"id": "resp_1"}},
    {"type": "response.output_item.done", "output_index": 0, "item": MESSAGE},
    {"type": "response.completed", "response": {"id": "resp_1", "status": "completed", "output": []}},
)
ANSWER = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in EVENTS).encode()

Note = Callable[[BaseHTTPRequestHandler, dict[str, Any]], dict[str, Any]]


class RecordingServer:
    """``seen`` has what ``note`` makes of each question: of its head, and of its body as JSON.

    ``notes_gets``: the paths of other requests are noted as well; none of them is answered.
    """

    def __init__(self, note: Note, *, notes_gets: bool) -> None:
        self.seen: list[dict[str, Any]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if notes_gets:
                    server.seen.append({"GET": self.path})
                self.reply(426 if self.headers["upgrade"] else 404, b"")

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["content-length"]))
                if self.headers["content-encoding"] == "zstd":
                    content = zstandard.ZstdDecompressor().decompressobj().decompress(content)
                server.seen.append(note(self, json.loads(content)))
                self.reply(200, ANSWER)

            def reply(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("content-type", "text/event-stream")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True

    @property
    def base_url(self) -> str:
        """The address for a provider of config.toml."""
        return f"http://127.0.0.1:{self.http.server_port}/v1"


@contextmanager
def recording(note: Note, *, notes_gets: bool = False) -> Iterator[RecordingServer]:
    """Listen until the block ends."""
    server = RecordingServer(note, notes_gets=notes_gets)
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        thread.join()
        server.http.server_close()
