"""The live microphone: a process of its own that is started, waited for, ended, and tried again.

Only the gate may import this module. Whatever a device or its process does, the ear hears of it as
a gap and goes on.

The parent's end of the microphone's process: start it, read its pipe, end it.

Waiting for sound and for the switch at once, in one `poll`: an edge ends every wait.
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
"""One second of sound: an ear that is slower than that loses some, and is told so."""

GRACE_S: Final = 0.25
"""So long the kernel has to clear a killed process away before we go on without waiting."""


_log = logging.getLogger(__name__)


class ProcessEnded(Exception):
    """The process closed its pipe."""


class CaptureProcess:
    """One life of the microphone's process. One thread.

    Args:
        command: what to run; it writes records to its standard output.
        memory: bytes for one record at a time; see `records.Reader`.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, command: Sequence[str], memory: memoryview) -> None:
        out, into = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            # The writer's end blocks: whoever captures waits for whoever hears, not the reverse.
            os.set_blocking(into, True)
            with contextlib.suppress(OSError):
                fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            # ALSA explains itself at length, about devices that nobody asked for.
            talk = None if _log.isEnabledFor(logging.INFO) else subprocess.DEVNULL
            self._process = subprocess.Popen(  # noqa: S603 - a list, never a shell: no device name can be a command
                command, stdin=subprocess.DEVNULL, stdout=into, stderr=talk
            )
        except BaseException:
            os.close(out)
            raise
        finally:
            os.close(into)
        self._pipe: Final = out
        self._is_closed = False
        self._reader = Reader(memory)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def fileno(self) -> int:
        """Return the pipe's descriptor, to wait on."""
        return self._pipe

    def read_record(self) -> Record | None:
        """Read without waiting; return a record, or None while it is not there as a whole.

        Raises:
            Garbled: what came is no record.
            Ended: nothing comes any more.
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
        """End it at once, and with it what is still in the pipe; say whether it is gone.

        False only for a process that hangs in a driver, and that nobody listens to any more: call
        again until it is gone.
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


_ERROR_EVENTS: Final = select.POLLERR | select.POLLHUP | select.POLLNVAL

Watch = Callable[[], Sequence[int]]


class WaitResult(Enum):
    """What ended a wait."""

    READABLE = auto()
    """There is something to read from the microphone's process, or it has ended."""
    EDGE = auto()
    """The switch wants to be asked, or has just been lost."""
    IN_VAIN = auto()
    """Time is up."""


class Poller:
    """Waits, and sums up for how long. One thread.

    Args:
        watch: returns descriptors that end every wait when they become readable: the switch's.
        monotonic_s: a clock in seconds that never goes back.
    """

    def __init__(self, watch: Watch, monotonic_s: Callable[[], float]) -> None:
        self._watch: Final = watch
        self._monotonic_s: Final = monotonic_s
        self._lost_lines: set[int] = set()
        self.waited_s = 0.0
        """In all waits since `begin`."""

    def begin(self) -> None:
        """Count the time from here on: something came, or something new is waited for."""
        self.waited_s = 0.0

    def wait(self, longest_s: float, pipe: int | None) -> WaitResult:
        """Wait for the process, for an edge, or in vain; an edge comes first.

        Args:
            longest_s: the limit; at 0 or below it is only looked.
            pipe: the descriptor that the process speaks through; None where there is none.
        """
        began_s = self._monotonic_s()
        poll = select.poll()
        if pipe is not None:
            poll.register(pipe, select.POLLIN)
        edges: set[int] = set()
        with contextlib.suppress(OSError):  # The gate asks next, and hears of it.
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
            # A line that is gone is always ready: to wait for it again would be to spin.
            for number in known:
                poll.unregister(number)
            edges -= known
            gone |= known
        self._lost_lines = lost | gone
        self.waited_s += self._monotonic_s() - began_s
        if any(number in ready for number in edges - known):
            return WaitResult.EDGE
        return WaitResult.READABLE if pipe in ready else WaitResult.IN_VAIN


TURN_S: Final = FRAME_SAMPLES / SAMPLE_RATE_HZ
"""No wait is longer, so that a stop is heard and the watchdog is fed."""


Tell = Callable[[OpenedRecord | FailedRecord], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class MicrophoneTimeouts:
    """How patient the ear is with its microphone."""

    start_s: float = 6.0
    """From starting the process to the open device."""
    stall_s: float = 1.0
    """Between blocks."""
    constant_s: float = 1.5
    """Of samples that are all the same; 0 has no limit."""
    settled_s: float = 5.0
    """After so much sound the next failure is a new one."""
    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0


class LiveMicrophone:
    """A device, heard through a process that mute kills. One thread.

    Args:
        command: starts the process; it writes `records`.
        watch: returns descriptors that end every wait when they become readable: the switch's.
        tell: hears when sound begins to come (`OpenedRecord`) and when it no longer does
            (`FailedRecord`); once for each change.
        monotonic_s: a clock in seconds that never goes back.
        limits: how patient it is.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        watch: Watch,
        tell: Tell,
        monotonic_s: Callable[[], float],
        limits: MicrophoneTimeouts = MicrophoneTimeouts(),
    ) -> None:
        self._command: Final = tuple(command)
        self._tell: Final = tell
        self._monotonic_s: Final = monotonic_s
        self._limits: Final = limits
        self._buffer: Final = allocate_locked(HEADER.size // 2 + FRAME_SAMPLES)
        self._memory: Final = self._buffer.view(np.uint8).data
        self._constancy: Final = ConstantSignalDetector(round(limits.constant_s * SAMPLE_RATE_HZ))
        self._child: CaptureProcess | None = None
        self._dying: list[CaptureProcess] = []
        self._opened: OpenedRecord | None = None
        self._heard_samples = 0
        self._waiting: Final = Poller(watch, monotonic_s)
        self._is_after_overrun = False
        self._pauses: Final = Backoff(limits.first_pause_s, limits.longest_pause_s)
        self._due_s = float("-inf")
        self._told: OpenedRecord | FailedRecord | None = None
        self._is_muted = False
        self._passed_by_s: float | None = None

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._child.pid if self._child else None

    def read(self) -> Samples | GapReason | int | None:
        """Wait for the next block; for one frame's time at most, and not beyond an edge."""
        self._is_muted = False
        child = self._child or self._start()
        if not isinstance(child, CaptureProcess):
            return child
        waited = self._waiting.wait(TURN_S, child.fileno())
        if waited is WaitResult.READABLE:
            return self._take(child)
        limit_s = self._limits.stall_s if self._opened else self._limits.start_s
        if waited is WaitResult.IN_VAIN and self._waiting.waited_s >= limit_s:
            return self._report_lost(Cause.STALLED)
        return _nothing()

    def close(self) -> None:
        """End the process, in a few milliseconds, and wipe what it last said."""
        self._end()
        if not self._is_muted:
            self._is_muted = True
            self._due_s = float("-inf")
            self._passed_by_s = None

    def skip(self) -> int:
        """Let a frame's time pass, or less when an edge comes; the first time after `close`, none.

        So that what has to be wiped is wiped before anybody waits.
        """
        return self._pass_time()

    def _start(self) -> CaptureProcess | GapReason | int:
        """Start the process if it is time; else let time pass."""
        if self._dying or self._monotonic_s() < self._due_s:
            return self._pass_time()
        self._opened, self._heard_samples = None, 0
        self._waiting.begin()
        self._is_after_overrun = False
        self._constancy.reset()
        try:
            self._child = CaptureProcess(self._command, self._memory)
        except OSError as error:
            _log.error("the microphone's process does not start: %s", error.strerror)
            return self._report_lost(Cause.DIED)
        return self._child

    def _take(self, child: CaptureProcess) -> Samples | GapReason:
        try:
            record = child.read_record()
        except ProtocolError:
            return self._report_lost(Cause.GARBLED)
        except ProcessEnded:
            return self._report_lost(Cause.DIED)
        return _nothing() if record is None else self._handle(record)

    def _handle(
        self, record: OpenedRecord | BlockRecord | OverrunRecord | FailedRecord
    ) -> Samples | GapReason:
        match record:
            case FailedRecord(cause):
                return self._report_lost(cause)
            case OpenedRecord() if self._opened is None:
                self._opened = record
                self._waiting.begin()
                return _nothing()
            case OverrunRecord() if self._opened is not None and not self._is_after_overrun:
                self._is_after_overrun = True
                return GapReason.OVERRUN
            case BlockRecord(payload) if self._opened is not None:
                return self._accept_block(np.frombuffer(payload, np.int16), self._opened)
            case _:
                return self._report_lost(Cause.GARBLED)  # Each is a record, but they make no sense.

    def _accept_block(self, block: Samples, opened: OpenedRecord) -> Samples | GapReason:
        self._waiting.begin()
        self._passed_by_s = None
        self._is_after_overrun = False
        self._heard_samples += len(block)
        if self._constancy.push(block):
            block[...] = 0
            return self._report_lost(Cause.ZEROS)
        if self._heard_samples >= self._limits.settled_s * SAMPLE_RATE_HZ:
            self._pauses.reset()
        # A device that gives nothing but zeros has not come back.
        if self._told != opened and (not self._limits.constant_s or block.min() != block.max()):
            self._told = opened
            _log.info("the microphone is open at %d Hz", opened.rate_hz)
            self._tell(opened)
        return block

    def _report_lost(self, cause: Cause) -> GapReason:
        self._end()
        self._due_s = self._monotonic_s() + self._pauses.next_delay_s()
        self._passed_by_s = None
        failed = FailedRecord(cause)
        if self._told != failed:
            self._told = failed
            _log.warning("there is no sound from the microphone (%s); it is tried again", cause)
            self._tell(failed)
        return GapReason.LOST

    def _end(self) -> None:
        if self._child is not None:
            self._dying.append(self._child)
            self._child = None
        self._dying = [child for child in self._dying if not child.kill()]
        self._buffer.fill(0)

    def _pass_time(self) -> int:
        """Let time go by; return how many samples would have been heard in it."""
        if self._passed_by_s is None:
            self._passed_by_s = self._monotonic_s()
            return 0
        if not self._is_muted:
            self._dying = [child for child in self._dying if not child.kill()]
        left_s = self._passed_by_s + TURN_S - self._monotonic_s()
        self._waiting.wait(left_s, None)
        now_s = self._monotonic_s()
        samples = round((now_s - self._passed_by_s) * SAMPLE_RATE_HZ)
        self._passed_by_s = now_s
        return samples


def capture_command(device: str, channel: int) -> tuple[str, ...]:
    """Return what starts the microphone's process.

    Args:
        device: ``default``, an index, or part of a name.
        channel: which of its channels is heard, from 0.
    """
    return (
        sys.executable,
        "-P",  # The folder we stand in holds no modules of ours.
        "-m",
        "listener.hear.microphone.process",
        f"--device={device}",
        f"--channel={channel}",
        f"--rate-hz={SAMPLE_RATE_HZ}",
        f"--block-samples={FRAME_SAMPLES}",
        f"--parent={os.getpid()}",
    )


def _nothing() -> Samples:
    return np.zeros(0, np.int16)
