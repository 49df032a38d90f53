"""The unit of work: one item to every engine."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from listener.evaluate.corpus.augmentation import Condition
from listener.evaluate.corpus.items import Item, Label
from listener.evaluate.engines.earmark import earmark_recipe
from listener.evaluate.job import Job, build_item_rule, evaluate_item, get_engine
from listener.evaluate.plan import EngineSettings

HOME = Path("/nonexistent")
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
SAID = Item("a", FIXTURES / "alexa.flac", (Label("alexa", 2.0, 2.68),))


def job(**parts: object) -> Job:
    given: dict[str, Any] = {
        "recipes": (earmark_recipe("alexa", HOME, ("alexa",)),),
        "settings": (EngineSettings(name="alexa", thresholds={"alexa": 0.5}),),
        "conditions": (Condition(),),
        "sound_hashes": {},
        "thresholds": ({("clean", "alexa"): 0.5},),
        "plays": 2,
        "channel": 0,
        "seed": 1,
        "tail_s": 0.5,
        "cache": None,
    }
    return Job(**(given | parts))


def test_item_is_played_to_every_engine_at_every_phase() -> None:
    report = evaluate_item(job(), SAID)

    assert report.faults == ()
    assert len(report.file_hash) == 64
    assert [(take.engine, take.condition, take.play) for take in report.takes] == [
        (0, 0, 0),
        (0, 0, 1),
    ]
    (word,) = report.takes[0].words
    assert (word.word, word.said, word.hits) == ("alexa", 1, ((2.0, True),))
    assert word.hours == pytest.approx((106_903 / 16_000 - 1.18) / 3600)
    assert word.heights.said.sum() == 1
    assert {take.length_samples for take in report.takes} == {106_903}


def test_job_and_report_can_be_pickled() -> None:
    report = evaluate_item(pickle.loads(pickle.dumps(job())), SAID)

    again = pickle.loads(pickle.dumps(report))
    assert again.takes[0].words[0].events == report.takes[0].words[0].events
    assert np.array_equal(
        again.takes[0].words[0].counts.misses, report.takes[0].words[0].counts.misses
    )


def test_fault_of_a_file_is_reported_once(tmp_path: Path) -> None:
    broken = tmp_path / "damaged.flac"
    data = (FIXTURES / "alexa.flac").read_bytes()
    broken.write_bytes(data[: len(data) // 2])
    twice = (earmark_recipe("a", HOME, ("alexa",)), earmark_recipe("b", HOME, ("alexa",)))
    settings = tuple(EngineSettings(name=each.name) for each in twice)
    thresholds = ({("clean", "alexa"): 0.5},) * 2

    report = evaluate_item(
        job(recipes=twice, settings=settings, thresholds=thresholds), Item("a", broken)
    )

    assert report.takes == ()
    (fault,) = report.faults
    assert "is damaged" in fault
    assert not fault.startswith("a, clean")


def test_fault_of_a_condition_does_not_affect_others(tmp_path: Path) -> None:
    noisy = Condition("noisy", 10.0, (tmp_path / "absent.wav",))
    thresholds = ({("clean", "alexa"): 0.5, ("noisy", "alexa"): 0.5},)

    report = evaluate_item(job(conditions=(Condition(), noisy), thresholds=thresholds), SAID)

    assert {take.condition for take in report.takes} == {0}
    (fault,) = report.faults
    assert fault.startswith("alexa, noisy: there is no file")


def test_engine_is_created_once_per_process() -> None:
    first, second = earmark_recipe("x", HOME, ("alexa",)), earmark_recipe("x", HOME, ("alexa",))

    assert get_engine(first) is get_engine(second)


@pytest.mark.parametrize(
    ("step_samples", "patience", "steps"), [(1280, 1, 1), (1280, 3, 3), (640, 2, 3), (160, 2, 9)]
)
def test_patience_is_the_same_duration_at_every_step_length(
    step_samples: int, patience: int, steps: int
) -> None:
    settings = EngineSettings(patience_frames=patience, refractory_s=1.5)

    rule = build_item_rule(settings, 0.7, step_samples)

    assert (rule.threshold, rule.patience_steps, rule.refractory_samples) == (0.7, steps, 24_000)
