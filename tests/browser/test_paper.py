"""nbconvert's LaTeX: TeX can read and write files, so no macro may come from the model."""

from __future__ import annotations

import html
import os
import random
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

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
from tests.rendering.test_tex import HOSTILE, MATHEMATICS, NAMES, SPELLED, formulas, in_delimiters

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
    plan = PlanOutput((StepOutput(text, "pending"),), text)
    return latex_of_parts(
        text,
        TextOutput(text),
        ReasoningOutput(text),
        ToolOutput(text, text, "python", text),
        NoticeOutput(text),
        plan,
    )


def latex_of_parts(
    text: str, *parts: TextOutput | ReasoningOutput | ToolOutput | NoticeOutput | PlanOutput
) -> str:
    """Return the LaTeX of a notebook with an answer of these parts."""
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


# What TeX knows without LaTeX's larger packages, in place of the head that nbconvert writes.
HEAD = r"""
\documentclass{article}
\usepackage{amsmath,amssymb,amscd,hyperref}
\newenvironment{tcolorbox}[1][]{}{} \newenvironment{Verbatim}[1][]{}{} \newcommand{\prompt}[4]{}
\begin{document}
"""
TAIL = r"""
\typeout{the end is reached}
\end{document}
"""
CALLS = "open,openat,creat,rename,renameat,renameat2,unlink,unlinkat,execve"
CALL = re.compile(rf'(?:{CALLS.replace(",", "|")})\((?:AT_FDCWD, )?"([^"]*)"')
OWN_TREE = ("/usr/share/texlive/", "/usr/share/texmf/", "/var/lib/texmf/", "/etc/texmf/")
TRACED = ("strace", "-f", "-qq", "-o", "calls", "-e", f"trace={CALLS}")
PDFLATEX = ("pdflatex", "-draftmode", "-shell-escape", "-interaction=nonstopmode", "job.tex")


def typeset(folder: Path, *parts: str) -> tuple[frozenset[str], str]:
    """Let pdflatex read texts, with leave to open any file and to run any program.

    Return what it opens, writes and runs beside the job's own files, as the kernel sees it, and what it prints.
    """
    home = folder / "home"
    home.mkdir(parents=True)
    for name in ("secret", "secret.tex", "x", "x.tex"):
        (folder / name).write_text("what only its owner may read")
    for number, part in enumerate(parts):  # a file's end ends what a macro without its arguments takes
        (folder / f"job-{number}.tex").write_text(part)
    body = "".join(f"\n\n\\input{{job-{number}}}" for number in range(len(parts)))
    (folder / "job.tex").write_text(HEAD + body + TAIL)
    allowed = {"openin_any": "a", "openout_any": "a", "MKTEXPK": "0", "MKTEXTFM": "0"}
    done = subprocess.run(
        [*TRACED, *PDFLATEX],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **allowed},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=False,
    )
    touched = frozenset(CALL.findall((folder / "calls").read_text(errors="replace")))
    own = re.compile(r"(?:\./)?job(?:-\d+)?\.[a-z]+|" + re.escape(f"{home}/") + ".*")
    return frozenset(each for each in touched if not own.fullmatch(each)), done.stdout.decode(
        errors="replace"
    )


def in_answer(formulas: Iterable[str]) -> str:
    """Return formulas, each between all delimiters, as LaTeX of an answer."""
    text = "\n\n".join(written for formula in formulas for written in in_delimiters(formula))
    return latex_of_parts(text, TextOutput(text)).partition(r"\maketitle")[2].rpartition(r"\end{document}")[0]


def mixtures(number: int) -> list[str]:
    """Return formulas of pieces that are put together by chance, the same ones in each run."""
    pieces = [*re.findall(r"\\[A-Za-z]+|\W|\w+", " ".join(MATHEMATICS)), *NAMES.split(), *SPELLED.split()]
    dice, pieces = random.Random(11), sorted(set(pieces))
    return [" ".join(dice.choices(pieces, k=dice.randint(2, 8))) for _ in range(number)]


def test_pdflatex_opens_and_writes_nothing_for_the_formulas_of_an_answer(tmp_path: Path) -> None:
    left = [html.unescape(each) for mixed in mixtures(400) for each in formulas(f"$${mixed}$$")]
    plain, _ = typeset(tmp_path / "plain", "Nothing.")
    touched, printed = typeset(
        tmp_path / "answer", in_answer([*HOSTILE[:-1], *MATHEMATICS]), *(rf"\[{each}\]" for each in left)
    )
    assert len(left) > 100
    assert "the end is reached" in printed
    assert sorted(each for each in touched - plain if not each.startswith(OWN_TREE)) == []


@pytest.mark.parametrize(
    ("macro", "seen"),
    [
        (r"\input{secret}", "secret.tex"),
        (r"\openin5=secret \read5 to\x", "secret.tex"),
        (r"\newwrite\x \immediate\openout\x=written.txt", "written.txt"),
        (r"\immediate\write18{touch pwned}", "pwned"),
    ],
)
def test_what_pdflatex_opens_and_writes_is_seen(macro: str, seen: str, tmp_path: Path) -> None:
    assert seen in typeset(tmp_path / "job", macro)[0]
