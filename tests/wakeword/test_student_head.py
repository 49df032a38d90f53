"""Student heads: their file, and windows one by one or many at once."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import ModelRefused
from listener.wakeword.features import Floats
from listener.wakeword.first_stage import MANY_WORDS, StageWord, turn_pairs
from listener.wakeword.streaming import Word
from listener.wakeword.student_head import (
    StudentHeads,
    StudentHeadWeights,
    read_student_head,
    write_student_head,
)
from tests.wakeword.students import random_student_head, replace_arrays

EMBEDDINGS = np.random.default_rng(3).normal(0, 10, (40, 96)).astype(np.float32)


def simple_head(matrix: Floats, bias: float) -> StudentHeadWeights:
    """A head whose first layer is its sum, which the others pass on if it is above 0."""
    one = np.ones((1, 1), np.float32)
    zero = np.zeros(1, np.float32)
    return StudentHeadWeights((matrix, one, one), (zero, zero, np.array([bias], np.float32)))


@pytest.mark.parametrize("widths", [[(16, 16)], [(16, 8), (4, 12), (16, 16)]])
def test_many_windows_at_once_equal_windows_one_by_one(widths: list[tuple[int, int]]) -> None:
    heads = StudentHeads([random_student_head(*each) for each in widths])

    alone = [heads.score(EMBEDDINGS[end - 16 : end]).copy() for end in range(18, 33)]
    many = heads.over(EMBEDDINGS).score(18, 32)

    np.testing.assert_allclose(many, alone, rtol=1e-4, atol=1e-6)
    assert many.shape == (15, len(widths))
    assert many.dtype == np.float32
    assert len(np.unique(np.round(many, 4))) > 5


def test_score_is_the_logistic_function_of_three_layers() -> None:
    weights = random_student_head(16, 8)
    window = EMBEDDINGS[:16]
    first, second, last = weights.matrices
    values = np.maximum(window.reshape(-1).astype(np.float64) @ first + weights.biases[0], 0)
    sums = np.maximum(values @ second + weights.biases[1], 0) @ last + weights.biases[2]

    assert StudentHeads([weights]).score(window)[0] == pytest.approx(
        1 / (1 + np.exp(-sums[0])), rel=1e-4
    )


def test_heads_that_are_joined_score_as_each_alone() -> None:
    weights = [random_student_head(16, 8, seed=1), random_student_head(4, 12, seed=2)]
    alone = [StudentHeads([each]).score(EMBEDDINGS[:16])[0] for each in weights]

    np.testing.assert_allclose(StudentHeads(weights).score(EMBEDDINGS[:16]), alone, rtol=1e-5)


def test_each_input_has_its_own_weight() -> None:
    matrix = np.zeros((1536, 1), np.float32)
    matrix[5] = 2.0
    head = StudentHeads([simple_head(matrix, -1.0)])
    window = np.zeros((16, 96), np.float32)
    window[0, 5] = 0.25

    assert head.score(window)[0] == pytest.approx(1 / (1 + np.exp(0.5)))


@pytest.mark.parametrize("sum_", [-1e30, 1e30])
def test_extreme_sums_have_a_score(sum_: float) -> None:
    head = StudentHeads([simple_head(np.zeros((1536, 1), np.float32), sum_)])

    expected = 0.0 if sum_ < 0 else 1.0

    assert head.score(EMBEDDINGS[:16])[0] == pytest.approx(expected, abs=1e-20)
    assert head.over(EMBEDDINGS).score(16, 16)[0, 0] == pytest.approx(expected, abs=1e-20)


def arrays_of(value: object) -> list[np.ndarray[Any, Any]]:
    """All arrays that an object keeps, at any depth."""
    found = []
    for kept in vars(value).values():
        if isinstance(kept, np.ndarray):
            found.append(kept)
        elif hasattr(kept, "__dict__"):
            found += arrays_of(kept)
    return found


def test_wipe_overwrites_all_that_is_kept() -> None:
    head = StudentHeads([random_student_head(16, 8)])
    before = [each.copy() for each in arrays_of(head)]
    head.score(EMBEDDINGS[:16])
    pairs = zip(before, arrays_of(head), strict=True)
    written = [after for old, after in pairs if not np.array_equal(old, after)]

    head.wipe()

    assert len(written) == 4
    assert not any(each.any() for each in written)


def test_weights_survive_their_file() -> None:
    weights = random_student_head(16, 8)

    read = read_student_head(write_student_head(weights), "head")

    np.testing.assert_array_equal(read.matrices[0], weights.matrices[0].astype(np.float16))
    np.testing.assert_array_equal(read.biases[2], weights.biases[2])
    assert write_student_head(read) == write_student_head(weights)


def arrays(*changes: tuple[int, Any]) -> bytes:
    """The file with some arrays replaced."""
    return replace_arrays(write_student_head(random_student_head(4, 4)), *changes)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it has 0 arrays"),
        (b"PK\x03\x04", "not a sequence of numpy arrays"),
        (write_student_head(random_student_head(4)), "it has 4 arrays"),
        (write_student_head(random_student_head(4, 4, 4)), "7 arrays"),
        (arrays((0, np.zeros((1535, 4), "<f2"))), r"shape \(1535, 4\)"),
        (arrays((0, np.zeros((1536, 300), "<f2")), (1, np.zeros(300, "<f4"))), "300 wide"),
        (arrays((1, np.zeros(5, "<f4"))), "shape"),
        (arrays((4, np.zeros((4, 2), "<f2")), (5, np.zeros(2, "<f4"))), "2 outputs"),
        (arrays((0, np.zeros((1536, 4), "<f4"))), "type float32"),
        (arrays((2, np.full((4, 4), np.inf, "<f2"))), "not finite"),
    ],
)
def test_file_of_something_else_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ModelRefused, match=reason):
        read_student_head(data, "head")


@given(st.binary(max_size=200), st.integers(0, 14_000))
def test_any_bytes_are_weights_or_are_refused(noise: bytes, at: int) -> None:
    data = write_student_head(random_student_head(4, 4))
    try:
        read = read_student_head(data[:at] + noise + data[at + len(noise) :], "head")
    except ModelRefused:
        return
    assert isinstance(read, StudentHeadWeights)


def test_student_heads_take_no_turns_and_do_not_count_as_many() -> None:
    word = Word("alexa", StudentHeads([random_student_head(4, 4)]), 34)

    assert StageWord(word, 0.1, random_student_head(4, 4), 0.1).turn_window is None
    assert StageWord(word, 0.1).turn_window == 34
    assert turn_pairs([16] * MANY_WORDS + [None] * 5) == (1,) * (MANY_WORDS + 5)
    assert turn_pairs([16] * (MANY_WORDS + 1) + [None, 34]) == (*[2] * (MANY_WORDS + 1), 1, 1)
