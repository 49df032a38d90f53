from pathlib import Path

import numpy as np
import pytest
import soundfile

from listener.errors import Unavailable
from listener.train.acoustics import Surroundings, place_speech, read_surroundings

WORD = np.rint(
    20_000 * np.sin(2 * np.pi * 440 / 16_000 * np.arange(8_000)) * np.hanning(8_000)
).astype(np.int16)


def test_word_is_where_it_is_said_to_be() -> None:
    for seed in range(12):
        placed = place_speech(WORD, len(WORD), Surroundings(), np.random.default_rng(seed))

        # The tone stands out of any noise in a narrow band.
        length = len(placed.samples)
        carrier = np.exp(-2j * np.pi * 440 / 16_000 * np.arange(length))
        total = np.concatenate([[0], np.cumsum(placed.samples * carrier)])
        power = np.abs(total[800:] - total[:-800]) ** 2  # of the 800 samples from each on
        middle = placed.end - len(WORD) // 2
        assert power[middle - 2_500 : middle + 2_000].max() == power.max()


def test_recorded_noise_and_rooms_are_used(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(0, 1000, 32_000).astype(np.int16)
    room = np.zeros(4_000, np.int16)
    room[[100, 2_000]] = 20_000, 15_000
    for name, sound in (("noise", noise), ("room", room)):
        soundfile.write(tmp_path / f"{name}.wav", sound, 16_000)

    recorded = read_surroundings((), [tmp_path / "noise.wav"], [tmp_path / "room.wav"])

    assert np.array_equal(recorded.noises[0], noise)
    assert recorded.rooms[0][0] > 0
    differ = 0
    for seed in range(20):
        plain, used = (
            place_speech(WORD, len(WORD), each, np.random.default_rng(seed))
            for each in (Surroundings(), recorded)
        )
        assert plain.end == used.end
        differ += not np.array_equal(plain.samples, used.samples)
    assert differ > 10


def test_silent_noise_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000, np.int16), 16_000)

    with pytest.raises(Unavailable, match="only silence"):
        read_surroundings((), [tmp_path / "silent.wav"])


def test_silent_context_is_harmless() -> None:
    talk = (np.zeros(100, np.int16),)

    for seed in range(20):
        placed = place_speech(WORD, 8_000, Surroundings(talk), np.random.default_rng(seed))
        assert np.abs(placed.samples.astype(int)).max() > 1_000
