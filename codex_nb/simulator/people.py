"""The people who can sign in to the simulator, and their accounts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Person:
    """One account: who it is, what plan pays, where its workspace lives.

    ``backend_origin`` and ``routing_override`` are what ``accounts/check`` says of the workspace.
    """

    email: str = "ada@example.com"
    name: str = "Ada Lovelace"
    account_id: str = "5f0c9a52-3b1e-4a55-9c50-1d6f7a2b9e01"
    user_id: str = "user-SimulatedAda000000000001"
    plan: str = "plus"
    is_fedramp: bool = False
    backend_origin: str = "NO_CONSTRAINT"
    routing_override: str = "NO_CONSTRAINT"


ADA = Person()
GRACE = Person(
    email="grace@example.org",
    name="Grace Hopper",
    account_id="8d2f6b10-77aa-4c0e-8a3d-2b9c4e5f6a02",
    user_id="user-SimulatedGrace0000000002",
    plan="team",
)
