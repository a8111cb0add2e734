"""The programs of MCP servers end with the kernel, however it ends."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil
import pytest
from jupyter_client.manager import KernelManager

from tests.patience import PATIENCE_S
from tests.session.test_mcp import GRACE, hostile

ASK = "%load_ext codex_nb\n%codex hello"


def programs(folder: Path) -> list[psutil.Process]:
    """Return the servers of this test: they name its folder."""
    running = psutil.process_iter(["cmdline"])
    return [each for each in running if any(str(folder) in word for word in each.info["cmdline"] or ())]


def all_have_ended(folder: Path) -> bool:
    """Whether they end within the time that a busy machine needs."""
    deadline = time.monotonic() + PATIENCE_S
    while programs(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not programs(folder)


@pytest.mark.parametrize("how", ["shutdown", "restart", "kill", "unload"])
def test_no_program_outlives_the_kernel(environ: dict[str, str], tmp_path: Path, how: str) -> None:
    config = Path(environ["CODEX_HOME"]) / "config.toml"
    tables = hostile("one", f"of={tmp_path}") + hostile("two", f"of={tmp_path}", "stubborn")
    config.write_text(f"{GRACE}{config.read_text()}\n{tables}")
    manager = KernelManager(kernel_name="python3")
    manager.kernel_spec.argv[0] = sys.executable
    manager.start_kernel(env=environ)
    client = manager.blocking_client()
    try:
        client.start_channels()
        client.wait_for_ready(PATIENCE_S)
        assert (
            client.execute_interactive(ASK, timeout=PATIENCE_S, output_hook=lambda _: None)["content"][
                "status"
            ]
            == "ok"
        )
        assert len(programs(tmp_path)) == 2
        match how:
            case "shutdown":
                manager.shutdown_kernel()
            case "restart":
                manager.restart_kernel()
            case "kill":
                manager.signal_kernel(9)
            case "unload":
                client.execute_interactive("%unload_ext codex_nb", timeout=PATIENCE_S)
        assert all_have_ended(tmp_path)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
