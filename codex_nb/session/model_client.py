"""The port to the model: one request out, one stream of events in."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from codex_nb.responses.events import ResponseEvent
    from codex_nb.responses.request import ResponsesRequest


class ModelClient(Protocol):
    """Sends one request and streams what comes back; the last event is ResponseFinished."""

    def stream(self, request: ResponsesRequest) -> AsyncIterator[ResponseEvent]:
        """Yield the response's events; raises CodexError. Closing the iterator closes the connection."""
        ...


@asynccontextmanager
async def streaming(
    client: ModelClient, request: ResponsesRequest
) -> AsyncIterator[AsyncIterator[ResponseEvent]]:
    """Give the events of a response, and close the stream whatever happens to their reader."""
    stream = client.stream(request)
    try:
        yield stream
    finally:
        if (close := getattr(stream, "aclose", None)) is not None:
            await close()
