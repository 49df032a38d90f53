import itertools
import random

import pytest
from hassil.sample import sample_sentence

from listener.assist.understanding.grammar import WordGrammar, build_grammar
from listener.assist.understanding.sentences import HomeSentences
from tests.assist.understanding.homes import small_home


@pytest.fixture(scope="module")
def sentences() -> HomeSentences:
    return HomeSentences(small_home())


@pytest.fixture(scope="module")
def grammar(sentences: HomeSentences) -> WordGrammar:
    return build_grammar(sentences)


@pytest.mark.parametrize(
    "text",
    [
        "turn on the kitchen light",
        "turn the lamp in the lounge off",
        "set the kitchen light to 50%",
        "set the kitchen light to fifty percent",
        "please close the blinds",
        "set a timer for twenty one minutes",
        "set a 5 minute timer",
        "what time is it",
    ],
)
def test_sentence_is_in_the_grammar(grammar: WordGrammar, text: str) -> None:
    assert grammar.accepts(text)


@pytest.mark.parametrize(
    "text", ["", "turn on", "turn on the toaster", "kitchen light the on turn", "lamp lamp"]
)
def test_other_text_is_not_in_the_grammar(grammar: WordGrammar, text: str) -> None:
    assert not grammar.accepts(text)


def test_random_walks_are_sentences_of_the_home(
    sentences: HomeSentences, grammar: WordGrammar
) -> None:
    chance = random.Random(1)
    for _ in range(60):
        words, state = [], 0
        while grammar.steps[state] and not (state in grammar.final and chance.random() < 0.3):
            word, state = chance.choice(grammar.steps[state])
            words.append(word)

        assert sentences.match(" ".join(words), "kitchen") is not None, words


def test_templates_of_hassil_are_in_the_grammar(
    sentences: HomeSentences, grammar: WordGrammar
) -> None:
    """The characters' automaton joins parts of words as hassil does."""
    rules = sentences.intents.expansion_rules
    checked = 0
    for _, sentence in sentences.templates():
        if list(sentence.list_names(rules)):
            continue
        for text in itertools.islice(sample_sentence(sentence, {}, rules), 20):
            assert grammar.accepts(text.lower()), text
            checked += 1

    assert checked > 100


def test_automaton_is_deterministic_and_every_state_leads_to_an_end(grammar: WordGrammar) -> None:
    for number, steps in enumerate(grammar.steps):
        words = [word for word, _ in steps]
        assert len(words) == len(set(words))
        assert steps or number in grammar.final
