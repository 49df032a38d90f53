from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.audio.pcm import Samples
from listener.inference.catalogue import Catalogue
from listener.wakeword.features import BANDS, SILENT_LEVEL, START_LEVEL, Mel
from models.embedding.convert import MODELS

WEIGHTS = np.load(MODELS / "embedding" / "mel.npy")

# From digital silence through single bits to full scale, loud and quiet side by side.
LEVELS = st.lists(st.tuples(st.integers(0, 15), st.integers(40, 2_000)), min_size=1, max_size=12)


def sound(levels: list[tuple[int, int]], seed: int, length: int) -> Samples:
    random = np.random.default_rng(seed)
    parts = [random.integers(-(1 << bits), 1 << bits, count) * (bits > 0) for bits, count in levels]
    return np.resize(np.concatenate(parts), length).astype(np.int16)


def theirs(network: Any, samples: Samples) -> Any:
    output = network.run(None, {"input": samples.astype(np.float32)[None]})[0]
    return output.reshape(-1, BANDS) / 10 + 2


@pytest.fixture(scope="session")
def original_mel(original: Callable[[str], Any]) -> Any:
    return original("melspectrogram")


@given(levels=LEVELS, seed=st.integers(0, 2**32))
@settings(max_examples=40)
def test_mel_frames_equal_the_original_network(
    original_mel: Any,
    levels: list[tuple[int, int]],
    seed: int,
) -> None:
    samples = sound(levels, seed, 6 * 1280)
    mel = Mel(WEIGHTS, 8)

    ours = [mel.step(samples[at : at + 1280]).copy() for at in range(0, len(samples), 1280)]

    for index in range(1, 6):
        history = samples[index * 1280 - 480 : (index + 1) * 1280]
        np.testing.assert_allclose(ours[index], theirs(original_mel, history), atol=2e-3)
    # The first call of openWakeWord has no history: five frames, three old ones before them.
    np.testing.assert_allclose(ours[0][3:], theirs(original_mel, samples[:1280]), atol=2e-3)
    assert (ours[0][:3] == START_LEVEL).all()


def test_mel_frames_of_recordings_are_close_to_the_original(
    original_mel: Any,
    spoken: dict[str, Samples],
) -> None:
    samples = spoken["alexa_command"]
    mel = Mel(WEIGHTS, 8)
    mel.step(samples[:1280])

    differences = [
        np.abs(
            mel.step(samples[at : at + 1280]) - theirs(original_mel, samples[at - 480 : at + 1280])
        ).max()
        for at in range(1280, len(samples) - 1280, 1280)
    ]

    assert max(differences) < 1e-4


def test_last_mel_frame_ends_with_the_step_at_a_40_ms_hop(
    original_mel: Any,
    spoken: dict[str, Samples],
) -> None:
    samples = spoken["alexa_command"]
    mel = Mel(WEIGHTS, 4)

    ours = [mel.step(samples[at : at + 640]).copy() for at in range(0, 640 * 100, 640)]

    for index in range(2, 100):
        # Two steps back, so that the original's floor spans the same eight frames.
        history = samples[max((index - 1) * 640 - 352, 0) : (index + 1) * 640]
        np.testing.assert_allclose(ours[index], theirs(original_mel, history)[-4:], atol=1e-4)
    assert (ours[0][:3] == START_LEVEL).all()


def test_floor_at_a_40_ms_hop_spans_the_last_eight_frames() -> None:
    mel = Mel(WEIGHTS, 4)
    loud = (np.sin(np.arange(640)) * 30_000).astype(np.int16)
    silent = np.zeros(640, np.int16)

    levels = [mel.step(samples).min() for samples in (loud, loud, silent, silent, silent)]

    # The window still reaches into the loud step once; then its level is the floor once more.
    assert levels[2] > SILENT_LEVEL + 1
    assert levels[3] > SILENT_LEVEL + 1
    assert levels[4] == pytest.approx(SILENT_LEVEL, abs=1e-6)


@pytest.mark.parametrize("hop_frames", [8, 4])
def test_reset_clears_the_mel_state(hop_frames: int) -> None:
    mel = Mel(WEIGHTS, hop_frames)
    fresh = Mel(WEIGHTS, hop_frames)
    samples = sound([(12, 1000)], 1, mel.hop_samples)
    for _ in range(3):
        mel.step(samples)

    mel.restart()

    assert not mel._samples.any()  # noqa: SLF001 - no sound may remain, wherever it is kept
    assert not mel._halves.any()  # noqa: SLF001 - sums of two samples tell of both
    np.testing.assert_array_equal(mel.step(samples), fresh.step(samples))


def test_mel_weights_match_the_catalogue_hash(catalogue: Catalogue) -> None:
    data = catalogue.embedding().contents[-1]

    assert data == (MODELS / "embedding" / "mel.npy").read_bytes()
