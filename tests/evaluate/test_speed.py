"""Speed of engines, with a clock and an engine of the test."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from listener.audio.pcm import Samples
from listener.errors import Unavailable
from listener.evaluate import speed
from listener.evaluate.corpus.items import InvalidItem, Item
from listener.evaluate.engines.external import external_recipe
from listener.evaluate.engines.interface import Engine, EngineRecipe, ScoreTrack


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


CLOCK = Clock()
LENGTHS: list[int] = []


class Slow:
    """Takes a tenth of the length of its audio by the clock of the test."""

    words = ("alexa",)
    thresholds: Mapping[str, float] = {"alexa": 0.5}
    patience_frames: Mapping[str, int] = {}

    def track(self, blocks: Iterable[Samples]) -> ScoreTrack:
        length = sum(map(len, blocks))
        LENGTHS.append(length)
        CLOCK.now_s += length / 160_000
        return ScoreTrack(self.words, np.zeros((0, 1), np.float32), 1280, 1280, length)


@dataclass(frozen=True)
class SlowRecipe:
    name: str = "slow"
    key: str = "0" * 64
    is_available: bool = True

    def hashes(self) -> Mapping[str, str]:
        return {}

    def build(self) -> Engine:
        if not self.is_available:
            raise Unavailable("it is not installed")
        return Slow()


@pytest.fixture
def corpus(tmp_path: Path) -> list[Item | InvalidItem]:
    soundfile.write(tmp_path / "a.wav", np.ones(50 * 16_000, np.int16), 16_000)
    (tmp_path / "broken.wav").write_bytes(b"none")
    return [
        InvalidItem("x", "no path"),
        Item("broken.wav", tmp_path / "broken.wav"),
        Item("a.wav", tmp_path / "a.wav"),
        Item("again.wav", tmp_path / "a.wav"),
    ]


def test_real_time_factor_is_of_a_minute_of_the_corpus(corpus: list[Item | InvalidItem]) -> None:
    recipes: list[tuple[str, EngineRecipe]] = [
        ("slow: alexa", SlowRecipe()),
        ("absent", SlowRecipe(is_available=False)),
    ]

    (found,) = speed.measure_speeds(recipes, corpus, 0, CLOCK)

    assert (found.engine, found.audio_s, found.runs) == ("slow: alexa", 60.0, 3)
    assert found.real_time_factor == pytest.approx(0.1)
    assert found.cpu_share >= 0
    assert found.machine
    assert [32_000, *[960_000] * 3] == LENGTHS


def test_corpus_without_audio_has_no_speed() -> None:
    assert speed.measure_speeds([("slow", SlowRecipe())], [], 0, CLOCK) == ()


@pytest.mark.system
def test_cpu_time_of_an_external_engine_is_its_own(corpus: list[Item | InvalidItem]) -> None:
    program = Path(__file__).parent / "engines" / "piped_engine.py"
    recipe = external_recipe("piped", (sys.executable, str(program)), ("alexa",))

    (found,) = speed.measure_speeds([("piped", recipe)], corpus, 0)

    assert found.cpu_share > 0
    assert found.real_time_factor > 0
