"""The subcommands of ``%codex`` for threads: list, switch, begin, fork, compact, export and delete them."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from codex_nb.errors import CodexError, home_as_tilde
from codex_nb.magics.options import (
    ALL,
    DELETE,
    OVERWRITE,
    OptionError,
    did_you_mean,
    first_word,
    parse_options,
    subcommand,
)
from codex_nb.magics.subcommands import confirmed, show, table
from codex_nb.rendering.markdown import code_span, escape_markdown
from codex_nb.rendering.sanitize import visible_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from codex_nb.magics.session import ShellSession
    from codex_nb.session.thread import Thread
    from codex_nb.session.thread_file import PastTurn, ThreadInfo

LAST_TURNS = 3
QUESTION_LENGTH = 60
ANSWER_LENGTH = 200
SUFFIX = ".md"
_UNSAFE_IN_FILE_NAME = re.compile(r"[^\w.-]+")
_LIST = "%codex threads lists the threads."


@subcommand("[NAME]", complete=("thread",))
def thread(session: ShellSession, line: str) -> None:
    """Show the current thread with its last turns, or switch to another one."""
    session.thread = _name(line) or session.thread
    name = _current(session)
    used, turns = _opened(session, name)
    heading = f"Thread: {_shown(name)}{'' if used.items else ' (new)'}."
    if line and not used.items:
        near = did_you_mean(name, session.profile().assistant.threads.names())
        heading = f"{heading} {escape_markdown(near)}".strip()
    before = len(turns) - LAST_TURNS
    count = f"The last {LAST_TURNS} of {len(turns)} turns:" if before > 0 else ""
    show("\n\n".join(filter(None, [heading, count, *map(_turn_text, turns[-LAST_TURNS:])])))


@subcommand("[PROFILE | --delete NAME | --delete --all]", complete=("profile_or_delete", "thread_or_all"))
def threads(session: ShellSession, line: str) -> None:
    """List saved threads, or delete one or all of them with their saved answers."""
    option, _, name = line.partition(" ")
    if option == DELETE:
        _delete(session, name.strip())
    elif option.startswith("-"):
        raise OptionError(f"%codex threads: unknown option {option!r}.", hint=f"Use {DELETE} NAME.")
    else:
        found = session.profile(line or None).assistant.threads.threads()
        show(_listed(found) if found else "No threads are saved yet.")


@subcommand()
def new(session: ShellSession, _: str) -> None:
    """Start a new thread."""
    show(f"New thread: {_shown(session.new_thread())}.")


@subcommand("NEWNAME")
def fork(session: ShellSession, line: str) -> None:
    """Continue a copy of the current thread under another name."""
    new_name, name = _name(line), _current(session)
    store = session.profile().assistant.threads
    if not new_name or new_name.startswith("-"):
        raise OptionError("%codex fork needs a name for the copy.", hint="Write %codex fork NEWNAME.")
    if new_name in store.names():
        raise OptionError(
            f"%codex fork: there is a thread {new_name!r} already.", hint=f"Choose another name. {_LIST}"
        )
    original, _ = _opened(session, name)
    if not original.items:
        raise OptionError(f"%codex fork: the thread {name!r} is still empty.", hint="Ask with %%codex first.")

    async def copy() -> str | None:
        store.fork(name, new_name)
        return store.open(new_name).take_problem()

    problem = session.engine.run(copy())
    session.thread = new_name
    show(
        "\n\n".join(
            [f"Thread: {_shown(new_name)}, a copy of {_shown(name)}.", escape_markdown(problem or "")]
        )
    )


@subcommand()
def compact(session: ShellSession, line: str) -> None:
    """Replace the current thread by a summary, so that questions send less."""
    from codex_nb.host.engine import refuse_inside_turn
    from codex_nb.magics.session import make_question
    from codex_nb.session.known_values import secrets_of_namespace

    refuse_inside_turn()
    if line:
        raise OptionError(
            "%codex compact takes no arguments.", hint="Switch with %codex thread NAME, then compact."
        )
    profile = session.profile()
    question = make_question(session, parse_options(""), profile)
    secrets = secrets_of_namespace(session.namespace)
    notices = session.wait(profile.assistant.compact(question, secrets))
    show("\n\n".join(escape_markdown(notice.text) for notice in notices))


@subcommand("[--overwrite] [NAME] [FILE]", complete=("thread", "file"))
def export(session: ShellSession, line: str) -> None:
    """Write a thread to a Markdown file: its questions, answers and the code that ran."""
    from codex_nb.session.thread_file import export_markdown

    option, _, rest = line.partition(" ")
    overwrites = option == OVERWRITE
    name, file = _export_names(session, rest if overwrites else line)
    exported, turns = _opened(session, name)
    if not turns:
        raise OptionError(f"%codex export: the thread {name!r} is empty.", hint=_LIST)
    path = (session.folder or Path.cwd()) / _expanded(file or _file_name(name))
    if os.path.lexists(path) and not overwrites and session.has_user:
        overwrites = confirmed(f"{home_as_tilde(str(path))} exists. Replace it?")
        if not overwrites:
            show("Not exported. Nothing was changed.")
            return
    _write(path, export_markdown(name, exported.items), overwrites=overwrites)
    told = f"Exported {len(turns)} turn{'s' * (len(turns) != 1)} of {name} to {path}."
    show(escape_markdown(home_as_tilde(told)))


def _export_names(session: ShellSession, line: str) -> tuple[str, str]:
    """Return the thread and the file that a line names; one word is a file if it ends like one."""
    if line.startswith("-"):
        raise OptionError(
            f"%codex export: unknown option {line.split(maxsplit=1)[0]!r}.",
            hint=f"Use {OVERWRITE} [NAME] [FILE].",
        )
    known = session.profile().assistant.threads.names()
    name, file = first_word(line) if line else ("", "")
    if not file and name not in known and (name.endswith(SUFFIX) or "/" in name or "\\" in name):
        name, file = "", name
    if name and name not in known:
        hint = f"{did_you_mean(name, known)} {_LIST}".strip()
        raise OptionError(f"%codex export: there is no thread {name!r}.", hint=hint)
    return name or _current(session), _name(file)


def _expanded(file: str) -> Path:
    try:
        return Path(file).expanduser()
    except RuntimeError:
        raise OptionError(
            f"%codex export: there is no home folder for {file!r}.", hint="Name the whole path."
        ) from None


def _file_name(thread_name: str) -> str:
    stem = _UNSAFE_IN_FILE_NAME.sub("-", thread_name)[:60].strip(".-")
    return f"{stem or 'thread'}{SUFFIX}"


def _write(path: Path, text: str, *, overwrites: bool) -> None:
    """Write a file that only the user can read; without ``overwrites``, one that did not exist."""
    from codex_nb.files import create_file, replace_file

    try:
        (replace_file if overwrites else create_file)(path, text.encode())
    except FileExistsError:
        raise CodexError(
            f"{path} exists, so nothing was exported.", hint=f"Name another file, or use {OVERWRITE}."
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no file name"
        raise CodexError(f"{path} cannot be written: {reason}.", hint="Name another file.") from None


def _name(text: str) -> str:
    """Return the name that a line consists of, without the quotation marks around it."""
    text = text.strip()
    is_quoted = len(text) > 1 and text[0] in "\"'" and text[0] == text[-1]
    return text[1:-1] if is_quoted else text


def _current(session: ShellSession) -> str:
    return session.thread or session.own_thread


def _shown(name: str) -> str:
    return code_span(visible_line(name))


def _opened(session: ShellSession, name: str) -> tuple[Thread, list[PastTurn]]:
    from codex_nb.session.thread_file import past_turns

    async def opened() -> Thread:
        return session.profile().assistant.threads.open(name)

    found = session.engine.run(opened())
    return found, past_turns(found.items)


def _turn_text(turn: PastTurn) -> str:
    from codex_nb.session.thread_file import one_line

    question, answer = one_line(turn.question, ANSWER_LENGTH), one_line(turn.answer, ANSWER_LENGTH)
    return f"**{escape_markdown(question)}**\n\n{escape_markdown(answer)}"


def _delete(session: ShellSession, line: str) -> None:
    """Delete the thread that the line names, as it is called or as it is listed; ALL in quotation marks is a name."""
    profile, name = session.profile(), _name(line)
    known = profile.assistant.threads.threads()
    found = [info for info in known if line == ALL or info.name == name]
    if not found and len(alike := [info for info in known if visible_line(info.name) == name]) == 1:
        found = alike
    if not name or (line != ALL and not found):
        problem = f"there is no thread {name!r}" if name else f"{DELETE} needs the name of a thread"
        near = did_you_mean(name, [each.name for each in known])
        hint = f"{near} {_LIST} {DELETE} {ALL} deletes all.".strip()
        raise OptionError(f"%codex threads: {problem}.", hint=hint)
    what = f"all {len(found)} threads" if line == ALL else f"the thread {found[0].name}"
    if session.has_user and not confirmed(f"Delete {what}, with the answers saved of it?"):
        show("Not deleted. Nothing was changed.")
        return
    answers = session.forget_threads(profile.settings.codex_home, None if line == ALL else found[0].name)
    done = f"Deleted {escape_markdown(what)}, with {answers} saved answer{'' if answers == 1 else 's'}."
    show(f"{done}\n\n{_listed(found)}" if found else done)


def _listed(found: Iterable[ThreadInfo]) -> str:
    from codex_nb.session.thread_file import one_line
    from codex_nb.ui.account import local_time

    now = datetime.now(UTC).astimezone()
    rows = [
        (
            _shown(info.name),
            escape_markdown(one_line(info.question, QUESTION_LENGTH)) or "-",
            local_time(datetime.fromtimestamp(info.used_at, UTC), now) if info.used_at else "-",
            escape_markdown(one_line(info.model, QUESTION_LENGTH)) or "-",
            info.turns,
            f"{info.size // 1000} kB",
        )
        for info in found
    ]
    return table(("thread", "first question", "last used", "model", "turns", "size"), rows)
