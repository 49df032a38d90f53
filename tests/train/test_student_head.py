"""A student head finds what its word has, by the embeddings as they are."""

import numpy as np

from listener.train.heads import CLIP, DenseHead, Standard, input_scale
from listener.train.student_head import (
    FIRST_STEP,
    LAST_STEP,
    fold,
    pool_others,
    pool_word,
    train_student_head,
)
from listener.wakeword.features import Floats
from listener.wakeword.student_head import StudentHeads, write_student_head

WORDS = np.arange(40, 600, 40)
"""Steps at which the word ends."""


def speech(seed: int) -> Floats:
    return np.random.default_rng(seed).normal(3, 5, (640, 96)).astype(np.float32)


def with_words(seed: int) -> Floats:
    """Speech in which eight features rise for 8 steps before each word ends."""
    drawn = speech(seed)
    for end in WORDS:
        drawn[end - 7 : end + 1, 7:15] += 25
    return drawn


def test_windows_of_a_word_are_around_its_end_and_others_are_far_from_it() -> None:
    word, around = pool_word("word", speech(1), WORDS)

    assert word.is_word
    assert not around.is_word
    steps = {end + at for end in WORDS.tolist() for at in range(FIRST_STEP, LAST_STEP + 1)}
    assert set(word.ends.tolist()) == steps
    distances = np.abs(around.ends[:, None] - WORDS[None, :]).min(axis=1)
    assert distances.min() >= 6
    assert around.ends.min() >= 15


def test_folded_weights_score_embeddings_as_they_are() -> None:
    random = np.random.default_rng(2)
    head = DenseHead(16, random)
    standard = Standard(
        random.normal(2, 1, 1536).astype(np.float32), random.uniform(3, 6, 1536).astype(np.float32)
    )
    window = speech(3)[:16]
    inputs = standard.apply(window.reshape(1, -1)) * np.float32(input_scale())
    assert np.abs(inputs).max() < CLIP * input_scale()
    first, first_bias, second, second_bias, last, last_bias = head.parameters
    hidden = np.maximum(np.maximum(inputs @ first + first_bias, 0) @ second + second_bias, 0)
    expected = 1 / (1 + np.exp(-(hidden @ last + last_bias)[0, 0]))

    score = StudentHeads([fold(head, standard)]).score(window)[0]

    np.testing.assert_allclose(score, expected, rtol=1e-3)


def test_trained_head_scores_its_word_above_other_speech_and_gives_the_same_bytes() -> None:
    pools = [*pool_word("word", with_words(4), WORDS), pool_others("others", [speech(5)], 1.0)]

    weights, again = (
        train_student_head(pools, np.random.default_rng(6), batches=400) for _ in range(2)
    )

    scorer = StudentHeads([weights]).over(with_words(7))
    said = np.array([scorer.score(end + 1, end + 1)[0, 0] for end in WORDS.tolist()])
    other = StudentHeads([weights]).over(speech(8)).score(16, 640)[:, 0]
    assert write_student_head(weights) == write_student_head(again)
    assert np.median(said) > 0.8
    assert np.quantile(other, 0.95) < 0.2
