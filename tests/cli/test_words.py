"""What is looked up by its name has its words: nothing that a person may meet is without, no word is left over."""

from __future__ import annotations

from typing import get_args

import pytest

from codex_nb import cli
from codex_nb.magics.codex_magics import CodexMagics
from codex_nb.magics.commands import NAMES
from codex_nb.magics.dispatch import HANDLERS
from codex_nb.magics.options import FLAGS
from codex_nb.magics.reference import reference as magics_reference
from codex_nb.tools.catalog import notebook_tools
from codex_nb.ui.account import CommandName
from codex_nb.ui.login import Method
from codex_nb.ui.phrasing import Phase
from codex_nb.ui.plans import StepState
from codex_nb.words import account, command_line, reference, sign_in, transcript

SIGN_IN_BUTTONS = {*get_args(Method), "new_code", "try_again", "cancel"}
TABLES = {
    "phases of a call": (transcript.PHASES, get_args(Phase)),
    "tools": (transcript.TOOLS, [each.name for each in notebook_tools()]),
    "states of a step": (transcript.STEP_STATES, get_args(StepState)),
    "buttons of the account": (account.BUTTONS, get_args(CommandName)),
    "help on the account's buttons": (account.BUTTON_HELP, get_args(CommandName)),
    "buttons of the sign-in": (sign_in.BUTTONS, SIGN_IN_BUTTONS),
    "help on the sign-in's buttons": (sign_in.BUTTON_HELP, SIGN_IN_BUTTONS),
    "subcommands": (reference.SUBCOMMANDS, NAMES),
    "subcommands that are carried out": (reference.SUBCOMMANDS, HANDLERS),
    "settings": (reference.SETTINGS, CodexMagics.class_own_traits(config=True)),
}


@pytest.mark.parametrize("table", TABLES)
def test_each_name_has_its_words_and_no_words_are_without_a_name(table: str) -> None:
    words, names = TABLES[table]
    assert sorted(words) == sorted(names)


def test_each_option_of_the_magic_is_told_in_its_reference() -> None:
    assert sorted(set(reference.OPTIONS) - set(FLAGS)) == []
    assert [text for text in reference.OPTIONS.values() if text not in magics_reference()] == []


def test_each_option_of_the_command_line_is_told_in_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in command_line.COMMANDS:
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert [text for text in command_line.OPTIONS.values() if text not in told] == []
