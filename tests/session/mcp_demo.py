"""A server made with the official SDK: three tools, one of each annotation; ``--http`` prints its port."""

from __future__ import annotations

import os
import sys

from mcp.server import MCPServer
from mcp_types import ToolAnnotations

server = MCPServer("demo")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def echo(text: str) -> str:
    """Says it again."""
    return text


@server.tool(annotations=ToolAnnotations(destructive_hint=True))
def variables() -> list[str]:
    """Names the variables of the program."""
    return sorted(os.environ)


if __name__ == "__main__":
    if sys.argv[1:] == ["--http"]:
        from tests.session.mcp_http import serve

        serve(server)
    else:
        server.run()
