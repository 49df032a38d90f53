"""Texts that are not the wake word: phrases that sound like it, and sentences."""

import functools
from collections.abc import Iterator, Sequence
from typing import Final

from numpy.random import Generator

from listener.errors import UsageError
from listener.evaluate.confusables.phonetics import (
    Lexicon,
    Phones,
    build_lexicon,
    deletion_cost,
    entries,
    find_dictionary,
    measure_distances,
    pronounce,
)
from listener.evaluate.confusables.search import find_nearest
from listener.train.phrase import Phrase
from listener.train.pronunciation import phones_from_ipa
from listener.train.voices.espeak import EspeakEngine
from listener.train.voices.synthesis import derive_generator

NEAR_PHRASES: Final = 200
"""Phrases that sound like a wake word, besides its parts."""
SENTENCES: Final = 480
LEAST_COST: Final = 1.0
"""Cost of the phones that must differ, about two vowels or one consonant and a vowel. A phrase that
differs less is the word as some people say it: used against it, it makes the heads miss people.
"""
MORE_OF_PAIRS: Final = 0.3
"""Added to it for pairs of words: there are many for each cost, and few of them are ever said."""
LEAST_TESTED_COST: Final = 0.45
"""The same for phrases that a model is only tested on: what it may wake at."""

_SEED: Final = 16
_LONGEST_WORD: Final = 14
_SHORTEST_PART: Final = 3
_COMMON_WORD: Final = 4
_SALAD: Final = (4, 9)
_VARIANTS: Final = 40
_SEARCHED: Final = 4000

_OPENINGS: Final = (
    *("I think", "Maybe", "Do you know if", "She said that", "We heard that", "Of course"),
    *("Yesterday", "In the morning", "After lunch", "Did you see that", "It seems that", "Well"),
    *("He told me that", "On the radio they said that", "Next week", "My brother says that"),
)
_SUBJECTS: Final = (
    *("the children", "my neighbour", "our teacher", "the old dog", "a young woman", "the doctor"),
    *("the train", "your sister", "the whole team", "that company", "the river", "my uncle"),
    *("the people next door", "the band", "a black cat", "the government", "the new kitchen"),
    *("her grandmother", "the weather", "this book", "the last bus", "the coffee machine"),
)
_VERBS: Final = (
    *("will never find", "has already sold", "wants to paint", "left behind", "should not eat"),
    *("is looking for", "cannot remember", "was waiting for", "always forgets", "broke"),
    *("would like to buy", "brought back", "used to play with", "has to clean", "talks about"),
    *("opened", "might change", "drove past", "keeps asking for", "is afraid of"),
)
_OBJECTS: Final = (
    *("the yellow umbrella", "a box of green apples", "the garden gate", "two tickets"),
    *("the second question", "a warm pair of gloves", "all of the windows", "the evening news"),
    *("some bread and butter", "the long way home", "a small wooden chair", "the wrong number"),
    *("his favourite jacket", "the mountains", "every single page", "the price of fuel"),
    *("a glass of cold water", "the music upstairs", "their holiday photos", "the broken lamp"),
)
_ENDINGS: Final = (
    *("", "", "before dinner", "in the rain", "for the first time", "at half past seven"),
    *("without a word", "again and again", "because it was late", "with both hands", "this year"),
    *("in the big house by the sea", "and nothing happened", "as usual", "on Thursday"),
)


def find_phones(phrase: Phrase) -> Phones:
    """Return the phones of a phrase, from the CMU dictionary or else from espeak-ng.

    Raises:
        ConfigError: the dictionary is not installed.
        Unavailable: a word is not in the dictionary, and espeak-ng is not installed.
        UsageError: the phrase has no pronunciation.
    """
    try:
        return pronounce(find_dictionary(), phrase.spoken)
    except UsageError:
        phones = phones_from_ipa(EspeakEngine().transcribe(phrase.spoken))
    if not phones:
        raise UsageError(
            f"{phrase.spoken!r} has no pronunciation", "give another spelling: --say TEXT"
        )
    return phones


def find_near_phrases(
    phrase: Phrase, most: int = NEAR_PHRASES, least: float = LEAST_COST
) -> tuple[str, ...]:
    """Return phrases that sound like the wake word, and parts of it, the nearest first.

    Args:
        phrase: the wake word.
        most: limit of the phrases besides the parts.
        least: least cost of the phones that differ.

    Raises:
        ConfigError: the dictionary is not installed.
        Unavailable: see ``find_phones``.
    """
    target = find_phones(phrase)
    lexicon = _lexicon(phrase)
    whole = sum(map(deletion_cost, target))
    # Pairs of short words would leave no place for words, which are said more often.
    singles, pairs = (
        [each.phrase for each in found if each.distance * whole >= lowest][: most // 2]
        for found, lowest in (
            (find_nearest(lexicon, target, _SEARCHED, pairs=False), least),
            (find_nearest(lexicon, target, _SEARCHED), least + MORE_OF_PAIRS),
        )
    )
    variants = list(_variants(phrase, lexicon, least + MORE_OF_PAIRS))
    parts = [part for part in _parts(phrase) if _cost(part, target) >= least]
    texts = dict.fromkeys(in_turn(singles, pairs, variants, parts))
    return tuple(text for text in texts if phrase.spoken not in text)


def make_sentences(phrase: Phrase, count: int = SENTENCES) -> tuple[str, ...]:
    """Return sentences without the wake word; the same for every seed of a training.

    Half of them are grammatical, and half are words of the dictionary at random, which have more
    different sounds.

    Raises:
        ConfigError: the dictionary is not installed.
    """
    random = derive_generator(_SEED, "sentences")
    words = tuple(dict.fromkeys(_lexicon(phrase).words))
    made: dict[str, None] = {}
    while len(made) < count:
        text = _sentence(random) if len(made) % 2 else _salad(words, random)
        if not contains_word(text, phrase):
            made[text] = None
    return tuple(made)


def in_turn(*lists: Sequence[str]) -> Iterator[str]:
    """Yield the first text of each list, then the second ones, and so on."""
    for place in range(max(map(len, lists))):
        for texts in lists:
            yield from texts[place : place + 1]


def contains_word(text: str, phrase: Phrase) -> bool:
    """Return whether a text has the wake word, or one of its longer words."""
    words = "".join(letter for letter in text.lower() if letter.isalpha() or letter in "' ").split()
    joined = f" {' '.join(words)} "
    spelled = {each for part in (phrase.text, phrase.spoken) for each in [part, *part.split()]}
    return any(f" {each} " in joined for each in spelled if len(each) >= _COMMON_WORD)


@functools.lru_cache(maxsize=1)  # near phrases and sentences of a recipe use the same
def _lexicon(phrase: Phrase) -> Lexicon:
    """Return the words of the dictionary that voices can be given, except those of the phrase."""
    own = {*phrase.text.split(), *phrase.spoken.split()}
    own = {word for word in own if len(word) >= _COMMON_WORD}
    known = (
        (word, phones)
        for word, phones in entries(find_dictionary())
        if word.isalpha() and len(word) <= _LONGEST_WORD and word not in own
    )
    return build_lexicon(known)


def _variants(phrase: Phrase, lexicon: Lexicon, least: float) -> Iterator[str]:
    """Yield the phrase with one of its words replaced by words that sound like it."""
    words = phrase.spoken.split()
    if len(words) == 1:
        return
    for place, word in enumerate(words):
        target = find_phones(Phrase(word, word))
        whole = sum(map(deletion_cost, target))
        found = find_nearest(lexicon, target, _SEARCHED, pairs=False)
        near = [each.phrase for each in found if each.distance * whole >= least]
        for each in near[:_VARIANTS]:
            yield " ".join([*words[:place], each, *words[place + 1 :]])


def _parts(phrase: Phrase) -> Iterator[str]:
    """Yield parts of the phrase, so that one of them alone is not enough."""
    words = phrase.spoken.split()
    for place, word in enumerate(words):
        if len(words) > 1:
            yield " ".join([*words[:place], *words[place + 1 :]])
        for cut in range(_SHORTEST_PART, len(word) - 1):
            yield " ".join([*words[:place], word[:cut]])
            yield " ".join([word[cut:], *words[place + 1 :]])


def _cost(text: str, target: Phones) -> float:
    """Return the cost of the phones in which a text differs from the wake word."""
    lexicon = build_lexicon([(text, find_phones(Phrase(text, text)))])
    return float(measure_distances(lexicon, target)[0, -1])


def _sentence(random: Generator) -> str:
    parts = [
        choices[int(random.integers(len(choices)))]
        for choices in (_OPENINGS, _SUBJECTS, _VERBS, _OBJECTS, _ENDINGS)
    ]
    return " ".join(part for part in parts if part) + "."


def _salad(words: Sequence[str], random: Generator) -> str:
    count = int(random.integers(*_SALAD))
    return " ".join(words[int(place)] for place in random.integers(len(words), size=count)) + "."
