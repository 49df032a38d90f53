"""Kokoro-82M in onnxruntime: 54 neural voices, and any mixture of two of them.

The pronunciation comes from espeak-ng; its IPA is written in the symbols that the network was
trained on, those of the package misaki.
"""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.random import Generator

from listener.audio.pcm import Samples
from listener.inference.onnx import open_session
from listener.train.voices.neural_files import (
    KOKORO_LENGTHS,
    KOKORO_MODEL,
    KOKORO_STYLE_VALUES,
    KOKORO_STYLES,
    KOKORO_VOICES,
    neural_voices,
    read_neural_file,
)
from listener.train.voices.neural_speech import Transcriber, to_samples

NAME: Final = "kokoro"
_RATE_HZ: Final = 24_000
_SPEEDS: Final = (0.75, 1.2)
_MIXED_SHARE: Final = 0.6
_WEIGHTS: Final = (0.2, 0.8)
_LATER_STYLES: Final = 25
"""A style belongs to a length of the text; those of somewhat longer texts vary the delivery."""

_REPLACED: Final = (
    *(("eɪ", "A"), ("aɪ", "I"), ("aʊ", "W"), ("ɔɪ", "Y"), ("əʊ", "Q"), ("oʊ", "O")),
    *(("tʃ", "ʧ"), ("dʒ", "ʤ"), ("ɐ", "ə"), ("r", "ɹ"), ("e", "A"), ("x", "k"), ("g", "ɡ")),
)
_REPLACED_AMERICAN: Final = (("ɜː", "ɜɹ"), ("ɚ", "əɹ"), ("ː", ""))
_SYMBOLS: Final = ",.!? AIOQWYabdfhijklmnopstuvwzɑɒæɔðʤəɛɜɡɪŋθɹɾʃʧʊʌʒʔˈˌːᵻ"
_NUMBERS: Final = (
    *(3, 4, 5, 6, 16, 24, 25, 31, 33, 39, 41, 43, 44, 46, 48, 50, 51, 52, 53, 54, 55, 56, 57, 58),
    *(61, 62, 63, 64, 65, 68, 69, 71, 72, 76, 81, 82, 83, 86, 87, 92, 102, 112, 119, 123, 125, 131),
    *(133, 135, 138, 147, 148, 156, 157, 158, 177),
)
_TOKENS: Final = dict(zip(_SYMBOLS, _NUMBERS, strict=True))
"""Symbols of English, and their numbers in the network's vocabulary."""
_ENDINGS: Final = "..!?,"


class KokoroEngine:
    """Kokoro-82M; see `listener.train.voices.engine.VoiceEngine`."""

    name = NAME
    licence = "Apache-2.0"
    resampling = (0.93, 1.08)

    def __init__(self, home: Path) -> None:
        """Load the network and its voices.

        Args:
            home: data directory that they were added to.

        Raises:
            Unavailable: they were not added, or espeak-ng is not installed.
            ModelRefused: a file is not the expected one.
        """
        styles = read_neural_file(home, NAME, KOKORO_STYLES)
        self._styles = np.frombuffer(styles, np.dtype("<f4")).reshape(
            len(KOKORO_VOICES), KOKORO_LENGTHS, KOKORO_STYLE_VALUES
        )
        self._transcriber = Transcriber()
        self._session = open_session(
            read_neural_file(home, NAME, KOKORO_MODEL), NAME, keeps_memory=True
        )
        self.version = f"{neural_voices()[NAME].version}; espeak-ng {self._transcriber.version}"
        self.voices = tuple(voice for voice in KOKORO_VOICES if voice[0] in "ab")

    def speak(self, text: str, voice: str, random: Generator) -> Samples:
        """See `VoiceEngine.speak`."""
        accent = "en-gb" if voice.startswith("b") else "en-us"
        ending = _ENDINGS[int(random.integers(len(_ENDINGS)))]
        ipa = self._transcriber.transcribe(text, accent)
        tokens = tokenize_ipa(ipa, is_american=accent == "en-us", ending=ending)
        row = min(len(tokens) - 1 + int(random.integers(_LATER_STYLES + 1)), KOKORO_LENGTHS - 1)
        style = self._styles[KOKORO_VOICES.index(voice), row]
        if random.random() < _MIXED_SHARE:
            other = self._styles[int(random.integers(len(KOKORO_VOICES))), row]
            weight = np.float32(random.uniform(*_WEIGHTS))
            style = style * weight + other * (1 - weight)
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": style[None],
            "speed": np.array([random.uniform(*_SPEEDS)], np.float32),
        }
        return to_samples(self._session.run(None, inputs)[0], _RATE_HZ)


def tokenize_ipa(ipa: str, *, is_american: bool, ending: str) -> list[int]:
    """Return the numbers of a pronunciation's symbols; symbols that are not English are omitted.

    Args:
        ipa: as espeak-ng gives it; any text is safe.
        is_american: whether the accent is American.
        ending: punctuation at the end, one of ``.!?,``.

    Returns:
        At least one, at most as many as the network takes.
    """
    for before, after in (*_REPLACED, *(_REPLACED_AMERICAN if is_american else ())):
        ipa = ipa.replace(before, after)
    tokens = [_TOKENS[symbol] for symbol in ipa if symbol in _TOKENS]
    return [*tokens[: KOKORO_LENGTHS - 2], _TOKENS[ending]]
