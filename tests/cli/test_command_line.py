"""``codex-nb`` as a person runs it, in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from codex_nb.simulator import ADA, Simulator
from tests.patience import PATIENCE_S

COMMAND = (sys.executable, "-m", "codex_nb")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Give a home in which nobody is signed in."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CODEX_", "OPENAI_"))}
    return kept | {"HOME": str(home), "CODEX_HOME": str(home / ".codex")}


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """Run a simulator."""
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def signed_in(environ: dict[str, str], sim: Simulator) -> dict[str, str]:
    """Sign the home in to the simulator."""
    home = Path(environ["CODEX_HOME"])
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text(sim.config_toml())
    sim.write_login(home)
    return environ | sim.environ()


def run(*arguments: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments], env=environ, capture_output=True, text=True, timeout=120, check=False
    )


@contextmanager
def running(
    *arguments: str, environ: Mapping[str, str], stdin: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[str]]:
    """Run the command until the block ends, then end it as Ctrl-C does."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": stdin}
    with subprocess.Popen([*COMMAND, *arguments], env=environ, text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def line_with(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    """Read what the process prints up to the line that matches."""
    assert process.stdout is not None
    for line in process.stdout:
        if match := re.search(pattern, line):
            return match
    raise AssertionError(f"the process ended without {pattern!r}")


def test_without_a_login_status_says_so_and_doctor_says_what_to_do(environ: dict[str, str]) -> None:
    status, doctor = run("status", environ=environ), run("doctor", environ=environ)
    assert (status.returncode, doctor.returncode) == (1, 1)
    assert "You are not signed in. Sign in with codex-nb login." in status.stdout
    assert "Sign in with codex-nb login." in doctor.stdout
    assert status.stderr + doctor.stderr == ""


def test_status_names_account_plan_and_limits(signed_in: dict[str, str]) -> None:
    ran = run("status", environ=signed_in)
    assert ran.returncode == 0, ran.stderr
    assert "ada@example.com" in ran.stdout
    assert "ChatGPT Plus" in ran.stdout
    assert re.search(r"5 h .*12 %", ran.stdout)


def test_an_account_that_would_act_in_a_terminal_is_only_read(
    signed_in: dict[str, str], sim: Simulator
) -> None:
    hostile = replace(ADA, email="ada\x1b]0;pwned\x07@example.com", plan="plus\x9b2J\u202e")
    sim.write_login(Path(signed_in["CODEX_HOME"]), hostile)
    shown = [run(command, environ=signed_in).stdout for command in ("status", "doctor")]
    assert ["pwned" in each for each in shown] == [True, False]  # what doctor tells is passed on
    assert [line for each in shown for line in each.splitlines() if not line.isprintable()] == []


def test_the_doctor_shows_no_secret(signed_in: dict[str, str]) -> None:
    import json

    from tests.leaks import assert_no_leak

    auth = json.loads((Path(signed_in["CODEX_HOME"]) / "auth.json").read_text())
    secrets = {name: auth["tokens"][name] for name in ("id_token", "access_token", "refresh_token")}
    ran = run("doctor", environ=signed_in)
    assert "a…@example.com" in ran.stdout
    assert_no_leak(ran.stdout + ran.stderr, secrets)


def test_a_device_login_in_a_terminal_writes_the_login(environ: dict[str, str], sim: Simulator) -> None:
    home = Path(environ["CODEX_HOME"])
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text(sim.config_toml())
    with running("login", environ=environ | sim.environ()) as process:
        code = line_with(process, r"\b([A-Z0-9]{4}-[A-Z0-9]{4})\b")[1]
        sim.approve_device_code(code)
        line_with(process, "Signed in as ada@example.com")
    assert (home / "auth.json").stat().st_mode & 0o777 == 0o600


def test_signing_out_without_a_terminal_tells_whom_it_signed_out_and_a_second_time_too(
    signed_in: dict[str, str],
) -> None:
    first, second = (run("logout", environ=signed_in).stdout for _ in range(2))
    assert first.startswith(
        "Signed out of ada@example.com: the login was revoked and deleted. The Codex CLI "
    )
    assert second == "You were not signed in.\n"


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(
    ("typed", "more", "remains"),
    [("n\n", (), True), ("\n", (), True), ("y\n", (), False), ("", ("--yes",), False)],
)
def test_signing_out_in_a_terminal_asks_and_names_whom(
    signed_in: dict[str, str], typed: str, more: tuple[str, ...], remains: bool
) -> None:
    primary, terminal = os.openpty()
    try:
        with running("logout", *more, environ=signed_in, stdin=terminal) as process:
            os.write(primary, typed.encode())
            told = process.communicate(timeout=PATIENCE_S)[0]
    finally:
        os.close(primary)
        os.close(terminal)
    assert ("Sign out of ada@example.com? This also signs out the Codex CLI" in told) == bool(typed)
    assert (Path(signed_in["CODEX_HOME"]) / "auth.json").exists() == remains
    assert process.returncode == (1 if remains else 0)


def test_a_wrong_setting_is_one_line_on_standard_error(signed_in: dict[str, str]) -> None:
    (Path(signed_in["CODEX_HOME"]) / "config.toml").write_text("model = 3\n")
    ran = run("status", environ=signed_in)
    assert ran.returncode == 1
    assert ran.stderr.startswith("codex-nb: ")
    assert ran.stderr.count("\n") == 1


def test_the_simulator_runs_by_itself(environ: dict[str, str]) -> None:
    with running("simulate", environ=environ | {"PYTHONUNBUFFERED": "1"}) as process:
        address = line_with(process, r"(http://127\.0\.0\.1:\d+)")[1]
        page = httpx.get(f"{address}/codex/device", trust_env=False)
        assert page.status_code == httpx.codes.OK


def test_the_demo_without_a_screen_runs_the_tour_on_the_simulator_and_says_so(
    environ: dict[str, str],
) -> None:
    ran = run("demo", "--execute", environ=environ)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("No Codex login was found, so the demo uses the simulator")
    assert "365 rows" in ran.stdout
    assert "This answer comes from the codex_nb simulator" in ran.stdout


def test_the_demo_uses_a_login_that_is_there_and_names_it(signed_in: dict[str, str]) -> None:
    ran = run("demo", "--execute", environ=signed_in)
    assert ran.stdout.startswith("The demo uses your own Codex login: ada@example.com.")


def test_the_demo_opens_jupyterlab_on_loopback(environ: dict[str, str]) -> None:
    with running("demo", "--no-browser", environ=environ) as process:
        address = line_with(
            process, r"(http://127\.0\.0\.1:\d+/lab/tree/01_first_question\.ipynb\?token=\w+)"
        )[1]
        page = httpx.URL(address)
        contents = page.copy_with(path="/api/contents/01_first_question.ipynb")
        assert httpx.get(address, trust_env=False, follow_redirects=True).status_code == httpx.codes.OK
        cells = httpx.get(contents, trust_env=False).json()["content"]["cells"]
        assert [cell["outputs"] for cell in cells if cell.get("outputs")] == []
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.read().splitlines() == ["Press Ctrl-C to stop."]
        assert process.wait() == 0


@pytest.mark.parametrize(("word", "near"), [("stats", "status"), ("doktor", "doctor"), ("zzz", None)])
def test_a_misspelt_command_is_told_with_the_nearest(
    environ: dict[str, str], word: str, near: str | None
) -> None:
    ran = run(word, environ=environ)
    assert ran.returncode == 2
    assert (f"Did you mean {near}?" in ran.stderr) == (near is not None)


@pytest.mark.parametrize("words", [("login",), ("demo",), ("status", "--profile"), ()])
def test_words_that_would_act_in_a_terminal_are_only_read(
    environ: dict[str, str], words: tuple[str, ...]
) -> None:
    ran = run(*words, "x\x1b]0;pwned\x07\x9b2J\u202e", environ=environ)
    assert ran.returncode in {1, 2}
    assert not re.search("[\x07\x1b\x9b\u202e]", ran.stdout + ran.stderr)


def test_without_a_command_the_help_is_shown(environ: dict[str, str]) -> None:
    ran = run(environ=environ)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, run("--help", environ=environ).stdout, "")
