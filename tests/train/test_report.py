"""Report, manifest and card of a trained word: the threshold is 0.5, and no time is in them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from listener.inference.add_model import add_model
from listener.inference.catalogue import MANIFEST, Catalogue
from listener.inference.onnx import HeadNet
from listener.train.features import WINDOW_FRAMES
from listener.train.heads import INPUTS, DenseHead, Ensemble, Standard
from listener.train.phrase import parse_phrase
from listener.train.plan import ClipCounts, Recipe
from listener.train.report import (
    CARD,
    REPORT,
    TrainingReport,
    card_text,
    finish,
    make_manifest,
    manifest_text,
    report_json,
    report_text,
)
from listener.train.thresholds import MARGIN, Track
from listener.train.training import NearScore, Trained
from listener.train.voices.engine import EngineRecord
from listener.wakeword.embedding import FEATURES
from listener.wakeword.manifest import parse_manifest

RECIPE = Recipe(
    parse_phrase("hey lumen", "hey loo men"),
    "fast",
    3,
    (
        EngineRecord("espeak-ng", "1.51", "GPL-3.0-or-later", 900),
        EngineRecord("festival", "2.5.0", "MIT", 3),
    ),
    EngineRecord("festival", "2.5.0", "MIT", 3),
    ClipCounts(10, 1, 5, 1, 5, 2, 4, 2, 10, 3, 3),
    ("hey human",),
    ("hay human", "hey human"),
    ("good morning",),
    "0" * 64,
    "1" * 64,
)


TRACKS = (
    Track("a", np.array([-9, -2, -1, -9], np.float32), 1800.0),
    Track("b", np.array([-9, -3, -9], np.float32), 1800.0),
)


def trained() -> Trained:
    random = np.random.default_rng(0)
    ones = np.ones(INPUTS, np.float32)
    heads = tuple(DenseHead(8, random) for _ in range(3))
    return Trained(
        Ensemble(Standard(0 * ones, ones), heads),
        1.0,
        TRACKS,
        # The heads of the test have a scale of their own: one logit higher.
        tuple(replace(track, logits=track.logits + 1) for track in TRACKS),
        np.array([3, 4, -0.5, 5], np.float32),
        np.array([3, -2, -0.5, 5], np.float32),
        (NearScore("hey human", (0.5, -3.0)),),
    )


def made() -> tuple[TrainingReport, bytes]:
    return finish(RECIPE, trained(), 0.0, 0)


def test_half_is_the_lowest_threshold_without_a_false_wake() -> None:
    report, data = made()
    net = HeadNet(data, "test")
    window = np.random.default_rng(1).standard_normal((WINDOW_FRAMES, FEATURES)).astype(np.float32)
    logit = trained().ensemble.score(window.reshape(1, INPUTS))[0]

    shifted = 1 / (1 + np.exp(-(float(logit) + 1 - MARGIN)))
    assert (
        float(net.score(window)[0]) == np.float32(shifted)
        or abs(float(net.score(window)[0]) - shifted) < 1e-5
    )
    point = report.points[0]
    assert point.threshold == 0.5
    assert point.false_wakes.count == 0
    assert point.quiet.count == 1
    assert point.rooms.count == 2
    assert report.points[1].threshold < 0.5
    assert report.near[0].woke == 1


def test_accepted_rate_lowers_the_threshold() -> None:
    report, _ = finish(RECIPE, trained(), 1.0, 0)

    assert report.points[0].false_wakes.count == 1
    assert [woken for _, woken, _ in report.sources] == [1, 0]


def test_manifest_is_read_back_and_the_model_loads(tmp_path: Path) -> None:
    report, data = made()
    proposed = make_manifest(report, data, "hey-lantern", "Apache-2.0")
    text = manifest_text(proposed)
    manifest = parse_manifest(text, "test")
    beside = {
        MANIFEST: text.encode(),
        CARD: card_text(report, data, "hey-lantern", "Apache-2.0").encode(),
        REPORT: report_json(report, manifest),
    }

    catalogue = Catalogue(tmp_path)
    assert add_model(catalogue, manifest, data, beside)
    assert not add_model(catalogue, manifest, data, beside)

    model = catalogue.load("hey-lantern")
    assert model.manifest.figures == proposed.figures
    assert model.manifest.threshold == 0.5
    assert {file.name for file in (tmp_path / "models" / "hey-lantern").iterdir()} == {
        *(CARD, MANIFEST, REPORT, "model.onnx"),
    }


def test_report_says_what_was_not_measured() -> None:
    report, data = made()
    text = report_text(report, "hey-lantern")
    card = card_text(report, data, "hey-lantern", "Apache-2.0")

    assert "no real person was measured" in text
    assert "No real person was measured" in card
    assert "optimistic" in text
    assert "1 of 4 missed" in text
    assert "0.0 per hour (0.0 to 3.7)" in text


def test_takes_are_reported_as_the_persons() -> None:
    taken = replace(trained(), takes=(3.0, -3.0))
    report, data = finish(RECIPE, taken, 0.0, 0)
    shown = json.loads(report_json(report, make_manifest(report, data, "x", "Apache-2.0")))

    assert "your takes    1 of 2 missed" in report_text(report, "x")
    assert "1 missed" in card_text(report, data, "x", "Apache-2.0")
    assert shown["real_people_measured"] is True
    assert len(shown["takes"]) == 2


def test_same_training_gives_the_same_files() -> None:
    first, second = made(), made()

    assert first[1] == second[1]
    manifest = make_manifest(first[0], first[1], "x", "Apache-2.0")
    assert report_json(first[0], manifest) == report_json(second[0], manifest)


def test_word_with_one_engine_is_reported_without_misses() -> None:
    alone = replace(trained(), quiet=np.zeros(0, np.float32), rooms=np.zeros(0, np.float32))
    report, data = finish(replace(RECIPE, left_out=None), replace(alone, near=()), 0.0, 0)
    manifest = make_manifest(report, data, "x", "Apache-2.0")

    assert "not measured: there is only one voice engine" in report_text(report, "x")
    assert "Misses were not measured" in card_text(report, data, "x", "Apache-2.0")
    assert parse_manifest(manifest_text(manifest), "test") == manifest
