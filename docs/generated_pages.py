"""Writes the parts of the documentation that are derived from the code and the tests: ``make docs`` runs it.

Everything goes to ``docs/_generated``: the architecture diagram, the table of modules, the table of error classes, the
table of faults (played on loopback servers), and the list of browser tests.
"""

from __future__ import annotations

import ast
import asyncio
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import architecture_diagram

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "codex_nb"
FRONT_ENDS = {"JupyterLab": r"\[(.*-)?lab\b|\[JupyterLab,", "Notebook 7": r"\[(.*-)?notebook\b|\[Notebook 7,"}
COVERAGE_INTRODUCTION = """# UI test coverage

Every browser test, with the front ends that it runs in: real servers, in headless Chromium. Screenshots of every state
(light, dark and narrow) are in `.artifacts/screenshots` after a run.
"""


def first_line(node: ast.Module | ast.ClassDef) -> str:
    """Return the first line of a docstring, safe inside a table."""
    text = (ast.get_docstring(node) or "").partition("\n\n")[0]
    return " ".join(text.split()).replace("|", "\\|").replace("``", "`")


def module_table() -> str:
    """Return a table of every module with the first sentence of its docstring."""
    rows = ["| module | purpose |", "|---|---|"]
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[-1] not in {"__init__", "__main__"}:
            purpose = first_line(ast.parse(path.read_text(encoding="utf-8")))
            rows.append(f"| `{'.'.join(parts)}` | {purpose} |")
    return "\n".join([*rows, ""])


def error_table() -> str:
    """Return a table of the public error classes: what each means, and what to do next."""
    from codex_nb.errors import CodexError

    rows = ["| class | meaning | what to do |", "|---|---|---|"]

    def add(error: type[CodexError], depth: int) -> None:
        meaning = " ".join((error.__doc__ or "").partition("\n\n")[0].split()).replace("``", "`")
        indent = "&nbsp;&nbsp;" * depth
        hint = error.default_hint or "as the message says"
        rows.append(f"| {indent}`{error.__name__}` | {meaning} | {hint} |".replace("`None`", "None"))
        for child in error.__subclasses__():
            if child.__module__ == "codex_nb.errors":
                add(child, depth + 1)

    add(CodexError, 0)
    return "\n".join([*rows, ""])


def fault_table() -> str:
    """Play every fault between the client and a server; return what a user sees of each."""
    from tests.responses.faults import table

    return asyncio.run(table())


def ui_coverage() -> str:
    """Return a page of the browser tests, by file."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/browser",
    ]
    collected = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    runs: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for line in collected.splitlines():
        file, separator, test = line.partition("::")
        if separator:
            runs[file][test.partition("[")[0]].append(test)
    sections = [COVERAGE_INTRODUCTION]
    for file, tests in sorted(runs.items()):
        title = first_line(ast.parse((ROOT / file).read_text(encoding="utf-8"))) or Path(file).stem
        sections += [f"## {title.rstrip('.')}", f"`{file}`", coverage_table(tests)]
    return "\n\n".join(sections)


def coverage_table(tests: dict[str, list[str]]) -> str:
    """Return the rows of one file: the test's name as a sentence, and its front ends."""
    rows = [f"| test | {' | '.join(FRONT_ENDS)} |", "|---|---|---|"]
    for name, cases in tests.items():
        sentence = name.removeprefix("test_").replace("_", " ")
        marks = (
            "✓" if any(re.search(pattern, case) for case in cases) else "" for pattern in FRONT_ENDS.values()
        )
        rows.append(f"| {sentence} | {' | '.join(marks)} |")
    return "\n".join([*rows, ""])


def write(docs: Path) -> None:
    """Write every generated part."""
    folder = docs / "_generated"
    folder.mkdir(exist_ok=True)
    parts = {
        "architecture.svg": architecture_diagram.draw(PACKAGE),
        "modules.md": module_table(),
        "error_classes.md": error_table(),
        "faults.md": fault_table(),
        "ui_coverage.md": ui_coverage(),
    }
    for name, content in parts.items():
        (folder / name).write_text(content, encoding="utf-8")
