"""The open notebook as the tools reach it: through the transcript's front-end half, below the cell that asks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from codex_nb.notebook import InsertResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codex_nb.notebook import NewCell
    from codex_nb.ui.transcript import Transcript

ANSWER_S = 10.0


class OpenDocument:
    """Inserts cells into the document that shows the transcript; ``cell_id`` is the asking cell."""

    def __init__(self, transcript: Transcript, cell_id: str | None) -> None:
        self._transcript = transcript
        self._below = cell_id

    async def insert(self, cells: Sequence[NewCell], after: str | None) -> InsertResult:
        """Insert cells in their order; what was inserted by one turn stays in the order it came."""
        payload = {
            "cells": [{"kind": cell.kind, "source": cell.source} for cell in cells],
            "after": after or self._below,
        }
        asked = asyncio.wrap_future(self._transcript.request("insert_cells", payload))
        try:
            reply = await asyncio.wait_for(asked, ANSWER_S)
        except TimeoutError:
            return InsertResult(0, "the front end did not answer")
        except RuntimeError as refusal:
            return InsertResult(0, str(refusal))
        if after is None:
            self._below = reply.get("last") or self._below
        return InsertResult(int(reply.get("inserted", 0)))
