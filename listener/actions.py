"""What the command lines of all verbs have in common: their options, and actions within a verb."""

import argparse
from typing import Final

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
