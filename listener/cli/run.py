"""The verb ``run``: hear and send together, where no systemd keeps them.

Two processes as everywhere else, so that the borders of privilege stay: this one holds neither a
microphone nor a connection. A send that dies is started again; when hear ends, everything ends.
"""

import argparse
import contextlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from listener.config import Config
from listener.errors import ConfigError, Unavailable, UsageError
from listener.spool.queue import Spool
from listener.system import systemd
from listener.system.backoff import Backoff

TURN_S: Final = 0.2
FIRST_BACKOFF_S: Final = 0.5
LONGEST_BACKOFF_S: Final = 30.0
HEALTHY_S: Final = 60.0  # a send that lived so long begins again with the first backoff

_LASTING: Final = frozenset({UsageError.exit_code, ConfigError.exit_code})
"""Exit codes that starting again does not mend."""

_log = logging.getLogger(__name__)

Process = subprocess.Popen[bytes]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``run`` takes."""
    parser.epilog = (
        "docs/reference/earmark.example.toml lists every setting. With recordings for a\n"
        "microphone, microphone.files, it ends after the last one, once the archive has every clip."
    )
    parser.add_argument("--fast", action="store_true", help="hear recordings as fast as possible")
    parser.add_argument("--json", action="store_true", help="what is heard, one JSON object a line")
    parser.add_argument(
        "--linger",
        type=float,
        default=30.0,
        metavar="S",
        help="after the last recording, wait this long for the archive (default: 30 s)",
    )


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Supervise hear and send; return hear's exit code.

    Raises:
        Unavailable: hear is done, and the archive did not take every clip in time.
    """
    common = ["--home", settings.home]
    if arguments.config:
        common += ["--config", arguments.config]
    if arguments.verbose:
        common.append("--verbose")
    options = [f"--{name}" for name in ("fast", "json") if getattr(arguments, name)]
    spool = Spool(Path(settings.home) / "spool", settings.spool)
    pair = Supervisor(
        hear=[sys.executable, "-m", "listener", "hear", *common, *options],
        send=[sys.executable, "-m", "listener", "send", *common],
        waiting=lambda: len(spool.waiting()),
        patience=RunTimeouts(linger_s=arguments.linger),
    )
    with systemd.StopSignal().on_signals() as stop:
        return pair.run(stop)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTimeouts:
    """How long what may take."""

    linger_s: float = 30.0
    """The spool, to empty once hear is done."""
    first_backoff_s: float = FIRST_BACKOFF_S
    """A dead send, to be started again; it doubles each time."""
    grace_s: float = 10.0
    """A child, to end when told to."""


class Supervisor:
    """Hear and send as child processes. For one thread.

    Args:
        hear: its command line.
        send: its command line.
        waiting: tells how many clips are in the spool.
        patience: how long what may take.
    """

    def __init__(
        self,
        *,
        hear: Sequence[str],
        send: Sequence[str],
        waiting: Callable[[], int],
        patience: RunTimeouts,
    ) -> None:
        self._hear_words = hear
        self._send_words = send
        self._waiting = waiting
        self._patience = patience
        self._send: Process | None = None
        self._backoff = Backoff(patience.first_backoff_s, LONGEST_BACKOFF_S)
        self._born_s = 0.0
        self._due_s = 0.0

    def run(self, stop: systemd.StopSignal) -> int:
        """Keep both alive until hear ends, send cannot go on, or somebody asks for the end.

        Returns:
            0 when told to stop, else the exit code of the one that ended it.

        Raises:
            Unavailable: hear is done, and clips still wait after ``linger_s``.
        """
        notifier = systemd.Notifier(os.environ, time.monotonic)
        with contextlib.ExitStack() as ended:
            ended.callback(lambda: self._end(self._send))
            # First, so that it hears hear's first notice.
            lasting = self._start_send_if_due()
            hear = _start(self._hear_words)
            ended.callback(self._end, hear)
            notifier.ready()
            while hear.poll() is None and lasting is None and not stop.wait(TURN_S):
                notifier.ping_watchdog()
                lasting = self._start_send_if_due()
            notifier.stopping()
            if stop.requested:
                return 0
            if hear.returncode is None and lasting is not None:
                return lasting
            if hear.returncode:
                return _shell_code(hear.returncode)
            return self._drain(stop)

    def _drain(self, stop: systemd.StopSignal) -> int:
        """Let send carry what hear has left."""
        until_s = time.monotonic() + self._patience.linger_s
        while (waiting := self._waiting()) and not stop.requested:
            lasting = self._start_send_if_due()
            if lasting is not None:
                return lasting
            if time.monotonic() >= until_s:
                raise Unavailable(
                    f"{waiting} sealed clips wait in the spool, and the archive does not answer",
                    "they are safe there; earmark send --once carries them",
                )
            stop.wait(TURN_S)
        return 0

    def _start_send_if_due(self) -> int | None:
        """Start send where it is due; return its exit code when that would not help."""
        now_s = time.monotonic()
        if self._send is not None and (code := self._send.poll()) is not None:
            self._send = None
            if code in _LASTING:
                return code
            if now_s - self._born_s >= HEALTHY_S:
                self._backoff.reset()
            wait_s = self._backoff.next_delay_s()
            _log.warning("send ended with %d; again in %.1f s", _shell_code(code), wait_s)
            self._due_s = now_s + wait_s
        if self._send is None and now_s >= self._due_s:
            self._born_s = now_s
            self._send = _start(self._send_words)
        return None

    def _end(self, child: Process | None) -> None:
        if child is None or child.poll() is not None:
            return
        child.terminate()
        try:
            child.wait(self._patience.grace_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _start(words: Sequence[str]) -> Process:
    # systemd's socket is for this process: a child's READY or STOPPING is not ours.
    environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    return subprocess.Popen(  # noqa: S603 - this program, with the words it was started with
        words, env=environment, stdin=subprocess.DEVNULL
    )


def _shell_code(returncode: int) -> int:
    """Return what a shell would say: 128 and the signal's number for a child that was killed."""
    return returncode if returncode >= 0 else 128 - returncode
