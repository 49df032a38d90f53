"""The survey's loop: judge each sound from the gate, sum it up, and write a line a minute."""

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from listener.audio.pcm import SAMPLE_RATE_HZ, Frame, Gap, GapReason, Sound
from listener.wakeword.detector import NearMiss, Step, Wake
from listener.wakeword.trace import GapLine, TraceBuilder, encode, format_time

GAP_EVERY_SAMPLES: Final = 60 * SAMPLE_RATE_HZ
"""A long gap is written this often, so that a power cut costs no more of it."""


class LineSink(Protocol):
    """Where lines go; see `journal.Journal`."""

    def append(self, line: bytes) -> bool:
        """Write a line; say whether it is safe."""


class SteppingDetector(Protocol):
    """What gives scores and wakes; see `wakeword.detector.StreamDetector`."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of the last push, oldest first."""

    def push(self, sound: Sound) -> tuple[Wake | NearMiss, ...]:
        """Take the next frame, or the gap before it; return what was found, oldest first."""


class SurveyClock(Protocol):
    """When the newest sound was heard, by two clocks."""

    def utc(self) -> datetime:
        """By the one on the wall, which may be set."""

    def monotonic_s(self) -> float:
        """By the one that never goes back, in seconds."""


class SystemClock:
    """The machine's own, for sound that is heard in its own time."""

    def utc(self) -> datetime:
        """Return the time of day."""
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        """Return the kernel's monotonic time."""
        return time.monotonic()


class StreamClock:
    """Dates what is heard faster than life as if it had been heard in its own time."""

    def __init__(self, start: SurveyClock, position_samples: Callable[[], int]) -> None:
        """Begin now.

        Args:
            start: asked once.
            position_samples: how far the stream has come.
        """
        self._utc = start.utc()
        self._monotonic_s = start.monotonic_s()
        self._position_samples = position_samples

    def utc(self) -> datetime:
        """Return the start, and what was heard or missed since."""
        return self._utc + timedelta(seconds=self._position_samples() / SAMPLE_RATE_HZ)

    def monotonic_s(self) -> float:
        """Return the same by the other clock."""
        return self._monotonic_s + self._position_samples() / SAMPLE_RATE_HZ


class Survey:
    """The loop's state between two sounds. One thread."""

    def __init__(
        self, detector: SteppingDetector, tracer: TraceBuilder, keeper: LineSink, clock: SurveyClock
    ) -> None:
        """Join the parts.

        Args:
            detector: gives scores and wakes.
            tracer: sums them up.
            keeper: takes lines.
            clock: asked once a sound: when a gap comes, what was heard before it is past.
        """
        self._detector = detector
        self._tracer = tracer
        self._keeper = keeper
        self._clock = clock
        self._gap: Gap | None = None
        self._heard_at = self._missed_at = self._now()
        self.heard_samples = 0
        self.missing_samples = 0
        self.wakes = 0
        self.near_misses = 0

    def listen(self, sounds: Iterable[Sound], alive: Callable[[], object]) -> None:
        """Hear everything, until nothing comes any more.

        Args:
            sounds: from the gate; a frame's samples are not kept beyond its turn.
            alive: called once a sound, for the watchdog.
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
        """Make one gap of many: a shut gate gives one for each frame's time."""
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
        self._keeper.append(encode(missing))

    def _end_stretch(self) -> None:
        heard = self._tracer.take(*self._heard_at)
        if heard is not None:
            self._keeper.append(encode(heard))

    def _now(self) -> tuple[datetime, float]:
        return self._clock.utc(), self._clock.monotonic_s()
