"""``/responses``: the events on the wire, and the requests that are rejected."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import httpx
import pytest

from codex_nb.simulator import CLASSIC, Call, CustomCall, End, Reply, Say, Scenario, Simulator, Think
from tests.simulator.asking import Asker, events_of, text_of, user

PYTHON = {"type": "function", "name": "run_python", "parameters": {"type": "object"}}
TURN = Scenario(
    (
        Reply(
            stream=(
                Think(("First I look.", "Then I say.")),
                Call("run_python", {"code": "1 + 1"}, "call_1"),
                CustomCall("exec", "ls -l", "call_2"),
                Say("The answer is **two**, and nothing else.", delta_chars=5),
                End(),
            )
        ),
    )
)


def test_every_item_is_announced_streamed_and_done(asker: Asker) -> None:
    asker.sim.play(TURN)
    events = asker.events(user("hi"))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1]["type"] == "response.completed"
    deltas: dict[str, str] = defaultdict(str)
    for event in events:
        if event["type"].endswith(".delta"):
            deltas[f"{event['item_id']}/{event.get('summary_index', 0)}"] += event["delta"]
            assert event["obfuscation"]
    output = events[-1]["response"]["output"]
    finished = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert output == finished
    think, call, custom, say = output
    assert [part["text"] for part in think["summary"]] == [deltas[f"{think['id']}/{n}"] for n in (0, 1)]
    assert call["arguments"] == deltas[f"{call['id']}/0"] == '{"code": "1 + 1"}'
    assert custom["input"] == deltas[f"{custom['id']}/0"] == "ls -l"
    assert say["content"][0]["text"] == deltas[f"{say['id']}/0"] == "The answer is **two**, and nothing else."


def test_each_event_has_a_line_with_its_name(asker: Asker) -> None:
    text = asker.post(user("hi")).text
    names = [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]
    assert names == [event["type"] for event in events_of(text)]


def test_usage_counts_and_the_prompt_cache_recognises_a_beginning(asker: Asker) -> None:
    first = [user("a long beginning " * 40)]
    uncached = asker.final(*first, prompt_cache_key="thread")["usage"]
    usage = asker.final(*first, user("and more"), prompt_cache_key="thread")["usage"]
    other = asker.final(*first, user("and more"), prompt_cache_key="another thread")["usage"]
    assert uncached["input_tokens_details"]["cached_tokens"] == 0
    assert 150 < usage["input_tokens_details"]["cached_tokens"] < usage["input_tokens"]
    assert other["input_tokens_details"]["cached_tokens"] == 0
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert 0 < usage["output_tokens_details"]["reasoning_tokens"] < usage["output_tokens"]


def test_the_state_of_the_turn_is_returned(asker: Asker) -> None:
    given = asker.post(user("hi")).headers["x-codex-turn-state"]
    asker.headers["x-codex-turn-state"] = given
    assert asker.post(user("hi")).headers["x-codex-turn-state"] == given


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"model": "gpt-unheard-of"}, "'gpt-unheard-of' model is not supported"),
        ({"input": "hi"}, "Input must be a list"),
        ({"input": []}, "Input must be a list"),
        ({"input": ["hi"]}, "is not an item"),
        ({"stream": False}, "Stream must be set to true"),
        ({"store": True}, "Store must be set to false"),
        ({"max_output_tokens": 5}, "Unsupported parameter: max_output_tokens"),
        ({"previous_response_id": "resp_1"}, "Unsupported parameter: previous_response_id"),
        ({"input": [user("hi") | {"role": "system"}]}, "System messages are not allowed"),
    ],
)
def test_requests_that_the_backend_rejects_are_rejected(
    asker: Asker, changes: dict[str, Any], word: str
) -> None:
    url = f"{asker.sim.openai_base_url}/responses"
    answer = asker.client.post(url, headers=asker.headers, json=asker.body(user("hi")) | changes)
    assert answer.status_code == 400
    assert word in answer.text
    assert asker.sim.requests[-1].answered_by == "validation"


@pytest.fixture
def api(sim: Simulator, client: httpx.Client) -> Asker:
    """Ask the API with a key."""
    return Asker(sim, client, {"authorization": f"Bearer {sim.new_api_key()}"}, sim.api_base_url)


def test_the_api_names_an_unknown_model_in_its_own_way(api: Asker) -> None:
    answer = api.post(user("hi"), model="gpt-unheard-of")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    good = api.post(user("hi"), max_output_tokens=9)
    assert good.status_code == 200
    assert "x-codex-primary-used-percent" not in good.headers


@pytest.mark.parametrize("asked", ["hi", [user("hi")], [user("hi") | {"role": "system"}, user("hi")]])
@pytest.mark.parametrize("more", [{}, {"stream": False}, {"stream": False, "store": True}])
def test_the_api_answers_in_one_object_unless_a_stream_is_asked_for(
    api: Asker, asked: object, more: dict[str, Any]
) -> None:
    body = {"model": CLASSIC, "input": asked, **more}
    answer = api.client.post(f"{api.sim.api_base_url}/responses", headers=api.headers, json=body)
    response = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert (response["object"], response["status"], response["store"]) == ("response", "completed", True)
    assert "simulator" in text_of(response)
    assert response["usage"]["output_tokens"] > 0


def test_a_prepared_stream_is_one_object_to_who_asks_for_one(api: Asker) -> None:
    api.sim.play(TURN)
    streamed = api.final(user("hi"))
    api.sim.play(TURN)
    whole = api.post(user("hi"), stream=False).json()
    kinds = [[item["type"] for item in response["output"]] for response in (streamed, whole)]
    assert kinds == [["reasoning", "function_call", "custom_tool_call", "message"]] * 2
    assert text_of(whole) == text_of(streamed)


def test_a_stored_response_is_followed_by_its_id(api: Asker) -> None:
    first = api.final(user("hi"), store=True)
    second = api.final(user("and again"), store=True, previous_response_id=first["id"])
    assert second["previous_response_id"] == first["id"]
    assert second["usage"]["input_tokens"] > first["usage"]["input_tokens"] + first["usage"]["output_tokens"]
    private = api.final(user("hi"), store=False)
    for unknown in (private["id"], "resp_unheard_of"):
        refused = api.post(user("and again"), previous_response_id=unknown)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "previous_response_not_found")


@pytest.mark.parametrize("asked", [{}, {"input": ""}, {"input": []}, {"input": None}])
def test_the_api_wants_an_input(api: Asker, asked: dict[str, Any]) -> None:
    url = f"{api.sim.api_base_url}/responses"
    answer = api.client.post(url, headers=api.headers, json={"model": CLASSIC, **asked})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "missing_required_parameter")


def test_the_api_tells_about_one_model(api: Asker) -> None:
    url = f"{api.sim.api_base_url}/models"
    listed = api.client.get(url, headers=api.headers).json()["data"]
    told = [api.client.get(f"{url}/{model['id']}", headers=api.headers).json() for model in listed]
    assert told == listed
    unknown = api.client.get(f"{url}/gpt-unheard-of", headers=api.headers)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    assert api.client.get(f"{url}/{listed[0]['id']}").status_code == 401


def call_and_output(asker: Asker) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]:
    """A turn up to the tool's output: question, reasoning, call, output."""
    question = user("df: pandas.DataFrame (3 rows \u00d7 2 columns)", "What is in df?")
    reasoning, call = asker.final(question, tools=[PYTHON])["output"]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "fine"}
    return question, reasoning, call, output


def test_a_whole_history_is_accepted(asker: Asker) -> None:
    assert asker.post(*call_and_output(asker), tools=[PYTHON]).status_code == 200


def test_a_call_without_an_output_is_refused(asker: Asker) -> None:
    *history, _ = call_and_output(asker)
    answer = asker.post(*history, user("go on"))
    assert answer.status_code == 400
    assert "No tool output found for function call call_sim" in answer.json()["error"]["message"]


def test_an_output_without_a_call_is_refused(asker: Asker) -> None:
    question, _, _, output = call_and_output(asker)
    answer = asker.post(question, output)
    assert answer.status_code == 400
    assert "No tool call found for function call output" in answer.json()["error"]["message"]


def test_a_call_may_come_back_without_its_reasoning_where_nothing_is_stored(asker: Asker) -> None:
    question, _, call, output = call_and_output(asker)
    bare = {key: call[key] for key in ("type", "call_id", "name", "arguments")}
    assert [asker.post(question, each, output).status_code for each in (call, bare)] == [200, 200]


def test_a_stored_call_that_comes_back_by_id_needs_its_reasoning(api: Asker) -> None:
    question = user("df: pandas.DataFrame (3 rows \u00d7 2 columns)", "What is in df?")
    kept = {"tools": [PYTHON], "store": True}
    reasoning, call = api.final(question, **kept)["output"]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "fine"}
    bare = {key: call[key] for key in ("type", "call_id", "name", "arguments")}
    refused = api.post(question, call, output, **kept)
    assert refused.status_code == 400
    assert "without its required 'reasoning' item" in refused.json()["error"]["message"]
    for history in ((question, reasoning, call, output), (question, bare, output)):
        assert api.post(*history, **kept).status_code == 200


def test_an_altered_encrypted_content_is_refused(asker: Asker) -> None:
    question, reasoning, call, output = call_and_output(asker)
    blob = reasoning["encrypted_content"]
    altered = reasoning | {"encrypted_content": blob[:20] + ("A" if blob[20] != "A" else "B") + blob[21:]}
    answer = asker.post(question, altered, call, output)
    foreign = reasoning | {"encrypted_content": "not even base64"}
    for each in (answer, asker.post(question, foreign, call, output)):
        assert (each.status_code, each.json()["error"]["code"]) == (400, "invalid_encrypted_content")


def test_encrypted_contents_outlive_the_simulator(asker: Asker) -> None:
    history = call_and_output(asker)
    with Simulator() as another:
        headers = {"authorization": f"Bearer {another.sign_in().access_token}"}
        answer = Asker(another, asker.client, headers).post(*history)
    assert answer.status_code == 200


def test_reasoning_is_encrypted_only_on_request(asker: Asker) -> None:
    with_blob, _ = asker.final(user("hi"))["output"]
    without, _ = asker.final(user("hi"), include=[])["output"]
    assert with_blob["encrypted_content"].startswith("gAAAA")
    assert "encrypted_content" not in without


def test_every_answer_says_where_it_comes_from(asker: Asker) -> None:
    answer = asker.post(user("hi"))
    assert answer.headers["x-simulator"] == "codex_nb"
    assert "simulator" in text_of(events_of(answer.text)[-1]["response"])
