"""``map`` on engines that are there already: pools of threads and processes, and a Dask cluster.

The workers of the cluster have no login. They ask a service of their site for tokens, as a hub or a vault would be
asked, and nothing that is pickled for them or by them holds a secret.
"""

from __future__ import annotations

import concurrent.futures
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from distributed import Client, LocalCluster

import codex_nb
from codex_nb.errors import BadRequest, CodexError, SignInRequired
from codex_nb.session.events import Answer
from codex_nb.simulator import Simulator, error_replies
from codex_nb.simulator.credentials import TokenSet
from tests.leaks import find_leaks
from tests.magics import cluster_tokens
from tests.magics.conftest import Notebook

Future = concurrent.futures.Future[Any]


class Recording:
    """An executor with the pickled form of all that goes through it."""

    def __init__(self, executor: Any) -> None:
        self.pickled: list[bytes] = []
        self._executor = executor

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
        self.pickled.append(cloudpickle.dumps((function, arguments)))
        future: Future = self._executor.submit(function, *arguments)
        future.add_done_callback(self._note_result)
        return future

    def _note_result(self, future: Future) -> None:
        if not future.cancelled():
            self.pickled.append(cloudpickle.dumps(future.exception() or future.result()))


def questions(sim: Simulator) -> Counter[str]:
    """Count the questions that were answered, by their text."""
    return Counter(
        str(request.body["input"][-1]["content"][-1]["text"])
        for request in sim.requests.to("/responses")
        if request.status == 200
    )


TOKENS = ("id_token", "access_token", "refresh_token")


def secrets_of(tokens: TokenSet) -> dict[str, str]:
    return {name: getattr(tokens, name) for name in TOKENS}


def stored_secrets() -> dict[str, str]:
    stored = json.loads((Path(os.environ["CODEX_HOME"]) / "auth.json").read_text())["tokens"]
    return {name: stored[name] for name in TOKENS}


@pytest.fixture(params=["threads", "spawn", *(["fork"] if sys.platform == "linux" else [])])
def pool(request: pytest.FixtureRequest, codex_home: Path) -> Iterator[concurrent.futures.Executor]:
    """Give a pool of two workers, which start when they are first needed."""
    del codex_home
    if request.param == "threads":
        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            yield threads
    else:
        way = multiprocessing.get_context(request.param)
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=way) as processes:
            yield processes


CITY = """
from dataclasses import dataclass, field
import codex_nb

@dataclass
class City:
    name: str
    inhabitants: int
    rivers: list[str] = field(default_factory=list)
"""


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_pools_answer_in_order_and_a_failure_stays_in_its_place(
    pool: concurrent.futures.Executor, notebook: Notebook, sim: Simulator
) -> None:
    recording = Recording(pool)
    sim.add_replies(error_replies.bad_request("This prompt is poisoned."))
    prompts = ["same", "same", "same", *(f"question {number}." for number in range(5))]
    notebook.run(CITY)
    schema = notebook.namespace["City"]
    answers = codex_nb.map(prompts, schema=schema, executor=recording, concurrency=4, on_error="return")
    good = [answer for answer in answers if isinstance(answer, Answer)]
    assert [type(answer) for answer in answers if not isinstance(answer, Answer)] == [BadRequest]
    assert [type(answer.parsed) for answer in good] == [schema] * 7
    assert questions(sim).total() == 7
    assert len(recording.pickled) == 2 * len(prompts)
    assert find_leaks(b"\n".join(recording.pickled), stored_secrets()) == []


def die(prompt: str) -> None:
    """End the process that runs this, as the kernel does when memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
def test_a_broken_pool_leaves_what_was_answered(codex_home: Path, sim: Simulator) -> None:
    """A pool of processes ends with its first worker that dies: what it had answered is there."""
    del codex_home

    class Deadly(Recording):
        def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
            return super().submit(die if arguments == ("poison",) else function, *arguments)

    prompts = [*(f"question {number}." for number in range(4)), "poison", "after 1", "after 2"]
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
        answers = codex_nb.map(prompts, executor=Deadly(processes), concurrency=1, on_error="return")
    assert [isinstance(answer, Answer) for answer in answers] == [True] * 4 + [False] * 3
    assert {type(answer.__cause__).__name__ for answer in answers[4:]} == {"BrokenProcessPool"}
    assert questions(sim).total() == 4


class Site:
    """The token service of a site: it hands out one login's access token, and counts who asked why."""

    def __init__(self, tokens: TokenSet) -> None:
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path.rpartition("=")[2])
                body = {"access_token": tokens.access_token, "account_id": tokens.account.account_id}
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *args: Any) -> None:
                """Write no log."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/"


@pytest.fixture
def login(sim: Simulator) -> TokenSet:
    return sim.sign_in()


@pytest.fixture
def site(login: TokenSet) -> Iterator[Site]:
    site = Site(login)
    serving = threading.Thread(target=site.server.serve_forever)
    serving.start()
    yield site
    site.server.shutdown()
    serving.join()
    site.server.server_close()


@pytest.fixture
def cluster(site: Site, sim: Simulator, codex_home: Path, tmp_path: Path) -> Iterator[Client]:
    """Run two workers of a cluster on this machine; in their CODEX_HOME is a configuration, but no login."""
    del codex_home
    home = tmp_path / "home-of-the-workers"
    home.mkdir()
    (home / "config.toml").write_text(sim.config_toml())
    environ = {"CODEX_HOME": str(home), cluster_tokens.ADDRESS: site.address}
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=2,
            processes=True,
            dashboard_address="127.0.0.1:0",
            local_directory=str(tmp_path),
            env=environ,
        ) as workers,
        Client(workers) as client,
    ):
        yield client
    assert not (home / "auth.json").exists()


USE_SITE = f"%config CodexMagics.token_provider = '{cluster_tokens.__name__}:provide'"


def test_a_cluster_is_handed_tokens_and_gives_the_notebooks_own_values(
    cluster: Client, notebook: Notebook, sim: Simulator, site: Site, login: TokenSet
) -> None:
    notebook.run(CITY)
    recording = notebook.namespace["workers"] = Recording(cluster.get_executor())
    # the login of the notebook does not go along, and the workers have none
    notebook.run("answers = codex_nb.map(['one', 'two'], executor=workers, on_error='return')")
    assert [type(answer) for answer in notebook.namespace["answers"]] == [SignInRequired] * 2
    assert sim.requests.count("/responses") == 0

    notebook.run(USE_SITE)
    asked = notebook.run("answers = codex_nb.map(['Name a city.'] * 3, schema=City, executor=workers)")
    assert asked.succeeded, asked.error
    answers, city = notebook.namespace["answers"], notebook.namespace["City"]
    assert [type(answer.parsed) for answer in answers] == [city] * 3
    assert questions(sim) == {"Name a city.": 3}
    # the notebook asks once, to name its account; each worker once
    assert set(site.asked) == {"start"}
    assert 1 <= len(site.asked) <= 3
    assert len(recording.pickled) == 2 * (2 + 3)
    assert find_leaks(b"\n".join(recording.pickled), secrets_of(login)) == []
    stored = {f"stored {name}": token for name, token in stored_secrets().items()}
    assert find_leaks(b"\n".join(recording.pickled), stored) == []


def ask_and_die(ask: Callable[[str], Any], prompt: str) -> None:
    """Be killed after the answer, before anybody else has it."""
    ask(prompt)
    die(prompt)


POISONED = 500


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
def test_workers_that_are_killed_lose_no_other_question(
    cluster: Client, notebook: Notebook, sim: Simulator
) -> None:
    """One question kills each worker that asks it, until the cluster gives it up."""

    class Deadly:
        def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
            if arguments == (prompts[POISONED],):
                function = partial(ask_and_die, function)
            future: Future = workers.submit(function, *arguments)
            return future

    workers = cluster.get_executor()
    prompts = [f"question number {number}." for number in range(1000)]
    notebook.run(USE_SITE)
    answers = codex_nb.map(prompts, executor=Deadly(), concurrency=8, on_error="return")
    lost = {number: answer for number, answer in enumerate(answers) if not isinstance(answer, Answer)}
    # beside it may be lost what was with it on all the workers that it has killed
    assert POISONED in lost
    assert len(lost) <= 3
    assert {type(error) for error in lost.values()} == {CodexError}
    assert {type(error.__cause__).__name__ for error in lost.values()} == {"KilledWorker"}
    texts = {number: answer.text for number, answer in enumerate(answers) if number not in lost}
    assert [number for number, text in texts.items() if prompts[number] not in text] == []
    asked = questions(sim)
    # what was given up with the poisoned one may not have begun yet
    assert {prompts[number] for number in (*texts, POISONED)} <= asked.keys() <= set(prompts)
    assert asked[prompts[POISONED]] == 4
    assert asked.total() <= 1000 + 3 + 4 * 7


def test_secrets_in_a_prompt_do_not_travel_to_a_worker(
    pool: concurrent.futures.Executor, notebook: Notebook, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "Tr0ub4dor-and-3-horses")
    secrets = {"a variable": "opaque-9f8e7d6c5b", "the environment": "Tr0ub4dor-and-3-horses"}
    notebook.namespace.update({"recording": (recording := Recording(pool)), "api_key": secrets["a variable"]})
    prompts = [f"Use {secret}." for secret in secrets.values()]
    assert notebook.run(f"import codex_nb; codex_nb.map({prompts}, executor=recording)").succeeded
    sent = [request.raw_body for request in sim.requests.to("/responses")]
    assert len(sent) == len(prompts)
    assert [leak for each in (*recording.pickled, *sent) for leak in find_leaks(each, secrets)] == []
