"""The subcommands of ``%codex``: one function each, listed by its name, its docstring and its completion.

The table is read by the first magic or completion, so what takes long to import is imported when a subcommand runs.
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from IPython.display import display

from codex_nb.errors import home_as_tilde
from codex_nb.labels import LOGIN_METHODS, ApprovalPolicy
from codex_nb.magics.options import (
    BELOW,
    CLEAR,
    SUBCOMMANDS,
    SWITCH,
    OptionError,
    SessionConfig,
    did_you_mean,
    known_effort,
    options_and_help,
    parse_options,
    subcommand,
)
from codex_nb.rendering.answer_output import answer_mimebundle
from codex_nb.rendering.markdown import code_span, escape_markdown, fenced
from codex_nb.rendering.sanitize import visible_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from codex_nb.magics.cell import OpenedView
    from codex_nb.magics.session import ShellSession
    from codex_nb.session.assistant import Assistant, Preview
    from codex_nb.session.mcp import ServerState
    from codex_nb.session.outbound import Item
    from codex_nb.session.prompt import TurnRequest
    from codex_nb.tools.base import Tool
    from codex_nb.tools.describe import NewCell


_THROUGH = "\n\nRead through the Codex CLI, whose agent answers your questions."


def show(markdown: str) -> None:
    """Display text as a safe output: HTML and Markdown where they can be drawn, plain text elsewhere."""
    display(answer_mimebundle(markdown), raw=True)


def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Write a Markdown table; a bar in a cell cannot break it."""
    lines = [[*heads], *([str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows)]
    head, *body = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([head, "|" + " --- |" * len(lines[0]), *body])


@subcommand("[PROFILE]", complete=("profile",))
def status(session: ShellSession, name: str) -> None:
    """Show who is signed in, the plan, the limits and where the credentials are stored.

    With buttons where the front end supports them.
    """
    from codex_nb.magics.account import account_status

    account_status(session, name or None)._ipython_display_()
    if session.config.engine == "agent":
        described = session.wait(session.profile(name or None).agent.open().described())
        show(escape_markdown(home_as_tilde(described)))


@subcommand("[METHOD] [PROFILE]", complete=("login_method", "profile"))
def login(session: ShellSession, line: str) -> None:
    """Sign in: device (the default), browser, api_key or access_token."""
    from codex_nb.magics.account import log_in

    wanted, _, name = line.partition(" ")
    method = next((each for each in LOGIN_METHODS if each == (wanted or "device")), None)
    if method is None:
        hint = f"{did_you_mean(wanted, LOGIN_METHODS)} Choose one of: {', '.join(LOGIN_METHODS)}."
        raise OptionError(f"%codex login: unknown method {wanted!r}.", hint=hint.strip())
    log_in(session, method, name.strip() or None)


@subcommand("[PROFILE]", complete=("profile",))
def logout(session: ShellSession, name: str) -> None:
    """Sign out: revoke and delete the stored credentials.

    The user confirms it; where nobody can be asked, the subcommand itself is the confirmation.
    """
    from codex_nb.magics.account import find_sign_out
    from codex_nb.ui.account import sign_out_question

    credentials = session.profile(name or None).credentials
    target = session.wait(find_sign_out(credentials, in_full=session.names_in_full))
    if target is None:
        show(escape_markdown(credentials.external_note) or "You were not signed in.")
    elif session.has_user and not confirmed(sign_out_question(target.who)):
        show("Not signed out. Nothing was changed.")
    else:
        session.wait(target.run())
        show(escape_markdown(target.done))


def confirmed(question: str) -> bool:
    """Ask the user a question; no answer is a no."""
    try:
        answer = input(f"{visible_line(question)} [y]es, [n]o: ")
    except EOFError:
        return False
    return answer.strip().lower() in {"y", "yes"}


@subcommand("[PROFILE]", complete=("profile",))
def models(session: ShellSession, name: str) -> None:
    """List the models available to this account."""
    profile = session.profile(name or None)
    used = session.config.model or profile.settings.model
    if session.config.engine == "agent":
        found, through = session.wait(profile.agent.open().models()), _THROUGH
    else:
        listed = [each for each in session.wait(profile.backend.models()) if each.is_listed]
        found, through = [(each.slug, each.display_name, each.efforts) for each in listed], ""
    rows = [
        (
            f"{code_span(slug)}{' (in use)' * (slug == used)}",
            escape_markdown(name),
            escape_markdown(", ".join(efforts)) or "-",
        )
        for slug, name, efforts in found
    ]
    heads = ("model", "name", "reasoning efforts")
    show(table(heads, rows) + through if rows else "The backend lists no models. Name one with -m.")


@subcommand("[NAME]", complete=("model",))
def model(session: ShellSession, name: str) -> None:
    """Show the current model, or set one for this session."""
    profile, doubt = session.profile(), ""
    if name:
        found = session.wait(profile.backend.choose(name))
        session.config.model = found.slug
        listed = [each.slug for each in profile.backend.cached_models()]
        if found.is_assumed and listed and name not in listed:
            near = did_you_mean(name, listed) or f"Listed are: {', '.join(listed)}."
            doubt = f" The account's list of models does not have it. {escape_markdown(near)}"
    chosen = session.config.model or profile.settings.model
    default = "Model: account default. %codex models lists the choices."
    show(f"Model: {code_span(visible_line(chosen))}.{doubt}" if chosen else default)


@subcommand("[LEVEL]", complete=("effort",))
def effort(session: ShellSession, level: str) -> None:
    """Show the current reasoning effort, or set one for this session."""
    if level:
        offered = session.profile().backend.efforts(session.config.model)
        known_effort(level, offered, source="%codex effort: unknown effort")
    session.config.effort = level or session.config.effort
    chosen = session.config.effort or session.profile().settings.effort
    show(f"Reasoning effort: {escape_markdown(chosen or 'model default')}.")


@subcommand("[PROFILE]", complete=("profile",))
def usage(session: ShellSession, name: str) -> None:
    """Show the plan's limits and when they reset."""
    from codex_nb.ui.account import limit_rows

    profile, is_agent = session.profile(name or None), session.config.engine == "agent"
    limits = session.wait(profile.agent.open().usage() if is_agent else profile.backend.usage())
    rows = [
        (escape_markdown(limit), *rest) for limit, *rest in limit_rows(limits, datetime.now(UTC).astimezone())
    ]
    through = _THROUGH if is_agent else ""
    show(
        table(("limit", "used", "resets"), rows) + through
        if rows
        else "This login has no plan limits to show."
    )


@subcommand("[--full] [OPTIONS] [QUESTION]", complete=("question",))
def context(session: ShellSession, line: str) -> None:
    """Show exactly what the next question would send; --full prints the request."""
    from codex_nb.magics.cell import show_preview

    first, _, rest = line.partition(" ")
    if first == "--full":
        show_preview(session, rest, full_preview)
    else:
        show_preview(session, line, preview)


def preview(request: TurnRequest, previewed: Preview) -> str:
    """Return what would be sent as Markdown: sizes first, then the text of each new message."""
    from codex_nb.session.prompt import describe_redactions, redacted_places
    from codex_nb.session.thread import size_of

    new, sent = previewed.new, previewed.request
    items = new.items if request.prompt else new.items[:-1]
    names = [_section(item, is_question=bool(request.prompt) and item is items[-1]) for item in items]
    texts = ["\n".join(part["text"] for part in item["content"] if "text" in part) for item in items]
    old = sent.input[: len(sent.input) - len(new.items)]
    rows = [
        (f"thread so far ({len(old)} items)", size_of(old)),
        (f"tools ({len(sent.tools)})", size_of(sent.tools)),
        *((name, size_of([item])) for name, item in zip(names, items, strict=True)),
    ]
    total = sum(size for _, size in rows)
    notes = []
    if images := sum("image_url" in part for item in items for part in item["content"]):
        notes.append(f"images: {images}, counted with the question")
    if previewed.compacts:
        notes.append("the thread fills the model's context window and would be compacted before")
    if request.context is not None:
        notes += [f"not sent: {each}" for each in request.context.not_sent]
        notes += request.context.remarks
    notes += new.problems
    if redacted := describe_redactions(redacted_places(new.redactions)):
        notes.append(redacted)
    to = f" to {code_span(visible_line(sent.model))}" if sent.model else ""
    thread = code_span(visible_line(str(request.thread)))
    return "\n\n".join(
        [
            f"The next question would send about {total:,} tokens{to} in thread {thread}:",
            table(("part", "tokens"), [(part, f"{size:,}") for part, size in (*rows, ("total", total))]),
            "\n".join(f"- {escape_markdown(note)}" for note in notes),
            *(f"**{name}**\n\n{fenced(text, 'text')}" for name, text in zip(names, texts, strict=True)),
        ]
    )


def full_preview(request: TurnRequest, previewed: Preview) -> str:
    """Return the whole request as Markdown; images and what only the service can read by their length."""
    del request
    sent = previewed.request
    body = {"model": sent.model, "tools": sent.tools, "input": sent.input, "text": sent.text_format}
    text = json.dumps(_shortened(body), indent=2, ensure_ascii=False)
    return f"The next request:\n\n{fenced(text, 'json')}"


def _shortened(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _shortened(each, key) for key, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [_shortened(each, name) for each in value]
    if isinstance(value, str) and (name == "encrypted_content" or value.startswith("data:")):
        return f"{value[:30]}… ({len(value):,} characters)"
    return value


def _section(item: Item, *, is_question: bool) -> str:
    from codex_nb.session.prompt import AGENTS_FILE, BASE

    if item["role"] == "user":
        return "question" if is_question else "notebook"
    text = next((part["text"] for part in item["content"] if "text" in part), "")
    return "instructions" if text.startswith(BASE[:40]) else AGENTS_FILE


@subcommand()
def last(session: ShellSession, _: str) -> Any:
    """Show the last answer again.

    Also one whose cell lost it to a reloaded page.
    """
    if session.last is None:
        raise OptionError("%codex last: nothing has been answered yet.", hint="Ask with %%codex.")
    return session.last


@subcommand()
def keep(session: ShellSession, _: str) -> None:
    """Turn the code that the last answer ran into cells below it.

    Where there is no open notebook, it becomes the next input.
    """
    from codex_nb.magics.cell import showing

    cells = session.last_code.cells()
    if not cells:
        raise OptionError(
            "%codex keep: the last answer ran no code.",
            hint="Only code that Codex ran without an error can be kept.",
        )
    with showing(session) as opened:
        opened.show(_keep_cells(session, opened, cells))


def _keep_cells(session: ShellSession, opened: OpenedView, cells: Sequence[NewCell]) -> str:
    from codex_nb.errors import ToolError
    from codex_nb.magics.cell import notebook_of

    failed = len(session.last_code.runs) - len(cells)
    left_out = f" Runs that failed were left out: {failed}." if failed else ""
    places = {session.last_code.asking: "below the answer", opened.code.asking: "below this cell"}
    for below, place in places.items():
        if below is None or opened.transcript is None:
            continue
        with suppress(ToolError):
            session.wait(notebook_of(session, opened.transcript, []).insert(cells, below))
            return f"{len(cells)} cell{'s' * (len(cells) > 1)} inserted {place}.{left_out}"
    session.shell.set_next_input("\n\n".join(cell.source for cell in cells))
    return "\n\n".join(
        [f"The code of the last answer:{left_out}", *(fenced(cell.source, "python") for cell in cells)]
    )


@subcommand("[N]")
def undo(session: ShellSession, line: str) -> None:
    """Take back what the last answer (or the last N) changed in the notebook's cells.

    What a person has changed since is left.
    """
    from codex_nb.magics.cell import undo_answers

    if line and not (line.isdecimal() and line.isascii() and int(line[:9]) > 0):
        raise OptionError(f"%codex undo: {line!r} is not a number of answers.", hint="Write %codex undo 2.")
    undo_answers(session, int(line[:9] or 1))


@subcommand("[--below] [OPTIONS] [QUESTION]", complete=("below", "question"), asks=True)
def fix(session: ShellSession, line: str) -> None:
    """Correct the cell that failed last, in place or (--below) in a cell below."""
    from codex_nb.magics.cell import answer_cell
    from codex_nb.magics.session import NotebookReading, fix_options, last_failure
    from codex_nb.session.prompt import NoFailedCell

    words = line.split(maxsplit=1)
    below = words[:1] == [BELOW]
    options = parse_options("".join(words[1:]) if below else line)
    unread = NotebookReading(session, options.prompt)
    failed = last_failure(unread.runs)
    if failed is None:
        raise NoFailedCell("No cell has failed here yet.")
    options = fix_options(options, failed, below=below)
    if options.subject is not None:  # a cell that is known to be excluded is refused before anything is shown
        options.subject(unread)
    answer_cell(session, options)


@subcommand("[OPTIONS] [CODE]", complete=("question",), asks=True)
def explain(session: ShellSession, line: str) -> None:
    """Explain the last cell, or the code that follows."""
    from codex_nb.magics.cell import answer_cell
    from codex_nb.magics.session import explain_options, explained_run

    options = explain_options(
        parse_options(line), lambda reading: explained_run(reading.snapshot, reading.runs)
    )
    answer_cell(session, options)


@subcommand("[on|off NAME]", complete=("switch", "switchable"))
def tools(session: ShellSession, line: str) -> None:
    """List what the model may use here and what it must ask for, or switch a tool or an MCP server off or on."""
    if line:
        _switch(session, line)
        return
    from codex_nb.magics.session import offered_tools
    from codex_nb.tools.approval import OFFERED, ApprovalRules

    profile = session.profile()
    rules = ApprovalRules(ApprovalPolicy(session.config.approval or profile.settings.approval))
    states: tuple[ServerState, ...] = ()
    if profile.settings.mcp_servers:
        states = session.wait(profile.assistant.servers().start(session.switched_off))

    def approval(tool: Tool[Any]) -> str:
        if tool.name in session.switched_off:
            return "switched off"
        if tool.effect not in OFFERED[rules.policy]:
            return "not offered"
        return "asks first" if rules.decide(tool.effect, (tool.identity, "")) is None else "runs unasked"

    offered = [*offered_tools(session.namespace), *(tool for state in states for tool in state.tools)]
    rows = [(code_span(tool.name), escape_markdown(tool.summary), approval(tool)) for tool in offered]
    search = profile.settings.search_mode(wanted=None) or "off"
    heading = (
        f"Approval policy: `{rules.policy}`. `%%codex --approval` sets another for one question.\n\n"
        f"Web search: {search}. `%%codex --search` and `--no-search` decide for one question."
    )
    show("\n\n".join([heading, table(("tool", "description", "approval"), rows), *_servers(states)]))


def _servers(states: Sequence[ServerState]) -> Iterator[str]:
    """Yield a table of the MCP servers, and what of them is not offered."""
    if not states:
        return
    from codex_nb.session.mcp import MISSING, is_missing

    rows = [
        (
            escape_markdown(visible_line(state.name)),
            f"{state.status}: {escape_markdown(home_as_tilde(state.problem))}"
            if state.problem
            else state.status,
            len(state.tools),
        )
        for state in states
    ]
    yield table(("MCP server", "state", "tools"), rows)
    left_out = [
        f"- not offered, {escape_markdown(visible_line(state.name))}: {escape_markdown(home_as_tilde(reason))}"
        for state in states
        for reason in state.left_out
    ]
    if left_out:
        yield "\n".join(left_out)
    if is_missing():
        yield escape_markdown(MISSING)


def _switch(session: ShellSession, line: str) -> None:
    from codex_nb.magics.session import switchable

    verb, _, name = line.partition(" ")
    name, known = name.strip(), switchable(session)
    if verb not in SWITCH or not name:
        raise OptionError(f"%codex tools: {line!r} is not understood.", hint="Write %codex tools off NAME.")
    if name not in known:
        hint = did_you_mean(name, known) or "%codex tools lists what there is."
        raise OptionError(f"%codex tools: there is no {name!r}.", hint=hint)
    (session.switched_off.discard if verb == "on" else session.switched_off.add)(name)
    show(f"{code_span(visible_line(name))} is switched {verb} in this notebook.")


@subcommand("[--clear [TOOL]]", complete=("clear", "tool"))
def approvals(session: ShellSession, line: str) -> None:
    """List what you have allowed for this session, or take it back."""
    from codex_nb.magics.session import known_tools
    from codex_nb.tools.nbmodel import truncate

    memory = (assistant := session.profile().assistant).memory
    offered = {tool.name: tool for tool in known_tools(session)}
    option, _, name = line.partition(" ")
    if option == CLEAR:
        _take_back(assistant, offered, name.strip())
        return
    if line:
        raise OptionError(
            f"%codex approvals: unknown option {line!r}.", hint=f"Use {CLEAR} to take approvals back."
        )
    rows: list[tuple[str, str]] = []
    for tool in offered.values():
        if tool.identity in memory.tools:
            rows.append((f"`{tool.name}`", "every call"))
        elif tool.identity in memory.readers:
            rows.append((f"`{tool.name}`", "every call under policy `auto`"))
        rows += [
            (f"`{tool.name}`", escape_markdown(truncate(arguments, 200)))
            for identity, arguments in sorted(memory.calls, key=lambda call: call[1])
            if identity == tool.identity
        ]
    if count := assistant.replay_approvals:
        rows.append(
            ("saved answers", f"the code of {count} saved answer{'s' * (count > 1)}, also in later sessions")
        )
    hint = f"`%codex approvals {CLEAR}` takes all of it back, `{CLEAR} TOOL` what is allowed for one tool."
    listed = f"{table(('tool', 'allowed'), rows)}\n\n{hint}"
    show(listed if rows else "Nothing is allowed for this session.")


def _take_back(assistant: Assistant, offered: Mapping[str, Tool[Any]], name: str) -> None:
    if not name:
        assistant.forget_approvals()
        show("Nothing is allowed any more, neither for this session nor for saved answers. Codex asks again.")
        return
    if name not in offered:
        hint = did_you_mean(name, offered) or "`%codex approvals` lists what you have allowed."
        raise OptionError(f"%codex approvals: there is no tool {name!r}.", hint=hint)
    assistant.memory.clear(offered[name].identity)
    show(f"Codex asks again before it uses `{name}`.")


@subcommand("[PROFILE]", complete=("profile",))
def config(session: ShellSession, name: str) -> None:
    """Show every setting, its value and where it comes from.

    None of them is a secret.
    """
    from codex_nb.doctor import settings_table

    settings = session.profile(name or None).settings
    own = [
        (key, str(chosen), f"%config CodexMagics.{key}")
        for key, trait in SessionConfig.class_own_traits(config=True).items()
        if (chosen := getattr(session.config, key)) != trait.default() and not (name and key == "profile")
    ]
    rows = {row[0]: row for row in (*settings_table(settings), *own)}.values()  # what is set here wins
    heads = ("setting", "value", "where it comes from")
    text = table(heads, [[escape_markdown(home_as_tilde(each)) for each in row] for row in rows])
    notes = "\n".join(f"- {escape_markdown(home_as_tilde(warning))}" for warning in settings.warnings)
    show(f"{text}\n\n{notes}" if notes else text)


@subcommand()
def help(_: ShellSession, __: str) -> None:  # noqa: A001 - the subcommand's name
    """Show this help."""
    commands = [(f"`{each.usage}`", each.help) for each in SUBCOMMANDS.values()]
    options = ((", ".join(f"`{flag}`" for flag in flags), text) for flags, text in options_and_help())
    introduction = (
        "Write a question below `%%codex`, or on the line of `%codex`. The answer is assigned to `_codex`, and to the "
        "name after `-o`. A cell with the comment `# codex-skip` or the tag `codex-skip` is never sent."
    )
    tables = (
        table(("in a question", "sends"), ((f"`{written}`", sent) for written, sent in MENTIONS)),
        table(("`%codex …`", "description"), commands),
        table(("`%%codex …`", "description"), options),
    )
    show("\n\n".join([introduction, *tables]))


MENTIONS = (
    ("@name", "a variable in full; of a figure, its picture too"),
    (
        "@cell:3",
        "the cell that ran as [3], else the third of the notebook, with its outputs; @cell:[3] the first only",
    ),
    ("@file:path", 'a file, also as @data.csv where there is one; @file:"two words.txt" with spaces'),
    (
        "@image:path",
        "an image file, or a figure by its name; @fig without such a variable is the newest figure above",
    ),
)

REFERENCE = """Ask Codex about this notebook, or manage it.

    %%codex [options]        the question follows in the lines below
    %codex a question        a question in one line
    %codex subcommand        see below

The answer is assigned to _codex, and to the name after -o.
Settings for the session: %config CodexMagics."""


def reference_text() -> str:
    """Return the reference that ``%codex?`` shows."""
    options = [(", ".join(names), text) for names, text in options_and_help()]
    commands = [(each.usage, each.help) for each in SUBCOMMANDS.values()]
    parts = {"In a question": MENTIONS, "Options": options, "Subcommands": commands}
    return "\n".join(
        [REFERENCE, *(line for title, pairs in parts.items() for line in ("", title, *_lines(pairs)))]
    )


def _lines(pairs: Collection[tuple[str, str]]) -> Iterator[str]:
    width = max(len(name) for name, _ in pairs)
    return (f"    {name:<{width}}  {text}" for name, text in pairs)
