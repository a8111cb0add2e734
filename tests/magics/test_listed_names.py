"""Names from elsewhere are text in what the commands show: no link, no picture, no heading, no row of their own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from IPython.utils.capture import capture_output
from markdown_it import MarkdownIt

from codex_nb.simulator import Reply, Simulator, model_entry
from codex_nb.simulator.accounts import Limits
from tests.magics.conftest import Notebook

ACTING = {"link_open", "image", "html_inline", "html_block", "heading_open", "code_block"}
NAMES = {
    "link": "a [click](https://evil.example/x) b",
    "link after code": "a` [click](https://evil.example/x) `b",
    "link after a cell": "a | [click](https://evil.example/x) | b",
    "link after a line": "a\n\n[click](https://evil.example/x)\n\n# b",
    "picture": "![i](https://evil.example/x.png)",
    "address": "<https://evil.example/x>",
    "tag": "<img src=https://evil.example/x>",
}
TABLES = ("models", "usage", "threads")
LINES = (
    *TABLES,
    *("model modal", "model", "effort", "status", "config", "tools", "thread"),
    *("context hello", "new", "hello", "last"),
)


@dataclass(frozen=True)
class NamedLimits(Limits):
    """Limits of an account with one more, of this name."""

    name: str = ""

    def usage(self, now: float) -> dict[str, Any]:
        told = super().usage(now)
        return {
            **told,
            "additional_rate_limits": [{"limit_name": self.name, "rate_limit": told["rate_limit"]}],
        }


def shown(notebook: Notebook, line: str) -> list[str]:
    """Run ``%codex`` with a line that is written by code, and return what it shows as Markdown."""
    notebook.namespace["line"] = line
    with capture_output() as captured:
        notebook.shell.run_cell("get_ipython().run_line_magic('codex', line)")
    return [output.data["text/markdown"] for output in captured.outputs if "text/markdown" in output.data]


def acting(markdown: str, *, is_table: bool) -> set[str]:
    blocks = MarkdownIt("commonmark").enable("table").parse(markdown)
    found = {token.type for block in blocks for token in (block, *(block.children or ()))}
    columns = {len(line.replace("\\|", "").split("|")) for line in markdown.splitlines() if line[:1] == "|"}
    return (found & ACTING) | ({"another cell"} if is_table and len(columns) > 1 else set())


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_no_name_acts_in_what_a_command_shows(
    notebook: Notebook, sim: Simulator, codex_home: Path, name: str
) -> None:
    entry = model_entry(f"model{name}", f"Model {name}", 0, is_lite=False)
    entry["supported_reasoning_levels"] = [{"effort": f"low{name}"}]
    sim.state.catalog.entries.insert(0, entry)
    sim.state.limits = NamedLimits(name=name)
    notebook.namespace["name"] = name
    notebook.run("import codex_nb\ncodex_nb.ask(f'Why {name}?', thread=f't {name}')")
    lines = [*LINES, f"model {name}", f"effort low{name}", f"thread t {name}", f"tools off {name}"]
    texts = {line: shown(notebook, line) for line in (*lines, "context hello", "config", "threads")}
    assert {
        line: kinds
        for line in texts
        for each in texts[line]
        if (kinds := acting(each, is_table=line in TABLES))
    } == {}
    assert all(texts[line] for line in ("models", "model modal", "usage", "threads"))
    sim.add_replies(Reply(status=400, body={"error": {"message": name}}))
    assert [kinds for each in shown(notebook, "hello") if (kinds := acting(each, is_table=False))] == []
