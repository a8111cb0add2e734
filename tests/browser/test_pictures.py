"""The screenshots of README and documentation: a real cell on the simulator, light and dark.

They are written to ``.artifacts/screenshots``; ``docs/_static`` has the chosen ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from codex_nb.session.assistant import first_use_notice
from codex_nb.session.prompt import ProjectInstructions
from codex_nb.simulator import Simulator
from tests.browser.jupyter_server import FrontEnd
from tests.browser.notebook_page import NotebookPage

WEATHER = """\
import numpy as np
import pandas as pd

rng = np.random.default_rng(7)
days = pd.date_range("2025-01-01", periods=365, name="day")
season = np.sin(2 * np.pi * (days.day_of_year - 105) / 365)
weather = pd.DataFrame(
    {"temperature": 9 + 10 * season + rng.normal(0, 2.5, 365), "wind_m_s": rng.weibull(2.0, 365) * 5}, index=days
).round(1)"""


@pytest.fixture
def signed_in(kernel_environ: dict[str, str]) -> Iterator[Simulator]:
    """Sign the test's kernel in to a simulator."""
    with Simulator() as simulator:
        home = Path(kernel_environ["CODEX_HOME"])
        simulator.write_home(home)
        first_use_notice(home, ProjectInstructions())  # shown once: the screenshot is that of any other day
        kernel_environ.update(simulator.environ())
        yield simulator


@pytest.mark.parametrize("front_end", [FrontEnd.LAB])
@pytest.mark.parametrize("viewport", [(860, 1320)])
@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_a_question_about_a_frame_is_approved_and_answered_with_a_figure(
    open_notebook: Callable[..., NotebookPage], signed_in: Simulator, color_scheme: str
) -> None:
    notebook = open_notebook(
        ["%load_ext codex_nb", WEATHER, "%%codex\nWhat is in weather? Plot its columns too."]
    )
    notebook.command("application:toggle-left-area")
    notebook.run(0)
    notebook.run(1)
    notebook.start(2)
    approve = notebook.output(2).get_by_role("button", name="Approve", exact=True)
    approve.wait_for()
    notebook.screenshot(f"cell-asking-{color_scheme}", of=notebook.cell(2))
    approve.click()
    notebook.wait_until_run(2)
    notebook.output(2).locator("img").first.wait_for()
    notebook.wait_for_text(2, "What is in")
    assert notebook.script_errors == []
    notebook.screenshot(f"cell-answered-{color_scheme}", of=notebook.cell(2))
    assert signed_in.requests.count("/responses", "POST") == 2
