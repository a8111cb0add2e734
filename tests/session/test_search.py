"""Web search by the backend's own tool: when it is offered, what is shown of it, and citations as links."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from codex_nb.config.settings import load_settings
from codex_nb.errors import ConfigError
from codex_nb.rendering.answer_output import answer_mimebundle
from codex_nb.session.events import Notice, TextDone, TurnEvent, TurnFinished
from codex_nb.session.outbound import answer_text, message_text, search_text
from codex_nb.session.prompt import TurnRequest
from codex_nb.simulator import End, Reply, Say, Scenario, Search, Simulator
from codex_nb.tools.approval import DenyAll
from codex_nb.tools.base import Ports
from tests.session.scripted import SameThread, said
from tests.session.test_mcp import opened

pytestmark = pytest.mark.anyio

PAGE, OTHER = "https://python.test/3.14", "https://peps.test/?p=1&q=(2)"
ANSWER = Scenario(
    (
        Reply(
            stream=(
                Search(("newest python", "python 3.14")),
                Search(url=PAGE),
                Say(
                    "Python 3.14 is the newest. It has t-strings.",
                    cites={"Python 3.14": PAGE, "t-strings": OTHER},
                ),
                End(),
            )
        ),
    )
)


async def ask(simulator: Simulator, home: Path, config: str = "", **more: Any) -> list[TurnEvent]:
    """Ask one question whose model is of the form that takes hosted tools."""
    config = f'model = "simulator-classic"\n{config}'
    async with opened(simulator, home, "", before=config) as profile:
        request = TurnRequest("What is new?", **{"searches": None, **more})
        turn = profile.assistant.turn(request, ports=Ports(SameThread()), approver=DenyAll())
        return [event async for event in turn]


def search_tools(simulator: Simulator) -> list[dict[str, Any]]:
    (request,) = simulator.requests.to("/responses", "POST")
    return [tool for tool in request.body.get("tools", []) if tool["type"] == "web_search"]


MODES: dict[tuple[str, bool | None], dict[str, Any] | None] = {
    ("", None): None,
    ("", True): {"external_web_access": True},
    ("", False): None,
    ("disabled", None): None,
    ("disabled", True): {"external_web_access": True},
    ("cached", None): {"external_web_access": False},
    ("indexed", None): {"external_web_access": True, "indexed_web_access": True},
    ("live", None): {"external_web_access": True},
    ("live", False): None,
}


@pytest.mark.parametrize(("mode", "option"), MODES)
async def test_the_tool_is_offered_as_the_configuration_and_the_option_say(
    tmp_path: Path, mode: str, option: bool | None
) -> None:
    with Simulator() as simulator:
        await ask(simulator, tmp_path, f'web_search = "{mode}"\n' if mode else "", searches=option)
        sent = search_tools(simulator)
    wanted = MODES[mode, option]
    assert sent == ([] if wanted is None else [{"type": "web_search", **wanted}])


async def test_what_is_looked_at_is_configured(tmp_path: Path) -> None:
    table = (
        'web_search = "cached"\ntools.web_search.context_size = "high"\n'
        'tools.web_search.allowed_domains = ["a.test"]\ntools.web_search.location = {city = "Berlin"}\n'
    )
    with Simulator() as simulator:
        await ask(simulator, tmp_path, table)
        (sent,) = search_tools(simulator)
    assert sent == {
        "type": "web_search",
        "external_web_access": False,
        "filters": {"allowed_domains": ["a.test"]},
        "user_location": {"type": "approximate", "city": "Berlin"},
        "search_context_size": "high",
    }


async def test_a_model_that_cannot_search_is_told_where_the_question_wants_it(tmp_path: Path) -> None:
    with Simulator() as simulator:
        events = await ask(simulator, tmp_path, model="simulator-lite", searches=True)
        assert search_tools(simulator) == []
    assert [event.text for event in events if isinstance(event, Notice) and "search" in event.text] == [
        "simulator-lite cannot search the web here; choose another model: %codex models."
    ]


async def test_queries_and_sources_are_shown_and_citations_are_links(tmp_path: Path) -> None:
    with Simulator() as simulator:
        simulator.play(ANSWER)
        events = await ask(simulator, tmp_path, searches=True)
    assert [event.text for event in events if isinstance(event, Notice) and event.kind == "search"] == [
        "Searched the web: newest python; python 3.14",
        f"Opened {PAGE}",
    ]
    (text,) = [event.text for event in events if isinstance(event, TextDone)]
    assert text == (
        f"Python 3.14 [\\[1\\]](<{PAGE}>) is the newest. It has t-strings [\\[2\\]](<{OTHER}>).\n\n"
        f"Sources:\n\n1. [python.test](<{PAGE}>)\n2. [peps.test](<{OTHER}>)"
    )
    assert isinstance(events[-1], TurnFinished)
    assert events[-1].answer.text == text
    html = answer_mimebundle(text)["text/html"]
    assert re.findall(r'href="([^"]+)"', html).count(PAGE) == 2


def cited(text: str, *annotations: Any) -> dict[str, Any]:
    item = said(text)
    item["content"][0]["annotations"] = list(annotations)
    return item


def citation(**more: Any) -> dict[str, Any]:
    return {"type": "url_citation", "url": PAGE, "title": "T", "start_index": 0, "end_index": 2, **more}


@pytest.mark.parametrize(
    "annotation",
    [
        citation(url="javascript:alert(1)"),
        citation(url="https://x.test/>)[a](b"),
        citation(url="https://x.test/\u202e"),
        citation(url=None),
        citation(url=["https://x.test"]),
        citation(type="file_citation"),
        "text",
        None,
        7,
    ],
)
def test_what_cites_no_page_leaves_the_text_as_it_is(annotation: Any) -> None:
    assert message_text(cited("A word.", annotation)) == "A word."


@pytest.mark.parametrize(
    "place",
    [
        {"start_index": 3, "end_index": 1},
        {"end_index": 99},
        {"start_index": -1},
        {"end_index": "2"},
        {"end_index": None},
    ],
)
def test_a_citation_without_a_place_is_only_listed(place: dict[str, Any]) -> None:
    assert message_text(cited("A word.", citation(**place))) == f"A word.\n\nSources:\n\n1. [T](<{PAGE}>)"


def test_a_passage_that_names_its_address_is_not_marked_again() -> None:
    text = f"See [T]({PAGE})."
    marked = message_text(cited(text, citation(end_index=len(text))))
    assert marked == f"{text}\n\nSources:\n\n1. [T](<{PAGE}>)"


def test_a_title_cannot_leave_its_link() -> None:
    title = "x](https://evil.test) **b**\n# h <img src=x onerror=alert(1)>"
    html = answer_mimebundle(message_text(cited("A.", citation(title=title))))["text/html"]
    assert set(re.findall(r'href="([^"]+)"', html)) == {PAGE}
    assert not re.search(r"<(img|h1|strong>b)", html)


def test_a_value_is_read_from_the_text_without_links() -> None:
    item = cited('{"a": 1}', citation())
    assert answer_text([item], cites=False) == '{"a": 1}'


@pytest.mark.parametrize(
    ("action", "text"),
    [
        ({"type": "search", "query": "a\n b"}, "Searched the web: a b"),
        ({"type": "search", "query": "", "queries": ["a", 7, "b"]}, "Searched the web: a; b"),
        ({"type": "find_in_page", "url": PAGE, "pattern": "x"}, f"Looked for 'x' in {PAGE}"),
        ({"type": "something new"}, "Searched the web"),
        ({}, "Searched the web"),
        (None, ""),
        (7, ""),
    ],
)
def test_a_search_is_told_in_one_line(action: Any, text: str) -> None:
    assert search_text({"type": "web_search_call", "action": action}) == text


@pytest.mark.parametrize(
    ("file", "text", "mode"),
    [
        ("requirements.toml", 'allowed_web_search_modes = ["cached"]', "cached"),
        ("managed_config.toml", 'web_search = "cached"', "cached"),
        ("managed_config.toml", 'web_search = "disabled"', None),
    ],
)
def test_an_administrator_decides_how_the_web_is_searched(
    tmp_path: Path, file: str, text: str, mode: str | None
) -> None:
    from codex_nb.config.layers import Machine

    (tmp_path / "etc" / "codex").mkdir(parents=True)
    (tmp_path / "etc" / "codex" / file).write_text(text)
    (tmp_path / "config.toml").write_text('web_search = "cached"')
    settings = load_settings({"CODEX_HOME": str(tmp_path)}, machine=Machine("linux", tmp_path))
    assert settings.search_mode(wanted=None) == mode
    assert settings.search_mode(wanted=False) is None
    with pytest.raises(ConfigError, match=re.escape(file)):
        settings.search_mode(wanted=True)
