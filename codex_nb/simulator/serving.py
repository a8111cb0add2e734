"""The simulator in the foreground, for people: ``codex-nb simulate``."""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import TextIO

from codex_nb.simulator.server import Simulator

_PACE_S = 0.02


def serve(port: int = 0, *, tls: bool = False, out: TextIO | None = None) -> None:
    """Listen until interrupted; prints the addresses and how to use them."""
    stopped = threading.Event()
    previous = signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    try:
        with (
            Simulator(port=port, tls=tls, pace_s=_PACE_S) as simulator,
            tempfile.TemporaryDirectory() as home,
        ):
            simulator.write_home(Path(home))
            print(_words(simulator, home), file=out or sys.stdout, flush=True)
            stopped.wait()
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, previous)


def _words(simulator: Simulator, home: str) -> str:
    variables = {"CODEX_HOME": home, **simulator.environ()}
    exports = "\n".join(f"  export {name}={value}" for name, value in variables.items())
    config = "".join(f"  {line}\n" for line in simulator.config_toml().splitlines())
    return f"""The Codex simulator answers at {simulator.base_url} until you press Ctrl-C.
No model is asked, and no account is used.

A CODEX_HOME that is signed in to it, and the variables that lead clients there:

{exports}

Sign in anew:   codex login --device-auth --experimental_issuer {simulator.issuer}
Confirm codes:  {simulator.issuer}/codex/device
API key:        {simulator.new_api_key()} (for {simulator.api_base_url})

config.toml:

{config}"""
