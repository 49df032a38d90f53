"""A training with few clips, for tests: small_training.py HOME NAME [SEED]; prints the hash."""

import hashlib
import sys
from pathlib import Path

from listener.train.negatives import load_negatives
from listener.train.phrase import parse_phrase
from listener.train.plan import ClipCounts, Recipe
from listener.train.recipe import TrainingRequest, build_recipe
from listener.train.report import finish
from listener.train.training import Training
from listener.train.work_folder import WorkFolder

COUNTS = ClipCounts(
    words=12,
    copies=1,
    near=6,
    near_copies=1,
    sentences=4,
    talk=2,
    test_words=4,
    test_near=4,
    steps=12,
    candidates=4,
    test_candidates=3,
)


class Counter:
    """ClipCounts the work."""

    def __init__(self) -> None:
        self.done = 0.0

    def advance(self, amount: float) -> None:
        self.done += amount


def make(home: Path, seed: int) -> tuple[Recipe, WorkFolder, Training]:
    request = TrainingRequest(parse_phrase("hey lumen"), "fast", seed, COUNTS)
    negatives = load_negatives()
    recipe, _ = build_recipe(request, negatives, home)
    folder = WorkFolder(home / "training", "hey-lumen", recipe.digest())
    return recipe, folder, Training(recipe, negatives, home, folder, 1)


def run(home: Path, seed: int) -> tuple[bytes, int, float]:
    """Train; return the model, the number of parts that were there, and the work that was done."""
    recipe, folder, training = make(home, seed)
    counter = Counter()
    with folder.opened():
        pending = training.find_pending()
        made = training.make_batches(pending, counter)
        trained = training.measure(training.train(made, counter), made)
    _, data = finish(recipe, trained, 0.0, 32_000)
    return data, pending.made, counter.done


if __name__ == "__main__":
    data, made, _ = run(Path(sys.argv[1]), int(sys.argv[2]))
    sys.stdout.write(f"{hashlib.sha256(data).hexdigest()} {made}\n")
