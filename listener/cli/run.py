"""``earmark run``: supervises hear, send and play on a machine without systemd.

They stay separate processes with their own privileges: this one opens neither a microphone nor a
connection nor a loudspeaker. send and play are restarted when they exit; when hear exits,
everything stops. play runs beside a live microphone, and hear and send run without it.
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

from listener.cli.main import with_examples
from listener.config import Config
from listener.errors import ConfigError, Unavailable, UsageError
from listener.quantities import quantity
from listener.spool.queue import Spool
from listener.system import systemd
from listener.system.backoff import Backoff

POLL_S: Final = 0.2
FIRST_BACKOFF_S: Final = 0.5
LONGEST_BACKOFF_S: Final = 30.0
HEALTHY_S: Final = 60.0  # the backoff is reset when send ran this long

_PERMANENT: Final = frozenset({UsageError.exit_code, ConfigError.exit_code})
"""Exit codes that a restart cannot fix."""

_log = logging.getLogger(__name__)

Process = subprocess.Popen[bytes]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``earmark run``."""
    parser.epilog = with_examples(
        "docs/reference/earmark.example.toml lists every configuration key. With recordings\n"
        "instead of a microphone (microphone.files) it exits after the last one, when the archive\n"
        "has acknowledged every clip.",
        "earmark run --config earmark.toml",
        "earmark run --config earmark.toml --fast --linger 60",
    )
    parser.add_argument(
        "--fast",
        action="store_true",
        help="process recordings as fast as possible instead of in real time",
    )
    parser.add_argument("--json", action="store_true", help="print events as JSON, one a line")
    parser.add_argument(
        "--linger",
        type=float,
        default=30.0,
        metavar="S",
        help="after the last recording, wait S seconds for the archive (default: 30)",
    )


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Supervise hear, send and play; return hear's exit code.

    Raises:
        Unavailable: hear exited, and the archive did not acknowledge every clip in time.
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
        play=None
        if settings.microphone.files
        else [sys.executable, "-m", "listener", "play", *common],
        waiting=lambda: len(spool.waiting()),
        timeouts=RunTimeouts(linger_s=arguments.linger),
    )
    with systemd.StopSignal().on_signals() as stop:
        return pair.run(stop)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTimeouts:
    """Time limits of the supervisor, in seconds."""

    linger_s: float = 30.0
    """Time for the spool to empty after hear exits."""
    first_backoff_s: float = FIRST_BACKOFF_S
    """Delay before send or play is first restarted; it doubles each time."""
    grace_s: float = 10.0
    """Time for a child to exit after SIGTERM, before SIGKILL."""


class RestartedChild:
    """Child process that is restarted when it exits, with a growing delay. For one thread.

    Args:
        name: the command, for messages.
        words: its command line.
        first_backoff_s: delay before the first restart, in seconds.
    """

    def __init__(self, name: str, words: Sequence[str], first_backoff_s: float) -> None:
        self._name: Final = name
        self._words: Final = words
        self._backoff: Final = Backoff(first_backoff_s, LONGEST_BACKOFF_S)
        self._started_s = 0.0
        self._due_s = 0.0
        self._permanent: int | None = None
        self.process: Process | None = None
        """The running process; None between two runs."""

    def start_if_due(self) -> int | None:
        """Start it when due; return its exit code if a restart cannot help."""
        now_s = time.monotonic()
        if self.process is not None and (code := self.process.poll()) is not None:
            self.process = None
            if code in _PERMANENT:
                self._permanent = code
                return code
            if now_s - self._started_s >= HEALTHY_S:
                self._backoff.reset()
            wait_s = self._backoff.next_delay_s()
            _log.warning(
                "%s exited with %d; restarting in %.1f s", self._name, _shell_code(code), wait_s
            )
            self._due_s = now_s + wait_s
        if self.process is None and self._permanent is None and now_s >= self._due_s:
            self._started_s = now_s
            self.process = _start(self._words)
        return self._permanent


class Supervisor:
    """Supervisor of hear, send and play as child processes. For one thread.

    Args:
        hear: command line of hear.
        send: command line of send.
        play: command line of play, without which hear and send run too; None without it.
        waiting: returns the number of clips in the spool.
        timeouts: time limits.
    """

    def __init__(
        self,
        *,
        hear: Sequence[str],
        send: Sequence[str],
        waiting: Callable[[], int],
        timeouts: RunTimeouts,
        play: Sequence[str] | None = None,
    ) -> None:
        self._hear_words = hear
        self._waiting = waiting
        self._timeouts = timeouts
        self._send = RestartedChild("send", send, timeouts.first_backoff_s)
        self._play = (
            None if play is None else RestartedChild("play", play, timeouts.first_backoff_s)
        )

    def run(self, stop: systemd.StopSignal) -> int:
        """Run all until hear exits, send fails for good, or ``stop`` is requested.

        Returns:
            0 when stopped, else the exit code of the child that ended the run.

        Raises:
            Unavailable: hear exited, and clips still wait after ``linger_s``.
        """
        notifier = systemd.Notifier(os.environ, time.monotonic)
        with contextlib.ExitStack() as exits:
            exits.callback(lambda: self._end(self._send.process))
            exits.callback(lambda: self._end(None if self._play is None else self._play.process))
            # send first, so that it receives hear's first notice.
            permanent = self._send.start_if_due()
            hear = _start(self._hear_words)
            exits.callback(self._end, hear)
            notifier.ready()
            while hear.poll() is None and permanent is None and not stop.wait(POLL_S):
                notifier.ping_watchdog()
                permanent = self._send.start_if_due()
                if self._play is not None:
                    self._play.start_if_due()  # nothing depends on it
            notifier.stopping()
            if stop.requested:
                return 0
            if hear.returncode is None and permanent is not None:
                return permanent
            if hear.returncode:
                return _shell_code(hear.returncode)
            return self._drain(stop)

    def _drain(self, stop: systemd.StopSignal) -> int:
        """Wait until send has emptied the spool."""
        until_s = time.monotonic() + self._timeouts.linger_s
        while (waiting := self._waiting()) and not stop.requested:
            permanent = self._send.start_if_due()
            if permanent is not None:
                return permanent
            if time.monotonic() >= until_s:
                raise Unavailable(
                    f"{quantity(waiting, 'sealed clip waits', 'sealed clips wait')} in the spool,"
                    " and the archive does not answer",
                    "the clips stay in the spool; send them with: earmark send --once",
                )
            stop.wait(POLL_S)
        return 0

    def _end(self, child: Process | None) -> None:
        if child is None or child.poll() is not None:
            return
        child.terminate()
        try:
            child.wait(self._timeouts.grace_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _start(words: Sequence[str]) -> Process:
    # NOTIFY_SOCKET is for this process: systemd must not take a child's READY for ours.
    environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    return subprocess.Popen(  # noqa: S603 - this program, with the words it was started with
        words, env=environment, stdin=subprocess.DEVNULL
    )


def _shell_code(returncode: int) -> int:
    """Return the exit code as a shell reports it: 128 + n for a child ended by signal n."""
    return returncode if returncode >= 0 else 128 - returncode
