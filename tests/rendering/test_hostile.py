from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from codex_nb.rendering.answer_output import (
    AnswerOutput,
    GrowingCode,
    MarkdownBlocks,
    NoticeOutput,
    PlanOutput,
    ReasoningOutput,
    StepOutput,
    TextOutput,
    ToolOutput,
    to_mimebundle,
)
from codex_nb.rendering.markdown import safe_html
from tests.rendering.hostile import HTML, PAYLOADS, payload
from tests.rendering.strict import inert, typeset_strings, violations

ACTIVE_FORMULA = re.compile(r"\\(href|style|class|def|includegraphics|require)\b")
every_payload = pytest.mark.parametrize("name", PAYLOADS)


def permissive(markdown: str) -> str:
    """Render as a trusting front end does: HTML let through, any link followed."""
    md = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    md.validateLink = lambda _: True
    return md.render(markdown)


def everywhere(text: str) -> AnswerOutput:
    """Put one text into every place of a document that a model or a server fills."""
    return AnswerOutput(
        parts=(
            TextOutput(text),
            ReasoningOutput(text),
            ToolOutput(title=text, code=text, language=text, output=text),
            ToolOutput(title="x", code=text, language="python", output=""),
            PlanOutput((StepOutput(text, "pending"), StepOutput("x", "completed")), explanation=text),
            NoticeOutput(text),
            NoticeOutput(text, "error"),
        ),
        footer=(text, "gpt-5.2-codex"),
    )


@every_payload
def test_no_hostile_text_gets_through_as_html(name: str) -> None:
    assert violations(safe_html(payload(name))) == []


@every_payload
def test_no_hostile_text_gets_through_while_it_streams(name: str) -> None:
    blocks = MarkdownBlocks()
    for character in payload(name):
        update = blocks.feed(character)
        assert violations(update.closed + (update.open or "")) == []
    assert violations(blocks.finish().closed) == []


@every_payload
def test_no_hostile_text_gets_through_as_code(name: str) -> None:
    code = GrowingCode("html")
    found = [violations(code.feed(character).open or "") for character in payload(name)]
    assert [some for some in found if some] == []
    assert violations(GrowingCode("html").feed(payload(name)).open or "") == []


@every_payload
def test_no_hostile_text_gets_through_any_place_of_a_bundle(name: str) -> None:
    assert violations(to_mimebundle(everywhere(payload(name)))["text/html"]) == []


@every_payload
def test_inert_markdown_is_harmless_in_a_renderer_that_trusts_it(name: str) -> None:
    assert violations(permissive(inert(payload(name)))) == []


@every_payload
def test_the_markdown_of_a_bundle_is_harmless_in_a_renderer_that_trusts_it(name: str) -> None:
    assert violations(permissive(to_mimebundle(everywhere(payload(name)))["text/markdown"])) == []


@every_payload
def test_no_typesetter_finds_a_formula_that_acts(name: str) -> None:
    assert ACTIVE_FORMULA.search(typeset_strings(safe_html(payload(name)))) is None
    assert ACTIVE_FORMULA.search(typeset_strings(permissive(inert(payload(name))))) is None


PIECES = sorted({piece for text in PAYLOADS.values() for piece in re.split(r"(\W)", text) if piece})


@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
def test_no_mixture_of_hostile_pieces_gets_through(text: str) -> None:
    assert violations(safe_html(text)) == []
    assert violations(permissive(inert(text))) == []


@given(st.text(max_size=60))
def test_no_text_at_all_gets_through(text: str) -> None:
    assert violations(safe_html(text)) == []
    assert violations(permissive(inert(text))) == []


@pytest.mark.parametrize("name", sorted(HTML.keys() - {"entities", "class of ours"}))
def test_the_strict_reader_objects_to_the_hostile_text_itself(name: str) -> None:
    assert violations(payload(name)) != []
