"""Parts that the neural engines share: pronunciations and the conversion of their sound."""

import threading
from typing import Final

import numpy as np

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.train.voices.espeak import EspeakEngine
from listener.wakeword.features import Floats

_FULL_SCALE: Final = 32_767


class Transcriber:
    """Pronunciations by espeak-ng; each is asked for once. Several threads may use it."""

    def __init__(self) -> None:
        """Find espeak-ng.

        Raises:
            Unavailable: it is not installed.
        """
        self._espeak = EspeakEngine()
        self._known: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()
        self.version = self._espeak.version

    def transcribe(self, text: str, accent: str) -> str:
        """Return the pronunciation of a text in IPA, see `EspeakEngine.transcribe`."""
        key = text, accent
        with self._lock:
            if key in self._known:
                return self._known[key]
        ipa = self._espeak.transcribe(text, accent)
        with self._lock:
            self._known[key] = ipa
        return ipa


def to_samples(sound: Floats, rate_hz: int) -> Samples:
    """Return a network's sound as int16 at 16 kHz.

    Args:
        sound: float32, any shape of one voice, -1 to 1; what is not a number becomes silence.
        rate_hz: its sample rate.
    """
    import soxr  # noqa: PLC0415 - a package of the extra, loaded only where speech is made

    flat = np.nan_to_num(np.asarray(sound, np.float32).ravel(), posinf=0.0, neginf=0.0)
    resampled = soxr.resample(flat, rate_hz, SAMPLE_RATE_HZ)
    whole: Samples = np.rint(np.clip(resampled, -1.0, 1.0) * _FULL_SCALE).astype(np.int16)
    return whole
