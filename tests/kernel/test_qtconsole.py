"""The Qt console, without a display: no widgets, but a user who can type."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from codex_nb.simulator import Call, End, Reply, Say, Simulator
from tests.kernel.provision import QT_CONSOLE, ROOT
from tests.patience import PATIENCE_S

DRIVER = ROOT / "tests" / "kernel" / "in_qtconsole.py"
CALL = (
    Reply(stream=(Say("I look."), Call("run_python", {"code": "print('ran', 6 * 7)"}, call_id="c"), End())),
    Reply(stream=(Say("It *is* 42."), End())),
)


def test_the_qt_console_streams_text_and_asks_by_typing(tmp_path: Path) -> None:
    home = tmp_path / "codex-home"
    home.mkdir(mode=0o700)
    with Simulator() as sim:
        sim.write_home(home)
        sim.add_replies(*CALL)
        own = {"CODEX_HOME": str(home), "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path / "ipython")}
        offscreen = {"QT_QPA_PLATFORM": "offscreen", "QT_API": "pyside6", "XDG_RUNTIME_DIR": str(tmp_path)}
        done = subprocess.run(
            [QT_CONSOLE.python, DRIVER, str(PATIENCE_S), "y", "%load_ext codex_nb", "%%codex\nWhat is it?"],
            env={**os.environ, **sim.environ(), **own, **offscreen},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
    shown = done.stdout
    for text in (
        "I look.",
        "print('ran', 6 * 7)",
        "Run it? [y]es",
        "ran 42",
        "It *is* 42.",
        "ChatGPT Plus",
    ):
        assert text in shown, done.stderr
    assert [word for word in ("<div", "<p>", "codex-", "idget", "Output()") if word in shown] == []
