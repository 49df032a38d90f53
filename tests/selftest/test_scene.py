import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.selftest.scene import MARGIN_S, WatermarkScene, compose
from listener.selftest.watermark import Watermark

MARKED = Watermark(1)
WORD = np.full(8_000, 9, np.int16)


def blocks(scene: WatermarkScene, from_s: float, to_s: float) -> int:
    first, end = (round(at_s * SAMPLE_RATE_HZ) for at_s in (from_s, to_s))
    return MARKED.find(scene.samples[first:end].tobytes()).count


@given(st.floats(1, 5))
def test_a_scene_is_quiet_for_the_rings_length_before_each_look_that_must_find_nothing(
    ring_s: float,
) -> None:
    scene = compose(MARKED, WORD, ring_s, 2.0)

    assert blocks(scene, 0, scene.full_s) > ring_s * 1_000, "the ring is full"
    assert blocks(scene, scene.forgotten_s - ring_s, scene.forgotten_s) == 0
    assert blocks(scene, scene.mute_s - 0.1, scene.mute_s) >= 98, "mute comes in its midst"
    assert blocks(scene, scene.muted_s - MARGIN_S, scene.unmute_s) == 0
    assert blocks(scene, scene.sealed_s - ring_s, scene.sealed_s) == 0
    times = (scene.full_s, scene.forgotten_s, scene.mute_s, scene.muted_s, scene.unmute_s)
    assert list(times) == sorted(times)
    assert scene.unmute_s < scene.sealed_s < scene.length_s


def test_the_word_is_said_after_mute_and_the_watermark_follows_it_at_once() -> None:
    scene = compose(MARKED, WORD, 2.0, 2.0)

    (word,) = np.flatnonzero(np.convolve(scene.samples == 9, np.ones(8_000), "valid") == 8_000)
    after_s = (word + len(WORD)) / SAMPLE_RATE_HZ

    assert word / SAMPLE_RATE_HZ >= scene.unmute_s + 0.5
    assert blocks(scene, after_s, after_s + 2.0) == 2_000


@pytest.mark.parametrize("length_samples", [16_000])
def test_silence_is_never_constant(length_samples: int) -> None:
    scene = compose(MARKED, WORD, 2.0, 2.0)

    stretches = np.lib.stride_tricks.sliding_window_view(scene.samples, length_samples)[::800]

    assert (stretches.max(axis=1) > stretches.min(axis=1)).all()
