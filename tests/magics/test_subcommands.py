"""The subcommands of ``%codex``, as a person types them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from codex_nb.labels import EFFORTS
from codex_nb.magics.options import APPROVALS
from codex_nb.magics.subcommands import SUBCOMMANDS
from codex_nb.responses.models import COST_UNKNOWN, price_table
from codex_nb.simulator import ADA, GRACE, End, Reply, Say, Simulator
from tests.magics.conftest import Notebook
from tests.magics.front_end import front_end


def test_help_names_every_option_and_subcommand(notebook: Notebook) -> None:
    ran = notebook.run("%codex help")
    words = (
        "--background",
        "--schema",
        "threads",
        "explain",
        "@name",
        "@cell:3",
        "@file:",
        "@image:",
        "@fig",
        *EFFORTS,
        *APPROVALS,
        "_codex",
        "codex-skip",
    )
    assert [word for word in words if word not in ran.out] == []


def test_the_model_in_use_is_marked_in_the_list(notebook: Notebook) -> None:
    notebook.run("%codex model simulator-classic")
    (marked,) = [line for line in notebook.run("%codex models").out.splitlines() if "in use" in line]
    assert "simulator-classic" in marked


def test_a_thread_that_does_not_exist_yet_is_said_to_be_new(notebook: Notebook) -> None:
    assert "new" in notebook.run("%codex thread travels").out
    notebook.run("%codex hello")
    assert "new" not in notebook.run("%codex thread travels").out


@pytest.mark.parametrize(
    "cell", ["%%codex --help\nwhy?", "%codex -h", "%codex --help why?", "%codex explain -h"]
)
def test_an_option_shows_the_help_and_asks_nothing(notebook: Notebook, sim: Simulator, cell: str) -> None:
    assert notebook.run(cell).out == notebook.run("%codex help").out
    assert sim.requests.count("/responses") == 0


def test_a_subcommand_is_no_earlier_question_of_the_notebook(notebook: Notebook, sim: Simulator) -> None:
    notebook.run("%%codex\nWhat is first?")
    for name, each in SUBCOMMANDS.items():
        if not each.asks and name not in {"login", "logout"}:
            notebook.run(f"%codex {name}")
    notebook.run("%codex new")
    notebook.run("%codex what is next?")
    sent = json.dumps(sim.requests.to("/responses")[-1].body["input"])
    assert re.findall(r"Question: (.*?)\\n", sent) == ["What is first?"]


def test_a_name_that_is_almost_a_thread_is_asked_about(notebook: Notebook) -> None:
    notebook.run("%codex thread travels")
    notebook.run("%codex hello")
    told = notebook.run("%codex thread travles").out
    assert ("new" in told, "Did you mean travels?" in told) == (True, True)
    assert "Did you mean" not in notebook.run("%codex thread something-else").out
    assert "Did you mean travels?" in notebook.run("%codex threads --delete travles").shown
    assert "Did you mean travels?" in notebook.run("%codex export travles x.md").shown


def test_a_model_that_is_not_listed_is_taken_with_a_doubt_and_the_nearest(notebook: Notebook) -> None:
    notebook.run("%codex models")
    told = notebook.run("%codex model simulator-clasic").out
    assert ("does not have it" in told, "Did you mean simulator-classic?" in told) == (True, True)
    assert "Did you mean" not in notebook.run("%codex model").out
    assert "does not have it" not in notebook.run("%codex model simulator-classic").out


def test_the_models_of_the_account_are_listed(notebook: Notebook) -> None:
    assert "simulator-classic" in notebook.run("%codex models").out


def test_a_model_is_chosen_for_the_session_and_asked(notebook: Notebook, sim: Simulator) -> None:
    assert "simulator-classic" in notebook.run("%codex model simulator-classic").out
    notebook.run("%codex hello")
    (request,) = sim.requests.to("/responses")
    assert request.body["model"] == "simulator-classic"


def test_a_one_line_question_may_end_in_a_question_mark(notebook: Notebook, sim: Simulator) -> None:
    assert notebook.run("%codex why is `df?` so tall?").succeeded
    assert "why is `df?` so tall?" in str(sim.requests.to("/responses")[0].body["input"])
    assert "Ask Codex about this notebook" in notebook.run("%codex?").out


def test_the_context_is_shown_as_it_would_be_sent(notebook: Notebook) -> None:
    notebook.run("height = 187")
    ran = notebook.run("%codex context how tall?")
    assert "height" in ran.out
    assert "187" in ran.out


@pytest.mark.parametrize("made", ["height = 187", "text = '語' * 4_000", "rows = [*range(2_000)]"])
@pytest.mark.parametrize("asked", ["what is @text or @rows?", "and @image:dot.png?"])
def test_the_context_names_the_tokens_that_the_footer_will(
    notebook: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: str, asked: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("dot.png")
    notebook.run(made)
    for _ in range(2):  # a new thread, then one with a history
        told = re.search(r"would send about ([\d,]+) tokens", notebook.run(f"%codex context {asked}").out)
        assert told is not None
        notebook.run(f"%%codex\n{asked}")
        used = notebook.namespace["_codex"].usage.input_tokens
        assert abs(int(told[1].replace(",", "")) - used) <= used / 10


def test_threads_go_on_and_begin_anew(notebook: Notebook, sim: Simulator) -> None:
    notebook.run("%codex first question")
    notebook.run("%codex second question")
    notebook.run("%codex new")
    notebook.run("%codex third question")
    first, second, third = [request.body["input"] for request in sim.requests.to("/responses")]
    assert second[: len(first)] == first
    assert "first question" not in str(third)
    assert "session" in notebook.run("%codex threads").out


def test_the_limits_go_with_the_account_that_they_belong_to(notebook: Notebook) -> None:
    notebook.run("%codex hello")
    assert "12 %" in notebook.run("%codex status").out
    notebook.run("%codex logout")
    out = notebook.run("%codex status").out
    assert ("Not signed in" in out, "12 %" in out, "Credits" in out) == (True, False, False)


def test_the_last_answer_can_be_shown_again(notebook: Notebook) -> None:
    assert "nothing has been answered yet" in notebook.run("%codex last").shown
    notebook.run("%codex hello")
    assert "simulator" in notebook.run("%codex last").out


def test_a_failed_cell_is_sent_with_its_error(notebook: Notebook, sim: Simulator) -> None:
    notebook.run("numbers = [1, 2]\nnumbers[5]")
    notebook.run("%codex fix")
    asked = str(sim.requests.to("/responses")[0].body["input"])
    assert "numbers[5]" in asked
    assert "IndexError: list index out of range" in asked


def test_signing_out_revokes_and_deletes_the_login_and_nothing_else(
    notebook: Notebook, codex_home: Path, sim: Simulator
) -> None:
    before = {path.name for path in codex_home.iterdir()}
    assert "Signed out" in notebook.run("%codex logout").out
    assert before - {path.name for path in codex_home.iterdir()} == {"auth.json"}
    assert sim.requests.count("/oauth/revoke") == 1
    assert "You were not signed in." in notebook.run("%codex logout").out


def test_where_nobody_can_be_asked_signing_out_tells_whom_it_signed_out(notebook: Notebook) -> None:
    out = notebook.run("%codex logout").out
    assert ("a…@example.com" in out, "Codex CLI" in out) == (True, True)


def test_a_stored_login_that_cannot_be_read_can_be_signed_out(notebook: Notebook, codex_home: Path) -> None:
    (codex_home / "auth.json").write_text("{")
    assert "Signed out" in notebook.run("%codex logout").out
    assert not (codex_home / "auth.json").exists()


def test_the_settings_in_force_are_shown_without_secrets(notebook: Notebook, codex_home: Path) -> None:
    notebook.run("%config CodexMagics.effort = 'low'\n%config CodexMagics.engine = 'agent'")
    notebook.run("%config CodexMagics.transport = 'http'")
    rows = [line.strip("| ").split(" | ") for line in notebook.run("%codex config").out.splitlines()]
    shown = {row[0].replace("\\", ""): [each.strip() for each in row[1:]] for row in rows if len(row) == 3}
    file = str(codex_home / "config.toml").replace("\\", "")
    assert shown["effort"] == ["low", "%config CodexMagics.effort"]
    assert [row[1:] for row in rows if row[0].startswith("transport")] == [
        ["http", "%config CodexMagics.transport"]
    ]
    assert shown["engine"] == ["agent", "%config CodexMagics.engine"]
    assert [each.replace("\\", "") for each in shown["model_provider"]] == ["simulator", file]
    assert shown["model_verbosity"] == ["", "default"]


def test_what_is_not_used_of_the_configuration_is_said_once(notebook: Notebook, codex_home: Path) -> None:
    with (codex_home / "config.toml").open("a") as file:
        file.write("\n[model_providers.other]\nbaseURL = 'x'\n")
    said = [
        "model_providers.other.baseURL" in notebook.run(f"%%codex\n{prompt}").out for prompt in ("a", "b")
    ]
    assert said == [True, False]
    assert "baseURL" in notebook.run("%codex config").out


def test_unloading_takes_the_magic_away_and_loading_brings_it_back(notebook: Notebook) -> None:
    notebook.run("%unload_ext codex_nb")
    assert "`%codex` not found" in notebook.run("%codex help").shown
    notebook.run("%load_ext codex_nb")
    assert "--background" in notebook.run("%codex help").out
    assert "--background" in (notebook.run("%reload_ext codex_nb").out + notebook.run("%codex help").out)


def test_the_tools_are_listed_with_what_each_policy_asks_for(notebook: Notebook) -> None:
    notebook.run(
        "import codex_nb\n@codex_nb.tool\ndef weigh(item: str) -> str:\n    'Weigh an item.'\n    return item"
    )

    def approvals(policy: str) -> dict[str, str]:
        notebook.run(f"%config CodexMagics.approval = {policy!r}")
        rows = [line.strip("| ").split(" | ") for line in notebook.run("%codex tools").out.splitlines()]
        chosen = {"`inspect`", "`read_file`", "`run_python`", "`weigh`"}
        return {row[0].strip("`"): row[-1] for row in rows if row[0] in chosen}

    assert approvals("ask") == {
        "inspect": "runs unasked",
        "read_file": "asks first",
        "run_python": "asks first",
        "weigh": "asks first",
    }
    assert approvals("auto")["read_file"] == "runs unasked"
    assert set(approvals("all").values()) == {"runs unasked"}
    assert approvals("read-only")["run_python"] == approvals("read-only")["weigh"] == "not offered"


def test_an_answer_by_api_key_says_what_it_cost_by_the_dated_prices_or_that_this_is_unknown(
    notebook: Notebook, codex_home: Path, sim: Simulator
) -> None:
    (codex_home / "config.toml").write_text(sim.config_toml("api"))
    sim.write_api_key(codex_home)
    usage = {
        "input_tokens": 100_000,
        "input_tokens_details": {"cached_tokens": 90_000},
        "output_tokens": 1_000,
    }
    sim.add_replies(Reply(stream=(Say("So."), End(usage=usage)), times=3))
    table, dollars = price_table(), {}
    for model in ("gpt-6.2-sol", "gpt-5-nano"):
        shown = notebook.run(f"%%codex -m {model}\nWhy?").out
        (dollars[model],) = re.findall(rf"about \$([\d.]+) at {table.source}'s prices of {table.date}", shown)
    assert dollars == {"gpt-6.2-sol": "0.0390", "gpt-5-nano": "0.0014"}
    assert COST_UNKNOWN in notebook.run("%%codex -m a-new-model\nWhy?").out


def test_an_answer_on_a_plan_says_how_much_of_its_limits_is_used_and_nothing_in_dollars(
    notebook: Notebook, sim: Simulator
) -> None:
    shown = notebook.run("%%codex\nWhy?").out
    assert re.search(r"ChatGPT \w+ · .*limit \d+ % used", shown)
    assert "$" not in shown


def test_what_holds_for_the_notebook_is_told_once_in_a_thread_with_the_right_plural(
    notebook: Notebook, sim: Simulator
) -> None:
    notebook.run("# codex-skip\nhidden = 1", cell_id="first")
    notebook.run("password = 'hunter2-hunter2'\norders = 1", cell_id="second")
    shown = [
        notebook.run(f"%%codex\n{question}", cell_id="asking").out for question in ("Why?", "And @ordrs?")
    ]
    assert "1 cell marked codex-skip" in shown[0]
    assert "looks secret" in shown[0]
    assert "marked codex-skip" not in shown[1]
    assert "looks secret" not in shown[1]
    assert [
        "did you mean @orders" in each for each in (shown[1], notebook.run("%codex Why @ordrs?").out)
    ] == [True] * 2
    notebook.run("# codex-skip\nmore = 1", cell_id="third")
    assert "2 cells marked codex-skip" in notebook.run("%%codex\nAnd now?", cell_id="later").out
    assert "2 cells marked codex-skip" in notebook.run("%%codex -t another\nWhy?", cell_id="later").out


def test_the_account_is_named_below_an_answer_only_where_the_user_says_so(notebook: Notebook) -> None:
    told = []
    for style in ("plan", "account", "off"):
        notebook.run(f"%config CodexMagics.footer = {style!r}")
        told.append(notebook.run("%%codex --fresh\nhello").out)
    named = [(ADA.email in each, "ChatGPT Plus" in each) for each in told]
    assert named == [(False, True), (True, True), (False, False)]
    assert "footer" in notebook.run("%codex config").out


@pytest.mark.parametrize("footer", ["plan", "account"])
def test_no_output_holds_an_email_address_unless_the_user_says_so(
    notebook: Notebook, codex_home: Path, sim: Simulator, footer: str
) -> None:
    notebook.run(f"import codex_nb\n%config CodexMagics.footer = {footer!r}")
    cells = ["%codex status", "codex_nb.status()", "[codex_nb.status()]", "print(codex_nb.status())"]
    cells += ["%%codex\nWho am I?", "%codex usage", "%codex config", "%codex context", "%codex threads"]
    shown = [notebook.run(cell) for cell in cells]
    sim.write_login(codex_home, GRACE)
    shown += map(notebook.run, ("%%codex\nAnd now?", "%codex status", "%codex logout"))
    texts = [f"{cell.shown} {cell.failure}" for cell in shown]
    holds = [ADA.email in text or GRACE.email in text for text in texts]
    assert (holds[0], holds[-1], any(holds)) == (footer == "account",) * 3
    assert ("a…@example.com" in texts[0], "g…@example.org" in texts[-1]) == (footer == "plan",) * 2


COMMANDS = [f"%codex {name}" for name in SUBCOMMANDS if name not in {"context", "login", "logout"}]


def test_no_output_names_the_home_folder_or_an_account_by_its_id(
    notebook: Notebook, codex_home: Path, sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (codex_home / "AGENTS.md").write_text("Be brief.")
    config = codex_home / "config.toml"
    config.write_text(f"model_context_window = -1\n{config.read_text()}")
    saved = f"%codex export session {tmp_path / 'saved.md'}"
    cells = [
        "%%codex\nWho are you?",
        *COMMANDS,
        "import codex_nb",
        *(saved, saved, f"%codex export session {tmp_path / 'none' / 'saved.md'}"),
        *(
            "%codex status nobody",
            "codex_nb.ask('Who?', profile='nobody')",
            "%%codex --profile nobody\nWho are you?",
        ),
        *("codex_nb.status()", "print(codex_nb.status())", "print([codex_nb.status()])"),
        "%config CodexMagics.engine = 'agent'",
        *("%codex status", "%%codex\nWho are you?"),
    ]
    shown = {}
    with front_end(notebook, sim) as page:
        for cell in cells:
            page.forget()
            shown[cell] = notebook.run(cell).shown + json.dumps([*page.outputs.values()], ensure_ascii=False)
    told = {ADA.email, ADA.account_id, str(tmp_path)}
    assert {cell: found for cell in cells if (found := [each for each in told if each in shown[cell]])} == {}
    assert (
        "~/codex-home/auth.json" in shown["%codex status"],
        ADA.account_id[-4:] in shown["%codex status"],
    ) == (
        True,
        True,
    )
