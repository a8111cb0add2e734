"""Compaction of long threads, and threads that continue under another account."""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from codex_nb.errors import BadRequest, ContextWindowExceeded
from codex_nb.responses.events import ResponseFinished
from codex_nb.session.events import Notice
from codex_nb.session.items import Item, answer_text, user_message
from codex_nb.session.notebook_context import tokens_of
from codex_nb.session.outbound import outbound
from codex_nb.words import conversation as words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codex_nb.auth.credentials import Credentials
    from codex_nb.responses.request import ResponsesRequest
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
    """Whether a history takes so much of the model's window (in tokens) that it should be made short."""
    return size_of(items) > FULLNESS * (window or WINDOW)


class Compactor:
    """Makes conversations short; remembers whether the backend knows the trigger."""

    def __init__(self, client: ModelClient) -> None:
        self._client = client
        self._supports_trigger = True

    async def compact(self, thread: Thread, template: ResponsesRequest) -> str:
        """Put a short history in the place of the long one; return the sentence that tells of it."""
        items = thread.items
        before = size_of(items)
        short = await self._sealed(items, template) if self._supports_trigger else None
        if short is None:
            short = await self._summary(items, template)
        first_words = [item for item in items if item.get("role") == "developer"]
        sent_digests = [fact for fact in thread.sent_digests if fact.startswith(_KEPT_DIGESTS)]
        thread.replace([*first_words, short], sent_digests)
        after = size_of(thread.items)
        return words.made_short(f"{before:,}", f"{after:,}")

    async def _sealed(self, items: Sequence[Item], template: ResponsesRequest) -> Item | None:
        request = replace(
            template, input=outbound((*items, {"type": "compaction_trigger"})), text_format=None
        )
        try:
            finished = await self._finish(request)
        except ContextWindowExceeded:
            return None
        except BadRequest:
            self._supports_trigger = False
            return None
        sealed = [item for item in finished.items if item.get("type") in COMPACTION_ITEMS]
        self._supports_trigger = len(sealed) == 1
        return sealed[0] if self._supports_trigger else None

    async def _summary(self, items: Sequence[Item], template: ResponsesRequest) -> Item:
        """Ask for a summary; where even that does not fit, of the newer half, and so on."""
        while True:
            request = replace(
                template, input=outbound((*items, user_message(_ASK))), tools=(), text_format=None
            )
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
        raise BadRequest(words.NO_SUMMARY)


def newer_half(items: Sequence[Item]) -> tuple[Item, ...]:
    """Return the newer half of a history, beginning with a question, so that no call loses its output."""
    starts = [
        index
        for index, item in enumerate(items)
        if index and item.get("type") == "message" and item.get("role") == "user"
    ]
    later = [index for index in starts if index >= len(items) // 2]
    return tuple(items[later[0] :]) if later else ()


def account_digest(credentials: Credentials) -> str:
    """Return the fact that a thread was spoken in by this account."""
    return f"account:{credentials.identity_key[:16]}"


def switch_account(thread: Thread, credentials: Credentials) -> list[Notice]:
    """Let an account go on with a thread that another one began; return what to tell of it."""
    known = {fact for fact in thread.sent_digests if fact.startswith("account:")}
    own = account_digest(credentials)
    if not known or known == {own}:
        return []
    thread.replace(strip_encrypted_items(thread.items), [*(thread.sent_digests - known), own])
    return [Notice("hint", words.BEGUN_BY_ANOTHER)]


def strip_encrypted_items(items: Sequence[Item]) -> list[Item]:
    """Return a history without what only the account that it was begun with can open.

    Reasoning and compaction items are encrypted for one account. The ids of the other items go, too: the backend would
    look for the reasoning that belonged to them.
    """
    sealed = {"reasoning", *COMPACTION_ITEMS}
    return [
        {key: value for key, value in item.items() if key != "id"}
        for item in items
        if item.get("type") not in sealed
    ]
