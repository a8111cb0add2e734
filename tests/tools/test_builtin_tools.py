from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from codex_nb.errors import InvalidArguments
from codex_nb.tools.approval import Effect
from codex_nb.tools.base import Ports, Tool, ToolResult, builtin_tools
from codex_nb.tools.builtin import inspect
from codex_nb.tools.cells import insert_cells
from codex_nb.tools.file_access import list_files, path_in_folder, read_bounded, read_file
from tests.session.scripted import PaperDocument, ProcessKernel, SameThread, call_tool

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "notebooks"
    (place / "data").mkdir(parents=True)
    (place / ".git").mkdir()
    (tmp_path / "outside.txt").write_text("outside")
    for name in ("a.txt", "data/b.csv", ".env", ".git/config", "server.pem", "auth.json"):
        (place / name).write_text(f"one\ntwo {name}\nthree\n")
    (place / "binary.bin").write_bytes(b"\0\1")
    (place / "link.txt").symlink_to(tmp_path / "outside.txt")
    return place


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"path": "a.txt"}, ToolResult("one\ntwo a.txt\nthree\n")),
        ({"path": "data/../a.txt", "start_line": 2, "lines": 1}, ToolResult("two a.txt\n")),
        (
            {"path": "../outside.txt"},
            ToolResult("../outside.txt lies outside the notebook's folder", ok=False),
        ),
        ({"path": "link.txt"}, ToolResult("link.txt lies outside the notebook's folder", ok=False)),
        ({"path": ".env"}, ToolResult(".env is hidden", ok=False)),
        ({"path": ".git/config"}, ToolResult(".git/config is hidden", ok=False)),
        ({"path": "server.pem"}, ToolResult("server.pem may hold credentials", ok=False)),
        ({"path": "auth.json"}, ToolResult("auth.json may hold credentials", ok=False)),
        ({"path": "binary.bin"}, ToolResult("binary.bin is not a text file (2 bytes)", ok=False)),
        ({"path": "data"}, ToolResult("data is not a file", ok=False)),
        ({"path": "none"}, ToolResult("No such file or directory", ok=False)),
    ],
)
async def test_only_plain_files_of_the_notebooks_folder_are_read(
    folder: Path, arguments: dict[str, Any], expected: ToolResult
) -> None:
    assert await call_tool(read_file, arguments, Ports(SameThread(), folder=folder)) == expected


async def test_an_absolute_path_and_a_pipe_are_not_read(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    ports = Ports(SameThread(), folder=folder)
    outside = str(folder.parent / "outside.txt")
    assert not (await call_tool(read_file, {"path": outside}, ports)).ok
    assert await call_tool(read_file, {"path": "pipe"}, ports) == ToolResult("pipe is not a file", ok=False)


async def test_a_file_that_is_swapped_for_a_link_while_it_is_read_does_not_lead_outside(folder: Path) -> None:
    ports, outside = Ports(SameThread(), folder=folder), folder.parent / "outside.txt"
    plain, link, is_over = folder / "plain", folder / "link", threading.Event()

    def swap() -> None:
        while not is_over.is_set():
            link.unlink(missing_ok=True)
            link.symlink_to(outside)
            link.replace(folder / "swapped.txt")
            plain.write_text("inside")
            plain.replace(folder / "swapped.txt")

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        results = [await call_tool(read_file, {"path": "swapped.txt"}, ports) for _ in range(4_000)]
    finally:
        is_over.set()
        swapping.join()
    assert "inside" in {result.text for result in results}
    assert "outside" not in {result.text for result in results}


async def test_a_folder_that_is_swapped_for_a_link_does_not_lead_outside(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir()
    (folder.parent / "elsewhere" / "b.csv").write_text("outside")
    checked, outside = path_in_folder(folder, "data/b.csv"), folder.parent / "elsewhere"
    (folder / "data").rename(folder / "moved")
    (folder / "data").symlink_to(outside)
    with pytest.raises(NotADirectoryError):
        read_bounded(checked, 100)


async def test_files_are_listed_without_the_hidden_ones(folder: Path) -> None:
    ports = Ports(SameThread(), folder=folder)
    listed = (await call_tool(list_files, {}, ports)).text.splitlines()
    assert [line.split("  ")[0] for line in listed] == [
        "a.txt",
        "auth.json",
        "binary.bin",
        "link.txt",
        "server.pem",
        "data/b.csv",
    ]
    assert (await call_tool(list_files, {"pattern": "*.csv"}, ports)).text == "data/b.csv  25 bytes"
    assert (await call_tool(list_files, {"folder": "data", "pattern": "*.txt"}, ports)).text == "(no files)"
    assert not (await call_tool(list_files, {"folder": ".."}, ports)).ok


async def test_variables_are_looked_at_without_running_code() -> None:
    kernel = ProcessKernel({"x": 1, "_y": 2, "name": "ada"})
    ports = Ports(SameThread(), kernel)
    assert await call_tool(inspect, {"names": []}, ports) == ToolResult("x: int = 1\nname: str of 3 = 'ada'")
    assert await call_tool(inspect, {"names": ["x", "z"]}, ports) == ToolResult(
        "x: int = 1\n\nz: there is no such variable"
    )
    assert not (await call_tool(inspect, {"names": ["z"]}, ports)).ok
    assert kernel.ran == []


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        (inspect, {"names": "x"}),
        (inspect, {"names": [], "deep": True}),
        (read_file, {}),
        (read_file, {"path": "a", "start_line": 0}),
        (list_files, {"folder": 1}),
        (insert_cells, {"cells": []}),
        (insert_cells, {"cells": [{"kind": "raw", "source": ""}]}),
        (insert_cells, {"cells": [{"kind": "code"}]}),
        (insert_cells, {"cells": [{"kind": "code", "source": ""}], "after": 3}),
    ],
)
def test_arguments_of_another_shape_are_refused(tool: Tool[Any], arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidArguments):
        tool.parse(json.dumps(arguments))


async def test_a_tool_is_offered_only_where_it_can_work() -> None:
    bare = Ports(SameThread())
    assert [tool.name for tool in builtin_tools() if tool.is_available(bare)] == []
    document = PaperDocument()
    whole = Ports(SameThread(), ProcessKernel(), document, Path(), run_cell=document.run)
    assert {tool.name: tool.effect for tool in builtin_tools() if tool.is_available(whole)}.items() >= {
        "run_python": Effect.EXECUTE,
        "inspect": Effect.INSPECT,
        "read_file": Effect.READ,
        "list_files": Effect.READ,
        "read_cells": Effect.INSPECT,
        "insert_cells": Effect.EDIT,
        "edit_cell": Effect.EDIT,
        "delete_cells": Effect.EDIT,
        "move_cell": Effect.EDIT,
        "run_cell": Effect.EXECUTE,
        "update_plan": Effect.NONE,
    }.items()
    for tool in builtin_tools().only(lambda tool: tool.effect is not Effect.NONE):
        sample: dict[str, Any] = {
            "code": "1",
            "path": "a",
            "cells": [{"kind": "code", "source": ""}],
            "names": [],
        }
        sample |= {"cell_id": "a", "source": "1", "cell_ids": ["a"], "after": None}
        wanted = tool.parameters["properties"]
        result = await call_tool(tool, {key: value for key, value in sample.items() if key in wanted}, bare)
        assert not result.ok


def test_schemas_use_only_what_every_server_understands() -> None:
    for spec in builtin_tools().specs():
        assert spec["parameters"]["additionalProperties"] is False
        assert '"$ref"' not in json.dumps(spec)
        assert "$defs" not in spec["parameters"]
        assert all("pattern" not in each for each in spec["parameters"]["properties"].values())


def test_every_builtin_tool_has_a_title_and_a_summary() -> None:
    titles = {tool.name: tool.title for tool in builtin_tools()}
    assert len(set(titles.values())) == len(titles)
    assert all(titles.values())
    assert all(tool.summary.endswith(".") for tool in builtin_tools())
