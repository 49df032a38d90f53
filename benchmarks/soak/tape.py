"""What is heard: the spoken fixtures in an order drawn by lot, with a quiet room between them."""

from pathlib import Path
from typing import Final

import numpy as np
import soundfile

from benchmarks.sounds import ROOT
from listener.audio.pcm import SAMPLE_RATE_HZ, Samples

FIXTURES: Final = ROOT / "tests" / "fixtures"
WORDS: Final = ("alexa", "alexa_command", "alexa_pause_command", "alexa_twice")
OTHERS: Final = ("talk", "near")

_ROOM: Final = 8.0  # standard deviation of the room's noise, so that no two places are alike
_PROBE_SAMPLES: Final = 800
_LONGEST_CLIP_S: Final = 15


class Tape:
    """Sound in which every place can be told from every other. Played round and round.

    Args:
        seed: what the lots depend on.
        length_s: at least so long.
    """

    def __init__(self, seed: int, length_s: float) -> None:
        lots = np.random.default_rng(seed)
        pieces: list[Samples] = []
        length = 0
        while length < length_s * SAMPLE_RATE_HZ:
            names = WORDS if lots.random() < 0.5 else OTHERS  # noqa: PLR2004 - a coin
            spoken = _recording(str(lots.choice(names)))
            pause = np.zeros(int(lots.integers(5, 25)) * SAMPLE_RATE_HZ, np.int16)
            pieces += [spoken, pause]
            length += len(spoken) + len(pause)
        clean = np.concatenate(pieces)
        noise = lots.normal(0.0, _ROOM, len(clean)).round()
        self.samples: Samples = (clean + noise).clip(-32_768, 32_767).astype(np.int16)
        again = self.samples[: _LONGEST_CLIP_S * SAMPLE_RATE_HZ]
        self._round = np.concatenate([self.samples, again])
        self._bytes = self._round.tobytes()

    def write(self, path: Path) -> None:
        """Write it as bare samples."""
        path.write_bytes(self.samples.astype("<i2").tobytes())

    def has_in_one_piece(self, clip: Samples) -> bool:
        """Tell whether a clip is on the tape as it is, with nothing missing in between."""
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
