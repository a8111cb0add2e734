"""The help of the magics and of the command line names every option."""

from __future__ import annotations

import pytest

from codex_nb import cli
from codex_nb.labels import OPTION_HELP
from codex_nb.magics.options import FLAGS
from codex_nb.magics.options import reference_text as magics_reference
from codex_nb.words import command_line


def test_each_option_of_the_magic_is_told_in_its_reference() -> None:
    assert sorted(set(OPTION_HELP) - set(FLAGS)) == []
    assert [text for text in OPTION_HELP.values() if text not in magics_reference()] == []


def test_each_option_of_the_command_line_is_told_in_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in command_line.COMMANDS:
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert [text for text in command_line.OPTIONS.values() if text not in told] == []
