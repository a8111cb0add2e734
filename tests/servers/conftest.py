"""The servers run once for all tests of this tier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import pytest

from tests.servers import running
from tests.servers.running import Server


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Server]]:
    """Start all servers, those that need another one beside each other."""
    home = tmp_path_factory.mktemp("servers")
    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        aimock = stack.enter_context(running.aimock(home / "aimock"))
        slow = pool.submit(stack.enter_context, running.litellm(home / "litellm", aimock))
        sparse = pool.submit(stack.enter_context, running.open_responses(home / "open-responses", aimock))
        rewritten = pool.submit(stack.enter_context, running.router(home / "router", aimock))
        translated = slow.result()
        yield {
            "aimock": aimock,
            "litellm, passed": replace(translated, model="passed"),
            "litellm, translated": translated,
            "router": rewritten.result(),
            "open responses": sparse.result(),
        }
