"""A file went astray: which clips, whose, could anyone have opened them, and what to tell her.

It reads the files and the roster, writes a row into each owner's log, and prints a notice. No key
is needed, and none would help: that is the answer to the third question.
"""

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from listener.cli.main import Subcommands
from listener.config import Config
from listener.envelope.format import ENVELOPE_LIMIT_BYTES, PublicHeader
from listener.envelope.verify import verify
from listener.errors import BadEnvelope, Unavailable
from listener.owner.roster import Roster
from listener.storage.access_log import ACCESS_LOG, AccessLog, LogEntry
from listener.storage.home import Home

_NOTICE: Final = """\
notice to {owner}:
  Files with {count} of your clips ({first} to {last}, from {devices}) left this household's hands.
  Each was sealed on the speaker to one key, yours, whose fingerprint is {okeys}.
  Nobody can open them without it: the archive and the person who made the mistake have no such key.
  What can be read from outside: your short name, the speaker's name, when each clip was made and
  how long it is in bytes.
  If your key may be in other hands too, those clips can be heard: put a new key in its place,
  earmark owner new-key {owner}.
"""


@dataclass(frozen=True, slots=True)
class StrayFile:
    """What one file turned out to be."""

    path: Path
    header: PublicHeader | None
    """None where it is no clip of this household."""
    why: str = ""


def add_arguments(actions: Subcommands) -> None:
    """Add the action to the verb ``household``."""
    action = actions.add("incident", "files went astray: say whose clips, and what to tell them")
    action.add_argument(
        "files", nargs="+", metavar="FILE|DIR", help="what went astray, or a copy of it"
    )
    action.add_argument("--json", action="store_true", help="one JSON object a file")


def run(arguments: argparse.Namespace, settings: Config, home: Home) -> int:
    """Say what went astray, note it in each owner's log, and print what to tell her.

    Returns:
        0; 1 when a file is no clip of this household, so that nothing can be said about it.

    Raises:
        Unavailable: a file cannot be read, or the log not be written.
    """
    del settings
    strays = list(_classify_files(arguments.files, home.roster()))
    owners: dict[str, list[PublicHeader]] = {}
    for stray in strays:
        if stray.header is not None:
            owners.setdefault(stray.header.owner, []).append(stray.header)
    if owners:
        with closing(AccessLog(home.path / ACCESS_LOG, time.time)) as log:
            for owner, headers in owners.items():
                log.append(LogEntry(owner=owner, op="incident", outcome="done", count=len(headers)))
    for stray in strays:
        print(_as_json(stray) if arguments.json else _as_text(stray))
    if not arguments.json:
        for owner, headers in owners.items():
            moments = sorted(header.t for header in headers)
            print()
            print(
                _NOTICE.format(
                    owner=owner,
                    count=len(headers),
                    first=moments[0],
                    last=moments[-1],
                    devices=", ".join(sorted({header.device for header in headers})),
                    okeys=", ".join(sorted({header.okey for header in headers})),
                ),
                end="",
            )
        if owners:
            print(f"\nnoted in the access log of {', '.join(owners)}")
    return 0 if all(stray.header is not None for stray in strays) else 1


def _classify_files(names: list[str], roster: Roster) -> Iterator[StrayFile]:
    devices, owners = roster.device_keys(), roster.owner_keys()
    for path in _files(names):
        try:
            with path.open("rb") as file:
                data = file.read(ENVELOPE_LIMIT_BYTES + 1)
            yield StrayFile(path, verify(data, devices, owners).header)
        except BadEnvelope as error:
            yield StrayFile(path, None, str(error))
        except OSError as error:
            raise Unavailable(f"cannot read {path}: {error.strerror}") from error


def _files(names: list[str]) -> Iterator[Path]:
    for name in names:
        path = Path(name)
        if path.is_dir():
            yield from sorted(found for found in path.rglob("*.earmark") if found.is_file())
        else:
            yield path


def _as_json(stray: StrayFile) -> str:
    header = stray.header
    if header is None:
        return json.dumps({"file": str(stray.path), "clip": None, "why": stray.why})
    return json.dumps(
        {
            "file": str(stray.path),
            "clip": header.clip,
            "owner": header.owner,
            "okey": header.okey,
            "device": header.device,
            "t": header.t,
            "opens_for": header.owner,
        }
    )


def _as_text(stray: StrayFile) -> str:
    header = stray.header
    if header is None:
        return f"{stray.path}: no clip of this household: {stray.why}"
    return (
        f"{stray.path}: clip {header.clip} of {header.owner}, {header.device}, {header.t};"
        f" opens for {header.owner}'s key alone"
    )
