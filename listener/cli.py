"""Arguments to verbs: parse, read the configuration, import the chosen verb, map errors to exits.

How Earmark speaks: what was asked for goes to standard output, everything else to standard error;
messages begin with ``earmark:``, in lower case and without a full stop; a hint says what to do.
Exit codes: 0 done, 1 the answer is no, 2 usage, 69 unavailable, 78 configuration.
"""

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol, cast

import msgspec

import listener
from listener import config
from listener.errors import ConfigError, EarmarkError

VERBS: Final = {
    "demo": ("listener.demo.command", "see the whole promise kept on this machine, in a minute"),
    "run": ("listener.run", "hear and send together, from one configuration file"),
    "hear": ("listener.hear.command", "listen for the word; seal what follows into the spool"),
    "send": ("listener.send.command", "carry sealed clips from the spool to the broker"),
    "archive": ("listener.archive.command", "keep sealed clips; list them; open your own"),
    "owner": ("listener.household.owners", "say whose clips a device makes, and prove her key"),
    "household": ("listener.household.devices", "say which devices the archive believes"),
    "models": ("listener.models", "list, check and add wake-word models"),
    "score": ("listener.evaluate.score", "print each score a model gives to recordings"),
}

SYSTEM_CONFIG: Final = Path("/etc/earmark/earmark.toml")


class Verb(Protocol):
    """What each verb's module offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the verb's own arguments, with help that teaches."""

    def run(self, arguments: argparse.Namespace, settings: config.Config) -> int:
        """Do it; return the exit code.

        Raises:
            EarmarkError: for anything foreseeable.
        """


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        verb, arguments = _parse(words)
        logging.basicConfig(
            level=logging.INFO if arguments.verbose else logging.WARNING,
            format="earmark: %(message)s",
            stream=sys.stderr,
        )
        return verb.run(arguments, _settings(arguments))
    except EarmarkError as error:
        sys.stdout.flush()
        print(f"earmark: error: {error}", file=sys.stderr)
        if error.hint:
            print(f"earmark: hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output left (head, less): nothing is wrong, and nobody is there to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parse(words: list[str]) -> tuple[Verb, argparse.Namespace]:
    """Parse ``words``; import only the verb they name."""
    width = max(map(len, VERBS))
    parser = argparse.ArgumentParser(
        prog="earmark",
        description="Listen for one word, forget every other sound, seal what follows.",
        epilog="verbs:\n"
        + "\n".join(f"  {name:<{width}}  {about}" for name, (_, about) in VERBS.items())
        + "\n\nearmark VERB --help tells more about each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"earmark {listener.__version__}")
    parser.add_argument("verb", choices=VERBS, metavar="VERB", help="what to do, see below")
    chosen = parser.parse_args(words[:1])
    module, about = VERBS[chosen.verb]
    try:
        verb = cast("Verb", importlib.import_module(module))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "listener":
            raise
        raise ConfigError(
            f"{chosen.verb} needs the package {error.name}, which is not installed",
            "pip install 'earmark[device,household,demo]' brings what each verb needs",
        ) from error
    own = argparse.ArgumentParser(
        prog=f"earmark {chosen.verb}",
        description=about[0].upper() + about[1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    own.add_argument(
        "--config", metavar="FILE", help=f"settings in TOML (default: {SYSTEM_CONFIG})"
    )
    own.add_argument("--home", metavar="DIR", help="folder of keys, roster, spool and archive")
    own.add_argument("-v", "--verbose", action="store_true", help="say more on standard error")
    verb.add_arguments(own)
    return verb, own.parse_args(words[1:])


def _settings(arguments: argparse.Namespace) -> config.Config:
    """Read the configuration file, if there is one, and settle where home is."""
    path = Path(arguments.config) if arguments.config else SYSTEM_CONFIG
    settings = config.Config()
    if arguments.config or path.exists():
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ConfigError(f"cannot read the settings {path}: {reason}") from error
        settings = config.parse(text, str(path))
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    home = arguments.home or settings.home or os.environ.get("EARMARK_HOME")
    return msgspec.structs.replace(settings, home=str(home or Path(data) / "earmark"))
