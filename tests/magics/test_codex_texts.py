"""Codex's own texts in a question: instructions of config.toml, skills and saved prompts, and their completion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter

from codex_nb.simulator import Call, End, Reply, Say, Scenario, Simulator
from tests.magics.conftest import Notebook
from tests.tools.test_skills import write_skill

KEY = "sk-proj-fabricatedFabricated0123456789"


def texts(sim: Simulator, role: str) -> list[str]:
    """Return each text of a role in the last request."""
    items = sim.requests.to("/responses", "POST")[-1].body["input"]
    messages = [item for item in items if item.get("role") == role and item["type"] == "message"]
    return [part["text"] for item in messages for part in item["content"] if "text" in part]


def tools(sim: Simulator) -> set[str]:
    """Return the names of the offered tools."""
    return {tool["name"] for tool in sim.requests.to("/responses", "POST")[-1].body.get("tools", [])}


def configure(codex_home: Path, line: str) -> None:
    config = codex_home / "config.toml"
    config.write_text(f"{line}\n{config.read_text()}")


def completed(notebook: Notebook, line: str) -> list[str]:
    with provisionalcompleter():
        found = [each.text for each in notebook.shell.Completer.completions(line, len(line))]
    return [text for text in found if text[:1] in "/$"]


def test_the_models_instructions_are_those_of_the_configuration_and_of_the_project(
    notebook: Notebook, codex_home: Path, sim: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "work" / "notebook.ipynb"))
    configure(
        codex_home,
        f'developer_instructions = "Answer in verse. {KEY}"\nproject_doc_fallback_filenames = ["CLAUDE.md"]',
    )
    (tmp_path / "work" / "CLAUDE.md").write_text("Of the project.")
    (codex_home / "CLAUDE.md").write_text("Of the home.")
    assert notebook.run("%codex hello").succeeded
    told = "\n".join(texts(sim, "developer"))
    assert ("Answer in verse." in told, "Of the project." in told, "Of the home." in told) == (
        True,
        True,
        False,
    )
    assert KEY not in json.dumps(sim.requests.to("/responses", "POST")[-1].body)


def test_an_agents_file_takes_the_place_of_every_other_name(
    notebook: Notebook, codex_home: Path, sim: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "work" / "notebook.ipynb"))
    (tmp_path / "work" / ".env").write_text("Of the environment.")
    (tmp_path / "outside.md").write_text("Of the outside.")
    names = '".env", "../outside.md", "CLAUDE.md"'
    configure(codex_home, f"project_doc_fallback_filenames = [{names}]")
    (tmp_path / "work" / "CLAUDE.md").write_text("Of Claude.")
    assert notebook.run("%codex hello").succeeded
    told = "\n".join(texts(sim, "developer"))
    assert ("Of Claude." in told, "Of the outside." in told, "Of the environment." in told) == (
        True,
        False,
        False,
    )
    (tmp_path / "work" / "AGENTS.md").write_text("Of agents.")
    assert notebook.run("%codex -t another hello").succeeded
    told = "\n".join(texts(sim, "developer"))
    assert ("Of agents." in told, "Of Claude." in told) == (True, False)


def test_skills_are_listed_and_read_by_the_model(
    notebook: Notebook, codex_home: Path, sim: Simulator
) -> None:
    file = write_skill(codex_home / "skills" / "plot", "plot", "Draws well.", f"Use blue. Key {KEY}.")
    (file.parent / "more.md").write_text("And red.")
    (codex_home / "skills" / "id_rsa").write_text("not for the model")
    calls: list[dict[str, Any]] = [
        {"skill": "plot"},
        {"skill": "plot", "path": "more.md"},
        {"skill": "plot", "path": "../../auth.json"},
        {"skill": "plot", "path": "../id_rsa"},
        {"skill": "other"},
    ]
    asked = [Call("read_skill", call, f"call_{number}") for number, call in enumerate(calls)]
    sim.play(Scenario((Reply(stream=(*asked, End())), Reply(stream=(Say("Done."), End())))))
    assert notebook.run("%codex --approval all draw").succeeded
    assert [text for text in texts(sim, "developer") if f"- plot: Draws well. (file: {file})" in text]
    assert "read_skill" in tools(sim)
    items = sim.requests.to("/responses", "POST")[-1].body["input"]
    outputs = [str(item["output"]) for item in items if item["type"] == "function_call_output"]
    assert ["Use blue." in outputs[0], "And red." in outputs[1]] == [True, True]
    assert [KEY in output for output in outputs] == [False] * 5
    assert ["outside" in output for output in outputs[2:4]] == [True, True]
    assert "plot" in outputs[4]


def test_without_tools_no_skill_is_listed(notebook: Notebook, codex_home: Path, sim: Simulator) -> None:
    write_skill(codex_home / "skills" / "plot", "plot")
    assert notebook.run("%codex --no-tools hello").succeeded
    assert (tools(sim), "read_skill" in str(texts(sim, "developer"))) == (set(), False)


def test_a_skill_that_a_question_names_goes_along_redacted(
    notebook: Notebook, codex_home: Path, sim: Simulator
) -> None:
    write_skill(codex_home / "skills" / "plot", "plot", body=f"Use blue. {KEY}")
    assert notebook.run("%%codex --no-tools\nWith $plot, draw.").succeeded
    *_, skill, question = texts(sim, "user")
    assert ("Use blue." in skill, KEY in skill, question) == (True, False, "With $plot, draw.")


def test_a_saved_prompt_is_asked_with_its_arguments(
    notebook: Notebook, codex_home: Path, sim: Simulator
) -> None:
    (codex_home / "prompts").mkdir()
    (codex_home / "prompts" / "compare.md").write_text("---\ndescription: d\n---\nCompare $1 with $2. $$")
    for source in (
        "%codex /compare a 'b c'",
        "%codex --no-context /compare a 'b c'",
        "%%codex\n/compare a 'b c'",
    ):
        assert notebook.run(source).succeeded
        assert texts(sim, "user")[-1] == "Compare a with b c. $$"
    assert notebook.run("%codex /other what is it").succeeded
    assert texts(sim, "user")[-1] == "/other what is it"


def test_arguments_that_do_not_fit_a_prompt_send_nothing(
    notebook: Notebook, codex_home: Path, sim: Simulator
) -> None:
    (codex_home / "prompts").mkdir()
    (codex_home / "prompts" / "fix.md").write_text("Fix $FILE")
    ran = notebook.run("%codex /fix a.py")
    assert ran.failure is not None
    assert "FILE=" in ran.out + ran.error
    assert sim.requests.count("/responses") == 0


def test_prompts_and_skills_are_completed(notebook: Notebook, codex_home: Path) -> None:
    (codex_home / "prompts").mkdir()
    for name in ("compare", "count", "fix"):
        (codex_home / "prompts" / f"{name}.md").write_text("x")
    write_skill(codex_home / "skills" / "plot", "plot")
    write_skill(codex_home / "skills" / "plain-text", "plain-text")
    for lead in ("%codex ", "%codex -e low ", "%%codex\n"):
        assert completed(notebook, f"{lead}/co") == ["/compare", "/count"]
        assert completed(notebook, f"{lead}with $pl") == ["$plain-text", "$plot"]
    assert "/compare" not in completed(notebook, "%codex a /co")
    assert "/compare" not in completed(notebook, "x = /co")


def test_the_models_window_is_the_configured_one(
    notebook: Notebook, codex_home: Path, sim: Simulator
) -> None:
    configure(codex_home, "model_context_window = 200")
    assert notebook.run("%codex -t long " + "word " * 300).succeeded
    ran = notebook.run("%codex -t long again")
    assert (ran.succeeded, "compacted" in ran.out) == (True, True)


def test_a_file_takes_the_place_of_the_list_of_models(
    notebook: Notebook, codex_home: Path, sim: Simulator
) -> None:
    entry = {
        "slug": "simulator-classic",
        "default_reasoning_level": "high",
        "supported_reasoning_levels": ["high"],
    }
    (codex_home / "models.json").write_text(json.dumps({"models": [entry]}))
    configure(codex_home, 'model_catalog_json = "models.json"')
    assert notebook.run("%codex hello").succeeded
    assert sim.requests.to("/responses", "POST")[-1].body["reasoning"]["effort"] == "high"
    assert sim.requests.count("/models") == 0


@pytest.mark.parametrize("content", [None, "{", "{}", '{"models": []}'])
def test_a_file_of_models_that_cannot_be_used_says_so(
    notebook: Notebook, codex_home: Path, sim: Simulator, content: str | None
) -> None:
    if content is not None:
        (codex_home / "models.json").write_text(content)
    configure(codex_home, 'model_catalog_json = "models.json"')
    ran = notebook.run("%codex hello")
    assert ran.failure is not None
    assert "model_catalog_json" in ran.out + ran.error
    assert sim.requests.count("/responses") == 0
