"""Codex's own texts: skills (folders with a ``SKILL.md``), and the prompts saved in ``CODEX_HOME/prompts``.

Where they are looked for, which are skipped and how the arguments of a prompt are put in is as in the Codex CLI, but
for the skills that the CLI brings along for its own tools (``CODEX_HOME/skills/.system``).
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from codex_nb.errors import CodexError
from codex_nb.rendering.sanitize import visible_line
from codex_nb.tools.approval import Effect
from codex_nb.tools.base import Arguments, Tool, ToolResult
from codex_nb.tools.file_access import (
    FileRefused,
    path_of_project,
    project_folders,
    project_root,
    read_bounded,
    read_lines,
    read_result,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from codex_nb.config.settings import Settings
    from codex_nb.tools.approval import Approved
    from codex_nb.tools.base import Ports

SKILL_FILE = "SKILL.md"
MAX_SKILLS = 100
LISTING_LIMIT = 8_000  # characters
LONGEST_NAME, LONGEST_DESCRIPTION = 64, 1024
LARGEST_TEXT = 1_000_000
CUT = "..."
_MAX_DEPTH, _MAX_FOLDERS = 6, 2_000

_FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(.*?\r?\n)?---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_ONLY_BY_NAME = re.compile(r"^[^#\n]*\ballow_implicit_invocation[ \t]*:[ \t]*false\b", re.MULTILINE)
_ENTRY = re.compile(r"([A-Za-z_-]+):(?:[ \t]+(.*)|[ \t]*)")
_SKILL_NAME = re.compile(r"(?<![\w$])\$([A-Za-z0-9_:-]+)")


@dataclass(frozen=True)
class Skill:
    """A skill: its name, the sentence that says when it is of use, and its checked file, free of links.

    One that is not ``listed`` is used only where the user names it.
    """

    name: str
    description: str
    file: Path
    listed: bool = True


def skills_of(settings: Settings, folder: Path | None, environ: Mapping[str, str]) -> tuple[Skill, ...]:
    """Find the skills that the configuration does not turn off. Blocks while it reads."""
    found = find_skills(settings.codex_home, folder, environ, system=settings.system_skills)
    off = settings.disabled_skills
    return tuple(each for each in found if each.name not in off and str(each.file) not in off)


def find_skills(
    codex_home: Path, folder: Path | None, environ: Mapping[str, str], *, system: Path | None = None
) -> tuple[Skill, ...]:
    """Find the project's skills, then the user's and the system's; the first one of a name counts.

    Blocks while it reads.
    """
    found: dict[str, Skill] = {}
    for place, root in _places(codex_home, folder, environ, system):
        for file in _skill_files(place, follow_links=root is None):
            if len(found) < MAX_SKILLS and (skill := _skill(file, root)) is not None:
                found.setdefault(skill.name, skill)
    return tuple(found.values())


def _places(
    codex_home: Path, folder: Path | None, environ: Mapping[str, str], system: Path | None
) -> Iterator[tuple[Path, Path | None]]:
    """Yield each folder of skills, with the project's root that its files may not leave."""
    for place in reversed(project_folders(folder)) if folder is not None else ():
        root = project_root(place)
        yield place / ".codex" / "skills", root
        yield place / ".agents" / "skills", root
    yield codex_home / "skills", None
    if home := environ.get("HOME") or environ.get("USERPROFILE"):
        yield codex_home.__class__(home) / ".agents" / "skills", None
    if system is not None:
        yield system, None


def _skill_files(place: Path, *, follow_links: bool) -> Iterator[Path]:
    """Yield the ``SKILL.md`` files below a folder, in the order of their names; hidden folders are passed over."""
    waiting, visited = [(place, 0)], 0
    while waiting and visited < _MAX_FOLDERS:
        here, depth = waiting.pop()
        visited += 1
        try:
            with os.scandir(here) as entries:
                shown = sorted(
                    (each for each in entries if not each.name.startswith(".")), key=lambda e: e.name
                )
                folders = [each.name for each in shown if each.is_dir(follow_symlinks=follow_links)]
        except OSError:  # there is none, or it is not ours to list
            continue
        if any(each.name == SKILL_FILE for each in shown):
            yield here / SKILL_FILE
        if depth < _MAX_DEPTH:
            waiting += [(here / name, depth + 1) for name in reversed(folders)]


def _skill(file: Path, root: Path | None) -> Skill | None:
    """Read what a skill says of itself; None for one that the CLI would skip as well."""
    if (found := _read(file, root)) is None:
        return None
    path, text = found
    table, _ = split_front_matter(text)
    name = visible_line(table.get("name") or file.parent.name)
    written = table.get("description", "")
    if len(written) > LONGEST_DESCRIPTION:
        written = written[: LONGEST_DESCRIPTION - len(CUT)] + CUT
    description = visible_line(written)
    if not description or len(name) > LONGEST_NAME:
        return None
    return Skill(name, description, path, _may_be_listed(path.parent))


def _read(file: Path, root: Path | None) -> tuple[Path, str] | None:
    """Return where a file leads, free of links, and its text; None where it cannot be read."""
    try:
        checked = path_of_project(file, root)
        return checked.path, read_bounded(checked, LARGEST_TEXT).text
    except (FileRefused, OSError):
        return None


def _may_be_listed(folder: Path) -> bool:
    """Whether the skill's own settings let the model choose it by itself."""
    found = _read(folder / "agents" / "openai.yaml", folder)
    return found is None or _ONLY_BY_NAME.search(found[1]) is None


def split_front_matter(text: str) -> tuple[dict[str, str], str]:
    """Return the keys of the lines between ``---`` at the beginning of a text, each value as one line, and the rest."""
    match = _FRONT_MATTER.match(text)
    if match is None:
        return {}, text
    table: dict[str, list[str]] = {}
    key = ""
    for line in (match[1] or "").splitlines():
        entry = _ENTRY.fullmatch(line)
        if entry is not None:
            key = entry[1]
            value = (entry[2] or "").strip()
            table[key] = [] if value in {"", "|", ">", "|-", ">-", "|+", ">+"} else [value]
        elif key and line[:1].isspace():
            table[key].append(line.strip())
    return {name: _unquoted(" ".join(lines).strip()) for name, lines in table.items()}, text[match.end() :]


def _unquoted(value: str) -> str:
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if is_quoted else value.partition(" #")[0].rstrip()


LISTING = """\
<skills_instructions>
## Skills
A skill is a set of instructions in a file. When the user names one with $NAME or in plain words, or when a task \
clearly fits its description, read it with read_skill before you go on, and follow it as far as your tools allow. \
Files that it refers to are read with read_skill, too.
### Available skills
{skills}
</skills_instructions>"""
_SELECTED = "<skill>\n<name>{name}</name>\n<path>{path}</path>\n{text}\n</skill>"


def skills_listing(skills: Iterable[Skill]) -> str:
    """Return what the model is told of the skills, an empty text for none."""
    lines, left = [], LISTING_LIMIT
    for skill in (each for each in skills if each.listed):
        left -= len(line := f"- {skill.name}: {skill.description} (file: {skill.file})")
        if left < 0:
            lines.append("- … and more that are not listed")
            break
        lines.append(line)
    return LISTING.format(skills="\n".join(lines)) if lines else ""


def selected_skills(prompt: str, skills: Iterable[Skill]) -> list[str]:
    """Return the text of each skill that a prompt names as ``$NAME``. Blocks while it reads."""
    named = set(_SKILL_NAME.findall(prompt))
    wanted = [skill for skill in skills if skill.name in named]
    found = [(skill, _read(skill.file, skill.file.parent)) for skill in wanted]
    return [_SELECTED.format(name=skill.name, path=skill.file, text=each[1]) for skill, each in found if each]


class ReadSkill(Arguments):
    """A skill, and one of its files."""

    skill: str = Field(min_length=1, description="Name of the skill.")
    path: str = Field(default=SKILL_FILE, description="File, relative to the skill's folder.")
    start_line: int = Field(default=1, ge=1, description="First line, counting from 1.")


def skill_tool(skills: Iterable[Skill]) -> Tool[Any]:
    """Return the tool that reads the files of these skills."""
    folders = {skill.name: skill.file.parent for skill in skills}

    async def read(call: Approved[ReadSkill], ports: Ports) -> ToolResult:
        wanted = call.arguments
        folder = folders.get(wanted.skill)
        if folder is None:
            return ToolResult(f"Unknown skill {wanted.skill}; there are: {', '.join(folders)}.", ok=False)
        hidden = await ports.main_thread.call(ports.hidden)
        return await read_result(
            wanted.path, lambda: read_lines(folder, wanted.path, wanted.start_line, None, hidden)
        )

    return Tool(
        name="read_skill",
        description="Reads a skill, or another file in its folder.",
        arguments=ReadSkill,
        effect=Effect.READ,
        call=read,
        title="Read a skill",
        summary="Reads a file of a skill. Changes nothing.",
    )


# -- Saved prompts ---------------------------------------------------------------------------------------------------

_COMMAND = re.compile(r"/(?:prompts:)?([^\s/]+)(?:\s+|\Z)")
_NAMED = re.compile(r"(?<!\$)\$([A-Z][A-Z0-9_]*)")
_NUMBERED = re.compile(r"\$\$|\$([1-9])|\$ARGUMENTS")


def saved_prompts(codex_home: Path) -> dict[str, Path]:
    """Return the files of the saved prompts by name."""
    try:
        with os.scandir(codex_home / "prompts") as entries:
            names = sorted(each.name for each in entries if each.name.endswith(".md") and each.is_file())
    except OSError:
        return {}
    return {name.removesuffix(".md"): codex_home / "prompts" / name for name in names}


def expand_prompt(text: str, codex_home: Path) -> str:
    """Return the saved prompt that ``/name arguments`` asks for, any other text as it is.

    ``$1`` to ``$9`` and ``$ARGUMENTS`` are the words after the name, ``$NAME`` is the value of ``NAME=value``; ``$$``
    is left as it is. Raises CodexError.
    """
    command = _COMMAND.match(text)
    file = saved_prompts(codex_home).get(command[1]) if command is not None else None
    if command is None or file is None:
        return text
    try:
        content = read_bounded(path_of_project(file, None), LARGEST_TEXT).data.decode("utf-8-sig")
    except (FileRefused, OSError, UnicodeDecodeError) as error:
        problem = getattr(error, "strerror", None) or error
        raise CodexError(f"/{command[1]} cannot be used: {file}: {problem}.") from None
    _, body = split_front_matter(content)
    try:
        words = shlex.split(text[command.end() :])
    except ValueError as error:
        hint = "Close the quote, or put a backslash before it."
        raise CodexError(f"/{command[1]}: {str(error).lower()}.", hint=hint) from None
    wanted = dict.fromkeys(name for name in _NAMED.findall(body) if name != "ARGUMENTS")
    return _with_names(command[1], body, words, wanted) if wanted else _with_numbers(body, words)


def _with_names(command: str, body: str, words: Iterable[str], wanted: Iterable[str]) -> str:
    given: dict[str, str] = {}
    hint = f"Write /{command} {' '.join(f'{name}=…' for name in wanted)}, with quotes around values that have spaces."
    for word in words:
        name, assigned, value = word.partition("=")
        if not name or not assigned:
            raise CodexError(f"/{command} takes NAME=value, not {word!r}.", hint=hint)
        given[name] = value
    if missing := [name for name in wanted if name not in given]:
        raise CodexError(f"/{command} needs {', '.join(missing)}.", hint=hint)
    return _NAMED.sub(lambda match: given.get(match[1], match[0]), body)


def _with_numbers(body: str, words: list[str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return match[0]
        return " ".join(words[int(match[1]) - 1 :][:1] if match[1] else words)

    return _NUMBERED.sub(value, body)
