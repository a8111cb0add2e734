"""A server made with the official SDK whose tools ask the user: a form, a page, a secret, without end."""

from __future__ import annotations

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from pydantic import BaseModel, Field

server = MCPServer("asking")


class Order(BaseModel):
    """What is ordered."""

    size: str = Field(description="How large?", json_schema_extra={"enum": ["small", "large"]})
    count: int = 2
    gift: bool = False


class Login(BaseModel):
    """What no server should ask for."""

    password: str


@server.tool()
async def order(ctx: Context) -> str:
    """Orders."""
    result = await ctx.elicit("What shall it be?", Order)
    return f"{result.action} {result.data.model_dump_json()}" if result.action == "accept" else result.action


@server.tool()
async def visit(ctx: Context) -> str:
    """Sends the user to a page."""
    result = await ctx.elicit_url("Sign the contract.", "https://example.org/sign", "e1")
    return result.action


@server.tool()
async def log_in(ctx: Context) -> str:
    """Wants a password."""
    return (await ctx.elicit("Your password?", Login)).action


@server.tool()
async def insist(ctx: Context) -> str:
    """Asks again and again."""
    return " ".join([(await ctx.elicit("And now?", Order)).action for _ in range(30)])


if __name__ == "__main__":
    server.run()
