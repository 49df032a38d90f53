"""Man pages and shell completion, rendered from the argument parsers.

The files are part of the repository, in ``firmware/manual/``: the Debian package is also built on a
speaker, by the system's Python, where no parser can be imported. Date and version in the man pages
are placeholders that the package's build replaces.
"""

import argparse
import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import shtab

from firmware.command_line import Command, Option, commands, common_options
from listener.cli.main import COMMANDS, GROUPS, SYSTEM_CONFIG, add_common

FOLDER: Final = Path(__file__).parent / "manual"
COMPLETIONS: Final = {"bash": "earmark.bash", "zsh": "_earmark", "fish": "earmark.fish"}
"""File name by shell."""
_EXIT_STATUS: Final = (
    ("0", "done"),
    ("1", "the command ran, and a check failed or the result is negative"),
    ("2", "usage: the command line is wrong"),
    ("69", "unavailable: a file, device, broker or archive cannot be used now"),
    ("78", "configuration: the configuration file or a key is wrong"),
    ("128 + n", "ended by signal n"),
)
_FILES: Final = (
    (SYSTEM_CONFIG, "configuration, when --config is not given"),
    ("~/.local/share/earmark", "data directory, when neither --home nor home is set"),
)
_DESCRIPTION: Final = (
    "Wake-word listener for Raspberry Pi speakers. It discards all audio before the wake word, and"
    " encrypts each clip after it to one owner's key, on the device. Results are printed to"
    " standard output, as text or with --json as one JSON object a line; messages are printed to"
    " standard error."
)


def files() -> Mapping[Path, str]:
    """Return the man pages and completions by path."""
    every = list(commands())
    pages = {"earmark.1": overview_page(every)}
    pages |= {f"{_page_name(command)}.1": command_page(command) for command in every}
    return {FOLDER / name: text for name, text in pages.items()} | {
        FOLDER / name: completion(shell) for shell, name in COMPLETIONS.items()
    }


def overview_page(every: Sequence[Command]) -> str:
    """Return ``earmark.1``: the commands by group, common options, exit codes and files."""
    by_name = {command.name.removeprefix("earmark "): command for command in every}
    lines = list(_head("earmark", "wake-word listener that encrypts each clip to its owner"))
    lines += ["earmark COMMAND [option ...]", ".SH DESCRIPTION", to_roff(_DESCRIPTION)]
    lines.append(".SH COMMANDS")
    for title, names in GROUPS.items():
        lines.append(f".SS {to_roff(title)}")
        for name in names:
            lines += [
                ".TP",
                f".BR {to_roff(_page_name(by_name[name]))} (1)",
                to_roff(by_name[name].about),
            ]
    version = Option("--version", "print the version and exit")
    lines += [".SH OPTIONS", *_options((*common_options(), version))]
    lines += [".SH EXIT STATUS", *_definitions(_EXIT_STATUS)]
    lines += [".SH ENVIRONMENT", *_definitions([("EARMARK_HOME", "data directory")])]
    lines += [".SH FILES", *_definitions(_FILES)]
    lines += [".SH EXAMPLES", *_verbatim(["earmark demo", "earmark clips --help"])]
    lines += [".SH SEE ALSO", *_references([_page_name(command) for command in every])]
    return "\n".join(lines) + "\n"


def command_page(command: Command) -> str:
    """Return the man page of one command and its actions."""
    lines = [*_head(_page_name(command), command.about), to_roff(command.usage)]
    lines += [".SH DESCRIPTION", to_roff(_sentence(command.about))]
    if command.notes:
        lines += [".PP", *_verbatim(command.notes.splitlines())]
    untitled = [option for title, options in command.groups if not title for option in options]
    lines += [".SH OPTIONS", *_options((*untitled, *common_options()))]
    for title, options in command.groups:
        if title:
            lines += [f".SS {to_roff(title)}", *_options(options)]
    if command.actions:
        lines.append(".SH ACTIONS")
    for action in command.actions:
        lines += [f".SS {to_roff(action.usage)}", to_roff(_sentence(action.about))]
        for _, options in action.groups:
            lines += _options(options)
        if action.notes:
            lines += [".PP", *_verbatim(action.notes.splitlines())]
        lines += [".PP", "Examples:", ".PP", *_verbatim(action.examples)]
    lines += [".SH EXIT STATUS", *_definitions(_EXIT_STATUS)]
    lines += [".SH EXAMPLES", *_verbatim(command.examples)]
    lines += [".SH SEE ALSO", *_references(["earmark"])]
    return "\n".join(lines) + "\n"


def completion(shell: str) -> str:
    """Return the completion script for ``bash``, ``zsh`` or ``fish``."""
    parser = argparse.ArgumentParser(prog="earmark", description=_DESCRIPTION)
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, (module, about) in COMMANDS.items():
        command_parser = subparsers.add_parser(name, help=about, description=about)
        add_common(command_parser)
        importlib.import_module(module).add_arguments(command_parser)
        _mark_paths(command_parser)
    script = shtab.complete(parser, shell=shell)
    return "\n".join(line.rstrip() for line in script.splitlines()) + "\n"


def _mark_paths(parser: argparse.ArgumentParser) -> None:
    """Set shtab's ``complete`` on each argument whose value is a file or a folder."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no public list
        if isinstance(action.choices, dict):
            for below in action.choices.values():
                _mark_paths(below)
        metavar = action.metavar if isinstance(action.metavar, str) else ""
        kinds = set(re.findall(r"[A-Z]+", metavar))
        if kinds & {"FILE", "PATH"}:
            action.complete = shtab.FILE  # type: ignore[attr-defined] # shtab reads this attribute
        elif "DIR" in kinds:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined] # and this


def _head(name: str, about: str) -> Iterator[str]:
    yield from (
        '.\\" Generated by make reference from the argument parsers. Do not edit.',
        f'.TH {to_roff(name.upper())} 1 "@DATE@" "Earmark @VERSION@" "Earmark"',
        ".SH NAME",
        f"{to_roff(name)} \\- {to_roff(about)}",
        ".SH SYNOPSIS",
    )


def _page_name(command: Command) -> str:
    return command.name.replace(" ", "-")


def _options(options: Sequence[Option]) -> Iterator[str]:
    for option in options:
        yield from (
            ".TP",
            f"\\fB{to_roff(option.syntax, is_inline=True)}\\fR",
            to_roff(option.about),
        )


def _definitions(pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    for term, about in pairs:
        yield from (".TP", f"\\fB{to_roff(term, is_inline=True)}\\fR", to_roff(about))


def _verbatim(lines: Sequence[str]) -> Iterator[str]:
    yield from (".nf", *(to_roff(line) if line.strip() else ".sp" for line in lines), ".fi")


def _references(names: Sequence[str]) -> Iterator[str]:
    for name in names:
        yield f".BR {to_roff(name)} (1){'' if name == names[-1] else ','}"


def to_roff(text: str, *, is_inline: bool = False) -> str:
    """Return text with the characters escaped that roff interprets, in ASCII."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    escaped = escaped.replace("^", "\\(ha").replace("~", "\\(ti").replace("`", "\\(ga")
    escaped = "".join(
        letter if letter.isascii() else f"\\[u{ord(letter):04X}]" for letter in escaped
    )
    return f"\\&{escaped}" if escaped.startswith(".") and not is_inline else escaped


def _sentence(about: str) -> str:
    return about[:1].upper() + about[1:] + ("" if about.endswith(".") else ".")
