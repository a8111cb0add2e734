"""An engine and a mailbox for each test, ended with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from codex_nb.host.engine import Engine
from codex_nb.host.mailbox import Mailbox


@pytest.fixture
def engine() -> Iterator[Engine]:
    running = Engine("test engine")
    yield running
    running.close()


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as box:
        yield box
