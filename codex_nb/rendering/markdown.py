"""Markdown that a model wrote: as HTML that cannot act, and as Markdown that is inert wherever it is rendered.

Formulas are left for the front end's typesetter.
"""

from __future__ import annotations

import re
from functools import cache
from html import escape
from math import prod
from typing import TYPE_CHECKING

from codex_nb.rendering.sanitize import (
    SafeHtml,
    code_html,
    escape_html,
    language_of,
    sanitize_html,
    visible_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from markdown_it import MarkdownIt
    from markdown_it.renderer import RendererHTML
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_core import StateCore
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token
    from markdown_it.tree import SyntaxTreeNode
    from markdown_it.utils import EnvType, OptionsDict


# Greek and other letters, operators, binary operators, relations, arrows, logic and signs, delimiters, constructions,
# fonts, spaces; and after them the macros of one character.
_WORDS = """
    alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta thetasym iota kappa varkappa lambda mu nu xi
    omicron pi varpi rho varrho sigma varsigma tau upsilon phi varphi chi psi omega digamma
    Alpha Beta Gamma Delta Epsilon Zeta Eta Theta Iota Kappa Lambda Mu Nu Xi Omicron Pi Rho Sigma Tau Upsilon Phi Chi
    Psi Omega varGamma varDelta varTheta varLambda varXi varPi varSigma varUpsilon varPhi varPsi varOmega

    aleph alef alefsym beth gimel daleth ell eth hbar hslash imath jmath Im image Re real Reals reals R N Z natnums
    cnums Complex wp weierp partial nabla infty infin infinity Finv Game Bbbk mho complement

    sum prod coprod int iint iiint iiiint idotsint oint oiint oiiint intop smallint
    bigcap bigcup bigvee bigwedge bigoplus bigotimes bigodot biguplus bigsqcup bigcirc bigstar bigtriangledown
    bigtriangleup lim liminf limsup injlim projlim varliminf varlimsup varinjlim varprojlim plim
    max min sup inf arg argmax argmin det dim deg gcd hom ker Pr exp log ln lg
    sin cos tan cot sec csc sinh cosh tanh coth arcsin arccos arctan arctg arcctg cosec cotg ctg tg sh ch th cth
    operatorname operatornamewithlimits limits nolimits mathop mathbin mathrel mathord mathopen mathclose mathpunct
    mathinner bmod mod pmod pod

    pm mp plusmn times div cdot cdotp centerdot ast star circ bullet bull cap cup Cap Cup doublecap doublecup sqcap
    sqcup uplus vee wedge lor land curlyvee curlywedge veebar barwedge doublebarwedge oplus ominus otimes oslash odot
    circledast circledcirc circleddash boxplus boxminus boxtimes boxdot dotplus divideontimes ltimes rtimes
    leftthreetimes rightthreetimes setminus smallsetminus amalg wr dagger dag ddagger ddag intercal And diamond
    bigcirc lhd rhd unlhd unrhd triangleleft triangleright gtrdot lessdot

    lt gt le leq ge geq ne neq leqslant geqslant leqq geqq eqslantless eqslantgtr lesssim gtrsim lessapprox gtrapprox
    ll gg lll llless ggg gggtr lessgtr gtrless lesseqgtr gtreqless lesseqqgtr gtreqqless nless ngtr nleq ngeq nleqslant
    ngeqslant nleqq ngeqq lneq gneq lneqq gneqq lvertneqq gvertneqq lnsim gnsim lnapprox gnapprox
    equiv sim simeq approx approxeq thickapprox thicksim cong ncong nsim asymp doteq Doteq doteqdot risingdotseq
    fallingdotseq eqcirc circeq triangleq bumpeq Bumpeq eqsim backsim backsimeq propto varpropto
    prec succ preceq succeq preccurlyeq succcurlyeq curlyeqprec curlyeqsucc precsim succsim precapprox succapprox
    nprec nsucc npreceq nsucceq precneqq succneqq precnsim succnsim precnapprox succnapprox
    in notin notni isin ni owns subset supset sub sube supe subseteq supseteq subsetneq supsetneq nsubseteq nsupseteq
    subseteqq supseteqq subsetneqq supsetneqq nsubseteqq nsupseteqq varsubsetneq varsupsetneq varsubsetneqq
    varsupsetneqq Subset Supset sqsubset sqsupset sqsubseteq sqsupseteq
    mid nmid shortmid nshortmid parallel nparallel shortparallel nshortparallel perp bowtie Join pitchfork between
    models vdash dashv vDash Vdash VDash Vvdash nvdash nvDash nVdash nVDash smile frown smallsmile smallfrown
    vartriangle vartriangleleft vartriangleright trianglelefteq trianglerighteq ntriangleleft ntriangleright
    ntrianglelefteq ntrianglerighteq blacktriangleleft blacktriangleright multimap origof imageof therefore because
    colon vcentcolon ratio dblcolon coloncolon coloneq Coloneq coloneqq Coloneqq eqcolon Eqcolon eqqcolon Eqqcolon
    colonequals coloncolonequals equalscolon equalscoloncolon colonminus coloncolonminus minuscolon minuscoloncolon
    colonsim Colonsim coloncolonsim simcolon simcoloncolon colonapprox Colonapprox coloncolonapprox approxcolon
    approxcoloncolon not backepsilon

    to gets mapsto longmapsto leadsto iff implies impliedby restriction
    leftarrow rightarrow leftrightarrow Leftarrow Rightarrow Leftrightarrow longleftarrow longrightarrow
    longleftrightarrow Longleftarrow Longrightarrow Longleftrightarrow uparrow downarrow updownarrow Uparrow Downarrow
    Updownarrow nearrow searrow swarrow nwarrow hookleftarrow hookrightarrow leftharpoonup leftharpoondown
    rightharpoonup rightharpoondown upharpoonleft upharpoonright downharpoonleft downharpoonright leftrightharpoons
    rightleftharpoons leftleftarrows rightrightarrows leftrightarrows rightleftarrows upuparrows downdownarrows
    twoheadleftarrow twoheadrightarrow leftarrowtail rightarrowtail looparrowleft looparrowright curvearrowleft
    curvearrowright circlearrowleft circlearrowright rightsquigarrow leftrightsquigarrow dashleftarrow dashrightarrow
    Lleftarrow Rrightarrow Lsh Rsh nleftarrow nrightarrow nleftrightarrow nLeftarrow nRightarrow nLeftrightarrow
    larr rarr harr lrarr uarr darr Larr Rarr Harr Lrarr Uarr Darr lArr rArr hArr lrArr uArr dArr
    xleftarrow xrightarrow xleftrightarrow xLeftarrow xRightarrow xLeftrightarrow xmapsto xhookleftarrow
    xhookrightarrow xtwoheadleftarrow xtwoheadrightarrow xleftharpoonup xleftharpoondown xrightharpoonup
    xrightharpoondown xleftrightharpoons xrightleftharpoons xlongequal xtofrom

    forall exists exist nexists neg lnot top bot emptyset empty varnothing angle measuredangle sphericalangle triangle
    triangledown blacktriangle blacktriangledown square blacksquare Box Diamond lozenge blacklozenge star bigstar surd
    prime backprime sharp flat natural clubsuit diamondsuit heartsuit spadesuit clubs diamonds hearts spades checkmark
    maltese degree textdegree yen pounds mathsterling copyright circledR circledS S P diagup diagdown
    ldots cdots vdots ddots dots dotsb dotsc dotsi dotsm dotso ldotp mathellipsis textellipsis

    left right middle big Big bigg Bigg bigl Bigl biggl Biggl bigr Bigr biggr Biggr bigm Bigm biggm Biggm
    langle rangle lang rang lbrace rbrace lBrace rBrace lbrack rbrack lparen rparen lceil rceil lfloor rfloor lvert
    rvert lVert rVert vert Vert lgroup rgroup lmoustache rmoustache ulcorner urcorner llcorner lrcorner llbracket
    rrbracket backslash lq rq

    frac dfrac tfrac cfrac genfrac over atop binom dbinom tbinom choose brace brack sqrt
    overset underset stackrel substack overbrace underbrace overbracket underbracket overgroup undergroup
    overline underline overlinesegment underlinesegment underbar
    overleftarrow overrightarrow overleftrightarrow Overrightarrow overleftharpoon overrightharpoon
    underleftarrow underrightarrow underleftrightarrow utilde
    acute grave bar breve check dot ddot dddot ddddot hat widehat tilde widetilde widecheck vec mathring
    boxed fbox cancel bcancel xcancel cancelto sout phase angl angln tag notag nonumber cr hline hdashline
    set Set bra ket braket Bra Ket Braket phantom hphantom vphantom smash mathstrut ce pu

    mathrm mathbf mathit mathsf mathtt mathcal mathscr mathfrak mathbb mathnormal mathsfit Bbb bold boldsymbol bm pmb
    frak cal rm bf it sf tt text textrm textbf textit textsf texttt textnormal textup textmd emph mbox hbox
    displaystyle textstyle scriptstyle scriptscriptstyle tiny sixptsize scriptsize footnotesize small normalsize large
    Large LARGE huge Huge color textcolor colorbox fcolorbox TeX LaTeX KaTeX
    textasciitilde textasciicircum textbackslash textbar textbardbl textbraceleft textbraceright textdollar
    textunderscore textless textgreater textendash textemdash textquoteleft textquoteright textquotedblleft
    textquotedblright textdagger textdaggerdbl textsterling textregistered textcircled AA aa AE ae OE oe O o ss

    quad qquad enspace space nobreakspace thinspace medspace thickspace negthinspace negmedspace negthickspace
    hspace hskip mspace mskip kern mkern hfill newline allowbreak nobreak
"""
MACROS = frozenset(_WORDS.split()) | frozenset(",:;!>|{}&%$#_ \n\\'\"`^~=.-/")
_STARRED_TOO = """
    array darray matrix pmatrix bmatrix Bmatrix vmatrix Vmatrix smallmatrix subarray cases dcases rcases drcases
    align aligned alignat alignedat gather gathered multline split equation eqnarray flalign CD
"""
ENVIRONMENTS = frozenset(name + star for name in _STARRED_TOO.split() for star in ("", "*"))

# TeX sets what these are given several times over, so one within the other within the other takes for ever.
_REPEATED = """
    text textrm textbf textit textsf texttt textnormal textup textmd mbox hbox fbox boxed emph phantom hphantom
    vphantom smash operatorname overset underset stackrel substack sqrt boldsymbol bm pmb
    overleftarrow overrightarrow overleftrightarrow underleftarrow underrightarrow underleftrightarrow
    cancel bcancel xcancel cancelto sout bra ket braket Bra Ket Braket Set set ce pu
"""
_EXTENSIBLE_ARROWS = (name for name in MACROS if name.startswith("x") and name != "xi")
_REPEATING = frozenset([*_REPEATED.split(), *_EXTENSIBLE_ARROWS])

LONGEST = 20_000  # characters
DEEPEST = 30  # groups and environments, one within the other
DEEPEST_REPEATED = 6
WIDEST = 100  # columns of an array

_TOKEN = re.compile(r"\\(?P<macro>[A-Za-z]+|[^A-Za-z])|(?P<sign>[{}$])", re.DOTALL)
_ENVIRONMENT = re.compile(r"\s*\{\s*([A-Za-z]+\*?)\s*\}")
# ``^^5c`` is a backslash to TeX, ``%`` hides the rest of the line, ``#`` belongs to definitions; and in the names of
# LaTeX's own programming language a macro of mathematics may be the beginning: ``\int_step_function:nN``, ``\exp:w``.
_SPELLING = re.compile(
    r"\^\^|(?<!\\)(?:\\\\)*(?:%|#(?![0-9A-Fa-f]{3,6}\}))|\\[A-Za-z]+(?:_[A-Za-z]+)+:|\\exp:"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
_SPACING = re.compile(r"\\(?:hspace|hskip|mspace|mskip|kern|mkern)(?![A-Za-z])")
_SIZE = re.compile(r"\s*+\*?\s*+\{?\s*+-?\d{0,2}(?:\.\d{1,4})?\s*+(?:pt|em|ex|mu|mm|cm|in|pc|bp)(?![A-Za-z])")
_COPIES = re.compile(r"\*\s*(?:\{\s*(\d+)\s*\}|(\d))\s*\{")  # of a column, in the head of an array


def is_inert(formula: str) -> bool:
    """Whether a typesetter, be it a page's or TeX, can only draw the formula."""
    return (
        len(formula) <= LONGEST
        and visible_text(formula) == formula
        and _SPELLING.search(formula) is None
        and all(_SIZE.match(formula, found.end()) for found in _SPACING.finditer(formula))
        and prod(int((found[1] or found[2])[:4]) for found in _COPIES.finditer(formula)) <= WIDEST
        and _only_draws(formula)
    )


def _only_draws(formula: str) -> bool:
    """Whether every macro and environment is in the lists, and what is opened is closed."""
    opened: list[str] = []  # environments by their names, groups by "{", those of a repeating macro by "{{"
    repeats = False  # whether a group that opens now is an argument of such a macro
    position = 0
    for found in _TOKEN.finditer(formula):
        position, macro, sign = found.end(), found["macro"], found["sign"]
        if macro in {"begin", "end"}:
            environment = _ENVIRONMENT.match(formula, position)
            name = environment[1] if environment is not None else ""
            repeats = False
            if macro == "begin":
                opened.append(name)
                is_allowed = name in ENVIRONMENTS
            else:
                is_allowed = bool(opened) and opened.pop() == name
        elif macro:
            repeats, is_allowed = macro in _REPEATING, macro in MACROS
        elif sign == "$":  # a formula within a text within the formula
            is_allowed = "{{" in opened
        elif sign == "{":
            opened.append("{{" if repeats else "{")
            repeats, is_allowed = False, True
        else:
            group = opened.pop() if opened else ""
            repeats = group == "{{"  # the next one may be a further argument
            is_allowed = group in {"{", "{{"}
        if not is_allowed or len(opened) > DEEPEST or opened.count("{{") > DEEPEST_REPEATED:
            return False
    # a backslash at the end would take the closing delimiter with it
    return not opened and "\\" not in formula[position:]


CLOSING = {"$$": "$$", "\\[": "\\]"}
CODE_INDENT = 4

# Macros by which MathJax or KaTeX link, style, load or define; in text they are code: a page may see a formula there.
_ACTIVE_MACRO = re.compile(
    r"(\\(?:href|url|style|class|cssId|html\w*|data|require|includegraphics|unicode|csname|tooltip|texttip|mathtip"
    r"|toggle|def|gdef|edef|xdef|let|futurelet|global|newcommand|renewcommand|providecommand|newenvironment"
    r"|renewenvironment|DeclareMathOperator|catcode|input|include|write|openout|bbox|enclose|mmlToken)(?![a-z]))"
)

# Prices are not formulas: no space inside the dollars, no word character outside them; code is not one either.
_WORD = re.compile(r"[\w\\$]")
_DISPLAY = (
    re.compile(r"\$\$((?:[^$`\\]|\\.)+)\$\$(?![\w$])", re.DOTALL),
    re.compile(r"\\\[(?!\s*\\\])(.{1,1000}?)\\\]", re.DOTALL),
)
_INLINE = (
    *_DISPLAY,
    re.compile(r"\$(?![\s$])((?:[^$`\\]|\\.)+)(?<!\s)\$(?![\w$])", re.DOTALL),
    re.compile(r"\\\((?!\s*\\\))(.{1,1000}?)\\\)", re.DOTALL),
)


def _display_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: FBT001 -- the parser's own signature
    if state.sCount[start] - state.blkIndent >= CODE_INDENT:
        return False
    first = _line(state, start)
    closing = CLOSING.get(first[:2])
    # `$$x$$ and text` is a formula inside a paragraph.
    if closing is None or first.find(closing, 2) not in {-1, len(first) - 2}:
        return False
    if silent:
        return True
    last, closed = _extent(state, start, end, closing)
    source = state.getLines(start, last + 1, state.blkIndent, keepLastLF=False).strip()
    token = state.push("math_block", "math", 0)
    token.block = True
    token.map = [start, last + 1]
    token.content = source[2:-2].strip() if closed else source
    token.meta["closed"] = closed
    state.line = last + 1
    return True


def _extent(state: StateBlock, start: int, end: int, closing: str) -> tuple[int, bool]:
    for number in range(start, end):
        line = _line(state, number)
        if number > start and (not line or state.sCount[number] < state.blkIndent):
            return number - 1, False
        if line.endswith(closing) and (number > start or len(line) > len(closing) + 1):
            return number, True
    return end - 1, False


def _line(state: StateBlock, number: int) -> str:
    return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]].strip()


def _inline_formula(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 -- the parser's own signature
    if state.src[state.pos] not in "$\\":
        return False
    if state.src[state.pos] == "$" and _WORD.match(state.src[state.pos - 1 : state.pos]):
        return False
    match = next(
        (found for pattern in _INLINE if (found := pattern.match(state.src, state.pos, state.posMax))), None
    )
    if match is None:
        return False
    if not silent:
        is_display = match.re in _DISPLAY
        token = state.push("math_inline_double" if is_display else "math_inline", "math", 0)
        token.content = match.group(1).strip()
    state.pos = match.end()
    return True


_LINK = re.compile(r"(?:https?://|mailto:)[^\s]", re.IGNORECASE)


def safe_html(markdown: str) -> SafeHtml:
    """Return the Markdown as sanitised HTML."""
    return render_tokens(parse(markdown))


def parse(markdown: str) -> list[Token]:
    """Return the block tokens of a Markdown text, with what stands inside them."""
    return with_inline(blocks_of(markdown))


def blocks_of(markdown: str) -> list[Token]:
    """Return the block tokens alone: enough to tell where blocks begin and end, at half the cost."""
    from markdown_it.rules_core import StateCore, block, normalize

    state = StateCore(markdown, _parser(), {})
    for rule in (normalize, block, _space_items_one_by_one):
        rule(state)
    return state.tokens


def with_inline(tokens: list[Token]) -> list[Token]:
    """Complete block tokens, all of a text's or only some, with what stands inside them."""
    from markdown_it.rules_core import StateCore, inline, text_join

    state = StateCore("", _parser(), {}, tokens)
    for rule in (inline, text_join, _align_cells):
        rule(state)
    return state.tokens


def render_tokens(tokens: Sequence[Token]) -> SafeHtml:
    """Return whole blocks as sanitised HTML."""
    return sanitize_html(render_unsanitized(tokens))


def render_unsanitized(tokens: Sequence[Token]) -> str:
    """Return whole blocks as HTML for a page that is sanitised as a whole."""
    parser = _parser()
    html: str = parser.renderer.render(tokens, parser.options, {})
    return html


def is_web_link(url: str) -> bool:
    """Whether a link may be followed: http, https or mailto, and nothing that a browser might read otherwise."""
    return _LINK.match(url) is not None and url.isprintable()


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt  # loaded with the first answer, not before the first request

    md = MarkdownIt("commonmark", {"html": False, "linkify": False, "typographer": False})
    md.enable(["table", "strikethrough"]).disable(["reference", "html_block", "html_inline"])
    md.block.ruler.before("fence", "math_block", _display_block, {"alt": ["paragraph", "blockquote", "list"]})
    md.inline.ruler.before("escape", "math_inline", _inline_formula)
    md.validateLink = is_web_link  # type: ignore[method-assign]  # the parser's documented hook
    for name in _HTML:
        md.add_render_rule(name, _render)
    return md


def _space_items_one_by_one(state: StateCore) -> None:
    """Make a list item tight when it holds one paragraph, whatever the other items hold.

    So an item that is complete never changes because of one that comes after it.
    """
    items: list[tuple[int, list[Token]]] = []
    for token in state.tokens:
        match token.type:
            case "list_item_open":
                items.append((token.level + 1, []))
            case "list_item_close":
                _, paragraphs = items.pop()
                for paragraph in paragraphs:
                    paragraph.hidden = len(paragraphs) == 2  # noqa: PLR2004 -- its opening and its end
            case "paragraph_open" | "paragraph_close" if items and token.level == items[-1][0]:
                items[-1][1].append(token)


def _align_cells(state: StateCore) -> None:
    # JupyterLab sets the cells of HTML tables to the right unless they say otherwise themselves.
    for token in state.tokens:
        if token.type in {"th_open", "td_open"}:
            token.attrs = {"style": token.attrGet("style") or "text-align:left"}


def image_text(token: Token | SyntaxTreeNode) -> str:
    """Return what stands for an image: its description and address, to read."""
    return f"[image: {token.content} at {token.attrGet('src') or ''}]"


def _formula_html(token: Token) -> str:
    delimiter = "$" if token.type == "math_inline" else "$$"
    if not is_inert(token.content):
        return f"<code>{escape(delimiter + token.content + delimiter, quote=False)}</code>"
    return f'<span class="codex-math">{delimiter}{escape(token.content, quote=False)}{delimiter}</span>'


_HTML: dict[str, Callable[[Token], str]] = {
    "text": lambda token: escape_html(token.content),
    "fence": lambda token: code_html(token.content, token.info),
    "code_block": lambda token: code_html(token.content),
    "image": lambda token: f'<span class="codex-image">{escape_html(image_text(token))}</span>',
    "math_inline": _formula_html,
    "math_inline_double": _formula_html,
    # of an open one the end never came
    "math_block": lambda token: (
        f"<p>{_formula_html(token) if token.meta['closed'] else escape_html(token.content)}</p>\n"
    ),
}


def _render(
    _: RendererHTML, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType
) -> str:
    return _HTML[tokens[index].type](tokens[index])


_ACTIVE = re.compile(r"[\\`*\[\]|~$]|<(?![\s=\d])|&(?=#?\w+;)|(?<!\w)_|_(?!\w)|\{(?=\s*(?:=|\Z))")
_LINE_START = re.compile(r"^([^\S\n]*+)([#>+\-=:]|\d{1,9}(?=[.)]))", re.MULTILINE)
_IN_ADDRESS = str.maketrans({c: f"%{ord(c):02X}" for c in " \"<>\\^`{|}()[]*_~$'"})
_DIAGRAMS = {"mermaid", "geojson", "topojson", "stl", "math", "html", "svg"}


def inert_markdown(tokens: list[Token]) -> str:
    """Return parsed Markdown as Markdown that reads the same and can do nothing; the tokens stay as they are."""
    from markdown_it.tree import SyntaxTreeNode

    return _blocks(SyntaxTreeNode(tokens)) + "\n" if tokens else ""


def escape_markdown(text: str) -> str:
    """Return one line of plain text as Markdown that shows it."""
    return _at_line_start(_escape(" ".join(text.split())))


def fenced(code: str, language: str = "") -> str:
    """Return code as a fenced block that its content cannot leave."""
    language = language_of(language).lower()
    if language in _DIAGRAMS:
        language = "text"
    fence = "`" * max(3, _longest_run(code) + 1)
    return f"{fence}{language}\n{code.rstrip(chr(10))}\n{fence}"


def _blocks(node: SyntaxTreeNode, gap: str = "\n\n") -> str:
    return gap.join(_BLOCKS[child.type](child) for child in node.children)


def _heading(node: SyntaxTreeNode) -> str:
    text = " ".join(line.strip() for line in _inline(node.children[0]).split("\n"))
    words = text.rstrip("#")
    return f"{'#' * int(node.tag[1])} {words}{'&#35;' if words != text else ''}"


def _list(node: SyntaxTreeNode) -> str:
    marker = node.markup if node.markup in {"-", "*", "+", ".", ")"} else "-"
    return "\n".join(_item(child, child.info + marker) for child in node.children)


def _item(node: SyntaxTreeNode, marker: str) -> str:
    tight = sum(child.type == "paragraph" for child in node.children) < 2  # noqa: PLR2004 -- two need a gap
    content = _blocks(node, "\n" if tight and len(node.children) < 3 else "\n\n")  # noqa: PLR2004
    return f"{marker} {_indented(content, ' ' * (len(marker) + 1))}".rstrip()


def _indented(text: str, indent: str) -> str:
    first, *rest = text.split("\n")
    return "\n".join([first, *(indent + line if line else line for line in rest)])


def _quote(node: SyntaxTreeNode) -> str:
    return "\n".join(f"> {line}".rstrip() for line in _blocks(node).split("\n"))


def _table(node: SyntaxTreeNode) -> str:
    rows = [row for part in node.children for row in part.children]
    lines = ["| " + " | ".join(_cell(cell) for cell in row.children) + " |" for row in rows]
    marks = {"text-align:center": ":---:", "text-align:right": "---:"}
    rule = "|" + "|".join(marks.get(str(cell.attrGet("style")), "---") for cell in rows[0].children) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _cell(node: SyntaxTreeNode) -> str:
    # Inside a table a bar ends the cell even in code and formulas.
    return re.sub(r"(?<!\\)\|", r"\\|", _inline(node.children[0]).replace("\n", " "))


def _write_display(node: SyntaxTreeNode) -> str:
    if not node.meta["closed"]:
        return _at_line_start(_escape(node.content))
    formula = re.sub(r"\n\s*", "\n", node.content)
    return f"$$\n{_inert_lines(formula)}\n$$" if is_inert(node.content) else fenced(f"$${node.content}$$")


def _inert_lines(formula: str) -> str:
    # A renderer that knows no formulas must not find HTML or a link in one.
    return formula.replace("<", "\\lt ").replace("](", "] (").replace("![", "! [").replace("]:", "] :")


def _inline(node: SyntaxTreeNode) -> str:
    return "".join(_span(child) for child in node.children)


def _span(node: SyntaxTreeNode) -> str:
    match node.type:
        case "softbreak":
            return "\n"
        case "hardbreak":
            return "\\\n"
        case "em" | "strong" | "s":
            mark = {"em": "*", "strong": "**", "s": "~~"}[node.type]
            return f"{mark}{_inline(node)}{mark}"
        case "code_inline":
            return code_span(node.content)
        case "link":
            return f"[{_inline(node)}]({_address(str(node.attrGet('href')))})"
        case "image":
            return _escape(image_text(node))
        case "math_inline" | "math_inline_double":
            return _write_formula(node)
        case _:  # text
            return _write_text(node.content)


def _address(url: str) -> str:
    return url.translate(_IN_ADDRESS).replace("&", "&amp;")


def code_span(code: str) -> str:
    """Return one line of text as code that its content cannot leave."""
    fence = "`" * (_longest_run(code) + 1)
    pad = " " if code.startswith("`") or code.endswith("`") or code != code.strip() else ""
    return f"{fence}{pad}{code}{pad}{fence}"


def _write_formula(node: SyntaxTreeNode) -> str:
    delimiter = "$" if node.type == "math_inline" else "$$"
    if not is_inert(node.content):
        return code_span(f"{delimiter}{node.content}{delimiter}")
    return f"{delimiter}{_inert_lines(' '.join(node.content.split()))}{delimiter}"


def _write_text(text: str) -> str:
    """Escape text; macros that a typesetter would act on, even outside a formula, become code."""
    pieces = _ACTIVE_MACRO.split(text)  # the odd ones are the macros
    return "".join(code_span(piece) if index % 2 else _escape(piece) for index, piece in enumerate(pieces))


def _escape(text: str) -> str:
    return _ACTIVE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    character = match.group()
    if character == "\\" and match.string[match.end() :][:1] in {"", "(", "["}:
        return "&#92;"  # pandoc, as nbconvert calls it, takes two backslashes and a bracket for a formula
    return {"<": "&lt;", "&": "&amp;"}.get(character, "\\" + character)


def _at_line_start(text: str) -> str:
    return _LINE_START.sub(_escaped_start, text)


def _escaped_start(match: re.Match[str]) -> str:
    start = match.group(2)
    return f"{start}\\" if start.isdigit() else f"\\{start}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall(r"`+", text)), default=0)


_BLOCKS: dict[str, Callable[[SyntaxTreeNode], str]] = {
    "paragraph": lambda node: _at_line_start(_inline(node.children[0])),
    "heading": _heading,
    "bullet_list": _list,
    "ordered_list": _list,
    "blockquote": _quote,
    "table": _table,
    "math_block": _write_display,
    "fence": lambda node: fenced(node.content, node.info),
    "code_block": lambda node: fenced(node.content),
    "hr": lambda _: "---",
}
