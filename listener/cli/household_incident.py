"""``earmark household incident``: report of clip files that were lost or disclosed.

It reads the files and the roster, writes a row into each owner's access log, and prints a notice to
each owner. It needs no secret key.
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
from listener.envelope.verify import TrustedKey, verify
from listener.errors import BadEnvelope, Unavailable
from listener.owner.roster import Roster
from listener.storage.access_log import ACCESS_LOG, AccessLog, LogEntry
from listener.storage.home import Home

_NOTICE: Final = """\
notice to {owner}:
  Files with {count} of your clips ({first} to {last}, from {devices}) were lost or disclosed.
  Each clip was encrypted on the speaker to your key alone; its fingerprint is {okeys}.
  The clips cannot be decrypted without your secret key. The archive does not have it.
  Readable without the key: your short name, the speaker's name, and the time and size in bytes of
  each clip.
  If your secret key may have been disclosed too, those clips can be decrypted. Replace the key:
  earmark owner new-key {owner} --key age1...
"""


@dataclass(frozen=True, slots=True)
class FileCheck:
    """Result of the check of one file."""

    path: Path
    header: PublicHeader | None
    """None when the file is not a clip of this household."""
    why: str = ""


def add_arguments(actions: Subcommands) -> None:
    """Add the action ``incident`` to ``earmark household``."""
    action = actions.add(
        "incident",
        "after files were lost or disclosed: list whose clips, and print notices to the owners",
        "earmark household incident lost-backup/ --json",
        "earmark household incident 0b0f6c9e.earmark",
    )
    action.add_argument(
        "files", nargs="+", metavar="FILE|DIR", help="the files concerned, or copies of them"
    )
    action.add_argument("--json", action="store_true", help="print one JSON object for each file")


def run(arguments: argparse.Namespace, settings: Config, home: Home) -> int:
    """Classify the files, write a row into each owner's log, and print the notices.

    Returns:
        0; 1 when a file is not a clip of this household.

    Raises:
        Unavailable: a file cannot be read, or the log cannot be written.
    """
    del settings
    checks = list(_classify_files(arguments.files, home.roster()))
    owners: dict[str, list[PublicHeader]] = {}
    for file_check in checks:
        if file_check.header is not None:
            owners.setdefault(file_check.header.owner, []).append(file_check.header)
    if owners:
        with closing(AccessLog(home.path / ACCESS_LOG, time.time)) as log:
            for owner, headers in owners.items():
                log.append(LogEntry(owner=owner, op="incident", outcome="done", count=len(headers)))
    for file_check in checks:
        print(_as_json(file_check) if arguments.json else _as_text(file_check))
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
            print(f"\nrecorded in the access log of {', '.join(owners)}")
    return 0 if all(file_check.header is not None for file_check in checks) else 1


def _classify_files(names: list[str], roster: Roster) -> Iterator[FileCheck]:
    # Without bounds: a stolen speaker's spool holds clips that the archive never accepted.
    devices = {
        name: [TrustedKey(trusted.key) for trusted in known]
        for name, known in roster.stored_device_keys().items()
    }
    owners = roster.owner_keys()
    for path in _files(names):
        try:
            with path.open("rb") as file:
                data = file.read(ENVELOPE_LIMIT_BYTES + 1)
            yield FileCheck(path, verify(data, devices, owners).header)
        except BadEnvelope as error:
            yield FileCheck(path, None, str(error))
        except OSError as error:
            raise Unavailable(f"cannot read {path}: {error.strerror}") from error


def _files(names: list[str]) -> Iterator[Path]:
    for name in names:
        path = Path(name)
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*.earmark") if file.is_file())
        else:
            yield path


def _as_json(file_check: FileCheck) -> str:
    header = file_check.header
    if header is None:
        return json.dumps({"file": str(file_check.path), "clip": None, "why": file_check.why})
    return json.dumps(
        {
            "file": str(file_check.path),
            "clip": header.clip,
            "owner": header.owner,
            "okey": header.okey,
            "device": header.device,
            "t": header.t,
            "opens_for": header.owner,
        }
    )


def _as_text(file_check: FileCheck) -> str:
    header = file_check.header
    if header is None:
        return f"{file_check.path}: not a clip of this household: {file_check.why}"
    return (
        f"{file_check.path}: clip {header.clip} of {header.owner}, {header.device}, {header.t};"
        f" encrypted to {header.owner}'s key"
    )
