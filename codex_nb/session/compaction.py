"""Compaction of long threads, and threads that continue under another account."""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from codex_nb.errors import BadRequest, ContextWindowExceeded
from codex_nb.responses.events import ResponseFinished
from codex_nb.session.events import Notice
from codex_nb.session.notebook_context import tokens_of
from codex_nb.session.outbound import answer_text, compaction_trigger, received, user_message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codex_nb.auth.credentials import Credentials
    from codex_nb.responses.request import Outbound, ResponsesRequest
    from codex_nb.session.outbound import Item
    from codex_nb.session.thread import Thread
    from codex_nb.session.turn import ModelClient


FULLNESS = 0.75
WINDOW = 200_000
_IMAGE_TOKENS = 1_500
COMPACTION_ITEMS = ("compaction", "compaction_summary")
_KEPT_DIGESTS = ("instructions:", "AGENTS.md:", "answered:", "account:")
_ASK = """\
Context checkpoint compaction: write a summary of this conversation for the assistant that takes it over and sees \
nothing else of it. Name what was asked, what was found (with the numbers that matter), what was decided, which \
variables and cells matter, and what is still open. No preamble."""
_SUMMARY = "What was said in this thread so far, in short (the full text is gone):\n\n{summary}"


def size_of(items: Sequence[Item]) -> int:
    """Estimate the tokens of a history; an image counts as a fixed number."""
    total = 0
    for item in items:
        content = item.get("content")
        parts = content if isinstance(content, list) else []
        images = [part for part in parts if isinstance(part, dict) and part.get("type") == "input_image"]
        slim = {**item, "content": [part for part in parts if part not in images]} if images else item
        total += tokens_of(json.dumps(slim, ensure_ascii=False)) + _IMAGE_TOKENS * len(images)
    return total


def needs_compaction(items: Sequence[Item], window: int | None) -> bool:
    """Whether a history fills too much of the model's context window (in tokens)."""
    return size_of(items) > FULLNESS * (window or WINDOW)


class Compactor:
    """Compacts threads; remembers whether the backend supports the compaction trigger."""

    def __init__(self, client: ModelClient) -> None:
        self._client = client
        self._supports_trigger = True

    async def compact(self, thread: Thread, template: ResponsesRequest) -> Notice:
        """Replace a thread's history by a short one; return the notice of it."""
        items = thread.items
        compacted = await self._by_backend(items, template) if self._supports_trigger else None
        if compacted is None:
            compacted = await self._by_summary(items, template)
        instructions = [item for item in items if item.get("role") == "developer"]
        thread.replace(
            [*instructions, compacted],
            [each for each in thread.sent_digests if each.startswith(_KEPT_DIGESTS)],
        )
        before, after = size_of(items), size_of(thread.items)
        return Notice("compacted", f"The thread was compacted: about {before:,} → {after:,} tokens.")

    async def _by_backend(self, items: Sequence[Outbound], template: ResponsesRequest) -> Outbound | None:
        request = replace(template, input=(*items, compaction_trigger()), text_format=None)
        try:
            finished = await self._finish(request)
        except ContextWindowExceeded:
            return None
        except BadRequest:
            self._supports_trigger = False
            return None
        compacted = received(item for item in finished.items if item.get("type") in COMPACTION_ITEMS)
        self._supports_trigger = len(compacted) == 1
        return compacted[0] if self._supports_trigger else None

    async def _by_summary(self, items: Sequence[Outbound], template: ResponsesRequest) -> Outbound:
        """Ask for a summary; where even that does not fit, of the newer half, and so on."""
        while True:
            request = replace(template, input=(*items, user_message(_ASK)), tools=(), text_format=None)
            try:
                finished = await self._finish(request)
            except ContextWindowExceeded:
                items = newer_half(items)
                if not items:
                    raise
                continue
            text = answer_text(finished.items) or finished.text
            return user_message(_SUMMARY.format(summary=text.strip()))

    async def _finish(self, request: ResponsesRequest) -> ResponseFinished:
        async with aclosing(self._client.stream(request)) as events:
            async for event in events:
                if isinstance(event, ResponseFinished):
                    return event
        raise BadRequest(
            "The thread is too long, and the request for a summary of it got no response.",
            hint="Start a new thread with %codex new, or ask again.",
        )


def newer_half(items: Sequence[Outbound]) -> tuple[Outbound, ...]:
    """Return the newer half of a history, from a user message on, so that no call loses its output."""
    middle = len(items) // 2
    for index in range(max(1, middle), len(items)):
        if items[index].get("type") == "message" and items[index].get("role") == "user":
            return tuple(items[index:])
    return ()


def account_digest(credentials: Credentials) -> str:
    """Return the digest that marks a thread as used by this account."""
    return f"account:{credentials.identity_key[:16]}"


def switch_account(thread: Thread, credentials: Credentials) -> list[Notice]:
    """Let an account continue a thread that another one began; return the notice of it."""
    known = {each for each in thread.sent_digests if each.startswith("account:")}
    own = account_digest(credentials)
    if not known or known == {own}:
        return []
    thread.replace(strip_encrypted_items(thread.items), [*(thread.sent_digests - known), own])
    return [Notice("hint", "A different account began this thread: its encrypted items were removed.")]


def strip_encrypted_items(items: Sequence[Item]) -> tuple[Outbound, ...]:
    """Return a history without what is encrypted for the account that it was begun with.

    The ids of the other items go, too: the backend would look for the reasoning that belonged to them.
    """
    encrypted = {"reasoning", *COMPACTION_ITEMS}
    return received(
        {key: value for key, value in item.items() if key != "id"}
        for item in items
        if item.get("type") not in encrypted
    )
