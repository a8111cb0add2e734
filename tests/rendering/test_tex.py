"""What of a formula reaches a typesetter: mathematics, and nothing that reads, writes, defines, loads or never ends."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from codex_nb.rendering.answer_output import answer_mimebundle
from codex_nb.rendering.markdown import ENVIRONMENTS, MACROS, safe_html
from tests.rendering.strict import inert

MATHEMATICS = [
    r"x^2 + y^2 = z^2",
    r"E = mc^2",
    r"a_1, \dots, a_n",
    r"\frac{a}{b} + \dfrac{c}{d} = \tfrac{ad + bc}{bd}",
    r"\sqrt{x} \sqrt[3]{1 + \sqrt{2}}",
    r"\sum_{i=1}^{n} i = \frac{n(n+1)}{2}",
    r"\prod_{p} \frac{1}{1 - p^{-s}} = \zeta(s)",
    r"\int_{-\infty}^{\infty} e^{-x^2}\,dx = \sqrt{\pi}",
    r"\int_0^1 \int_0^1 f(x, y) \, \mathrm{d}x \, \mathrm{d}y",
    r"\oint_C \mathbf{F} \cdot d\mathbf{r} = \iint_S (\nabla \times \mathbf{F}) \cdot d\mathbf{S}",
    r"\lim_{x \to 0} \frac{\sin x}{x} = 1",
    r"\lim\limits_{n\to\infty}\left(1 + \frac{1}{n}\right)^n = e",
    r"\frac{\partial u}{\partial t} = \alpha \nabla^2 u",
    r"\ddot{x} + 2\zeta\omega_0\dot{x} + \omega_0^2 x = 0",
    r"\hat{\beta} = (X^\top X)^{-1} X^\top y",
    r"\bar{x} = \frac1n \sum_i x_i, \quad s^2 = \frac{1}{n-1} \sum_i (x_i - \bar{x})^2",
    r"\widehat{f}(\xi) = \int f(x) e^{-2\pi i x \xi}\,dx",
    r"P(A \mid B) = \frac{P(B \mid A) P(A)}{P(B)}",
    r"X \sim \mathcal{N}(\mu, \sigma^2)",
    r"\mathbb{E}[X] = \int x \, dF(x), \quad \operatorname{Var}(X) = \mathbb{E}[X^2] - \mathbb{E}[X]^2",
    r"\operatorname*{arg\,max}_{\theta} \log p(x \mid \theta)",
    r"\underset{\theta}{\arg\min}\; \mathcal{L}(\theta)",
    r"\binom{n}{k} = \frac{n!}{k!(n-k)!}",
    r"{n \choose k} = {n \choose n - k}",
    r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}",
    r"\begin{bmatrix} 1 & 0 & \cdots & 0 \\ \vdots & & \ddots & \vdots \\ 0 & 0 & \cdots & 1 \end{bmatrix}",
    r"\det \begin{vmatrix} a & b \\ c & d \end{vmatrix} = ad - bc",
    r"\begin{array}{c|cc} & x & y \\ \hline a & 1 & 2 \\[2ex] b & 3 & 4 \end{array}",
    r"\left[\begin{array}{*{20}{c}} 1 & 2 \\ 3 & 4 \end{array}\right]",
    r"f(x) = \begin{cases} x & \text{if } x > 0 \\ 0 & \text{otherwise} \end{cases}",
    r"\begin{aligned} a &= b + c \\ &= d \end{aligned}",
    r"\begin{align*} (a + b)^2 &= a^2 + 2ab + b^2 \tag{1} \\ &\ge 0 \notag \end{align*}",
    r"\begin{gathered} a = b \\ c = d \end{gathered}",
    r"\begin{alignedat}{2} 10 & x + {} & 3 & y = 2 \end{alignedat}",
    r"\begin{split} a & = b \\ & = c \end{split}",
    r"\sum_{\substack{i < j \\ i, j \in S}} a_{ij}",
    r"\begin{smallmatrix} a & b \\ c & d \end{smallmatrix}",
    r"\begin{CD} A @>a>> B \\ @VbVV @VVcV \\ C @>d>> D \end{CD}",
    r"\forall \varepsilon > 0 \; \exists \delta > 0 : |x - a| < \delta \implies |f(x) - f(a)| < \varepsilon",
    r"\phi: G \to H, \quad \psi\colon V \hookrightarrow W, \quad \pi:X\to Y",
    r"A \cup B, A \cap B, A \setminus B, A \subseteq B, x \notin \emptyset",
    r"\neg (p \land q) \iff \neg p \lor \neg q",
    r"p \Rightarrow q \vdash \lnot q \Rightarrow \lnot p",
    r"\therefore a \equiv b \pmod{n}, \quad a \bmod n",
    r"\mathbb{R}^n, \mathbb{C}, \mathfrak{g}, \mathscr{L}, \mathsf{T}, \mathtt{x}, \boldsymbol{\theta}, \bm{w}",
    r"\vec{v} \cdot \vec{w} = \lVert v \rVert \lVert w \rVert \cos\theta",
    r"\left\lVert x \right\rVert_2 = \left( \sum_i |x_i|^2 \right)^{1/2}",
    r"\left\{ x \in \mathbb{R} \;\middle|\; x^2 < 2 \right\}",
    r"\langle \psi | \hat{H} | \psi \rangle, \quad \ket{0} + \bra{1}",
    r"\lfloor x \rfloor \le x \le \lceil x \rceil",
    r"\overbrace{a + b}^{\text{sum}} + \underbrace{c + \cdots + d}_{n \text{ times}}",
    r"\overline{z}, \underline{z}, \widetilde{z}, \overrightarrow{AB}, \overset{\text{def}}{=}, \stackrel{!}{=}",
    r"A \xrightarrow[\text{below}]{f} B \xleftarrow{g} C",
    r"x \mapsto x^2, \; a \leftrightarrow b, \; \nearrow, \; \rightleftharpoons",
    r"\boxed{x = 42}",
    r"\cancel{x} + \bcancel{y}",
    r"\textcolor{red}{x} + \color{blue} y",
    r"\displaystyle \sum_{k} \scriptstyle \tiny a_k",
    r"\aleph_0 < 2^{\aleph_0}, \hbar, \ell, \Re z, \Im z, \wp, \infty",
    r"\Gamma(z) = \int_0^\infty t^{z-1} e^{-t}\,dt",
    r"\cfrac{1}{1 + \cfrac{1}{1 + \cfrac{1}{1 + x}}}",
    r"\sqrt{1 + \sqrt{2 + \sqrt{3 + \sqrt{4 + \sqrt{5}}}}}",
    r"\ce{2 H2 + O2 -> 2 H2O}",
    r"90^\circ, \quad 50\,\%, \quad \$5, \quad 3\,\text{m}/\text{s}, \quad \text{25\degree}",
    r"\hspace{1cm} a \quad b \qquad c \, d \; e \! f \kern 3mu g",
    r"\underbrace{\int_a^b f}_{= F(b) - F(a)} \text{ for all } a, b",
    r"\arcsin x, \tanh x, \ln x, \log_2 n, \gcd(a, b), \min_{x} f, \sup S, \ker A, \dim V, \Pr(A)",
    r"\begin{Vmatrix} a \end{Vmatrix} \begin{Bmatrix} b \end{Bmatrix} \begin{dcases} c \end{dcases}",
    r"O(n \log n) \ll n^2 \approx \tilde{O}(n^2) \propto n^2",
    r"\not= \nleq \ngeq \nsubseteq \nmid \nexists",
    r"a \oplus b \otimes c \odot d \star e \ast f \bullet g \dagger",
    r"\triangle ABC \cong \triangle DEF, \angle A = 90^\circ, AB \parallel CD \perp EF",
    r"\newline \phantom{x} \smash{y} \mathring{A} \acute{a} \grave{a} \breve{a} \check{a}",
]
HOSTILE = [
    r"\UseName{input}{/home/ada/.ssh/config}",
    r"\ExplSyntaxOn\use:c{input}{secret}\ExplSyntaxOff",
    r"\file_input:n{secret}",
    r"\int_step_function:nN {99999999} \x",
    r"\exp_args:Nc \x {input}",
    r"\exp:w",
    r"\char_set_catcode_escape:N !",
    r"\iow_open:Nn \g_tmpa_iow {written.txt}",
    r"\AddToHook{enddocument}{x}",
    r"\input{secret}",
    r"\input secret",
    r"\@input{secret}",
    r"\@@input secret",
    r"\include{secret}",
    r"\InputIfFileExists{secret}{}{}",
    r"\openin5=secret \read5 to\x \x",
    r"\immediate\write18{touch pwned}",
    r"\openout3=written.txt",
    r"\newwrite\x",
    r"\csname input\endcsname{secret}",
    r"\begincsname input\endcsname",
    r"\expandafter\x\y",
    r"\noexpand\x",
    r"^^5cinput{secret}",
    r"\^^69nput{secret}",
    r"\catcode`\!=0 !input{secret}",
    r"\catcode 64=11",
    r"\lccode`x=`y \lowercase{\x}",
    r"\uppercase{x}",
    r"\def\x{\x\x}\x",
    r"\gdef\x{y}",
    r"\edef\x{y}",
    r"\xdef\x{y}",
    r"\let\x=\input \x{secret}",
    r"\futurelet\x\y",
    r"\newcommand{\x}{\x}\x",
    r"\renewcommand{\frac}{\x}",
    r"\providecommand{\x}{y}",
    r"\NewDocumentCommand{\x}{m}{y}",
    r"\DeclareMathOperator{\x}{y}",
    r"\newenvironment{x}{y}{z}",
    r"\loop x \repeat",
    r"\end{document}",
    r"\stop",
    r"\bye",
    r"\endinput",
    r"\begin{document}",
    r"\begin{filecontents}{x}y\end{filecontents}",
    r"\begin{verbatim}x\end{verbatim}",
    r"\begin{lstlisting}x\end{lstlisting}",
    r"\begin {tikzpicture}x\end{tikzpicture}",
    r"\begin{\x}",
    r"\begin align",
    r"\begin{align} a \end{gather}",
    r"\begin{align} a",
    r"a \end{align}",
    r"\usepackage{x}",
    r"\special{x}",
    r"\pdfximage{x}",
    r"\pdffiledump{x}",
    r"\directlua{x}",
    r"\ShellEscape{x}",
    r"\includegraphics{x}",
    r"\href{https://x.y}{z}",
    r"\url{https://x.y}",
    r"\html{x}",
    r"\htmlStyle{x}{y}",
    r"\class{x}{y}",
    r"\cssId{x}{y}",
    r"\style{x}{y}",
    r"\require{x}",
    r"\unicode{x}",
    r"\verb|x|",
    r"\label{x}",
    r"\ref{x}",
    r"\write1{x}",
    r"\typeout{x}",
    r"\message{x}",
    r"\errmessage{x}",
    r"\jobname",
    r"\the\count0",
    r"\count0=1",
    r"\advance\x by 1",
    r"\global\x",
    r"\makeatletter",
    r"\scantokens{x}",
    r"\font\x=cmr10",
    r"\x@y",
    r"a % b",
    r"#1",
    r"a}",
    r"{a",
    r"{" * 500 + r"}" * 500,
    r"\phantom{" * 20 + "x" + "}" * 20,
    r"\sqrt[3]{" * 20 + "x" + "}" * 20,
    r"\overset{a}{" * 20 + "x" + "}" * 20,
    r"\hspace{99999cm}",
    r"\kern-9999pt",
    r"\hskip\x",
    r"\begin{array}{*{9999}{c}} a \end{array}",
    r"\begin{array}{*{99}{*{99}{*{99}{c}}}} a \end{array}",
    r"\begin{array}{c@{\input{secret}}c} a \end{array}",
    r"\frac{\input{secret}}{2}",
    r"x" * 30_000,
]
MACRO = re.compile(r"\\([A-Za-z@]+|.)", re.DOTALL)


def in_delimiters(formula: str) -> list[str]:
    """Return a formula between each pair of delimiters that a model may write it in."""
    inline = [f"${formula}$", rf"\({formula}\)"] if "\n" not in formula else []
    return [*inline, f"$$\n{formula}\n$$", f"\\[\n{formula}\n\\]"]


def formulas(markdown: str) -> list[str]:
    """Return what a page's typesetter is given of an answer."""
    written = re.findall(r'<span class="codex-math">(\$\$?)(.*?)\1</span>', safe_html(markdown), re.DOTALL)
    return [formula for _, formula in written]


@pytest.mark.parametrize("formula", MATHEMATICS)
def test_mathematics_stays_a_formula(formula: str) -> None:
    for markdown in in_delimiters(formula):
        if markdown.startswith("$") and not markdown.startswith("$$") and "$" in formula:
            continue  # a dollar would end it
        assert len(formulas(markdown)) == 1, markdown
        assert "`" not in inert(markdown), markdown


@pytest.mark.parametrize("formula", HOSTILE, ids=lambda formula: formula[:30])
def test_what_is_not_mathematics_is_code_or_text_everywhere(formula: str) -> None:
    for markdown in in_delimiters(formula):
        assert formulas(markdown) == [], markdown
        left = re.sub(r"(`+).*?\1", "", inert(markdown), flags=re.DOTALL)
        assert not re.search(r"(?<!\\)\$", left), markdown


PIECES = st.sampled_from(
    [
        *re.findall(r"\\[A-Za-z]+|\W|\w+", " ".join(MATHEMATICS + HOSTILE[:90])),
        *sorted(f"\\{m}" for m in MACROS),
    ]
)


@given(st.lists(PIECES, max_size=20).map("".join))
def test_every_macro_of_a_formula_that_is_left_is_in_the_list(formula: str) -> None:
    for markdown in in_delimiters(formula):
        for left in formulas(markdown):
            found = [name for name in MACRO.findall(left) if name not in {"begin", "end"}]
            assert set(found) <= MACROS
            environments = re.findall(r"\\(?:begin|end)\s*\{\s*(.*?)\s*\}", left)
            assert set(environments) <= ENVIRONMENTS
            assert left.count("\\begin") + left.count("\\end") == len(environments)


CATCODES = {"\\": 0, "{": 1, "}": 2, "$": 3, "&": 4, "\n": 5, "#": 6, "^": 7, "_": 8}
CATCODES |= {"\x00": 9, " ": 10, "\t": 10, "~": 13, "\f": 13, "%": 14, "\x7f": 15}
CATCODES |= dict.fromkeys("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", 11)
# What else a package or an engine may have made of a document: pdfTeX and XeTeX, the code of packages, expl3.
REGIMES = {
    "a document": CATCODES,
    "XeTeX": CATCODES,
    "the code of packages": CATCODES | {"@": 11},
    "expl3": CATCODES | {"_": 11, ":": 11, " ": 9, "~": 10},
}
Token = tuple[str, int]  # a control sequence's name with category -1, or a character with its own


class TeX:
    """TeX's own reading of a text (The TeXbook, chapter 8), one token after the other."""

    def __init__(self, text: str, regime: str) -> None:
        self.text, self.at, self.regime = text, 0, regime

    def category(self, character: str) -> int:
        if self.regime == "XeTeX" and not character.isascii() and character.isalpha():
            return 11
        return REGIMES[self.regime].get(character, 12)

    def character(self) -> str:
        """Read a character; ``^^`` spells another one, which may spell another one yet."""
        if match := re.compile(r"\^\^(?:([0-9a-f]{2})|(.))", re.DOTALL).match(self.text, self.at):
            code = int(match[1], 16) if match[1] else ord(match[2]) ^ 64
            self.text = self.text[: self.at] + chr(code) + self.text[match.end() :]
            return self.character()
        self.at += 1
        return self.text[self.at - 1]

    def tokens(self) -> list[Token]:
        found: list[Token] = []
        while self.at < len(self.text):
            one = self.character()
            match self.category(one):
                case 0:
                    found.append((self.name(), -1))
                case 14:
                    end = self.text.find("\n", self.at)
                    found.append(("a comment", 14))
                    self.at = len(self.text) if end < 0 else end + 1
                case category:
                    found.append((one, category))
        return found

    def name(self) -> str:
        if self.at >= len(self.text):
            return ""
        name = self.character()
        while self.category(name[-1]) == 11 and self.at < len(self.text):
            before, text = self.at, self.text
            one = self.character()
            if self.category(one) != 11:
                self.at, self.text = before, text
                break
            name += one
        return name


def check_as_tex(formula: str, regime: str) -> None:
    """Check that TeX finds mathematics alone in a formula, closes what it opens, and nothing that ends it early."""
    tokens, depth = TeX(formula, regime).tokens(), 0
    for place, (one, category) in enumerate(tokens):
        depth += {1: 1, 2: -1}.get(category, 0)
        assert depth >= 0
        assert category not in {9, 14, 15} or regime == "expl3"
        assert category != 3 or depth > 0
        assert category != 6 or re.match(r"#[0-9A-Fa-f]{3,6}\}", formula[formula.index("#") :])
        if category != -1 or one in MACROS:
            continue
        if one in {"begin", "end"}:
            name = "".join(each for each, _ in tokens[place + 1 : place + 20])
            assert re.match(r"\s*\{\s*([A-Za-z]+\*?)\s*\}", name)[1] in ENVIRONMENTS  # type: ignore[index]
        elif regime == "the code of packages":
            assert one.partition("@")[0] in MACROS
        elif regime == "XeTeX":
            assert not one.isascii()  # no macro that acts has such a letter in its name
        else:
            assert regime == "expl3"
            assert ":" not in one  # every function of it has a signature
            assert one.split("_")[0] in {*MACROS, ""}  # "\_" and letters name a variable at most
    assert depth == 0


SPELLED = r"""
    ^^5c ^^M ^^ ^^^^5c % \% # \# #1 {#123} @ _ : ~ \ \\ $ \$ & { } \{ \} é * \begin \end \begin{align} \end{align}
"""
SPELLINGS = st.sampled_from(
    [*SPELLED.split(), *["\x00", "\x7f", "\n", "\r", "\u2028", "\u200b"], "\n\n", " "]
)
NAMES = r"""
    \input \include \openin \openout \write \read \immediate \special \catcode \def \let \csname \expandafter
    \UseName \use:c \exp:w \file_input:n \iow_open:Nn \int_step_function:nN \sum_input:n \frac_use:c \@input \@@input
    \sqrt@ \usepackage \verb
"""
ACTING = st.sampled_from(NAMES.split())


@given(st.lists(st.one_of(PIECES, SPELLINGS, ACTING), max_size=12).map("".join))
@example(r"\_i")
@settings(max_examples=500)
def test_tex_finds_mathematics_alone_in_a_formula_however_its_characters_are_read(formula: str) -> None:
    for markdown in in_delimiters(formula):
        for left in formulas(markdown):
            for regime in REGIMES:
                check_as_tex(html.unescape(left), regime)


@pytest.mark.parametrize("regime", REGIMES)
def test_of_every_control_symbol_and_every_name_of_the_kernel_only_mathematics_is_left(regime: str) -> None:
    words = {word for formula in HOSTILE for word in re.findall(r"\\[A-Za-z@_:]+", formula)} - {
        r"\frac",
        r"\sum",
    }
    symbols = {"\\" + chr(code) for code in range(0x250)} | {
        "\\" + chr(code) for code in range(0x2000, 0x2070)
    }
    left = 0
    for spelled in sorted(words | symbols):
        for formula in (
            f"x {spelled} y",
            f"{{{spelled}}}",
            rf"\text{{{spelled}{{f}}}}",
            rf"\sqrt{{{spelled} f}}",
        ):
            for found in formulas(f"$$\n{formula}\n$$"):
                check_as_tex(html.unescape(found), regime)
                left += 1
    assert left  # control symbols of mathematics stay


def test_the_lists_hold_no_macro_that_defines_reads_writes_or_expands() -> None:
    acting = (
        "def gdef edef xdef let futurelet newcommand renewcommand providecommand global long csname endcsname "
        "expandafter noexpand input include openin openout read write immediate special catcode lccode uccode char "
        "mathchardef chardef the number romannumeral string meaning jobname stop end begin bye dump loop repeat "
        "if ifx else fi relax begingroup endgroup verb href url label ref html class style unicode hook UseName"
    )
    assert MACROS & set(acting.split()) == set()
    assert ENVIRONMENTS & {"document", "filecontents", "verbatim", "tikzpicture", "picture"} == set()


def test_a_formula_in_a_saved_answer_is_code_in_all_forms_when_it_could_act() -> None:
    bundle = answer_mimebundle(r"Look: $\UseName{input}{f}$.")
    assert r"<code>$\UseName{input}{f}$</code>" in bundle["text/html"]
    assert r"`$\UseName{input}{f}$`" in bundle["text/markdown"]
