"""The trace of a survey: scores, levels, gaps and times of a room, without audio. Pure.

A trace is JSON Lines with a closed schema: a line for each start (``opened``), for each stretch of
audio of at most a minute (``heard``) and for each gap (``gap``). Every field is a number within
bounds, a time, a hash or a short name; no field can hold audio, and levels are means over 2 s.
``docs/research/survey.md`` says what a trace reveals.

`TraceBuilder` makes the stretches from frames and scores. It takes only the power of a frame,
summed over 2 s with that of its neighbours; it keeps no sample.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
from msgspec import UNSET, Meta, UnsetType

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Frame, GapReason, Samples
from listener.config import Probability, ShortName
from listener.wakeword.detector import NearMiss, Step, Wake

LEVEL_FRAMES: Final = 25
"""Frames over which a level is averaged: 2 s."""
PART_FRAMES: Final = 30 * LEVEL_FRAMES
"""Frames in the longest stretch: a minute."""
LOWEST_LEVEL_DB: Final = -120
"""Level of silence, in dB of full scale."""
LONGEST_LINE_BYTES: Final = 1 << 16

_HIGHEST_SAMPLE: Final = 9_999_999_999_999  # 19 years
_FULL_SCALE: Final = 32_768.0

Sample = Annotated[int, Meta(ge=0, le=_HIGHEST_SAMPLE)]
Score = Annotated[float, Meta(ge=0, le=1)]
LevelDb = Annotated[int, Meta(ge=LOWEST_LEVEL_DB, le=0)]
Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Run = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
Utc = Annotated[
    str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z\Z")
]
Monotonic = Annotated[float, Meta(ge=0, le=1e12)]


class _TraceLine(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"
):
    """A line of a trace."""


class TraceWord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A wake word and its rule on the device."""

    sha256: Hash
    """SHA-256 of the model's file."""
    second_opinion: Hash | UnsetType = UNSET
    """SHA-256 of the file of the second network; absent if there is none."""
    threshold: Score
    patience_steps: Annotated[int, Meta(ge=1, le=100)]
    refractory_samples: Sample
    near_miss_threshold: Score


class OpenedLine(_TraceLine, frozen=True, kw_only=True, tag="opened"):
    """The start of a survey; sample positions start at 0."""

    v: Literal[1] = 1
    device: ShortName
    run: Run
    """Random id of this start."""
    earmark: Annotated[str, Meta(pattern=r"^[0-9A-Za-z.+-]{1,32}\Z")]
    utc: Utc
    monotonic_s: Monotonic
    step_samples: Annotated[int, Meta(ge=160, le=FRAME_SAMPLES)]
    """Samples between scores."""
    floor: Probability
    """Lowest score that is stored, 0 to 1; thresholds below it cannot be evaluated."""
    lazy: bool
    first_stage: Literal[True] | msgspec.UnsetType = msgspec.UNSET
    """Whether a first stage chose the steps that were computed."""
    words: Annotated[dict[ShortName, TraceWord], Meta(min_length=1, max_length=64)]


class TraceDetection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A wake or a near miss on the device."""

    kind: Literal["wake", "near_miss"]
    word: ShortName
    score: Score
    end_sample: Sample


class WordScores(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Scores of one word at or above the floor."""

    steps: tuple[Annotated[int, Meta(ge=0, le=PART_FRAMES * 8)], ...]
    """Indices of the steps in the stretch, from 0, rising."""
    scores: tuple[Score, ...]
    """Score of each of these steps: the shortest decimal of the float32."""


class HeardLine(_TraceLine, frozen=True, kw_only=True, omit_defaults=True, tag="heard"):
    """A stretch of audio without a gap."""

    first_sample: Sample
    end_sample: Sample
    utc: Utc
    """Time of ``end_sample``."""
    monotonic_s: Monotonic
    """The same by the monotonic clock, which restarts with the machine."""
    levels_db: Annotated[tuple[LevelDb, ...], Meta(max_length=PART_FRAMES // LEVEL_FRAMES)]
    """Mean power of each 2 s without the direct offset, in whole dB of full scale; the last may
    cover less."""
    scores: dict[ShortName, WordScores]
    """Scores by word; a word that never reached the floor is absent."""
    found: tuple[TraceDetection, ...]
    own_sound: (
        Annotated[tuple[tuple[Sample, Sample], ...], Meta(min_length=1, max_length=PART_FRAMES)]
        | UnsetType
    ) = UNSET
    """Stretches in which the device's own loudspeaker may have sounded, begin and end in samples;
    absent if there are none."""
    skipped: dict[ShortName, tuple[Annotated[int, Meta(ge=0, le=PART_FRAMES * 8)], ...]] = {}
    """Steps of the stretch that were not computed, by word: begin and end of each run, rising."""


class GapLine(_TraceLine, frozen=True, kw_only=True, tag="gap"):
    """A stretch without audio; the detector starts anew after it."""

    reason: GapReason
    first_sample: Sample
    length_samples: Sample
    utc: Utc
    """Time of its end; the gap may continue in the next line."""
    monotonic_s: Monotonic


Line = OpenedLine | HeardLine | GapLine


def encode(line: Line) -> bytes:
    """Return the JSON of a line with its newline."""
    return msgspec.json.encode(line) + b"\n"


def decode(data: bytes) -> Line:
    """Parse a line.

    Args:
        data: any bytes are safe.

    Raises:
        ValueError: the bytes are not a line, too long, or contradict themselves. Nothing else is
            raised.
    """
    if len(data) > LONGEST_LINE_BYTES:
        raise ValueError(f"longer than {LONGEST_LINE_BYTES} bytes")
    try:
        line: Line = msgspec.json.decode(data, type=Line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not a line of a trace: {error}") from error
    parse_time(line.utc)
    if isinstance(line, HeardLine) and not _is_consistent(line):
        raise ValueError("the fields of this line contradict each other")
    return line


def parse_time(utc: str) -> datetime:
    """Parse a time in a trace.

    Raises:
        ValueError: the time does not exist.
    """
    return datetime.fromisoformat(utc.removesuffix("Z")).replace(tzinfo=UTC)


def format_time(time: datetime) -> str:
    """Return a time in the format of a trace."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def shorten_score(score: float) -> float:
    """Return the shortest decimal that reads back as the same float32: half the length."""
    return float(np.format_float_positional(np.float32(score)))


def line_start(line: HeardLine | GapLine) -> datetime:
    """Return the time of the first sample of a line."""
    if isinstance(line, HeardLine):
        return parse_time(line.utc) - _seconds(line.end_sample - line.first_sample)
    return parse_time(line.utc) - _seconds(line.length_samples)


class TraceBuilder:
    """Builder of stretches from frames and scores. Not safe for use by several threads."""

    def __init__(
        self, words: Sequence[str], floor: float, step_samples: int, late_frames: int = 0
    ) -> None:
        """Start the first stretch.

        Args:
            words: names of the words whose scores are stored.
            floor: lowest score that is stored, 0 to 1.
            step_samples: samples between scores.
            late_frames: frames by which scores may come late. A stretch ends as many before its
                greatest length, unless scores are pending then.
        """
        self._late_frames = late_frames
        self._words = tuple(words)
        self._floor = floor
        self._step_samples = step_samples
        self._clear(0)

    def frame(
        self, frame: Frame, steps: Iterable[Step], detections: Iterable[Wake | NearMiss]
    ) -> None:
        """Add a frame and its detections; call `take` before a frame that follows a gap.

        Args:
            frame: only its power is used.
            steps: steps of this frame.
            detections: wakes and near misses at this frame; a near miss may be earlier.
        """
        if not self._frames:
            self._clear(frame.first_sample)
        if frame.has_own_sound:
            if self._own_sound and self._own_sound[-1][1] == frame.first_sample:
                self._own_sound[-1] = (self._own_sound[-1][0], frame.end_sample)
            else:
                self._own_sound.append((frame.first_sample, frame.end_sample))
        if self._frames % LEVEL_FRAMES == 0:
            self._powers.append(_Power())
        self._powers[-1].push(frame.samples)
        self._frames += 1
        for step in steps:
            place = (step.end_sample - self._first_sample) // self._step_samples - 1
            self._steps = place + 1
            for word in self._words:
                score = step.scores.get(word)
                if score is None:
                    self._skip(word, place)
                elif score >= self._floor:
                    places, values = self._scores.setdefault(word, ([], []))
                    places.append(place)
                    values.append(shorten_score(score))
        for event in detections:
            kind: Literal["wake", "near_miss"] = "wake" if isinstance(event, Wake) else "near_miss"
            self._found.append(
                TraceDetection(
                    kind=kind,
                    word=event.word,
                    score=shorten_score(event.score),
                    end_sample=event.end_sample,
                )
            )

    @property
    def is_full(self) -> bool:
        """True once the stretch has a minute of audio, or ends before it with no score pending."""
        is_pending = self._steps * self._step_samples < self._frames * FRAME_SAMPLES
        return self._frames >= PART_FRAMES - (0 if is_pending else self._late_frames)

    def take(self, utc: datetime, monotonic_s: float) -> HeardLine | None:
        """Return the stretch since the previous one, if any, and start a new one.

        Args:
            utc: time of the end of the last frame.
            monotonic_s: the same by the monotonic clock, in seconds.
        """
        if not self._frames:
            return None
        end_sample = self._first_sample + self._frames * FRAME_SAMPLES
        # Scores that are pending at a gap are never computed.
        for place in range(self._steps, self._frames * FRAME_SAMPLES // self._step_samples):
            for word in self._words:
                self._skip(word, place)
        heard = HeardLine(
            first_sample=self._first_sample,
            end_sample=end_sample,
            utc=format_time(utc),
            monotonic_s=round(monotonic_s, 3),
            levels_db=tuple(_level_db(part.mean) for part in self._powers),
            scores={
                word: WordScores(steps=tuple(places), scores=tuple(values))
                for word, (places, values) in self._scores.items()
            },
            found=tuple(self._found),
            own_sound=tuple(self._own_sound) or UNSET,
            skipped={word: tuple(runs) for word, runs in self._skipped.items()},
        )
        self._clear(end_sample)
        return heard

    def _clear(self, first_sample: int) -> None:
        self._first_sample = first_sample
        self._frames = 0
        self._powers: list[_Power] = []
        self._scores: dict[str, tuple[list[int], list[float]]] = {}
        self._found: list[TraceDetection] = []
        self._own_sound: list[tuple[int, int]] = []
        self._skipped: dict[str, list[int]] = {}
        self._steps = 0

    def _skip(self, word: str, place: int) -> None:
        """Add a step to the runs of those that were not computed."""
        runs = self._skipped.setdefault(word, [])
        if runs and runs[-1] == place:
            runs[-1] = place + 1
        else:
            runs += [place, place + 1]


class _Power:
    """Power of some frames without their direct offset, which is not sound."""

    def __init__(self) -> None:
        self._samples = self._sum = self._squares = 0

    def push(self, samples: Samples) -> None:
        whole = samples.astype(np.int64)
        self._samples += len(whole)
        self._sum += int(whole.sum())
        self._squares += int(whole @ whole)

    @property
    def mean(self) -> float:
        """Variance of all samples; exact, since it is computed in integers."""
        return (self._squares * self._samples - self._sum**2) / self._samples**2


def _level_db(power: float) -> int:
    """Return mean power in whole dB of full scale."""
    lowest = 10 ** (LOWEST_LEVEL_DB / 10) * _FULL_SCALE**2
    return min(0, round(10 * math.log10(max(power, lowest) / _FULL_SCALE**2)))


def _is_consistent(line: HeardLine) -> bool:
    length = line.end_sample - line.first_sample
    frames = length // FRAME_SAMPLES
    return (
        0 < frames <= PART_FRAMES
        and length == frames * FRAME_SAMPLES
        and len(line.levels_db) == -(-frames // LEVEL_FRAMES)
        and all(
            len(word.steps) == len(word.scores) and all(a < b for a, b in pairwise(word.steps))
            for word in line.scores.values()
        )
        and _is_within(line)
        and all(
            len(runs) % 2 == 0 and all(a < b for a, b in pairwise(runs))
            for runs in line.skipped.values()
        )
    )


def _is_within(line: HeardLine) -> bool:
    """Return whether the stretches of own sound rise and lie within the line."""
    at = line.first_sample
    for begin, end in line.own_sound or ():
        if not at <= begin < end:
            return False
        at = end
    return at <= line.end_sample


def _seconds(samples: int) -> timedelta:
    return timedelta(seconds=samples / SAMPLE_RATE_HZ)
