"""A loopback Codex backend: the demo's and the tests' other side. It imports nothing of the client.

The real Codex CLI can log in to it and run a turn on it. Its own answers come from a persona without any model;
scenarios replace them by prepared replies, as data.
"""

from __future__ import annotations

from codex_nb.simulator import refusals
from codex_nb.simulator.catalog import CLASSIC, LITE, Catalog, model_entry
from codex_nb.simulator.limits import Limits, LimitWindow
from codex_nb.simulator.loading import load_scenario, scenario_from_json
from codex_nb.simulator.people import ADA, GRACE, Person
from codex_nb.simulator.recording import RecordedRequest, RequestLog
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
)
from codex_nb.simulator.server import Simulator
from codex_nb.simulator.serving import serve

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
