"""Arguments of ``earmark owner key``, and the check that its packages are installed."""

import argparse
import importlib.util
from typing import Final

from listener.argument_types import argument_type
from listener.config import Config, ShortName
from listener.errors import Unavailable

_PACKAGES: Final = ("mnemonic", "segno")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``earmark owner key``."""
    parser.add_argument(
        "what",
        choices=("make", "update", "check", "restore"),
        help="make: a new key, with a copy that a passphrase protects and a recovery sheet;"
        " update: write the three again, with the speakers that this computer knows; check: open"
        " the newest clip with a sheet; restore: write the key again from a sheet",
    )
    parser.add_argument(
        "source",
        nargs="?",
        metavar="NAME|FILE",
        help="for make, the owner's short name; for update, the key's file; for check and restore,"
        " the sheet's file, the text of its QR code, or the protected copy (default: the words are"
        " typed)",
    )
    parser.add_argument(
        "--to",
        metavar="PATH",
        help="for make, the folder (default: the current one); for restore, the file (default:"
        " NAME.key)",
    )
    parser.add_argument(
        "--owner",
        type=argument_type(ShortName, "owner's name"),
        metavar="NAME",
        help="your owner name (default: of the file, else as earmark clips remembers)",
    )
    parser.add_argument(
        "--passphrase-file",
        metavar="FILE",
        help="passphrase of the protected copy, the first line of FILE or of standard input for -"
        " (default: six random words, which are printed)",
    )
    parser.add_argument(
        "--archive", metavar="ADDRESS", help="for check: as for earmark clips (default: remembered)"
    )
    parser.add_argument(
        "--ca", metavar="FILE", help="for check: as for earmark clips (default: remembered)"
    )
    parser.add_argument(
        "--clip", metavar="FILE", help="for check: a sealed clip to open, instead of the newest one"
    )


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Run the action.

    Raises:
        Unavailable: a package of the extra ``owner`` is missing.
        EarmarkError: the action failed.
    """
    if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
        raise Unavailable(f"{missing[0]} is not installed", "pip install 'earmark[owner]'")
    from listener.cli import owner_key  # noqa: PLC0415 - imports the packages

    return owner_key.ACTIONS[arguments.what](arguments, settings)
