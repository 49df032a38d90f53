"""Our models as engines: at once and step by step, the same scores."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from listener.audio.pcm import Samples
from listener.errors import UsageError
from listener.evaluate.engines.earmark import EarmarkRecipe, earmark_recipe

HOME = Path("/nonexistent")
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
WORDS = ("alexa", "hey-jarvis", "hey-marvin", "hey-mycroft", "timer", "weather")


def recipe(
    *words: str, hop_ms: int = 80, stepwise: bool = False, second_opinion: bool = True
) -> EarmarkRecipe:
    return earmark_recipe(
        "test", HOME, words or WORDS, hop_ms, stepwise=stepwise, second_opinion=second_opinion
    )


def spoken(name: str) -> Samples:
    samples: Samples = soundfile.read(FIXTURES / f"{name}.flac", dtype="int16")[0]
    return samples


def cut(samples: Samples, size: int) -> Iterator[Samples]:
    for first in range(0, len(samples), size):
        yield samples[first : first + size]


@pytest.mark.parametrize("name", ["alexa_command", "hey_mycroft_command", "talk"])
def test_batch_and_stepwise_scores_are_equal_for_every_model(name: str) -> None:
    samples = spoken(name)

    at_once = recipe().build().track(cut(samples, 16_000))
    stepwise = recipe(stepwise=True).build().track(cut(samples, 777))

    assert at_once.words == stepwise.words == WORDS
    assert at_once.scores.shape == stepwise.scores.shape == (len(samples) // 1280, len(WORDS))
    assert np.abs(at_once.scores - stepwise.scores).max() <= 1e-4
    assert at_once.length_samples == stepwise.length_samples == len(samples)
    assert at_once.first_end_sample == at_once.step_samples == 1280


@pytest.mark.parametrize("length", [0, 1, 1279, 1280, 41_000])
def test_only_complete_steps_are_scored(length: int) -> None:
    engine = recipe("alexa").build()

    track = engine.track(iter([spoken("alexa")[:length]]))

    assert track.scores.shape == (length // 1280, 1)
    assert track.length_samples == length


def test_engine_is_reset_for_each_track() -> None:
    engine = recipe("alexa").build()
    first = engine.track([spoken("alexa")]).scores

    engine.track([spoken("talk")])

    assert np.array_equal(engine.track([spoken("alexa")]).scores, first)


def test_hop_of_40_ms_uses_the_stepwise_detector() -> None:
    made = recipe("alexa", hop_ms=40)

    track = made.build().track([spoken("alexa")])

    assert made.stepwise
    assert track.step_samples == 640
    assert not any(math.isnan(score) for score in track.of("alexa"))


def test_thresholds_default_to_the_manifests() -> None:
    assert recipe("alexa", "timer").build().thresholds.keys() == {"alexa", "timer"}


def test_cache_key_depends_on_every_input_of_the_scores() -> None:
    keys = {
        recipe("alexa").key,
        recipe("timer").key,
        recipe("alexa", stepwise=True).key,
        recipe("alexa", hop_ms=40).key,
        recipe("alexa", second_opinion=False).key,
    }

    assert len(keys) == 5
    assert earmark_recipe("other name", HOME, ("alexa",)).key == recipe("alexa").key
    networks = {"alexa", "embedding", "embedding-long"}
    assert recipe("alexa", second_opinion=False).hashes().keys() == networks
    assert recipe("alexa").hashes().keys() == {*networks, "microwakeword"}
    assert hash(recipe("alexa")) == hash(recipe("alexa"))


def test_model_that_is_not_a_wake_word_is_refused() -> None:
    with pytest.raises(UsageError, match="not a wake-word model"):
        recipe("silero-vad")
