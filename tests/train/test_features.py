"""Embeddings for training are those that the device computes, step by step."""

from pathlib import Path

import numpy as np
import soundfile

from listener.audio.pcm import FRAME_SAMPLES, Framer
from listener.config import WakeSettings
from listener.inference.build import build_detector
from listener.inference.catalogue import Catalogue
from listener.inference.onnx import HeadNet
from listener.train.features import FIRST_WINDOW, WINDOW_FRAMES, Embedder

FIXTURE = Path(__file__).parents[1] / "fixtures" / "alexa_command.flac"


def test_windows_score_as_on_the_device(home: Path) -> None:
    catalogue = Catalogue(home)
    word = catalogue.load("alexa")
    samples, _ = soundfile.read(FIXTURE, dtype="int16")
    detector = build_detector([word], catalogue.embedding(), WakeSettings(lazy=False))
    streamed = []
    for frame in Framer().push(samples):
        detector.push(frame)
        streamed += [step.scores["alexa"] for step in detector.steps]

    embeddings = Embedder(catalogue.embedding(), catalogue.long_embedding()).embed(samples)
    head = HeadNet(word.data, word.name)
    ends = range(FIRST_WINDOW, len(embeddings))
    scores = [float(head.score(embeddings[end - WINDOW_FRAMES + 1 : end + 1])[0]) for end in ends]

    assert len(embeddings) == len(streamed) == len(samples) // FRAME_SAMPLES
    assert max(scores) > 0.9
    np.testing.assert_allclose(scores, streamed[FIRST_WINDOW:], atol=1e-4)
    assert not embeddings[:5].any()


def test_second_recording_starts_a_new_stream(home: Path) -> None:
    catalogue = Catalogue(home)
    embedder = Embedder(catalogue.embedding(), catalogue.long_embedding())
    samples, _ = soundfile.read(FIXTURE, dtype="int16")

    first = embedder.embed(samples)
    embedder.embed(samples[::-1].copy())

    assert (embedder.embed(samples) == first).all()
    assert embedder.embed(samples[: FRAME_SAMPLES - 1]).shape == (0, 96)
