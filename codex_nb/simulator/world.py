"""The simulator's state: who exists, what was issued, what is scripted, what was asked.

Belongs to the loop thread; :class:`codex_nb.simulator.server.Simulator` is the door for other threads.
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from codex_nb.simulator.agents import AgentOffice
from codex_nb.simulator.catalog import Catalog
from codex_nb.simulator.devices import DeviceDesk
from codex_nb.simulator.limits import Limits
from codex_nb.simulator.people import ADA, GRACE, Person
from codex_nb.simulator.recording import RequestLog
from codex_nb.simulator.scenario import Scenario, Script
from codex_nb.simulator.tokens import TokenOffice
from codex_nb.simulator.usage import PromptCache

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Gates:
    """Places where a stream stands still until somebody lets it go on."""

    _open: dict[str, asyncio.Event] = field(default_factory=dict)
    _reached: set[str] = field(default_factory=set)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def note_reached(self, name: str) -> None:
        """Record that a stream stands still at the gate."""
        with self._changed:
            self._reached.add(name)
            self._changed.notify_all()

    def wait_reached(self, name: str, timeout_s: float) -> bool:
        """Block another thread until a stream has come to the gate; False when none has in time."""
        with self._changed:
            return self._changed.wait_for(lambda: name in self._reached, timeout_s)

    def gate(self, name: str) -> asyncio.Event:
        """The gate of that name, closed at first."""
        return self._open.setdefault(name, asyncio.Event())


@dataclass
class World:
    """Everything the handlers share; ``pace_s`` is the time between two deltas of the persona."""

    clock: Callable[[], float] = time.time
    pace_s: float = 0.0
    poll_interval_s: int = 1
    people: list[Person] = field(default_factory=lambda: [ADA, GRACE])
    limits: Limits = field(default_factory=Limits)
    catalog: Catalog = field(default_factory=Catalog)
    log: RequestLog = field(default_factory=RequestLog)
    script: Script = field(default_factory=lambda: Script(Scenario()))
    gates: Gates = field(default_factory=Gates)
    cache: PromptCache = field(default_factory=PromptCache)
    reasoning_of_call: dict[str, str] = field(default_factory=dict)
    tokens: TokenOffice = field(init=False)
    devices: DeviceDesk = field(init=False)
    agents: AgentOffice = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = TokenOffice("", self.clock)
        self.devices = DeviceDesk(self.tokens, self.clock)
        self.agents = AgentOffice(self.clock)

    @property
    def issuer(self) -> str:
        """The issuer's address."""
        return self.tokens.issuer

    def person(self, email: str | None = None) -> Person:
        """The person with that address, the first one without."""
        return next((person for person in self.people if email in {None, person.email}), self.people[0])
