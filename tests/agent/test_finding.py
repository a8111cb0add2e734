"""Which Codex CLI the agent runs in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from codex_nb.agent.app_server import find_binary, installed_binaries
from codex_nb.errors import ConfigError


def put(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "codex"
    program.write_text(f"#!/bin/sh\necho codex-cli {version}\n")
    program.chmod(0o755)
    return program


def put_package(folder: Path, version: str) -> Path:
    """Lay out what the package openai-codex-cli-bin installs."""
    package = folder / "codex_cli_bin"
    program = put(package / "bin", version)
    (package / "codex-path").mkdir()
    (package / "__init__.py").write_text(
        "from pathlib import Path\nHERE = Path(__file__).parent\n"
        "def bundled_codex_path(): return HERE / 'bin' / 'codex'\n"
        "def bundled_path_dir(): return HERE / 'codex-path'\n"
    )
    return program


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Give an environment in which there is no CLI, as long as the machine has none in its own folders."""
    sys.modules.pop("codex_cli_bin", None)
    yield {"HOME": str(tmp_path / "user"), "PATH": "/bin"}
    sys.modules.pop("codex_cli_bin", None)


@pytest.mark.parametrize(
    ("place", "variable"),
    [
        ("anywhere", "CODEX_NB_CODEX"),
        ("on-path", "PATH"),
        ("prefix/bin", "npm_config_prefix"),
        ("user/.npm-global/bin", ""),
        ("user/.nvm/versions/node/v24.1.0/bin", ""),
    ],
)
def test_a_cli_is_found_in_each_place(
    environ: dict[str, str], tmp_path: Path, place: str, variable: str
) -> None:
    program = put(tmp_path / place, "0.171.0")
    values = {"CODEX_NB_CODEX": program, "PATH": program.parent, "npm_config_prefix": tmp_path / "prefix"}
    if variable:
        environ[variable] = str(values[variable])
    found = find_binary(environ)
    assert (found.path, found.label) == (program, "Codex CLI 0.171.0")


def test_the_package_is_found_with_the_programs_that_it_brings(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = put_package(tmp_path / "site", "0.163.0")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    found = find_binary(environ)
    assert (found.path, found.tools) == (program, program.parent.parent / "codex-path")


def test_one_that_is_new_enough_is_preferred_to_one_that_comes_first(
    environ: dict[str, str], tmp_path: Path
) -> None:
    put(tmp_path / "on-path", "0.120.0")
    newer = put(tmp_path / "user" / ".npm-global" / "bin", "0.165.2")
    environ["PATH"] = str(tmp_path / "on-path")
    assert find_binary(environ).path == newer
    assert [binary.origin for binary in installed_binaries(environ)][:2] == ["PATH", "npm"]


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("0.159.0", "is Codex CLI 0.159.0, and the agent needs 0.160.0"),
        ("of the moon", "does not say which version"),
    ],
)
def test_one_that_cannot_be_used_is_one_line(
    environ: dict[str, str], tmp_path: Path, version: str, said: str
) -> None:
    environ["CODEX_NB_CODEX"] = str(put(tmp_path, version))
    with pytest.raises(ConfigError) as raised:
        find_binary(environ)
    line = raised.value.line
    assert (said in line, "npm install" in line, "\n" in line) == (True, True, False)


def test_the_variable_is_decisive(environ: dict[str, str], tmp_path: Path) -> None:
    put(tmp_path / "on-path", "0.171.0")
    environ |= {"PATH": str(tmp_path / "on-path"), "CODEX_NB_CODEX": str(tmp_path / "nowhere")}
    with pytest.raises(ConfigError, match="CODEX_NB_CODEX"):
        find_binary(environ)
