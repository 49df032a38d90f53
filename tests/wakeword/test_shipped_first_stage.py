"""The shipped first stage: its figures hold the limits, and words wake as without it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Frame, Samples
from listener.config import WakeSettings
from listener.inference.build import FirstStageModels, build_batch, build_detector
from listener.inference.catalogue import Catalogue
from listener.storage.recordings import read_recording
from listener.train.bounds import Pair, score_recording
from listener.wakeword.detector import StreamDetector, Wake
from listener.wakeword.manifest import Manifest, Model
from listener.wakeword.student import read_weights

pytestmark = pytest.mark.system  # real models over whole recordings of ours

CLIPS = {
    "alexa": ("alexa", "alexa_command", "alexa_twice"),
    "hey-jarvis": ("hey_jarvis_command",),
    "hey-mycroft": ("hey_mycroft_command",),
}
MOST_SPEECH = 0.06
"""Part of the steps of speech at which the embedding network may run for the default word."""
MOST_LOST = 0.003
"""Part of the words that wake without the first stage and may be lost."""
TEACHER_MULTIPLICATIONS = 5_600_000


@pytest.fixture(scope="module")
def shipped(catalogue: Catalogue) -> Model:
    return catalogue.load("first-stage")


@pytest.fixture(scope="module")
def manifest(shipped: Model) -> Manifest:
    return shipped.manifest


def test_it_knows_every_shipped_word(catalogue: Catalogue, shipped: Model) -> None:
    words = [m.name for m in catalogue.manifests() if m.kind == "wake-word"]

    stage = catalogue.first_stage([catalogue.load(name) for name in words])

    assert stage == shipped


def test_its_figures_hold_the_limits(manifest: Manifest) -> None:
    woken = sum(word.woken for word in manifest.words.values())
    lost = sum(word.lost for word in manifest.words.values())

    assert woken >= 500
    assert lost <= MOST_LOST * woken
    assert manifest.words["alexa"].lost <= MOST_LOST * manifest.words["alexa"].woken
    assert max(word.speech_share for word in manifest.words.values()) <= MOST_SPEECH


def test_it_costs_a_small_part_of_the_embedding_network(shipped: Model) -> None:
    weights = read_weights(shipped.data, shipped.name)

    assert weights.multiplications <= TEACHER_MULTIPLICATIONS / 14


def wakes(detector: StreamDetector, frames: Iterator[Frame]) -> tuple[int, int]:
    """Return the wakes, and the steps that have a score."""
    found = scored = 0
    for frame in frames:
        found += sum(isinstance(event, Wake) for event in detector.push(frame))
        scored += sum(bool(step.scores) for step in detector.steps)
    return found, scored


@pytest.mark.parametrize("word", CLIPS)
def test_own_recordings_wake_on_the_device(
    word: str,
    catalogue: Catalogue,
    shipped: Model,
    spoken: dict[str, Samples],
    build: Callable[..., StreamDetector],
    cut: Callable[[Samples], Iterator[Frame]],
) -> None:
    model = catalogue.load(word)
    for name in CLIPS[word]:
        full, steps = wakes(build(word, lazy=False), cut(spoken[name]))
        settings = WakeSettings(words=(word,), lazy=False)
        networks = catalogue.embedding(), catalogue.long_embedding()
        device = build_detector(
            [model], networks[0], settings, FirstStageModels(shipped, networks[1])
        )

        found, scored = wakes(device, cut(spoken[name]))

        assert found == full > 0
        assert scored < steps


def test_real_recordings_wake_and_speech_is_scored_at_few_steps(
    recordings: Path, catalogue: Catalogue, shipped: Model
) -> None:
    word = catalogue.load("alexa")
    pair = Pair(catalogue, word, shipped)
    room = np.random.default_rng(1).integers(-3, 4, SAMPLE_RATE_HZ).astype(np.int16)
    results = [
        pair.wakes(np.concatenate([room, read_recording(file, 10 * SAMPLE_RATE_HZ), room]))
        for file in sorted((recordings / "positive" / "alexa").iterdir())[::4]
    ]
    woken = sum(without for without, _ in results)
    kept = sum(without and with_it for without, with_it in results)
    networks = catalogue.embedding(), catalogue.long_embedding()
    model = build_batch([word], *networks, first_stage=shipped)
    scores = [
        score_recording(model, read_recording(file, 60 * SAMPLE_RATE_HZ))
        for file in sorted((recordings / "negative" / "librispeech").iterdir())
    ]
    scored = ~np.isnan(np.concatenate(scores))

    assert woken > 20
    assert kept == woken
    assert len(scored) * FRAME_SAMPLES > 300 * SAMPLE_RATE_HZ
    assert scored.mean() <= MOST_SPEECH
