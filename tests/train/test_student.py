"""Training of a student: exact gradients, and weights that follow from streams and seed."""

from typing import Any

import numpy as np
import pytest

from listener.train import student as training
from listener.train.bounds import fix_bound, open_share
from listener.train.student import Schedule, TeacherStream, train_student
from listener.wakeword.student import (
    INPUTS,
    LongStudent,
    StudentWeights,
    read_weights,
    write_weights,
)


def teacher_stream(steps: int, seed: int) -> TeacherStream:
    """Embeddings that are a linear map of the mel frames of the step and of the one before."""
    random = np.random.default_rng(seed)
    mel = random.uniform(-1, 5, (steps, INPUTS)).astype(np.float16)
    maps = np.random.default_rng(0).standard_normal((2, INPUTS, 96)) / 4
    before = np.concatenate([mel[:1], mel[:-1]])
    embeddings = (mel @ maps[0] + before @ maps[1]).astype(np.float16)
    return TeacherStream(mel, embeddings, np.array([steps // 3, steps // 2]))


STREAMS = [teacher_stream(200, 1), teacher_stream(90, 2)]


def test_gradients_are_those_of_the_loss() -> None:
    random = np.random.default_rng(3)
    network = training._Network.draw(7, (3, 2), random)  # noqa: SLF001 - its gradients are the point
    # In 64 bits, so that differences of the loss are exact enough.
    network.parameters = [each.astype(np.float64) for each in network.parameters]
    inputs: Any = random.standard_normal((2, 9, INPUTS))
    wanted: Any = random.standard_normal((2, 6, 96))

    def loss() -> float:
        return float(np.square(network.forward(inputs)[0] - wanted).sum())

    output, cache = network.forward(inputs)
    gradients = network.backward(cache, 2 * (output - wanted))

    for parameter, gradient in zip(network.parameters, gradients, strict=True):
        assert parameter.shape == gradient.shape
        place = tuple(int(random.integers(size)) for size in parameter.shape)
        kept = parameter[place]
        parameter[place] = kept + 1e-5
        above = loss()
        parameter[place] = kept - 1e-5
        below = loss()
        parameter[place] = kept
        assert gradient[place] == pytest.approx((above - below) / 2e-5, rel=1e-4, abs=1e-6)


def error_of(weights: StudentWeights, stream: TeacherStream) -> float:
    given = LongStudent(weights).steps(stream.mel.astype(np.float32).reshape(-1, 32))
    return float(np.square(given[10:] - stream.embeddings[10:].astype(np.float32)).mean())


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "WIDTH", 24)
    monkeypatch.setattr(training, "TAPS", (2, 2))
    monkeypatch.setattr(training, "STRETCHES", 8)
    monkeypatch.setattr(training, "_WORD_STRETCHES", 3)


@pytest.mark.usefixtures("small")
def test_training_lowers_the_error_and_follows_from_the_seed() -> None:
    losses: list[float] = []

    weights = train_student(
        STREAMS,
        Schedule(60),
        np.random.default_rng(5),
        on_batch=lambda _, loss: losses.append(loss),
    )
    again = train_student(STREAMS, Schedule(60), np.random.default_rng(5))

    assert write_weights(weights) == write_weights(again)
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    assert weights.context_steps == 3


@pytest.mark.usefixtures("small")
def test_second_round_starts_from_the_given_weights() -> None:
    weights = train_student(STREAMS, Schedule(60), np.random.default_rng(5))
    stored = read_weights(write_weights(weights), "student")

    again = train_student(STREAMS, Schedule(1, 5e-4), np.random.default_rng(6), start=stored)

    # One batch at a low rate changes little.
    ours, expected = error_of(again, STREAMS[1]), error_of(stored, STREAMS[1])
    assert ours == pytest.approx(expected, rel=0.05)
    assert write_weights(again) != write_weights(stored)


def test_bound_opens_the_wanted_part_of_the_steps() -> None:
    random = np.random.default_rng(8)
    scores = [10 ** random.uniform(-6, 0, (400, 1)).astype(np.float32) for _ in range(3)]

    bound = fix_bound(scores, 0.3)

    assert open_share([scores], [bound]) == pytest.approx(0.3, abs=0.02)
    assert open_share([scores], [bound]) >= 0.29
    assert fix_bound(scores, 0.05) > bound
