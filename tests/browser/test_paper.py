"""nbconvert's LaTeX: TeX can read and write files, so no macro may come from the model."""

from __future__ import annotations

import re

import nbformat
import pytest
from nbconvert import LatexExporter

from codex_nb.rendering.answer_output import (
    AnswerOutput,
    NoticeOutput,
    PlanOutput,
    ReasoningOutput,
    StepOutput,
    TextOutput,
    ToolOutput,
    to_mimebundle,
)

MACROS = (
    r"\input{/etc/passwd}",
    r"\^^69nput{/etc/passwd}",
    r"\VerbatimInput{/etc/passwd}",
    r"\lstinputlisting{/etc/passwd}",
    r"\InputIfFileExists{/etc/passwd}{}{}",
    r"\openin5=/etc/passwd \read5 to\x",
    r"\immediate\write18{id}",
    r"\directlua{os.execute('id')}",
    r"\begin{filecontents}{x}y\end{filecontents}",
    r"\csname input\endcsname{/etc/passwd}",
    r"\expandafter\input{x}",
)
WAYS = {
    "alone": "{}",
    "in a formula": "${}$",
    "in a displayed formula": "$$\n{}\n$$",
    "between brackets": r"\[{}\]",
    "between doubled brackets": r"\\({}\\) and \\[{}\\]",
    "in an environment": "\\begin{{equation}}{}\\end{{equation}}",
    "as a raw block": "```{{=latex}}\n{}\n```",
    "as a raw span": "`{}`{{=latex}} `{}`{{ =latex}} `{}`{{&equals;latex}}",
    "after code that ends too early": "```\n\\end{{verbatim}}{}\n```",
    "in a header of YAML": "---\nheader-includes: {}\n---\n\nhi",
    "in a table": "| a |\n|---|\n| {} |",
}
LITERAL = re.compile(r"\\begin\{(verbatim|Verbatim|Highlighting)\}.*?\\end\{\1\}", re.DOTALL)
ACTIVE = re.compile(
    r"\^\^|(?<!\\)(?:\\\\)*\\(?:input|VerbatimInput|lstinputlisting|InputIfFileExists|openin|read|immediate|write|directlua"
    r"|begin\{filecontents|csname|expandafter)(?![a-z])"
)


def latex_of(text: str) -> str:
    """Return the LaTeX of a notebook in which the model wrote a text wherever it can."""
    plan = PlanOutput(text, (StepOutput(text, text),), text)
    parts = (
        TextOutput(text),
        ReasoningOutput(text),
        ToolOutput(text, text, "python", text),
        NoticeOutput(text),
        plan,
    )
    output = nbformat.v4.new_output("display_data", to_mimebundle(AnswerOutput(parts, (text,))))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])
    source, _ = LatexExporter().from_notebook_node(notebook)
    return str(source).partition(r"\begin{document}")[2]


@pytest.mark.parametrize("way", WAYS)
def test_macros_of_the_model_have_no_effect_in_latex(way: str) -> None:
    text = "\n\n".join(WAYS[way].format(*[macro] * 3) for macro in MACROS)
    body = LITERAL.sub("", latex_of(text))
    assert body.count("passwd") > 0
    assert [line for line in body.splitlines() if ACTIVE.search(line)] == []


def test_formulas_remain_formulas_in_latex() -> None:
    body = latex_of(r"$\frac{1}{2}$ and $$\begin{pmatrix} a & b \end{pmatrix}$$")
    assert r"\(\frac{1}{2}\)" in body
    assert r"\begin{pmatrix} a & b \end{pmatrix}" in body
