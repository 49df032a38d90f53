"""Traces for tests: made by the survey's own loop from scores that are told."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from listener.audio.pcm import FRAME_SAMPLES, Frame, Gap, GapReason, Sound
from listener.hear.survey import StreamClock, Survey, SystemClock
from listener.storage.journal import Journal
from listener.wakeword import trace
from listener.wakeword.detector import Rule, StreamDetector
from listener.wakeword.features import Floats
from listener.wakeword.trace import TraceBuilder

BEGAN = datetime(2026, 3, 4, 20, 0, 0, tzinfo=UTC)
RULE = Rule(0.5, patience_steps=1, refractory_samples=32_000, near_miss_threshold=0.2)


class ToldModel:
    """Gives each frame the scores that were told."""

    steps_per_frame = 1

    def __init__(self, words: Sequence[str], rows: Floats) -> None:
        self.words = self.columns = tuple(words)
        self._rows = rows
        self._at = 0

    def restart(self) -> None:
        """Go on: what is told goes on through gaps."""

    def push(self, samples: object) -> Floats:
        del samples
        self._at += 1
        return self._rows[self._at - 1 : self._at]


class StartClock(SystemClock):
    """Stands at a moment."""

    def __init__(self, began: datetime) -> None:
        self._began = began

    def utc(self) -> datetime:
        return self._began

    def monotonic_s(self) -> float:
        return 1000.0


def write_trace(
    path: Path,
    scores: Mapping[str, Sequence[float]],
    *,
    device: str = "hall",
    began: datetime = BEGAN,
    rule: Rule = RULE,
    floor: float = 0.02,
    gaps: Sequence[int] = (),
    sha256: str = "ab" * 32,
) -> None:
    """Write a trace of scores, one a frame.

    Args:
        path: appended to.
        scores: by word, all of one length.
        device: its name.
        began: when the first sample was heard.
        rule: of every word.
        floor: of the trace.
        gaps: indices of frames before which a second is missing.
        sha256: of every word's model.
    """
    rows = np.array(list(scores.values()), np.float32).T
    position = 0

    def sounds() -> list[Sound]:
        made: list[Sound] = []
        wave = np.tile(np.array([100, -100], np.int16), FRAME_SAMPLES // 2)
        at = 0
        for index in range(len(rows)):
            if index in gaps:
                made.append(Gap(GapReason.OVERRUN, at, 16_000))
                at += 16_000
            made.append(Frame(wave, at))
            at += FRAME_SAMPLES
        return made

    def passing(all_sounds: list[Sound]) -> object:
        nonlocal position
        for sound in all_sounds:
            length = FRAME_SAMPLES if isinstance(sound, Frame) else sound.length_samples
            position = sound.first_sample + length
            yield sound

    journal = Journal(path)
    journal.append(
        trace.encode(
            trace.OpenedLine(
                device=device,
                run="00112233445566aa",
                earmark="0.2.0",
                utc=trace.format_time(began),
                monotonic_s=1000,
                step_samples=FRAME_SAMPLES,
                floor=floor,
                lazy=True,
                words={
                    word: trace.TraceWord(
                        sha256=sha256,
                        threshold=rule.threshold,
                        patience_steps=rule.patience_steps,
                        refractory_samples=rule.refractory_samples,
                        near_miss_threshold=rule.near_miss_threshold,
                    )
                    for word in scores
                },
            )
        )
    )
    survey = Survey(
        StreamDetector(ToldModel(tuple(scores), rows), dict.fromkeys(scores, rule)),
        TraceBuilder(tuple(scores), floor, FRAME_SAMPLES),
        journal,
        StreamClock(StartClock(began), lambda: position),
    )
    survey.listen(passing(sounds()), bool)  # type: ignore[arg-type] # an iterator of sounds
    journal.close()


def rises(length: int, *places: int, height: float = 0.9) -> list[float]:
    """Scores of nothing, with a rise of three steps at each place."""
    scores = [0.0] * length
    for place in places:
        scores[place - 1 : place + 2] = [0.3, height, 0.3]
    return scores
