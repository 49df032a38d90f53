"""Chime after the wake word, played by a child process. A clip never contains it.

The child reports the end of the chime, and the clip begins after that: see record 0011. A chime
that fails or hangs is stopped, and the clip begins without it.
"""

import contextlib
import logging
import os
import select
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from listener.config import ChimeSettings
from listener.hear.indicators.chime_process import PLAYED

AFTER_S: Final = 0.4
"""Seconds from the chime's end to the clip's begin: room echo and the driver's latency."""
LONGEST_S: Final = 2.0
"""Seconds after which a chime is stopped by killing its process."""
GRACE_S: Final = 0.25
"""Longest wait for the kernel to remove a killed process, in seconds."""
RETRY_S: Final = 30.0
"""Minimum seconds between two starts of the process."""

_log = logging.getLogger(__name__)


class Chime(Protocol):
    """A sound after a wake. One thread."""

    def play(self) -> None:
        """Start the sound. Never blocks, never raises."""

    @property
    def is_playing(self) -> bool:
        """Whether it may still sound; to be polled on every turn of the loop."""


class ChimeProcess:
    """A `Chime` in a child process, which starts at once and plays on request. One thread.

    Args:
        command: the child's arguments; see `chime_command`.
        monotonic_s: monotonic clock in seconds.
    """

    def __init__(self, command: Sequence[str], monotonic_s: Callable[[], float]) -> None:
        self._command: Final = tuple(command)
        self._monotonic_s: Final = monotonic_s
        self._process: subprocess.Popen[bytes] | None = None
        self._until_s: float | None = None
        self._due_s = float("-inf")
        self._start()

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is no child."""
        return self._process.pid if self._process else None

    def play(self) -> None:
        """Request the chime; without a child, start one for the next chime."""
        if self._until_s is not None:
            return
        if self._process is None:
            self._start()
            return
        try:
            os.write(_stdin_of(self._process), b"p")
        except OSError:
            self._fail("its process exited")
            return
        self._until_s = self._monotonic_s() + LONGEST_S

    @property
    def is_playing(self) -> bool:
        """Whether the child has not reported the end yet."""
        if self._until_s is None or self._process is None:
            return False
        out = _stdout_of(self._process)
        if select.select((out,), (), (), 0)[0]:
            self._until_s = None
            answer = os.read(out, 64)
            if not answer:
                self._fail("its process exited")
            elif answer != PLAYED:
                self._fail("the loudspeaker cannot be opened")
            return False
        if self._monotonic_s() >= self._until_s:
            self._fail(f"it did not end within {LONGEST_S:g} s")
            return False
        return True

    def close(self) -> None:
        """Kill the child."""
        self._until_s = None
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            # A process that hangs in a driver ends later; hear does not wait for it.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_S)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()

    def _start(self) -> None:
        now_s = self._monotonic_s()
        if now_s < self._due_s:
            return
        self._due_s = now_s + RETRY_S
        try:
            self._process = subprocess.Popen(  # noqa: S603 - no shell, so a device name cannot be a command
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            )
        except OSError as error:
            _log.warning("cannot start the chime's process: %s", error.strerror)

    def _fail(self, reason: str) -> None:
        _log.warning("cannot play the chime: %s", reason)
        self.close()


def build_chime(settings: ChimeSettings, monotonic_s: Callable[[], float]) -> ChimeProcess | None:
    """Start the chime's process; return None where the configuration disables the chime."""
    if not settings.on_wake:
        return None
    return ChimeProcess(chime_command(settings), monotonic_s)


def chime_command(settings: ChimeSettings) -> tuple[str, ...]:
    """Return the command line of the chime's process."""
    return (
        sys.executable,
        "-P",  # Do not import modules from the working directory.
        "-m",
        "listener.hear.indicators.chime_process",
        f"--device={settings.device or ''}",
        f"--volume={settings.volume}",
        f"--parent={os.getpid()}",
    )


def _stdin_of(process: "subprocess.Popen[bytes]") -> int:
    if process.stdin is None:
        raise RuntimeError("the chime's process has no pipe")
    return process.stdin.fileno()


def _stdout_of(process: "subprocess.Popen[bytes]") -> int:
    if process.stdout is None:
        raise RuntimeError("the chime's process has no pipe")
    return process.stdout.fileno()
