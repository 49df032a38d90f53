"""Search for the most probable sentence of a grammar by the speech model.

A beam search over tokens, in which only tokens that continue a sentence of the grammar are allowed.
What the model would rather have said is kept beside it: the regret of a token is the logarithm of
the most probable token's probability less that of the chosen one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from listener.assist.understanding.grammar import WordGrammar
from listener.assist.understanding.text_tokens import TextTokens
from listener.assist.understanding.whisper import EncodedClip, WhisperModel

_START: Final = ("<|startoftranscript|>", "<|notimestamps|>")
_END: Final = "<|endoftext|>"
_ENDINGS: Final = (".", "?", "!", ",")

_LONGEST_TOKENS: Final = 48
_TOKENS_TO_COME: Final = 6


@dataclass(frozen=True, slots=True)
class SpokenSentence:
    """A sentence that was found.

    Attributes:
        text: words without the wake word.
        score: logarithm of the probability of the whole text, with the wake word.
        mean: mean logarithm of the probability of the sentence's tokens.
        regret: mean regret of the sentence's tokens; 0 where the model says the same by itself.
        worst: largest regret of one of them.
    """

    text: str
    score: float
    mean: float
    regret: float
    worst: float


@dataclass
class _Node:
    """State of the automaton of tokens; ``after`` is the grammar's state where a word ends."""

    edges: dict[int, "_Node"] = field(default_factory=dict)
    after: int | None = None


@dataclass(frozen=True, slots=True)
class _Hypothesis:
    score: float
    node: _Node
    parent: int
    token: int
    command: tuple[float, float, float, int]  # sum, regrets, worst, count
    text: tuple[int, ...]
    is_in_command: bool


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """Limits of a `SentenceSearch`."""

    width: int = 6
    """Hypotheses that are kept at each step."""
    spread: float = 8.0
    """How much less probable than the best, as a logarithm, a hypothesis may be."""
    regret: float = 2.5
    """Mean regret above which a sentence is of no use. A beginning is dropped when six more tokens
    without regret would not bring it below."""


class SentenceSearch:
    """Finds sentences of a grammar in clips.

    Args:
        grammar: of the home.
        model: hears.
        tokens: of the model.
        limits: of the search.
    """

    def __init__(
        self,
        grammar: WordGrammar,
        model: WhisperModel,
        tokens: TextTokens,
        limits: SearchLimits | None = None,
    ) -> None:
        self._grammar = grammar
        self._model = model
        self._tokens = tokens
        self._limits = SearchLimits() if limits is None else limits
        self._start = [tokens.special(name) for name in _START]
        self._end = np.array(
            [tokens.special(_END), *(tokens.encode(sign)[0] for sign in _ENDINGS)], np.intp
        )
        self._comma = tokens.encode(",")[0]
        self._nodes: dict[int, _Node] = {}
        self._encoded: dict[str, list[int]] = {}

    def find(self, clip: EncodedClip, wake_words: Sequence[str]) -> list[SpokenSentence]:
        """Return the sentences that were found, the most probable first; may be empty.

        Args:
            clip: of the model.
            wake_words: the wake word as it may be written; the sentence may follow it or not.
        """
        first, wake = self._first_nodes(wake_words)
        cache = self._model.start()
        scores = np.zeros((1, 1), np.float32)
        for token in self._start:
            scores, cache = self._model.advance(clip, cache, [0], [token])
        none = (0.0, 0.0, 0.0, 0)
        alive = [
            _Hypothesis(0.0, first, 0, 0, none, (), is_in_command=True),
            _Hypothesis(0.0, wake, 0, 0, none, (), is_in_command=False),
        ]
        rows = [0, 0]
        found: list[SpokenSentence] = []
        for _ in range(_LONGEST_TOKENS):
            following: list[_Hypothesis] = []
            best = scores.max(axis=-1)
            for hypothesis, row in zip(alive, rows, strict=True):
                logs = scores[row]
                top = float(best[row])
                following.extend(self._continue(hypothesis, row, logs, top))
                if self._may_end(hypothesis):
                    found.append(self._finish(hypothesis, logs, top))
            bound = (
                max((sentence.score for sentence in found), default=-np.inf)
                - self._limits.spread / 2
            )
            following.sort(key=lambda one: -one.score)
            if following:
                bound = max(bound, following[0].score - self._limits.spread)
            alive = [
                one
                for one in following[: self._limits.width]
                if one.score >= bound and self._is_useful(one.command)
            ]
            if not alive:
                break
            scores, cache = self._model.advance(
                clip, cache, [one.parent for one in alive], [one.token for one in alive]
            )
            rows = list(range(len(alive)))
        return sorted(found, key=lambda sentence: -sentence.score)

    def _is_useful(self, command: tuple[float, float, float, int]) -> bool:
        _, regrets, _, count = command
        return regrets <= self._limits.regret * (count + _TOKENS_TO_COME)

    def _continue(
        self, hypothesis: _Hypothesis, row: int, logs: np.ndarray, top: float
    ) -> Iterator[_Hypothesis]:
        for node, is_command in self._places(hypothesis):
            for token, behind in node.edges.items():
                log = float(logs[token])
                if is_command:
                    total, regrets, worst, count = hypothesis.command
                    command = (total + log, regrets + top - log, max(worst, top - log), count + 1)
                    text = (*hypothesis.text, token)
                else:
                    command, text = hypothesis.command, ()
                yield _Hypothesis(
                    hypothesis.score + log, behind, row, token, command, text, is_command
                )

    def _places(self, hypothesis: _Hypothesis) -> Iterator[tuple[_Node, bool]]:
        node = hypothesis.node
        if node.edges:
            yield node, hypothesis.is_in_command
        if node.after is not None:
            yield self._node(node.after), True

    def _may_end(self, hypothesis: _Hypothesis) -> bool:
        after = hypothesis.node.after
        return hypothesis.is_in_command and after is not None and after in self._grammar.final

    def _finish(self, hypothesis: _Hypothesis, logs: np.ndarray, top: float) -> SpokenSentence:
        ending = float(np.logaddexp.reduce(logs[self._end]))
        total, regrets, worst, count = hypothesis.command
        regret = max(0.0, top - ending)
        return SpokenSentence(
            self._tokens.decode(list(hypothesis.text)).strip(),
            hypothesis.score + ending,
            (total + ending) / (count + 1),
            (regrets + regret) / (count + 1),
            max(worst, regret),
        )

    def _first_nodes(self, wake_words: Sequence[str]) -> tuple[_Node, _Node]:
        """Return the beginning without the wake word, and with it."""
        first = _Node()
        for word, after in self._grammar.steps[0]:
            for form in {word, word[:1].upper() + word[1:]}:
                self._add(first, form, after)
        wake = _Node()
        for text in wake_words:
            node = self._add(wake, text, 0)
            self._add_token(node, self._comma, 0)
        return first, wake

    def _node(self, state: int) -> _Node:
        if state not in self._nodes:
            node = _Node()
            for word, after in self._grammar.steps[state]:
                self._add(node, word, after)
            self._nodes[state] = node
        return self._nodes[state]

    def _add(self, node: _Node, word: str, after: int) -> _Node:
        if word not in self._encoded:
            self._encoded[word] = self._tokens.encode(" " + word)
        for token in self._encoded[word]:
            node = node.edges.setdefault(token, _Node())
        node.after = after
        return node

    @staticmethod
    def _add_token(node: _Node, token: int, after: int) -> None:
        node.edges.setdefault(token, _Node()).after = after
