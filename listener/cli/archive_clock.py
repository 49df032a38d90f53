"""``earmark archive clock``: shows the archive's clocks, and lets a person confirm the wall clock.

The running archive reads a confirmation within ten seconds; one that starts later reads it then.
"""

import argparse
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from listener.archive.archive_clock import ClockReport, read_clocks, read_report
from listener.archive.records import RowMac
from listener.archive.store import FileStore
from listener.config import Config
from listener.errors import EarmarkError, Unavailable
from listener.quantities import quantity
from listener.storage.home import Home
from listener.system.findings import Check, Finding

_DAY_S: Final = 86_400
_LATEST_S: Final = 253_402_300_799  # the last second that a datetime can have


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Show the clocks, or confirm the wall clock; return 1 if they differ.

    Raises:
        Unavailable: there is no archive here, or its index cannot be used.
    """
    home = Home(Path(settings.home))
    if not (home.path / "archive" / "index.sqlite").exists():
        raise Unavailable(
            f"there is no archive in {home.path}", "name its folder: earmark archive clock --home"
        )
    key = home.archive_key()
    with contextlib.closing(FileStore(home.path / "archive", row_mac=RowMac.for_key(key))) as store:
        if arguments.confirm:
            reading = read_clocks()
            store.add_confirmation(msgspec.json.encode(reading))
            print(f"confirmed {_format(int(reading.wall_s))}; the archive applies it when it runs")
            return 0
        report = read_report(store)
        if report is None:
            raise Unavailable("the archive has not run yet", "start it: earmark archive serve")
        waiting = 0
        if report.unproven_s > 0:
            waiting = store.count_expired(report.wall_s) - store.count_expired(report.accepted_s)
    if arguments.json:
        fields = msgspec.to_builtins(report) | {"waiting": waiting}
        print(msgspec.json.encode(fields, order="sorted").decode())
    else:
        print("\n".join(_lines(report, waiting)))
    return 1 if report.unproven_s else 0


def _lines(report: ClockReport, waiting: int) -> Iterator[str]:
    yield f"wall clock     {_format(report.wall_s)}"
    yield f"accepted time  {_format(report.accepted_s)}"
    yield f"running time   {report.lived_s / _DAY_S:.1f} days over all starts of this computer"
    yield f"jumps          {report.jumps}"
    for witness in report.witnesses:
        yield (
            f"speaker        {witness.device}: {witness.ahead_s:+d} s from the wall clock,"
            f" {witness.heard_s} s ago"
        )
    if report.unproven_s == 0:
        yield "the clocks agree"
        return
    since = "" if report.suspended_from_s is None else f" since {_format(report.suspended_from_s)}"
    clips = quantity(waiting, "clip waits", "clips wait")
    yield f"the clocks differ by {report.unproven_s} s{since}; {clips} to expire"
    yield "compare the wall clock with another one; if it is right: earmark archive clock --confirm"


def _format(time_s: int) -> str:
    moment = datetime.fromtimestamp(min(max(0, time_s), _LATEST_S), UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def check_archive(settings: Config) -> Iterator[Finding]:
    """Check the clock of an archive in this home, if there is one.

    Args:
        settings: of the installation; names its data directory.
    """
    home = Home(Path(settings.home))
    folder = home.path / "archive"
    check = Check("archive-clock")
    try:
        if not (folder / "index.sqlite").exists() or not (home.path / "archive.key").exists():
            return
        mac = RowMac.for_key(home.archive_key())
        with contextlib.closing(FileStore(folder, row_mac=mac)) as store:
            report = read_report(store)
    except (EarmarkError, OSError) as error:
        yield check.warn(f"cannot read the archive's clock: {error}")
        return
    if report is None:
        return
    text = f"{quantity(report.jumps, 'jump')} of the clock"
    if report.unproven_s < 0 or report.unproven_s > _DAY_S:
        yield check.warn(
            f"{text}; it differs from the accepted time by {report.unproven_s} s:"
            " clips that are overdue only by this are kept",
            "compare the time with another clock, then run: earmark archive clock --confirm",
            jumps=report.jumps,
            unproven_s=report.unproven_s,
        )
        return
    # Hours without an agreeing speaker are usual after a start.
    agrees = (
        f"{report.unproven_s} s wait for agreement"
        if report.unproven_s
        else "it agrees with the running time"
    )
    yield check.ok(f"{text}; {agrees}", jumps=report.jumps, unproven_s=report.unproven_s)
