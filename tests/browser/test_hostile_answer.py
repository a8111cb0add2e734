"""A hostile answer runs no script and loads nothing: live, saved and reopened."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from codex_nb.simulator import End, Reply, Say, Scenario, Simulator, Think
from tests.browser.asking import LOAD, lead_to
from tests.browser.beacon import Beacon
from tests.browser.notebook_page import NotebookPage


def hostile(address: Callable[[str], str]) -> str:
    """Write an answer that tries everything; the words at its end show that it was drawn."""
    script, image = address("script.js"), address("image.gif")
    return f"""Look:

![a picture]({image})

![by reference][there] and [![in a link]({image})]({address("click")})

[there]: {image}

<script>fetch("{image}")</script><script src="{script}"></script>
<img src="{image}"><img src="nowhere:x" onerror="fetch('{image}')">
<svg onload="fetch('{image}')"><image href="{image}"/></svg>
<iframe src="{address("page.html")}"></iframe><video poster="{image}" src="{image}"></video>
<style>@import url({image}); .jp-Cell {{ background: url({image}) }}</style>
<div style="background-image:url({image})">box</div><link rel="stylesheet" href="{image}">

[a link](javascript:fetch('{image}')) and <javascript:fetch('{image}')>

$\\style{{background:url({image})}}{{x}}\\href{{javascript:fetch('{image}')}}{{y}}\\includegraphics{{{image}}}$

| a table |
|---|
| ![cell]({image}) <img src=x onerror="fetch('{image}')"> |

```html
<img src="{image}" onerror="fetch('{image}')">
```

This was all."""


@pytest.fixture
def sim(kernel_environ: dict[str, str], beacon: Beacon) -> Iterator[Simulator]:
    """Run a simulator whose answer and reasoning are hostile."""
    text = hostile(beacon.url)
    thought = text.replace("a picture", "a thought").replace("This was all", "So much")
    steps = (Think((thought,)), Say(text, delta_chars=40, gate="drawn"), End())
    with Simulator(Scenario((Reply(stream=steps),))) as simulator:
        lead_to(simulator, kernel_environ)
        yield simulator


def test_a_hostile_answer_runs_and_loads_nothing(
    open_notebook: Callable[..., NotebookPage], sim: Simulator, beacon: Beacon, front_end: str
) -> None:
    notebook = open_notebook([LOAD, "%%codex\nShow me."])
    notebook.run(0)
    notebook.start(1)
    notebook.wait_for_text(1, "a picture")
    notebook.settle(0.5)
    live = list(beacon.hits)
    sim.release("drawn")
    notebook.wait_until_run(1)
    notebook.wait_for_text(1, "This was all.")
    links = notebook.output(1).get_by_role("link")
    addresses = [links.nth(index).get_attribute("href") or "" for index in range(links.count())]
    notebook.settle(0.5)
    stayed = list(beacon.hits)
    notebook.save()
    notebook.reload(wait_for_kernel=True)
    notebook.wait_for_text(1, "This was all.")
    notebook.settle(1)
    trusted = (notebook.is_trusted(), list(beacon.hits))
    notebook.distrust()
    notebook.reload(wait_for_kernel=True)
    notebook.wait_for_text(1, "This was all.")
    notebook.settle(1)
    notebook.screenshot(f"hostile-{front_end}")
    assert (live, stayed, trusted) == ([], [], (True, []))
    assert (notebook.is_trusted(), beacon.hits) == (False, [])
    assert [address for address in addresses if not address.startswith(("http:", "https:"))] == []
    assert not any("beacon" in error or "Refused" in error for error in notebook.script_errors)
