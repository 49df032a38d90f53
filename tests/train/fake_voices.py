"""A voice engine without a program: a tone whose pitch and length come from the generator."""

import numpy as np
from numpy.random import Generator

from listener.audio.pcm import Samples


class ToneEngine:
    licence = "Apache-2.0"
    version = "1"
    voices: tuple[str, ...] = ("low", "high")
    resampling = (0.9, 1.1)

    def __init__(self, name: str = "tone", length_s: float = 0.6) -> None:
        self.name = name
        self.texts: list[str] = []
        self._length_s = length_s

    def speak(self, text: str, voice: str, random: Generator) -> Samples:
        self.texts.append(text)
        length = round(self._length_s * random.uniform(0.9, 1.1) * 16_000)
        pitch_hz = random.uniform(100, 200) * (2 if voice == "high" else 1)
        tone = 8_000 * np.sin(2 * np.pi * pitch_hz / 16_000 * np.arange(length))
        silence = np.zeros(3_000)
        whole: Samples = np.rint(np.concatenate([silence, tone, silence])).astype(np.int16)
        return whole
