"""Interface of the voice engines."""

from dataclasses import dataclass
from typing import Protocol

from numpy.random import Generator

from listener.audio.pcm import Samples


class VoiceEngine(Protocol):
    """An engine that speaks English text. Several threads may call ``speak`` at once."""

    name: str
    """Name of the engine: ``espeak-ng``."""
    version: str
    """Version of the program, or of the packages that the networks come from."""
    licence: str
    """SPDX identifier of the engine and its voices, as far as they have one."""
    voices: tuple[str, ...]
    """Names of its voices, in a fixed order."""
    resampling: tuple[float, float]
    """Range of the factor by which its speech is resampled. It changes pitch and formants
    together, as a shorter or longer vocal tract does."""

    def speak(self, text: str, voice: str, random: Generator) -> Samples:
        """Speak a text with random speed and pitch.

        Args:
            text: words of English letters, see ``listener.train.phrase``; sentences may have
                commas and end with a full stop.
            voice: one of ``voices``.
            random: chooses speed, pitch and everything else that varies; the same state gives the
                same samples with the same version on the same machine.

        Returns:
            int16 at 16 kHz, shape (n,), with any silence that the engine gives; n may be 0.

        Raises:
            Unavailable: the engine failed.
        """


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """An engine as it is listed in a report."""

    name: str
    version: str
    licence: str
    voices: int
    """Number of its voices."""


def describe_engine(engine: VoiceEngine) -> EngineRecord:
    """Return what a report lists about an engine."""
    return EngineRecord(engine.name, engine.version, engine.licence, len(engine.voices))
