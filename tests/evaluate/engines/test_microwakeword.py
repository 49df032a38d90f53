from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from listener.audio.pcm import Samples
from listener.evaluate.engines.microwakeword import MicroWakeWord, file_name, models_folder
from listener.evaluate.engines.track import ScoreTrack

pytestmark = pytest.mark.system  # a real engine

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


def read(name: str) -> Samples:
    samples: Samples = soundfile.read(FIXTURES / f"{name}.flac", dtype="int16")[0]
    return samples


def blocks(sound: Samples, size: int = 5000) -> Iterator[Samples]:
    for at in range(0, len(sound), size):
        yield sound[at : at + size]


def steps_match(track: ScoreTrack, sound: Samples) -> bool:
    return abs(int(track.end_samples()[-1]) - len(sound)) < 2 * track.step_samples


def test_microwakeword_scores_every_30_ms_and_hears_the_word() -> None:
    engine = MicroWakeWord(("alexa", "hey-jarvis"))
    sound = read("alexa_twice")

    track = engine.track(blocks(sound))

    assert track.step_samples == 480
    assert track.words == ("alexa", "hey-jarvis")
    assert steps_match(track, sound)
    assert track.of("alexa").max() > engine.thresholds["alexa"] == pytest.approx(0.9)
    assert track.of("hey-jarvis").max() < 0.5


def test_what_microwakeword_heard_before_does_not_matter() -> None:
    engine = MicroWakeWord(("alexa",))

    first = engine.track(blocks(read("near")))
    engine.track(blocks(read("alexa_twice")[:-77]))
    again = engine.track(blocks(read("near"), 160))

    assert np.array_equal(first.scores, again.scores)


def test_microwakewords_first_score_is_where_its_first_stride_ends() -> None:
    engine = MicroWakeWord(("alexa",))
    sound = read("alexa_twice")

    whole = engine.track(blocks(sound))
    shorter = engine.track(blocks(sound[: whole.first_end_sample]))
    too_short = engine.track(blocks(sound[: whole.first_end_sample - 1]))

    assert len(shorter.scores) == 1
    assert len(too_short.scores) == 0


def test_its_models_lie_in_its_package() -> None:
    assert (models_folder() / f"{file_name('hey-jarvis')}.tflite").is_file()
