"""Every help text of both parsers is shown and can be formatted; Python 3.14 refuses a parser with one that cannot."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import pytest

from codex_nb import cli
from codex_nb.magics.options import SUBCOMMANDS, flags, options_and_help, parser
from codex_nb.magics.subcommands import reference_text


def parsers_below(
    parser: argparse.ArgumentParser, name: str
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command, below in action.choices.items():
                yield from parsers_below(below, f"{name} {command}")


PARSERS = dict([*parsers_below(parser(), "%%codex"), *parsers_below(cli._parser(), "codex-nb")])


def actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the parser's arguments, and the lines that its subcommands have in its help."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            yield from action._choices_actions


@pytest.mark.parametrize("name", PARSERS)
def test_the_help_of_a_parser_is_formatted(name: str) -> None:
    assert PARSERS[name].format_help().startswith("usage: ")


@pytest.mark.parametrize("name", PARSERS)
def test_every_help_text_passes_the_check_of_python_3_14(name: str) -> None:
    parser = PARSERS[name]
    formatter: Any = parser._get_formatter()
    told = [formatter._expand_help(action) for action in actions(parser) if action.help]
    assert all(told)


def test_both_command_lines_and_all_their_commands_are_looked_at() -> None:
    commands = {"demo", "status", "login", "logout", "doctor", "hub", "simulate"}
    assert set(PARSERS) == {"%%codex", "codex-nb", *(f"codex-nb {command}" for command in commands)}


def test_the_reference_tells_every_option_and_subcommand() -> None:
    shown = reference_text()
    told = [*flags(), *(text for _, text in options_and_help())]
    told += [text for each in SUBCOMMANDS.values() for text in (each.usage, each.help)]
    assert [text for text in told if text not in shown] == []


def test_the_reference_shows_the_texts_as_they_were_written() -> None:
    shown = reference_text()
    assert "%codex models" in shown
    assert "%%codex models" not in shown


@pytest.mark.parametrize("command", [[], ["demo"], ["login"], ["simulate"]])
def test_the_command_line_prints_its_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: {' '.join(['codex-nb', *command])}")
