"""``codex_nb.map`` beside openai-python and LiteLLM: the same prompts, eight at a time, on one simulator."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codex_nb.simulator import End, Reply, Say, Scenario, Think
from tests.benchmarks.simulated import signed_in
from tests.benchmarks.table import Reference, Row, Topic
from tests.servers import provision

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

COUNT = 10_000
CONCURRENCY = 8
ANSWER = "Yes, it is even."
SHORT = Scenario((Reply(stream=(Think(("Numbers …",)), Say(ANSWER), End()), times=None),))

MAP = f"""
import codex_nb

def ask_all(prompts):
    return [answer.text for answer in codex_nb.map(prompts, concurrency={CONCURRENCY})]
"""
OPENAI = f"""
import asyncio, openai

async def ask_each(prompts):
    gate = asyncio.Semaphore({CONCURRENCY})
    async with openai.AsyncOpenAI(api_key=KEY, base_url=BASE_URL) as client:
        async def ask(prompt):
            async with gate:
                question = [{{"role": "user", "content": prompt}}]
                stream = await client.responses.create(model="gpt-5.5", input=question, stream=True, store=False)
                async for event in stream:
                    pass
                return event.response.output_text
        return await asyncio.gather(*map(ask, prompts))

def ask_all(prompts):
    return asyncio.run(ask_each(prompts))
"""
LITELLM = f"""
import litellm

def ask_all(prompts):
    questions = [[{{"role": "user", "content": prompt}}] for prompt in prompts]
    answers = litellm.batch_completion(
        "openai/responses/gpt-5.5", questions, api_key=KEY, api_base=BASE_URL, max_workers={CONCURRENCY}
    )
    return [answer.choices[0].message.content for answer in answers]
"""
MEASURE = f"""
import json, resource, time
prompts = [f"Is {{number}} even?" for number in range({COUNT})]
ask_all(prompts[:20])
begun, before = time.monotonic(), time.process_time()
texts = ask_all(prompts)
spent = time.monotonic() - begun, time.process_time() - before
assert texts == [{ANSWER!r}] * len(prompts)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([seconds / len(prompts) * 1000 for seconds in spent] + [peak]))
"""


@dataclass(frozen=True)
class Client:
    """A program that asks everything, and the interpreter that has what it needs."""

    name: str
    python: Path
    program: str

    def costs(self, environ: Mapping[str, str], key: str, base_url: str) -> list[float]:
        """Ask; return the milliseconds and the milliseconds of CPU for a prompt, and the MB of memory at the most."""
        given = f"KEY, BASE_URL = {key!r}, {base_url!r}\n"
        done = subprocess.run(
            [self.python, "-c", given + self.program + MEASURE],
            env=environ,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        costs: list[float] = json.loads(done.stdout.splitlines()[-1])
        return costs


def rows() -> list[Row]:
    """Measure one client after the other, each in a process of its own."""
    peers = (
        Client("openai's async client with a semaphore", provision.openai_sdk(), OPENAI),
        Client("litellm.batch_completion", provision.litellm().with_name("python"), LITELLM),
    )
    ours = Client("map", Path(sys.executable), MAP)
    with signed_in(SHORT) as (simulator, environ):
        server = simulator.new_api_key(), simulator.api_base_url
        # LiteLLM otherwise fetches a table of prices; the peers need nothing of this project's path
        theirs = {**environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        theirs.pop("PYTHONPATH", None)
        own = ours.costs(environ, *server)
        return [row for peer in peers for row in compared(own, peer.costs(theirs, *server), peer.name)]


def compared(own: list[float], other: list[float], name: str) -> Iterator[Row]:
    """Yield the rows of one peer."""
    figures = (
        ("time for a prompt", "ms", 1.25),
        ("CPU for a prompt", "ms CPU", 1.25),
        ("memory at the most", "MB", 1.25),
    )
    for (what, unit, limit), measured, reference in zip(figures, own, other, strict=True):
        speed = f"{1000 / measured:.0f} a second; the other {1000 / reference:.0f}" if unit == "ms" else ""
        yield Row(
            Topic.MAP,
            f"map, {COUNT:,} prompts on loopback: {what}",
            measured,
            unit,
            Reference(name, reference),
            limit,
            speed,
        )
