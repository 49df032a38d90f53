"""The text that the speech model writes without a grammar, and its difference from a sentence."""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np

from listener.assist.understanding.text_tokens import TextTokens
from listener.assist.understanding.whisper import EncodedClip, WhisperModel

_START: Final = ("<|startoftranscript|>", "<|notimestamps|>")
_END: Final = "<|endoftext|>"
_LONGEST_TOKENS: Final = 40
_REPEATED: Final = 3
_SIGNS: Final = re.compile(r"[^a-z0-9% ]+")
_MOST_BEFORE: Final = 24
"""Letters before the sentence that do not count: the wake word, however it was heard."""


def write_freely(model: WhisperModel, tokens: TextTokens, clip: EncodedClip) -> str:
    """Return the text of a clip by the most probable token at each step.

    Remarks about the sound, such as "(unintelligible)", are not allowed, as in Whisper's own
    program. A model that begins to repeat itself is stopped.
    """
    unspoken = np.array(tokens.unspoken(), np.intp)
    end = tokens.special(_END)
    special = min(end, *(tokens.special(name) for name in _START))
    cache = model.start()
    scores = np.zeros((1, 1), np.float32)
    for name in _START:
        scores, cache = model.advance(clip, cache, [0], [tokens.special(name)])
    said: list[int] = []
    while len(said) < _LONGEST_TOKENS:
        scores[0, unspoken] = -np.inf
        token = int(scores[0].argmax())
        if token >= special:
            break
        if _repeats([*said, token]):
            said = said[: 1 - _REPEATED]
            break
        said.append(token)
        scores, cache = model.advance(clip, cache, [0], [token])
    return tokens.decode(said)


def _repeats(said: Sequence[int]) -> bool:
    """Return whether the last tokens have been said before, in the same order."""
    last = said[-_REPEATED:]
    return len(last) == _REPEATED and any(
        said[at : at + _REPEATED] == last for at in range(len(said) - _REPEATED)
    )


def differ(sentence: str, free: str) -> float:
    """Return how much a sentence differs from a free text: 0 equal, about 1 nothing in common.

    The edits from one to the other (Levenshtein), for each letter of the sentence. Letters at the
    beginning of the free text, where the wake word stands, do not count.
    """
    wanted = _SIGNS.sub(" ", sentence.lower()).split()
    heard = _SIGNS.sub(" ", free.lower()).split()
    first, second = " ".join(wanted), " ".join(heard)
    if not first:
        return 1.0
    row = [max(0, at - _MOST_BEFORE) for at in range(len(second) + 1)]
    for letter in first:
        above, row = row, [row[0] + 1]
        for at, other in enumerate(second):
            row.append(min(above[at] + (letter != other), above[at + 1] + 1, row[-1] + 1))
    return row[-1] / len(first)
