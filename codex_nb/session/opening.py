"""The items that open an exchange: instructions once, what is new of the notebook, the user's words last."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codex_nb.session.items import developer_message, user_message
from codex_nb.words import context as words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codex_nb.session.conversation import Conversation
    from codex_nb.session.fence import Fence
    from codex_nb.session.instructions import ProjectInstructions
    from codex_nb.session.items import Item
    from codex_nb.session.redaction import Finding, Redactor
    from codex_nb.session.request import TurnRequest


@dataclass(frozen=True)
class Opening:
    """The new items, the digests of what they tell, the secrets that were taken out of them.

    ``images_unsent`` counts the images that the model cannot see. ``problems`` are sentences on instructions that are
    not sent whole, said once for each thread.
    """

    items: tuple[Item, ...]
    facts: frozenset[str]
    findings: tuple[Finding, ...]
    images_unsent: int = 0
    problems: tuple[str, ...] = ()


def open_exchange(
    request: TurnRequest,
    conversation: Conversation,
    *,
    instructions: str,
    project: ProjectInstructions,
    redactor: Redactor,
    fence: Fence,
    sends_images: bool = True,
) -> Opening:
    """Put together what a question adds to its thread before the model speaks.

    Instructions are told once for each thread and again only when they have changed, so that the inputs of a thread's
    requests begin alike. Everything passes the redactor, the context for a second time: when it was built, the login
    may not have been read yet.
    """
    items: list[Item] = []
    facts: set[str] = set()
    findings: list[Finding] = []

    def clean(text: str, place: str) -> str:
        text, found = redactor.redact(text, place)
        findings.extend(found)
        return text

    for name, text in (("instructions", instructions), ("AGENTS.md", project.text)):
        fact = _fact(name, text)
        if text and fact not in conversation.facts:
            items.append(developer_message(clean(text, name)))
            facts.add(fact)
    problems = [each for each in project.problems if _fact("AGENTS.md", each) not in conversation.facts]
    facts |= {_fact("AGENTS.md", each) for each in problems}
    images = request.images
    if request.context is not None:
        findings.extend(request.context.redactions)
        images = (*request.context.images, *images)
        facts |= request.context.digests
        if told := request.context.told(conversation.facts, fence, _asked_in(conversation.items)):
            # What this very redactor has cleaned holds nothing more for it.
            is_clean = request.context.redactor is redactor
            items.append(user_message(told if is_clean else clean(told, words.THE_NOTEBOOK)))
    for label, text in request.data:
        items.append(user_message(clean(fence(label, text), label)))
    sent, unsent = (images, 0) if sends_images else ((), len(images))
    items.append(user_message(clean(request.prompt, words.THE_QUESTION), sent))
    return Opening(tuple(items), frozenset(facts), tuple(findings), unsent, tuple(map(redactor, problems)))


def _fact(name: str, text: str) -> str:
    return f"{name}:{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:16]}"


def _asked_in(items: Sequence[Item]) -> tuple[str, ...]:
    """Return the questions that a history holds: the last words of each of the user's messages."""
    messages = (item for item in items if item.get("type") == "message" and item.get("role") == "user")
    last = (content[-1].get("text") for message in messages if (content := message.get("content")))
    return tuple(text for text in last if text and text.strip())
