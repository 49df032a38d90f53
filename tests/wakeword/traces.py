"""Sound that a tracer has heard."""

from datetime import UTC, datetime

from listener.audio.pcm import FRAME_SAMPLES, Frame, Samples
from listener.wakeword import trace
from listener.wakeword.detector import Step
from listener.wakeword.trace import TraceBuilder

NOW = datetime(2026, 3, 4, 5, 6, 7, 89_000, tzinfo=UTC)


def frames(sound: Samples, first_sample: int = 0) -> list[Frame]:
    return [
        Frame(sound[at : at + FRAME_SAMPLES], first_sample + at)
        for at in range(0, len(sound), FRAME_SAMPLES)
    ]


def step(frame: Frame, **scores: float) -> Step:
    return Step(frame.first_sample, frame.end_sample, scores)


def traced(sound: Samples, score: float = 0.0) -> trace.HeardLine:
    tracer = TraceBuilder(("alexa",), 0.02, FRAME_SAMPLES)
    for frame in frames(sound):
        tracer.frame(frame, [step(frame, alexa=score)], [])
    heard = tracer.take(NOW, 1.0)
    assert heard is not None
    return heard
