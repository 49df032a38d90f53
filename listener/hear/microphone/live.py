"""Live microphone: start, read, time out, end and restart the microphone process.

Only the gate may import this module. Three layers, each used by the next: `CaptureProcess` is the
parent's end of one microphone process; `Poller` waits for its pipe and for the mute switch in one
``poll``, so that an edge of the switch ends every wait; `LiveMicrophone` turns each failure of the
device or its process into a gap, and starts the process again with a growing delay.
"""

import contextlib
import fcntl
import logging
import os
import select
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import numpy as np

from listener.audio.level import ConstantSignalDetector
from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, GapReason, Samples
from listener.hear.memory import allocate_locked
from listener.hear.microphone.protocol import (
    HEADER,
    BlockRecord,
    Cause,
    FailedRecord,
    OpenedRecord,
    OverrunRecord,
    ProtocolError,
    Reader,
    Record,
)
from listener.system.backoff import Backoff

PIPE_BYTES: Final = 32 * 1024
"""Capacity of the pipe: one second of sound. A slower reader causes an overrun."""
GRACE_S: Final = 0.25
"""Longest wait for the kernel to remove a killed process, in seconds."""
TURN_S: Final = FRAME_SAMPLES / SAMPLE_RATE_HZ
"""Longest wait for sound, in seconds, so that a stop is seen and the watchdog is pinged."""
_ERROR_EVENTS: Final = select.POLLERR | select.POLLHUP | select.POLLNVAL

Watch = Callable[[], Sequence[int]]
"""Returns the descriptors of the mute switch."""
Tell = Callable[[OpenedRecord | FailedRecord], None]
"""Receives each change of the microphone's state."""

_log = logging.getLogger(__name__)


class ProcessEnded(Exception):
    """The process closed its pipe."""


class CaptureProcess:
    """One run of the microphone process. One thread.

    Args:
        command: program and arguments; it writes records to its standard output.
        memory: writeable bytes for one record at a time; see `protocol.Reader`.
        lock: returns a descriptor that the process keeps open, and only the process: its lock
            tells other processes that the microphone is open.

    Raises:
        OSError: it cannot be started, or the lock cannot be taken.
    """

    def __init__(
        self, command: Sequence[str], memory: memoryview, lock: Callable[[], int] | None = None
    ) -> None:
        held = () if lock is None else (lock(),)
        read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            # The write end blocks: the microphone process waits for hear, never the reverse.
            os.set_blocking(write_end, True)
            with contextlib.suppress(OSError):
                fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            # ALSA prints many lines about devices that are not in use.
            stderr = None if _log.isEnabledFor(logging.INFO) else subprocess.DEVNULL
            self._process = subprocess.Popen(  # noqa: S603 - a list, never a shell: no device name can be a command
                command,
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=stderr,
                pass_fds=held,
            )
        except BaseException:
            os.close(read_end)
            raise
        finally:
            for number in (write_end, *held):
                os.close(number)
        self._pipe: Final = read_end
        self._is_closed = False
        self._reader = Reader(memory)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def fileno(self) -> int:
        """Return the descriptor of the pipe's read end, for ``poll``."""
        return self._pipe

    def read_record(self) -> Record | None:
        """Read without waiting; return a record, or None while it is incomplete.

        Raises:
            ProtocolError: the bytes are not a record.
            ProcessEnded: the process closed its pipe.
        """
        while True:
            try:
                count_bytes = os.readv(self._pipe, [self._reader.room()])
            except BlockingIOError:
                return None
            if not count_bytes:
                raise ProcessEnded
            record = self._reader.take(count_bytes)
            if record is not None:
                return record

    def kill(self) -> bool:
        """Kill the process and discard the pipe's contents; safe to repeat.

        Returns:
            True when the process has ended. False when it hangs in a driver: its pipe is closed
            already; call again until it has ended.
        """
        if self._is_closed:
            return self._process.poll() is not None
        self._is_closed = True
        self._process.kill()
        os.close(self._pipe)
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            return False
        return True


class WaitResult(Enum):
    """Reason why a wait ended."""

    READABLE = auto()
    """The microphone process wrote bytes, or ended."""
    EDGE = auto()
    """The switch's line has an edge to read, or was lost just now."""
    TIMEOUT = auto()
    """The time limit was reached."""


class Poller:
    """Wait for the microphone process and the switch, and sum the time waited. One thread.

    Args:
        watch: returns descriptors that end every wait when they become readable: the switch's.
        monotonic_s: a clock in seconds that never goes back.
    """

    def __init__(self, watch: Watch, monotonic_s: Callable[[], float]) -> None:
        self._watch: Final = watch
        self._monotonic_s: Final = monotonic_s
        self._lost_lines: set[int] = set()
        self.waited_s = 0.0
        """Sum of all waits since `reset`, in seconds."""

    def reset(self) -> None:
        """Set the sum of the waits to zero."""
        self.waited_s = 0.0

    def wait(self, longest_s: float, pipe: int | None) -> WaitResult:
        """Wait for the process or an edge; an edge has priority.

        Args:
            longest_s: time limit in seconds; at 0 or below, poll once without waiting.
            pipe: descriptor of the process's pipe; None when no process runs.
        """
        began_s = self._monotonic_s()
        poll = select.poll()
        if pipe is not None:
            poll.register(pipe, select.POLLIN)
        edges: set[int] = set()
        with contextlib.suppress(OSError):  # The gate reads the switch next and reports it.
            edges.update(self._watch())
        for number in edges:
            poll.register(number, select.POLLIN)
        gone: set[int] = set()
        while True:
            left_s = max(0.0, longest_s - (self._monotonic_s() - began_s))
            ready = dict(poll.poll(left_s * 1_000))
            lost = {number for number in edges if ready.get(number, 0) & _ERROR_EVENTS}
            known = lost & self._lost_lines
            if not known or known != ready.keys():
                break
            # A lost line is always ready: polling it again would be a busy loop.
            for number in known:
                poll.unregister(number)
            edges -= known
            gone |= known
        self._lost_lines = lost | gone
        self.waited_s += self._monotonic_s() - began_s
        if any(number in ready for number in edges - known):
            return WaitResult.EDGE
        return WaitResult.READABLE if pipe in ready else WaitResult.TIMEOUT


@dataclass(frozen=True, slots=True, kw_only=True)
class MicrophoneTimeouts:
    """Time limits for one microphone, in seconds."""

    start_s: float = 6.0
    """Limit from starting the process to the open device."""
    stall_s: float = 1.0
    """Limit between two blocks."""
    constant_s: float = 1.5
    """Limit for samples that are all the same; 0 turns the check off."""
    settled_s: float = 5.0
    """Length of sound after which the delay before a restart is `first_pause_s` again."""
    first_pause_s: float = 0.5
    """Delay before the first restart."""
    longest_pause_s: float = 30.0
    """Longest delay before a restart."""


class LiveMicrophone:
    """Microphone that is read by a child process, which `close` kills. One thread.

    Args:
        command: program and arguments of the microphone process; see `capture_command`.
        watch: returns descriptors that end every wait when they become readable: the switch's.
        tell: called when sound begins to arrive (`OpenedRecord`) and when it stops
            (`FailedRecord`); once for each change.
        monotonic_s: a clock in seconds that never goes back.
        limits: timeouts and restart delays.
        lock: as for `CaptureProcess`.
    """

    def __init__(  # noqa: PLR0913 - collaborators of the microphone, passed once
        self,
        command: Sequence[str],
        *,
        watch: Watch,
        tell: Tell,
        monotonic_s: Callable[[], float],
        limits: MicrophoneTimeouts = MicrophoneTimeouts(),
        lock: Callable[[], int] | None = None,
    ) -> None:
        self._lock: Final = lock
        self._command: Final = tuple(command)
        self._tell: Final = tell
        self._monotonic_s: Final = monotonic_s
        self._limits: Final = limits
        self._buffer: Final = allocate_locked(HEADER.size // 2 + FRAME_SAMPLES)
        self._memory: Final = self._buffer.view(np.uint8).data
        self._constant_detector: Final = ConstantSignalDetector(
            round(limits.constant_s * SAMPLE_RATE_HZ)
        )
        self._child: CaptureProcess | None = None
        self._ending: list[CaptureProcess] = []
        self._opened: OpenedRecord | None = None
        self._received_samples = 0
        self._poller: Final = Poller(watch, monotonic_s)
        self._is_after_overrun = False
        self._pauses: Final = Backoff(limits.first_pause_s, limits.longest_pause_s)
        self._due_s = float("-inf")
        self._last_state: OpenedRecord | FailedRecord | None = None
        self._is_muted = False
        self._skipped_until_s: float | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the microphone process; None while none runs."""
        return self._child.pid if self._child else None

    def read(self) -> Samples | GapReason | int | None:
        """Wait for the next block, at most one frame's time; an edge ends the wait.

        Returns:
            As `Microphone.read`; an int16 block is a view of this microphone's memory.
        """
        self._is_muted = False
        child = self._child or self._start()
        if not isinstance(child, CaptureProcess):
            return child
        result = self._poller.wait(TURN_S, child.fileno())
        if result is WaitResult.READABLE:
            return self._read_record(child)
        limit_s = self._limits.stall_s if self._opened else self._limits.start_s
        if result is WaitResult.TIMEOUT and self._poller.waited_s >= limit_s:
            return self._report_lost(Cause.STALLED)
        return _empty_block()

    def close(self) -> None:
        """Kill the process, within a few milliseconds, and wipe its last block; safe to repeat."""
        self._end()
        if not self._is_muted:
            self._is_muted = True
            self._due_s = float("-inf")
            self._skipped_until_s = None

    def skip(self) -> int:
        """Wait one frame's time, or until an edge; the first call after `close` does not wait.

        So the gate wipes its own buffers before the first wait.

        Returns:
            Count of the samples that were skipped.
        """
        return self._pass_time()

    def _start(self) -> CaptureProcess | GapReason | int:
        """Start the process if the restart delay is over; else wait."""
        if self._ending or self._monotonic_s() < self._due_s:
            return self._pass_time()
        self._opened, self._received_samples = None, 0
        self._poller.reset()
        self._is_after_overrun = False
        self._constant_detector.reset()
        try:
            self._child = CaptureProcess(self._command, self._memory, self._lock)
        except OSError as error:
            _log.error("the microphone process cannot be started: %s", error.strerror)
            return self._report_lost(Cause.DIED)
        return self._child

    def _read_record(self, child: CaptureProcess) -> Samples | GapReason:
        try:
            record = child.read_record()
        except ProtocolError:
            return self._report_lost(Cause.GARBLED)
        except ProcessEnded:
            return self._report_lost(Cause.DIED)
        return _empty_block() if record is None else self._handle_record(record)

    def _handle_record(
        self, record: OpenedRecord | BlockRecord | OverrunRecord | FailedRecord
    ) -> Samples | GapReason:
        match record:
            case FailedRecord(cause):
                return self._report_lost(cause)
            case OpenedRecord() if self._opened is None:
                self._opened = record
                self._poller.reset()
                return _empty_block()
            case OverrunRecord() if self._opened is not None and not self._is_after_overrun:
                self._is_after_overrun = True
                return GapReason.OVERRUN
            case BlockRecord(payload) if self._opened is not None:
                return self._accept_block(np.frombuffer(payload, np.int16), self._opened)
            case _:
                return self._report_lost(Cause.GARBLED)  # A valid record in an order that is not.

    def _accept_block(self, block: Samples, opened: OpenedRecord) -> Samples | GapReason:
        self._poller.reset()
        self._skipped_until_s = None
        self._is_after_overrun = False
        self._received_samples += len(block)
        if self._constant_detector.push(block):
            block[...] = 0
            return self._report_lost(Cause.ZEROS)
        if self._received_samples >= self._limits.settled_s * SAMPLE_RATE_HZ:
            self._pauses.reset()
        # A device that delivers a constant signal has not recovered.
        is_live = not self._limits.constant_s or block.min() != block.max()
        if self._last_state != opened and is_live:
            self._last_state = opened
            _log.info("the microphone is open at %d Hz", opened.rate_hz)
            self._tell(opened)
        return block

    def _report_lost(self, cause: Cause) -> GapReason:
        self._end()
        self._due_s = self._monotonic_s() + self._pauses.next_delay_s()
        self._skipped_until_s = None
        failed = FailedRecord(cause)
        if self._last_state != failed:
            self._last_state = failed
            _log.warning("no sound from the microphone (%s); its process will be restarted", cause)
            self._tell(failed)
        return GapReason.LOST

    def _end(self) -> None:
        if self._child is not None:
            self._ending.append(self._child)
            self._child = None
        self._ending = [child for child in self._ending if not child.kill()]
        self._buffer.fill(0)

    def _pass_time(self) -> int:
        """Wait up to one frame's time; return the count of samples that it would have held."""
        if self._skipped_until_s is None:
            self._skipped_until_s = self._monotonic_s()
            return 0
        if not self._is_muted:
            self._ending = [child for child in self._ending if not child.kill()]
        left_s = self._skipped_until_s + TURN_S - self._monotonic_s()
        self._poller.wait(left_s, None)
        now_s = self._monotonic_s()
        samples = round((now_s - self._skipped_until_s) * SAMPLE_RATE_HZ)
        self._skipped_until_s = now_s
        return samples


def capture_command(device: str, channel: int) -> tuple[str, ...]:
    """Return the command line of the microphone process.

    Args:
        device: ``default``, an index, or part of a name.
        channel: channel to read, from 0.
    """
    return (
        sys.executable,
        "-P",  # Never import a module from the current directory.
        "-m",
        "listener.hear.microphone.process",
        f"--device={device}",
        f"--channel={channel}",
        f"--rate-hz={SAMPLE_RATE_HZ}",
        f"--block-samples={FRAME_SAMPLES}",
        f"--parent={os.getpid()}",
    )


def _empty_block() -> Samples:
    return np.zeros(0, np.int16)
