"""``earmark monitor``: watch hear live, on this machine. Shows levels and counts, never sound."""

import argparse
import contextlib
import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from listener.config import Config
from listener.errors import Unavailable
from listener.ipc import notices
from listener.ipc.datagrams import Inbox
from listener.ipc.notice_socket import MONITOR_SOCKET
from listener.monitor import text
from listener.monitor.state import HearState
from listener.system.systemd import StopSignal

TURN_S: Final = 0.25
LINE_PAUSE_S: Final = 1.0
PATIENCE_S: Final = 4.0
"""Until nobody seems to hear: hear looks for a monitor once a second."""

Show = Callable[[HearState, float], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``monitor`` takes."""
    parser.epilog = (
        "Without a terminal it prints a line a second. One monitor at a time; it must run as the\n"
        "user that hear runs as, or as root. While none runs, hear tells nobody of its levels."
    )
    parser.add_argument("--once", action="store_true", help="show what is now, then end")
    parser.add_argument("--json", action="store_true", help="print JSON, one object a line")


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Watch until told to stop.

    Raises:
        Unavailable: another monitor runs here; with ``--once``, nobody hears.
    """
    home = Path(settings.home)
    inbox = Inbox(home / MONITOR_SOCKET, notices.LONGEST_BYTES)
    try:
        _chown_socket(home)
        with StopSignal().on_signals() as stop:
            watch = _MonitorLoop(inbox, stop)
            if arguments.once:
                watch.until_complete(PATIENCE_S, home)
                with _choose_output(home, is_live=False, is_json=arguments.json) as show:
                    show(watch.picture, time.monotonic())
                return 0
            pause_s = 0.0 if arguments.json or sys.stdout.isatty() else LINE_PAUSE_S
            with _choose_output(home, is_live=True, is_json=arguments.json) as show:
                watch.run(show, pause_s)
    finally:
        inbox.close()
    return 0


class _MonitorLoop:
    """Turns with what comes in."""

    def __init__(self, inbox: Inbox, stop: StopSignal) -> None:
        self.picture = HearState()
        self._inbox = inbox
        self._stop = stop

    def run(self, show: Show, pause_s: float) -> None:
        """Show the picture whenever it changed, at most once in ``pause_s``."""
        due_s = float("-inf")
        silent_s = time.monotonic() + PATIENCE_S
        while not self._stop.requested:
            has_changed = self._turn()
            now_s = time.monotonic()
            if self.picture.is_current(now_s):
                silent_s = now_s
                if not has_changed or now_s < due_s:
                    continue
                due_s = now_s + pause_s
            elif now_s < silent_s:
                continue
            else:
                silent_s = float("inf")  # There is one thing to say about nobody, once.
            show(self.picture, now_s)

    def until_complete(self, patience_s: float, home: Path) -> None:
        """Wait for a level and the counters.

        Raises:
            Unavailable: none came.
        """
        until_s = time.monotonic() + patience_s
        while not self._stop.requested and time.monotonic() < until_s:
            self._turn()
            if self.picture.tally is not None and self.picture.is_current(time.monotonic()):
                return
        raise Unavailable(
            f"{text.NO_HEAR} at {home}",
            "earmark hear starts it; the monitor must run as the same user",
        )

    def _turn(self) -> bool:
        select.select([self._inbox], (), (), TURN_S)
        has_changed = False
        for data in self._inbox.receive():
            with contextlib.suppress(ValueError):  # no notice of ours
                self.picture.update(notices.decode_for_monitor(data), time.monotonic())
                has_changed = True
        return has_changed


@contextlib.contextmanager
def _choose_output(home: Path, *, is_live: bool, is_json: bool) -> Iterator[Show]:
    """Give what shows a picture, as the reader can take it."""
    if is_json or not sys.stdout.isatty():
        to_line = text.to_json if is_json else text.to_text
        yield lambda picture, now_s: print(to_line(picture, now_s), flush=True)
        return
    from listener.monitor.terminal import create_view  # noqa: PLC0415 - lines must do without rich

    with create_view(str(home), is_live=is_live) as draw:
        yield draw


def _chown_socket(home: Path) -> None:
    """As root, let the user have the socket as whom hear runs: hear speaks to nobody else."""
    if os.geteuid() == 0:
        with contextlib.suppress(FileNotFoundError):
            owner = (home / "device.key").stat()
            os.chown(home / MONITOR_SOCKET, owner.st_uid, owner.st_gid, follow_symlinks=False)
