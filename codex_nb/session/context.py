"""Building the notebook context: what is near and what is mentioned first, truncated to a budget."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from codex_nb.errors import CodexError
from codex_nb.labels import SIMILAR
from codex_nb.session.known_values import secrets_by_variable, secrets_of_namespace
from codex_nb.session.outbound import secret_values_in, tokens_of, values_of
from codex_nb.session.prompt import (
    BARE,
    FAR,
    FULL,
    MIDDLE,
    NEAR,
    ContextSection,
    DetailLevel,
    NotebookContext,
    SectionKind,
    cell_text,
    id_label,
    is_question,
    question_of,
)
from codex_nb.tools.describe import Description, Detail, describe, output_images
from codex_nb.tools.file_access import (
    FileRefused,
    is_image,
    may_hold_credentials,
    path_of_user,
    read_apart,
    read_bounded,
    read_image,
    read_notebook,
)
from codex_nb.tools.hiding import hidden_in, is_notebook
from codex_nb.tools.introspection import imported_modules, is_user_variable
from codex_nb.tools.nbmodel import truncate
from codex_nb.tools.secrets import is_secret_name, is_withheld

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from codex_nb.session.outbound import Redaction, Redactor
    from codex_nb.tools.content_hash import ContentHasher
    from codex_nb.tools.hiding import Hidden, VisibleVariables
    from codex_nb.tools.nbmodel import Cell, NotebookSnapshot


FILE_LIMIT = 40_000
LARGEST_HASHED = 64_000_000
LARGEST_LISTING = 5_000
MOST_PATHS = 100  # of the names in a question that are looked for among the files
# What may follow an @, as people type it: @cell:3, @Cell 3, @cell:[3], @file:"two words.txt", @image:plot.png, @orders.
_MENTION = re.compile(
    r"""(?<![A-Za-z0-9_@.])@(?:
        (?i:cells?)(?:\s?:\s?|[ ]|(?=\[))(?P<cell>\d{1,9}(?!\d)|\[\d{1,9}\])
        | (?P<kind>[A-Za-z]{3,8}):[ ]?(?:"(?P<quoted>[^"]+)"|'(?P<single>[^']+)'
            |(?P<plain>(?!')(?:\\[ ]|[^\s,;"\u3001\u3002\uff01\uff0c\uff1b\uff1f])+))
        | (?P<path>[\w~/.-]*[./][\w~/.-]*)
        | (?P<name>[^\W\d]\w*)
    )""",
    re.VERBOSE,
)
_NAME = re.compile(r"[^\W\d]\w*")
_CELL_NAME = re.compile(r"cells?_?(\d{1,9})", re.IGNORECASE)
_ASCII_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CELL_WORDS = frozenset({"cell", "cells"})
_KIND_OF_WORD: Mapping[str, Literal["file", "image"]] = {
    **dict.fromkeys(("file", "files"), "file"),
    **dict.fromkeys(("image", "images", "img", "picture", "figure", "fig", "plot"), "image"),
}
_FIGURES = frozenset({"fig", "figure"})
_KINDS = ("cell", "file", "image")
_TRAILING = ".?!:)]}…"

# Draws a figure or a picture that a variable holds as a data URL, None for anything else; raises CodexError
Draw = Callable[[str, object], "str | None"]


def no_picture(_name: str, _value: object) -> None:
    """Draw nothing."""


@dataclass(frozen=True)
class Mention:
    """One thing that a question mentions with an ``@``; ``written`` is how, where it may be a misspelt file."""

    kind: Literal["cell", "file", "image", "variable", "unknown"]
    target: str
    written: str = ""


def mentions_in(prompt: str, folder: Path | None = None) -> tuple[Mention, ...]:
    """Return the mentions in a question, each once, in order.

    A name with a dot or a slash, such as ``@data.csv``, is a file where ``folder`` has one of this name.
    """
    found: dict[Mention, None] = {}
    paths = 0
    for match in _MENTION.finditer(prompt):
        if match["path"]:
            paths += 1
        mention = _mention(match, folder if paths <= MOST_PATHS else None)
        if mention is not None:
            found[mention] = None
    return tuple(found)


def _mention(match: re.Match[str], folder: Path | None) -> Mention | None:
    if cell := match["cell"]:
        return Mention("cell", cell)
    if name := match["name"]:
        return Mention("variable", name)
    if path := match["path"]:
        path = path.rstrip(_TRAILING)
        if folder is not None and _is_file(path, folder):
            return Mention("file", path)
        held = _NAME.match(path)
        return Mention("variable", held[0], path if held[0] != path else "") if held else None
    target = match["quoted"] or match["single"] or match["plain"].replace("\\ ", " ").rstrip(_TRAILING)
    kind = _KIND_OF_WORD.get(match["kind"].lower())
    return Mention(kind, target) if kind is not None else Mention("unknown", target, match["kind"])


def _is_file(name: str, folder: Path) -> bool:
    def look() -> bool:
        return os.path.isfile(folder / os.path.expanduser(name))  # noqa: PTH111, PTH113 -- raise nothing

    try:
        return read_apart(look)
    except (FileRefused, ValueError):
        return False


def variables_in(mentions: Iterable[Mention]) -> tuple[str, ...]:
    """Return the names of the variables that are mentioned."""
    names: dict[str, None] = {}
    for mention in mentions:
        if mention.kind == "variable":
            names |= dict.fromkeys(_readings(mention.target))
        elif mention.kind in {"image", "unknown"}:
            names[mention.target if mention.kind == "image" else mention.written] = None
    return tuple(names)


def _readings(name: str) -> tuple[str, ...]:
    """Return a name and, where text without spaces runs on behind it, the name in front of that."""
    start = _ASCII_NAME.match(name)
    return (name,) if start is None or start[0] == name else (name, start[0])


@dataclass(eq=False)
class ContentDigests:
    """Hashes of variables' values, where they ``are_wanted``.

    ``secrets`` are those that the variables were found to hold.
    """

    are_wanted: bool = False
    secrets: Mapping[str, Collection[str]] = field(default_factory=dict, repr=False)
    hasher: ContentHasher | None = field(default=None, init=False)

    def __call__(self, name: str, value: object) -> str:
        """Return the hash; empty where there is none, and where the value holds a secret, which leaves no trace."""
        if not self.are_wanted or (is_secret_name(name) and is_withheld(value)):
            return ""
        if self.secrets[name] if name in self.secrets else secrets_of_namespace({name: value}):
            return ""
        if self.hasher is None:
            # for what a description does not tell apart
            from codex_nb.tools.content_hash import ContentHasher

            self.hasher = ContentHasher()
        return self.hasher.digest(value) or ""


@dataclass
class Mentions:
    """What is mentioned with an ``@``: where it is looked for, and what was found.

    ``draw`` makes pictures of figures. ``sections`` and ``images`` (data URLs) are sent in full; ``problems`` are the
    reasons for what cannot be, and ``remarks`` say how a mention was understood that can be understood in two ways.
    """

    snapshot: NotebookSnapshot | None
    namespace: VisibleVariables
    folder: Path | None
    hidden: Hidden
    digests: ContentDigests = field(default_factory=ContentDigests)
    draw: Draw = no_picture
    sections: list[ContextSection] = field(default_factory=list, init=False)
    images: list[str] = field(default_factory=list, init=False)
    problems: list[str] = field(default_factory=list, init=False)
    remarks: list[str] = field(default_factory=list, init=False)

    def resolve(self, mentions: Iterable[Mention]) -> None:
        """Look for everything that is mentioned; a name that is like no known one is just text."""
        for mention in mentions:
            match mention.kind:
                case "variable":
                    self._variable(mention)
                case "cell":
                    self._cell(mention.target)
                case "image" if mention.target in self.namespace:
                    self._variable(Mention("variable", mention.target))
                case "file" | "image":
                    self._file(mention.target)
                case "unknown":
                    self._unknown(mention)

    def _unknown(self, mention: Mention) -> None:
        """Add the variable of a name before a colon; tell of a kind of mention that is misspelt."""
        word, target = mention.written, mention.target
        near = get_close_matches(word.lower(), _KINDS, n=1, cutoff=SIMILAR)
        if word.lower() in _CELL_WORDS:
            self.problems.append(f"there is no cell {target}")
        elif word in self.namespace or not near:
            self._variable(Mention("variable", word))
        else:
            self.problems.append(f"there is no @{word}:{target} (did you mean @{near[0]}:{target}?)")

    def _variable(self, mention: Mention) -> None:
        name = next((each for each in _readings(mention.target) if each in self.namespace), None)
        if name is None:
            self._no_variable(mention)
            return
        value, picture = self.namespace[name], None
        try:
            picture = self.draw(name, value)
        except CodexError as error:
            self.problems.append(f"the picture of @{name} ({error.line})")
        said = describe(name, value, Detail.FULL)
        if picture is not None:
            text = f"{said.text}\n(its picture is attached)"
            self.sections.append(ContextSection("mention", f"@{name}", text))
            self.images.append(picture)
        else:
            content = "" if said.whole else self.digests(name, value)
            self.sections.append(variable_section("mention", f"@{name}", said, content))

    def _no_variable(self, mention: Mention) -> None:
        """Add what else a name can mean, or tell of the name it is nearest to."""
        name = mention.target
        if cell := _CELL_NAME.fullmatch(name):
            self._cell(cell[1])
        elif name in _FIGURES and not mention.written:
            self._newest_figure(name)
        else:
            visible = self.hidden.visible(self.namespace)
            known = [each for each, value in visible.items() if is_user_variable(each, value)]
            if near := get_close_matches(name, known, n=1, cutoff=SIMILAR):
                self.problems.append(f"there is no variable {name} (did you mean @{near[0]}?)")
            elif mention.written and (file := near_file(mention.written, self.folder)):
                self.problems.append(f"there is no file {mention.written} (did you mean @{file}?)")

    def _newest_figure(self, name: str) -> None:
        for number, cell in reversed(_above(self.snapshot)):
            if not self.hidden.skips(cell) and (images := output_images(cell.outputs)):
                text = f"(the image of cell {number} is attached)"
                self.sections.append(ContextSection("mention", f"@{name}", text))
                self.images.append(images[-1])
                return
        self.problems.append(f"there is no figure above for @{name}")

    def _cell(self, target: str) -> None:
        """Add a cell by its number: ``[3]`` is the one that ran as ``[3]``; a bare 3 else the third of the notebook."""
        number, snapshot = int(target.strip("[]")), self.snapshot
        cells = snapshot.cells if snapshot is not None else ()
        ran = next((cell for cell in cells if cell.execution_count == number), None)
        placed = next(iter(cells[number - 1 : number]), None) if number > 0 and "[" not in target else None
        cell = ran or placed
        if snapshot is None or cell is None:
            count = f" (there are {_counted(len(cells), 'cell')})" if cells else ""
            self.problems.append(f"there is no cell {target}{count}")
            return
        if self.hidden.skips(cell):
            self.problems.append(f"cell {target} is marked codex-skip")
            return
        said = cell_text(cell.with_outputs(self.hidden.outputs(cell.outputs)), FULL)
        how = f" (ran as [{number}])" if cell is ran else f" (cell {number} of the notebook)"
        section = ContextSection(
            "mention",
            f"@cell:{target}",
            said.text,
            run_label=how + id_label(cell, snapshot.origin),
            complete=said.complete,
            content=said.content,
            shown_cell=cell if len(cell.source) <= FULL.source else None,
        )
        self.sections.append(section)
        self.images += output_images(cell.outputs)
        if ran is not None and placed is not None and placed is not ran:
            self.remarks.append(
                f"@cell:{target} is the cell that ran as [{number}], not cell {number} of the notebook"
            )

    def _file(self, name: str) -> None:
        try:
            section, images = read_apart(lambda: _read_file(name, self.folder, self.hidden))
        except FileRefused as refusal:
            self.problems.append(f"{name} {refusal}")
        except OSError as error:
            near = near_file(name, self.folder) if isinstance(error, FileNotFoundError) else ""
            hint = f"; did you mean {near}?" if near else ""
            self.problems.append(f"{name} cannot be read ({error.strerror or type(error).__name__}{hint})")
        else:
            self.sections.append(section)
            self.images += images


def _read_file(name: str, folder: Path | None, hidden: Hidden) -> tuple[ContextSection, tuple[str, ...]]:
    """Return a file as a section, and the image that it is; raises FileRefused and OSError."""
    checked, digest = path_of_user(name, folder), None
    if is_image(name):
        return ContextSection("mention", f"@file:{name}", "(the image is attached)"), (read_image(checked),)
    if is_notebook(checked.path):
        whole = read_notebook(checked, hidden)
        text, digest = truncate(whole, FILE_LIMIT), _sha256(whole.encode("utf-8", "replace"))
    else:
        content = read_bounded(checked, LARGEST_HASHED)
        if not content.is_text:
            raise FileRefused("is not a text file")
        text = truncate(replace(content, data=content.data[: 4 * FILE_LIMIT]).text, FILE_LIMIT)
        if content.size > 4 * FILE_LIMIT:
            text += f"\n[truncated: the file has {content.size:,} bytes]"
        if content.size <= len(content.data):
            digest = _sha256(content.data)
    section = ContextSection(
        "mention", f"@file:{name}", text, digest_text=digest, complete=digest is not None
    )
    return section, ()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def near_file(name: str, folder: Path | None) -> str:
    """Return the file that a misspelt path is nearest to, as it is to be written; nothing where none is near."""
    lead, slash, word = name.rpartition("/")
    place = (folder or Path()) / os.path.expanduser(lead)  # noqa: PTH111 -- Path's own raises

    def listed() -> list[str]:
        with os.scandir(place) as entries:
            names = [entry.name for entry in islice(entries, LARGEST_LISTING)]
        return [each for each in names if not each.startswith(".") and not may_hold_credentials(each)]

    try:
        near = get_close_matches(word, read_apart(listed), n=1, cutoff=SIMILAR)
    except (FileRefused, OSError, ValueError):
        return ""
    return f"{lead}{slash}{near[0]}" if near else ""


def variable_section(
    kind: Literal["mention", "variable"], title: str, said: Description, content: str = ""
) -> ContextSection:
    """Return a variable as a section; a function's digest includes its code, that of data its ``content``."""
    digest_text = f"{said.text}\n{said.code}" if said.code else None
    complete = said.whole or bool(content)
    return ContextSection(kind, title, said.text, digest_text=digest_text, complete=complete, content=content)


_WORD = re.compile(r"[A-Za-z_]\w*")
_NAMES_READ_PER_CELL = 20_000
_NAMES_READ = 400_000  # beyond that, only the nearest cells are read for names


def _names_in_cells(cells: Iterable[Cell], hidden: Hidden) -> set[str]:
    """Return the names in code cells, except in cells that are hidden."""
    names: set[str] = set()
    room = _NAMES_READ
    for cell in cells:
        if cell.kind != "code":
            continue
        source = cell.source[:_NAMES_READ_PER_CELL]
        room -= len(source)
        if room > 0 and not hidden.skips(cell):
            names.update(_WORD.findall(source))
    return names


BUDGET = 24_000
_SHARES: Mapping[SectionKind, float] = {"mention": 0.6, "variable": 0.3, "question": 0.2}
_NEAR_CELLS = 6
_MIDDLE_CELLS = 25
_DETAILED_VARIABLES = 12
_LISTED_VARIABLES = 60
_QUESTION_LIMIT = 2_000
_IMAGES = 2
_SECRETS_READ_PER_CELL = 100_000  # characters in which secrets are looked for that other texts may hold
_IMAGE_WORDS = re.compile(
    r"\b(?:plots?|figures?|charts?|graphs?|images?|pictures?|diagrams?|histograms?|heat ?maps?|axis|axes|legends?)\b",
    re.IGNORECASE,
)
_IMAGE_REACH = 8
_OVERHEAD = 300  # headings, blocks and the line about what is not sent


def build_context(
    snapshot: NotebookSnapshot | None,
    namespace: Mapping[str, Any],
    prompt: str,
    *,
    redactor: Redactor,
    folder: Path | None = None,
    budget: int = BUDGET,
    hidden: Hidden | None = None,
    visible: VisibleVariables | None = None,
    subcommands: Collection[str] = (),
    is_hashed: bool = False,
    draw: Draw = no_picture,
) -> NotebookContext:
    """Return the notebook context of a question.

    ``hidden`` is what the user excludes; None reads that from the notebook alone. ``visible`` is what it leaves of the
    namespace, where that is known. ``subcommands`` are those of ``%codex`` that ask nothing. ``is_hashed`` tells two
    values of one description apart; without it the context is not complete. ``draw`` makes pictures of the figures that
    are mentioned. Runs on the main thread, because it reads the live namespace; runs no code of the user's objects.
    """
    above, mentions = _above(snapshot), mentions_in(prompt, folder)
    names = variables_in(mentions)
    hidden = (hidden or hidden_in(snapshot)).allowing(names)
    visible = hidden.visible(namespace) if visible is None else visible
    secrets = secrets_by_variable(namespace, snapshot.cells if snapshot is not None else ())
    digests = ContentDigests(is_hashed, secrets)
    mentioned = Mentions(snapshot, visible, folder, hidden, digests, draw)
    mentioned.resolve(mentions)
    # Of all cells, those not sent included: what one of them says is secret, another one may hold.
    sources = () if snapshot is None else (cell.source for cell in snapshot.cells)
    texts = [prompt, *(section.text for section in mentioned.sections)]
    texts += (truncate(source, _SECRETS_READ_PER_CELL) for source in sources)
    redactor = redactor.with_secrets(set().union(*secrets.values())).with_secrets(secret_values_in(texts))
    builder = _ContextBuilder(redactor, budget, hidden, digests, "" if snapshot is None else snapshot.origin)
    builder.place(snapshot, visible)
    builder.mentions(mentioned)
    asked = len(builder.not_sent)
    builder.questions(above, subcommands)
    builder.variables(visible, names, prompt, above)
    builder.cells(above)
    images = tuple(mentioned.images) or _asked_images(prompt, above, hidden)[:_IMAGES]
    return replace(builder.context(images), remarks=tuple(mentioned.remarks), asked=asked)


def _above(snapshot: NotebookSnapshot | None) -> list[tuple[int, Cell]]:
    """Return the cells above the current one with their numbers from 1; all cells where it is unknown."""
    if snapshot is None:
        return []
    end = len(snapshot.cells) if snapshot.current is None else snapshot.current
    return list(enumerate(snapshot.cells[:end], 1))


@dataclass
class _ContextBuilder:
    """The sections that fit the budget so far."""

    redactor: Redactor
    budget: int
    hidden: Hidden
    digests: ContentDigests
    origin: str = ""  # of the notebook
    sections: dict[SectionKind, list[ContextSection]] = field(default_factory=dict)
    not_sent: list[str] = field(default_factory=list)
    is_partial: bool = False
    redactions: list[Redaction] = field(default_factory=list)
    used: int = _OVERHEAD

    def place(self, snapshot: NotebookSnapshot | None, namespace: VisibleVariables) -> None:
        """Add where the question is asked."""
        lines = []
        if snapshot is not None and snapshot.path:
            lines.append(f"Notebook: {snapshot.path.replace(chr(92), '/').rsplit('/', 1)[-1]}")
        if snapshot is not None and snapshot.current is not None:
            lines.append(f"Asked in cell {snapshot.current + 1} of {len(snapshot.cells)}")
        modules = imported_modules(namespace)
        python = f"Python {platform.python_version()}" + (f"; imported: {modules}" if modules else "")
        section = ContextSection("place", "", "\n".join([*lines, python]), identity=python)
        self._add(self._clean(section, "the notebook"))

    def mentions(self, mentioned: Mentions) -> None:
        """Add what the question mentions."""
        self._drop(*mentioned.problems)
        room = self._room("mention")
        for section in mentioned.sections:
            fitting = truncate(section.text, max(400, 4 * room))
            fits = len(fitting) == len(section.text)
            if not fits:
                self.not_sent.append(f"part of {section.title}")
            complete = section.complete and (fits or section.digest_text is not None)
            title = self.redactor(section.title)
            shown = section.shown_cell if fits else None
            cleaned = self._clean(
                replace(section, title=title, text=fitting, complete=complete, shown_cell=shown), title
            )
            self._add(cleaned)
            room -= cleaned.tokens

    def questions(self, above: list[tuple[int, Cell]], subcommands: Collection[str]) -> None:
        """Add earlier questions and their answers, the newest ones if not all fit."""
        asked = [(n, cell) for n, cell in above if is_question(cell) and not self.hidden.skips(cell)]
        room, dropped = self._room("question"), 0
        for number, cell in reversed(asked):
            said = question_of(cell, _QUESTION_LIMIT, subcommands)
            if said is None:
                continue
            text = f"Question: {said[0]}\nAnswer: {said[1] or '(none)'}"
            asked_text = self.redactor(said[0])
            section = ContextSection(
                "question", f"Cell {number}", text, digest_text=asked_text, identity=asked_text
            )
            section = self._clean(section, f"cell {number}")
            if dropped or section.tokens > room:
                dropped += 1
                continue
            room -= section.tokens
            self._add(section)
        self.sections.get("question", []).reverse()
        if dropped:
            self._drop(_counted(dropped, "earlier question"))

    def variables(
        self,
        namespace: VisibleVariables,
        mentioned: Collection[str],
        prompt: str,
        above: list[tuple[int, Cell]],
    ) -> None:
        """Add the variables: first those named in the question, then those named above, the newest first."""
        known = [
            name
            for name, value in reversed(list(namespace.items()))
            if is_user_variable(name, value) and name not in mentioned
        ]
        asked = set(_WORD.findall(prompt))
        read = _names_in_cells((cell for _, cell in reversed(above)), self.hidden)
        known.sort(key=lambda name: (name not in asked, name not in read))
        room, sent = self._room("variable"), 0
        for number, name in enumerate(known[:_LISTED_VARIABLES]):
            value = namespace[name]
            for level in (Detail.NORMAL, Detail.LINE) if number < _DETAILED_VARIABLES else (Detail.LINE,):
                said = describe(name, value, level)
                content = "" if said.whole else self.digests(name, value)
                section = self._clean(variable_section("variable", "", said, content), f"variable {name}")
                if section.tokens <= room:
                    self._add(section)
                    room -= section.tokens
                    sent += 1
                    break
        if sent < len(known):
            self._drop(f"{len(known) - sent} of {len(known)} variables")

    def cells(self, above: list[tuple[int, Cell]]) -> None:
        """Add the cells above, the nearest in full, until the budget is used."""
        cells = [(number, cell) for number, cell in above if not is_question(cell)]
        visible = [(number, cell) for number, cell in cells if not self.hidden.skips(cell)]
        skipped = len(cells) - len(visible)
        shown = [(n, c) for n, c in reversed(visible) if c.source.strip() or c.outputs]
        sent = truncated = 0
        for distance, (number, cell) in enumerate(shown):
            section, complete = self._fitting(number, cell, distance)
            if section is None:
                break
            self._add(section)
            sent += 1
            truncated += not complete
        self.sections.get("cell", []).reverse()
        if skipped:
            self.not_sent.append(f"{_counted(skipped, 'cell')} marked codex-skip")
        if sent < len(shown):
            self._drop(f"the {_counted(len(shown) - sent, 'cell')} farthest above")
        if truncated:
            self._drop(f"parts of {_counted(truncated, 'cell')}")

    def _fitting(self, number: int, cell: Cell, distance: int) -> tuple[ContextSection | None, bool]:
        """Return the cell at the first detail level that fits, and whether that is all of the cell."""
        room = self.budget - self.used
        if (outputs := self.hidden.outputs(cell.outputs)) is not cell.outputs:
            cell = cell.with_outputs(outputs)
        for level in _levels(distance):
            said = cell_text(cell, level)
            if tokens_of(said.text) > room:
                continue
            section = _cell_section(number, cell, level, self.origin)
            section = self._clean(section, f"cell {number}")
            if section.tokens <= room:
                return section, said.fits
        return None, False

    def context(self, images: tuple[str, ...]) -> NotebookContext:
        """Return the context; a secret found in one section is removed from all."""
        sections = [section for kind in self.sections.values() for section in kind]
        redactor = self.redactor.with_secrets(values_of(self.redactions))
        if redactor is not self.redactor:
            sections = [_redacted(section, redactor) for section in sections]
        return NotebookContext(
            tuple(sections),
            images,
            not_sent=tuple(map(redactor, self.not_sent)),
            redactions=tuple(self.redactions),
            redactor=redactor,
            is_partial=self.is_partial,
            over_budget=self.digests.hasher is not None and self.digests.hasher.over_budget,
        )

    def _room(self, kind: SectionKind) -> int:
        return min(int(self.budget * _SHARES[kind]), self.budget - self.used)

    def _add(self, section: ContextSection) -> None:
        self.sections.setdefault(section.kind, []).append(section)
        self.used += section.tokens

    def _drop(self, *problems: str) -> None:
        self.not_sent += problems
        self.is_partial = self.is_partial or bool(problems)

    def _clean(self, section: ContextSection, place: str) -> ContextSection:
        text, found = self.redactor.redact(section.text, place)
        self.redactions += found
        if text == section.text:
            return section
        is_same = section.digest_text is not None
        return replace(section, text=text, complete=section.complete and is_same)


def _redacted(section: ContextSection, redactor: Redactor) -> ContextSection:
    text = redactor(section.text)
    digest_text = None if section.digest_text is None else redactor(section.digest_text)
    is_same = text == section.text or digest_text is not None
    return replace(
        section,
        title=redactor(section.title),
        text=text,
        digest_text=digest_text,
        complete=section.complete and is_same,
    )


def _cell_section(number: int, cell: Cell, level: DetailLevel, origin: str) -> ContextSection:
    """Return the section of a cell at a detail level: the same one as long as the cell stays as it is where it is."""
    key = (number, level, origin)
    known, section = cell.texts.get(ContextSection, (None, None))
    if known != key:
        said = cell_text(cell, level)
        count = f" [{cell.execution_count}]" if cell.execution_count else ""
        section = ContextSection(
            "cell",
            f"Cell {number}" + (f" ({cell.kind})" if cell.kind != "code" else ""),
            said.text,
            run_label=count + id_label(cell, origin),
            complete=said.complete,
            content=said.content,
            shown_cell=cell if len(cell.source) <= level.source else None,
            identity=f"{cell.kind}\n{said.text}\n{said.content}",
        )
        cell.texts[ContextSection] = key, section
    return cast("ContextSection", section)


def _levels(distance: int) -> Iterator[DetailLevel]:
    if distance < _NEAR_CELLS:
        yield NEAR
    if distance < _MIDDLE_CELLS:
        yield MIDDLE
    yield FAR
    yield BARE


def _asked_images(prompt: str, above: list[tuple[int, Cell]], hidden: Hidden) -> tuple[str, ...]:
    """Return the newest images above when the question is about images."""
    if not _IMAGE_WORDS.search(prompt):
        return ()
    for _, cell in reversed(above[-_IMAGE_REACH:]):
        if not hidden.skips(cell) and (images := output_images(cell.outputs)):
            return images
    return ()


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
