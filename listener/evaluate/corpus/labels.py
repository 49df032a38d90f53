"""Labels of a corpus: spellings of a wake word, and labels that repeat each other. Pure.

A word is said once for each label, so two labels of one word over the same time are one word.
Labels that differ from a model's word in case, blanks, hyphens or underscores only are that word:
openWakeWord writes ``hey_jarvis`` where Earmark writes ``hey-jarvis``.
"""

import difflib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from listener.evaluate.corpus.items import Label
from listener.quantities import quantity

_SHOWN: Final = 8
"""Labels that a note names; further ones are only counted."""
_TOUCHING_S: Final = 1e-4
"""Labels that overlap by less follow each other; times are decimals."""


def match_spellings(found: Iterable[str], words: Iterable[str]) -> dict[str, str]:
    """Return the word of each label that is another spelling of exactly one word.

    Args:
        found: labels of the corpus.
        words: labels of the models of the run.
    """
    exact = set(words)
    by_spelling: dict[str, set[str]] = {}
    for word in exact:
        by_spelling.setdefault(_spelling(word), set()).add(word)
    matches = {}
    for label in found:
        candidates = by_spelling.get(_spelling(label), set())
        if label not in exact and len(candidates) == 1 and _spelling(label):
            matches[label] = next(iter(candidates))
    return matches


def merge_labels(labels: Sequence[Label]) -> tuple[Label, ...]:
    """Return the labels with those of one word that repeat or overlap each other as one.

    Args:
        labels: labels of one item, in any order; without a repetition they are returned as they
            are.
    """
    merged: list[Label] = []
    for word in dict.fromkeys(label.word for label in labels):
        placed = sorted(
            (label for label in labels if label.word == word and label.start_s is not None),
            key=_start_s,
        )
        # A label without a time says no more than one with a time.
        merged += _join(placed) if placed else [Label(word)]
    return tuple(labels) if len(merged) == len(labels) else tuple(merged)


def _join(labels: Sequence[Label]) -> list[Label]:
    joined: list[Label] = []
    for label in labels:
        last = joined[-1] if joined else None
        if last is None or _start_s(label) >= _end_s(last) - _TOUCHING_S:
            joined.append(label)
        elif _end_s(label) > _end_s(last):
            joined[-1] = replace(last, end_s=label.end_s)
    return joined


def _start_s(label: Label) -> float:
    return label.start_s or 0.0


def _end_s(label: Label) -> float:
    return label.end_s or 0.0


def spelling_note(counts: Mapping[str, int], matches: Mapping[str, str]) -> str | None:
    """Return the note on labels that are other spellings of a word; None without any.

    Args:
        counts: number of labels by text.
        matches: see ``match_spellings``.
    """
    parts = [
        f"{_quoted(label)} {counts[label]} as {word}"
        for label, word in sorted(matches.items())
        if counts.get(label)
    ]
    return f"labels counted as the word they spell: {_shown(parts)}" if parts else None


def unknown_note(counts: Mapping[str, int], words: Iterable[str]) -> str | None:
    """Return the note on labels that belong to no model; None without any.

    Args:
        counts: number of labels by text, after ``match_spellings``.
        words: labels of the models of the run.
    """
    known = sorted(set(words))
    parts = []
    for label, count in sorted(counts.items(), key=lambda each: (-each[1], each[0])):
        if label not in known:
            near = difflib.get_close_matches(_spelling(label), known, n=1, cutoff=0.75)
            parts.append(f"{_quoted(label)} {count}" + (f" ({near[0]}?)" if near else ""))
    if not parts:
        return None
    return f"labels of no model of this run, counted as negative: {_shown(parts)}"


def _shown(parts: Sequence[str]) -> str:
    more = f", and {quantity(len(parts) - _SHOWN, 'other')}" if len(parts) > _SHOWN else ""
    return ", ".join(parts[:_SHOWN]) + more


def _quoted(label: str) -> str:
    return repr(label[:80])


def _spelling(label: str) -> str:
    """Return a label without case, blanks and punctuation."""
    text = unicodedata.normalize("NFKC", label).casefold()
    return "".join(letter for letter in text if letter.isalnum())
