"""A loopback Codex backend: the demo's and the tests' other side. It imports nothing of the client.

The real Codex CLI can log in to it and run a turn on it. Its own answers come from a persona without any model;
scenarios replace them by prepared replies, as data.
"""

from __future__ import annotations

from codex_nb.simulator import scenario as refusals
from codex_nb.simulator.accounts import (
    ADA,
    CLASSIC,
    GRACE,
    LITE,
    Catalog,
    Limits,
    LimitWindow,
    Person,
    model_entry,
)
from codex_nb.simulator.scenario import (
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
    "GRACE",
    "LITE",
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
    "Person",
    "Raw",
    "RecordedRequest",
    "Reply",
    "RequestLog",
    "Say",
    "Scenario",
    "Simulator",
    "Step",
    "Think",
    "Wire",
    "load_scenario",
    "model_entry",
    "refusals",
    "scenario_from_json",
    "serve",
]
