"""Web search in a notebook: the options, and what stands in the cell."""

from __future__ import annotations

from codex_nb.simulator import Simulator
from tests.magics.conftest import Notebook
from tests.session.test_search import ANSWER, PAGE


def test_queries_and_sources_stand_in_the_cell(notebook: Notebook, sim: Simulator) -> None:
    sim.play(ANSWER)
    out = notebook.run("%%codex --search -m simulator-classic\nWhat is new?").out
    assert "Searched the web: newest python; python 3.14" in out
    assert f"Opened {PAGE}" in out
    assert (out.count("It has t-strings."), out.count("Sources:")) == (1, 1)
    assert PAGE in notebook.namespace["_codex"].text


def test_the_web_is_searched_only_where_it_is_wished_and_tools_are_offered(
    notebook: Notebook, sim: Simulator
) -> None:
    def is_offered(options: str) -> bool:
        assert notebook.run(f"%%codex --fresh -m simulator-classic {options}\nhello").succeeded
        body = sim.requests.to("/responses", "POST")[-1].body
        return any(tool["type"] == "web_search" for tool in body.get("tools", []))

    options = ("", "--search", "--no-search", "--search --no-tools", "--search --no-search")
    assert [is_offered(each) for each in options] == [False, True, False, False, False]
    assert "Web search: off" in notebook.run("%codex tools").out
