"""What ``--image`` takes: figures, axes, charts and pictures of every kind, or the reason why not."""

from __future__ import annotations

import base64
import io
from typing import Any

import matplotlib.figure
import numpy as np
import PIL.Image
import pytest
from IPython.display import Image

import codex_nb
from codex_nb.magics.options import OptionError
from codex_nb.magics.session import image_url
from codex_nb.session.outbound import user_message
from codex_nb.simulator import Simulator
from tests.magics.conftest import Notebook
from tests.tools.objects import KINDS, figure


def picture(value: Any) -> PIL.Image.Image:
    """Return what is sent for a value in the namespace."""
    kind, _, encoded = image_url("value", {"value": value}, None).partition(",")
    assert kind == "data:image/png;base64"
    return PIL.Image.open(io.BytesIO(base64.b64decode(encoded)))


def reason(value: Any) -> str:
    with pytest.raises(OptionError) as refused:
        image_url("value", {"value": value}, None)
    assert refused.value.hint
    return str(refused.value)


@pytest.mark.parametrize(
    "value",
    [
        figure(),
        figure().axes[0],
        figure().axes[0].lines[0],
        np.array(figure().axes),
        np.array([figure().axes]),
        list(figure().axes),
        (figure().axes[0],),
    ],
    ids=["figure", "axes", "line", "array of axes", "grid of axes", "list of axes", "tuple of axes"],
)
def test_anything_of_a_figure_is_the_figure(value: Any) -> None:
    assert picture(value).size > (100, 100)


MODES = [
    "1",
    "L",
    "LA",
    "P",
    "PA",
    "RGB",
    "RGBA",
    "RGBX",
    "RGBa",
    "La",
    "CMYK",
    "YCbCr",
    "HSV",
    "F",
    "I",
    "I;16",
]


@pytest.mark.parametrize("mode", MODES)
def test_a_picture_of_any_mode_is_sent(mode: str) -> None:
    assert picture(PIL.Image.new(mode, (4, 3))).size == (4, 3)


@pytest.mark.parametrize(
    ("array", "first", "last"),
    [
        (np.array([[0, 255]], dtype="uint8"), 0, 255),
        (np.array([[0.0, 1.0]]), 0, 255),
        (np.array([[0.0, 0.5]], dtype="float32"), 0, 128),
        (np.array([[False, True]]), 0, 255),
        (np.array([[0, 65_535]], dtype="uint16"), 0, 255),
        (np.array([[-10, 0, 10]]), 0, 255),
        (np.array([[np.nan, 1.0]]), 0, 255),
        (np.array([[7, 7]]), 7, 7),
        (np.zeros((2, 3, 1)), 0, 0),
    ],
)
def test_an_array_of_numbers_is_a_picture(array: Any, first: int, last: int) -> None:
    sent = picture(array)
    assert sent.size == (array.shape[1], array.shape[0])
    assert (sent.getpixel((0, 0)), sent.getpixel((sent.width - 1, 0))) == (first, last)


@pytest.mark.parametrize("shape", [(5, 6, 3), (5, 6, 4), (3, 5, 6), (1, 5, 6)])
def test_channels_may_come_first_or_last(shape: tuple[int, ...]) -> None:
    assert picture(np.ones(shape)).size == (6, 5)


def test_what_shows_itself_as_a_png_is_sent() -> None:
    encoded = base64.b64decode(image_url("f", {"f": PIL.Image.new("L", (4, 3))}, None).partition(",")[2])
    assert picture(Image(encoded)).size == (4, 3)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (np.zeros(5), "shape (5,)"),
        (np.zeros((2, 2, 2, 2)), "shape (2, 2, 2, 2)"),
        (np.zeros((0, 3)), "no pixels"),
        (np.array([["a"]]), "type <U1"),
        (PIL.Image.new("RGB", (0, 3)), "no pixels"),
        ([], "list is neither a figure nor an image"),
        (7, "int is neither a figure nor an image"),
        ({"a": 1}, "dict is neither a figure nor an image"),
        (matplotlib.figure.Figure, "type is neither a figure nor an image"),
    ],
)
def test_what_cannot_be_sent_is_told_with_the_reason(value: Any, told: str) -> None:
    assert told in reason(value)


def outcome(value: Any) -> str:
    try:
        return f"a picture of {picture(value).size}"
    except OptionError as refused:
        return str(refused)


@pytest.mark.parametrize("name", list(KINDS))
def test_every_kind_of_object_is_sent_or_refused_in_one_line(name: str) -> None:
    told = outcome(KINDS[name].make())
    assert told.startswith(("a picture of (", "--image value: "))
    assert "\n" not in told


def images_sent(sim: Simulator) -> list[str]:
    """Return the images of the last question."""
    items = sim.requests.to("/responses")[-1].body["input"]
    return [part["image_url"] for item in items for part in item.get("content", ()) if "image_url" in part]


def test_a_figure_is_sent_when_it_is_mentioned_as_by_the_option(notebook: Notebook, sim: Simulator) -> None:
    notebook.shell.user_ns["chart"] = figure()
    notebook.run("%%codex --image chart\nExplain it.")
    by_option = images_sent(sim)
    for asked in ("Explain @chart.", "Explain @image:chart"):
        notebook.run(f"%codex new\n%codex {asked}")
        assert images_sent(sim) == by_option
    assert len(by_option) == 1


@pytest.mark.parametrize("value", [np.zeros((4, 4)), {"savefig": 1}, matplotlib.figure.Figure, "chart.png"])
def test_what_is_no_figure_is_described_when_it_is_mentioned(
    notebook: Notebook, sim: Simulator, value: Any
) -> None:
    notebook.shell.user_ns["thing"] = value
    assert notebook.run("%codex Explain @thing").succeeded
    assert images_sent(sim) == []


def test_a_mention_does_not_run_the_code_of_an_object_that_only_looks_like_a_figure(
    notebook: Notebook, sim: Simulator
) -> None:
    notebook.run(
        "drawn = []\nclass Chart:\n    def savefig(self, *_, **__): drawn.append(1)\nchart = Chart()"
    )
    assert notebook.run("%codex Explain @chart").succeeded
    assert (images_sent(sim), notebook.namespace["drawn"]) == ([], [])


@pytest.mark.usefixtures("codex_home")
@pytest.mark.parametrize(
    "url", ["data:image/svg+xml,<svg/>", "data:image/png;base64,c2VjcmV0", "data:text/plain;base64,c2VjcmV0"]
)
def test_a_data_url_that_is_no_image_is_refused_and_nothing_is_sent(sim: Simulator, url: str) -> None:
    with pytest.raises(OptionError, match="a data URL is not a PNG"):
        codex_nb.ask("What is it?", images=[url])
    assert sim.requests.to("/responses") == []


def test_an_output_that_is_no_image_is_named_in_its_place() -> None:
    message = user_message("What is it?", ["data:image/png;base64,c2VjcmV0"])
    assert [part["type"] for part in message["content"]] == ["input_text"] * 4
    assert "not sent" in message["content"][1]["text"]
