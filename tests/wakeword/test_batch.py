"""Many steps at once give the scores of the device: for every model, from the first step."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.audio.pcm import FRAME_SAMPLES, Frame, Gap, GapReason, Samples
from listener.inference.build import build_batch
from listener.inference.catalogue import Catalogue
from listener.wakeword.batch import BATCH_STEPS
from listener.wakeword.detector import StreamDetector
from listener.wakeword.features import Mel
from listener.wakeword.second_opinion import RecordingModel

pytestmark = pytest.mark.system  # real models over whole recordings of ours

WORDS = ("alexa", "hey-jarvis", "hey-marvin", "hey-mycroft", "timer", "weather")
ALLOWED = 1e-4

Scores = np.ndarray[Any, np.dtype[np.float32]]


@pytest.fixture(scope="module")
def model(catalogue: Catalogue) -> RecordingModel:
    words = [catalogue.load(word) for word in WORDS]
    return build_batch(words, catalogue.embedding(), catalogue.long_embedding())


@pytest.fixture(scope="module")
def device(build: Callable[..., StreamDetector]) -> StreamDetector:
    return build(*WORDS, lazy=False)


def at_once(model: RecordingModel, samples: Samples) -> Scores:
    """Score ``samples`` from a fresh start, as many steps at once as there may be."""
    model.restart()
    longest = BATCH_STEPS * FRAME_SAMPLES
    whole = len(samples) // FRAME_SAMPLES * FRAME_SAMPLES
    return np.concatenate(
        [np.zeros((0, len(model.words)), np.float32)]
        + [model.push(samples[at : min(at + longest, whole)]) for at in range(0, whole, longest)]
    )


def step_by_step(device: StreamDetector, frames: Iterator[Frame]) -> Scores:
    device.push(Gap(GapReason.START, 0))
    rows = []
    for frame in frames:
        device.push(frame)
        rows.append([device.scores[word] for word in WORDS])
    return np.array(rows, np.float32).reshape(-1, len(WORDS))


def test_batch_scores_equal_streaming_scores_for_recordings(
    model: RecordingModel,
    device: StreamDetector,
    spoken: dict[str, Samples],
    cut: Callable[[Samples], Iterator[Frame]],
) -> None:
    highest = np.zeros(len(WORDS))

    for samples in spoken.values():
        whole, stepped = at_once(model, samples), step_by_step(device, cut(samples))
        assert np.abs(whole - stepped).max() <= ALLOWED
        highest = np.maximum(highest, stepped.max(axis=0))

    # Not only the zeros agree.
    assert (highest[:4] > [0.9, 0.9, 0.1, 0.9]).all()


@given(at=st.integers(0, 40_000), steps=st.integers(0, 3 * BATCH_STEPS + 1))
@settings(max_examples=20)
def test_batch_scores_equal_streaming_scores_at_any_length(
    model: RecordingModel,
    device: StreamDetector,
    spoken: dict[str, Samples],
    cut: Callable[[Samples], Iterator[Frame]],
    at: int,
    steps: int,
) -> None:
    samples = spoken["alexa_command"][at : at + steps * FRAME_SAMPLES]

    whole, stepped = at_once(model, samples), step_by_step(device, cut(samples))

    assert whole.shape == stepped.shape
    assert np.abs(whole - stepped).max(initial=0) <= ALLOWED


@pytest.mark.parametrize("level", [0, 1, 32_767, -32_768])
def test_batch_scores_equal_streaming_scores_at_extreme_levels(
    model: RecordingModel,
    device: StreamDetector,
    spoken: dict[str, Samples],
    cut: Callable[[Samples], Iterator[Frame]],
    level: int,
) -> None:
    flat = np.full(40_000, level, np.int16)
    samples = np.concatenate([flat, spoken["alexa"][24_000:56_000], flat])

    whole, stepped = at_once(model, samples), step_by_step(device, cut(samples))

    assert np.abs(whole - stepped).max() <= ALLOWED


def test_audio_before_a_reset_does_not_change_scores(
    model: RecordingModel, spoken: dict[str, Samples]
) -> None:
    first = at_once(model, spoken["talk"])

    at_once(model, spoken["alexa"])

    assert np.array_equal(at_once(model, spoken["talk"]), first)


def test_batch_mel_frames_equal_single_step_mel_frames(spoken: dict[str, Samples]) -> None:
    weights = np.load(Path(__file__).parents[2] / "models" / "embedding" / "mel.npy")
    many, single = Mel(weights, 8, 4), Mel(weights, 8)
    samples = spoken["alexa"][: 16 * FRAME_SAMPLES]

    together = [many.step(block).copy() for block in np.split(samples, 4)]
    apart = [single.step(block).copy() for block in np.split(samples, 16)]

    assert np.abs(np.concatenate(together) - np.concatenate(apart)).max() < 1e-4


@pytest.mark.recordings
@pytest.mark.timeout(240)
def test_batch_scores_equal_streaming_scores_for_real_speech(
    recordings: Path,
    read_folder: Callable[[Path, float], Samples],
    model: RecordingModel,
    device: StreamDetector,
    cut: Callable[[Samples], Iterator[Frame]],
) -> None:
    folders = {"positive/alexa": 90, "positive/jarvis": 60, "negative/librispeech": 60}
    samples = np.concatenate([read_folder(recordings / f, s) for f, s in folders.items()])

    whole, stepped = at_once(model, samples), step_by_step(device, cut(samples))

    assert np.abs(whole - stepped).max() <= ALLOWED
    assert stepped[:, 0].max() > 0.9
