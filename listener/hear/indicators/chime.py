"""The chime after the wake word, played by a process of its own. No clip has it inside.

Hear knows when the chime has ended, and a clip begins after that: see record 0011. A chime that
fails or hangs is given up, and the clip begins without it.
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
"""From the chime's end to the clip's begin: the room's echo, and sound that is still on its way
through the driver."""
LONGEST_S: Final = 2.0
"""A chime that takes longer is given up; its process is ended, and with it the sound."""
RETRY_S: Final = 30.0

_log = logging.getLogger(__name__)


class Chime(Protocol):
    """What sounds after a wake. One thread."""

    def play(self) -> None:
        """Begin to sound. Never waits, never raises."""

    @property
    def is_playing(self) -> bool:
        """Whether it may still sound; ask at each turn."""


class ChimeProcess:
    """The chime as a child process that waits to be told.

    Args:
        command: what to run; see `tone`.
        monotonic_s: a clock in seconds that never goes back.
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
        """Of the process, while there is one."""
        return self._process.pid if self._process else None

    def play(self) -> None:
        """Tell the process; without one, try to start it, so that the next chime may sound."""
        if self._until_s is not None:
            return
        if self._process is None:
            self._start()
            return
        try:
            os.write(_into(self._process), b"p")
        except OSError:
            self._give_up("its process died")
            return
        self._until_s = self._monotonic_s() + LONGEST_S

    @property
    def is_playing(self) -> bool:
        """Whether the process has not said yet that it is over."""
        if self._until_s is None or self._process is None:
            return False
        out = _out_of(self._process)
        if select.select((out,), (), (), 0)[0]:
            self._until_s = None
            said = os.read(out, 64)
            if not said:
                self._give_up("its process died")
            elif said != PLAYED:
                self._give_up("the loudspeaker cannot be used")
            return False
        if self._monotonic_s() >= self._until_s:
            self._give_up("it does not come to an end")
            return False
        return True

    def close(self) -> None:
        """End the process."""
        self._until_s = None
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for end in (process.stdin, process.stdout):
                if end is not None:
                    with contextlib.suppress(OSError):
                        end.close()

    def _start(self) -> None:
        now_s = self._monotonic_s()
        if now_s < self._due_s:
            return
        self._due_s = now_s + RETRY_S
        try:
            self._process = subprocess.Popen(  # noqa: S603 - a list, never a shell: no device name can be a command
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            )
        except OSError as error:
            _log.warning("the chime's process does not start: %s", error.strerror)

    def _give_up(self, why: str) -> None:
        _log.warning("there is no chime: %s", why)
        self.close()


def build_chime(settings: ChimeSettings, monotonic_s: Callable[[], float]) -> ChimeProcess | None:
    """Start the chime that the settings ask for; None where they ask for none."""
    if not settings.on_wake:
        return None
    return ChimeProcess(chime_command(settings), monotonic_s)


def chime_command(settings: ChimeSettings) -> tuple[str, ...]:
    """Return what starts the chime's process."""
    return (
        sys.executable,
        "-P",  # The folder we stand in holds no modules of ours.
        "-m",
        "listener.hear.indicators.chime_process",
        f"--device={settings.device or ''}",
        f"--volume={settings.volume}",
        f"--parent={os.getpid()}",
    )


def _into(process: "subprocess.Popen[bytes]") -> int:
    if process.stdin is None:
        raise RuntimeError("a process without a pipe")
    return process.stdin.fileno()


def _out_of(process: "subprocess.Popen[bytes]") -> int:
    if process.stdout is None:
        raise RuntimeError("a process without a pipe")
    return process.stdout.fileno()
