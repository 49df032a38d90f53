import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from listener.audio.level import SILENCE_DBFS, ConstantSignalDetector, LevelMeter, level_dbfs
from listener.audio.pcm import FRAME_SAMPLES, Samples


def tone(peak: int, length: int = FRAME_SAMPLES) -> Samples:
    wave = peak * np.sin(2 * np.pi * 400 * np.arange(length) / 16_000)
    samples: Samples = np.rint(wave).astype(np.int16)
    return samples


def test_full_scale_sine_is_3_db_below_full_scale() -> None:
    assert level_dbfs(tone(32_767)) == pytest.approx(-3.01, abs=0.01)


def test_digital_silence_has_the_silence_level() -> None:
    assert level_dbfs(np.zeros(10, np.int16)) == SILENCE_DBFS
    assert (
        LevelMeter().level_dbfs == LevelMeter().floor_dbfs == LevelMeter().peak_dbfs == SILENCE_DBFS
    )


def test_dc_offset_does_not_affect_the_level() -> None:
    assert level_dbfs(np.full(100, 3_000, np.int16)) == SILENCE_DBFS
    assert level_dbfs(tone(1_000) + np.int16(5_000)) == pytest.approx(level_dbfs(tone(1_000)))


def test_noise_floor_is_the_level_between_words() -> None:
    levels = LevelMeter()
    for at in range(20):
        levels.push(tone(30 if at % 4 == 0 else 8_000))

    assert levels.floor_dbfs == pytest.approx(level_dbfs(tone(30)))
    assert levels.level_dbfs > -18
    assert levels.peak_dbfs == pytest.approx(20 * math.log10(8_000 / 32_768), abs=0.01)
    assert levels.clipped_samples == 0
    assert levels.length_samples == 20 * FRAME_SAMPLES


def test_samples_at_full_scale_count_as_clipped() -> None:
    levels = LevelMeter()

    levels.push(np.array([-32_768, 32_767, 32_699, 0], np.int16))

    assert levels.clipped_samples == 2
    assert not levels.is_constant


def test_identical_samples_are_a_constant_signal() -> None:
    levels = LevelMeter()
    for _ in range(3):
        levels.push(np.full(100, -1, np.int16))

    assert levels.is_constant


blocks = st.lists(hnp.arrays(np.int16, st.integers(0, 30), elements=st.integers(0, 1)), max_size=20)


@given(blocks, st.integers(1, 60))
def test_constant_run_does_not_depend_on_block_sizes(pieces: list[Samples], limit: int) -> None:
    constancy = ConstantSignalDetector(limit)
    so_far = np.zeros(0, np.int16)
    for piece in pieces:
        so_far = np.concatenate([so_far, piece])
        others = np.flatnonzero(so_far != so_far[-1]) if len(so_far) else so_far
        run = len(so_far) - (int(others[-1]) + 1 if len(others) else 0)

        assert constancy.push(piece) is (run >= limit)


def test_limit_0_disables_and_reset_restarts_the_constant_run() -> None:
    never, soon = ConstantSignalDetector(0), ConstantSignalDetector(10)

    assert not never.push(np.zeros(1_000_000, np.int16))
    assert soon.push(np.zeros(10, np.int16))
    soon.reset()
    assert not soon.push(np.zeros(9, np.int16))
