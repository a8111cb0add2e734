"""Many questions through the whole client: in order, none lost or doubled, whatever the backend does meanwhile."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from dataclasses import replace

import pytest

import codex_nb
from codex_nb.errors import BadRequest
from codex_nb.session.answer import Answer
from codex_nb.simulator import End, Hold, Reply, Say, Simulator, error_replies

PROMPTS = [f"question number {number}." for number in range(200)]
REFUSED_OK = 200


def prompt_of(body: dict) -> str:
    """Return the words of the user in a request."""
    return str(body["input"][-1]["content"][-1]["text"])


def test_200_questions_with_rate_limits_and_a_poisoned_one(home: object, sim: Simulator) -> None:
    del home
    limited = [replace(error_replies.rate_limited(0.01, times=6), skip=at) for at in (3, 40, 90, 150)]
    sim.add_replies(*limited, replace(error_replies.bad_request("This prompt is poisoned."), skip=77))
    answers = codex_nb.map(PROMPTS, on_error="return", concurrency=8)

    answered = Counter(
        prompt_of(request.body) for request in sim.requests.to("/responses") if request.status == REFUSED_OK
    )
    (poisoned,) = [number for number, answer in enumerate(answers) if isinstance(answer, BadRequest)]
    good = {number: answer for number, answer in enumerate(answers) if isinstance(answer, Answer)}
    assert len(good) == len(PROMPTS) - 1
    assert [number for number, answer in good.items() if PROMPTS[number] not in answer.text] == []
    assert answered == Counter(prompt for number, prompt in enumerate(PROMPTS) if number != poisoned)
    refused = Counter(request.status for request in sim.requests.to("/responses"))
    assert refused == {REFUSED_OK: len(PROMPTS) - 1, 429: 4 * 6, 400: 1}


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send an interrupt to itself alone")
def test_an_interrupt_returns_what_is_done(home: object, sim: Simulator) -> None:
    del home
    held = Reply(stream=(Say("Half of"), Hold("never"), End()), times=None, skip=10)
    sim.add_replies(held)

    def interrupt() -> None:
        sim.requests.wait(lambda log: log.count("/responses") == 10 + 4, 30)
        sim.requests.wait(lambda log: sum(r.outcome == "answered" for r in log.to("/responses")) == 10, 30)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    answers = codex_nb.map(PROMPTS[:50], concurrency=4)
    states = Counter(answer.status for answer in answers)
    assert states == {"completed": 10, "cancelled": 40}
    # the tenth request to arrive need not be the tenth prompt's: four travel at once
    done = [number for number, answer in enumerate(answers) if answer.status == "completed"]
    assert max(done) < 10 + 4
    assert all(PROMPTS[number] in answers[number].text for number in done)
    assert sim.requests.wait(
        lambda log: {r.outcome for r in log.to("/responses")} == {"answered", "client_closed"}
    )
    assert sim.requests.count("/responses") == 10 + 4
