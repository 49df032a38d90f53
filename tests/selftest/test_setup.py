from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener import config
from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.config import parse_settings
from listener.selftest.setup import KEEPER, MARGIN_S, WatermarkScene, compose, set_up
from listener.selftest.watermark import Watermark
from listener.storage.home import Home
from listener.storage.recordings import open_recording

MARKED = Watermark(1)
WORD = np.full(8_000, 9, np.int16)


def blocks(scene: WatermarkScene, from_s: float, to_s: float) -> int:
    first, end = (round(at_s * SAMPLE_RATE_HZ) for at_s in (from_s, to_s))
    return MARKED.find(scene.samples[first:end].tobytes()).count


@given(st.floats(1, 5))
def test_scene_is_silent_for_a_ring_length_before_each_check(
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


def test_word_follows_mute_and_watermark_follows_the_word() -> None:
    scene = compose(MARKED, WORD, 2.0, 2.0)

    (word,) = np.flatnonzero(np.convolve(scene.samples == 9, np.ones(8_000), "valid") == 8_000)
    after_s = (word + len(WORD)) / SAMPLE_RATE_HZ

    assert word / SAMPLE_RATE_HZ >= scene.unmute_s + 0.5
    assert blocks(scene, after_s, after_s + 2.0) == 2_000


def test_watermark_follows_all_speech() -> None:
    command = np.full(4_000, 7, np.int16)
    scene = compose(MARKED, np.concatenate((WORD, command)), 2.0, 2.0)

    (word,) = np.flatnonzero(np.convolve(scene.samples == 9, np.ones(8_000), "valid") == 8_000)
    spoken = scene.samples[word : word + len(WORD) + len(command)]
    after_s = (word + len(spoken)) / SAMPLE_RATE_HZ

    assert spoken.tolist() == [9] * len(WORD) + [7] * len(command)
    assert blocks(scene, after_s, after_s + 2.0) == 2_000
    assert blocks(scene, scene.sealed_s - 2.0, scene.sealed_s) == 0


@pytest.mark.parametrize("length_samples", [16_000])
def test_silence_is_never_constant(length_samples: int) -> None:
    scene = compose(MARKED, WORD, 2.0, 2.0)

    stretches = np.lib.stride_tricks.sliding_window_view(scene.samples, length_samples)[::800]

    assert (stretches.max(axis=1) > stretches.min(axis=1)).all()


def test_temporary_home_has_a_keeper_and_no_secret_key(tmp_path: Path) -> None:
    setup = set_up(tmp_path, config.ClipSettings())

    assert Home(setup.home).keeper(KEEPER) == KEEPER
    everything = b"".join(path.read_bytes() for path in setup.files())
    assert b"AGE-SECRET-KEY" not in everything


@pytest.mark.parametrize("has_parts", [False, True])
def test_temporary_home_has_the_devices_clip_settings_and_no_broker(
    tmp_path: Path, *, has_parts: bool
) -> None:
    setup = set_up(tmp_path, config.ClipSettings(ring_s=3.5, provisional_parts=has_parts))

    settings = parse_settings(setup.config.read_text("utf-8"), "the configuration")

    assert settings.clip.ring_s == 3.5
    assert settings.clip.provisional_parts is has_parts
    assert settings.broker.host == "127.0.0.1"
    assert settings.mute.switch == "none"


def test_sound_is_written_unchanged(tmp_path: Path) -> None:
    samples = np.arange(-800, 800, dtype=np.int16)

    path = set_up(tmp_path, config.ClipSettings()).write_sound("sound.wav", samples)

    with open_recording(path) as recording:
        read = recording.read(2_000)
    assert read is not None
    assert read.tolist() == samples.tolist()
    assert path.stat().st_size == 44 + 2 * len(samples), "as far as it was read is known by bytes"
