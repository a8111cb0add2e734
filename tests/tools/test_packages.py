from __future__ import annotations

from importlib.metadata import version

import pytest

from codex_nb.tools.base import Ports, ToolResult, builtin_tools
from tests.session.scripted import ProcessKernel, SameThread, call_tool

pytestmark = pytest.mark.anyio


async def test_the_versions_of_packages_are_told() -> None:
    tool = builtin_tools().find("list_packages")
    ports = Ports(SameThread(), kernel=ProcessKernel())
    assert await call_tool(tool, {"names": ["httpx", "no-such-package", ""]}, ports) == ToolResult(
        f"httpx: {version('httpx')}\nno-such-package: not installed\n: not installed"
    )
