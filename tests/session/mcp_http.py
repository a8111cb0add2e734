"""Serves an SDK server over streamable HTTP on the loopback interface, until its standard input ends."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from typing import Any
from urllib.parse import parse_qsl

import uvicorn


def signed_in(scope: Any, base: str) -> tuple[int, list[tuple[bytes, bytes]], Any] | None:
    """Answer what a sign-in by OAuth asks: everybody is let in, with the token that the server takes."""
    path: str = scope["path"]
    if path.startswith("/.well-known/oauth-protected-resource"):
        return 200, [], {"resource": f"{base}/mcp", "authorization_servers": [base]}
    if path.startswith("/.well-known/oauth-authorization-server"):
        places = {f"{name}_endpoint": f"{base}/{name}" for name in ("authorization", "token", "registration")}
        kinds = {"response_types_supported": ["code"], "code_challenge_methods_supported": ["S256"]}
        return 200, [], {"issuer": base, **places, **kinds}
    if path == "/registration":
        return 201, [], {"client_id": "client", "redirect_uris": []}
    if path == "/authorization":
        asked = dict(parse_qsl(scope["query_string"].decode()))
        target = f"{asked['redirect_uri']}?code=code&state={asked['state']}"
        return 302, [(b"location", target.encode())], None
    if path == "/token":
        return (
            200,
            [],
            {"access_token": "right", "token_type": "Bearer", "expires_in": 3600, "refresh_token": "r"},
        )
    return None


def serve(server: Any) -> None:
    """Print the port and serve; the heads of the requests go to the standard error output, one a line."""
    application = server.streamable_http_app()

    async def noted(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            heads = {name.decode(): value.decode() for name, value in scope["headers"]}
            sys.stderr.write(json.dumps({"method": scope["method"], **heads}) + "\n")
            if (reply := signed_in(scope, f"http://{heads['host']}")) is not None:
                status, more, content = reply
                await receive()
                more.append((b"content-type", b"application/json"))
                await send({"type": "http.response.start", "status": status, "headers": more})
                await send({"type": "http.response.body", "body": json.dumps(content).encode()})
                return
            if heads.get("authorization") != "Bearer right":
                where = (
                    f'Bearer resource_metadata="http://{heads["host"]}/.well-known/oauth-protected-resource"'
                )
                more = [(b"www-authenticate", where.encode())]
                await send({"type": "http.response.start", "status": 401, "headers": more})
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
