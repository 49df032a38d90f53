"""Rooms and noise: at the level that was asked for, and the same each time."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import fftconvolve

from listener.audio.pcm import Samples
from listener.errors import Unavailable
from listener.evaluate.corpus.augmentation import (
    Condition,
    MixChoice,
    Mixer,
    choose_mix,
    measure_noise,
    read_response,
    repeat_noise,
)
from listener.evaluate.corpus.speech_level import SpeechLevel, decibels

RATE = 16_000
RNG = np.random.default_rng(4)


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    path = tmp_path / "noise.wav"
    soundfile.write(path, (RNG.standard_normal(3 * RATE) * 800).astype(np.int16), RATE)
    return path


def speech() -> Samples:
    time_s = np.arange(2 * RATE) / RATE
    sound = 3_000 * np.sin(2 * np.pi * 300 * time_s) * (time_s % 1 < 0.6)
    return sound.astype(np.int16)


def played(samples: Samples, size: int = 5_000) -> Iterator[Samples]:
    for first in range(0, len(samples), size):
        yield samples[first : first + size]


def mixed(choice: MixChoice, size: int = 5_000, samples: Samples | None = None) -> Samples:
    sound = speech() if samples is None else samples
    return np.concatenate(list(Mixer().mix(lambda: played(sound, size), choice)))


def test_audio_without_noise_or_room_is_unchanged() -> None:
    assert np.array_equal(mixed(MixChoice()), speech())


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 10.0, 30.0])
def test_noise_has_the_requested_snr(noise: Path, snr_db: float) -> None:
    level = SpeechLevel()
    level.push(speech().astype(np.float64))
    assert level.active_rms is not None

    added = mixed(MixChoice(noise=noise, snr_db=snr_db)).astype(float) - speech()

    found_db = decibels(level.active_rms) - decibels(float(np.sqrt((added**2).mean())))
    assert found_db == pytest.approx(snr_db, abs=0.3)


@pytest.mark.parametrize("offset", [-6_554, 6_554])
def test_direct_offsets_do_not_change_the_ratio(tmp_path: Path, noise: Path, offset: int) -> None:
    samples, _ = soundfile.read(noise, dtype="int16")
    soundfile.write(tmp_path / "offset.wav", samples + np.int16(offset), RATE)
    choice = MixChoice(noise=noise, snr_db=5.0)

    plain = mixed(choice).astype(int)
    by_noise = mixed(replace(choice, noise=tmp_path / "offset.wav")).astype(int)
    by_item = mixed(choice, samples=speech() + np.int16(offset)).astype(int)

    assert np.abs(by_noise - plain).max() <= 1
    assert np.abs(by_item - offset - plain).max() <= 2


def test_noise_in_silence_assumes_a_default_speech_level(noise: Path) -> None:
    silence = np.zeros(2 * RATE, np.int16)

    added = mixed(MixChoice(noise=noise, snr_db=10.0), samples=silence).astype(float)

    assert decibels(float(np.sqrt((added**2).mean()))) == pytest.approx(-36, abs=0.3)


def test_augmentation_does_not_depend_on_block_sizes(noise: Path) -> None:
    choice = MixChoice(noise=noise, noise_at=0.7, snr_db=5.0)

    assert np.array_equal(mixed(choice), mixed(choice))
    assert np.array_equal(mixed(choice, 32_000), mixed(choice, 777))


def test_noise_starts_at_its_offset_and_repeats(noise: Path) -> None:
    samples, _ = soundfile.read(noise, dtype="int16")

    stream = repeat_noise(noise, 0.5)
    heard = np.concatenate([next(stream) for _ in range(6)])

    begin = len(samples) // 2
    expected = np.concatenate([samples[begin:], samples, samples])[: len(heard)]
    assert np.array_equal(heard, expected)


def test_room_convolution_keeps_the_position_of_words(tmp_path: Path) -> None:
    echo = np.zeros(40_000)
    echo[100], echo[8_000], echo[35_000] = 0.5, 0.3, -0.2
    soundfile.write(tmp_path / "room.wav", (echo * 32_767).astype(np.int16), RATE)

    heard = mixed(MixChoice(room=tmp_path / "room.wav"))

    response = read_response(tmp_path / "room.wav")
    expected = fftconvolve(speech().astype(float), response)[: 2 * RATE]
    assert len(response) == 39_900
    assert (response**2).sum() == pytest.approx(1, abs=1e-5)
    assert np.abs(heard - expected).max() <= 1


def test_speech_level_is_measured_after_the_room_response(tmp_path: Path, noise: Path) -> None:
    echo = np.zeros(2_000)
    echo[0], echo[1_500] = 0.5, 0.5
    soundfile.write(tmp_path / "room.wav", (echo * 32_767).astype(np.int16), RATE)

    wet = mixed(MixChoice(room=tmp_path / "room.wav"))
    both = mixed(MixChoice(room=tmp_path / "room.wav", noise=noise, snr_db=10.0))

    level = SpeechLevel()
    level.push(wet.astype(np.float64))
    added = both.astype(float) - wet
    assert level.active_rms is not None
    found_db = decibels(level.active_rms) - decibels(float(np.sqrt((added**2).mean())))
    assert found_db == pytest.approx(10, abs=0.3)


@pytest.mark.parametrize("speech_dbov", [-40.0, -26.0])
def test_speech_is_scaled_to_the_requested_level(noise: Path, speech_dbov: float) -> None:
    alone = mixed(MixChoice(speech_dbov=speech_dbov))
    noisy = mixed(MixChoice(noise=noise, snr_db=10.0, speech_dbov=speech_dbov))

    level = SpeechLevel()
    level.push(alone.astype(np.float64))
    assert level.active_rms is not None
    assert decibels(level.active_rms) == pytest.approx(speech_dbov, abs=0.1)
    added = noisy.astype(float) - alone
    added_db = decibels(float(np.sqrt((added**2).mean())))
    assert added_db == pytest.approx(speech_dbov - 10, abs=0.3)


def test_clipped_samples_are_counted(noise: Path) -> None:
    mixer = Mixer()
    loud = np.tile(np.array([32_000, -32_000], np.int16), RATE // 2)

    sound = np.concatenate(
        list(mixer.mix(lambda: played(loud), MixChoice(noise=noise, snr_db=0.0)))
    )

    assert sound.max() == 32_767
    assert mixer.clipped_samples > 1_000
    list(mixer.mix(lambda: played(loud), MixChoice()))
    assert mixer.clipped_samples == 0


def test_choice_is_deterministic_for_item_and_play() -> None:
    noises = tuple(Path(f"{number}.wav") for number in range(50))
    condition = Condition("noisy", 10.0, noises, noises)

    first = choose_mix(condition, 1, "a.wav", 0)

    assert first == choose_mix(condition, 1, "a.wav", 0)
    others = [
        choose_mix(condition, 1, "b.wav", 0),
        choose_mix(condition, 1, "a.wav", 1),
        choose_mix(condition, 2, "a.wav", 0),
    ]
    assert all(other.noise_at != first.noise_at for other in others)
    assert first.snr_db == 10.0


def test_all_noises_and_rooms_are_chosen() -> None:
    noises = (Path("a"), Path("b"), Path("c"))
    choices = [choose_mix(Condition("x", 5.0, noises, noises), 1, str(n), 0) for n in range(90)]

    assert {choice.noise for choice in choices} == set(noises)
    assert {choice.room for choice in choices} == set(noises)


def test_clean_condition_has_no_noise_or_room() -> None:
    assert choose_mix(Condition(), 1, "a.wav", 0) == MixChoice()


def test_silent_noise_or_room_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "silent.wav"
    soundfile.write(path, np.zeros(1_000, np.int16), RATE)

    with pytest.raises(Unavailable, match="contains only silence"):
        measure_noise(path)
    with pytest.raises(Unavailable, match="contains only silence"):
        read_response(path)


def test_noise_file_with_only_an_offset_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "offset.wav"
    soundfile.write(path, np.full(1_000, 6_554, np.int16), RATE)

    with pytest.raises(Unavailable, match="contains only silence"):
        measure_noise(path)


def test_empty_noise_or_room_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    soundfile.write(path, np.zeros(0, np.int16), RATE)

    with pytest.raises(Unavailable, match="contains no audio"):
        next(repeat_noise(path, 0.3))
    with pytest.raises(Unavailable, match="contains only silence"):
        read_response(path)


def test_long_impulse_response_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    soundfile.write(path, np.ones(21 * RATE, np.int16), RATE)

    with pytest.raises(Unavailable, match="too long for an impulse response"):
        read_response(path)
