"""Configuration of all tests: tiers, an isolated environment, the async backend."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import tiers
from tests.patience import LONGEST_TEST_S

settings.register_profile("calm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("calm"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "calm")

REMOVED_PREFIXES = ("CODEX_", "OPENAI_", "CHATGPT_")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
INHERITED = dict(os.environ)
"""The developer's own environment, for the tests that use a real account."""

missing = functools.cache(lambda name: tiers.TIERS[name].missing())
unavailable: dict[str, str] = {}


def _isolate_from_developer(home: Path) -> None:
    """Remove the developer's logins, keys, proxies and IPython profile from the environment."""
    for name in list(os.environ):
        ours = name.startswith("CODEX_NB_")
        if name.upper() in PROXIES or (name.startswith(REMOVED_PREFIXES) and not ours):
            del os.environ[name]
    os.environ["CODEX_HOME"] = str(home / "no-codex-home")
    os.environ["IPYTHONDIR"] = str(home / "ipython")
    os.environ["JUPYTER_CONFIG_DIR"] = str(home / "jupyter-config")
    os.environ["JUPYTER_DATA_DIR"] = str(home / "jupyter-data")
    os.environ["JUPYTER_RUNTIME_DIR"] = str(home / "jupyter-runtime")
    os.environ["JUPYTER_PLATFORM_DIRS"] = "1"


def pytest_configure(config: pytest.Config) -> None:
    for tier in tiers.TIERS.values():
        config.addinivalue_line("markers", f"{tier.name}: a test of the {tier.name} tier")
    config.addinivalue_line("markers", "long: a test of a file that takes long")
    home = Path(tempfile.mkdtemp(prefix="codex-nb-tests-"))
    _isolate_from_developer(home)
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    demanded = tiers.demanded(os.environ)
    for item in items:
        tier = tiers.tier_of(item.path)
        item.add_marker(getattr(pytest.mark, tier.name))
        if tiers.is_long(item.path):
            item.add_marker(pytest.mark.long)
        if tier.name not in {"unit", "shell"} and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LONGEST_TEST_S))
        reason = missing(tier.name)
        if reason is None:
            continue
        unavailable[tier.name] = reason
        if tier.name not in demanded:
            item.add_marker(pytest.mark.skip(reason=f"{tier.name} tier: {reason}"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    tier = tiers.tier_of(item.path)
    reason = missing(tier.name)
    if reason is not None:
        pytest.fail(f"the {tier.name} tier is required here, but {reason}", pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, reason in sorted(unavailable.items()):
        terminalreporter.write_line(f"tier {name} did not run: {reason}")


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio, as in a kernel."""
    return "asyncio"


@pytest.fixture
def codex_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty CODEX_HOME, set in the environment."""
    home = tmp_path / "codex-home"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("CODEX_HOME", str(home))
    return home
