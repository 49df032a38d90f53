"""The student of the embedding network: its file, and steps one by one or many at once."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import ModelRefused
from listener.wakeword.features import Floats
from listener.wakeword.student import (
    LongStudent,
    StudentNet,
    StudentWeights,
    read_weights,
    write_weights,
)
from tests.wakeword.students import random_student, replace_arrays

SAME = 1e-4


def mel(steps: int) -> Floats:
    return np.random.default_rng(5).uniform(-2, 6, (8 * steps, 32)).astype(np.float32)


def one_by_one(network: StudentNet, frames: Floats) -> Floats:
    hop = network.hop_frames
    return np.stack(
        [network.step(frames[first : first + hop]).copy() for first in range(0, len(frames), hop)]
    )


@pytest.mark.parametrize("taps", [(), (3,), (4, 4, 4), (1, 10)])
def test_many_steps_at_once_equal_steps_one_by_one(taps: tuple[int, ...]) -> None:
    weights = random_student(24, taps)
    frames = mel(40)
    many = LongStudent(weights)

    expected = one_by_one(StudentNet(weights, 8), frames)

    parts = np.concatenate([many.steps(frames[:136]), many.steps(frames[136:])])
    np.testing.assert_allclose(parts, expected, rtol=1e-5, atol=SAME)


def test_hop_of_40_ms_has_two_phases() -> None:
    weights = random_student(24, (4, 3))
    frames = mel(30)

    both = one_by_one(StudentNet(weights, 4), frames)

    np.testing.assert_array_equal(both[1::2], one_by_one(StudentNet(weights, 8), frames))
    shifted = one_by_one(StudentNet(weights, 8), frames[4:-4])
    np.testing.assert_array_equal(both[12::2], shifted[5:])


@pytest.mark.parametrize("hop", [8, 4])
@pytest.mark.parametrize("taps", [(), (3,), (4, 4, 4), (1, 10)])
def test_pairs_of_steps_equal_steps_one_by_one(hop: int, taps: tuple[int, ...]) -> None:
    weights = random_student(24, taps)
    frames = mel(31 * 8 // hop)
    single, mixed = StudentNet(weights, hop), StudentNet(weights, hop)
    expected = one_by_one(single, frames)

    rows: list[Floats] = []
    rest = frames
    while len(rest):
        # Single steps in between, so that pairs begin at each phase and slot.
        size = 1 if len(rows) % 5 == 0 or len(rest) == hop else 2
        taken = rest[: size * hop]
        rows += [row.copy() for row in (mixed.pair(taken) if size > 1 else [mixed.step(taken)])]
        rest = rest[size * hop :]

    np.testing.assert_allclose(np.stack(rows), expected, rtol=0, atol=1e-6)


def test_state_resumes_where_it_was_taken() -> None:
    network = StudentNet(random_student(24, (4, 4, 4)), 8)
    frames = mel(40)
    one_by_one(network, frames[:160])
    state = network.state()
    expected = one_by_one(network, frames[160:])

    network.resume(state)

    np.testing.assert_array_equal(one_by_one(network, frames[160:]), expected)


def test_resume_overwrites_what_came_after_the_state() -> None:
    network = StudentNet(random_student(24, (4, 4)), 8)
    start = network.state()
    one_by_one(network, mel(10))

    network.resume(start)

    held = [value for value in vars(network).values() if isinstance(value, np.ndarray)]
    assert not any(array.any() for array in held)
    assert not any(ring.any() for ring in network._rings)  # noqa: SLF001 - nothing of the sound may stay


def test_weights_survive_their_file() -> None:
    weights = random_student(24, (4, 3))

    read = read_weights(write_weights(weights), "student")

    assert read.context_steps == 6
    assert read.multiplications == 256 * 24 + 7 * 24 * 24 + 24 * 96
    np.testing.assert_array_equal(read.first, weights.first.astype(np.float16))
    np.testing.assert_array_equal(read.last_bias, weights.last_bias)
    assert write_weights(read) == write_weights(weights)


def arrays(*changes: tuple[int, Any]) -> bytes:
    """The file with some arrays replaced."""
    return replace_arrays(write_weights(random_student(8, (2,))), *changes)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it has 0 arrays"),
        (b"PK\x03\x04", "not a sequence of numpy arrays"),
        (arrays((0, np.zeros((255, 8), "<f2"))), r"shape \(255, 8\)"),
        (arrays((1, np.zeros(9, "<f4"))), "shape"),
        (arrays((2, np.zeros((11, 8, 8), "<f2"))), "depends on 11 steps"),
        (arrays((2, np.zeros((8, 8), "<f2"))), "shape"),
        (arrays((0, np.zeros((256, 8), "<f4"))), "type float32"),
        (arrays((4, np.full((8, 96), np.nan, "<f2"))), "not finite"),
    ],
)
def test_file_of_something_else_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ModelRefused, match=reason):
        read_weights(data, "student")


@given(st.binary(max_size=200), st.integers(0, 4000))
def test_any_bytes_are_weights_or_are_refused(noise: bytes, at: int) -> None:
    data = write_weights(random_student(8, (2,)))
    try:
        read = read_weights(data[:at] + noise + data[at + len(noise) :], "student")
    except ModelRefused:
        return
    assert isinstance(read, StudentWeights)
