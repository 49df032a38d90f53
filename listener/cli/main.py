"""Arguments to verbs: parse, read the configuration, import the chosen verb, map errors to exits.

How Earmark speaks: what was asked for goes to standard output, everything else to standard error;
messages begin with ``earmark:``, in lower case and without a full stop; a hint says what to do.
Exit codes: 0 done, 1 the answer is no, 2 usage, 69 unavailable, 78 configuration; 128 and a signal
where the reader stopped us.

What the command lines of all verbs have in common: their options, and actions within a verb.
"""

import argparse
import difflib
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

SYSTEM_CONFIG: Final = "/etc/earmark/earmark.toml"


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options that every verb takes."""
    parser.add_argument(
        "--config", metavar="FILE", help=f"settings in TOML (default: {SYSTEM_CONFIG})"
    )
    parser.add_argument("--home", metavar="DIR", help="folder of keys, roster, spool and archive")
    parser.add_argument("-v", "--verbose", action="store_true", help="say more on standard error")


class Subcommands:
    """The actions of a verb that has several: ``earmark VERB ACTION``.

    The common options may stand on either side of the action.
    """

    def __init__(
        self, parser: argparse.ArgumentParser, *, epilog: str = "", default: str | None = None
    ) -> None:
        """Begin.

        Args:
            parser: the verb's.
            epilog: ends the help of the verb and of each action.
            default: the action where none is named; without one, an action must be.
        """
        parser.epilog = epilog
        parser.set_defaults(action=default)
        self._epilog = epilog
        self._all = parser.add_subparsers(
            dest="action", metavar="ACTION", title="actions", required=default is None
        )

    def add(self, name: str, about: str, description: str = "") -> argparse.ArgumentParser:
        """Return the parser of one action, which ``arguments.action`` will name.

        Args:
            name: as it is typed.
            about: one line, in lower case and without a full stop.
            description: for the action's own help; made of ``about`` by default.
        """
        parser = self._all.add_parser(
            name,
            help=about,
            description=description or about[0].upper() + about[1:] + ".",
            epilog=self._epilog,
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


VERBS: Final[Mapping[str, tuple[str, str]]] = {
    "demo": ("listener.cli.demo", "see the whole promise kept on this machine, in a minute"),
    "run": ("listener.cli.run", "hear and send together, from one configuration file"),
    "hear": ("listener.cli.hear", "listen for the word; seal what follows into the spool"),
    "mute": ("listener.cli.mute", "mute by software, or see what mutes"),
    "send": ("listener.cli.send", "carry sealed clips from the spool to the broker"),
    "monitor": ("listener.cli.monitor", "watch hear live: levels, scores, states and counts"),
    "archive": ("listener.cli.archive", "keep sealed clips; list them; open your own"),
    "clips": ("listener.cli.clips", "your clips: list, play, export, erase; who asked"),
    "owner": ("listener.cli.owner", "say whose clips a device makes, and prove her key"),
    "household": ("listener.cli.household", "set up a home: broker, speakers, owners, rights"),
    "first-boot": ("listener.cli.first_boot", "take in what lies on the boot partition, once"),
    "update": ("listener.cli.update", "install a signed release; go back where it fails"),
    "models": ("listener.cli.models", "list, check and add wake-word models"),
    "doctor": (
        "listener.cli.doctor",
        "look at microphone, mute, keys and broker; say what is wrong",
    ),
    "selftest": ("listener.cli.selftest", "prove that sound is forgotten, on this machine"),
    "survey": ("listener.cli.survey", "listen for days, keep no sound, and trace the scores"),
    "evaluate": ("listener.cli.evaluate", "measure false wakes and misses, with intervals"),
    "score": ("listener.cli.score", "print each score a model gives to recordings"),
}


class Verb(Protocol):
    """What each verb's module offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the verb's own arguments, with help that teaches."""

    def run(self, arguments: argparse.Namespace, settings: config.Config) -> int:
        """Do it; return the exit code.

        Raises:
            EarmarkError: for anything foreseeable.
        """


class _Parser(argparse.ArgumentParser):
    """Says what is wrong as everything else here does."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"{self.prog} --help says what there is")


def main(argv: Sequence[str] | None = None, verbs: Mapping[str, tuple[str, str]] = VERBS) -> int:
    """Run one verb and return the exit code.

    Args:
        argv: the words after the program's name; the process's own by default.
        verbs: name to module and what it is for.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(words, verbs)
        # Here and not at the interpreter's end, where a reader that left would be a traceback.
        sys.stdout.flush()
    except EarmarkError as error:
        return _print_error(error)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "listener":
            raise
        return _print_error(
            ConfigError(
                f"{words[0]} needs the package {error.name}, which is not installed",
                "pip install 'earmark[device,household,demo]' brings what each verb needs",
            )
        )
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader of our output left (head, less): nothing is wrong, and nobody is there to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.filename is None:
            raise
        complaint = Unavailable(f"cannot use {error.filename}: {error.strerror}")
        complaint.__cause__ = error
        return _print_error(complaint)
    return code


def _print_error(error: EarmarkError) -> int:
    sys.stdout.flush()
    print(f"earmark: error: {error}", file=sys.stderr)
    if error.hint:
        print(f"earmark: hint: {error.hint}", file=sys.stderr)
    return error.exit_code


def _run(words: Sequence[str], verbs: Mapping[str, tuple[str, str]]) -> int:
    try:
        verb, arguments = _parse(words, verbs)
    except SystemExit as done:  # after --help and --version
        return int(done.code or 0)
    logging.basicConfig(
        level=logging.INFO if arguments.verbose else logging.WARNING,
        format="earmark: %(message)s",
        stream=sys.stderr,
    )
    return verb.run(arguments, _settings(arguments))


def _parse(
    words: Sequence[str], verbs: Mapping[str, tuple[str, str]]
) -> tuple[Verb, argparse.Namespace]:
    """Parse ``words``; import only the verb they name."""
    width = max(map(len, verbs))
    parser = _Parser(
        prog="earmark",
        usage="earmark VERB [option ...]",
        description="Listen for one word, forget every other sound, seal what follows.",
        epilog="verbs:\n"
        + "\n".join(f"  {name:<{width}}  {about}" for name, (_, about) in verbs.items())
        + "\n\nearmark VERB --help tells more about each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"earmark {listener.__version__}")
    parser.add_argument("verb", metavar="VERB", help="what to do, see below")
    name: str = parser.parse_args(words[:1]).verb
    if name not in verbs:
        near = difflib.get_close_matches(name, verbs, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"the verbs are {', '.join(verbs)}"
        raise UsageError(f"there is no verb {name!r}", hint)
    module, about = verbs[name]
    verb = cast("Verb", importlib.import_module(module))
    own = _Parser(
        prog=f"earmark {name}",
        description=about[0].upper() + about[1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_common(own)
    verb.add_arguments(own)
    return verb, own.parse_args(words[1:])


def _settings(arguments: argparse.Namespace) -> config.Config:
    """Read the configuration file, if there is one, and settle where home is."""
    named: str | None = arguments.config
    path = Path(named or SYSTEM_CONFIG)
    settings = config.Config()
    try:
        settings = parse_settings(path.read_text("utf-8"), str(path))
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a zero byte in the name
        if named or not isinstance(error, FileNotFoundError):
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ConfigError(f"cannot read the configuration file {path}: {reason}") from error
    home = arguments.home or settings.home or os.environ.get("EARMARK_HOME")
    try:
        if not home:
            data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
            home = Path(data) / "earmark"
        home = Path(home).expanduser().absolute()
    except RuntimeError as error:  # a user without a home folder
        raise ConfigError(
            "there is no folder to keep anything in", "name one: --home DIR"
        ) from error
    return msgspec.structs.replace(settings, home=str(home))
