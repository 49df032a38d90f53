from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from listener.audio.pcm import Samples
from listener.evaluate.engines.ours import earmark_recipe
from listener.evaluate.engines.peers import openwakeword_recipe

pytestmark = pytest.mark.system  # a real engine

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
HOME = Path("/nonexistent")


def read(name: str) -> Samples:
    samples: Samples = soundfile.read(FIXTURES / f"{name}.flac", dtype="int16")[0]
    return samples


def blocks(sound: Samples, size: int = 5000) -> Iterator[Samples]:
    for at in range(0, len(sound), size):
        yield sound[at : at + size]


def test_openwakewords_own_code_gives_the_scores_that_ours_gives() -> None:
    words = ("alexa", "timer")
    theirs = openwakeword_recipe("theirs", HOME, words).build()
    ours = earmark_recipe("ours", HOME, words, stepwise=True).build()

    for name in ("alexa_twice", "near"):
        one, other = theirs.track(blocks(read(name))), ours.track(blocks(read(name)))

        assert one.words == other.words == words
        assert np.abs(one.scores - other.scores).max() < 1e-4
        assert one.end_samples().tolist() == other.end_samples().tolist()
    assert theirs.thresholds == ours.thresholds


def test_what_openwakeword_heard_before_does_not_matter() -> None:
    engine = openwakeword_recipe("theirs", HOME, ("alexa",)).build()

    first = engine.track(blocks(read("near")))
    engine.track(blocks(read("alexa_twice")[:-700]))
    again = engine.track(blocks(read("near"), 1280))

    assert np.array_equal(first.scores, again.scores)
