"""Serves an SDK server over streamable HTTP on the loopback interface, until its standard input ends."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from typing import Any

import uvicorn


def serve(server: Any) -> None:
    """Print the port and serve; the heads of the requests go to the standard error output, one a line."""
    application = server.streamable_http_app()

    async def noted(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            heads = {name.decode(): value.decode() for name, value in scope["headers"]}
            sys.stderr.write(json.dumps({"method": scope["method"], **heads}) + "\n")
            if heads.get("authorization") != "Bearer right":
                await send({"type": "http.response.start", "status": 401, "headers": []})
                await send({"type": "http.response.body", "body": b""})
                return
        await application(scope, receive, send)

    listening = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(noted, log_level="error")
    running = uvicorn.Server(config)

    async def run() -> None:
        ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        ended.add_done_callback(lambda _: setattr(running, "should_exit", True))
        await running.serve(sockets=[listening])

    asyncio.run(run())
