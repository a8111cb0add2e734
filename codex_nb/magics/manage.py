"""The subcommands of ``%codex``: the account, the models, the thread, the context, the settings."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from IPython.display import display

from codex_nb.magics.cell import answer_cell
from codex_nb.magics.commands import COMMANDS
from codex_nb.magics.options import OptionError, parse_options
from codex_nb.magics.reference import options_and_help
from codex_nb.magics.tables import table
from codex_nb.rendering.bundle import answer_bundle
from codex_nb.rendering.neutral import neutral_text
from codex_nb.settings import EFFORTS
from codex_nb.ui.account import sign_out_question
from codex_nb.words import commands as words
from codex_nb.words import reference as reference_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from codex_nb.auth import FlowKind
    from codex_nb.magics.reading import NotebookReading
    from codex_nb.magics.signing_out import SignOut
    from codex_nb.magics.workspace import Workspace
    from codex_nb.settings import Settings

WAYS: Mapping[str, FlowKind] = {
    "": "device",
    "device": "device",
    "browser": "browser",
    "api_key": "api_key",
    "access_token": "access_token",
}


def tell(markdown: str) -> None:
    """Show text as a safe output: HTML and Markdown where they can be drawn, plain text elsewhere."""
    display(answer_bundle(markdown), raw=True)


def status(workspace: Workspace, profile: str) -> None:
    """Show who is signed in and what pays."""
    from codex_nb.magics.status import show_status

    show_status(workspace, profile or None)


def login(workspace: Workspace, line: str) -> None:
    """Sign in, in the way that was named."""
    from codex_nb.magics.account import sign_in

    way, _, profile = line.partition(" ")
    if way not in WAYS:
        raise OptionError(words.no_way(way, ", ".join(sorted(set(WAYS.values())))))
    sign_in(workspace, WAYS[way], profile.strip() or None)


def logout(workspace: Workspace, profile: str) -> None:
    """Sign out, when the person confirms it; where nobody can answer, the command itself is the word for it."""
    from codex_nb.magics.signing_out import find_sign_out

    target = workspace.wait(find_sign_out(workspace.home(profile or None).credentials))
    if target is None:
        tell(words.WAS_NOT_SIGNED_IN)
    elif workspace.has_person and not confirms(target):
        tell("Not signed out. Nothing was changed.")
    else:
        workspace.wait(target.carry_out())
        tell(neutral_text(target.done))


def confirms(target: SignOut) -> bool:
    """Ask by typing whether to sign out; anything but yes is no."""
    try:
        answer = input(f"{sign_out_question(target.who)} [y]es, [n]o: ")
    except EOFError:
        return False
    return answer.strip().lower() in {"y", "yes"}


def models(workspace: Workspace, profile: str) -> None:
    """List the account's models."""
    home = workspace.home(profile or None)
    listed = [model for model in workspace.wait(home.services.models()) if model.is_listed]
    rows = ((f"`{model.slug}`", model.display_name, ", ".join(model.efforts) or "-") for model in listed)
    tell(table(words.MODELS_TABLE, rows) if listed else words.NO_MODELS)


def model(workspace: Workspace, name: str) -> None:
    """Choose a model for the session, or tell which one is in use."""
    home = workspace.home()
    if name:
        workspace.config.model = workspace.wait(home.services.choose(name)).slug
    wanted = workspace.config.model or home.settings.model
    tell(words.model_in_use(wanted) if wanted else words.FIRST_MODEL)


def effort(workspace: Workspace, level: str) -> None:
    """Choose an effort for the session, or tell which one is in use."""
    if level and level not in EFFORTS:
        raise OptionError(words.no_level(level, ", ".join(EFFORTS)))
    workspace.config.effort = level or workspace.config.effort
    chosen = workspace.config.effort or workspace.home().settings.effort
    tell(words.effort_in_use(chosen) if chosen else words.EFFORT_OF_THE_MODEL)


def usage(workspace: Workspace, profile: str) -> None:
    """Show the limits."""
    from codex_nb.ui.account import bar
    from codex_nb.ui.account_facts import limit_name, when

    limits = workspace.wait(workspace.home(profile or None).services.usage())
    windows = limits.windows if limits is not None else ()
    now = datetime.now(UTC).astimezone()
    rows = [
        (limit_name(each.label, each.limit), bar(each.used_percent), when(each.resets_at, now))
        for each in windows
    ]
    tell(table(words.LIMITS_TABLE, rows) if rows else words.NO_LIMITS)


def context(workspace: Workspace, line: str) -> None:
    """Show what the next question would send, with sizes."""
    from codex_nb.magics.preview import show_preview

    show_preview(workspace, line)


def thread(workspace: Workspace, name: str) -> None:
    """Go on with a thread, or tell which one is in use."""
    workspace.thread = name or workspace.thread
    tell(words.thread_in_use(workspace.thread or workspace.own_thread))


def threads(workspace: Workspace, profile: str) -> None:
    """List the kept threads."""
    kept = workspace.home(profile or None).assistant.threads.threads()
    rows = ((f"`{info.name}`", info.questions, words.thread_size(str(info.size // 1000))) for info in kept)
    tell(table(words.THREADS_TABLE, rows) if kept else words.NO_THREADS)


def new(workspace: Workspace, _: str) -> None:
    """Start a thread that knows nothing."""
    tell(words.new_thread(workspace.new_thread()))


def last(workspace: Workspace, _: str) -> Any:
    """Give the last answer again: also one whose cell lost it to a reloaded page."""
    if workspace.last is None:
        raise OptionError(words.NOTHING_ANSWERED)
    return workspace.last


def fix(workspace: Workspace, line: str) -> None:
    """Ask for the repair of the last error."""
    from codex_nb.magics.failures import last_failure
    from codex_nb.magics.reading import NotebookReading
    from codex_nb.session.repair import NothingFailed, failure_data, fix_prompt

    options = parse_options(line)
    unread = NotebookReading(workspace, options.prompt)
    failed = last_failure(unread.runs)
    if failed is None:
        raise NothingFailed(words.NOTHING_FAILED)

    def subject(reading: NotebookReading) -> tuple[tuple[str, str], ...]:
        return (("the failed cell", failure_data(failed, reading.hidden())),)

    subject(unread)  # a mark that the kernel knows of is told before anything is shown
    answer_cell(workspace, replace(options, prompt=fix_prompt(options.prompt), subject=subject))


def explain(workspace: Workspace, line: str) -> None:
    """Ask what the last cell, or the code on the line, does."""
    from codex_nb.magics.failures import explained_run
    from codex_nb.session.repair import explain_prompt, explained_data

    options = parse_options(line)

    def subject(reading: NotebookReading) -> tuple[tuple[str, str], ...]:
        run = explained_run(reading.snapshot, reading.runs)
        return () if run is None else (("the cell to explain", explained_data(run, reading.hidden())),)

    prompt = explain_prompt(options.prompt)
    answer_cell(workspace, replace(options, prompt=prompt, subject=None if options.prompt else subject))


def config(workspace: Workspace, _: str) -> None:
    """Show the settings in force; no value of theirs is a secret."""
    settings = workspace.home().settings
    rows = [(f"`{name}`", f"`{value}`") for name, value in _shown(settings)]
    own = [
        (f"`CodexMagics.{name}`", f"`{getattr(workspace.config, name)}`")
        for name in ("model", "effort", "approval", "profile", "display", "context_tokens")
    ]
    tell(table(words.SETTINGS_TABLE, [*own, *rows]))


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


def show_help(workspace: Workspace, _: str) -> None:
    """List options and subcommands."""
    del workspace
    listed = ((f"`{name}`", text) for name, text in COMMANDS.items())
    commands = table(reference_words.SUBCOMMANDS_TABLE, listed)
    spellings = ((", ".join(f"`{flag}`" for flag in flags), text) for flags, text in options_and_help())
    options = table(reference_words.OPTIONS_TABLE, spellings)
    tell(f"{reference_words.INTRODUCTION}\n\n{commands}\n\n{options}")
