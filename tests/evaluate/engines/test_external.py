import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from listener.audio.pcm import Samples
from listener.errors import ConfigError, Unavailable
from listener.evaluate.engines.external import ExternalEngine, external_recipe

pytestmark = pytest.mark.system  # real processes

PROGRAM = Path(__file__).with_name("piped_engine.py")
SOUND = (np.arange(50_000) % 30_000).astype(np.int16)


def command(*fault: str) -> tuple[str, ...]:
    return (sys.executable, str(PROGRAM), *fault)


def cut(sound: Samples, *places: int) -> Iterator[Samples]:
    yield from np.split(sound, places)


def test_program_scores_do_not_depend_on_block_sizes() -> None:
    engine = external_recipe("mine", command(), ("alexa", "timer")).build()

    one = engine.track(cut(SOUND))
    other = engine.track(cut(SOUND, 1, 1280, 9000, 9000))

    expected = [np.abs(SOUND[at : at + 1280]).max() / 32768 for at in range(0, 49_920, 1280)]
    assert one.of("alexa").tolist() == pytest.approx(expected)
    assert np.array_equal(one.scores, other.scores)
    assert (one.words, one.step_samples, one.first_end_sample) == (("alexa", "timer"), 1280, 1280)
    assert one.length_samples == len(SOUND)
    assert engine.thresholds == {"alexa": 0.5, "timer": 0.5}


def test_item_shorter_than_a_step_has_no_scores() -> None:
    engine = ExternalEngine(command(), ("alexa",))

    track = engine.track(cut(SOUND[:5]))

    assert track.scores.shape == (0, 1)


def test_recipe_can_be_pickled_and_hashes_its_files() -> None:
    recipe = external_recipe("mine", command(), ("alexa",))

    again = pickle.loads(pickle.dumps(recipe))

    assert again == recipe
    assert hash(again) == hash(recipe)
    assert set(recipe.hashes()) == {sys.executable, str(PROGRAM)}
    assert recipe.key == external_recipe("other", command(), ("alexa",)).key
    assert recipe.key != external_recipe("mine", command("lingering"), ("alexa",)).key


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        ("ignorant", ConfigError, "has no word alexa"),
        ("careless", ConfigError, "has no threshold alexa"),
        ("babbling", ConfigError, "sent an invalid answer"),
        ("dying", Unavailable, "exited with code 3"),
        ("narrow", ConfigError, "rows whose length"),
        ("loud", ConfigError, "sent an invalid answer"),
    ],
)
def test_invalid_program_is_an_error(fault: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        ExternalEngine(command(fault), ("alexa",)).track(cut(SOUND))


def test_program_that_does_not_answer_times_out() -> None:
    with pytest.raises(Unavailable, match=r"did not answer within 0\.3 s"):
        ExternalEngine(command("silent"), ("alexa",), timeout_s=0.3)


def test_failed_program_is_restarted_for_the_next_item() -> None:
    engine = ExternalEngine(command("dying"), ("alexa",))
    with pytest.raises(Unavailable):
        engine.track(cut(SOUND))

    track = engine.track(iter(()))

    assert len(track.scores) == 0


def test_damaged_audio_does_not_affect_the_next_item() -> None:
    engine = ExternalEngine(command(), ("alexa",))

    def damaged() -> Iterator[Samples]:
        yield SOUND[:3000]
        raise Unavailable("it is damaged")

    with pytest.raises(Unavailable, match="it is damaged"):
        engine.track(damaged())

    assert engine.track(cut(SOUND)).scores.shape == (39, 1)


def test_program_that_does_not_exit_is_killed() -> None:
    engine = ExternalEngine(command("lingering"), ("alexa",))

    engine.close()
    engine.close()

    assert engine._process.returncode is not None  # noqa: SLF001 - nothing else tells


@pytest.mark.parametrize("words", [(), ("/missing/program",), ("nul\0",)])
def test_command_that_cannot_be_started_is_an_error(words: tuple[str, ...]) -> None:
    with pytest.raises((ConfigError, Unavailable), match=r"needs a command|cannot start"):
        external_recipe("mine", words, ("alexa",))
