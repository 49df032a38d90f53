"""``earmark monitor``: shows hear's level, scores, states and counters live; never audio."""

import argparse
import contextlib
import logging
import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from listener.cli.main import with_examples
from listener.config import Config
from listener.errors import Unavailable
from listener.ipc import notices
from listener.ipc.datagrams import Inbox
from listener.ipc.notice_socket import MONITOR_SOCKET
from listener.monitor import text
from listener.monitor.state import HearState
from listener.system.systemd import StopSignal

POLL_S: Final = 0.25
LINE_PAUSE_S: Final = 1.0
PATIENCE_S: Final = 4.0
"""Time without data after which hear counts as not running; it looks for a monitor each second."""

Show = Callable[[HearState, float], None]

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``earmark monitor``."""
    parser.epilog = with_examples(
        "On a terminal it updates one page; otherwise it prints one line a second. It must run as\n"
        "the same user as hear, or as root. Only one monitor can run at a time; hear sends levels\n"
        "only while one does.",
        "earmark monitor",
        "sudo earmark monitor --once --home /var/lib/earmark",
        "earmark monitor --json",
    )
    parser.add_argument("--once", action="store_true", help="print the current state, then exit")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Show the state until SIGTERM or Ctrl-C.

    Raises:
        Unavailable: another monitor runs; with ``--once``, hear does not run.
    """
    home = Path(settings.home)
    inbox = Inbox(home / MONITOR_SOCKET, notices.LONGEST_BYTES)
    try:
        _chown_socket(home)
        with StopSignal().on_signals() as stop:
            loop = _MonitorLoop(inbox, stop)
            if arguments.once:
                loop.until_complete(PATIENCE_S, home)
                with _choose_output(home, is_live=False, is_json=arguments.json) as show:
                    show(loop.state, time.monotonic())
                return 0
            pause_s = 0.0 if arguments.json or sys.stdout.isatty() else LINE_PAUSE_S
            with _choose_output(home, is_live=True, is_json=arguments.json) as show:
                loop.run(show, pause_s)
    finally:
        inbox.close()
    return 0


class _MonitorLoop:
    """Receives hear's datagrams and shows the state they give. For one thread."""

    def __init__(self, inbox: Inbox, stop: StopSignal) -> None:
        self.state = HearState()
        self._inbox = inbox
        self._stop = stop

    def run(self, show: Show, pause_s: float) -> None:
        """Show the state when it changes, at most once in ``pause_s`` seconds."""
        due_s = float("-inf")
        silent_s = time.monotonic() + PATIENCE_S
        while not self._stop.requested:
            has_changed = self._turn()
            now_s = time.monotonic()
            if self.state.is_current(now_s):
                silent_s = now_s
                if not has_changed or now_s < due_s:
                    continue
                due_s = now_s + pause_s
            elif now_s < silent_s:
                continue
            else:
                silent_s = float("inf")  # report once that hear does not run
                if not sys.stdout.isatty():  # the page says it
                    _log.warning("%s: %s", text.NO_HEAR, text.START_HEAR)
            show(self.state, now_s)

    def until_complete(self, patience_s: float, home: Path) -> None:
        """Wait until a level and the counters have arrived.

        Raises:
            Unavailable: they did not arrive within ``patience_s`` seconds.
        """
        until_s = time.monotonic() + patience_s
        while not self._stop.requested and time.monotonic() < until_s:
            self._turn()
            if self.state.tally is not None and self.state.is_current(time.monotonic()):
                return
        raise Unavailable(
            f"{text.NO_HEAR} at {home}",
            f"{text.START_HEAR}, and run the monitor as the same user",
        )

    def _turn(self) -> bool:
        select.select([self._inbox], (), (), POLL_S)
        has_changed = False
        for data in self._inbox.receive():
            with contextlib.suppress(ValueError):  # not a valid notice
                self.state.update(notices.decode_for_monitor(data), time.monotonic())
                has_changed = True
        return has_changed


@contextlib.contextmanager
def _choose_output(home: Path, *, is_live: bool, is_json: bool) -> Iterator[Show]:
    """Yield the function that shows a state: page, line of text, or JSON."""
    if is_json or not sys.stdout.isatty():
        to_line = text.to_json if is_json else text.to_text
        yield lambda state, now_s: print(to_line(state, now_s), flush=True)
        return
    from listener.monitor.terminal import create_view  # noqa: PLC0415 - text output must not need rich

    with create_view(str(home), is_live=is_live) as draw:
        yield draw


def _chown_socket(home: Path) -> None:
    """As root, give the socket to the user of hear, which sends to no other user."""
    if os.geteuid() == 0:
        with contextlib.suppress(FileNotFoundError):
            owner = (home / "device.key").stat()
            os.chown(home / MONITOR_SOCKET, owner.st_uid, owner.st_gid, follow_symlinks=False)
