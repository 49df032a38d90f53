"""The command line of ``earmark`` as data, read from its argument parsers.

Reference page, man pages and shell completion are rendered from it.
"""

import argparse
import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from listener.cli.main import COMMANDS, add_common

_HEADING = "examples:\n"


@dataclass(frozen=True, slots=True)
class Option:
    """Option or positional argument."""

    syntax: str
    """Name and value as they are typed: ``--owner NAME``."""
    about: str
    """Help text, in lower case and without a full stop."""


@dataclass(frozen=True, slots=True)
class Command:
    """Command or action with its options, and the actions below it."""

    name: str
    """Full name: ``earmark clips list``."""
    about: str
    """Purpose in one line, in lower case and without a full stop."""
    usage: str
    groups: tuple[tuple[str, tuple[Option, ...]], ...]
    """Title and options; the first group has no title."""
    notes: str
    """Text of the epilog before its examples; may be empty."""
    examples: tuple[str, ...]
    """Command lines as they are typed."""
    actions: tuple["Command", ...] = ()


def commands() -> Iterator[Command]:
    """Yield every command of the command table in ``listener/cli/main.py``, in its order."""
    for name, (module, about) in COMMANDS.items():
        parser = argparse.ArgumentParser(prog=f"earmark {name}")
        add_common(parser)
        importlib.import_module(module).add_arguments(parser)
        yield _command(parser, about)


def common_options() -> tuple[Option, ...]:
    """Return the options that every command takes."""
    parser = argparse.ArgumentParser()
    add_common(parser)
    return tuple(_option(parser, action) for action in _own_actions(parser, frozenset()))


def _command(parser: argparse.ArgumentParser, about: str) -> Command:
    common = frozenset(word for option in common_options() for word in _words(option))
    groups = []
    below: list[Command] = []
    for group in parser._action_groups:  # noqa: SLF001 - argparse has no public list of groups
        options = []
        for action in group._group_actions:  # noqa: SLF001 - argparse has no public list of a group's arguments
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - this type has no public name
                below += _below(action)
            elif _is_shown(action, common):
                options.append(_option(parser, action))
        if options:
            title = group.title if group.title not in {"options", "positional arguments"} else None
            groups.append((title or "", tuple(options)))
    notes, _, examples = (parser.epilog or "").partition(_HEADING)
    return Command(
        name=parser.prog,
        about=about or (parser.description or ""),
        usage=_usage(parser, below),
        groups=tuple(groups),
        notes=notes.strip("\n"),
        examples=tuple(line.strip() for line in examples.splitlines()),
        actions=tuple(below),
    )


def _below(action: "argparse._SubParsersAction[argparse.ArgumentParser]") -> Iterator[Command]:
    abouts = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001 - argparse has no public access to their help
    for name, parser in action.choices.items():
        yield _command(parser, abouts.get(name, ""))


def _own_actions(
    parser: argparse.ArgumentParser, common: frozenset[str]
) -> Iterator[argparse.Action]:
    for action in parser._actions:  # noqa: SLF001 - argparse has no public list
        if _is_shown(action, common):
            yield action


def _is_shown(action: argparse.Action, common: frozenset[str]) -> bool:
    if action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction):  # noqa: SLF001 - this type has no public name
        return False
    return not common.intersection(action.option_strings)


def _option(parser: argparse.ArgumentParser, action: argparse.Action) -> Option:
    about = (action.help or "") % {**vars(action), "prog": parser.prog}
    value = _value(action)
    names = ", ".join(action.option_strings)
    return Option(" ".join(part for part in (names, value) if part), " ".join(about.split()))


def _words(option: Option) -> Iterator[str]:
    yield from (word.rstrip(",") for word in option.syntax.split() if word.startswith("-"))


def _value(action: argparse.Action) -> str:
    """Return the value of an argument in usage notation; empty for a flag."""
    if action.nargs == 0:
        return ""
    name = action.metavar or (
        "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    )
    if isinstance(name, tuple):
        return " ".join(name)
    many = {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} [{name} ...]"}
    return many.get(str(action.nargs), name)


def _usage(parser: argparse.ArgumentParser, below: Sequence[Command]) -> str:
    actions = list(_own_actions(parser, frozenset()))
    required = [action for action in actions if action.option_strings and action.required]
    named = [action for action in actions if not action.option_strings]
    words = [parser.prog, "[option ...]"]
    words += [f"{action.option_strings[-1]} {_value(action)}".strip() for action in required]
    words += [
        _value(action)
        for action in named
        if not isinstance(action, argparse._SubParsersAction)  # noqa: SLF001 - this type has no public name
    ]
    return " ".join([*words, "ACTION"] if below else words)
