"""Small questions to the backend: a GET that is answered with JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codex_nb.http import httpx
from codex_nb.responses.mapping import reply_error, transport_error, unreadable_reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codex_nb.errors import CodexError
    from codex_nb.responses.backend import Backend

TIMEOUT_S = 10.0


async def get_json(
    http: httpx.AsyncClient,
    url: str,
    *,
    backend: Backend,
    auth: httpx.Auth | None,
    params: Mapping[str, str] | None = None,
) -> Any:
    """Ask once and give the parsed body; every failure is a CodexError."""
    failure: CodexError
    headers = {"accept": "application/json", **backend.headers}
    query = {**backend.query, **(params or {})} or None
    try:
        reply = await http.get(
            url, auth=auth, params=query, headers=headers, timeout=TIMEOUT_S, follow_redirects=False
        )
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, OSError) as error:
        failure = transport_error(error, url=url)
    else:
        if reply.status_code != httpx.codes.OK:
            raise reply_error(reply.status_code, reply.headers, reply.content, backend=backend, url=url)
        try:
            return reply.json()
        except (ValueError, RecursionError):
            kind = reply.headers.get("content-type", "")
            failure = unreadable_reply(reply.status_code, kind, reply.content, backend=backend)
    raise failure
