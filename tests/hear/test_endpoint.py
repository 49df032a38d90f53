"""The endpoint on people's voices: bare words and words with a sentence behind them."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from listener.audio.clip import EndReason, Recorder, longest_samples
from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Framer, Gap, GapReason, Samples
from listener.audio.ring_buffer import Ring
from listener.config import ClipSettings, WakeSettings
from listener.inference.build import build_detector
from listener.inference.catalogue import Catalogue
from listener.inference.onnx import SpeechNet
from listener.wakeword.detector import Wake
from tests.fakes import PlainBuffers

pytestmark = pytest.mark.recordings


def room(seconds: float) -> Samples:
    """A quiet room."""
    noise = np.random.default_rng(5).integers(-30, 31, round(seconds * SAMPLE_RATE_HZ))
    return noise.astype(np.int16)


def word_alone(path: Path) -> Samples:
    """A recording without the quiet after its word."""
    sound: Samples = soundfile.read(path, dtype="int16")[0]
    loudness = np.convolve(np.abs(sound.astype(np.float32)), np.ones(800), "same")
    return sound[: int(np.flatnonzero(loudness > 0.05 * loudness.max())[-1]) + 1]


@pytest.mark.parametrize(
    ("pause_s", "expected"),
    [(None, EndReason.NO_SPEECH), (0.0, EndReason.SILENCE), (0.3, EndReason.SILENCE)],
    ids=["bare", "one breath", "short pause"],
)
def test_endpoint_is_correct_for_most_wake_words(
    recordings: Path, home: Path, pause_s: float | None, expected: EndReason
) -> None:
    catalogue = Catalogue(home)
    settings = ClipSettings()
    detector = build_detector(
        [catalogue.load("alexa")], catalogue.embedding(), WakeSettings(lazy=False)
    )
    speech = SpeechNet(catalogue.speech())
    sentence_file = min((recordings / "speakers" / "librispeech").rglob("*.flac"))
    sentence = soundfile.read(sentence_file, dtype="int16")[0][8_000:32_000]
    said = [] if pause_s is None else [room(pause_s), sentence]
    ended: Counter[EndReason] = Counter()

    for path in sorted((recordings / "positive" / "alexa").glob("*.flac"))[::2]:
        ring = Ring(np.zeros(25 * FRAME_SAMPLES, np.int16))
        recorder = Recorder(ring, speech, settings, PlainBuffers(1, longest_samples(settings)))
        detector.push(Gap(GapReason.START, 0))
        has_woken = False
        for frame in Framer().push(np.concatenate([room(2), word_alone(path), *said, room(5)])):
            ring.push(frame)
            clip = recorder.push(frame)
            if clip is not None:
                ended[clip.end_reason] += 1
                break
            if any(isinstance(e, Wake) for e in detector.push(frame)) and not has_woken:
                has_woken = True
                recorder.start(frame.end_sample)

    assert sum(ended.values()) >= 48
    assert ended[expected] >= 0.95 * sum(ended.values()), ended
