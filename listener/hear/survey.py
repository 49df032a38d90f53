"""Survey loop: scores each frame from the gate and writes one line of the trace per minute."""

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from listener.audio.pcm import SAMPLE_RATE_HZ, Frame, Gap, GapReason, Sound
from listener.wakeword.detector import NearMiss, Step, Wake
from listener.wakeword.trace import GapLine, TraceBuilder, encode, format_time

GAP_EVERY_SAMPLES: Final = 60 * SAMPLE_RATE_HZ
"""Interval at which a long gap is written, which limits the loss at a power cut."""


class LineSink(Protocol):
    """Destination of trace lines."""

    def append(self, line: bytes) -> bool:
        """Write a line; return True if it is on the disk."""


class SteppingDetector(Protocol):
    """Detector that reports its steps; see `wakeword.detector.StreamDetector`."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """Steps of the last push, oldest first."""

    def push(self, sound: Sound) -> tuple[Wake | NearMiss, ...]:
        """Take the next frame, or the gap before it; return the detections, oldest first."""


class SurveyClock(Protocol):
    """Time of the newest frame or gap, by two clocks."""

    def utc(self) -> datetime:
        """Return the wall clock time, which may be set."""

    def monotonic_s(self) -> float:
        """Return the monotonic time, in seconds."""


class SystemClock:
    """Clock of this machine, for audio in real time."""

    def utc(self) -> datetime:
        """Return the wall clock time."""
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        """Return the monotonic time, in seconds."""
        return time.monotonic()


class StreamClock:
    """Clock for recordings processed as fast as possible: advances with the stream."""

    def __init__(self, start: SurveyClock, position_samples: Callable[[], int]) -> None:
        """Start at the current time.

        Args:
            start: clock of the start time; called once.
            position_samples: returns the position in the stream, in samples.
        """
        self._utc = start.utc()
        self._monotonic_s = start.monotonic_s()
        self._position_samples = position_samples

    def utc(self) -> datetime:
        """Return the start time plus the position in the stream."""
        return self._utc + timedelta(seconds=self._position_samples() / SAMPLE_RATE_HZ)

    def monotonic_s(self) -> float:
        """Return the monotonic start time plus the position in the stream, in seconds."""
        return self._monotonic_s + self._position_samples() / SAMPLE_RATE_HZ


class Survey:
    """Survey loop and its state between two frames or gaps. For one thread only."""

    def __init__(
        self, detector: SteppingDetector, tracer: TraceBuilder, sink: LineSink, clock: SurveyClock
    ) -> None:
        """Connect the parts of the survey.

        Args:
            detector: computes scores and wakes.
            tracer: summarises them.
            sink: stores trace lines.
            clock: called once per frame or gap.
        """
        self._detector = detector
        self._tracer = tracer
        self._sink = sink
        self._clock = clock
        self._gap: Gap | None = None
        self._heard_at = self._missed_at = self._now()
        self.heard_samples = 0
        self.missing_samples = 0
        self.wakes = 0
        self.near_misses = 0

    def listen(self, sounds: Iterable[Sound], alive: Callable[[], object]) -> None:
        """Process frames and gaps until ``sounds`` ends.

        Args:
            sounds: frames and gaps from the gate; a frame's samples are read only until the next
                frame or gap is requested.
            alive: called once per frame or gap, for the watchdog.
        """
        for sound in sounds:
            alive()
            detections = self._detector.push(sound)
            if isinstance(sound, Frame):
                self._end_gap()
                self._count(detections)
                self.heard_samples += len(sound.samples)
                self._tracer.frame(sound, self._detector.steps, detections)
                self._heard_at = self._now()
                if self._tracer.is_full:
                    self._end_stretch()
            else:
                self._end_stretch()
                self._lengthen_gap(sound)
        self._end_stretch()
        self._end_gap()

    def _count(self, detections: tuple[Wake | NearMiss, ...]) -> None:
        wakes = sum(isinstance(event, Wake) for event in detections)
        self.wakes += wakes
        self.near_misses += len(detections) - wakes

    def _lengthen_gap(self, gap: Gap) -> None:
        """Merge successive gaps: a muted gate yields one for each frame period."""
        self.missing_samples += gap.length_samples
        if self._gap is not None and self._gap.reason is not gap.reason:
            self._end_gap()
        if self._gap is not None:
            length = self._gap.length_samples + gap.length_samples
            gap = Gap(gap.reason, self._gap.first_sample, length)
        self._gap = gap
        self._missed_at = self._now()
        if gap.length_samples >= GAP_EVERY_SAMPLES:
            self._end_gap()

    def _end_gap(self) -> None:
        gap, self._gap = self._gap, None
        if gap is None or gap.reason is GapReason.END:
            return
        missing = GapLine(
            reason=gap.reason,
            first_sample=gap.first_sample,
            length_samples=gap.length_samples,
            utc=format_time(self._missed_at[0]),
            monotonic_s=round(self._missed_at[1], 3),
        )
        self._sink.append(encode(missing))

    def _end_stretch(self) -> None:
        heard = self._tracer.take(*self._heard_at)
        if heard is not None:
            self._sink.append(encode(heard))

    def _now(self) -> tuple[datetime, float]:
        return self._clock.utc(), self._clock.monotonic_s()
