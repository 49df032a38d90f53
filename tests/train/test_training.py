"""A whole training by real voices: the same bytes for a seed, also after a kill."""

import hashlib
import importlib.util
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from listener.errors import Unavailable
from listener.train.plan import Recipe
from listener.train.training import Training
from listener.train.work_folder import WorkFolder

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed"),
]
ROOT = Path(__file__).parents[2]
KILLS = 2


@pytest.fixture(scope="module")
def small() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "small_training", Path(__file__).parent / "small_training.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(
    small: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Recipe, WorkFolder, Training]:
    """A training with seed 1 in which nothing was done; its recipe takes long to make."""
    found: tuple[Recipe, WorkFolder, Training] = small.make(tmp_path_factory.mktemp("made"), 1)
    return found


def start(home: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "tests/train/small_training.py", str(home), "1"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.timeout(1200)
def test_training_continues_after_kills_and_gives_the_same_bytes(
    small: ModuleType, tmp_path: Path
) -> None:
    whole, made, _ = small.run(tmp_path / "whole", 1)
    killed = 0
    home = tmp_path / "killed"
    while killed < KILLS:
        process = start(home)
        before = count(home)
        until_s = time.monotonic() + 120
        while count(home) == before and process.poll() is None and time.monotonic() < until_s:
            time.sleep(0.01)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += 1
    process = start(home)
    printed, _ = process.communicate(timeout=600)

    assert made == 0
    assert killed == KILLS
    assert printed.split()[0] == hashlib.sha256(whole).hexdigest()
    assert int(printed.split()[1]) > 0


def count(home: Path) -> int:
    return len(list(home.glob("training/*/*.npz")))


def test_other_seed_gives_another_recipe(
    small: ModuleType, made: tuple[Recipe, WorkFolder, Training], tmp_path: Path
) -> None:
    recipe, folder, _ = made
    other, other_folder, _ = small.make(tmp_path, 2)

    assert recipe.digest() != other.digest()
    assert folder.path.name != other_folder.path.name


def test_damaged_batch_is_made_again(made: tuple[Recipe, WorkFolder, Training]) -> None:
    recipe, folder, training = made
    pending = training.find_pending()
    name = pending.batches[0].name
    with folder.opened():
        for damaged in (b"", b"PK\x03\x04" + bytes(100), b"\x93NUMPY"):
            folder.write(name, damaged)
            assert name in {task.name for task in training.find_pending().batches}
    assert pending.made == 0
    assert len(pending.heads) == recipe.counts.candidates + recipe.counts.test_candidates
    assert recipe.phrase.name == "hey-lumen"


def test_second_training_of_a_recipe_is_refused(
    made: tuple[Recipe, WorkFolder, Training],
) -> None:
    _, folder, _ = made
    with folder.opened(), pytest.raises(Unavailable, match="already runs"), folder.opened():
        pass
