"""The spoken fixtures are what their index says, to the listener itself."""

import hashlib
import tomllib
from pathlib import Path
from typing import Any

import pytest
import soundfile

from listener.audio.pcm import SAMPLE_RATE_HZ, Framer
from listener.config import WakeSettings
from listener.inference.build import build_detector
from listener.inference.catalogue import Catalogue
from listener.wakeword.detector import NearMiss, Wake

FIXTURES = Path(__file__).resolve().parent / "fixtures"
INDEX = tomllib.loads((FIXTURES / "index.toml").read_text("utf-8"))["recording"]
AFTER_SAMPLES = SAMPLE_RATE_HZ // 2
each = pytest.mark.parametrize("recording", INDEX, ids=[one["file"] for one in INDEX])


def heard(recording: dict[str, Any], home: Path) -> list[Wake | NearMiss]:
    said = recording.get("said", [])
    words = {one["word"] for one in said if "word" in one} or {"alexa"}
    catalogue = Catalogue(home)
    detector = build_detector(
        [catalogue.load(word) for word in words], catalogue.embedding(), WakeSettings()
    )
    samples, _ = soundfile.read(FIXTURES / recording["file"], dtype="int16")
    return [found for frame in Framer().push(samples) for found in detector.push(frame)]


@each
def test_fixture_samples_match_their_hash(recording: dict[str, Any]) -> None:
    samples, rate_hz = soundfile.read(FIXTURES / recording["file"], dtype="int16")

    assert rate_hz == SAMPLE_RATE_HZ
    assert hashlib.sha256(samples.tobytes()).hexdigest() == recording["pcm_sha256"]


@each
def test_wakes_are_where_the_word_was_spoken(recording: dict[str, Any], home: Path) -> None:
    cues = [said for said in recording.get("said", []) if "word" in said]

    wakes = [found for found in heard(recording, home) if isinstance(found, Wake)]

    assert [wake.word for wake in wakes] == [cue["word"] for cue in cues]
    for wake, cue in zip(wakes, cues, strict=True):
        assert cue["first_sample"] < wake.end_sample <= cue["end_sample"] + AFTER_SAMPLES


@each
def test_near_misses_are_where_the_index_says(recording: dict[str, Any], home: Path) -> None:
    cues = [said for said in recording.get("said", []) if said.get("near")]

    misses = [found for found in heard(recording, home) if isinstance(found, NearMiss)]

    assert len(misses) == len(cues)
    for miss, cue in zip(misses, cues, strict=True):
        assert cue["first_sample"] < miss.end_sample <= cue["end_sample"] + AFTER_SAMPLES
