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

    ``redactor`` knows all of those secrets. ``images_unsent`` counts the images that the model cannot see. ``problems``
    are sentences on instructions that are not sent whole, said once for each thread.
    """

    items: tuple[Item, ...]
    facts: frozenset[str]
    findings: tuple[Finding, ...]
    redactor: Redactor
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
    once = {
        _fact(name, text): (name, text)
        for name, text in (("instructions", instructions), ("AGENTS.md", project.text))
        if text
    }
    new = once.keys() - conversation.facts
    parts = [part for fact, part in once.items() if fact in new]
    redactor, texts, findings = _cleaned(
        request_redactor(redactor, request), [*parts, *request.data, (words.THE_QUESTION, request.prompt)]
    )
    items: list[Item] = [developer_message(text) for text in texts[: len(parts)]]
    problems = [each for each in project.problems if _fact("AGENTS.md", each) not in conversation.facts]
    facts = set(new) | {_fact("AGENTS.md", each) for each in problems}
    images = request.images
    if (context := request.context) is not None:
        findings = [*context.redactions, *findings]
        images = (*context.images, *images)
        facts = facts | context.digests
        if told := context.told(conversation.facts, fence, _asked_in(conversation.items)):
            # What a redactor has cleaned that knows as much holds nothing more for this one.
            if context.redactor is None or not context.redactor.knows_all_of(redactor):
                told, more = redactor.redact(told, words.THE_NOTEBOOK)
                findings += more
            items.append(user_message(told))
    data = zip(request.data, texts[len(parts) :], strict=False)
    items += [user_message(fence(redactor(label), text)) for (label, _), text in data]
    sent, unsent = (images, 0) if sends_images else ((), len(images))
    items.append(user_message(texts[-1], sent))
    told_problems = tuple(map(redactor, problems))
    return Opening(tuple(items), frozenset(facts), tuple(findings), redactor, unsent, told_problems)


def _fact(name: str, text: str) -> str:
    return f"{name}:{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:16]}"


def _cleaned(
    redactor: Redactor, parts: Sequence[tuple[str, str]]
) -> tuple[Redactor, list[str], list[Finding]]:
    """Take the secrets out of texts, each with its name; what is secret in one of them is so in the others."""
    results = [redactor.redact(text, place) for place, text in parts]
    learned = redactor.knowing(finding.value for _, found in results for finding in found)
    if learned is not redactor:
        results = [learned.redact(text, place) for place, text in parts]
    return learned, [text for text, _ in results], [finding for _, found in results for finding in found]


def request_redactor(redactor: Redactor, request: TurnRequest) -> Redactor:
    """Return the redactor with what the question's context was found to hold."""
    cleaner = request.context.redactor if request.context is not None else None
    return redactor if cleaner is None else redactor.knowing_all_of(cleaner)


def _asked_in(items: Sequence[Item]) -> tuple[str, ...]:
    """Return the questions that a history holds: the last words of each of the user's messages."""
    messages = (item for item in items if item.get("type") == "message" and item.get("role") == "user")
    last = (content[-1].get("text") for message in messages if (content := message.get("content")))
    return tuple(text for text in last if text and text.strip())
