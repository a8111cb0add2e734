"""Whether a thread's second request begins with the first one's input, byte for byte, as the prompt cache needs it."""

from __future__ import annotations

import json

from tests.benchmarks.simulated import shell, signed_in
from tests.benchmarks.table import Reference, Row, Topic

TWO_QUESTIONS = """
shell.run_cell("x = [1, 2, 3]", store_history=True)
ask("What is x?")
shell.run_cell("y = {'a': x}", store_history=True)
ask("And y?")
mark()
"""


def input_bytes(raw_body: bytes) -> bytes:
    """Return the bytes of a request's input items, without the closing bracket."""
    text = raw_body.decode()
    begin = text.index('"input":') + len('"input":')
    begin += len(text[begin:]) - len(text[begin:].lstrip())
    _, end = json.JSONDecoder().raw_decode(text, begin)
    return text[begin : end - 1].encode()


def rows() -> list[Row]:
    """Ask twice and compare."""
    with signed_in() as (simulator, environ), shell(TWO_QUESTIONS, environ) as child:
        child.next_mark()
        first, second = (
            input_bytes(request.raw_body) for request in simulator.requests.to("/responses", "POST")
        )
    pairs = zip(first, second, strict=False)
    shared = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(first), len(second)))
    return [
        Row(
            Topic.PREFIX,
            "two turns of a thread: what of the first input does not begin the second",
            len(first) - shared,
            "B",
            Reference("the first input", len(first)),
            0.0,
            f"the second has {len(second):,}",
        )
    ]
