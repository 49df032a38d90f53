"""``earmark archive``: stores encrypted clips, lists them, and decrypts the owner's own."""

import argparse
import contextlib
import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from listener.archive.archive_clock import ArchiveClock
from listener.archive.backup import check_complete
from listener.archive.context import ArchiveContext
from listener.archive.devices import RetiredKeys
from listener.archive.health import ArchiveHealth
from listener.archive.hourly_report import HourlyReport
from listener.archive.intake_turns import IntakeTurns
from listener.archive.operations import Operations
from listener.archive.publisher import ArchivePublisher
from listener.archive.quota import DeferralReport, DeviceQuota
from listener.archive.receiver import IntakeLimits, Receiver
from listener.archive.records import RowMac
from listener.archive.retained_clips import RetainedClips
from listener.archive.service import ArchiveService
from listener.archive.storage_interfaces import ClipStore
from listener.archive.store import FileStore
from listener.browser_page.page_files import PageFile, PageMissing, built_folder, load_page
from listener.cli import archive_clock, archive_storage
from listener.cli.main import Subcommands, with_examples
from listener.config import ArchiveSettings, BrokerSettings, Config
from listener.errors import DiskFull, EarmarkError, Unavailable, UsageError
from listener.mqtt import topics
from listener.mqtt.connections import BrokerConnection, recorded_clients
from listener.mqtt.paho_client import PahoBroker
from listener.storage import atomic
from listener.storage.home import Home
from listener.storage.reloading_roster import ReloadingRoster
from listener.system import systemd
from listener.system.open_files import reserve_descriptors

if TYPE_CHECKING:
    from listener.envelope.open import OpenedClip

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``earmark archive``."""
    parser.set_defaults(hub=True)
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
        "earmark archive open lost.earmark --identity ada.key --archive https://home.lan:8443",
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
    open_parser.add_argument(
        "--archive",
        metavar="ADDRESS",
        help="on a computer that does not know the speaker's key: https://HOST:PORT of the archive"
        " that reports it (default: as earmark clips remembers)",
    )
    open_parser.add_argument(
        "--ca",
        metavar="FILE",
        help="CA certificate of the household (default: as earmark clips remembers)",
    )
    clock_parser = actions.add(
        "clock",
        "show how the archive's clock agrees with its running time and the speakers",
        "earmark archive clock",
        "earmark archive clock --confirm",
    )
    clock_parser.add_argument(
        "--confirm",
        action="store_true",
        help="accept the present time of this computer; compare it with another clock first",
    )
    for action in (list_parser, open_parser, clock_parser):
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
        case "clock":
            if settings.archive.database is not None:
                raise UsageError(
                    "archive clock reads an archive on files, and archive.database is set",
                    "read the log of each process: journalctl -u earmark-archive@1",
                )
            return archive_clock.run(arguments, settings)
        case _:
            return _serve(settings)


def _serve(settings: Config) -> int:
    from listener.archive.api import Api  # noqa: PLC0415 - starlette: list and open do not need it
    from listener.archive.http_server import (  # noqa: PLC0415 - uvicorn: list and open do not need it
        MOST_DESCRIPTORS,
        PROXY_DESCRIPTORS,
        HttpServer,
    )

    of_proxy = PROXY_DESCRIPTORS if settings.archive.proxy_port else 0
    reserve_descriptors(MOST_DESCRIPTORS + of_proxy)
    home = Home(Path(settings.home))
    check_complete(home.path)
    with (
        atomic.single_instance(home.path, settings.archive.process_name),
        systemd.StopSignal().on_signals() as stop,
        contextlib.ExitStack() as stack,
    ):
        storage = archive_storage.open_storage(settings, home, stack)
        home, store = storage.home, storage.store
        with contextlib.suppress(Unavailable):  # a full disk must not keep owners from erasing
            home.pin_own_archive()
            home.publish_roster()
        roster = ReloadingRoster(home)
        limits = IntakeLimits(
            storage.disk,
            DeviceQuota(
                settings.archive.clips_per_hour, settings.archive.bytes_per_day, time.monotonic
            ),
            DeferralReport(
                storage.log, archive_storage.archive_folder(settings), time.time, time.monotonic
            ),
        )
        verify = Receiver(store, roster, time.time).verify_stored
        repair = partial(storage.repair, verify)
        _repair_at_start(repair)
        # After the repair: without its record, the clock begins at the newest arrival.
        clock = ArchiveClock(store)
        receiver = Receiver(store, roster, clock.accepted_s, limits, clock)
        context = ArchiveContext(home, store, storage.log, roster, home.archive_key(), clock=clock)
        health = ArchiveHealth(context.log.head)
        api = Api(context, storage.challenges, Operations(context), health=health)
        page = page_of(settings)
        http_settings = systemd.with_credentials(settings.archive, os.environ)
        http_server = HttpServer(api.app(page), home.path, http_settings, api.app_for_proxy(page))
        http_server.start()
        retired_keys = RetiredKeys(home, store, repair, delay_s=storage.roster_delay_s)
        notifier = systemd.Notifier(os.environ, time.monotonic)
        notifier.ready()
        clients = recorded_clients(
            systemd.with_credentials(settings.broker, os.environ),
            home.path,
            settings.archive.process_name,
            partial(_client, f"s-{settings.archive.process_name}"),
        )
        retained = [RetainedClips(time.monotonic) for _ in clients.clients]
        server = ArchiveService(
            clients,
            receiver,
            storage.sweep(verify, clock),
            publisher=ArchivePublisher(context, storage.is_elected),
            set_bounds=lambda: retired_keys.set_bounds(roster()),
            service=notifier,
            upkeep=storage.upkeep,
            report=HourlyReport(
                lambda: http_server.counts() | _total(retained) | receiver.refused_counts(),
                time.monotonic,
                notifier,
            ),
            retained=retained,
            turns=_turns(settings.archive),
            health=health,
        )
        try:
            server.run(stop)
        finally:
            notifier.stopping()
            http_server.stop()
            with contextlib.suppress(Unavailable):  # a full disk; each request reported it
                context.append_due_rows(at_end=True)
    return 0


def _turns(settings: ArchiveSettings) -> IntakeTurns[BrokerConnection] | None:
    if settings.instance == 0 or settings.instances == 1:
        return None
    return IntakeTurns(settings.instance, settings.instances)


def _client(client_id: str, settings: BrokerSettings) -> PahoBroker:
    return PahoBroker(
        settings,
        client_id,
        retain_as_published=True,
        # A broker that is short of memory can still send one clip at a time.
        receive_maximum=1,
        unconfirmed=(topics.ACK.topic_filter(),),  # of other archives; see IntakeTurns
    )


def _total(retained: Sequence[RetainedClips]) -> dict[str, int]:
    """Return the counts of retained clips at all brokers."""
    return dict(sum((Counter(one.counts()) for one in retained), Counter()))


def page_of(settings: Config, folder: Path | None = None) -> Mapping[str, PageFile] | None:
    """Return the files of the browser page, if it is switched on and this installation has it.

    Args:
        settings: the configuration.
        folder: the built page; by default that of this installation.
    """
    if not settings.archive.page:
        return None
    try:
        return load_page(folder or built_folder())
    except PageMissing as error:
        _log.warning("archive.page is true, and only the API is served: %s", error)
        return None


def _repair_at_start(repair: Callable[[], int]) -> None:
    """Repair files and index; on a full disk owners must be able to erase even so."""
    try:
        repair()
    except DiskFull as error:
        _log.warning("cannot repair the index: %s", error)


def _list(arguments: argparse.Namespace, settings: Config) -> int:
    with contextlib.ExitStack() as stack:
        if settings.archive.database is not None:
            mac = RowMac.for_key(Home(Path(settings.home)).archive_key())
            return _print_list(archive_storage.open_fleet_store(settings, mac, stack), arguments)
        folder = archive_storage.archive_folder(settings)
        if not folder.exists():
            if not arguments.json:
                print("no clips")
            return 0
        return _print_list(stack.enter_context(contextlib.closing(FileStore(folder))), arguments)


def _print_list(store: ClipStore, arguments: argparse.Namespace) -> int:
    is_empty = True
    for clip in store.clips(arguments.owner):
        is_empty = False
        if arguments.json:
            print(json.dumps(msgspec.to_builtins(clip)))
        else:
            print(f"{clip.t}  {clip.clip}  {clip.owner}  {clip.device}  {clip.size_bytes} B")
    if is_empty and not arguments.json:
        print("no clips")
    if quarantined := store.count_quarantined(arguments.owner):
        print(f"earmark: {quarantined} more do not verify and are in quarantine", file=sys.stderr)
    return 0


def _open(arguments: argparse.Namespace, settings: Config) -> int:
    from listener.cli import archive_open  # noqa: PLC0415 - serve must never load code that decrypts
    from listener.storage.owner_files import read_identities  # noqa: PLC0415 - nor code that reads secret keys

    identities = read_identities(Path(arguments.identity))
    roster = Home(Path(settings.home)).roster()
    failures = []
    for clip in arguments.clips:
        try:
            path = archive_open.find_clip_file(archive_storage.archive_folder(settings), clip)
            to = Path(arguments.to)
            if roster.owners:
                written = archive_open.open_clip(path, identities, roster, to)
            else:
                written = archive_open.open_own(path, identities, arguments, settings, to)
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
