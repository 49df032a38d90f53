"""``earmark clips``: an owner and her clips, from any machine that has her key."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from listener.actions import Subcommands
from listener.clips import checking, erasing, logbook, taking, terms, viewing
from listener.clips.desk import Session, argument_type, parse_moment
from listener.clips.known import TrustStore
from listener.config import Config
from listener.envelope.format import ClipId, ShortName
from listener.rights.requests import Day

_EPILOG: Final = """\
Your key stays on this machine: the archive asks a question that only it can read, and each clip is
opened here. Times are UTC; --from is included, --until is not.
"""

_ACTIONS: Final[dict[str, Callable[[argparse.Namespace, Session], int]]] = {
    "list": viewing.show_clips,
    "play": viewing.play_clip,
    "export": taking.export,
    "retention": terms.retention,
    "log": logbook.show_log,
    "keys": terms.keys,
    "new-key": terms.new_key,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``clips`` takes."""
    actions = Subcommands(parser, epilog=_EPILOG)
    clip = argument_type(ClipId, "id of a clip")
    listing = _add(actions, "list", "say which clips are kept")
    listing.add_argument("--day", type=argument_type(Day, "day such as 2026-11-22"), metavar="DAY")
    _add_range(listing)
    listing.add_argument(
        "--open", action="store_true", help="fetch and open each: its word, score and length"
    )
    playing = _add(actions, "play", "hear a clip, or write it")
    playing.add_argument("clip", type=clip, metavar="CLIP", help="its id")
    playing.add_argument(
        "--to", metavar="FILE", help="write FLAC there, - for the standard output (default: aplay)"
    )
    exporting = _add(actions, "export", "take them all home in one ZIP, sealed, and check it")
    exporting.add_argument("--to", metavar="FILE", help="the ZIP (default: NAME-clips.zip)")
    exporting.add_argument(
        "--open", metavar="DIR", help="open each too: FLAC files and index.html there, in the clear"
    )
    _add_range(exporting)
    erase = _add(actions, "erase", "erase some, those of a time, or all, for good")
    erase.add_argument("clips", nargs="*", type=clip, metavar="CLIP", help="ids")
    erase.add_argument("--all", action="store_true", help="every clip there is")
    erase.add_argument("--yes", action="store_true", help="do not ask")
    _add_range(erase)
    keeping = _add(actions, "retention", "say how long clips are kept, or keep them shorter")
    keeping.add_argument("days", nargs="?", type=int, metavar="DAYS", help="1 to 3650")
    log = _add(actions, "log", "say who asked for what, and check that nobody rewrote it")
    log.add_argument(
        "--verify",
        nargs="?",
        const="",
        metavar="FILE",
        help="only check it: the archive's, or one saved with --json or from an export, offline",
    )
    log.add_argument(
        "--receipt",
        action="append",
        default=[],
        metavar="FILE",
        help="it must pass through where the log ended by this receipt; may be repeated",
    )
    check = _add(actions, "verify", "check an export or a receipt, without the archive")
    check.add_argument("file", metavar="FILE", help="a ZIP of export, or a receipt")
    check.add_argument(
        "--archive-key", metavar="KEY", help="ed25519:… (default: of the archive that was met)"
    )
    _add(actions, "keys", "say which of your keys count")
    newer = _add(
        actions, "new-key", "put another key in place of yours, proven by both; speakers follow"
    )
    newer.add_argument("new_identity", metavar="FILE", help="the new key, as age-keygen made it")


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Do the action.

    Raises:
        EarmarkError: it cannot be done, or the answer is no.
    """
    home = Path(settings.home)
    if arguments.action == "verify":
        return checking.verify_file(arguments, TrustStore(home))
    if arguments.action == "log":
        arguments.verify_wanted = arguments.verify is not None
        if arguments.verify:
            return logbook.verify_log_file(arguments, TrustStore(home))
    desk = Session.create(arguments, settings)
    if arguments.action == "erase":
        return erasing.erase(arguments, desk, input if sys.stdin.isatty() else None)
    return _ACTIONS[arguments.action](arguments, desk)


def _add(actions: Subcommands, name: str, about: str) -> argparse.ArgumentParser:
    action = actions.add(name, about)
    action.add_argument(
        "--owner", type=argument_type(ShortName, "owner's name"), metavar="NAME", help="who you are"
    )
    action.add_argument("--identity", metavar="FILE", help="your secret key, as age-keygen made it")
    action.add_argument(
        "--archive",
        metavar="ADDRESS",
        help="https://HOST:PORT, or the path of its socket (default: the one of this machine)",
    )
    action.add_argument(
        "--ca", metavar="FILE", help="the household's authority (default: as joining brought it)"
    )
    action.add_argument("--json", action="store_true", help="one JSON object a line")
    return action


def _add_range(action: argparse.ArgumentParser) -> None:
    action.add_argument(
        "--from", dest="from_t", type=parse_moment, metavar="TIME", help="from then on"
    )
    action.add_argument(
        "--until", dest="until_t", type=parse_moment, metavar="TIME", help="before then"
    )
    action.add_argument("--device", type=argument_type(ShortName, "device's name"), metavar="NAME")
