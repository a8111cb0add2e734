"""Fixtures of the auth tests: a desk is one session with a home, a service and a manager."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.auth.fakes import LoginFixture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A CODEX_HOME of the test's own."""
    path = tmp_path / "codex-home"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def make_desk(home: Path) -> Callable[..., LoginFixture]:
    """Open a desk with settings, environment and service of the test's choosing."""

    def make(**parts: Any) -> LoginFixture:
        return LoginFixture(home, **parts)

    return make
