from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_nb.rendering.answer_output import (
    MAX_OUTPUT_CHARS,
    AnswerOutput,
    NoticeOutput,
    ReasoningOutput,
    TextOutput,
    ToolOutput,
    answer_mimebundle,
    to_mimebundle,
    truncate_output,
)
from codex_nb.rendering.markdown import safe_html
from codex_nb.rendering.sanitize import code_html
from tests.rendering.strict import inert, text_of, violations

TABLE = """\
<table>
<thead>
<tr>
<th style="text-align:left">a</th>
<th style="text-align:right">b</th>
</tr>
</thead>
<tbody>
<tr>
<td style="text-align:left">1</td>
<td style="text-align:right">2</td>
</tr>
</tbody>
</table>
"""


def code(language: str, html: str) -> str:
    return f'<div class="highlight"><pre><code class="language-{language}">{html}</code></pre></div>\n'


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("# Title", "<h1>Title</h1>\n"),
        ("*a* **b** ~~c~~ `d`", "<p><em>a</em> <strong>b</strong> <s>c</s> <code>d</code></p>\n"),
        (
            "[x](https://a.b/c?d=1&e=2)",
            '<p><a href="https://a.b/c?d=1&amp;e=2" rel="noopener noreferrer nofollow">x</a></p>\n',
        ),
        ("> q", "<blockquote>\n<p>q</p>\n</blockquote>\n"),
        ("3. a\n4. b", '<ol start="3">\n<li>a</li>\n<li>b</li>\n</ol>\n'),
        ("- a\n\n- b", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n"),
        ("```nolanguage\n<x>\n```", code("nolanguage", "&lt;x&gt;\n")),
        ("```python\nx = 'a'\n```", code("python", "x = <span class=\"s1\">'a'</span>\n")),
        ("| a | b |\n|---|--:|\n| 1 | 2 |", TABLE),
        ("![alt](https://x.y/z.png)", '<p><span class="codex-image">[image: alt at https://x.y/z.png]</span></p>\n'),
        ("[a]: https://x.y", "<p>[a]: https://x.y</p>\n"),
    ],
)  # fmt: skip
def test_markdown_reads_as_it_is_meant(markdown: str, html: str) -> None:
    assert safe_html(markdown) == html


@pytest.mark.parametrize(
    ("markdown", "formulas"),
    [
        ("$x^2$ and \\(y\\)", ["$x^2$", "$y$"]),
        ("$$a$$ \\[b\\]", ["$$a$$", "$$b$$"]),
        ("$$\na\n- b\n$$", ["$$a\n- b$$"]),
        ("\\[\nx < y\n\\]", ["$$x &lt; y$$"]),
        ("\\(\\alpha\\)", ["$\\alpha$"]),
        ("costs $5 and $6", []),
        ("`$HOME` and $5/month (about $60)", []),
        ("US$5, A$6", []),
        ("\\$x\\$", []),
        ("$$\nnever closed\n\nnext", []),
        ("$ a $", []),
    ],
)
def test_formulas_stay_for_the_typesetter_and_prices_do_not(markdown: str, formulas: list[str]) -> None:
    html = safe_html(markdown)
    found = [piece.split("</span>")[0] for piece in html.split('<span class="codex-math">')[1:]]
    assert found == formulas


def test_a_formula_that_could_act_is_shown_as_code() -> None:
    assert safe_html(r"$\href{https://x.y}{z}$") == r"<p><code>$\href{https://x.y}{z}$</code></p>" + "\n"


words = st.sampled_from(
    ["word", "*em*", "**st**", "`code`", "[link](https://a.b)", "$x$", "a_b", "1.", "-", "<b>",
     "&lt;", "\\*", "|", "#", "$5"]
)  # fmt: skip
blocks = st.sampled_from(
    [
        "{}",
        "# {}",
        "- {}\n- {}",
        "1. {}\n2. {}",
        "> {}",
        "```\n{}\n```",
        "| {} |\n|---|\n| {} |",
        "$$\nx\n$$",
        "---",
    ]
)
documents = st.lists(
    st.tuples(blocks, words, words).map(lambda block: block[0].format(*block[1:])), max_size=6
).map("\n\n".join)


@given(documents)
def test_inert_markdown_reads_as_the_markdown_it_was_made_of(markdown: str) -> None:
    as_text = " ".join(text_of(safe_html(markdown)).split())
    assert " ".join(text_of(safe_html(inert(markdown))).split()) == as_text


def test_nothing_can_hide_in_code() -> None:
    assert "⟦U+202E⟧" in code_html("x = '\u202e'", "python")


DOCUMENT = AnswerOutput(
    parts=(
        ReasoningOutput("**First** thought"),
        TextOutput("The *answer*.\n\n- one\n- two"),
        ToolOutput("Python (done)", "print(1)", "python", "1"),
        NoticeOutput("Stopped.", "error"),
    ),
    footer=("gpt-5.2-codex", "12 tokens in", "ada@example.com"),
)


def test_a_document_is_three_texts_that_say_the_same() -> None:
    assert to_mimebundle(DOCUMENT) == {
        "text/html": (
            '<div class="codex-answer">\n'
            '<details class="codex-thinking"><summary>Reasoning</summary>\n'
            "<p><strong>First</strong> thought</p>\n</details>\n"
            "<p>The <em>answer</em>.</p>\n<ul>\n<li>one</li>\n<li>two</li>\n</ul>\n"
            '<details class="codex-call"><summary>Python (done)</summary>\n'
            '<div class="highlight"><pre><code class="language-python"><span class="nb">print</span>'
            '(<span class="mi">1</span>)</code></pre></div>\n<pre>1</pre>\n</details>\n'
            '<p class="codex-error"><em>Stopped.</em></p>\n'
            '<p class="codex-footer"><small>gpt-5.2-codex · 12 tokens in · ada@example.com</small></p>\n'
            "</div>"
        ),
        "text/markdown": (
            "> *Reasoning*\n>\n> **First** thought\n\n"
            "The *answer*.\n\n- one\n- two\n\n"
            "*Python (done)*\n\n```python\nprint(1)\n```\n\n```text\n1\n```\n\n"
            "*Stopped.*\n\n*gpt-5.2-codex · 12 tokens in · ada@example.com*"
        ),
        "text/plain": (
            "[Reasoning]\n**First** thought\n\nThe *answer*.\n\n- one\n- two\n\n"
            "[Python (done)]\nprint(1)\n\n1\n\n[Stopped.]\n\n"
            "gpt-5.2-codex · 12 tokens in · ada@example.com"
        ),
    }


def test_the_same_document_gives_the_same_bytes() -> None:
    assert to_mimebundle(DOCUMENT) == to_mimebundle(DOCUMENT)


def test_a_bundle_holds_at_most_five_times_the_answer() -> None:
    paragraph = (
        "The **mean** of `x` is 3.2, see [the page](https://example.com/x).\n\n"
        "- one item\n- another\n\n```python\nfor row in rows:\n    print(row['a'], 1)\n```\n\n"
    )
    text = paragraph * (100_000 // len(paragraph))
    assert sum(len(part.encode()) for part in answer_mimebundle(text).values()) <= 5 * len(text) + 20_000


def test_a_long_output_keeps_its_beginning_and_end() -> None:
    output = "a" * MAX_OUTPUT_CHARS + "b" * MAX_OUTPUT_CHARS
    kept = truncate_output(output)
    assert kept.startswith("aaa")
    assert kept.endswith("bbb")
    assert f"… {MAX_OUTPUT_CHARS:,} characters truncated …" in kept
    assert truncate_output("short") == "short"


def test_an_answer_alone_has_a_bundle() -> None:
    html = answer_mimebundle("text", notice="The answer is incomplete.")["text/html"]
    assert violations(html) == []
    assert html == (
        '<div class="codex-answer">\n<p>text</p>\n<p class="codex-error"><em>The answer is incomplete.</em></p>\n</div>'
    )


def test_the_name_of_a_language_loads_nothing_but_pygments() -> None:
    """A name that is still being written, or made up, would otherwise import every plugin of every package."""
    program = (
        "import sys; from codex_nb.rendering.sanitize import code_html; before = set(sys.modules);"
        "[code_html('x = 1', name) for name in ('p', 'pyt', 'nolanguage', 'ipython3')];"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
