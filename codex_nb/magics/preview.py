"""What the next question would send, word for word, made the very way in which a question is made."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codex_nb.errors import AuthError
from codex_nb.host.mailbox import Mailbox
from codex_nb.host.pump import open_pump
from codex_nb.magics.options import parse_options
from codex_nb.magics.question import make_question, with_notebook
from codex_nb.magics.reading import read_for
from codex_nb.magics.screens import open_screen
from codex_nb.magics.tables import table
from codex_nb.rendering.neutral import fenced
from codex_nb.session.conversation import Conversation
from codex_nb.session.events import TextDone
from codex_nb.session.fence import Fence
from codex_nb.session.instructions import BASE, project_instructions
from codex_nb.session.opening import open_exchange
from codex_nb.session.sections import join_findings, tokens_of
from codex_nb.tools.approval import PendingApprovals
from codex_nb.words import preview as words

if TYPE_CHECKING:
    from codex_nb.home import Home
    from codex_nb.magics.workspace import Workspace
    from codex_nb.session.items import Item
    from codex_nb.session.opening import Opening
    from codex_nb.session.request import TurnRequest


def show_preview(workspace: Workspace, line: str) -> None:
    """Show it as an answer is shown: only so can the open document be read where there is one."""
    home, options = workspace.home(), parse_options(line)
    with suppress(AuthError):
        workspace.wait(home.signed_in())  # a login that was read is redacted here as it will be then
    question = make_question(workspace, options, home)
    with Mailbox() as mailbox, open_pump(workspace.shell, mailbox) as pump:
        shown = open_screen(workspace, mailbox, pump, PendingApprovals())
        try:
            reading = read_for(workspace, options.prompt, shown.transcript)
            request = with_notebook(question, options, home, reading)
            opening = workspace.engine.run(_opening(home, request))
            shown.screen.apply(TextDone("preview", described(request, opening)))
        finally:
            shown.screen.close()


async def _opening(home: Home, request: TurnRequest) -> Opening:
    assistant, settings, thread = home.assistant, home.settings, request.thread
    project = await asyncio.to_thread(
        project_instructions, settings.codex_home, request.folder, settings.project_doc_max_bytes
    )
    return open_exchange(
        request,
        assistant.threads.open(thread) if thread else Conversation(""),
        instructions=BASE,
        project=project,
        redactor=assistant.redactor(),
        fence=Fence("CODE"),  # a saved preview stays the same; a turn has a random word there
    )


@dataclass(frozen=True)
class Part:
    """One message that would be sent: what it is, what it says, how many images it carries."""

    name: str
    text: str
    images: int


def described(request: TurnRequest, opening: Opening) -> str:
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
        notes += [f"- {words.left_out(cut)}" for cut in context.cuts]
    notes += [f"- {problem}" for problem in opening.problems]
    if told := join_findings(opening.findings):
        notes.append(f"- {told}")
    head = words.head(str(request.thread))
    texts = [f"**{part.name}**\n\n{fenced(part.text, 'text')}" for part in parts]
    return "\n\n".join([head, table(words.TABLE, rows), "\n".join(notes), *texts])


def parts_of(opening: Opening, *, asks: bool) -> list[Part]:
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
