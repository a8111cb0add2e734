"""The prompt: what a question carries of the notebook, the project's instructions, and the input made of them."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from codex_nb.config.settings import ApprovalPolicy
from codex_nb.errors import CodexError
from codex_nb.session.outbound import RULE, developer_message, tokens_of, user_message, user_text, values_of
from codex_nb.tools.base import ToolSet
from codex_nb.tools.describe import other_forms_digest, output_text, shows_everything, strip_ansi
from codex_nb.tools.file_access import (
    FileContent,
    FileRefused,
    may_hold_credentials,
    path_of_project,
    project_folders,
    project_root,
    read_bounded,
    read_off_loop,
)
from codex_nb.tools.nbmodel import TRUNCATION_MARK_END, asks_codex, join_multiline, truncate
from codex_nb.tools.skills import Skill, selected_skills, skills_listing, skills_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from codex_nb.config.settings import Settings
    from codex_nb.responses.request import Outbound, Throttle
    from codex_nb.session.events import FooterStyle
    from codex_nb.session.outbound import Redaction, Redactor, UntrustedBlock
    from codex_nb.session.thread import Thread
    from codex_nb.tools.hiding import Hidden
    from codex_nb.tools.nbmodel import Cell, Run


_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]{6,}")
_ANSWER_TYPES = ("text/markdown", "text/plain")
# What stands around an answer in its saved Markdown: the reasoning above it, the model and the billing below it.
_REASONING = re.compile(r"^> \*Reasoning\*\n(?:>.*(?:\n|\Z))*", re.MULTILINE)
_FOOTER = re.compile(r"(?:\A|\n\n)\*[^\n]* · [^\n]*(?:tokens in|ChatGPT|API key)[^\n]*\*\s*\Z")


@dataclass(frozen=True)
class DetailLevel:
    """How much of a cell is sent, in characters: of its source, and of each output."""

    source: int
    output: int
    outputs: int = 8


NEAR = DetailLevel(8_000, 3_000)
MIDDLE = DetailLevel(4_000, 1_000)
FAR = DetailLevel(1_500, 300, 3)
BARE = DetailLevel(600, 0, 0)
FULL = DetailLevel(40_000, 20_000, 50)


def is_question(cell: Cell) -> bool:
    """Whether a cell is a question to Codex."""
    return cell.kind == "code" and asks_codex(cell.source)


@dataclass(frozen=True)
class CellText:
    """A cell as text.

    ``fits`` tells whether nothing was truncated at this detail level; ``complete`` whether the text and ``content``, a
    hash of the other forms of its outputs, are all that the cell shows: no table was truncated when it was printed.
    """

    text: str
    fits: bool = True
    complete: bool = True
    content: str = ""


def cell_text(cell: Cell, level: DetailLevel) -> CellText:
    """Return a cell's source and outputs at a detail level, without object addresses, which change with every run."""
    if level not in cell.texts:
        cell.texts[level] = _cell_text(cell, level)
    text: CellText = cell.texts[level]
    return text


def _cell_text(cell: Cell, level: DetailLevel) -> CellText:
    source = truncate(cell.source.strip("\n"), level.source)
    fits = len(source) == len(cell.source.strip("\n"))
    if cell.kind != "code":
        return CellText(source, fits, fits)
    lines = [source] if source.strip() else []
    shown = cell.outputs[: level.outputs] if level.output else ()
    outputs = [output_text(output, level.output) for output in shown]
    if texts := list(filter(None, outputs)):
        lines.append("Output:\n" + _ADDRESS.sub("", "\n".join(texts)))
    kinds = [map(str, output.get("data") or ()) for output in cell.outputs]
    images = sum(any(kind.startswith("image/") for kind in each) for each in kinds)
    if level.output and images:
        lines.append(f"[{images} image{'s' * (images > 1)} shown]")
    if len(cell.outputs) > len(shown):
        lines.append(f"[{len(cell.outputs) - len(shown)} outputs not sent]")
    fits = fits and len(cell.outputs) == len(shown) and not any(TRUNCATION_MARK_END in text for text in texts)
    complete = fits and all(map(shows_everything, shown, outputs))
    return CellText("\n".join(lines), fits, complete, other_forms_digest(shown) if complete else "")


def question_of(cell: Cell, limit: int, subcommands: Collection[str] = ()) -> tuple[str, str] | None:
    """Return an earlier question, options included, and its answer; None for a cell that asked the model nothing.

    ``subcommands`` are those of ``%codex`` that ask nothing.
    """
    source = cell.source.lstrip()
    asked = source.removeprefix("%%codex") if source.startswith("%%codex") else source.removeprefix("%codex ")
    if not source.startswith("%%codex") and asked.split()[:1] and asked.split()[0] in subcommands:
        return None
    answer = ""
    for output in cell.outputs:
        data = output.get("data") or {}
        kind = next((kind for kind in _ANSWER_TYPES if kind in data), None)
        if kind is not None:
            answer = _FOOTER.sub("", _REASONING.sub("", join_multiline(data[kind], limit)))
    if not answer and not source.startswith("%%codex"):
        return None
    return truncate(asked.strip(), limit), answer.strip()


def id_label(cell: Cell, origin: str) -> str:
    """Return the id by which tools name a cell of the open document, as it stands beside the cell's title."""
    return f" id={cell.cell_id}" if origin == "document" and cell.cell_id else ""


SectionKind = Literal["place", "cell", "question", "variable", "mention"]

_HEADINGS: Mapping[SectionKind, str] = {
    "place": "Where this is asked",
    "question": "Earlier questions in this notebook, with their answers",
    "cell": "Cells above the asking one, in their order",
    "variable": "Variables in the kernel",
    "mention": "What the question mentions with @",
}


@dataclass(frozen=True)
class ContextSection:
    """One part of the context: a cell, a variable, an earlier question.

    ``complete`` tells whether the text describes all of it; where it does not, two different things may have the same
    text. ``digest_text`` stands for the text in the digest: of an earlier question, what was asked. ``content`` is a
    hash of what the text only summarizes. ``run_label`` is shown beside the title but is no part of the digest: a
    cell's execution count changes without the cell changing. ``shown_cell`` is the cell of which the whole source is in
    the text. ``identity`` takes the place of the digest in the context's fingerprint, for a section that also says
    where something stands: a front end that knows only the cells that ran counts them otherwise.
    """

    kind: SectionKind
    title: str
    text: str
    run_label: str = ""
    digest_text: str | None = None
    complete: bool = True
    content: str = ""
    shown_cell: Cell | None = field(default=None, repr=False, compare=False)
    identity: str | None = field(default=None, repr=False, compare=False)

    @cached_property
    def digest(self) -> str:
        """A short hash of the section's content."""
        content = f"{self.kind}\0{self.title}\0{self.text if self.digest_text is None else self.digest_text}"
        content += f"\0{self.content}" if self.content else ""
        return hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()[:16]

    @cached_property
    def tokens(self) -> int:
        """The section's estimated size, its title and the space around it included."""
        return tokens_of(f"{self.title}{self.run_label}\n{self.text}\n\n")


@dataclass(frozen=True)
class NotebookContext:
    """Everything of the notebook that a question carries.

    ``not_sent`` names what was truncated to stay within the budget; ``redactions`` are the secrets that ``redactor``
    removed. ``images`` are data URLs of the outputs that the question mentions. ``is_partial`` tells whether anything
    was left out altogether, ``over_budget`` whether data was too large to be hashed. ``remarks`` say how mentions were
    understood; the first ``asked`` entries of ``not_sent`` are about mentions, too.
    """

    sections: tuple[ContextSection, ...] = ()
    images: tuple[str, ...] = ()
    not_sent: tuple[str, ...] = ()
    redactions: tuple[Redaction, ...] = ()
    redactor: Redactor | None = field(default=None, repr=False, compare=False)
    is_partial: bool = False
    over_budget: bool = False
    remarks: tuple[str, ...] = ()
    asked: int = 0

    @property
    def shown_cells(self) -> dict[str, str]:
        """The sources of the cells that are shown as a whole, by cell id."""
        cells = (section.shown_cell for section in self.sections)
        return {cell.cell_id: cell.source for cell in cells if cell is not None and cell.cell_id}

    @cached_property
    def digests(self) -> frozenset[str]:
        """The digests of all sections."""
        return frozenset(section.digest for section in self.sections)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the content: the same for the same notebook, run again."""
        said = (
            section.digest if section.identity is None else f"{section.kind} {section.identity}"
            for section in self.sections
        )
        parts = [*said, *self.images, *self.not_sent]
        return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()

    def is_complete(self, asked: Collection[str]) -> bool:
        """Whether the context is complete, so that the same text means the same notebook.

        ``asked`` are the questions whose answers are compared elsewhere; another question's answer may be any.
        """
        return not self.is_partial and all(
            _is_asked(section, asked) if section.kind == "question" else section.complete
            for section in self.sections
        )

    def render(
        self, known: Collection[str], untrusted: Callable[[str, str], str], asked: Collection[str] = ()
    ) -> str:
        """Return the text for a thread that holds the sections of these digests; empty when nothing is new.

        ``asked`` are the questions in the thread itself, which are left out with their answers.
        """
        blocks = []
        for kind, heading in _HEADINGS.items():
            sections = [each for each in self.sections if each.kind == kind and not _is_asked(each, asked)]
            fresh = [section for section in sections if section.digest not in known]
            if not fresh:
                continue
            unchanged = len(sections) - len(fresh)
            note = f" ({unchanged} more are unchanged)" if unchanged else ""
            body = "\n\n".join(_entry(section) for section in fresh)
            blocks.append(f"{heading}{note}:\n{untrusted(kind, body)}")
        if blocks and self.not_sent:
            blocks.append("Not sent: " + "; ".join(self.not_sent) + ".")
        return "\n\n".join(blocks)


def _is_asked(section: ContextSection, asked: Collection[str]) -> bool:
    # The cell's text begins with its options; the thread holds the question alone.
    return section.kind == "question" and any(
        section.digest_text and section.digest_text.endswith(question) for question in asked
    )


def _entry(section: ContextSection) -> str:
    return f"{section.title}{section.run_label}\n{section.text}" if section.title else section.text


QUESTION = "the question"  # where a redaction is that belongs to this question alone


def redacted_places(redactions: Iterable[Redaction]) -> list[str]:
    """Return what was redacted, and where, each once and without the secret itself."""
    return list(dict.fromkeys(f"{redaction.name} in {redaction.place}" for redaction in redactions))


def describe_redactions(places: Collection[str]) -> str:
    """Return a sentence on what was redacted, and where; an empty text for nothing."""
    return f"Redacted, because it looks secret: {', '.join(places)}." if places else ""


@dataclass(frozen=True)
class TurnRequest:
    """One question, with everything that the user chose for it.

    ``model`` and ``effort`` None leave the choice to the settings. ``thread`` names the thread to continue;
    None begins one that is not saved. ``context`` is what is sent of the notebook. ``images`` are data URLs.
    ``schema`` is a pydantic model, a dataclass, a TypedDict, any other annotation, or a JSON schema as a dict.
    ``data`` holds texts that the question is about, each with a label: sent as untrusted blocks.
    ``folder`` is the notebook's folder. ``use_cache`` allows a cached answer to the same question, and ``fresh`` asks
    again all the same. ``agent`` lets Codex's own agent answer. ``earlier`` are the other questions of this session,
    each with a hash of its answer: the answer may build on them. ``throttle`` is shared by the questions of a batch.
    ``uses_tools`` lets an agent act with tools of its own; ``uses_servers`` offers those of the MCP servers, too.
    ``without`` are the tools and servers, by name, that are switched off. ``searches`` lets the model search the web;
    None leaves that to the settings. ``footer`` is what the line below the answer says.
    """

    prompt: str
    model: str | None = None
    effort: str | None = None
    thread: str | None = None
    context: NotebookContext | None = None
    tools: ToolSet = field(default_factory=ToolSet)
    images: tuple[str, ...] = ()
    data: tuple[tuple[str, str], ...] = ()
    schema: Any = None
    approval: ApprovalPolicy = ApprovalPolicy.ASK
    folder: Path | None = None
    use_cache: bool = False
    fresh: bool = False
    agent: bool = False
    throttle: Throttle | None = None
    earlier: tuple[tuple[str, str], ...] = ()
    uses_tools: bool = True
    uses_servers: bool = False
    searches: bool | None = False
    without: frozenset[str] = frozenset()
    footer: FooterStyle = "plan"


LARGEST_FILE = 1_000_000
AGENTS_FILE = "AGENTS.md"
OVERRIDE_FILE = "AGENTS.override.md"

BASE = f"""\
You are Codex, working inside a Jupyter notebook (or an IPython session) through the codex_nb extension. The user \
asks in a cell; your answer appears in that cell's output as Markdown.

You see what the user sees: the cells above the current one with their outputs, and the variables of the live kernel. \
What was left out to save space is named. {RULE}

- Answer what was asked, briefly, for someone who reads it inside a notebook. Use code blocks for code; do not repeat \
long outputs that are already there.
- Where the live kernel knows a fact, look before you claim it: use the tools that you are offered. The user \
may be asked to approve a call and may decline it; then go on without it.
- Code that you run stays in the user's namespace. Do not overwrite their variables, write files or fetch from the \
network unless they asked for it.
- run_python is for looking and trying: nothing of it stays in the notebook. What the user wants to keep belongs into \
cells: where these tools are offered, insert new ones with insert_cells and change an existing one in place with \
edit_cell instead of adding a corrected copy. Cells are named by the ids that stand beside them. Without these tools, \
give code blocks.
- Verify what you have written: where run_cell is offered, run new and changed code cells, read what comes back, and \
correct a cell that failed; otherwise try the code with run_python first. Say plainly what was changed and run, and \
what was not.
- Where a question needs several steps, and only there, show them with update_plan if that tool is offered, and keep \
it up to date as you go.
- Secrets were replaced by marks such as [redacted: NAME]; do not try to recover them.
"""


@dataclass(frozen=True)
class ProjectInstructions:
    """What Codex's own files tell the model: the text of all ``AGENTS.md`` files that apply, and the skills.

    ``problems`` has a sentence on each file that is not sent completely, ``files`` are those that the text is from.
    ``developer`` are the instructions of config.toml. ``selected`` are the texts of the skills that the question names.
    """

    text: str = ""
    problems: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    developer: str = ""
    skills: tuple[Skill, ...] = ()
    selected: tuple[str, ...] = ()

    @cached_property
    def sections(self) -> dict[str, str]:
        """The texts by name, in the order in which they are sent."""
        texts = {
            "developer_instructions": self.developer,
            "skills": skills_listing(self.skills),
            AGENTS_FILE: self.text,
        }
        return {name: text for name, text in texts.items() if text}

    @property
    def whole(self) -> str:
        """All that is sent."""
        return "\n\n".join((*self.sections.values(), *self.selected))


def agents_files(codex_home: Path, folder: Path | None, fallbacks: Sequence[str] = ()) -> Iterator[Path]:
    """Yield the ``AGENTS.md`` files that apply, from the most general to the nearest.

    They are CODEX_HOME's, then those of every folder from the repository's root (the nearest ancestor with ``.git``)
    down to ``folder``; outside a repository that of ``folder`` alone. In each place ``AGENTS.override.md`` wins; in a
    project the first of ``fallbacks`` that exists takes the place of a file that is not there: plain names,
    of which none usually holds credentials.
    """
    for place in (codex_home, *(project_folders(folder) if folder is not None else ())):
        plain = (name for name in fallbacks if (place / name).parent == place and place != codex_home)
        others = (name for name in plain if not may_hold_credentials(name))
        for name in (OVERRIDE_FILE, AGENTS_FILE, *others):
            if os.path.lexists(file := place / name) and not os.path.isdir(file):  # noqa: PTH112 -- raises nothing
                yield file
                break


async def read_project(
    settings: Settings, request: TurnRequest, environ: Mapping[str, str]
) -> ProjectInstructions:
    """Read what Codex's own files tell the model of a question.

    Skills are listed where the model has tools to read them with; in a batch, no question names one.
    """

    def read() -> ProjectInstructions:
        home, folder = settings.codex_home, request.folder
        fallbacks = settings.project_doc_fallback_filenames
        found = project_instructions(home, folder, settings.project_doc_max_bytes, fallbacks)
        skills = skills_of(settings, folder, environ)
        return replace(
            found,
            developer=(settings.developer_instructions or "").strip(),
            skills=skills if len(request.tools) and settings.lists_skills else (),
            selected=() if request.throttle else tuple(selected_skills(request.prompt, skills)),
        )

    try:
        return await read_off_loop(read)
    except FileRefused as refusal:
        return ProjectInstructions(problems=(f"{AGENTS_FILE} is not sent: it {refusal}.",))


def project_instructions(
    codex_home: Path, folder: Path | None, max_bytes: int, fallbacks: Sequence[str] = ()
) -> ProjectInstructions:
    """Read all ``AGENTS.md`` files that apply, at most ``max_bytes`` of them; blocks while it reads.

    The user's own one, in CODEX_HOME, may be a link to anywhere; the others stay within the repository.
    """
    if not max_bytes:
        return ProjectInstructions()
    texts, problems, files = [], [], []
    left = max_bytes
    for file in agents_files(codex_home, folder, fallbacks):
        name = f"{file.name} in {file.parent}"
        try:
            content = _read(file, left, None if file.parent == codex_home else folder)
        except FileRefused as refusal:
            problems.append(f"{name} is not sent: it {refusal}.")
            continue
        except OSError as error:
            reason = error.strerror or type(error).__name__
            problems.append(f"{name} is not sent: it cannot be read ({reason}).")
            continue
        if content.size > left:
            problems.append(
                f"{name} is truncated to {left:,} of {content.size:,} bytes (project_doc_max_bytes)."
            )
        left -= len(content.data)
        if text := content.data.decode("utf-8-sig", "ignore").strip():
            texts.append(f"# Instructions from {name}\n\n{text}")
            files.append(file)
    return ProjectInstructions("\n\n".join(texts), tuple(problems), tuple(files))


def _read(file: Path, max_bytes: int, folder: Path | None) -> FileContent:
    root = None if folder is None else project_root(folder)
    if root is not None and not file.is_relative_to(root):
        root = file.parent
    content = read_bounded(path_of_project(file, root), min(max_bytes, LARGEST_FILE))
    if content.size > LARGEST_FILE:
        raise FileRefused(f"is larger than {LARGEST_FILE:,} bytes")
    if not content.is_text:
        raise FileRefused("is not a text file")
    return content


@dataclass(frozen=True)
class TurnInput:
    """The new items of a turn, the digests of the notebook parts in them, and the secrets removed from them.

    ``redactor`` knows all of those secrets. ``images_unsent`` counts the images that the model does not accept.
    ``problems`` are sentences on instructions that are not sent completely, once for each thread.
    """

    items: tuple[Outbound, ...]
    sent_digests: frozenset[str]
    redactions: tuple[Redaction, ...]
    redactor: Redactor
    images_unsent: int = 0
    problems: tuple[str, ...] = ()


def build_input(
    request: TurnRequest,
    thread: Thread,
    *,
    instructions: str,
    project: ProjectInstructions,
    redactor: Redactor,
    untrusted: UntrustedBlock,
    sends_images: bool = True,
) -> TurnInput:
    """Build the items that a question adds to its thread.

    Instructions are sent once for each thread and again only when they have changed, so that the inputs of a thread's
    requests share their beginning. Everything is redacted, the context for a second time: when it was built, the
    credentials may not have been read yet.
    """
    once = {
        _digest(name, text): (name, text)
        for name, text in (("instructions", instructions), *project.sections.items())
        if text
    }
    new = once.keys() - thread.sent_digests
    parts = [part for fact, part in once.items() if fact in new]
    selected = [("a skill", text) for text in project.selected]
    redactor, redacted, redactions = _redacted(
        request_redactor(redactor, request),
        [*parts, *request.data, *selected, (QUESTION, request.prompt)],
    )
    texts = iter(redacted)
    items: list[Outbound] = [developer_message(text) for text in islice(texts, len(parts))]
    problems = [each for each in project.problems if _digest("AGENTS.md", each) not in thread.sent_digests]
    sent_digests = set(new) | {_digest("AGENTS.md", each) for each in problems}
    images = request.images
    if (context := request.context) is not None:
        redactions = [*context.redactions, *redactions]
        images = (*context.images, *images)
        sent_digests = sent_digests | context.digests
        asked = tuple(filter(str.strip, map(user_text, thread.items)))
        if text := context.render(thread.sent_digests, untrusted, asked):
            # A text that a redactor with the same knowledge has redacted holds nothing more.
            if context.redactor is None or not context.redactor.covers(redactor):
                text, more = redactor.redact(text, "the notebook")
                redactions += more
            items.append(user_message(text))
    items += [user_message(untrusted(redactor(label), next(texts))) for label, _ in request.data]
    items += [user_message(text) for text in islice(texts, len(selected))]
    items.append(user_message(next(texts), images if sends_images else ()))
    return TurnInput(
        items=tuple(items),
        sent_digests=frozenset(sent_digests),
        redactions=tuple(redactions),
        redactor=redactor,
        images_unsent=0 if sends_images else len(images),
        problems=tuple(map(redactor, problems)),
    )


def _digest(name: str, text: str) -> str:
    return f"{name}:{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:16]}"


def _redacted(
    redactor: Redactor, parts: Sequence[tuple[str, str]]
) -> tuple[Redactor, list[str], list[Redaction]]:
    """Redact texts, each with its place; a secret found in one is removed from all."""
    results = [redactor.redact(text, place) for place, text in parts]
    learned = redactor.with_secrets(values_of(redaction for _, found in results for redaction in found))
    if learned is not redactor:
        results = [learned.redact(text, place) for place, text in parts]
    return learned, [text for text, _ in results], [redaction for _, found in results for redaction in found]


def request_redactor(redactor: Redactor, request: TurnRequest) -> Redactor:
    """Return the redactor with the secrets found in the question's context."""
    cleaner = request.context.redactor if request.context is not None else None
    return redactor if cleaner is None or redactor.covers(cleaner) else redactor.merged_with(cleaner)


SOURCE_LIMIT = 8_000
TRACEBACK_LIMIT = 6_000

_FIX = """\
A cell failed: its source and its error are in the data before this question. Find the cause, look at the variables \
if you need to, and """

_FIX_IN_PLACE = """\
correct the failed cell in place with edit_cell where that is offered and the cell's id is there, then run it with \
run_cell where that is offered, and read what comes back. Otherwise insert a corrected cell below with insert_cells, \
or give it as a code block. Say in one or two sentences what was wrong. Change nothing else."""

_FIX_BELOW = """\
propose a corrected cell: insert it below with insert_cells where that is offered (one code cell that takes the place \
of the failed one), otherwise give it as a code block. Leave the failed cell as it is. Say in one or two sentences \
what was wrong. Change nothing else."""

_ONE_CELL = """\
Answer with Python code for one notebook cell, in one code block and without any other text: it goes straight into the \
cell below this one, where the user runs it."""

_FAILED = """\
The failed cell{cell_id}:
```python
{source}
```

Its error:
```
{error}
```"""

_EXPLAIN = """\
Explain what the cell above does (the one in the data before this question, where it is given), step by step, for \
someone who knows Python but not this notebook; point out what is surprising or wrong in it, and name the values that \
matter."""


_CELL = """\
The cell to explain:
```python
{source}
```"""


class NoFailedCell(CodexError):
    """There is no error to fix."""

    default_hint = "Run %codex fix right after a cell that failed, or ask with %%codex."


class CellSkipped(CodexError):
    """The question is about a cell that is marked codex-skip."""

    default_hint = "Remove the marker and run the cell again."


def fix_prompt(request: str = "", *, below: bool = False) -> str:
    """Return the prompt that asks for a corrected cell; ``request`` is what the user adds.

    With ``below`` the correction is a cell of its own.
    """
    prompt = _FIX + (_FIX_BELOW if below else _FIX_IN_PLACE)
    return f"{prompt}\n\n{request.strip()}" if request.strip() else prompt


def cell_prompt(request: str) -> str:
    """Return the prompt that asks for the code of one cell."""
    return f"{request}\n\n{_ONE_CELL}"


def failure_data(run: Run, hidden: Hidden, cell_id: str | None = None) -> str:
    """Return the source and the error of a failed run, for the data of the question.

    ``cell_id`` is the id by which tools name the cell. Raises CellSkipped.
    """
    _check(run.cell, hidden, "%codex fix: the cell that failed", "%codex fix")
    return _FAILED.format(
        cell_id=f" (id={cell_id})" if cell_id else "",
        source=truncate(run.cell.source.strip("\n"), SOURCE_LIMIT),
        error=truncate(hidden.text(strip_ansi(run.error)), TRACEBACK_LIMIT),
    )


def explained_data(run: Run, hidden: Hidden) -> str:
    """Return the cell to explain, with its error where it raised one; raises CellSkipped."""
    _check(run.cell, hidden, "%codex explain: the cell to explain", "%codex explain")
    if run.error:
        return failure_data(run, hidden)
    return _CELL.format(source=truncate(run.cell.source.strip("\n"), SOURCE_LIMIT))


def _check(cell: Cell, hidden: Hidden, subject: str, command: str) -> None:
    if hidden.skips(cell):
        raise CellSkipped(
            f"{subject} is marked codex-skip, so nothing of it is sent.",
            hint=f"Remove the marker and run the cell again, then use {command}.",
        )


def explain_prompt(request: str = "") -> str:
    """Return the prompt that asks for an explanation of the cell above, or of what ``request`` says."""
    return f"{_EXPLAIN}\n\nThe question is about: {request.strip()}" if request.strip() else _EXPLAIN
