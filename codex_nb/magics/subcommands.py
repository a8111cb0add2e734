"""The subcommands of ``%codex``: account, models, thread, context, settings, help."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from IPython.display import display

from codex_nb.config.settings import EFFORTS
from codex_nb.errors import AuthError
from codex_nb.host.mailbox import Mailbox
from codex_nb.host.shell_channel import open_pump
from codex_nb.magics.cell import answer_cell, open_view
from codex_nb.magics.options import COMMANDS, OptionError, options_and_help, parse_options
from codex_nb.magics.question import make_question, with_notebook
from codex_nb.magics.session import read_for
from codex_nb.rendering.answer_output import answer_bundle
from codex_nb.rendering.inert_markdown import escape_markdown, fenced
from codex_nb.session.events import TextDone
from codex_nb.session.notebook_context import describe_redactions, is_question, tokens_of
from codex_nb.session.outbound import UntrustedBlock
from codex_nb.session.prompt import BASE, build_input, project_instructions
from codex_nb.session.thread import Thread
from codex_nb.tools.approval import PendingApprovals
from codex_nb.tools.nbmodel import Run
from codex_nb.ui.account import sign_out_question
from codex_nb.words import commands as commands_words
from codex_nb.words import preview as words
from codex_nb.words import reference as reference_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from codex_nb.auth import LoginMethod
    from codex_nb.config.settings import Settings
    from codex_nb.magics.account import SignOut
    from codex_nb.magics.session import NotebookReading, ShellSession
    from codex_nb.profile import Profile
    from codex_nb.session.notebook_context import TurnRequest
    from codex_nb.session.outbound import Item
    from codex_nb.session.prompt import TurnInput
    from codex_nb.tools.nbmodel import Cell, NotebookSnapshot


def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Write a Markdown table; a bar in a cell cannot break it."""
    lines = [[*heads], *([str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows)]
    head, *body = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([head, "|" + " --- |" * len(lines[0]), *body])


def last_failure(runs: Iterable[Run]) -> Run | None:
    """Return the newest run that failed, of a cell that has not run since; a question is no cell to repair.

    Where a front end gives cells no ids, the same text is the same cell.
    """
    newest: dict[tuple[str | None, str], Run] = {}
    for run in runs:
        if not is_question(run.cell):
            key = (run.cell.cell_id, "" if run.cell.cell_id is not None else run.cell.source.strip())
            newest.pop(key, None)
            newest[key] = run
    return next((run for run in reversed(newest.values()) if run.error), None)


def explained_run(snapshot: NotebookSnapshot | None, runs: Iterable[Run]) -> Run | None:
    """Return the cell above the asking one in the document or its file; without those, the one that ran last."""
    asked_about = [run for run in runs if not is_question(run.cell)]
    if snapshot is None or snapshot.current is None or snapshot.origin == "kernel":
        return asked_about[-1] if asked_about else None
    cell = next((each for each in reversed(snapshot.cells[: snapshot.current]) if _has_code(each)), None)
    if cell is None:
        return None
    ran = [run for run in asked_about if _is_same(run.cell, cell)]
    return Run(cell, error=ran[-1].error if ran else "")


def _has_code(cell: Cell) -> bool:
    return cell.kind == "code" and bool(cell.source.strip()) and not is_question(cell)


def _is_same(run: Cell, cell: Cell) -> bool:
    return run.source.strip() == cell.source.strip() and run.cell_id in {None, cell.cell_id}


def show_preview(session: ShellSession, line: str) -> None:
    """Show it as an answer is shown: only so can the open document be read where there is one."""
    profile, options = session.profile(), parse_options(line)
    with suppress(AuthError):
        session.wait(profile.signed_in())  # a login that was read is redacted here as it will be then
    question = make_question(session, options, profile)
    with Mailbox() as mailbox, open_pump(session.shell, mailbox) as pump:
        shown = open_view(session, mailbox, pump, PendingApprovals())
        try:
            reading = read_for(session, options.prompt, shown.transcript)
            request = with_notebook(question, options, profile, reading)
            opening = session.engine.run(_opening(profile, request))
            shown.screen.apply(TextDone("preview", described(request, opening)))
        finally:
            shown.screen.close()


async def _opening(profile: Profile, request: TurnRequest) -> TurnInput:
    assistant, settings, thread = profile.assistant, profile.settings, request.thread
    project = await asyncio.to_thread(
        project_instructions, settings.codex_home, request.folder, settings.project_doc_max_bytes
    )
    return build_input(
        request,
        assistant.threads.open(thread) if thread else Thread(""),
        instructions=BASE,
        project=project,
        redactor=assistant.redactor(),
        untrusted=UntrustedBlock("CODE"),  # a saved preview stays the same; a turn has a random word there
    )


@dataclass(frozen=True)
class Part:
    """One message that would be sent: what it is, what it says, how many images it carries."""

    name: str
    text: str
    images: int


def described(request: TurnRequest, opening: TurnInput) -> str:
    """Return the preview as Markdown: sizes first, then each message as it stands."""
    parts = parts_of(opening, asks=bool(request.prompt))
    rows: list[tuple[str, object]] = [(part.name, tokens_of(part.text)) for part in parts]
    rows.append((words.ALL, sum(tokens_of(part.text) for part in parts)))
    notes = []
    if images := sum(part.images for part in parts):
        notes.append(f"- {words.images(str(images))}")
    if context := request.context:
        sizes = ", ".join(f"{kind} {size}" for kind, size in context.sizes.items())
        notes.append(f"- {words.sizes(str(context.budget), sizes)}")
        notes += [f"- {words.left_out(cut)}" for cut in context.not_sent]
    notes += [f"- {problem}" for problem in opening.problems]
    if told := describe_redactions(opening.redactions):
        notes.append(f"- {told}")
    head = words.head(str(request.thread))
    texts = [f"**{part.name}**\n\n{fenced(part.text, 'text')}" for part in parts]
    return "\n\n".join([head, table(words.TABLE, rows), "\n".join(notes), *texts])


def parts_of(opening: TurnInput, *, asks: bool) -> list[Part]:
    """Name the messages of an opening; the question is its last one."""
    items = opening.items if asks else opening.items[:-1]
    return [_part(item, is_question=asks and item is items[-1]) for item in items]


def _part(item: Item, *, is_question: bool) -> Part:
    text = "\n".join(content["text"] for content in item["content"] if "text" in content)
    images = sum(1 for content in item["content"] if "image_url" in content)
    if item["role"] == "user":
        kind = "question" if is_question else "notebook"
    else:
        kind = "instructions" if text.startswith(BASE[:40]) else "agents"
    return Part(words.PARTS[kind], text, images)


WAYS: Mapping[str, LoginMethod] = {
    "": "device",
    "device": "device",
    "browser": "browser",
    "api_key": "api_key",
    "access_token": "access_token",
}


def tell(markdown: str) -> None:
    """Show text as a safe output: HTML and Markdown where they can be drawn, plain text elsewhere."""
    display(answer_bundle(markdown), raw=True)


def status(session: ShellSession, name: str) -> None:
    """Show who is signed in and what pays."""
    from codex_nb.magics.account import show_status

    show_status(session, name or None)


def login(session: ShellSession, line: str) -> None:
    """Sign in, in the way that was named."""
    from codex_nb.magics.account import sign_in

    way, _, name = line.partition(" ")
    if way not in WAYS:
        raise OptionError(commands_words.no_way(way, ", ".join(sorted(set(WAYS.values())))))
    sign_in(session, WAYS[way], name.strip() or None)


def logout(session: ShellSession, name: str) -> None:
    """Sign out, when the person confirms it; where nobody can answer, the command itself is the word for it."""
    from codex_nb.magics.account import find_sign_out

    target = session.wait(find_sign_out(session.profile(name or None).credentials))
    if target is None:
        tell(commands_words.WAS_NOT_SIGNED_IN)
    elif session.has_person and not confirms(target):
        tell("Not signed out. Nothing was changed.")
    else:
        session.wait(target.carry_out())
        tell(escape_markdown(target.done))


def confirms(target: SignOut) -> bool:
    """Ask by typing whether to sign out; anything but yes is no."""
    try:
        answer = input(f"{sign_out_question(target.who)} [y]es, [n]o: ")
    except EOFError:
        return False
    return answer.strip().lower() in {"y", "yes"}


def models(session: ShellSession, name: str) -> None:
    """List the account's models."""
    profile = session.profile(name or None)
    listed = [model for model in session.wait(profile.backend.models()) if model.is_listed]
    rows = ((f"`{model.slug}`", model.display_name, ", ".join(model.efforts) or "-") for model in listed)
    tell(table(commands_words.MODELS_TABLE, rows) if listed else commands_words.NO_MODELS)


def model(session: ShellSession, name: str) -> None:
    """Choose a model for the session, or tell which one is in use."""
    profile = session.profile()
    if name:
        session.config.model = session.wait(profile.backend.choose(name)).slug
    wanted = session.config.model or profile.settings.model
    tell(commands_words.model_in_use(wanted) if wanted else commands_words.FIRST_MODEL)


def effort(session: ShellSession, level: str) -> None:
    """Choose an effort for the session, or tell which one is in use."""
    if level and level not in EFFORTS:
        raise OptionError(commands_words.no_level(level, ", ".join(EFFORTS)))
    session.config.effort = level or session.config.effort
    chosen = session.config.effort or session.profile().settings.effort
    tell(commands_words.effort_in_use(chosen) if chosen else commands_words.EFFORT_OF_THE_MODEL)


def usage(session: ShellSession, name: str) -> None:
    """Show the limits."""
    from codex_nb.labels import limit_name
    from codex_nb.ui.account import local_time, usage_bar

    limits = session.wait(session.profile(name or None).backend.usage())
    windows = limits.windows if limits is not None else ()
    now = datetime.now(UTC).astimezone()
    rows = [
        (limit_name(each.label, each.limit), usage_bar(each.used_percent), local_time(each.resets_at, now))
        for each in windows
    ]
    tell(table(commands_words.LIMITS_TABLE, rows) if rows else commands_words.NO_LIMITS)


def context(session: ShellSession, line: str) -> None:
    """Show what the next question would send, with sizes."""
    show_preview(session, line)


def thread(session: ShellSession, name: str) -> None:
    """Go on with a thread, or tell which one is in use."""
    session.thread = name or session.thread
    tell(commands_words.thread_in_use(session.thread or session.own_thread))


def threads(session: ShellSession, name: str) -> None:
    """List the kept threads."""
    kept = session.profile(name or None).assistant.threads.threads()
    rows = (
        (f"`{info.name}`", info.turns, commands_words.thread_size(str(info.size // 1000))) for info in kept
    )
    tell(table(commands_words.THREADS_TABLE, rows) if kept else commands_words.NO_THREADS)


def new(session: ShellSession, _: str) -> None:
    """Start a thread that knows nothing."""
    tell(commands_words.new_thread(session.new_thread()))


def last(session: ShellSession, _: str) -> Any:
    """Give the last answer again: also one whose cell lost it to a reloaded page."""
    if session.last is None:
        raise OptionError(commands_words.NOTHING_ANSWERED)
    return session.last


def fix(session: ShellSession, line: str) -> None:
    """Ask for the repair of the last error."""
    from codex_nb.magics.session import NotebookReading
    from codex_nb.session.prompt import NoFailedCell, failure_data, fix_prompt

    options = parse_options(line)
    unread = NotebookReading(session, options.prompt)
    failed = last_failure(unread.runs)
    if failed is None:
        raise NoFailedCell(commands_words.NOTHING_FAILED)

    def subject(reading: NotebookReading) -> tuple[tuple[str, str], ...]:
        return (("the failed cell", failure_data(failed, reading.hidden())),)

    subject(unread)  # a mark that the kernel knows of is told before anything is shown
    answer_cell(session, replace(options, prompt=fix_prompt(options.prompt), subject=subject))


def explain(session: ShellSession, line: str) -> None:
    """Ask what the last cell, or the code on the line, does."""
    from codex_nb.session.prompt import explain_prompt, explained_data

    options = parse_options(line)

    def subject(reading: NotebookReading) -> tuple[tuple[str, str], ...]:
        run = explained_run(reading.snapshot, reading.runs)
        return () if run is None else (("the cell to explain", explained_data(run, reading.hidden())),)

    prompt = explain_prompt(options.prompt)
    answer_cell(session, replace(options, prompt=prompt, subject=None if options.prompt else subject))


def config(session: ShellSession, _: str) -> None:
    """Show the settings in force; no value of theirs is a secret."""
    settings = session.profile().settings
    rows = [(f"`{name}`", f"`{value}`") for name, value in _shown(settings)]
    own = [
        (f"`CodexMagics.{name}`", f"`{getattr(session.config, name)}`")
        for name in ("model", "effort", "approval", "profile", "display", "context_tokens")
    ]
    tell(table(commands_words.SETTINGS_TABLE, [*own, *rows]))


def _shown(settings: Settings) -> Iterable[tuple[str, object]]:
    for name in (
        "codex_home",
        "profile",
        "model",
        "effort",
        "summary",
        "verbosity",
        "service_tier",
        "approval",
    ):
        yield name, getattr(settings, name)
    yield "provider", settings.provider.id
    yield "credentials_store", settings.credentials_store.value


def show_help(session: ShellSession, _: str) -> None:
    """List options and subcommands."""
    del session
    listed = ((f"`{name}`", text) for name, text in COMMANDS.items())
    commands = table(reference_words.SUBCOMMANDS_TABLE, listed)
    spellings = ((", ".join(f"`{flag}`" for flag in flags), text) for flags, text in options_and_help())
    options = table(reference_words.OPTIONS_TABLE, spellings)
    tell(f"{reference_words.INTRODUCTION}\n\n{commands}\n\n{options}")


ALIKE = 0.75  # of 1: a word that is so much like a command is a slip, and no question to spend tokens on

HANDLERS: Mapping[str, Callable[[ShellSession, str], Any]] = {
    "status": status,
    "login": login,
    "logout": logout,
    "models": models,
    "model": model,
    "effort": effort,
    "usage": usage,
    "context": context,
    "thread": thread,
    "threads": threads,
    "new": new,
    "last": last,
    "fix": fix,
    "explain": explain,
    "config": config,
    "help": show_help,
}


def dispatch(session: ShellSession, line: str, cell: str | None) -> Any:
    """Do what the line (and the cell below it) asks for."""
    command, _, rest = line.strip().partition(" ")
    if cell is None and not command:
        return show_help(session, "")
    if cell is None and command in HANDLERS:
        return HANDLERS[command](session, rest.strip())
    if cell is None and not rest and (near := get_close_matches(command, HANDLERS, n=1, cutoff=ALIKE)):
        raise OptionError(commands_words.no_command(command, near[0]))
    return answer_cell(session, parse_options(line, cell or ""))
