"""TextTokens of Whisper: byte-pair encoding from the model's own ``tokenizer.json``.

Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units" (2016); bytes are
written as letters as in GPT-2.
"""

import itertools
import json
import re
from functools import cached_property
from typing import Final

import msgspec

# GPT-2's pattern, for English text: contractions, words and numbers with the space before them.
_PIECES: Final = re.compile(r"'(?:s|t|re|ve|m|ll|d)| ?[^\W\d_]+| ?\d+| ?[^\s\w]+|\s+")

_REMARKS: Final = frozenset('()[]{}<>*#@^_=|~"/' + chr(92))


class _Model(msgspec.Struct):
    vocab: dict[str, int]
    merges: list[str | list[str]]


class _Added(msgspec.Struct):
    id: int
    content: str


class _TokenizerFile(msgspec.Struct):
    model: _Model
    added_tokens: list[_Added]


class TextTokens:
    """Encodes and decodes text.

    Args:
        text: content of ``tokenizer.json``.

    Raises:
        ValueError: it is not such a file.
    """

    def __init__(self, text: bytes) -> None:
        try:
            file = msgspec.json.decode(text, type=_TokenizerFile)
        except (msgspec.DecodeError, json.JSONDecodeError) as error:
            raise ValueError(f"not a tokenizer.json: {error}") from error
        self._ids = file.model.vocab | {added.content: added.id for added in file.added_tokens}
        self._texts = {number: text for text, number in file.model.vocab.items()}
        self._ranks: dict[tuple[str, ...], int] = {}
        for rank, merge in enumerate(file.model.merges):
            pair = merge.split(" ") if isinstance(merge, str) else merge
            self._ranks[tuple(pair)] = rank

    def special(self, name: str) -> int:
        """Return the number of a special token, such as ``<|startoftranscript|>``.

        Raises:
            ValueError: the model does not have it.
        """
        number = self._ids.get(name)
        if number is None:
            raise ValueError(f"the model has no token {name}")
        return number

    def unspoken(self) -> list[int]:
        """Return the tokens with signs of remarks, such as the bracket of "(laughter)"."""
        return [number for number, text in self._texts.items() if not _REMARKS.isdisjoint(text)]

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        return [self._ids[part] for piece in _PIECES.findall(text) for part in self._merge(piece)]

    def decode(self, tokens: list[int]) -> str:
        """Return the text of tokens; special tokens are left out."""
        letters = "".join(self._texts.get(token, "") for token in tokens)
        return bytes(self._bytes[letter] for letter in letters if letter in self._bytes).decode(
            errors="replace"
        )

    def _merge(self, piece: str) -> list[str]:
        parts = [self._letters[byte] for byte in piece.encode()]
        while len(parts) > 1:
            pairs = list(itertools.pairwise(parts))
            best = min(pairs, key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            at = pairs.index(best)
            parts[at : at + 2] = ["".join(best)]
        return parts

    @cached_property
    def _letters(self) -> dict[int, str]:
        """Return the letter of each byte: itself where it can be printed, else one from U+0100."""
        printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
        others = [byte for byte in range(256) if byte not in printed]
        return {byte: chr(byte) for byte in printed} | {
            byte: chr(256 + number) for number, byte in enumerate(others)
        }

    @cached_property
    def _bytes(self) -> dict[str, int]:
        return {letter: byte for byte, letter in self._letters.items()}
