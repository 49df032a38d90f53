"""Places of synthetic speech: other speech before and after it, rooms, microphones, noise and gain.

Everything is synthetic unless recordings are given: coloured noise, hum, babble and music, and
rooms by Polack's model. A stretch is reproducible from its random generator.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from listener.audio.acoustics import (
    convolve_response,
    make_coloured_noise,
    make_room_response,
    root_mean_square,
)
from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.errors import Unavailable
from listener.evaluate.corpus.augmentation import read_response
from listener.storage.recordings import read_recording
from listener.wakeword.features import Floats

Sound = NDArray[np.float64]

BEFORE_S: Final = (0.5, 1.6)
"""Range of the time before the speech."""
AFTER_S: Final = 0.5
"""Time after the speech, in which its reverberation ends."""
PEAK_DBFS: Final = (-28.0, -0.5)
"""Range of the peak of a stretch."""

_CONTEXT_SHARE: Final = 0.3
_CONTEXT_GAP_S: Final = (0.02, 0.4)
_CONTEXT_DB: Final = (-15.0, 0.0)
_FOLLOWED_SHARE: Final = 0.3
_FOLLOWING_GAP_S: Final = (0.05, 0.4)
_FOLLOWING_DB: Final = (-9.0, 0.0)
_DRY_SHARE: Final = 0.35
_RECORDED_ROOM_SHARE: Final = 0.4
_DECAY_S: Final = (0.1, 0.7)
_DIRECT_DB: Final = (-6.0, 12.0)
_COLOURED_SHARE: Final = 0.5
_TILT: Final = (-0.6, 0.6)
_NARROW_SHARE: Final = 0.3
_LOW_CUT_HZ: Final = (80.0, 350.0)
_HIGH_CUT_HZ: Final = (3200.0, 7500.0)
_NOISY_SHARE: Final = 0.7
_SNR_DB: Final = (0.0, 30.0)
_FAINT_SNR_DB: Final = (30.0, 55.0)
_RECORDED_NOISE_SHARE: Final = 0.7
_LONGEST_NOISE_S: Final = 120
_HUM_HZ: Final = (50.0, 60.0)
_TINY: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stretches are made with; empty tuples: everything is synthetic."""

    talk: tuple[Samples, ...] = ()
    """Speech without the wake word, int16: context before a word, and babble."""
    noises: tuple[Samples, ...] = ()
    """Recorded noise, int16."""
    rooms: tuple[Floats, ...] = ()
    """Recorded impulse responses, from the direct sound, with an energy of 1."""


@dataclass(frozen=True, slots=True)
class PlacedSpeech:
    """Speech in its surroundings."""

    samples: Samples
    """int16 at 16 kHz, shape (n,)."""
    end: int
    """Sample after the last one of the speech."""


def read_surroundings(
    talk: Sequence[Samples] = (), noises: Sequence[Path] = (), rooms: Sequence[Path] = ()
) -> Surroundings:
    """Read recorded noises and rooms.

    Args:
        talk: speech without the wake word.
        noises: noise recordings; at most two minutes of each are used.
        rooms: recordings of impulse responses.

    Raises:
        Unavailable: a file cannot be read, or is silent.
    """
    return Surroundings(
        tuple(talk),
        tuple(_read_noise(path) for path in noises),
        tuple(read_response(path) for path in rooms),
    )


def place_speech(
    speech: Samples, end: int, surroundings: Surroundings, random: Generator
) -> PlacedSpeech:
    """Place speech in a room with noise, between pauses or other speech, at some level.

    Args:
        speech: int16 at 16 kHz, shape (n,), not silent.
        end: sample after the last one of the speech, at most n.
        surroundings: what there is besides.
        random: chooses all of it.
    """
    word = speech.astype(np.float64) / max(1.0, float(np.abs(speech.astype(np.int32)).max()))
    before = round(random.uniform(*BEFORE_S) * SAMPLE_RATE_HZ)
    sound = np.zeros(before + len(word) + round(AFTER_S * SAMPLE_RATE_HZ))
    if surroundings.talk and random.random() < _CONTEXT_SHARE:
        _add_context(sound, before, surroundings.talk, random)
    if surroundings.talk and random.random() < _FOLLOWED_SHARE:
        _add_following(sound, before + end, surroundings.talk, random)
    sound[before : before + len(word)] += word
    sound = _into_room(_through_microphone(sound, random), surroundings.rooms, random)
    is_noisy = random.random() < _NOISY_SHARE
    snr_db = random.uniform(*(_SNR_DB if is_noisy else _FAINT_SNR_DB))
    noise = _make_noise(len(sound), surroundings, random)
    sound += noise * root_mean_square(word) * 10 ** (-snr_db / 20)
    sound *= 32_767 * 10 ** (random.uniform(*PEAK_DBFS) / 20) / max(np.abs(sound).max(), _TINY)
    return PlacedSpeech(np.rint(sound).astype(np.int16), before + end)


def _add_context(sound: Sound, before: int, talk: Sequence[Samples], random: Generator) -> None:
    end = before - round(random.uniform(*_CONTEXT_GAP_S) * SAMPLE_RATE_HZ)
    other = _cut(talk[int(random.integers(len(talk)))], end, random)
    sound[:end] += (
        other / max(np.abs(other).max(), _TINY) * 10 ** (random.uniform(*_CONTEXT_DB) / 20)
    )


def _add_following(sound: Sound, end: int, talk: Sequence[Samples], random: Generator) -> None:
    """Add speech that begins soon after the word, as a command does."""
    start = end + round(random.uniform(*_FOLLOWING_GAP_S) * SAMPLE_RATE_HZ)
    other = talk[int(random.integers(len(talk)))][: max(0, len(sound) - start)].astype(np.float64)
    level = 10 ** (random.uniform(*_FOLLOWING_DB) / 20) / max(np.abs(other).max(initial=0), _TINY)
    sound[start : start + len(other)] += other * level


def _through_microphone(sound: Sound, random: Generator) -> Sound:
    """Tilt the spectrum, and at times cut its ends, as cheap microphones do."""
    if random.random() >= _COLOURED_SHARE:
        return sound
    from scipy.signal import butter, lfilter  # noqa: PLC0415 - takes 0.5 s; loaded only for training

    sound = lfilter([1.0, random.uniform(*_TILT)], [1.0], sound)
    if random.random() < _NARROW_SHARE:
        band = (random.uniform(*_LOW_CUT_HZ), random.uniform(*_HIGH_CUT_HZ))
        sound = lfilter(*butter(2, band, "band", fs=SAMPLE_RATE_HZ), sound)
    return np.asarray(sound, np.float64)


def _into_room(sound: Sound, rooms: Sequence[Floats], random: Generator) -> Sound:
    kind = random.random()
    if kind < _DRY_SHARE:
        return sound
    if rooms and kind < _DRY_SHARE + _RECORDED_ROOM_SHARE * (1 - _DRY_SHARE):
        return convolve_response(sound, rooms[int(random.integers(len(rooms)))])
    response = make_room_response(random, random.uniform(*_DECAY_S), random.uniform(*_DIRECT_DB))
    return convolve_response(sound, response)


def _make_noise(length: int, surroundings: Surroundings, random: Generator) -> Sound:
    """Return noise of root mean square 1."""
    if surroundings.noises and random.random() < _RECORDED_NOISE_SHARE:
        noises = surroundings.noises
        noise = _cut(noises[int(random.integers(len(noises)))], length, random)
    else:
        kinds: list[Callable[[int, Generator], Sound]] = [_coloured, _coloured, _hum, _music]
        if surroundings.talk:
            kinds.append(lambda samples, chance: _babble(samples, surroundings.talk, chance))
        noise = kinds[int(random.integers(len(kinds)))](length, random)
    noise -= noise.mean()
    return noise / max(root_mean_square(noise), _TINY)


def _coloured(length: int, random: Generator, exponent: float | None = None) -> Sound:
    """Return noise whose level varies slowly, from white to brown unless an exponent is given."""
    fall = random.uniform(0.0, 2.0) if exponent is None else exponent
    # A power of two, for the transform; see convolve_response.
    noise = make_coloured_noise(1 << (length - 1).bit_length(), random, fall)[:length]
    times = np.arange(length) / SAMPLE_RATE_HZ
    return noise * (
        1 + 0.5 * np.sin(2 * np.pi * (random.uniform(0.1, 3) * times + random.random()))
    )


def _hum(length: int, random: Generator) -> Sound:
    """Return the hum of a motor or a power supply, over quiet pink noise."""
    base_hz = _HUM_HZ[int(random.integers(2))] * random.choice([1.0, random.uniform(1, 9)])
    weights = random.uniform(0, 1, 12) / np.arange(1, 13)
    return _tone(base_hz, weights, length) + 0.2 * _coloured(length, random, 1.0)


def _music(length: int, random: Generator) -> Sound:
    """Return chords of decaying tones in a steady rhythm."""
    sound = np.zeros(length + round(1.2 * SAMPLE_RATE_HZ))
    beat = round(random.uniform(0.15, 0.6) * SAMPLE_RATE_HZ)
    root_hz = random.uniform(90.0, 360.0)
    weights = np.arange(1.0, 6.0) ** -1.5
    times = np.arange(2 * beat) / SAMPLE_RATE_HZ
    for start in range(0, length, beat):
        chord = random.choice([0, 2, 3, 4, 5, 7, 9, 10, 12], int(random.integers(1, 4)))
        beat_sound = np.zeros(len(times))
        for step in chord.tolist():
            beat_sound += _tone(root_hz * 2.0 ** (step / 12), weights, len(times))
        beat_sound *= np.exp(-times * random.uniform(2, 8))
        if random.integers(2):
            beat_sound += random.standard_normal(len(times)) * np.exp(-times * 40)
        sound[start : start + len(times)] += beat_sound
    shift = int(random.integers(beat))
    return sound[shift : shift + length] + 0.01 * random.standard_normal(length)


def _tone(pitch_hz: float, weights: NDArray[np.float64], length: int) -> Sound:
    """Return a tone with partials of the given amplitudes."""
    wave = np.exp(2j * np.pi * pitch_hz / SAMPLE_RATE_HZ * np.arange(length))
    partial = np.ones(length, np.complex128)
    sound = np.zeros(length)
    for weight in weights:
        partial *= wave
        sound += weight * partial.imag
    return sound


def _babble(length: int, talk: Sequence[Samples], random: Generator) -> Sound:
    """Return several voices at once, or one, as of a television."""
    sound = np.zeros(length)
    for _ in range(int(random.integers(1, 7))):
        voice = _cut(talk[int(random.integers(len(talk)))], length, random)
        sound += voice / max(root_mean_square(voice), _TINY) * random.uniform(0.3, 1.0)
    return sound


def _cut(samples: Samples, length: int, random: Generator) -> Sound:
    """Return a part of a recording, repeated from its start if it is shorter."""
    start = int(random.integers(max(1, len(samples) - length + 1)))
    part = samples[start : start + length]
    return np.resize(part, length).astype(np.float64)


def _read_noise(path: Path) -> Samples:
    noise = read_recording(path, _LONGEST_NOISE_S * SAMPLE_RATE_HZ)
    if not len(noise) or np.ptp(noise) == 0:
        raise Unavailable(f"{path} contains only silence")
    return noise
