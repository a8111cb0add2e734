"""The tiers of tests: the tool that each folder needs, and whether it is available.

A tier is a folder of ``tests``; all other tests are the unit tier and need only Python. A tier whose tool is not
available is skipped, with the reason; its tests fail instead in CI, or if ``CODEX_NB_DEMAND_TIERS`` names it (``all``,
or names separated by commas).
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TESTS = Path(__file__).parent
ROOT = TESTS.parent
TIERS_FOLDER = ROOT / ".tiers"
ARTIFACTS = ROOT / ".artifacts"
REPORT = TIERS_FOLDER / "report.json"


@dataclass(frozen=True)
class Tier:
    """A tier; ``missing`` returns what it lacks on this machine, or None."""

    name: str
    missing: Callable[[], str | None]


def chromium() -> str | None:
    """Return the Chromium that drives the browser tests."""
    named = os.environ.get("CODEX_NB_CHROMIUM")
    return (
        named or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    )


def codex_cli() -> Path | None:
    """Return the real Codex CLI that the contract tests check against."""
    named = os.environ.get("CODEX_NB_CODEX")
    path = Path(named) if named else TIERS_FOLDER / "codex" / "node_modules" / ".bin" / "codex"
    return path if path.exists() else None


def is_thorough() -> bool:
    """Whether the longest tests run in full (in CI) or in a short form."""
    return os.environ.get("CI") == "true"


def provisioning_failure(tier: str) -> str | None:
    """Return why ``python -m tests.provision`` could not set up a tier, or None."""
    if not REPORT.exists():
        return f"not set up yet: python -m tests.provision {tier}"
    outcome = json.loads(REPORT.read_text()).get(tier)
    if outcome is None:
        return f"not set up yet: python -m tests.provision {tier}"
    return None if outcome["ready"] else str(outcome["reason"])


def _nothing() -> str | None:
    return None


def _needs_kernels() -> str | None:
    from tests.kernel import provision

    wanted = (*provision.VERSIONS, provision.QT_CONSOLE)
    absent = [version.name for version in wanted if not provision.is_ready(version)]
    if not absent:
        return None
    return f"no environment for {', '.join(absent)}: {provisioning_failure('kernel')}"


def _needs_browser() -> str | None:
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed"
    if chromium() is None:
        return "no Chromium on PATH (set CODEX_NB_CHROMIUM, or install Debian's chromium)"
    return None


def _needs_codex_cli() -> str | None:
    if codex_cli() is None:
        return provisioning_failure("contract") or "the installed Codex CLI was removed"
    return None


def _needs_servers() -> str | None:
    return provisioning_failure("servers")


def _needs_pythons() -> str | None:
    from tests.pythons import provision

    absent = [v.name for v in provision.VERSIONS if v.from_debian and not provision.is_ready(v)]
    if not absent:
        return None
    return f"no Python {', '.join(absent)}: {provisioning_failure('pythons')}"


TIERS: Mapping[str, Tier] = {
    tier.name: tier
    for tier in (
        Tier("unit", _nothing),
        Tier("shell", _nothing),
        Tier("kernel", _needs_kernels),
        Tier("browser", _needs_browser),
        Tier("contract", _needs_codex_cli),
        Tier("servers", _needs_servers),
        Tier("pythons", _needs_pythons),
    )
}


# Trials and properties that take long: ``make test-fast`` and the runs on other Pythons leave them to the whole suite.
LONG = frozenset(
    {
        "architecture/test_public_api.py",
        "architecture/test_wheel.py",
        "auth/test_crash.py",
        "auth/test_leaks.py",
        "auth/test_odd_replies.py",
        "auth/test_storm.py",
        "cli/test_command_line.py",
        "magics/test_executors.py",
        "magics/test_hidden_names.py",
        "magics/test_hostile_namespace.py",
        "magics/test_interrupts.py",
        "magics/test_journal.py",
        "magics/test_leak_scan.py",
        "magics/test_long_texts.py",
        "magics/test_map.py",
        "magics/test_replaced_streams.py",
        "magics/test_run_all.py",
        "magics/test_terminal_text.py",
        "notebooks/test_tour.py",
        "rendering/test_tex.py",
        "rendering/test_visible.py",
        "responses/test_faults.py",
        "responses/test_hostile_servers.py",
        "responses/test_linear_time.py",
        "responses/test_odd_events.py",
        "responses/test_properties.py",
        "session/test_approval_orders.py",
        "session/test_known_values.py",
        "session/test_linear_redaction.py",
        "session/test_spellings.py",
        "tools/test_file_access.py",
    }
)


def is_long(path: Path) -> bool:
    """Whether a test file is one of those that take long."""
    return path.resolve().is_relative_to(TESTS) and path.resolve().relative_to(TESTS).as_posix() in LONG


def tier_of(path: Path) -> Tier:
    """Return the tier of a test file, by its folder."""
    try:
        folder = path.resolve().relative_to(TESTS).parts[0]
    except ValueError:
        return TIERS["unit"]
    return TIERS.get(folder, TIERS["unit"])


def demanded(environ: Mapping[str, str]) -> frozenset[str]:
    """Return the tiers that must run here."""
    wanted = environ.get("CODEX_NB_DEMAND_TIERS", "all" if environ.get("CI") == "true" else "")
    if wanted == "all":
        return frozenset(TIERS)
    return frozenset(name.strip() for name in wanted.split(",") if name.strip())
