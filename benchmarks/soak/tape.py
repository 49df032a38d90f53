"""Audio of the soak test: fixtures in random order, with a quiet room between them."""

from pathlib import Path
from typing import Final

import numpy as np
import soundfile

from benchmarks.sounds import ROOT
from listener.audio.pcm import SAMPLE_RATE_HZ, Samples

FIXTURES: Final = ROOT / "tests" / "fixtures"
WORDS: Final = ("alexa", "alexa_command", "alexa_pause_command", "alexa_twice")
OTHERS: Final = ("talk", "near")

_ROOM: Final = 8.0  # standard deviation of the room's noise, which makes every position unique
_PROBE_SAMPLES: Final = 800
_LONGEST_CLIP_S: Final = 15


class Tape:
    """Audio without repetition, which is played in a loop.

    Args:
        seed: seed of order and noise.
        length_s: minimum length in seconds.
    """

    def __init__(self, seed: int, length_s: float) -> None:
        rng = np.random.default_rng(seed)
        pieces: list[Samples] = []
        length = 0
        while length < length_s * SAMPLE_RATE_HZ:
            names = WORDS if rng.random() < 0.5 else OTHERS  # noqa: PLR2004 - equal probability
            spoken = _recording(str(rng.choice(names)))
            pause = np.zeros(int(rng.integers(5, 25)) * SAMPLE_RATE_HZ, np.int16)
            pieces += [spoken, pause]
            length += len(spoken) + len(pause)
        clean = np.concatenate(pieces)
        noise = rng.normal(0.0, _ROOM, len(clean)).round()
        self.samples: Samples = (clean + noise).clip(-32_768, 32_767).astype(np.int16)
        again = self.samples[: _LONGEST_CLIP_S * SAMPLE_RATE_HZ]
        self._round = np.concatenate([self.samples, again])
        self._bytes = self._round.tobytes()

    def write(self, path: Path) -> None:
        """Write the raw samples, int16 little-endian."""
        path.write_bytes(self.samples.astype("<i2").tobytes())

    def contains(self, clip: Samples) -> bool:
        """Return whether ``clip`` is a contiguous part of the tape."""
        probe = clip[:_PROBE_SAMPLES].tobytes()
        at = self._bytes.find(probe)
        while at % 2 and at >= 0:
            at = self._bytes.find(probe, at + 1)
        return at >= 0 and bool((self._round[at // 2 :][: len(clip)] == clip).all())


def _recording(name: str) -> Samples:
    sound, rate_hz = soundfile.read(FIXTURES / f"{name}.flac", dtype="int16")
    if rate_hz != SAMPLE_RATE_HZ:
        raise ValueError(f"{name} has {rate_hz} Hz")
    samples: Samples = sound
    return samples
