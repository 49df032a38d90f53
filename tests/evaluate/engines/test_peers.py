"""Packages of other engines, which may not be there."""

import pickle
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import soundfile

from listener.audio.pcm import Samples
from listener.errors import ConfigError, ModelRefused, UsageError
from listener.evaluate.engines.earmark import earmark_recipe
from listener.evaluate.engines.interface import ScoreTrack
from listener.evaluate.engines.peers import (
    MicroWakeWord,
    PeerRecipe,
    file_name,
    find_package,
    import_package,
    microwakeword_recipe,
    models_folder,
    openwakeword_recipe,
    package_versions,
)

pytestmark = pytest.mark.system  # real engines

HOME = Path("/nonexistent")

Make = Callable[[str, Path, tuple[str, ...]], PeerRecipe]


@pytest.mark.parametrize("make", [openwakeword_recipe, microwakeword_recipe])
def test_recipe_can_be_pickled_and_hashes_its_models(make: Make) -> None:
    recipe = make("one", HOME, ("alexa",))

    again = pickle.loads(pickle.dumps(recipe))

    assert again == recipe
    assert hash(again) == hash(recipe)
    assert all(len(value) == 64 for value in recipe.hashes().values())
    other = make("other", HOME, ("hey-jarvis",))
    assert other.key != recipe.key
    assert make("other", HOME, ("alexa",)).key == recipe.key


def test_unknown_model_of_an_engine_is_an_error() -> None:
    with pytest.raises(UsageError, match="no model timer"):
        microwakeword_recipe("micro", HOME, ("timer",))
    with pytest.raises((ModelRefused, UsageError)):
        openwakeword_recipe("theirs", HOME, ("no-such-word",))


def test_installed_package_is_found() -> None:
    assert import_package("json.decoder").__name__ == "json.decoder"
    assert (find_package("numpy", "numpy") / "__init__.py").is_file()
    assert package_versions("numpy", "msgspec") == (
        ("numpy", version("numpy")),
        ("msgspec", version("msgspec")),
    )


def test_missing_package_is_an_error_with_install_hint() -> None:
    with pytest.raises(ConfigError, match="no_such_engine cannot be imported") as refused:
        import_package("no_such_engine.model")
    assert refused.value.hint == "pip install 'earmark[peers]'"
    with pytest.raises(ConfigError, match="no-such-engine is not installed"):
        find_package("no_such_engine", "no-such-engine")
    with pytest.raises(ConfigError, match="no-such-engine is not installed"):
        package_versions("numpy", "no-such-engine")


def test_package_with_missing_dependency_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_an_engine.py").write_text("import the_other_half\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ConfigError, match=r"half_an_engine cannot be imported: .*the_other_half"):
        import_package("half_an_engine")


FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


def read(name: str) -> Samples:
    samples: Samples = soundfile.read(FIXTURES / f"{name}.flac", dtype="int16")[0]
    return samples


def blocks(sound: Samples, size: int = 5000) -> Iterator[Samples]:
    for at in range(0, len(sound), size):
        yield sound[at : at + size]


def test_openwakeword_engine_scores_equal_earmark() -> None:
    words = ("alexa", "timer")
    theirs = openwakeword_recipe("theirs", HOME, words).build()
    ours = earmark_recipe("ours", HOME, words, stepwise=True, second_opinion=False).build()

    for name in ("alexa_twice", "near"):
        one, other = theirs.track(blocks(read(name))), ours.track(blocks(read(name)))

        assert one.words == other.words == words
        assert np.abs(one.scores - other.scores).max() < 1e-4
        assert one.end_samples().tolist() == other.end_samples().tolist()
    assert theirs.thresholds == ours.thresholds


def test_openwakeword_is_reset_for_each_item() -> None:
    engine = openwakeword_recipe("theirs", HOME, ("alexa",)).build()

    first = engine.track(blocks(read("near")))
    engine.track(blocks(read("alexa_twice")[:-700]))
    again = engine.track(blocks(read("near"), 1280))

    assert np.array_equal(first.scores, again.scores)


def steps_match(track: ScoreTrack, sound: Samples) -> bool:
    return abs(int(track.end_samples()[-1]) - len(sound)) < 2 * track.step_samples


def test_microwakeword_scores_every_30_ms_and_detects_a_word() -> None:
    engine = MicroWakeWord(("alexa", "hey-jarvis"))
    sound = read("alexa_twice")

    track = engine.track(blocks(sound))

    assert track.step_samples == 480
    assert track.words == ("alexa", "hey-jarvis")
    assert steps_match(track, sound)
    assert track.of("alexa").max() > engine.thresholds["alexa"] == pytest.approx(0.9)
    assert track.of("hey-jarvis").max() < 0.5


def test_microwakeword_is_reset_for_each_item() -> None:
    engine = MicroWakeWord(("alexa",))

    first = engine.track(blocks(read("near")))
    engine.track(blocks(read("alexa_twice")[:-77]))
    again = engine.track(blocks(read("near"), 160))

    assert np.array_equal(first.scores, again.scores)


def test_first_score_of_microwakeword_ends_its_first_stride() -> None:
    engine = MicroWakeWord(("alexa",))
    sound = read("alexa_twice")

    whole = engine.track(blocks(sound))
    shorter = engine.track(blocks(sound[: whole.first_end_sample]))
    too_short = engine.track(blocks(sound[: whole.first_end_sample - 1]))

    assert len(shorter.scores) == 1
    assert len(too_short.scores) == 0


def test_microwakeword_models_are_in_its_package() -> None:
    assert (models_folder() / f"{file_name('hey-jarvis')}.tflite").is_file()
