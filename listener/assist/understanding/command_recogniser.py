"""Finds a home's command in a clip, or refuses the clip.

The grammar says which sentences are commands: the search always finds the nearest one. The witness
is what the speech model writes without a grammar. A command is accepted only where both agree: the
tokens of the sentence must be nearly what the model would have chosen, and its letters nearly those
of the free text. ``docs/engineering-log/assist-accuracy.md`` has the measurement.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final

from listener.assist.recogniser import Recognition
from listener.assist.understanding.beam_search import SentenceSearch, SpokenSentence
from listener.assist.understanding.free_text import differ, write_freely
from listener.assist.understanding.grammar import build_grammar
from listener.assist.understanding.home_actions import HOME_INTENTS, resolve
from listener.assist.understanding.home_file import HomeFile
from listener.assist.understanding.sentences import HomeSentences
from listener.assist.understanding.text_tokens import TextTokens
from listener.assist.understanding.whisper import WhisperModel
from listener.audio.pcm import SAMPLE_RATE_HZ, Samples

LONGEST_S: Final = 16.0
"""Longest clip that is looked at; a command copy has at most 15 s."""
SHORTEST_S: Final = 0.3
_SILENCE_S: Final = 2.0
"""Silence behind the clip: with less, the model repeats itself."""
_DIFFERENCE_WEIGHT: Final = 4.0
"""What a difference of 1 from the free text counts, as a logarithm of a probability."""
_HERE: Final = "?"
"""Stands for the speaker's area, which a recogniser does not know."""


@dataclass(frozen=True, slots=True)
class WitnessLimits:
    """Limits within which a sentence is accepted.

    Attributes:
        difference: greatest difference of its letters from the free text, see `free_text.differ`.
        regret: greatest mean regret of its tokens.
        mean: smallest mean logarithm of their probabilities.
    """

    difference: float = 0.55
    regret: float = 1.7
    mean: float = -3.0

    def accept(self, found: "WitnessedSentence") -> bool:
        """Return whether the witness agrees with a sentence."""
        return found.difference <= self.difference and self.may_accept(found.sentence)

    def may_accept(self, sentence: SpokenSentence) -> bool:
        """Return whether a sentence is within the limits that need no free text."""
        return sentence.regret <= self.regret and sentence.mean >= self.mean


@dataclass(frozen=True, slots=True)
class WitnessedSentence:
    """The most probable sentence of a clip, and how much it differs from the free text."""

    sentence: SpokenSentence
    difference: float

    @property
    def text(self) -> str:
        """Return the words of the sentence."""
        return self.sentence.text


class CommandRecogniser:
    """Recogniser for one home. Not thread-safe.

    Args:
        home: whose sentences are understood.
        model: hears.
        tokens: of the model.
        limits: of the witness.

    Raises:
        Unavailable: the package with the sentences is not installed.
        ConfigError: it does not have the home's language.
    """

    def __init__(
        self,
        home: HomeFile,
        model: WhisperModel,
        tokens: TextTokens,
        limits: WitnessLimits | None = None,
    ) -> None:
        self._home = home
        self._sentences = HomeSentences(home)
        self._model = model
        self._tokens = tokens
        self._limits = limits or WitnessLimits()
        # The longest first: "i'd like to" begins with "i'd like".
        self._polite = sorted(self._sentences.intents.skip_words, key=len, reverse=True)
        self._search = SentenceSearch(build_grammar(self._sentences), model, tokens)

    def recognise(self, samples: Samples, word: str) -> Recognition | None:
        """Return the command of a clip, or None where the witness does not agree.

        Args:
            samples: int16, shape (n,), mono, 16 kHz.
            word: name of the wake word's model.
        """
        found = self.find(samples, word)
        if found is None or not self._limits.accept(found):
            return None
        return Recognition(found.text, is_command=True)

    def find(self, samples: Samples, word: str) -> WitnessedSentence | None:
        """Return the most probable sentence of a clip that comes near what the model would say.

        The free text is written only where there is one, and may still refuse it. Sentences that
        change the same are one: their probabilities are added. Among the most probable, one that is
        nearer to the free text wins.

        Args:
            samples: as for ``recognise``.
            word: as for ``recognise``.
        """
        length_s = len(samples) / SAMPLE_RATE_HZ
        if not SHORTEST_S <= length_s <= LONGEST_S:
            return None
        clip = self._model.encode(samples, _SILENCE_S)
        groups: dict[Hashable, list[SpokenSentence]] = {}
        for sentence in self._search.find(clip, written_forms(word)):
            meaning = self._meaning(sentence.text)
            if meaning is not None and self._limits.may_accept(sentence):
                groups.setdefault(meaning, []).append(sentence)
        if not groups:
            return None
        free = write_freely(self._model, self._tokens, clip)
        ranked = [
            (
                _total(group) - _DIFFERENCE_WEIGHT * difference,
                WitnessedSentence(group[0], difference),
            )
            for group in groups.values()
            for difference in [min(self._differ(sentence.text, free) for sentence in group)]
        ]
        return max(ranked, key=lambda pair: pair[0])[1]

    def _differ(self, text: str, free: str) -> float:
        """Return the difference of a sentence, without polite words before it, from the text."""
        plain = text.lower()
        for words in self._polite:
            plain = plain.removeprefix(f"{words} ")
        return differ(plain, free)

    def _meaning(self, text: str) -> Hashable | None:
        """Return what a sentence would change, as a key; None where it means nothing."""
        intent = self._sentences.match(text, _HERE)
        if intent is None:
            return None
        named = [thing for thing in self._home.things if thing.name == intent.slots.get("name")]
        needs_area = _HERE in intent.slots.values() or len(named) > 1
        if intent.name in HOME_INTENTS and not needs_area:
            # A sentence that changes nothing in this home is not a command.
            return resolve(intent, self._home, None).messages or None
        return intent.name, *sorted(intent.slots.items())


def _total(sentences: Sequence[SpokenSentence]) -> float:
    top = max(sentence.score for sentence in sentences)
    return top + math.log(sum(math.exp(sentence.score - top) for sentence in sentences))


def written_forms(word: str) -> list[str]:
    """Return the wake word as the speech model may write it, such as "Alexa" and "alexa".

    Args:
        word: name of the wake word's model, such as ``hey-jarvis``.
    """
    words = word.replace("_", "-").split("-")
    return list(
        dict.fromkeys(
            (
                " ".join(part.capitalize() for part in words),
                " ".join(words).capitalize(),
                " ".join(words),
            )
        )
    )
