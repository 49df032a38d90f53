"""The shipped word that Earmark trained itself holds what its card says, on unseen clips."""

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import soundfile

from listener.audio.pcm import SAMPLE_RATE_HZ, Framer
from listener.config import WakeSettings
from listener.inference.build import build_detector
from listener.inference.catalogue import Catalogue
from listener.wakeword.detector import Wake

FIXTURES = Path(__file__).parents[1] / "fixtures"
WORD = "hey-lumen"
SAID: list[dict[str, Any]] = tomllib.loads((FIXTURES / "own_word.toml").read_text("utf-8"))["said"]
AFTER_SAMPLES = SAMPLE_RATE_HZ // 2


def find_wakes(home: Path, file: str) -> list[Wake]:
    catalogue = Catalogue(home)
    settings = WakeSettings(words=(WORD,))
    detector = build_detector([catalogue.load(WORD)], catalogue.embedding(), settings)
    samples, _ = soundfile.read(FIXTURES / file, dtype="int16")
    found = [each for frame in Framer().push(samples) for each in detector.push(frame)]
    return [each for each in found if isinstance(each, Wake)]


def test_every_engine_wakes_it_and_of_similar_phrases_one_does(home: Path) -> None:
    spans = [(cue["first_sample"], cue["end_sample"] + AFTER_SAMPLES) for cue in SAID]
    words = [index for index, cue in enumerate(SAID) if cue["text"] == "hey lumen"]

    woken = [
        index
        for wake in find_wakes(home, "own_word.flac")
        for index, (first, end) in enumerate(spans)
        if first < wake.end_sample <= end
    ]

    assert len(words) == 12
    assert [index for index in woken if index in words] == words
    # What the card says: “hey human” by one voice of four.
    others = [SAID[index]["text"] for index in woken if index not in words]
    assert others == ["hey human"]


def test_other_speech_does_not_wake_it(home: Path) -> None:
    for file in ("talk.flac", "near.flac", "alexa_twice.flac", "household.flac", "quiet.flac"):
        assert find_wakes(home, file) == []


def test_a_product_may_ship_it(home: Path) -> None:
    catalogue = Catalogue(home)
    manifest = catalogue.manifest(WORD)
    card = (catalogue.folder(WORD) / "card.md").read_text("utf-8")

    assert manifest.licence == "Apache-2.0"
    assert manifest.package is None
    assert "No real person was measured" in card


def test_report_is_within_the_limits_of_the_word(home: Path) -> None:
    catalogue = Catalogue(home)
    report: Any = msgspec.json.decode((catalogue.folder(WORD) / "report.json").read_bytes())
    point = report["points"][0]

    assert report["model"]["sha256"] == catalogue.manifest(WORD).sha256
    assert point["threshold"] == catalogue.manifest(WORD).threshold
    assert point["false_wakes"]["count"] == 0
    assert point["misses_engine_left_out"]["of"] == 100
    assert point["misses_engine_left_out"]["value"] <= 0.05
    assert not report["real_people_measured"]
