import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from listener.audio.pcm import Samples
from listener.evaluate.excerpts import ExcerptCutter
from listener.evaluate.metrics.results import DetectionEvent, EventKind, WordResult
from listener.evaluate.plan import ConditionSettings, CorpusSettings, EvaluationPlan, complete_plan
from tests.evaluate import sample

SOUND = (np.arange(16_000 * 12) % 20_000).astype(np.int16)


@pytest.fixture
def plan(tmp_path: Path) -> EvaluationPlan:
    (tmp_path / "talk").mkdir()
    soundfile.write(tmp_path / "talk" / "a.wav", SOUND, 16_000)
    noise = np.random.default_rng(1).normal(0, 3000, 32_000).astype(np.int16)
    soundfile.write(tmp_path / "noise.wav", noise, 16_000)
    noisy = ConditionSettings(name="noisy", noise=str(tmp_path / "noise.wav"), snr_db=10)
    return complete_plan(
        EvaluationPlan(
            corpus=(CorpusSettings(path=str(tmp_path / "talk")),),
            condition=(ConditionSettings(), noisy),
            plays=2,
        ),
        "a test",
    )


def event(plan: EvaluationPlan, at_s: float, play: int = 0) -> DetectionEvent:
    (name,) = ExcerptCutter(plan)._items  # noqa: SLF001 - names are the corpus's to give
    return DetectionEvent(
        kind=EventKind.FALSE_WAKE,
        word="alexa",
        item=name,
        condition="clean",
        play=play,
        at_s=at_s,
        score=0.9,
        peak=0.9,
        activation_s=0.1,
    )


def heard(flac: bytes | None) -> Samples:
    assert flac is not None
    samples, rate_hz = soundfile.read(io.BytesIO(flac), dtype="int16")
    assert rate_hz == 16_000
    found: Samples = samples
    return found


WORD: WordResult = sample.word_result("earmark", 1.0, ("a",))


@pytest.mark.parametrize("play", [0, 1])
def test_excerpt_has_the_audio_around_the_event(plan: EvaluationPlan, play: int) -> None:
    found = heard(ExcerptCutter(plan)(WORD, event(plan, 8.0, play)))

    assert np.array_equal(found, SOUND[3 * 16_000 : 10 * 16_000])


def test_excerpt_ends_at_the_ends_of_the_recording(plan: EvaluationPlan) -> None:
    first = heard(ExcerptCutter(plan)(WORD, event(plan, 1.0)))
    last = heard(ExcerptCutter(plan)(WORD, event(plan, 11.5)))

    assert np.array_equal(first, SOUND[: 3 * 16_000])
    assert np.array_equal(last, SOUND[round(6.5 * 16_000) :])


def test_excerpt_is_the_augmented_audio(plan: EvaluationPlan) -> None:
    noisy = sample.word_result("earmark", 1.0, ("a",))
    noisy = type(noisy)(
        **{name: getattr(noisy, name) for name in noisy.__struct_fields__} | {"condition": "noisy"}
    )

    found = heard(ExcerptCutter(plan)(noisy, event(plan, 8.0)))

    clean = SOUND[3 * 16_000 : 10 * 16_000]
    assert len(found) == len(clean)
    assert not np.array_equal(found, clean)


def test_same_event_gives_the_same_bytes(plan: EvaluationPlan) -> None:
    assert ExcerptCutter(plan)(WORD, event(plan, 8.0)) == ExcerptCutter(plan)(
        WORD, event(plan, 8.0)
    )


def test_missing_item_has_no_excerpt(plan: EvaluationPlan, tmp_path: Path) -> None:
    sounds, told = ExcerptCutter(plan), event(plan, 8.0)
    (tmp_path / "talk" / "a.wav").unlink()

    assert sounds(WORD, told) is None
    assert sounds(WORD, replace(told, item="another")) is None
