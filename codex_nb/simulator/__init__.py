"""A Codex backend on loopback, for the demo, the tests and ``codex-nb simulate``. It imports nothing of the client.

The real Codex CLI can sign in to it and run turns on it. Its own answers are canned, without a model; scenarios replace
them by prepared replies, as data.
"""

from __future__ import annotations

from codex_nb.simulator import error_replies
from codex_nb.simulator.accounts import (
    ADA,
    CLASSIC,
    GRACE,
    LITE,
    Account,
    Catalog,
    Limits,
    LimitWindow,
    model_entry,
)
from codex_nb.simulator.scenario import (
    FRAME,
    WEBSOCKET,
    Call,
    CustomCall,
    Cut,
    End,
    Event,
    Hold,
    Item,
    Pause,
    Raw,
    Reply,
    Say,
    Scenario,
    Search,
    Step,
    Think,
    Wire,
    load_scenario,
    scenario_from_json,
)
from codex_nb.simulator.server import Simulator, serve
from codex_nb.simulator.state import RecordedRequest, RequestLog

__all__ = [
    "ADA",
    "CLASSIC",
    "FRAME",
    "GRACE",
    "LITE",
    "WEBSOCKET",
    "Account",
    "Call",
    "Catalog",
    "CustomCall",
    "Cut",
    "End",
    "Event",
    "Hold",
    "Item",
    "LimitWindow",
    "Limits",
    "Pause",
    "Raw",
    "RecordedRequest",
    "Reply",
    "RequestLog",
    "Say",
    "Scenario",
    "Search",
    "Simulator",
    "Step",
    "Think",
    "Wire",
    "error_replies",
    "load_scenario",
    "model_entry",
    "scenario_from_json",
    "serve",
]
