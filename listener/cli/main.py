"""Command table of ``earmark``: parses arguments, reads the configuration, maps errors to codes.

Only the module of the chosen command is imported. Results go to standard output, everything else
to standard error; messages begin with ``earmark: error:`` or ``earmark: hint:``, in lower case and
without a full stop. Exit codes: 0 done, 1 failed or a negative result, 2 usage, 69 unavailable, 78
configuration, 128 + n ended by signal n.

The options and the help layout that all commands share are here too.
"""

import argparse
import contextlib
import difflib
import errno
import importlib
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn, Protocol, cast

import msgspec

import listener
from listener import config
from listener.config import parse_settings
from listener.errors import ConfigError, EarmarkError, Unavailable, UsageError
from listener.storage.atomic import read_plain_file
from listener.system.dumps import disable_core_dumps
from listener.system.log_limit import LogLimit
from listener.system.malloc import restart_with_small_blocks_freed
from listener.system.standard_streams import (
    OUTPUT_NAME,
    discard_output,
    is_output_error,
    prepare_streams,
)
from listener.text_encoding import decode_text

SYSTEM_CONFIG: Final = "/etc/earmark/earmark.toml"
HUB_CONFIG: Final = "/etc/earmark/archive.toml"
"""Configuration of the archive on a household's hub; used by the commands for the hub."""
ONLY: Final = "only"
"""Value of a command's default ``hub``: it uses `HUB_CONFIG` where there is no other file."""
ASSIST_CONFIG: Final = "/etc/earmark/assist.toml"


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command takes."""
    parser.add_argument(
        "--config", metavar="FILE", help=f"configuration file in TOML (default: {SYSTEM_CONFIG})"
    )
    parser.add_argument(
        "--home",
        metavar="DIR",
        help="data directory: keys, roster, spool and archive (default: the configuration's home,"
        " else $EARMARK_HOME, else ~/.local/share/earmark)",
    )
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="print informational messages to standard error",
    )


def with_examples(text: str, *examples: str) -> str:
    """Return an epilog that ends with the section ``examples:``.

    Args:
        text: what comes before it; may be empty.
        examples: command lines as they are typed, each beginning with ``earmark``.
    """
    section = "\n".join(["examples:", *(f"  {line}" for line in examples)])
    return f"{text.rstrip()}\n\n{section}\n" if text else f"{section}\n"


class Subcommands:
    """The actions of a command that has several: ``earmark COMMAND ACTION``.

    The common options may stand on either side of the action.
    """

    def __init__(
        self, parser: argparse.ArgumentParser, *, epilog: str, default: str | None = None
    ) -> None:
        """Prepare the parser of a command for actions.

        Args:
            parser: the command's.
            epilog: end of the command's help, see `with_examples`.
            default: the action when none is named; without it, naming one is required.
        """
        parser.epilog = epilog
        parser.set_defaults(action=default)
        self._all = parser.add_subparsers(
            dest="action", metavar="ACTION", title="actions", required=default is None
        )

    def add(
        self, name: str, about: str, *examples: str, description: str = ""
    ) -> argparse.ArgumentParser:
        """Add one action, which ``arguments.action`` will name, and return its parser.

        Args:
            name: as it is typed.
            about: one line, in lower case and without a full stop.
            examples: command lines that use the action; at least one.
            description: for the action's own help; made of ``about`` by default.
        """
        parser = self._all.add_parser(
            name,
            help=about,
            description=description or about[0].upper() + about[1:] + ".",
            epilog=with_examples("", *examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        for option in ("--config", "--home"):
            parser.add_argument(option, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        parser.add_argument(
            *("-v", "--verbose"),
            action="store_true",
            default=argparse.SUPPRESS,
            help=argparse.SUPPRESS,
        )
        return parser


COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "demo": ("listener.cli.demo", "run a demonstration; needs no hardware"),
    "run": ("listener.cli.run", "run hear, send and play together, without systemd"),
    "hear": ("listener.cli.hear", "listen for the wake word; encrypt each clip into the spool"),
    "send": ("listener.cli.send", "publish encrypted clips from the spool to the broker"),
    "play": ("listener.cli.play", "play assist's replies and built-in sounds"),
    "mute": ("listener.cli.mute", "mute or unmute by software, or print the mute state"),
    "monitor": ("listener.cli.monitor", "show hear live: level, scores, states and counters"),
    "doctor": ("listener.cli.doctor", "check microphone, mute, keys, broker and machine"),
    "config": ("listener.cli.configuration", "show each value of the configuration and its origin"),
    "selftest": ("listener.cli.selftest", "check that hear leaves no audio in memory or files"),
    "first-boot": ("listener.cli.first_boot", "apply the file on the boot partition"),
    "update": ("listener.cli.update", "install a signed release; roll back if hear fails"),
    "wyoming": ("listener.cli.wyoming", "detect wake words for a client of the Wyoming protocol"),
    "clips": ("listener.cli.clips", "list, play, export and erase your clips; read the log"),
    "owner": ("listener.cli.owner", "add owners to a roster and confirm their keys"),
    "household": ("listener.cli.household", "set up broker, speakers, owners and access rights"),
    "archive": ("listener.cli.archive", "store encrypted clips; list them; decrypt your own"),
    "assist": ("listener.cli.assist", "carry out spoken commands, opened in memory alone"),
    "survey": ("listener.cli.survey", "record wake-word scores for days, without audio"),
    "evaluate": ("listener.cli.evaluate", "measure false wakes and misses, with intervals"),
    "score": ("listener.cli.score", "print the scores of a model over recordings"),
    "models": ("listener.cli.models", "list, check and add wake-word models"),
    "train": ("listener.cli.train", "train a wake word from a typed phrase"),
    "voices": ("listener.cli.synthetic_voices", "list, add and check voices for training"),
}
"""Module of each command, and its purpose in one line."""

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "start here": ("demo",),
    "speaker": (
        *("run", "hear", "send", "play", "mute", "monitor"),
        *("doctor", "config", "selftest", "first-boot", "update", "wyoming"),
    ),
    "owner of clips": ("clips", "owner"),
    "household": ("household", "archive", "assist"),
    "research": ("survey", "evaluate", "score", "models", "train", "voices"),
}
"""Commands by reader, as ``earmark --help`` lists them."""


_EXTRAS: Final[Mapping[str, str]] = {
    "assist": "assist",
    "evaluate": "evaluate",
    "train": "train",
    "voices": "train",
    "wyoming": "wyoming",
}
"""Extra with the packages of a command."""
_COMMON_EXTRAS: Final = "device,household,demo"
"""Extras with the packages of every other command."""

_SYNONYMS: Final[Mapping[str, tuple[str, ...]]] = {
    "listen": ("hear",),
    "record": ("hear",),
    "start": ("run", "hear"),
    "status": ("doctor",),
    "check": ("doctor",),
    "watch": ("monitor",),
    "open": ("clips",),
    "export": ("clips",),
    "erase": ("clips",),
    "join": ("household",),
    "unmute": ("mute",),
    "test": ("selftest",),
    "upload": ("send",),
    "benchmark": ("evaluate",),
}
"""Words that are not commands, with the command that does what they say."""

_ONE_THREAD: Final = frozenset({"hear", "monitor", "play", "survey"})
"""Commands that start no thread before their sandbox."""

_HOLDS_TEXT: Final = "assist"
"""Command whose memory holds what was said, as text: short strings."""


class Command(Protocol):
    """Interface of each command's module."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments, their help, and an epilog with examples."""

    def run(self, arguments: argparse.Namespace, settings: config.Config) -> int:
        """Run the command and return the exit code.

        Raises:
            EarmarkError: for anything foreseeable.
        """


class _Parser(argparse.ArgumentParser):
    """Raises `UsageError` instead of exiting."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"see {self.prog} --help")


def main(
    argv: Sequence[str] | None = None, commands: Mapping[str, tuple[str, str]] = COMMANDS
) -> int:
    """Run one command and return the exit code.

    Args:
        argv: arguments after the program's name; ``sys.argv[1:]`` by default.
        commands: module and purpose by name.
    """
    if argv is None:
        # Of every command: send has the broker's password, archive and run see everything of a
        # household. Not in a caller's process, which this would close to its own debugger.
        disable_core_dumps()
        prepare_streams()
        if sys.argv[1:2] == [_HOLDS_TEXT]:
            restart_with_small_blocks_freed()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(words, commands)
        # Not at interpreter exit, where a closed pipe would print a traceback.
        sys.stdout.flush()
    except EarmarkError as error:
        return _print_error(error)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "listener":
            raise
        return _print_error(
            ConfigError(
                f"{words[0]} needs the package {error.name}, which is not installed",
                f"pip install 'earmark[{_EXTRAS.get(words[0], _COMMON_EXTRAS)}]'",
            )
        )
    except KeyboardInterrupt as interrupt:
        _flush_output()
        return 128 + getattr(interrupt, "number", signal.SIGINT)
    except BrokenPipeError:
        # The reader of our output exited (head, less): nothing to report.
        discard_output()
        return 128 + signal.SIGPIPE
    except OSError as error:
        return _print_error(_translate(error))
    return code


def _translate(error: OSError) -> Unavailable:
    """Return the foreseeable error of the system in our words, or raise another one as it is."""
    if error.filename == OUTPUT_NAME and error.errno == errno.EBADF:
        unavailable = Unavailable(f"{OUTPUT_NAME} is closed", "redirect it to a file")
    elif error.filename is not None:
        unavailable = Unavailable(f"cannot use {error.filename}: {error.strerror}")
    elif is_output_error(error):
        unavailable = Unavailable(f"cannot write the output: {error.strerror}")
    elif isinstance(error, FileNotFoundError) and not _has_working_directory():
        unavailable = Unavailable(
            "the working directory was removed", "change to a directory that exists"
        )
    else:
        raise error
    unavailable.__cause__ = error
    return unavailable


def _has_working_directory() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _flush_output() -> None:
    """Write what is buffered; discard it if that fails, so that Python's own flush does not."""
    try:
        sys.stdout.flush()
    except OSError:
        discard_output()


def _print_error(error: EarmarkError) -> int:
    _flush_output()
    with contextlib.suppress(OSError):  # a full or closed standard error: the exit code remains
        print(f"earmark: error: {error}", file=sys.stderr)
        if error.hint:
            print(f"earmark: hint: {error.hint}", file=sys.stderr)
    return error.exit_code


def _run(words: Sequence[str], commands: Mapping[str, tuple[str, str]]) -> int:
    try:
        command, arguments = _parse(words, commands)
    except SystemExit as exited:  # after --help and --version
        return int(exited.code or 0)
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(LogLimit())
    logging.basicConfig(
        level=logging.INFO if arguments.verbose else logging.WARNING,
        format="earmark: %(message)s",
        handlers=[handler],
    )
    return command.run(arguments, _read_config(arguments))


def _parse(
    words: Sequence[str], commands: Mapping[str, tuple[str, str]]
) -> tuple[Command, argparse.Namespace]:
    """Parse ``words``; import only the command they name."""
    parser = _Parser(
        prog="earmark",
        usage="earmark COMMAND [option ...]",
        description="Wake-word listener for Raspberry Pi speakers. Discards all audio before the\n"
        "wake word and encrypts each clip after it to one owner's key, on the device.",
        epilog=_overview(commands),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"earmark {listener.__version__}",
        help="print the version and exit",
    )
    parser.add_argument("command", metavar="COMMAND", help="one of the commands below")
    name: str = parser.parse_args(words[:1]).command
    if name not in commands:
        near = [word for word in _SYNONYMS.get(name, ()) if word in commands]
        near = near or difflib.get_close_matches(name, commands, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"the commands are {', '.join(commands)}"
        raise UsageError(f"there is no command {name!r}", hint)
    if name in _ONE_THREAD:
        # Before numpy is imported: Landlock does not cover threads that run already.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    module, about = commands[name]
    command = cast("Command", importlib.import_module(module))
    command_parser = _Parser(
        prog=f"earmark {name}",
        description=about[0].upper() + about[1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_common(command_parser)
    command.add_arguments(command_parser)
    return command, command_parser.parse_args(words[1:])


def _overview(commands: Mapping[str, tuple[str, str]]) -> str:
    """Return the commands by group with their purposes, and an example."""
    width = max(map(len, commands))
    lines = []
    for title, names in GROUPS.items():
        lines.append(f"{title}:")
        lines += [f"  {name:<{width}}  {commands[name][1]}" for name in names if name in commands]
        lines.append("")
    lines.append("earmark COMMAND --help prints the options of a command.")
    return with_examples("\n".join(lines), "earmark demo", "earmark hear --help")


def find_config(arguments: argparse.Namespace) -> Path:
    """Return the path of the configuration file of a command, which may be missing.

    ``--config`` names it. Without it, the commands for the hub use the hub's, and those for both
    kinds of computer use the hub's where it is the only one.
    """
    if arguments.config:
        return Path(arguments.config)
    kind = getattr(arguments, "hub", False)
    is_hub = Path(HUB_CONFIG).exists() and (
        not arguments.home if kind is True else kind == ONLY and not Path(SYSTEM_CONFIG).exists()
    )
    return Path(HUB_CONFIG if is_hub else SYSTEM_CONFIG)


def find_hub_config(arguments: argparse.Namespace) -> Path | None:
    """Return the path of the archive's configuration file, or None.

    None: the command uses the configuration of a speaker, because it names a data directory or
    because this computer has no file of a hub.
    """
    path = find_config(arguments)
    return path if arguments.config or path == Path(HUB_CONFIG) else None


def _read_config(arguments: argparse.Namespace) -> config.Config:
    """Read the configuration file, if there is one, and resolve the data directory."""
    settings = read_config_file(find_config(arguments), must_exist=bool(arguments.config))
    home = arguments.home or settings.home or os.environ.get("EARMARK_HOME")
    try:
        if not home:
            data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
            home = Path(data) / "earmark"
        home = Path(home).expanduser().absolute()
    except RuntimeError as error:  # a user without a home folder
        raise ConfigError(
            "there is no data directory: the user has no home folder", "pass --home DIR"
        ) from error
    return msgspec.structs.replace(settings, home=str(home))


def read_config_file(path: Path, *, must_exist: bool) -> config.Config:
    """Return the configuration in a file, whose data directory may be empty.

    Args:
        path: of the file.
        must_exist: without it, a missing file has the defaults.

    Raises:
        ConfigError: it cannot be read, or is not valid.
    """
    try:
        text = decode_text(read_plain_file(path, config.LIMIT_BYTES, follow_links=True))
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a zero byte in the name
        if must_exist or not isinstance(error, FileNotFoundError):
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ConfigError(f"cannot read the configuration file {path}: {reason}") from error
        return config.Config()
    return parse_settings(text, str(path))
