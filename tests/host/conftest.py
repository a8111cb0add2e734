"""An engine and a mailbox for each test, ended with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from IPython.core.interactiveshell import InteractiveShell

from codex_nb.host.engine import Engine, Mailbox
from tests.host.shells import interactive_shell


@pytest.fixture
def engine() -> Iterator[Engine]:
    running = Engine("test engine")
    yield running
    running.close()


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as box:
        yield box


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    with interactive_shell() as running:
        yield running
