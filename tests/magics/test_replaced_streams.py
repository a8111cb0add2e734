"""Whatever user code puts in the place of the streams and publishers, the cell ends and the answer is not lost."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from typing import Any

import pytest

from codex_nb.simulator import Call, End, Reply, Say, Simulator
from tests.magics.conftest import Notebook
from tests.magics.front_end import front_end

RUNS = (
    Reply(stream=(Say("I look. é"), Call("run_python", {"code": "made = 6 * 7\nprint('ran')\nmade"}), End())),
    Reply(stream=(Say("It is 42."), End())),
)


class Deaf:
    """Has nothing but ``write``."""

    def write(self, text: str) -> int:
        return len(text)


class Broken:
    """Raises whatever is done with it."""

    def write(self, _text: str) -> int:
        raise OSError("it cannot")

    def flush(self) -> None:
        raise OSError("it cannot")

    def isatty(self) -> bool:
        raise LookupError("it cannot")


class Odd:
    """Answers with values of wrong types."""

    encoding = 5

    def write(self, _text: str) -> None:
        return None

    def flush(self) -> int:
        return 5

    def isatty(self) -> str:
        return "perhaps"


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


STREAMS: dict[str, Callable[[], object]] = {
    "no stream": lambda: None,
    "a closed stream": closed,
    "a deaf stream": Deaf,
    "a broken stream": Broken,
    "an odd stream": Odd,
    "no stream at all": object,
    "bytes": io.BytesIO,
    "ASCII": lambda: io.TextIOWrapper(io.BytesIO(), encoding="ascii"),
    "text": io.StringIO,
}


@pytest.mark.parametrize("make", STREAMS.values(), ids=STREAMS)
@pytest.mark.parametrize("has_page", [True, False], ids=["page", "text"])
def test_a_cell_ends_with_its_answer_whatever_the_streams_are(
    notebook: Notebook,
    sim: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[], object],
    *,
    has_page: bool,
) -> None:
    sim.add_replies(*RUNS)
    with front_end(notebook, sim) if has_page else contextlib.nullcontext() as page:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", installed := make())
            patch.setattr(sys, "stderr", make())
            notebook.shell.run_cell_magic("codex", "--approval all -o answer", "How many?")
            assert sys.stdout is installed
        assert notebook.namespace["answer"].text == "It is 42."
        assert page is None or page.dead() == []
    assert notebook.run("%%codex\nAnd now?").succeeded


PUBLISHERS: dict[str, Any] = {
    "the publisher fails": ("display_pub", "publish"),
    "the publisher cannot clear": ("display_pub", "clear_output"),
    "the hook fails": ("displayhook", "write_format_data"),
}


@pytest.mark.parametrize("replaced", PUBLISHERS.values(), ids=PUBLISHERS)
def test_a_publisher_or_hook_that_fails_ends_the_cell_and_not_the_next_one(
    notebook: Notebook, sim: Simulator, monkeypatch: pytest.MonkeyPatch, replaced: tuple[str, str]
) -> None:
    def fail(*_args: object, **_more: object) -> None:
        raise LookupError("it cannot")

    sim.add_replies(*RUNS)
    with front_end(notebook, sim) as page, monkeypatch.context() as patch:
        patch.setattr(getattr(notebook.shell, replaced[0]), replaced[1], fail)
        notebook.run("%%codex --approval all -o answer\nHow many?", cell_id="asking")
    page.open.clear()
    assert notebook.run("%%codex --fresh\nAnd now?", cell_id="asking").succeeded


HOOKS = ("pre_run_cell", "post_run_cell", "pre_execute", "post_execute")


def test_hooks_that_raise_do_not_reach_the_answer(notebook: Notebook, sim: Simulator) -> None:
    sim.add_replies(*RUNS)

    def fail(*_: object) -> None:
        raise LookupError("it cannot")

    for event in HOOKS:
        notebook.shell.events.register(event, fail)
    assert notebook.run("%%codex --approval all -o answer\nHow many?").succeeded
    assert notebook.namespace["answer"].text == "It is 42."
