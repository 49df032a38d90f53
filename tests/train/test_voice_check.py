from collections.abc import Iterable

import numpy as np

from listener.audio.pcm import FRAME_SAMPLES, Samples
from listener.evaluate.engines.interface import ScoreTrack
from listener.train.voice_check import check_voices
from tests.train.fake_voices import ToneEngine


class LengthDetector:
    """Scores a clip by its length: above 3.05 s it is detected."""

    words = ("alexa",)
    thresholds = {"alexa": 0.5}  # noqa: RUF012 - a constant of the fake
    patience_frames = {"alexa": 1}  # noqa: RUF012 - another constant of the fake

    def track(self, blocks: Iterable[Samples]) -> ScoreTrack:
        samples = np.concatenate(list(blocks))
        assert not samples[:24_000].any()
        assert 9_000 < np.abs(samples.astype(int)).max() < 10_000
        scores = np.zeros((len(samples) // FRAME_SAMPLES, 1), np.float32)
        scores[-1] = 0.9 if len(samples) > 3.05 * 16_000 else 0.1
        return ScoreTrack(self.words, scores, FRAME_SAMPLES, FRAME_SAMPLES, len(samples))


def test_share_of_each_engine() -> None:
    engines = [ToneEngine("short", 0.5), ToneEngine("long", 1.2), ToneEngine("silent", 0.0)]

    short, long, silent = check_voices("alexa", engines, LengthDetector(), 1, 8)

    assert (short.engine, short.clips, short.detected, short.share) == ("short", 8, 0, 0.0)
    assert (long.clips, long.detected, long.share) == (8, 8, 1.0)
    assert round(long.median, 3) == 0.9
    assert (silent.clips, silent.share, silent.median) == (0, 0.0, 0.0)
