"""Training of one head: batches from several pools, hard negatives, Adam with a cosine schedule.

Half of the negatives of a batch are drawn from those that score highest, which are searched again
at intervals: the false wakes that matter are rare. Same pools and seed, same weights. Pure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from listener.train.heads import Standard, TrainableHead, gather
from listener.wakeword.features import Floats

BATCH: Final = 512
POSITIVE_SHARE: Final = 0.25
POSITIVE_TARGET: Final = 0.98
NEGATIVE_WEIGHT: Final = 2.0
SEARCH_STEPS: Final = 250
"""Steps between two searches for hard negatives."""

_RATE: Final = 1e-3
_WARM_UP_STEPS: Final = 100
_LAST_RATE: Final = 0.01
_DECAY: Final = 1e-4
_FIRST_MOMENT: Final = 0.9
_SECOND_MOMENT: Final = 0.999
_SEARCHED: Final = 20_000
"""Windows of each pool that a search scores."""
_HARD_SHARE: Final = 0.01
_FEWEST_HARD: Final = 20
_SCORED_AT_ONCE: Final = 4096

Ends = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pool:
    """Windows of one origin with one label."""

    name: str
    embeddings: Floats
    """float32, shape (steps, 96)."""
    ends: Ends
    """Last step of each window, shape (n,), n at least 1."""
    weight: float
    """Part of the pool in a batch, relative to the other pools with its label."""
    is_word: bool


class HeadTrainer:
    """Trains heads on the same pools. Safe for use by several threads, one head each."""

    def __init__(self, standard: Standard, pools: Sequence[Pool], steps: int) -> None:
        """Divide the pools.

        Args:
            standard: standardises the inputs.
            pools: at least one with the word and one without.
            steps: batches of each training.
        """
        self._standard, self._steps = standard, steps
        self._words = [pool for pool in pools if pool.is_word]
        self._others = [pool for pool in pools if not pool.is_word]
        positives = round(BATCH * POSITIVE_SHARE)
        self._positives = positives
        self._targets = np.zeros(BATCH, np.float32)
        self._targets[:positives] = POSITIVE_TARGET
        self._weights = np.full(BATCH, NEGATIVE_WEIGHT / BATCH, np.float32)
        self._weights[:positives] = 1 / BATCH

    def train(
        self, head: TrainableHead, random: Generator, on_step: Callable[[], None] = lambda: None
    ) -> None:
        """Train a head in place.

        Args:
            head: the network.
            random: draws batches, noise and dropout.
            on_step: called after each batch.
        """
        optimiser = Adam(head.parameters, self._steps)
        hard: list[Pool] = []
        for step in range(1, self._steps + 1):
            negatives = BATCH - self._positives
            from_hard = negatives // 2 if hard else 0
            windows = [
                *_draw(self._words, self._positives, random),
                *_draw(self._others, negatives - from_hard, random),
                *_draw(hard, from_hard, random),
            ]
            logits, cache = head.forward(self._standard.apply(np.concatenate(windows)), random)
            probabilities = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
            gradient: Floats = ((probabilities - self._targets) * self._weights).astype(np.float32)
            optimiser.update(head.backward(cache, gradient))
            if step % SEARCH_STEPS == 0 and step < self._steps:
                hard = [self._find_hard(head, pool, random) for pool in self._others]
            on_step()

    def _find_hard(self, head: TrainableHead, pool: Pool, random: Generator) -> Pool:
        """Return the windows of a pool that score highest."""
        ends = pool.ends
        if len(ends) > _SEARCHED:
            ends = random.choice(ends, _SEARCHED, replace=False)
        parts = []
        for first in range(0, len(ends), _SCORED_AT_ONCE):
            windows = gather(pool.embeddings, ends[first : first + _SCORED_AT_ONCE])
            parts.append(head.forward(self._standard.apply(windows), None)[0])
        most = max(_FEWEST_HARD, round(len(ends) * _HARD_SHARE))
        hardest = ends[np.argsort(-np.concatenate(parts), kind="stable")[:most]]
        return Pool(pool.name, pool.embeddings, hardest, pool.weight, is_word=False)


def _draw(pools: Sequence[Pool], count: int, random: Generator) -> list[Floats]:
    """Draw windows from pools by their weights."""
    if not count:
        return []
    shares = np.array([pool.weight for pool in pools])
    counts = random.multinomial(count, shares / shares.sum())
    return [
        gather(pool.embeddings, pool.ends[random.integers(len(pool.ends), size=wanted)])
        for pool, wanted in zip(pools, counts, strict=True)
        if wanted
    ]


class Adam:
    """Adam (Kingma and Ba 2015) with warm-up, cosine schedule and weight decay."""

    def __init__(self, parameters: list[Floats], steps: int, rate: float = _RATE) -> None:
        """Start with moments of 0.

        Args:
            parameters: changed in place.
            steps: updates in all, over which the rate falls.
            rate: highest rate.
        """
        self._parameters, self._steps, self._highest_rate = parameters, steps, rate
        self._first = [np.zeros_like(each) for each in parameters]
        self._second = [np.zeros_like(each) for each in parameters]
        self._step = 0

    def update(self, gradients: Sequence[Floats]) -> None:
        """Change the parameters by one step."""
        self._step += 1
        step = self._step
        cosine = 0.5 * (1 + np.cos(np.pi * step / self._steps))
        rate = self._highest_rate * min(1.0, step / _WARM_UP_STEPS) * (cosine + _LAST_RATE)
        scale = rate * np.sqrt(1 - _SECOND_MOMENT**step) / (1 - _FIRST_MOMENT**step)
        for index, gradient in enumerate(gradients):
            parameter = self._parameters[index]
            slope = gradient + np.float32(_DECAY) * parameter if parameter.ndim > 1 else gradient
            first, second = self._first[index], self._second[index]
            np.multiply(first, np.float32(_FIRST_MOMENT), out=first)
            np.add(first, np.float32(1 - _FIRST_MOMENT) * slope, out=first)
            np.multiply(second, np.float32(_SECOND_MOMENT), out=second)
            np.add(second, np.float32(1 - _SECOND_MOMENT) * slope * slope, out=second)
            change = np.float32(scale) * first / (np.sqrt(second) + np.float32(1e-8))
            np.subtract(parameter, change, out=parameter)
