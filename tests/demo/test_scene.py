import tomllib
from pathlib import Path

import pytest
import soundfile

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Framer
from listener.config import WakeSettings
from listener.demo import scene
from listener.demo.checks import has_matching_wakes
from listener.demo.households import WORD
from listener.errors import ConfigError
from listener.inference.build import build_detector
from listener.inference.catalogue import Catalogue
from listener.wakeword.detector import NearMiss, Wake

SHIPPED = Path(scene.__file__).parent


def test_scene_has_the_length_in_its_cue_sheet() -> None:
    stage = scene.load_scene()

    found = soundfile.info(stage.file)

    assert found.frames / found.samplerate == stage.length_s
    assert (found.samplerate, found.channels) == (16_000, 1)
    assert stage.file.stat().st_size < 1_500_000


def test_scene_has_every_kind_of_cue() -> None:
    stage = scene.load_scene()

    assert len(stage.wakes) == 2
    assert len(stage.near_misses) == 1
    assert len(stage.muted_words) == 1
    assert stage.muted_s > 5
    assert {said.who for said in stage.said} == {"ada", "bo"}


def test_no_phrase_crosses_the_edge_of_the_mute() -> None:
    stage = scene.load_scene()

    for said in stage.said:
        for edge_s in (stage.muted_from_s, stage.muted_to_s):
            assert not said.from_s <= edge_s <= said.to_s


def test_phrase_is_found_by_its_time() -> None:
    stage = scene.load_scene()
    first = stage.said[0]

    assert stage.at(first.from_s) == first
    assert stage.at(first.to_s) != first
    assert stage.at(0.0) is None
    assert stage.at(stage.length_s) is None


@pytest.mark.parametrize("damage", ["missing", "no sound", "not TOML", "no cue", "two"])
def test_damaged_scene_is_one_error(damage: str, tmp_path: Path) -> None:
    sheet = (SHIPPED / "scene.toml").read_text("utf-8")
    damaged = {
        "no sound": sheet,
        "not TOML": "[[",
        "no cue": sheet.replace("first_sample", "first"),
        "two": sheet + '[[recording]]\nfile = "b"\n',
    }
    if damage in damaged:
        (tmp_path / "scene.toml").write_text(damaged[damage])
    if damage in {"no cue", "two"}:
        (tmp_path / "scene.flac").write_bytes(b"")

    with pytest.raises(ConfigError, match="missing or damaged"):
        scene.load_scene(tmp_path)


def test_cue_sheet_equals_that_of_its_generator() -> None:
    (raw,) = tomllib.loads((SHIPPED / "scene.toml").read_text("utf-8"))["recording"]

    assert raw["file"] == "scene.flac"
    assert len(raw["pcm_sha256"]) == 64


def test_command_scene_has_one_wake_and_no_mute() -> None:
    spoken = scene.load_scene(name=scene.COMMAND)

    assert [cue.who for cue in spoken.said] == ["ada"]
    assert spoken.wakes == spoken.said
    assert spoken.muted_s == 0
    assert soundfile.info(spoken.file).frames / 16_000 == spoken.length_s


@pytest.mark.parametrize("eighths", [0, 2, 5])
@pytest.mark.parametrize("name", [scene.EVENING, scene.COMMAND, scene.VOICES])
def test_word_is_detected_however_the_scene_falls_into_frames(
    name: str, eighths: int, home: Path
) -> None:
    stage = scene.load_scene(name=name)
    catalogue = Catalogue(home)
    detector = build_detector(
        [catalogue.load(WORD)], catalogue.embedding(), WakeSettings(words=(WORD,))
    )
    first = eighths * FRAME_SAMPLES // 8
    samples, _ = soundfile.read(stage.file, dtype="int16", start=first)

    found = [each for frame in Framer().push(samples) for each in detector.push(frame)]

    events = [(each, {"time_s": each.end_s + first / SAMPLE_RATE_HZ}) for each in found]
    said = [cue for cue in stage.said if cue.word]  # here without the mute
    assert has_matching_wakes([event for each, event in events if isinstance(each, Wake)], said)
    assert has_matching_wakes(
        [event for each, event in events if isinstance(each, NearMiss)], stage.near_misses
    )


def test_word_of_every_scene_is_the_one_that_the_households_configure() -> None:
    for name in (scene.EVENING, scene.COMMAND, scene.VOICES):
        stage = scene.load_scene(name=name)
        assert {cue.word for cue in stage.said} - {""} == {WORD}
