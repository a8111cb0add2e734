"""``/responses``: requests are checked as the backend checks them, then answered by the persona."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from codex_nb.simulator import refusals
from codex_nb.simulator.checks import problem_of
from codex_nb.simulator.compaction import compacted
from codex_nb.simulator.handling import ApiHandler, ChatGptHandler, Handler
from codex_nb.simulator.persona import answer
from codex_nb.simulator.scenario import Call, CustomCall, Reply, Step, Think

if TYPE_CHECKING:
    from collections.abc import Mapping

_TURN_STATE = "x-codex-turn-state"


class _Responding(Handler):
    """What both kinds of ``/responses`` do."""

    is_chatgpt: bool

    def get(self) -> None:
        """Refuse the websocket: clients go on over HTTP."""
        self.set_status(426)
        self.set_header("upgrade", "HTTP/1.1")
        self.finish()

    async def post(self) -> None:
        """Answer a request that the backend would accept; refuse the others as it does."""
        refusal = problem_of(self.json_body, self.world, is_chatgpt=self.is_chatgpt)
        self.recorded.answered_by = "refusal" if refusal else "persona"
        await self.play(refusal or self._persona())

    def _persona(self) -> Reply:
        steps = answer(self.json_body, self.world.pace_s)
        thought: str | None = None
        named: list[Step] = []
        for step in steps:
            if isinstance(step, Think):
                thought = thought or "rs_sim_" + secrets.token_hex(16)
                named.append(Think(step.summary, step.delay_s, thought))
            else:
                if isinstance(step, Call | CustomCall) and thought and step.call_id:
                    self.world.reasoning_of_call[step.call_id] = thought
                named.append(step)
        return Reply(stream=tuple(named))

    def stream_headers(self) -> Mapping[str, str]:
        """Name the model, the limits and the state of the turn."""
        state = self.request.headers.get(_TURN_STATE) or "ts_sim_" + secrets.token_urlsafe(16)
        return {
            **super().stream_headers(),
            "openai-model": str(self.json_body.get("model")),
            "openai-processing-ms": "1",
            "x-models-etag": self.world.catalog.etag,
            _TURN_STATE: state,
            **(self.world.limits.headers(self.world.clock()) if self.is_chatgpt else {}),
        }


class ChatGptResponses(_Responding, ChatGptHandler):
    """``/backend-api/codex/responses``."""

    is_chatgpt = True


class ApiResponses(_Responding, ApiHandler):
    """``/v1/responses``."""

    is_chatgpt = False


class Compact(ApiHandler):
    """``POST /v1/responses/compact``: the history as one item."""

    async def post(self) -> None:
        """Give the shortened history; the ChatGPT backend has no such address, it takes a trigger item."""
        if not isinstance(self.json_body.get("input"), list):
            await self.play(refusals.bad_request("Missing required parameter: 'input'."))
            return
        self.write_json(compacted(self.json_body, self.world.clock()))
