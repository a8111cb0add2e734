"""Bad input gets one clear line and loses nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from codex_nb.errors import BadRequest, CodexError, ModelUnavailable, QuotaExceeded, UsageLimitReached
from codex_nb.simulator import Cut, Reply, Say, Simulator, error_replies
from tests.magics.conftest import Notebook

TOKENS_KEPT = {"answer": 42}


def one_line(text: str) -> str:
    """Return the only line that holds words."""
    (line,) = [line for line in text.splitlines() if line.strip()]
    return line


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%%codex --modle x\nhi", "%%codex: unknown option --modle. Did you mean --model? %codex help"),
        ("%%codex --aproval all\nhi", "%%codex: unknown option --aproval. Did you mean --approval? %codex"),
        ("%%codex --zzz\nhi", "%%codex: unknown option --zzz. See %codex help."),
        (
            "%%codex -e enormous\nhi",
            "%%codex: invalid --effort 'enormous'. Choose one of: none, minimal, low,",
        ),
        (
            "%%codex --approval=yes\nhi",
            "%%codex: Invalid --approval 'yes'. Use one of: ask, auto, all, read-only.",
        ),
        ("%%codex --model\nhi", "%%codex: --model needs a value. See %codex help."),
        ("%%codex --model --fresh\nhi", "%%codex: --model needs a value. See %codex help."),
        (
            "%%codex -o 1x\nhi",
            "%%codex: '1x' is not a valid variable name. Choose another variable, such as -o",
        ),
        ("%%codex\n\n", "%%codex: there is no question. Write it below the magic's line."),
        (
            "%%codex --schema Nope\nhi",
            "--schema Nope: 'Nope' is not in your namespace. See %codex help.",
        ),
        (
            "%%codex --image nope.png\nhi",
            "--image nope.png: neither a figure in your namespace nor an image file.",
        ),
        (
            "%codex logn",
            "%codex: unknown command 'logn'. Run %codex login, or ask a question of one word with %%codex.",
        ),
        ("%codex modles", "%codex: unknown command 'modles'. Run %codex models, or ask"),
        (
            "%%codex -e hgih\nhi",
            "%%codex: invalid --effort 'hgih'. Did you mean high? Choose one of: none, minimal, low,",
        ),
        (
            "%codex effort xhihg",
            "%codex effort: unknown effort 'xhihg'. Did you mean xhigh? Choose one of: none, minimal,",
        ),
        (
            "%codex login devcie",
            "%codex login: unknown method 'devcie'. Did you mean device? Choose one of: device, browser,",
        ),
        (
            "%codex approvals --clear run_pyton",
            "%codex approvals: there is no tool 'run_pyton'. Did you mean run_python?",
        ),
        ("%%codex --profile nobody\nhi", "Unknown profile 'nobody': neither "),
    ],
)
def test_what_cannot_be_asked_is_told_in_one_line_and_nothing_is_sent(
    notebook: Notebook, sim: Simulator, cell: str, said: str
) -> None:
    notebook.namespace["kept"] = TOKENS_KEPT
    ran = notebook.run(cell)
    assert one_line(ran.shown).partition(": ")[2].startswith(said)
    assert (sim.requests.count("/responses"), notebook.namespace["kept"]) == (0, TOKENS_KEPT)


def test_an_effort_of_the_session_that_nobody_knows_is_told_with_the_nearest(
    notebook: Notebook, sim: Simulator
) -> None:
    notebook.run("%config CodexMagics.effort = 'hgih'")
    ran = notebook.run("%%codex\nhi")
    assert "CodexMagics.effort: unknown effort 'hgih'. Did you mean high?" in one_line(ran.out + ran.error)
    assert sim.requests.count("/responses") == 0
    assert notebook.run("%%codex -e low\nhi").succeeded


def test_one_word_that_is_like_no_command_is_a_question(notebook: Notebook, sim: Simulator) -> None:
    assert notebook.run("%codex hello").succeeded
    assert sim.requests.count("/responses") == 1


def test_without_a_login_the_cell_says_how_to_sign_in(notebook: Notebook, codex_home: Path) -> None:
    (codex_home / "auth.json").unlink()
    ran = notebook.run("%%codex\nhi")
    assert one_line(ran.shown) == "SignInRequired: You are not signed in. Sign in with %codex login."


def test_an_unreadable_login_is_named_and_left_untouched(notebook: Notebook, codex_home: Path) -> None:
    (codex_home / "auth.json").write_text('{"tokens": {')
    ran = notebook.run("%%codex\nhi")
    assert str(codex_home / "auth.json") in one_line(ran.out + ran.error)
    assert (codex_home / "auth.json").read_text() == '{"tokens": {'


def test_a_wrong_setting_names_its_file_and_key(notebook: Notebook, codex_home: Path, sim: Simulator) -> None:
    (codex_home / "config.toml").write_text("model = 3\n")
    ran = notebook.run("%%codex\nhi")
    assert one_line(ran.shown).startswith("ConfigError: ")
    assert str(codex_home / "config.toml") in ran.shown
    assert "model" in ran.shown
    assert sim.requests.count("/responses") == 0


def test_a_backend_that_is_down_is_told_and_the_question_can_be_asked_again(
    notebook: Notebook, codex_home: Path, sim: Simulator
) -> None:
    config = (codex_home / "config.toml").read_text()
    settings = config + "request_max_retries = 0\nstream_max_retries = 0\n"
    (codex_home / "config.toml").write_text(settings)
    sim.stop()
    ran = notebook.run("%%codex -m simulator-classic\nhi")
    assert not ran.succeeded
    assert "Traceback" not in ran.out + ran.error
    assert notebook.namespace["_codex"].status == "failed"


def test_a_login_that_is_refused_for_good_asks_for_a_new_one(
    notebook: Notebook, codex_home: Path, sim: Simulator
) -> None:
    before = json.loads((codex_home / "auth.json").read_text())
    sim.expire_access_tokens()
    sim.expire_refresh_tokens()
    ran = notebook.run("%%codex\nhi")
    told, class_name = (line for line in ran.shown.splitlines() if line.strip())
    assert (told, class_name) == (
        "Your session cannot be refreshed: your sign-in has expired. Sign in again with %codex login.",
        "RefreshFailed",
    )
    assert json.loads((codex_home / "auth.json").read_text()) == before


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (error_replies.usage_limit_reached(), UsageLimitReached),
        (error_replies.unsupported_model("x", is_chatgpt=True), ModelUnavailable),
        (error_replies.bad_request("boom"), BadRequest),
        (error_replies.failed("insufficient_quota", "No credit"), QuotaExceeded),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_failure_is_told_once_and_the_cell_fails_with_its_class(
    notebook: Notebook, sim: Simulator, reply: Reply, kind: type[CodexError]
) -> None:
    sim.add_replies(replace(reply, times=None))
    ran = notebook.run("%%codex -m simulator-classic\nhi")
    assert type(ran.failure) is kind
    assert ran.shown.count(str(ran.failure)) == 1
    assert ran.shown.splitlines()[-1] == kind.__name__


@pytest.mark.parametrize("text", ["\x1b]0;owned\x07\x1b[2Jboom", "bo\u202eom"])
def test_no_error_of_a_server_acts_on_a_screen(notebook: Notebook, sim: Simulator, text: str) -> None:
    sim.add_replies(replace(error_replies.bad_request(text), times=None))
    ran = notebook.run("%%codex -m simulator-classic\nhi")
    told = f"{ran.failure}{ran.shown}"
    assert "boom" in told or "om" in told
    assert [char for char in "\x1b\x07\u202e" if char in told] == []


def test_an_answer_that_breaks_off_keeps_what_came_and_says_so(notebook: Notebook, sim: Simulator) -> None:
    sim.add_replies(Reply(stream=(Say("The first half. "), Cut("reset")), times=None))
    ran = notebook.run("%%codex -m simulator-classic\nhi")
    assert "The first half." in ran.out
    assert not ran.succeeded
    assert sim.requests.count("/responses") <= 6
    assert "The first half." in notebook.namespace["_codex"].text


@pytest.mark.parametrize("quote", ['"""', "'''", 'r"""', "f'''"])
def test_a_line_of_a_string_that_looks_like_a_question_stays_as_it_is(notebook: Notebook, quote: str) -> None:
    lines = [
        "# it's",
        f"text = {quote}",
        "%codex what?",
        "  %codex who's there?",
        f"{quote[-3:]}",
        "after = 'a'",
    ]
    assert notebook.run("\n".join(lines)).succeeded
    assert notebook.namespace["text"] == "\n%codex what?\n  %codex who's there?\n"


def test_a_question_below_a_string_is_asked(notebook: Notebook, sim: Simulator) -> None:
    assert notebook.run('text = """\n%codex what?\n"""\n%codex Who\'s there?').succeeded
    assert "Who's there?" in str(sim.requests.to("/responses", "POST")[-1].body["input"])
