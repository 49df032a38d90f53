"""Augmentation: room impulse responses, additive noise and speech level.

An impulse response is cut to begin with its strongest tap, so that a word keeps its time, and
scaled to an energy of 1. Noise is scaled so that the active speech level of the item, after the
room response, is the given number of decibels above the noise's root mean square over its whole
file; it begins at a random position and repeats from its start. If the item contains no speech, a
speech level of -26 dBov is assumed. The random choices are seeded with the item's name, so the same
inputs give the same bytes.
"""

import functools
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.errors import Unavailable
from listener.evaluate.corpus.speech_level import FULL_SCALE, SpeechLevel
from listener.storage.recordings import open_recording
from listener.wakeword.features import Floats

BLOCK_SAMPLES: Final = 1 << 14
ASSUMED_RMS: Final = FULL_SCALE * 10 ** (-26 / 20)
"""Root mean square, in units of int16, assumed for items without speech: -26 dBov."""
LONGEST_RESPONSE_S: Final = 20.0
"""Maximum length of an impulse response, in seconds."""

Play = Callable[[], Iterator[Samples]]
"""Plays an item from its beginning; may be called again."""


@dataclass(frozen=True, slots=True)
class Condition:
    """The augmentation that items are played with."""

    name: str = "clean"
    snr_db: float | None = None
    """Signal-to-noise ratio; None: no noise is added."""
    noises: tuple[Path, ...] = ()
    rooms: tuple[Path, ...] = ()
    """Impulse responses, one of which is chosen for each item; empty: no room."""
    speech_dbov: float | None = None
    """Active speech level that each item is scaled to; None: unchanged."""


@dataclass(frozen=True, slots=True)
class MixChoice:
    """The augmentation of one play of one item."""

    noise: Path | None = None
    noise_at: float = 0.0
    """Start of the noise as a part of its length, 0 to 1."""
    room: Path | None = None
    snr_db: float | None = None
    speech_dbov: float | None = None


def choose_mix(condition: Condition, seed: int, item: str, play: int) -> MixChoice:
    """Choose the noise and the room of one play; deterministic for its arguments.

    Args:
        condition: the noises and rooms to choose from.
        seed: seed of the evaluation.
        item: name of the item.
        play: index of the repeated play; each has its own choice.
    """
    text = f"{seed}\0{condition.name}\0{play}\0{item}"
    random = np.random.default_rng(
        int.from_bytes(hashlib.sha256(text.encode(errors="replace")).digest()[:16])
    )
    noise, place, room = random.random(3).tolist()
    has_noise = condition.snr_db is not None and condition.noises
    return MixChoice(
        noise=condition.noises[int(noise * len(condition.noises))] if has_noise else None,
        noise_at=place if has_noise else 0.0,
        room=condition.rooms[int(room * len(condition.rooms))] if condition.rooms else None,
        snr_db=condition.snr_db if has_noise else None,
        speech_dbov=condition.speech_dbov,
    )


class Mixer:
    """Mixes items one after the other. Not thread-safe."""

    def __init__(self) -> None:
        self.clipped_samples = 0
        """Samples of the last item that exceeded the range of int16."""

    def mix(self, play: Play, choice: MixChoice) -> Iterator[Samples]:
        """Yield the augmented item block by block, in constant memory.

        Args:
            play: plays the item; called twice if its level must be measured first.
            choice: noise, room and level.

        Raises:
            Unavailable: the noise or the impulse response cannot be read, or is silent.
        """
        self.clipped_samples = 0
        if choice.noise is None and choice.room is None and choice.speech_dbov is None:
            yield from play()
            return
        response = read_response(choice.room) if choice.room else None
        gain = noise_gain = offset = np.float32(1.0)
        noise: Iterator[Floats] | None = None
        if choice.snr_db is not None or choice.speech_dbov is not None:
            level = SpeechLevel()
            for block in _in_room(play(), response):
                level.push(block)
            rms = level.active_rms or ASSUMED_RMS
            if choice.speech_dbov is not None:
                gain = np.float32(FULL_SCALE * 10 ** (choice.speech_dbov / 20) / rms)
            if choice.noise is not None and choice.snr_db is not None:
                noise_rms = float(gain) * rms * 10 ** (-choice.snr_db / 20)
                noise_level = measure_noise(choice.noise)
                noise_gain = np.float32(noise_rms / noise_level.rms)
                offset = np.float32(noise_level.offset)
                noise = repeat_noise(choice.noise, choice.noise_at)
        rest = np.zeros(0, np.float32)
        for sound in _in_room(play(), response):
            mixed = gain * sound
            if noise is not None:
                while len(rest) < len(sound):
                    rest = np.concatenate([rest, next(noise)])
                mixed += noise_gain * (rest[: len(sound)] - offset)
                rest = rest[len(sound) :]
            yield self._round(mixed)

    def _round(self, sound: Floats) -> Samples:
        limits = np.iinfo(np.int16)
        whole = np.rint(sound)
        self.clipped_samples += int(((whole < limits.min) | (whole > limits.max)).sum())
        return np.clip(whole, limits.min, limits.max).astype(np.int16)


@dataclass(frozen=True, slots=True)
class NoiseLevel:
    """Level of a noise file, in units of int16."""

    rms: float
    """Root mean square of the whole file without its direct offset; above 0."""

    offset: float
    """Mean of all samples."""


@functools.lru_cache(maxsize=4096)
def measure_noise(path: Path) -> NoiseLevel:
    """Measure a noise file; cached in each process.

    Raises:
        Unavailable: the file cannot be read, or is constant.
    """
    samples = total = squares = 0
    with open_recording(path) as recording:
        while (block := recording.read(BLOCK_SAMPLES)) is not None:
            whole = block.astype(np.int64)
            samples += len(whole)
            total += int(whole.sum())
            squares += int(whole @ whole)
    # In integers, so that a constant file has a power of exactly 0.
    power = squares * samples - total * total
    if power <= 0:
        raise Unavailable(f"{path} contains only silence")
    return NoiseLevel(math.sqrt(power) / samples, total / samples)


def repeat_noise(path: Path, at: float) -> Iterator[Floats]:
    """Yield the samples of a noise file without end, from a part ``at`` of its length.

    Raises:
        Unavailable: the file cannot be read, or is empty.
    """
    with open_recording(path) as recording:
        start_s = int(at * recording.length_samples) / SAMPLE_RATE_HZ
    while True:
        read = 0
        with open_recording(path, start_s=start_s) as recording:
            while (block := recording.read(BLOCK_SAMPLES)) is not None:
                read += len(block)
                yield block.astype(np.float32)
        if not read and not start_s:
            raise Unavailable(f"{path} contains no audio")
        start_s = 0.0


def read_response(path: Path) -> Floats:
    """Return an impulse response from its strongest tap, scaled to an energy of 1.

    Raises:
        Unavailable: the file cannot be read, is silent or too long.
    """
    most = round(LONGEST_RESPONSE_S * SAMPLE_RATE_HZ)
    parts = []
    with open_recording(path) as recording:
        while (block := recording.read(BLOCK_SAMPLES)) is not None:
            parts.append(block.astype(np.float64))
            if sum(map(len, parts)) > most:
                raise Unavailable(
                    f"{path} is too long for an impulse response: over {most} samples"
                )
    response = np.concatenate(parts) if parts else np.zeros(0)
    energy = float(response @ response)
    if energy <= 0:
        raise Unavailable(f"{path} contains only silence")
    direct: Floats = (response[int(np.abs(response).argmax()) :]).astype(np.float32)
    return direct / np.float32(np.sqrt(float(direct @ direct)))


def _in_room(blocks: Iterable[Samples], response: Floats | None) -> Iterator[Floats]:
    """Convolve with ``response`` block by block (overlap-add); the tail after the end is cut."""
    if response is None:
        for block in blocks:
            yield block.astype(np.float32)
        return
    tail = len(response) - 1
    size = 1 << max(14, (2 * tail).bit_length())
    step = size - tail
    spectrum = np.fft.rfft(response, size)
    overlap = np.zeros(tail, np.float64)
    for whole in blocks:
        for first in range(0, len(whole), step):
            block = whole[first : first + step]
            output = np.fft.irfft(np.fft.rfft(block, size) * spectrum, size)[: len(block) + tail]
            output[:tail] += overlap
            overlap = output[len(block) :].copy()
            yield output[: len(block)].astype(np.float32)
