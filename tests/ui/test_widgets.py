from __future__ import annotations

import itertools
import re
from pathlib import Path

import ipywidgets
import pytest

from codex_nb.session.events import TextDone
from codex_nb.ui.transcript import Transcript
from codex_nb.ui.widgets import STATIC, WidgetComm, WidgetKind, widget_class
from tests.ui.fakes import FakeNotebook, finished


def open_widgets() -> set[str]:
    return set(ipywidgets.widgets.widget._instances)


@pytest.mark.parametrize("kind", WidgetKind)
def test_a_widget_has_its_code_and_style_and_no_content(kind: WidgetKind) -> None:
    widget = widget_class(kind)()
    own = {name: value for name, value in widget.get_state().items() if name in {"_esm", "_css"}}
    scripts, styles = kind.value
    assert own == {
        "_esm": "\n".join((STATIC / name).read_text() for name in scripts),
        "_css": "\n".join((STATIC / name).read_text() for name in styles),
    }
    inherited = set(ipywidgets.DOMWidget().get_state())
    assert set(widget.get_state()) - inherited == {"_esm", "_css", "_anywidget_id"}
    widget.close()


def test_a_turn_leaves_its_traits_as_they_were_and_no_widget() -> None:
    before = open_widgets()
    comms: list[WidgetComm] = []

    def open_comm(kind: WidgetKind) -> WidgetComm:
        comms.append(WidgetComm(kind))
        return comms[-1]

    transcript = Transcript(on_action=lambda _: None, area=FakeNotebook(), open_comm=open_comm)
    transcript.show()
    state = str(comms[0]._widget.get_state())
    for event in (TextDone("m1", "a secret of the model"), finished("a secret of the model")):
        transcript.apply(event)
        transcript.flush()
    assert str(comms[0]._widget.get_state()) == state
    transcript.close()
    transcript.close_unloaded()
    assert open_widgets() == before


@pytest.mark.parametrize("file", sorted(STATIC.iterdir()), ids=lambda file: file.name)
def test_the_front_end_files_load_nothing_from_elsewhere(file: Path) -> None:
    text = file.read_text()
    assert [
        word for word in ("http://", "https://", "@import", "import(", "eval(", "url(") if word in text
    ] == []


def test_the_styles_of_one_kind_leave_the_widgets_of_the_others_alone() -> None:
    # Every style that a page has ever been given reaches all its widgets.
    files = [file for file in STATIC.iterdir() if file.suffix == ".css"]
    classes = {file.name: set(re.findall(r"\.(codex-[\w-]+)", file.read_text())) for file in files}
    common = classes.pop("base.css")
    assert [
        (one, other, both)
        for one, other in itertools.combinations(sorted(classes), 2)
        if (both := sorted(classes[one] & classes[other] - common))
    ] == []
