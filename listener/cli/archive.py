"""``earmark archive``: stores encrypted clips, lists them, and decrypts the owner's own."""

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
from listener.archive.hourly_report import HourlyReport
from listener.archive.operations import Operations
from listener.archive.publisher import ArchivePublisher
from listener.archive.receiver import Receiver
from listener.archive.records import RowMac
from listener.archive.retained_clips import RetainedClips
from listener.archive.service import ArchiveService, ExpirySweep, ReloadingRoster
from listener.archive.store import FileStore
from listener.cli.main import Subcommands, with_examples
from listener.config import Config
from listener.errors import EarmarkError
from listener.mqtt.paho_client import PahoBroker
from listener.storage import atomic
from listener.storage.access_log import ACCESS_LOG, AccessLog
from listener.storage.home import Home
from listener.system import systemd
from listener.system.open_files import reserve_descriptors

if TYPE_CHECKING:
    from listener.envelope.open import OpenedClip

CLIENT_ID: Final = "s-archive"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``earmark archive``."""
    actions = Subcommands(
        parser,
        epilog=with_examples(
            "The archive has no key that decrypts clips. serve answers earmark clips;\n"
            "list and open read the archive's files on this computer.",
            "earmark archive serve --config /etc/earmark/archive.toml",
            "earmark archive list --owner ada",
        ),
        default="serve",
    )
    actions.add(
        "serve",
        "receive clips from the broker, store them, answer owners (default)",
        "earmark archive serve --config /etc/earmark/archive.toml",
    )
    list_parser = actions.add(
        "list",
        "list the stored clips",
        "earmark archive list",
        "earmark archive list --owner ada --json",
    )
    list_parser.add_argument("--owner", metavar="NAME", help="only the clips of this owner")
    open_parser = actions.add(
        "open",
        "decrypt your own clips on this computer with your secret key",
        "earmark archive open 0b0f6c9e-3d0e-4c6e-9a41-2f6d3a1c7e55 --identity ada.key",
        "earmark archive open lost.earmark --identity ada.key --to clips",
    )
    open_parser.add_argument(
        "clips", nargs="+", metavar="CLIP|FILE", help="id of a stored clip, or an envelope file"
    )
    open_parser.add_argument(
        "--identity", required=True, metavar="FILE", help="your secret key, made by age-keygen"
    )
    open_parser.add_argument(
        "--to", default=".", metavar="DIR", help="folder for the FLAC files (default: .)"
    )
    for action in (list_parser, open_parser):
        action.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Run the action; ``serve`` when none is named.

    Raises:
        EarmarkError: the action failed. ``open`` of several clips tries each first.
    """
    match arguments.action:
        case "list":
            return _list(arguments, settings)
        case "open":
            return _open(arguments, settings)
        case _:
            return _serve(settings)


def _serve(settings: Config) -> int:
    from listener.archive.api import Api  # noqa: PLC0415 - starlette: list and open do not need it
    from listener.archive.http_server import MOST_DESCRIPTORS, HttpServer  # noqa: PLC0415 - uvicorn: list and open do not need it

    reserve_descriptors(MOST_DESCRIPTORS)
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
        repair = partial(store.repair, receiver.verify)
        repair()
        context = ArchiveContext(home, store, log, roster, home.archive_key())
        api = Api(context, RequestChallenges(time.monotonic), Operations(context))
        http_settings = systemd.with_credentials(settings.archive, os.environ)
        http_server = HttpServer(api.app(), home.path, http_settings)
        http_server.start()
        notifier = systemd.Notifier(os.environ, time.monotonic)
        notifier.ready()
        retained = RetainedClips(time.monotonic)
        server = ArchiveService(
            PahoBroker(
                systemd.with_credentials(settings.broker, os.environ),
                CLIENT_ID,
                retain_as_published=True,
                # A broker that is short of memory can still send one clip at a time.
                receive_maximum=1,
            ),
            receiver,
            ExpirySweep(store, repair),
            publisher=ArchivePublisher(context),
            service=notifier,
            report=HourlyReport(
                lambda: http_server.counts() | retained.counts() | receiver.refused_counts(),
                time.monotonic,
                notifier,
            ),
            retained=retained,
        )
        try:
            server.run(stop)
        finally:
            notifier.stopping()
            http_server.stop()
    return 0


def _list(arguments: argparse.Namespace, settings: Config) -> int:
    folder = _folder(settings)
    if not folder.exists():
        return 0
    store = FileStore(folder)
    try:
        for clip in store.clips(arguments.owner):
            if arguments.json:
                print(json.dumps(msgspec.to_builtins(clip)))
            else:
                print(f"{clip.t}  {clip.clip}  {clip.owner}  {clip.device}  {clip.size_bytes} B")
    finally:
        store.close()
    return 0


def _open(arguments: argparse.Namespace, settings: Config) -> int:
    from listener.cli import archive_open  # noqa: PLC0415 - serve must never load code that decrypts
    from listener.storage.owner_files import read_identities  # noqa: PLC0415 - nor code that reads secret keys

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
