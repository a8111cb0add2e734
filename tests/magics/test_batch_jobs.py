"""Batch jobs: uploaded, waited for, found again after a restart, with every outcome in its place."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import codex_nb
from codex_nb import api
from codex_nb.errors import ApiError, BadRequest, CodexError, ConfigError, QuotaExceeded
from codex_nb.responses.request import Backend
from codex_nb.session import batch_jobs
from codex_nb.session.batch_jobs import JobRecord, JobStore, result_lines, submit
from codex_nb.session.events import Answer
from codex_nb.simulator import Reply, Simulator, error_replies
from codex_nb.simulator.error_replies import error_body
from codex_nb.simulator.state import BatchStore
from tests.magics.conftest import Notebook

PROMPTS = [f"question number {number}." for number in range(7)]


@dataclass(frozen=True)
class Weight:
    """A value of the notebook's own."""

    grams: int


def states(outcomes: Any) -> list[str]:
    return [each.status if isinstance(each, Answer) else type(each).__name__ for each in outcomes]


def restarted(job: codex_nb.BatchJob, **options: Any) -> codex_nb.BatchJob:
    """Find the job as another Python does, that has nothing but its id."""
    api.close()
    return codex_nb.batch(job.id, **options)


def test_the_answers_of_a_job_are_in_the_order_of_the_prompts(key_home: Path, sim: Simulator) -> None:
    job = codex_nb.map(PROMPTS, batch=True)
    assert sim.requests.count("/responses") == 0
    answers = job.wait()
    assert states(answers) == ["completed"] * 7
    assert [prompt in answer.text for prompt, answer in zip(PROMPTS, answers, strict=True)] == [True] * 7
    assert {answer.billing for answer in answers} == {"api_key"}
    assert restarted(job).results() == answers
    [file] = (key_home / "codex_nb" / "batches").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "question" not in file.read_text()


def test_what_is_uploaded_is_what_a_question_sends(key_home: Path, sim: Simulator) -> None:
    del key_home
    codex_nb.map(PROMPTS[:1], batch=True)
    codex_nb.ask(PROMPTS[0])
    [uploaded] = [json.loads(content)["body"] for content in sim.state.batches.files.values()]
    [asked] = [request.body for request in sim.requests.to("/responses")]
    assert uploaded.pop("stream") is False
    assert asked.pop("stream") is True
    asked.pop("prompt_cache_key")
    for name in ("tools", "tool_choice", "parallel_tool_calls"):
        asked.pop(name, None)
    for item in (*uploaded["input"], *asked["input"]):
        del item["id"]
    assert uploaded == asked


def test_secrets_do_not_leave_in_a_job(
    key_home: Path, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    del key_home
    monkeypatch.setenv("DATABASE_PASSWORD", "Tr0ub4dor-and-3-horses")
    codex_nb.map(["connect with Tr0ub4dor-and-3-horses"], batch=True)
    [content] = sim.state.batches.files.values()
    assert b"connect with" in content
    assert b"Tr0ub4dor" not in content


def test_what_variables_hold_does_not_leave_in_a_job(notebook: Notebook, sim: Simulator) -> None:
    sim.write_api_key(home := Path(os.environ["CODEX_HOME"]))
    (home / "config.toml").write_text(sim.config_toml("api"))
    notebook.run("api_key = 'sk-proj-' + 'Zq7' * 12")
    assert notebook.run("import codex_nb; job = codex_nb.map([f'use {api_key}'], batch=True)").succeeded
    [content] = sim.state.batches.files.values()
    assert (b"use " in content, b"Zq7" in content) == (True, False)


def test_values_and_the_shape_of_a_series_come_back(key_home: Path) -> None:
    del key_home
    prompts = pd.Series(["How heavy?", "And that?"], index=["x", "y"], name="asked")
    job = codex_nb.map(prompts, schema=Weight, batch=True)
    answers = job.wait()
    assert (list(answers.index), answers.name) == (["x", "y"], "asked")
    assert [type(answer.parsed) for answer in answers] == [Weight, Weight]
    assert restarted(job, schema=Weight).results() == list(answers)
    assert [answer.parsed for answer in restarted(job).results()] == [None, None]


def test_failed_lines_are_errors_in_their_places(key_home: Path, sim: Simulator) -> None:
    del key_home
    sim.add_replies(replace(error_replies.bad_request("This prompt is poisoned."), skip=2))
    job = codex_nb.map(PROMPTS, batch=True)
    outcomes = job.wait()
    assert states(outcomes) == ["completed"] * 2 + ["BadRequest"] + ["completed"] * 4
    assert isinstance(outcomes[2], BadRequest)
    assert job.status == codex_nb.JobStatus("completed", 7, 6, 1, expires_at=job.status.expires_at)
    job.resubmit()
    assert len(sim.state.batches.batches) == 1


def test_expired_questions_are_submitted_again(key_home: Path, sim: Simulator) -> None:
    del key_home
    sim.change(batches=BatchStore(answers=3))
    job = codex_nb.map(PROMPTS, batch=True)
    first = job.wait()
    assert states(first) == ["completed"] * 3 + ["ApiError"] * 4
    assert [error.code for error in first if isinstance(error, ApiError)] == ["batch_expired"] * 4
    assert job.status.state == "expired"
    found = restarted(job)
    sim.state.batches.answers = None
    outcomes = found.resubmit().wait()
    assert outcomes[:3] == first[:3]
    assert [prompt in answer.text for prompt, answer in zip(PROMPTS, outcomes, strict=True)] == [True] * 7
    sent = [line for content in sim.state.batches.files.values() for line in content.splitlines()]
    assert sum(b'"method"' in line for line in sent) == 7 + 4
    assert restarted(job).results() == outcomes
    assert (found.status.state, found.status.done, found.status.failed) == ("completed", 7, 0)


def test_a_cancelled_job_can_be_submitted_again(key_home: Path, sim: Simulator) -> None:
    del key_home
    sim.change(batches=BatchStore(polls=100))
    job = codex_nb.map(PROMPTS, batch=True)
    with pytest.raises(CodexError):
        job.results()
    assert job.status.state == "in_progress"
    with pytest.raises(TimeoutError):
        job.wait(timeout_s=0)
    job.cancel()
    assert states(job.wait()) == ["cancelled"] * 7
    sim.state.batches.polls = 0
    assert states(job.resubmit().wait()) == ["completed"] * 7


def test_a_job_in_a_state_that_is_not_known_has_not_ended(key_home: Path, sim: Simulator) -> None:
    del key_home
    job = codex_nb.map(PROMPTS, batch=True)
    paused = {"id": job.id, "status": "paused"}
    sim.add_replies(Reply(f"/v1/batches/{job.id}", method="GET", body=paused))
    status = job.status
    assert (status.state, status.has_ended) == ("paused", False)
    assert states(job.wait()) == ["completed"] * len(PROMPTS)


def submitted(sizes: list[int], **limits: int) -> JobRecord:
    """Submit requests whose prompts have these lengths, past what prepares them, to a service with these limits."""
    session = api.current_session()
    profile = session.profile()
    store = JobStore(profile.settings.codex_home / "codex_nb" / "batches")

    async def bodies() -> AsyncIterator[bytes]:
        for number, size in enumerate(sizes):
            words = f"question <{number}> {'x' * size}"
            content = [{"type": "input_text", "text": words}]
            message = {"type": "message", "role": "user", "content": content}
            yield json.dumps({"model": "gpt-6.1-sol", "input": [message]}).encode()

    async def submit_all() -> JobRecord:
        return await submit(await profile.batch_client(), bodies(), store, **limits)

    return session.engine.run(submit_all())


@given(
    sizes=st.lists(st.integers(0, 400), min_size=1, max_size=12),
    most_requests=st.integers(1, 5),
    most_bytes=st.integers(200, 1500),
)
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_job_is_split_at_the_limits_of_the_service(
    key_home: Path, sim: Simulator, sizes: list[int], most_requests: int, most_bytes: int
) -> None:
    del key_home
    sim.change(batches=BatchStore())
    record = submitted(sizes, most_requests=most_requests, most_bytes=most_bytes)
    files = [content.splitlines() for content in sim.state.batches.files.values()]
    ids = [json.loads(line)["custom_id"] for lines in files for line in lines]
    assert ids == [str(number) for number in range(len(sizes))]
    for lines in files:
        assert len(lines) <= most_requests
        assert len(lines) == 1 or sum(len(line) + 1 for line in lines) <= most_bytes
    assert len(sim.state.batches.batches) == len(files)
    answers = codex_nb.batch(record.id).wait()
    assert [f"question <{number}>" in answer.text for number, answer in enumerate(answers)] == [True] * len(
        sizes
    )


def test_a_large_file_is_uploaded(key_home: Path, sim: Simulator) -> None:
    del key_home
    record = submitted([20_000] * 1_000)
    [content] = sim.state.batches.files.values()
    assert (record.count, content.count(b"\n")) == (1_000, 1_000)
    assert len(content) > 20_000_000


def test_the_limits_are_those_of_the_service() -> None:
    assert (batch_jobs.MOST_REQUESTS, batch_jobs.MOST_BYTES) == (50_000, 200 * 1024 * 1024)


def test_a_part_that_cannot_begin_is_submitted_later(key_home: Path, sim: Simulator) -> None:
    del key_home
    body = error_body("Pay.", "insufficient_quota")
    sim.add_replies(Reply("/v1/batches", method="POST", status=429, skip=1, body=body))
    with pytest.raises(QuotaExceeded) as caught:
        submitted([5, 5, 5], most_requests=2)
    [job_id] = sim.state.batches.batches
    assert job_id in caught.value.__notes__[0]
    job = codex_nb.batch(job_id)
    assert job.status.state == "not submitted"
    outcomes = job.wait(timeout_s=5)
    assert states(outcomes) == ["completed", "completed", "ApiError"]
    assert (outcomes[2].code, ".resubmit()" in outcomes[2].hint) == ("not_submitted", True)
    assert states(job.results()) == states(outcomes)
    assert states(job.resubmit().wait()) == ["completed"] * 3


def test_what_has_begun_is_waited_for_although_a_part_has_not(key_home: Path, sim: Simulator) -> None:
    del key_home
    sim.change(batches=BatchStore(polls=2))
    sim.add_replies(Reply("/v1/batches", method="POST", status=500, skip=1, times=9, body={}))
    with pytest.raises(CodexError):
        submitted([5, 5], most_requests=1)
    [job_id] = sim.state.batches.batches
    job = codex_nb.batch(job_id)
    assert job.status.state == "in_progress"
    assert states(job.wait()) == ["completed", "ApiError"]


def test_a_chatgpt_login_is_refused_with_the_reason(codex_home: Path, sim: Simulator) -> None:
    del codex_home
    with pytest.raises(ConfigError) as caught:
        codex_nb.map(PROMPTS, batch=True)
    assert caught.value.key == "batch"
    assert sim.requests.count("/files") == 0


@pytest.mark.parametrize("status", [404, 405])
def test_a_provider_without_a_batch_api_is_refused_with_the_reason(
    status: int, key_home: Path, sim: Simulator
) -> None:
    del key_home
    sim.add_replies(Reply("/v1/files", status=status, body={}))
    with pytest.raises(ConfigError) as caught:
        codex_nb.map(PROMPTS, batch=True)
    assert caught.value.key == "batch"


@pytest.mark.parametrize(
    "options", [{"journal": "x.jsonl"}, {"executor": object()}], ids=["journal", "executor"]
)
def test_what_a_job_cannot_have_is_refused(options: dict[str, Any], key_home: Path, sim: Simulator) -> None:
    del key_home
    with pytest.raises(ConfigError):
        codex_nb.map(PROMPTS, batch=True, **options)
    assert len(sim.requests) == 0


@pytest.mark.parametrize("name", ["", "../../auth", "batch_1/../2", "batch 1", "batch_é", "b" * 300])
def test_what_is_no_id_is_asked_of_nobody(name: str, key_home: Path, sim: Simulator) -> None:
    del key_home
    with pytest.raises(ConfigError):
        codex_nb.batch(name)
    assert len(sim.requests) == 0


def test_a_batch_of_the_service_is_a_job_although_nothing_is_known_of_it_here(key_home: Path) -> None:
    job = codex_nb.map(PROMPTS, batch=True)
    answers = job.wait()
    for file in (key_home / "codex_nb" / "batches").iterdir():
        file.unlink()
    assert restarted(job).wait() == answers


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
entries = st.fixed_dictionaries(
    {},
    optional={
        "custom_id": json_values,
        "error": json_values | st.fixed_dictionaries({"code": json_values, "message": json_values}),
        "response": json_values
        | st.fixed_dictionaries(
            {"status_code": json_values | st.just(200), "request_id": json_values, "body": json_values}
        ),
    },
)


@given(st.lists(entries | json_values | st.binary(max_size=30), max_size=6))
def test_result_lines_of_any_shape_are_outcomes_or_passed_over(
    tmp_path_factory: pytest.TempPathFactory, lines: list[Any]
) -> None:
    file = tmp_path_factory.mktemp("results") / "output.jsonl"
    written = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in lines]
    file.write_bytes(b"\n".join(written))
    with file.open("rb") as results:
        found = list(result_lines(results, Backend("https://api.example.com/v1")))
    assert all(isinstance(custom_id, str) for custom_id, _ in found)
    assert len(found) <= len(lines) + sum(each.count(b"\n") for each in written)
