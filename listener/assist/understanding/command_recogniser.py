"""Finds a home's command in a clip, or refuses the clip.

The grammar says which sentences are commands; the speech model, which hears without a grammar too,
is the witness. A sentence is accepted only where the model, left to itself, would have said nearly
the same: where the mean regret of its tokens is small. What is no command has a regret of several
times the limit (``docs/engineering-log/assist-accuracy.md``).
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final

from listener.assist.recogniser import Recognition
from listener.assist.understanding.beam_search import SentenceSearch, SpokenSentence
from listener.assist.understanding.grammar import build_grammar
from listener.assist.understanding.home_actions import HOME_INTENTS, resolve
from listener.assist.understanding.home_file import HomeFile
from listener.assist.understanding.sentences import HomeSentences
from listener.assist.understanding.speech_model import SpeechModel
from listener.assist.understanding.tokens import Tokens
from listener.audio.pcm import SAMPLE_RATE_HZ, Samples

LONGEST_S: Final = 16.0
"""Longest clip that is looked at; a command copy has at most 15 s."""
SHORTEST_S: Final = 0.3
_SILENCE_S: Final = 2.0
"""Silence behind the clip: with less, the model repeats itself."""
_HERE: Final = "?"
"""Stands for the speaker's area, which a recogniser does not know."""


@dataclass(frozen=True, slots=True)
class WitnessLimits:
    """Limits within which a sentence is accepted.

    Attributes:
        regret: greatest mean regret of its tokens.
        worst: greatest regret of one token.
        mean: smallest mean logarithm of their probabilities.
    """

    regret: float = 1.3
    worst: float = 7.0
    mean: float = -2.6

    def accept(self, sentence: SpokenSentence) -> bool:
        """Return whether the model agrees with a sentence."""
        return (
            sentence.regret <= self.regret
            and sentence.worst <= self.worst
            and sentence.mean >= self.mean
        )


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
        model: SpeechModel,
        tokens: Tokens,
        limits: WitnessLimits | None = None,
    ) -> None:
        self._home = home
        self._sentences = HomeSentences(home)
        self._model = model
        self._limits = limits or WitnessLimits()
        self._search = SentenceSearch(build_grammar(self._sentences), model, tokens)

    def recognise(self, samples: Samples, word: str) -> Recognition | None:
        """Return the command of a clip, or None where the witness does not agree.

        Args:
            samples: int16, shape (n,), mono, 16 kHz.
            word: name of the wake word's model.
        """
        sentence = self.find(samples, word)
        if sentence is None or not self._limits.accept(sentence):
            return None
        return Recognition(sentence.text, is_command=True)

    def find(self, samples: Samples, word: str) -> SpokenSentence | None:
        """Return the most probable sentence of a clip, without asking the witness.

        Sentences that change the same are one: their probabilities are added.
        """
        length_s = len(samples) / SAMPLE_RATE_HZ
        if not SHORTEST_S <= length_s <= LONGEST_S:
            return None
        clip = self._model.encode(samples, _SILENCE_S)
        groups: dict[Hashable, list[SpokenSentence]] = {}
        for sentence in self._search.find(clip, written_forms(word)):
            meaning = self._meaning(sentence.text)
            if meaning is not None:
                groups.setdefault(meaning, []).append(sentence)
        best = max(groups.values(), key=_total, default=None)
        return best[0] if best is not None else None

    def _meaning(self, text: str) -> Hashable | None:
        """Return what a sentence would change, as a key; None where it means nothing."""
        intent = self._sentences.match(text, _HERE)
        if intent is None:
            return None
        if intent.name in HOME_INTENTS and _HERE not in intent.slots.values():
            change = resolve(intent, self._home, None)
            # A sentence that changes nothing in this home is not a command.
            return change.messages or None
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
