"""Why a request did not reach its service: the ends of sentences that begin elsewhere."""

from __future__ import annotations

TOO_SLOW = "it did not answer in time"
UNREACHABLE = "it could not be reached"
SENSELESS = "the answer makes no sense"
INSECURE_ADDRESS = "its address is neither https nor on this machine"


FAILED = "the connection failed"


def connection_failed(kind: str) -> str:
    """Name the kind of failure."""
    return f"the connection failed ({kind})"


def service_status(status: str) -> str:
    """Name the HTTP status."""
    return f"the service answered with status {status}"
