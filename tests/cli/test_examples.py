"""Each command and action has an ``examples:`` section, and its lines parse."""

import argparse
import importlib
import re
import shlex
from collections.abc import Iterator

import pytest

from listener.cli import main
from listener.cli.main import add_common

HEADING = "examples:\n"
SHELL = {"|", ">", ";", "&&"}


class Parser(argparse.ArgumentParser):
    """A parser that raises instead of exiting."""

    def error(self, message: str) -> None:  # type: ignore[override]  # the original never returns
        raise ValueError(message)


def build(command: str) -> Parser:
    """Build the parser of a command as ``main`` does."""
    parser = Parser(prog=f"earmark {command}", allow_abbrev=False)
    add_common(parser)
    importlib.import_module(main.COMMANDS[command][0]).add_arguments(parser)
    return parser


def below(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser and the parsers of its actions."""
    yield parser
    for action in parser._actions:  # noqa: SLF001 - argparse has no public list
        if isinstance(action.choices, dict):
            for choice in action.choices.values():
                yield from below(choice)


PARSERS = {parser.prog: parser for command in main.COMMANDS for parser in below(build(command))}


def examples(parser: argparse.ArgumentParser) -> list[str]:
    """Return the command lines of a parser's section ``examples:``."""
    return (parser.epilog or "").partition(HEADING)[2].splitlines()


def arguments(line: str) -> list[str]:
    """Return the words of ``earmark`` in a shell command line."""
    words = shlex.split(line, comments=True)
    words = words[1:] if words[0] == "sudo" else words
    assert words[0] == "earmark", line
    end = next((number for number, word in enumerate(words) if word in SHELL), len(words))
    return words[1:end]


@pytest.mark.parametrize("prog", PARSERS)
def test_help_ends_with_examples(prog: str) -> None:
    lines = examples(PARSERS[prog])

    assert lines
    assert all(re.match(r"  (sudo )?earmark \S", line) for line in lines)
    if prog.count(" ") == 2:  # an action
        assert any(f"{prog} " in f"{line} " for line in lines)


@pytest.mark.parametrize("prog", PARSERS)
def test_examples_parse(prog: str) -> None:
    for line in examples(PARSERS[prog]):
        command, *words = arguments(line)

        build(command).parse_args(words)


@pytest.mark.parametrize("prog", PARSERS)
def test_epilog_fits_a_terminal(prog: str) -> None:
    lines = [line for line in (PARSERS[prog].epilog or "").splitlines() if "earmark" not in line]

    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("prog", PARSERS)
def test_every_argument_has_help(prog: str) -> None:
    for action in PARSERS[prog]._actions:  # noqa: SLF001 - argparse has no public list
        if not isinstance(action.choices, dict):
            assert action.help, action.dest


def test_examples_with_an_unknown_option_do_not_parse() -> None:
    with pytest.raises(ValueError, match="--frobnicate"):
        build("hear").parse_args(arguments("sudo earmark hear --frobnicate | age -d"))
