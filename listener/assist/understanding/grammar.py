"""Finite-state grammar of a home's sentences. Pure.

The templates of hassil join parts of words (``hour[s]``), so they become an automaton of
characters first, and then the smallest deterministic automaton of words. Numbers are written in
digits and in words, as a speech model may write them.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from hassil.expression import (
    Alternative,
    Expression,
    ListReference,
    Permutation,
    RuleReference,
    Sequence,
    TextChunk,
)
from hassil.intents import IntentData, RangeSlotList, TextSlotList
from unicode_rbnf import RbnfEngine

from listener.assist.understanding.sentences import NUMBER_RANGES, HomeSentences

_UNSPOKEN: Final = re.compile(r"[^\w'\-% ]|_")
_STOP: Final = " "


class _CharacterAutomaton:
    """Non-deterministic automaton of characters; None is the empty step."""

    def __init__(self) -> None:
        self.steps: list[list[tuple[str | None, int]]] = [[]]

    def state(self) -> int:
        self.steps.append([])
        return len(self.steps) - 1

    def step(self, start: int, label: str | None, end: int) -> None:
        self.steps[start].append((label, end))

    def text(self, start: int, text: str) -> int:
        for letter in text:
            end = self.state()
            self.step(start, letter, end)
            start = end
        return start

    def closure(self, states: Iterable[int]) -> frozenset[int]:
        """Return the states that empty steps and spaces reach."""
        found = set(states)
        waiting = list(found)
        while waiting:
            for label, end in self.steps[waiting.pop()]:
                if label is None and end not in found:
                    found.add(end)
                    waiting.append(end)
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class WordGrammar:
    """Smallest deterministic automaton of words.

    Attributes:
        steps: for each state, the words that leave it and where they lead; state 0 is the start.
        final: states in which a sentence may end.
    """

    steps: tuple[tuple[tuple[str, int], ...], ...]
    final: frozenset[int]

    def words(self) -> frozenset[str]:
        """Return every word."""
        return frozenset(word for state in self.steps for word, _ in state)

    def accepts(self, text: str) -> bool:
        """Return whether a text, in lower case without punctuation, is a sentence."""
        state = 0
        for word in text.split():
            end = dict(self.steps[state]).get(word)
            if end is None:
                return False
            state = end
        return state in self.final


def build_grammar(sentences: HomeSentences) -> WordGrammar:
    """Return the grammar of a home's sentences."""
    automaton = _CharacterAutomaton()
    final = automaton.state()
    builder = _GrammarBuilder(sentences, automaton)
    start = 0
    polite = [text for text in map(_spoken, sentences.intents.skip_words) if text]
    opened, closed = automaton.state(), automaton.state()
    automaton.step(start, None, opened)
    for text in polite:
        automaton.step(automaton.text(start, text + _STOP), None, opened)
        automaton.step(automaton.text(closed, _STOP + text), None, final)
    automaton.step(closed, None, final)
    for data, sentence in sentences.templates():
        end = builder.add(sentence.expression, _new_start(automaton, opened), data)
        if end is not None:
            automaton.step(end, None, closed)
    return _to_words(automaton, final)


def _new_start(automaton: _CharacterAutomaton, opened: int) -> int:
    """Return a new state behind ``opened``."""
    start = automaton.state()
    automaton.step(opened, None, start)
    return start


def _spoken(text: str) -> str | None:
    """Return a text in lower case, or None where it has signs that are not spoken."""
    folded = unicodedata.normalize("NFC", text).lower()
    return None if _UNSPOKEN.search(folded) or folded.strip() == "-" else folded


@dataclass
class _GrammarBuilder:
    """Adds templates to an automaton."""

    sentences: HomeSentences
    automaton: _CharacterAutomaton
    _numbers: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def add(self, item: Expression, start: int, data: IntentData) -> int | None:
        """Add an expression from a state on.

        Returns:
            The state where it ends, or None where it cannot be spoken.
        """
        match item:
            case TextChunk():
                text = _spoken(item.original_text)
                return None if text is None else self.automaton.text(start, text)
            case Alternative():
                ends = [self.add(part, start, data) for part in item.items]
                return self._join(ends)
            case Permutation():
                return self._join(
                    self._chain([part, rest], start, data)
                    if rest.items
                    else self.add(part, start, data)
                    for part, rest in item.iterate_permutations()
                )
            case Sequence():
                return self._chain(item.items, start, data)
            case RuleReference():
                rule = data.expansion_rules.get(item.rule_name)
                body = rule or self.sentences.intents.expansion_rules[item.rule_name]
                return self.add(body.expression, start, data)
            case ListReference():
                return self._join(
                    self.add(value, start, data) for value in self._values(item.list_name, data)
                )
            case _:
                raise TypeError(f"{type(item).__name__} is not an expression of hassil")

    def _chain(self, items: list[Expression], start: int, data: IntentData) -> int | None:
        state: int | None = start
        for part in items:
            if state is None:
                return None
            state = self.add(part, state, data)
        return state

    def _join(self, ends: Iterable[int | None]) -> int | None:
        reached = [end for end in ends if end is not None]
        if not reached:
            return None
        joined = self.automaton.state()
        for end in reached:
            self.automaton.step(end, None, joined)
        return joined

    def _values(self, name: str, data: IntentData) -> Iterator[Expression]:
        if name == "name":
            for thing in self.sentences.things_for(data):
                yield from map(TextChunk, thing.names)
            return
        if name == "area":
            for area in self.sentences.home.areas:
                yield from map(TextChunk, (area.name, *area.aliases))
            return
        values = self.sentences.intents.slot_lists[name]
        if isinstance(values, TextSlotList):
            for value in values.values:
                yield value.text_in
        elif isinstance(values, RangeSlotList):
            first, last = NUMBER_RANGES[name]
            for number in range(first, last + 1):
                yield from map(TextChunk, (str(number), *self._spell(number)))

    def _spell(self, number: int) -> tuple[str, ...]:
        if number not in self._numbers:
            spelt = self._engine.format_number(number).text_by_ruleset
            texts = (text for rules, text in spelt.items() if "ordinal" not in rules)
            # "twenty-one" is two words for hassil and for the dictionary.
            self._numbers[number] = tuple(
                dict.fromkeys(
                    text.replace("-", " ").replace("\xad", "")
                    for text in texts
                    if _spoken(text) is not None
                )
            )
        return self._numbers[number]

    @cached_property
    def _engine(self) -> RbnfEngine:
        return RbnfEngine.for_language(self.sentences.home.language.partition("-")[0])


def _to_words(automaton: _CharacterAutomaton, final: int) -> WordGrammar:
    """Return the automaton of words: a word ends at a space, or at the end of a sentence."""
    numbers: dict[frozenset[int], int] = {}
    steps: list[list[tuple[str, int]]] = []
    accepted: set[int] = set()
    waiting: list[frozenset[int]] = []

    def number_of(states: frozenset[int]) -> int:
        if states not in numbers:
            numbers[states] = len(steps)
            steps.append([])
            waiting.append(states)
        return numbers[states]

    number_of(_skip_spaces(automaton, automaton.closure([0])))
    while waiting:
        states = waiting.pop()
        number = numbers[states]
        if final in states:
            accepted.add(number)
        for word, ends in _words_from(automaton, states, final).items():
            steps[number].append((word, number_of(_skip_spaces(automaton, ends))))
    return _minimise(steps, accepted)


def _skip_spaces(automaton: _CharacterAutomaton, states: frozenset[int]) -> frozenset[int]:
    while True:
        more = automaton.closure(
            {
                *states,
                *(end for one in states for label, end in automaton.steps[one] if label == _STOP),
            }
        )
        if more == states:
            return states
        states = more


def _words_from(
    automaton: _CharacterAutomaton, states: frozenset[int], final: int
) -> dict[str, frozenset[int]]:
    """Return each word that can follow, with the states behind it."""
    words: dict[str, frozenset[int]] = {}
    waiting: list[tuple[str, frozenset[int]]] = [("", states)]
    while waiting:
        read, here = waiting.pop()
        letters: dict[str, set[int]] = {}
        for one in here:
            for label, end in automaton.steps[one]:
                if label is not None:
                    letters.setdefault(label, set()).add(end)
        behind = letters.pop(_STOP, set())
        if read:
            if final in here:
                behind = {*behind, final}
            if behind:
                words[read] = automaton.closure(behind)
        for letter, ends in letters.items():
            waiting.append((read + letter, automaton.closure(ends)))
    return words


def _minimise(steps: list[list[tuple[str, int]]], final: set[int], start: int = 0) -> WordGrammar:
    """Return the smallest equal automaton of one that has no circles."""
    classes: dict[tuple[bool, frozenset[tuple[str, int]]], int] = {}
    known: dict[int, int | None] = {}
    order: list[int] = []
    waiting = [(start, False)]
    while waiting:
        state, is_done = waiting.pop()
        if is_done:
            order.append(state)
        elif state not in known:
            known[state] = None
            waiting.append((state, True))
            waiting.extend((end, False) for _, end in steps[state])
    number: dict[int, int] = {}
    dead: set[int] = set()
    rows: list[frozenset[tuple[str, int]]] = []
    accepted: set[int] = set()
    for state in order:
        leads = frozenset((word, number[end]) for word, end in steps[state] if end not in dead)
        if not leads and state not in final and state != start:
            dead.add(state)
            continue
        key = (state in final, leads)
        if key not in classes:
            classes[key] = len(rows)
            rows.append(leads)
            if state in final:
                accepted.add(classes[key])
        number[state] = classes[key]
    # The start comes last; turn the order round, so that it is 0.
    count = len(rows) - 1
    return WordGrammar(
        tuple(tuple(sorted((word, count - end) for word, end in row)) for row in reversed(rows)),
        frozenset(count - one for one in accepted),
    )
