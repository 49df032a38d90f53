import numpy as np
import numpy.typing as npt
import pytest

from listener.assist.understanding.beam_search import SearchLimits, SentenceSearch, SpokenSentence
from listener.assist.understanding.command_recogniser import (
    WitnessedSentence,
    WitnessLimits,
    written_forms,
)
from listener.assist.understanding.free_text import differ, write_freely
from listener.assist.understanding.grammar import WordGrammar
from listener.assist.understanding.mel_spectrogram import compute_spectrogram
from listener.assist.understanding.text_tokens import TextTokens
from listener.assist.understanding.weights import parse_weights
from listener.assist.understanding.whisper import WhisperModel
from tests.assist.understanding.small_model import VOCABULARY, packed, tokens, weights


@pytest.fixture(scope="module")
def model() -> WhisperModel:
    return WhisperModel(weights())


def clip(seconds: float = 1.0) -> npt.NDArray[np.int16]:
    return np.random.default_rng(5).normal(0, 2000, int(seconds * 16_000)).astype(np.int16)


def test_probabilities_sum_to_one(model: WhisperModel) -> None:
    encoded = model.encode(clip(), 1.0)

    scores, _ = model.advance(encoded, model.start(), [0, 0], [3, 4])

    assert scores.shape == (2, VOCABULARY)
    assert np.exp(scores).sum(axis=1) == pytest.approx([1, 1], abs=1e-4)


def test_hypotheses_are_independent_of_each_other(model: WhisperModel) -> None:
    """A search continues, drops and copies hypotheses; each must be as if it were alone."""
    encoded = model.encode(clip(), 1.0)
    _, cache = model.advance(encoded, model.start(), [0], [1])
    _, cache = model.advance(encoded, cache, [0, 0, 0], [5, 6, 7])
    together, _ = model.advance(encoded, cache, [2, 2, 0], [8, 9, 8])

    for row, said in enumerate(((1, 7, 8), (1, 7, 9), (1, 5, 8))):
        cache = model.start()
        scores = together
        for token in said:
            scores, cache = model.advance(encoded, cache, [0], [token])
        assert together[row] == pytest.approx(scores[0], abs=1e-4)


def test_search_finds_the_most_probable_sentence(model: WhisperModel) -> None:
    """With room for all sentences, the search must equal trying each one."""
    words = tokens()
    grammar = WordGrammar(
        ((("on", 1), ("a", 1), ("b", 1)), (("on", 2), ("c", 2)), ()), frozenset({1, 2})
    )
    encoded = model.encode(clip(), 1.0)
    search = SentenceSearch(grammar, model, words, SearchLimits(width=60, spread=1e3, regret=1e3))

    found = {one.text.lower(): one for one in search.find(encoded, ["X"])}

    assert set(found) == {
        *("on", "a", "b"),
        *(f"{first} {second}" for first in ("on", "a", "b") for second in ("on", "c")),
    }
    best = search.find(encoded, ["X"])
    assert [one.score for one in best] == sorted((one.score for one in best), reverse=True)
    assert all(one.regret >= 0 and one.worst >= one.regret and one.mean < 0 for one in best)


def test_free_text_is_bounded(model: WhisperModel) -> None:
    assert len(write_freely(model, tokens(), model.encode(clip(), 1.0))) <= 80


def test_tokens_are_those_of_the_merges() -> None:
    words = tokens()

    assert len(words.encode(" on")) == 1
    assert words.decode(words.encode(" on caf\u00e9 50%")) == " on caf\u00e9 50%"
    with pytest.raises(ValueError, match="no token"):
        words.special("<|nothing|>")
    with pytest.raises(ValueError, match=r"not a tokenizer\.json"):
        TextTokens(b"{}")


def test_spectrogram_shows_a_tone_in_its_band() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000) * 10_000

    spectrogram = compute_spectrogram(tone.astype(np.int16), 100)

    assert spectrogram.shape == (80, 100)
    # 1000 Hz is 15 mel of 45.2, in 81 steps.
    assert spectrogram[:, 50].argmax() == pytest.approx(26, abs=1)
    assert spectrogram.max() - spectrogram.min() <= 2.0 + 1e-6


def test_weights_are_read() -> None:
    wanted = {"a/b": np.array([[1, 2], [3, 4]], np.float32), "c": np.array(0.5, np.float32)}

    read = parse_weights(packed(wanted))

    assert read.keys() == wanted.keys()
    assert all(np.array_equal(read[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("cut", [0, 3, 10, 40, 60])
def test_cut_weights_are_refused(cut: int) -> None:
    with pytest.raises(ValueError, match=r"too early|version"):
        parse_weights(packed({"a": np.ones(30, np.float32)})[:cut])


def test_missing_array_is_refused() -> None:
    with pytest.raises(ValueError, match="lack"):
        WhisperModel({})


@pytest.mark.parametrize(
    ("sentence", "free", "low", "high"),
    [
        ("turn on the light", " Alexa, turn on the light.", 0, 0),
        ("turn on the light", " turn on the light", 0, 0),
        ("turn on the light", " Alexa. Turn on the lights in the living room.", 0.6, 3),
        ("turn on the light", " He sank down again in his chair.", 0.6, 2),
        ("turn on the light", "", 1, 1),
        ("", "anything", 1, 1),
    ],
)
def test_difference(sentence: str, free: str, low: float, high: float) -> None:
    assert low <= differ(sentence, free) <= high


@pytest.mark.parametrize(
    ("mean", "regret", "difference", "is_accepted"),
    [(-0.5, 0.1, 0.1, True), (-0.5, 0.1, 0.7, False), (-0.5, 2, 0.1, False), (-4, 0.1, 0.1, False)],
)
def test_each_limit_of_the_witness_refuses(
    mean: float, regret: float, difference: float, *, is_accepted: bool
) -> None:
    sentence = SpokenSentence("turn on the light", -5, mean, regret, regret)

    assert WitnessLimits().accept(WitnessedSentence(sentence, difference)) is is_accepted


def test_wake_word_is_written_in_several_ways() -> None:
    assert written_forms("hey-jarvis") == ["Hey Jarvis", "Hey jarvis", "hey jarvis"]
    assert written_forms("alexa") == ["Alexa", "alexa"]
