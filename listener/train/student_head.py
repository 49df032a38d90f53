"""Training of a student head: a small head of one word on the student's embeddings. Pure.

The labels are the ends of the words in synthetic clips; no output of any wake word's head trains
anything. ``docs/decisions/0073`` gives the reasons.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from listener.train.heads import DenseHead, Standard, fit_standard, gather, input_scale
from listener.train.optimise import HeadTrainer, Pool
from listener.train.student import TeacherStream
from listener.wakeword.batch import settle
from listener.wakeword.features import BANDS, START_LEVEL, Floats
from listener.wakeword.student import LongStudent, StudentWeights
from listener.wakeword.student_head import STUDENT_WINDOW_FRAMES, StudentHeadWeights

WIDTH: Final = 16
"""Units of each hidden layer."""
BATCHES: Final = 3000
FIRST_STEP: Final = -1
LAST_STEP: Final = 3
"""Steps around the end of a word whose windows have the word."""
_NEAR_BEFORE_STEPS: Final = 6
_NEAR_AFTER_STEPS: Final = 12
"""Steps around the end of a word whose windows are not taken as others."""
_OWN_SHARE: Final = 0.5
"""Weight of the windows of the sound around the word."""
_STANDARD_WINDOWS: Final = 4000
"""Windows of each pool that give means and standard deviations."""
_BLOCK_STEPS: Final = 512


def embed(weights: StudentWeights, stream: TeacherStream) -> Floats:
    """Return the student's embeddings of a stream, shape (steps, 96)."""
    student = LongStudent(weights)
    # Rounding depends on the number of threads.
    with threadpool_limits(1):
        settle(student, START_LEVEL)
        parts = [
            student.steps(
                stream.mel[first : first + _BLOCK_STEPS].astype(np.float32).reshape(-1, BANDS)
            )
            for first in range(0, len(stream.mel), _BLOCK_STEPS)
        ]
    return np.concatenate(parts)


def pool_word(name: str, embeddings: Floats, word_steps: NDArray[np.int64]) -> list[Pool]:
    """Return the windows of a stream with the word, and those of the sound around it.

    Args:
        name: name of the pools.
        embeddings: of the stream, shape (steps, 96).
        word_steps: the steps at which the word ends, at least one.
    """
    steps = np.arange(len(embeddings))
    near = np.zeros(len(embeddings), np.bool_)
    said = np.zeros(len(embeddings), np.bool_)
    for end in word_steps.tolist():
        near[max(0, end - _NEAR_BEFORE_STEPS) : end + _NEAR_AFTER_STEPS] = True
        said[max(0, end + FIRST_STEP) : end + LAST_STEP + 1] = True
    whole = steps >= STUDENT_WINDOW_FRAMES - 1
    return [
        Pool(name, embeddings, steps[whole & said], 1.0, is_word=True),
        Pool(f"around {name}", embeddings, steps[whole & ~near], _OWN_SHARE, is_word=False),
    ]


def pool_others(name: str, parts: Sequence[Floats], weight: float) -> Pool:
    """Return all windows of streams without the word, joined.

    Args:
        name: name of the pool.
        parts: embeddings, shape (steps, 96) each.
        weight: relative to the other pools without the word.
    """
    joined = np.concatenate(parts)
    every = np.arange(STUDENT_WINDOW_FRAMES - 1, len(joined))
    return Pool(name, joined, every, weight, is_word=False)


def train_student_head(
    pools: Sequence[Pool], random: Generator, batches: int = BATCHES
) -> StudentHeadWeights:
    """Train a student head; same pools, random numbers and machine, same bytes.

    Args:
        pools: at least one with the word and one without.
        random: draws windows, weights, noise and dropout.
        batches: batches of the training.
    """
    drawn = [pool.ends[random.integers(len(pool.ends), size=_STANDARD_WINDOWS)] for pool in pools]
    standard = fit_standard(
        np.concatenate([gather(p.embeddings, e) for p, e in zip(pools, drawn, strict=True)])
    )
    head = DenseHead(WIDTH, random)
    with threadpool_limits(1):
        HeadTrainer(standard, pools, batches).train(head, random)
    return fold(head, standard)


def fold(head: DenseHead, standard: Standard) -> StudentHeadWeights:
    """Return the weights for embeddings as they are.

    Training clips standardised inputs, which the weights cannot: few are beyond the limit.
    """
    first, first_bias, *rest = head.parameters
    raw: Floats = first * np.float32(input_scale()) / standard.deviation[:, None]
    layers = [raw, first_bias - standard.mean @ raw, *rest]
    return StudentHeadWeights(tuple(layers[::2]), tuple(layers[1::2]))
