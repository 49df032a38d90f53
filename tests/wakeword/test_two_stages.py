"""Real heads with a student of random weights: device and batches agree, and the rest is exact."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from listener.audio.pcm import FRAME_SAMPLES, Frame, Samples
from listener.config import WakeSettings
from listener.errors import ModelRefused
from listener.inference.build import (
    FirstStageModels,
    build_batch,
    build_detector,
    build_student_batch,
)
from listener.inference.catalogue import Catalogue
from listener.train.teacher import Teacher
from listener.wakeword.batch import BATCH_STEPS, BatchModel
from listener.wakeword.first_stage import PAIR_STEPS
from listener.wakeword.manifest import Model
from listener.wakeword.student import (
    LongStudent,
    StudentWeights,
    read_weights,
    write_weights,
)
from listener.wakeword.student_head import write_student_head
from tests.wakeword.students import first_stage, random_student, random_student_head

pytestmark = pytest.mark.system  # real models over whole recordings of ours

SAME = 1e-4
SETS = (("alexa",), ("alexa", "hey-jarvis", "hey-mycroft"), ("alexa", "timer", "weather"))
WITH_STUDENT_HEAD = {"hey-mycroft", "timer"}
"""Words for which a student head, of random weights, scores the student's embeddings."""
ASKED_TWICE = "hey-mycroft"
"""The one of them whose own head must reach a bound, too."""

Scores = np.ndarray[Any, np.dtype[np.float32]]
Cut = Callable[[Samples], Iterator[Frame]]


def in_batches(model: Any, samples: Samples, steps: int = BATCH_STEPS) -> Scores:
    model.restart()
    size = steps * FRAME_SAMPLES
    return np.concatenate(
        [model.push(samples[at : at + size]).copy() for at in range(0, len(samples), size)]
    )


def on_device(
    catalogue: Catalogue,
    words: list[Model],
    stage: Model | None,
    frames: Iterator[Frame],
    opinions: Sequence[Model] = (),
    **settings: Any,
) -> Scores:
    """Score frames as the device does: NaN where a score was not computed."""
    options = WakeSettings(**({"lazy": False} | settings))
    models = None if stage is None else FirstStageModels(stage, catalogue.long_embedding())
    detector = build_detector(words, catalogue.embedding(), options, models, opinions)
    rows = []
    for frame in frames:
        detector.push(frame)
        rows += [[step.scores.get(w.name, np.nan) for w in words] for step in detector.steps]
    return np.array(rows, np.float32)


@pytest.fixture(scope="module")
def sound(spoken: dict[str, Samples]) -> Samples:
    joined = np.concatenate([spoken[name] for name in ("talk", "alexa_command", "near")])
    return joined[: len(joined) // FRAME_SAMPLES * FRAME_SAMPLES]


@pytest.fixture(scope="module")
def student(catalogue: Catalogue, sound: Samples) -> StudentWeights:
    """A student whose embeddings have the mean and the spread of real ones, so that heads differ.

    What it gives means nothing.
    """
    stream = Teacher(catalogue.embedding(), catalogue.long_embedding()).teach(sound)
    real = stream.embeddings.astype(np.float32)
    weights = random_student(32, (4, 4, 4))
    given = LongStudent(weights).steps(stream.mel.astype(np.float32).reshape(-1, 32))
    gain = real.std(axis=0) / given.std(axis=0)
    fitted = replace(
        weights,
        last=weights.last * gain,
        last_bias=(weights.last_bias - given.mean(axis=0)) * gain + real.mean(axis=0),
    )
    return read_weights(write_weights(fitted), "student")


@pytest.fixture(scope="module", params=SETS, ids="-".join)
def staged(
    request: pytest.FixtureRequest,
    catalogue: Catalogue,
    sound: Samples,
    student: StudentWeights,
) -> tuple[list[Model], Model]:
    """Wake words, and a first stage at whose bounds each is open for a small part of the sound."""
    words = [catalogue.load(name) for name in request.param]
    heads = {
        word.name: write_student_head(random_student_head(16, 16, seed=len(word.name)))
        for word in words
        if word.name in WITH_STUDENT_HEAD
    }
    model = build_student_batch(words, catalogue.embedding(), student, heads)
    scores = in_batches(model, sound)
    bounds = between(scores, 92)
    known = {w.name: (w, float(b)) for w, b in zip(words, bounds, strict=True)}
    own = {
        word.name: float(between(in_batches(asked, sound), 50)[0])
        for word in words
        if word.name == ASKED_TWICE
        for asked in [build_student_batch([word], catalogue.embedding(), student)]
    }
    return words, first_stage(student, heads, own, **known)


def between(scores: Scores, percentile: int) -> Scores:
    """Bounds near a percentile, between two scores, so that rounding does not decide."""
    scored = scores[PAIR_STEPS - 1 :: PAIR_STEPS]
    ranked = np.sort(scored, axis=0)[len(scored) * percentile // 100 :]
    bounds: Scores = (ranked[0] + ranked[1]) / 2
    return bounds


def test_batches_have_the_scores_of_the_device(
    staged: tuple[list[Model], Model], catalogue: Catalogue, sound: Samples, cut: Cut
) -> None:
    words, stage = staged
    networks = catalogue.embedding(), catalogue.long_embedding()

    batch = in_batches(build_batch(words, *networks, first_stage=stage), sound)
    small = in_batches(build_batch(words, *networks, 37, first_stage=stage), sound, 37)
    device = on_device(catalogue, words, stage, cut(sound))

    assert 0 < np.isnan(batch).mean() < 1
    np.testing.assert_allclose(small, batch, rtol=0, atol=SAME)
    # Scores that are pending at the end of the recording are not computed.
    assert len(batch) - 3 < len(device) <= len(batch)
    np.testing.assert_allclose(device, batch[: len(device)], rtol=0, atol=SAME)


def test_batches_have_the_scores_of_the_device_with_second_opinions_too(
    staged: tuple[list[Model], Model], catalogue: Catalogue, sound: Samples, cut: Cut
) -> None:
    words, stage = staged
    networks = catalogue.embedding(), catalogue.long_embedding()
    opinions = catalogue.second_opinions(words)

    alone = in_batches(build_batch(words, *networks, first_stage=stage), sound)
    both = build_batch(words, *networks, first_stage=stage, opinions=opinions)
    batch = in_batches(both, sound)
    small = in_batches(build_batch(words, *networks, 37, stage, opinions), sound, 37)
    device = on_device(catalogue, words, stage, cut(sound), opinions)

    scored = ~np.isnan(alone)
    assert np.abs(batch - alone)[scored].max() > 0.01
    np.testing.assert_allclose(small, batch, rtol=0, atol=SAME)
    np.testing.assert_allclose(device, batch[: len(device)], rtol=0, atol=SAME)


def test_scores_of_short_windows_are_those_without_a_first_stage(
    staged: tuple[list[Model], Model], catalogue: Catalogue, sound: Samples, cut: Cut
) -> None:
    words, stage = staged
    full = on_device(catalogue, words, None, cut(sound))

    scores = on_device(catalogue, words, stage, cut(sound))

    for column, word in enumerate(words):
        if word.manifest.window_frames == 16:
            scored = ~np.isnan(scores[:, column])
            np.testing.assert_allclose(
                scores[scored, column], full[: len(scores)][scored, column], rtol=0, atol=SAME
            )


def test_batch_without_a_first_stage_is_unchanged_by_its_buffers(
    catalogue: Catalogue, sound: Samples, cut: Cut
) -> None:
    words = [catalogue.load(name) for name in ("alexa", "timer")]
    model = build_batch(words, catalogue.embedding(), catalogue.long_embedding())

    assert isinstance(model, BatchModel)
    np.testing.assert_allclose(
        in_batches(model, sound), on_device(catalogue, words, None, cut(sound)), rtol=0, atol=SAME
    )


def test_quiet_room_and_first_stage_together_score_nothing_wrong(
    staged: tuple[list[Model], Model], catalogue: Catalogue, sound: Samples, cut: Cut
) -> None:
    words, stage = staged
    paused = np.concatenate([sound, np.zeros(80 * FRAME_SAMPLES, np.int16), sound])
    eager = on_device(catalogue, words, stage, cut(paused))

    lazy = on_device(catalogue, words, stage, cut(paused), lazy=True)

    both = ~np.isnan(lazy)[: len(eager)] & ~np.isnan(eager)[: len(lazy)]
    assert both.any()
    # A head's turn depends on the steps before, so a word may be open at other steps.
    for column, word in enumerate(words):
        if word.manifest.window_frames == 16:
            at = both[:, column]
            np.testing.assert_allclose(
                lazy[: len(both)][at, column], eager[: len(both)][at, column], rtol=0, atol=SAME
            )


def test_word_that_the_student_does_not_know_is_refused(
    catalogue: Catalogue, student: StudentWeights
) -> None:
    alexa, jarvis = catalogue.load("alexa"), catalogue.load("hey-jarvis")
    stage = first_stage(student, alexa=(alexa, 0.1))

    with pytest.raises(ModelRefused, match="not trained for hey-jarvis"):
        build_detector(
            [alexa, jarvis], catalogue.embedding(), WakeSettings(), FirstStageModels(stage)
        )
