from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Gap, GapReason, Sound
from listener.hear.survey import GAP_EVERY_SAMPLES, StreamClock, Survey, SystemClock
from listener.wakeword import trace
from listener.wakeword.detector import NearMiss, Step, Wake
from listener.wakeword.trace import TraceBuilder
from tests.fakes import ScriptedDetector, told

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


class SteppingDetector(ScriptedDetector):
    """Gives every frame the same score."""

    @property
    def steps(self) -> tuple[Step, ...]:
        frame = self.frames[-1]
        return (Step(frame.first_sample, frame.end_sample, {"alexa": 0.25}),)


class FakeClock:
    """Stands until it is set."""

    def __init__(self) -> None:
        self.since_s = 0.0

    def utc(self) -> datetime:
        return NOW + timedelta(seconds=self.since_s)

    def monotonic_s(self) -> float:
        return 100 + self.since_s


class Lines:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.lines: list[trace.Line] = []

    def append(self, line: bytes) -> bool:
        self.lines.append(trace.decode(line.rstrip(b"\n")))
        return True


def listen(
    sounds: Sequence[Sound], *found: Wake | NearMiss
) -> tuple[Survey, list[trace.Line], list[int]]:
    lines, turns, clock = Lines(), list[int](), FakeClock()
    survey = Survey(
        SteppingDetector(*found), TraceBuilder(("alexa",), 0.02, FRAME_SAMPLES), lines, clock
    )

    def passing() -> None:
        turns.append(1)

    survey.listen(sounds, passing)
    return survey, lines.lines, turns


def test_one_minute_of_audio_is_one_line() -> None:
    survey, lines, turns = listen(told(2 * trace.PART_FRAMES + 3))

    assert [type(line) for line in lines] == [trace.HeardLine] * 3
    lengths = [
        line.end_sample - line.first_sample for line in lines if isinstance(line, trace.HeardLine)
    ]
    assert lengths == [960_000, 960_000, 3 * FRAME_SAMPLES]
    assert survey.heard_samples == sum(lengths)
    assert len(turns) == 2 * trace.PART_FRAMES + 3


def test_gaps_while_muted_are_one_line_per_minute() -> None:
    shut = [
        Gap(GapReason.MUTED, at, FRAME_SAMPLES)
        for at in range(0, GAP_EVERY_SAMPLES + 10 * FRAME_SAMPLES, FRAME_SAMPLES)
    ]

    survey, lines, _ = listen([*shut, *told(1, 1_000_000)])

    gaps = [line for line in lines if isinstance(line, trace.GapLine)]
    assert [(gap.first_sample, gap.length_samples) for gap in gaps] == [
        (0, GAP_EVERY_SAMPLES),
        (GAP_EVERY_SAMPLES, 10 * FRAME_SAMPLES),
    ]
    assert survey.missing_samples == GAP_EVERY_SAMPLES + 10 * FRAME_SAMPLES
    assert isinstance(lines[-1], trace.HeardLine)


def test_gaps_of_different_reasons_are_different_lines() -> None:
    _, lines, _ = listen(
        [
            *told(1),
            Gap(GapReason.LOST, FRAME_SAMPLES),
            Gap(GapReason.MUTED, FRAME_SAMPLES, 640),
            Gap(GapReason.MUTED, FRAME_SAMPLES + 640, 640),
            *told(1, 2 * FRAME_SAMPLES),
            Gap(GapReason.END, 3 * FRAME_SAMPLES),
        ]
    )

    kinds = [line.reason if isinstance(line, trace.GapLine) else "heard" for line in lines]
    assert kinds == ["heard", GapReason.LOST, GapReason.MUTED, "heard"]


def test_wakes_and_near_misses_are_counted_and_written() -> None:
    wake, near = Wake("alexa", 0.9, 2 * FRAME_SAMPLES, 0.5), NearMiss("alexa", 0.3, FRAME_SAMPLES)

    survey, (line,), _ = listen(told(3), wake, near)

    assert (survey.wakes, survey.near_misses) == (1, 1)
    assert isinstance(line, trace.HeardLine)
    assert {found.kind for found in line.found} == {"wake", "near_miss"}
    assert line.scores["alexa"].steps == (0, 1, 2)


def test_audio_before_the_stop_is_written() -> None:
    _, lines, _ = listen([*told(5), Gap(GapReason.MUTED, 5 * FRAME_SAMPLES, 640)])

    assert [type(line) for line in lines] == [trace.HeardLine, trace.GapLine]


def test_fast_recordings_are_dated_by_stream_position() -> None:
    position = 0
    clock = StreamClock(FakeClock(), lambda: position)

    position = 90 * SAMPLE_RATE_HZ

    assert clock.utc() == NOW + timedelta(seconds=90)
    assert clock.monotonic_s() == 190


def test_system_clocks_advance() -> None:
    clock = SystemClock()

    assert clock.utc().tzinfo is UTC
    assert clock.monotonic_s() <= clock.monotonic_s()
