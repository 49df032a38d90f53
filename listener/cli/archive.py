"""``earmark archive``: keep sealed clips, list them, open your own."""

import argparse
import contextlib
import json
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from listener.archive.challenges import RequestChallenges
from listener.archive.context import ArchiveContext
from listener.archive.operations import Operations
from listener.archive.publisher import ArchivePublisher
from listener.archive.receiver import Receiver
from listener.archive.records import RowMac
from listener.archive.service import ArchiveService, ExpirySweep, ReloadingRoster
from listener.archive.store import FileStore
from listener.cli.main import Subcommands
from listener.config import Config
from listener.errors import EarmarkError
from listener.mqtt.paho_client import PahoBroker
from listener.storage import atomic
from listener.storage.access_log import ACCESS_LOG, AccessLog
from listener.storage.home import Home
from listener.system import systemd

if TYPE_CHECKING:
    from listener.envelope.open import OpenedClip

CLIENT_ID: Final = "s-archive"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``archive`` takes."""
    actions = Subcommands(parser, default="serve")
    actions.add("serve", "take clips from the broker and keep them (the default)")
    listing = actions.add("list", "say which sealed clips are kept")
    listing.add_argument("--owner", metavar="NAME", help="only hers")
    opening_ = actions.add("open", "open your own clips here; your key goes nowhere")
    opening_.add_argument(
        "clips", nargs="+", metavar="CLIP|FILE", help="a clip's id, or a file with an envelope"
    )
    opening_.add_argument(
        "--identity", required=True, metavar="FILE", help="your secret key, as age-keygen made it"
    )
    opening_.add_argument(
        "--to", default=".", metavar="DIR", help="where the FLAC files go (default: here)"
    )
    for one in (listing, opening_):
        one.add_argument("--json", action="store_true", help="one JSON object a line")


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Do the action; serve when none is named.

    Raises:
        EarmarkError: it cannot be done; for ``open`` of several, each is tried first.
    """
    match arguments.action:
        case "list":
            return _list(arguments, settings)
        case "open":
            return _open(arguments, settings)
        case _:
            return _serve(settings)


def _serve(settings: Config) -> int:
    # Here and not above: who lists or opens clips needs no server of HTTP.
    from listener.archive.api import Api  # noqa: PLC0415 - starlette: time that list and open need not take
    from listener.archive.http_server import HttpServer  # noqa: PLC0415 - uvicorn: time that list and open need not take

    home = Home(Path(settings.home))
    with (
        atomic.single_instance(home.path, "archive"),
        systemd.StopSignal().on_signals() as stop,
        contextlib.closing(AccessLog(home.path / ACCESS_LOG, time.time)) as log,
        contextlib.closing(
            FileStore(_folder(settings), row_mac=RowMac.for_key(home.archive_key()))
        ) as store,
    ):
        roster = ReloadingRoster(home)
        receiver = Receiver(store, roster, time.time)
        mend = partial(store.repair, receiver.verify)
        mend()
        holdings = ArchiveContext(home, store, log, roster, home.archive_key())
        api = Api(holdings, RequestChallenges(time.monotonic), Operations(holdings))
        given = systemd.with_credentials(settings.archive, os.environ)
        doors = HttpServer(api.app(), home.path, given)
        doors.start()
        notifier = systemd.Notifier(os.environ, time.monotonic)
        notifier.ready()
        server = ArchiveService(
            PahoBroker(systemd.with_credentials(settings.broker, os.environ), CLIENT_ID),
            receiver,
            ExpirySweep(store, mend),
            publisher=ArchivePublisher(holdings),
            service=notifier,
        )
        try:
            server.run(stop)
        finally:
            notifier.stopping()
            doors.stop()
    return 0


def _list(arguments: argparse.Namespace, settings: Config) -> int:
    folder = _folder(settings)
    if not folder.exists():
        return 0
    store = FileStore(folder)
    try:
        for kept in store.clips(arguments.owner):
            if arguments.json:
                print(json.dumps(msgspec.to_builtins(kept)))
            else:
                print(f"{kept.t}  {kept.clip}  {kept.owner}  {kept.device}  {kept.size_bytes} B")
    finally:
        store.close()
    return 0


def _open(arguments: argparse.Namespace, settings: Config) -> int:
    # Here and not above: a process that serves never loads what opens.
    from listener.cli import archive_open  # noqa: PLC0415 - what decrypts is never in the memory of what serves
    from listener.storage.owner_files import read_identities  # noqa: PLC0415 - what reads secret keys is not, either

    identities = read_identities(Path(arguments.identity))
    roster = Home(Path(settings.home)).roster()
    failures = []
    for clip in arguments.clips:
        try:
            path = archive_open.find_clip_file(_folder(settings), clip)
            written = archive_open.open_clip(path, identities, roster, Path(arguments.to))
        except EarmarkError as error:
            failures.append((clip, error))
        else:
            _show(written.opened, written.path, as_json=arguments.json)
    if len(arguments.clips) == 1 and failures:
        raise failures[0][1]
    for clip, failure in failures:
        print(f"earmark: error: {clip}: {failure}", file=sys.stderr)
    return max((failure.exit_code for _, failure in failures), default=0)


def _show(opened: "OpenedClip", path: Path, *, as_json: bool) -> None:
    header, private = opened.header, opened.private
    if as_json:
        fields = msgspec.to_builtins(header) | msgspec.to_builtins(private)
        print(json.dumps(fields | {"file": str(path)}))
    else:
        print(
            f"{path}: {private.ms / 1000:.1f} s, {header.owner}, {private.word}"
            f" at {private.score:.2f}, {header.device}, {header.t}"
        )


def _folder(settings: Config) -> Path:
    return Path(settings.home) / "archive"
