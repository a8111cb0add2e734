"""Collects everything that a kernel under the leak scan contains: logs, live objects, errors with their variables.

Runs inside the kernel and writes everything to one folder, which the test reads.
"""

from __future__ import annotations

import faulthandler
import gc
import logging
import sys
import traceback
from pathlib import Path
from typing import Any

from IPython.core.ultratb import VerboseTB


def watch(shell: Any, folder: Path) -> None:
    """Log every logger at its lowest level, and write down each error of a cell; ``folder`` exists."""
    handler = logging.FileHandler(folder / "every.log")
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
    logging.root.addHandler(handler)
    logging.root.setLevel(1)
    for name in list(logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        logger.setLevel(logging.NOTSET)
        logger.propagate = True
        logger.disabled = False
    shell.run_line_magic("xmode", "Verbose")
    shell.run_line_magic("colors", "nocolor")
    shell.events.register("post_run_cell", lambda result: _write_error(folder, result.error_in_exec))


def _write_error(folder: Path, error: BaseException | None) -> None:
    """Write down the error as a crash report does, then its whole chain, shown or not, with all variables."""
    if error is None:
        return
    report = VerboseTB(long_header=True).text(type(error), error, error.__traceback__)
    lines = [report, "".join(traceback.format_exception(error))]
    links = [error]
    for link in links:
        lines.append(f"{link!r} {vars(link)!r} {link.args!r}")
        links += [one for one in (link.__cause__, link.__context__) if one is not None and one not in links]
        for frame, _ in traceback.walk_tb(link.__traceback__):
            shown = {name: _shown(value) for name, value in frame.f_locals.items()}
            lines.append(f"{frame.f_code.co_qualname} {shown}")
    with (folder / "errors.txt").open("a") as file:
        file.write("\n".join(lines))


def write_objects(folder: Path) -> int:
    """Record every live object of codex_nb with its contents, and all stacks; return the number of objects."""
    gc.collect()
    ours = [thing for thing in gc.get_objects() if str(type(thing).__module__).split(".")[0] == "codex_nb"]
    with (folder / "objects.txt").open("w") as file:
        for thing in ours:
            held = getattr(thing, "__dict__", {})
            file.write(f"{type(thing).__module__}: {_shown(thing)} {_shown(held)}\n")
        for frame in sys._current_frames().values():
            file.writelines(traceback.format_stack(frame))
    with (folder / "stacks.txt").open("w") as file:
        faulthandler.dump_traceback(file)
    return len(ours)


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001  (half-made objects cannot always be shown)
        return f"<{type(error).__name__}>"
