"""The live microphone: a process of its own that is started, waited for, ended, and tried again.

Only the gate may import this module. Whatever a device or its process does, the ear hears of it as
a gap and goes on.
"""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from listener.audio.level import ConstantSignalDetector
from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, GapReason, Samples
from listener.hear.memory import allocate_locked
from listener.hear.microphone.child import CaptureProcess, ProcessEnded
from listener.hear.microphone.records import (
    HEADER,
    BlockRecord,
    Cause,
    FailedRecord,
    OpenedRecord,
    OverrunRecord,
    ProtocolError,
)
from listener.hear.microphone.waiting import Poller, WaitResult, Watch
from listener.system.backoff import Backoff

TURN_S: Final = FRAME_SAMPLES / SAMPLE_RATE_HZ
"""No wait is longer, so that a stop is heard and the watchdog is fed."""

_log = logging.getLogger(__name__)

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
        "listener.hear.microphone.capture",
        f"--device={device}",
        f"--channel={channel}",
        f"--rate-hz={SAMPLE_RATE_HZ}",
        f"--block-samples={FRAME_SAMPLES}",
        f"--parent={os.getpid()}",
    )


def _nothing() -> Samples:
    return np.zeros(0, np.int16)
