"""Independent clients ask the simulator: each in an environment of its own, of which only the address is changed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codex_nb.simulator import CLASSIC, Simulator
from tests.patience import PATIENCE_S
from tests.servers import provision

Told = dict[str, Any]

LOOPBACK_ONLY = {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}

API = """
import json, sys
from openai import NotFoundError, OpenAI
from pydantic import BaseModel
url, key, model = sys.argv[1:]
client = OpenAI(base_url=url, api_key=key, max_retries=0)
tools = [{"type": "function", "name": "get_weather", "strict": False, "description": "The weather.",
          "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}]

class Answer(BaseModel):
    number: int

def told(**what):
    print(json.dumps(what))

made = client.responses.create(model=model, input="say hi")
told(create=made.output_text, status=made.status, counted=made.usage.output_tokens > 0)
items = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "say hi"}]
told(items=client.responses.create(model=model, input=items, temperature=0.5, store=False).output_text)
after = client.responses.create(model=model, input="and again", previous_response_id=made.id)
told(after=after.previous_response_id == made.id, text=after.output_text)

events = list(client.responses.create(model=model, input="say hi", stream=True))
told(stream="".join(event.delta for event in events if event.type == "response.output_text.delta"))
with client.responses.stream(model=model, input="say hi") as stream:
    told(managed=stream.get_final_response().output_text)
parsed = client.responses.parse(model=model, input="a number", text_format=Answer)
told(parse=type(parsed.output_parsed).__name__)

question = {"role": "user", "content": "Call get_weather."}
asked = client.responses.create(model=model, input=[question], tools=tools)
calls = [item for item in asked.output if item.type == "function_call"]
outputs = [{"type": "function_call_output", "call_id": call.call_id, "output": "rain-42"} for call in calls]
whole = client.responses.create(model=model, input=[question, *asked.output, *outputs], tools=tools)
chained = client.responses.create(model=model, input=outputs, tools=tools, previous_response_id=asked.id)
told(called=[call.name for call in calls], whole="rain-42" in whole.output_text,
     chained="rain-42" in chained.output_text)

told(models=[each.id for each in client.models.list()], one=client.models.retrieve(model).id)
try:
    client.models.retrieve("gpt-unheard-of")
except NotFoundError as error:
    told(unknown=error.code)
with client.responses.connect() as connection:
    connection.response.create(model=model, input="say hi", store=False)
    for event in connection:
        if event.type == "response.completed":
            told(websocket=event.response.output_text)
            break
"""

CHATGPT = """
import json, sys
from pathlib import Path
from pydantic import BaseModel
import codex_backend_sdk._client as where
import codex_backend_sdk._codex_version as version
import codex_backend_sdk.resources.responses_websocket as socket
where.BASE_URL, model, version.codex_client_version = sys.argv[1], sys.argv[2], lambda: version.CLIENT_VERSION
import codex_backend_sdk.resources.models as models
models.codex_client_version = version.codex_client_version
socket.RESPONSES_WEBSOCKET_URL = where.BASE_URL.replace("http://", "ws://") + "/responses"
from codex_backend_sdk import OpenAI
from codex_backend_sdk.storage import load_tokens

class Answer(BaseModel):
    number: int

def told(**what):
    print(json.dumps(what))

client = OpenAI(store=load_tokens(), model=model)
told(text=client.responses.create(input="say hi").output_text)
told(stream="".join(event.delta for event in client.responses.create(input="say hi", stream=True)
                    if event.type == "response.output_text.delta"))
tools = [{"type": "function", "name": "get_weather", "description": "The weather.",
          "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}]
question = {"role": "user", "content": "Call get_weather."}
asked = client.responses.create(input=[question], tools=tools)
calls = [item for item in asked.output if item.type == "function_call"]
history = [question]
for call in calls:
    history.append({"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments})
    history.append({"type": "function_call_output", "call_id": call.call_id, "output": "rain-42"})
told(called=[call.name for call in calls],
     answered="rain-42" in client.responses.create(input=history, tools=tools).output_text)
told(parse=type(client.responses.parse(input="a number", text_format=Answer).output_parsed).__name__)
told(models=[each.id for each in client.models.list().data])
with client.responses.websocket.connect() as connection:
    for _ in range(2):
        events = list(connection.create({"model": model, "input": "say hi"}))
        told(websocket="".join(event.get("delta", "") for event in events
                               if event["type"] == "response.output_text.delta"), last=events[-1]["type"])
"""

LLM = """
import json, sys
import llm_openai_via_codex as plugin
plugin.CODEX_BASE_URL = sys.argv[1]
import llm

def told(**what):
    print(json.dumps(what))

def get_weather(city: str = "Bern") -> str:
    "The weather."
    return "rain-42"

model = llm.get_model("openai-codex/" + sys.argv[2])
told(text=model.prompt("say hi").text())
talk = model.conversation()
told(conversation=[talk.prompt("say hi").text(), talk.prompt("and again").text()])
told(tools=model.chain("Call get_weather.", tools=[get_weather]).text())
told(schema=list(json.loads(model.prompt("a number", schema=llm.schema_dsl("number int")).text())))
told(models=[each.model_id for each in llm.get_models() if each.model_id.startswith("openai-codex/")])
"""


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def run(python: Path, script: str, folder: Path, *arguments: str, **environ: str) -> Told:
    """Run a client's script; return all that it told."""
    done = subprocess.run(
        [str(python), "-c", script, *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **LOOPBACK_ONLY, **environ},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told: Told = {}
    for line in done.stdout.splitlines():
        for name, value in json.loads(line).items():
            told[name] = [*told[name], value] if isinstance(told.get(name), list) else value
    return told


def is_simulators(text: object) -> bool:
    return "comes from the codex_nb simulator" in str(text)


def test_openais_sdk_uses_the_api_in_every_way_that_it_has(sim: Simulator, tmp_path: Path) -> None:
    told = run(provision.openai_sdk(), API, tmp_path, sim.api_base_url, sim.new_api_key(), CLASSIC)
    for name in ("create", "items", "text", "stream", "managed", "websocket"):
        assert is_simulators(told.pop(name)), name
    assert told == {
        "status": "completed",
        "counted": True,
        "after": True,
        "parse": "Answer",
        "called": ["get_weather"],
        "whole": True,
        "chained": True,
        "models": [model["id"] for model in sim.state.catalog.api_list()["data"]],
        "one": CLASSIC,
        "unknown": "model_not_found",
    }


def test_the_sdk_for_the_chatgpt_backend_works_as_its_readme_says(sim: Simulator, tmp_path: Path) -> None:
    sim.write_login(tmp_path / "home")
    environ = {"CODEX_HOME": str(tmp_path / "home")}
    told = run(provision.backend_sdk(), CHATGPT, tmp_path, sim.openai_base_url, CLASSIC, **environ)
    for name in ("text", "stream", "websocket"):
        assert is_simulators(told.pop(name)), name
    listed = [entry["slug"] for entry in sim.state.catalog.entries]
    assert told == {
        "called": ["get_weather"],
        "answered": True,
        "parse": "Answer",
        "models": listed,
        "last": "response.completed",
    }
    assert sim.requests.counts["FRAME /backend-api/codex/responses"] == 2
    assert sim.requests.count("/responses", "WEBSOCKET") == 1


def test_llm_with_its_plugin_for_a_codex_login_talks_calls_tools_and_fills_schemas(
    sim: Simulator, tmp_path: Path
) -> None:
    sim.write_login(tmp_path / "home")
    environ = {"CODEX_HOME": str(tmp_path / "home"), "LLM_USER_PATH": str(tmp_path / "llm")}
    told = run(provision.llm(), LLM, tmp_path, sim.openai_base_url, CLASSIC, **environ)
    assert is_simulators(told["text"])
    assert all(map(is_simulators, told["conversation"]))
    assert "rain-42" in told["tools"]
    assert told["schema"] == ["number"]
    assert f"openai-codex/{CLASSIC}" in told["models"]
