"""Rooms and noise: what a microphone at some distance would have heard.

An impulse response is cut to begin with its strongest tap, so that a word stays where it was, and
scaled to an energy of 1. Noise is scaled so that the active speech level of the item, as heard in
the room, stands the stated decibels above the noise's root mean square over its whole file; it
begins at a random place and starts again at its end. Where nobody speaks, speech of -26 dBov is
assumed. What the choice falls on is seeded by the item's name, so the same inputs give the same
bytes.
"""

import functools
import hashlib
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
"""Of speech where nobody speaks: the usual level of P.56."""
LONGEST_RESPONSE_S: Final = 20.0

Play = Callable[[], Iterator[Samples]]
"""Plays an item from its beginning; may be called again."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Under which sound items are played."""

    name: str = "clean"
    snr_db: float | None = None
    """Speech over noise; None: no noise is added."""
    noises: tuple[Path, ...] = ()
    rooms: tuple[Path, ...] = ()
    """Impulse responses, of which each item gets one; none: the sound as it is."""
    speech_dbov: float | None = None
    """Active speech level that each item is brought to; None: as loud as it is."""


@dataclass(frozen=True, slots=True)
class MixChoice:
    """What one play of one item is mixed with."""

    noise: Path | None = None
    noise_at: float = 0.0
    """Where the noise begins, as a part of its length."""
    room: Path | None = None
    snr_db: float | None = None
    speech_dbov: float | None = None


def choose_mix(condition: Condition, seed: int, item: str, play: int) -> MixChoice:
    """Draw the noise and the room of one play, the same each time.

    Args:
        condition: what there is to choose from.
        seed: of the whole evaluation.
        item: name of the item.
        play: which of the repeated plays: each has its own.
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
    """Mixes one item after the other. Not safe for use by several threads."""

    def __init__(self) -> None:
        self.clipped_samples = 0
        """How many samples of the newest item went beyond the range of int16."""

    def mix(self, play: Play, choice: MixChoice) -> Iterator[Samples]:
        """Give the item as it sounds under the choice: block by block, in constant memory.

        Args:
            play: the item; it is played twice where its level matters, to measure it first.
            choice: noise, room and level.

        Raises:
            Unavailable: the noise or the room cannot be read, or is silent.
        """
        self.clipped_samples = 0
        if choice.noise is None and choice.room is None and choice.speech_dbov is None:
            yield from play()
            return
        response = read_response(choice.room) if choice.room else None
        louder = quieter = np.float32(1.0)
        noise: Iterator[Floats] | None = None
        if choice.snr_db is not None or choice.speech_dbov is not None:
            level = SpeechLevel()
            for block in _in_room(play(), response):
                level.push(block)
            rms = level.active_rms or ASSUMED_RMS
            if choice.speech_dbov is not None:
                louder = np.float32(FULL_SCALE * 10 ** (choice.speech_dbov / 20) / rms)
            if choice.noise is not None and choice.snr_db is not None:
                wanted_rms = float(louder) * rms * 10 ** (-choice.snr_db / 20)
                quieter = np.float32(wanted_rms / measure_noise_rms(choice.noise))
                noise = repeat_noise(choice.noise, choice.noise_at)
        rest = np.zeros(0, np.float32)
        for sound in _in_room(play(), response):
            mixed = louder * sound
            if noise is not None:
                while len(rest) < len(sound):
                    rest = np.concatenate([rest, next(noise)])
                mixed += quieter * rest[: len(sound)]
                rest = rest[len(sound) :]
            yield self._round(mixed)

    def _round(self, sound: Floats) -> Samples:
        limits = np.iinfo(np.int16)
        whole = np.rint(sound)
        self.clipped_samples += int(((whole < limits.min) | (whole > limits.max)).sum())
        return np.clip(whole, limits.min, limits.max).astype(np.int16)


@functools.lru_cache(maxsize=4096)
def measure_noise_rms(path: Path) -> float:
    """Return the root mean square of a whole noise; each process measures it once.

    Raises:
        Unavailable: it cannot be read, or is silent.
    """
    level = SpeechLevel()
    with open_recording(path) as recording:
        while (block := recording.read(BLOCK_SAMPLES)) is not None:
            level.push(block.astype(np.float64))
    if level.rms <= 0:
        raise Unavailable(f"{path} is no noise: it is silent")
    return level.rms


def repeat_noise(path: Path, at: float) -> Iterator[Floats]:
    """Give a noise from a part ``at`` of its length on, over and over.

    Raises:
        Unavailable: it cannot be read, or is empty.
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
            raise Unavailable(f"{path} is no noise: it is empty")
        start_s = 0.0


def read_response(path: Path) -> Floats:
    """Read an impulse response, from its strongest tap on, with an energy of 1.

    Raises:
        Unavailable: it cannot be read, is silent or too long.
    """
    most = round(LONGEST_RESPONSE_S * SAMPLE_RATE_HZ)
    parts = []
    with open_recording(path) as recording:
        while (block := recording.read(BLOCK_SAMPLES)) is not None:
            parts.append(block.astype(np.float64))
            if sum(map(len, parts)) > most:
                raise Unavailable(f"{path} is no impulse response: longer than {most} samples")
    response = np.concatenate(parts) if parts else np.zeros(0)
    energy = float(response @ response)
    if energy <= 0:
        raise Unavailable(f"{path} is no impulse response: it is silent")
    direct: Floats = (response[int(np.abs(response).argmax()) :]).astype(np.float32)
    return direct / np.float32(np.sqrt(float(direct @ direct)))


def _in_room(blocks: Iterable[Samples], response: Floats | None) -> Iterator[Floats]:
    """Convolve block by block; as much comes out as goes in, the last echo is cut."""
    if response is None:
        for block in blocks:
            yield block.astype(np.float32)
        return
    tail = len(response) - 1
    size = 1 << max(14, (2 * tail).bit_length())
    step = size - tail
    spectrum = np.fft.rfft(response, size)
    echo = np.zeros(tail, np.float64)
    for whole in blocks:
        for first in range(0, len(whole), step):
            block = whole[first : first + step]
            heard = np.fft.irfft(np.fft.rfft(block, size) * spectrum, size)[: len(block) + tail]
            heard[:tail] += echo
            echo = heard[len(block) :].copy()
            yield heard[: len(block)].astype(np.float32)
