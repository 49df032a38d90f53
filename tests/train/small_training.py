"""A training with few clips, for tests: small_training.py HOME NAME [SEED]; prints the hash."""

import hashlib
import sys
from pathlib import Path

from listener.train.negatives import load_negatives
from listener.train.phrase import parse_phrase
from listener.train.plan import Counts, Recipe
from listener.train.report import finish
from listener.train.training import (
    PendingWork,
    find_pending,
    iterate_tasks,
    make_batches,
    measure,
    train,
)
from listener.train.recipe import build_recipe
from listener.train.work_folder import WorkFolder

COUNTS = Counts(
    words=40,
    copies=1,
    near=20,
    near_copies=1,
    sentences=10,
    talk=4,
    test_words=10,
    test_near=10,
    steps=80,
)


class Counter:
    """Counts the work."""

    def __init__(self) -> None:
        self.done = 0.0

    def advance(self, amount: float) -> None:
        self.done += amount


def make(home: Path, seed: int) -> tuple[Recipe, WorkFolder, PendingWork]:
    recipe, _ = build_recipe(
        parse_phrase("hey lumen"), "fast", seed, load_negatives(), home, COUNTS
    )
    folder = WorkFolder(home / "training", "hey-lumen", recipe.digest())
    return recipe, folder, find_pending(recipe, home, folder)


def run(home: Path, seed: int) -> tuple[bytes, int, float]:
    """Train; return the model, the number of parts that were there, and the work that was done."""
    recipe, folder, _ = make(home, seed)
    negatives, counter = load_negatives(), Counter()
    with folder.opened():
        pending = find_pending(recipe, home, folder)
        batches = make_batches(recipe, home, pending, folder, 1, counter)
        tasks = tuple(iterate_tasks(recipe, home, folder))
        ensemble = train(recipe, negatives, batches, tasks, folder, 2, counter)
        trained = measure(recipe, ensemble, negatives, batches, tasks)
    _, data = finish(recipe, trained, negatives, (), 0.0, 32_000)
    return data, pending.made, counter.done


if __name__ == "__main__":
    data, made, _ = run(Path(sys.argv[1]), int(sys.argv[2]))
    print(hashlib.sha256(data).hexdigest(), made)
