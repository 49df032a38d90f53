"""Centroids, decisions and calibration, on synthetic embeddings."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from listener.voiceprint.scoring import (
    DEFAULT_DROP,
    DEFAULT_MARGIN,
    DEFAULT_THRESHOLD,
    DecisionReason,
    Embedding,
    EnrolledVoice,
    calibrate_threshold,
    decide,
    make_centroid,
    measure_consistency,
    score_interval,
    similarity,
)

DIMENSIONS = 16
SEEDS = st.integers(0, 2**32 - 1)


def directions(random: np.random.Generator, count: int) -> Embedding:
    vectors = random.normal(size=(count, DIMENSIONS))
    unit: Embedding = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit.astype(np.float32)


def near(voice: NDArray[np.floating], spread: float, count: int, seed: int) -> Embedding:
    """Return embeddings whose cosine to ``voice`` is about 1 / sqrt(1 + spread^2)."""
    random = np.random.default_rng(seed)
    noise = random.normal(size=(count, DIMENSIONS)) / np.sqrt(DIMENSIONS)
    vectors = voice + spread * noise
    unit: Embedding = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit.astype(np.float32)


def voices(random: np.random.Generator, count: int, threshold: float) -> dict[str, EnrolledVoice]:
    return {
        f"owner{index}": EnrolledVoice(vector, threshold)
        for index, vector in enumerate(directions(random, count))
    }


# --- centroids


@given(SEEDS, st.integers(1, 8), st.floats(0.01, 100))
def test_centroid_has_unit_norm_and_ignores_the_length_of_each_embedding(
    seed: int, count: int, factor: float
) -> None:
    random = np.random.default_rng(seed)
    # Around one direction, so that they do not cancel each other.
    embeddings = near(directions(random, 1)[0], 0.5, count, seed)
    scaled = embeddings.copy()
    scaled[0] *= factor

    centroid = make_centroid(embeddings)

    assert centroid.dtype == np.float32
    assert np.linalg.norm(centroid) == pytest.approx(1, abs=1e-6)
    assert make_centroid(scaled) == pytest.approx(centroid, abs=1e-5)


@given(SEEDS, st.permutations(range(5)))
def test_centroid_does_not_depend_on_the_order(seed: int, order: list[int]) -> None:
    embeddings = near(directions(np.random.default_rng(seed), 1)[0], 0.5, 5, seed)

    assert make_centroid(embeddings[order]) == pytest.approx(make_centroid(embeddings), abs=1e-6)


@pytest.mark.parametrize(
    "embeddings",
    [
        np.zeros((0, 4)),
        np.zeros((2, 4)),
        np.array([[1.0, np.nan]]),
        np.array([[1.0, np.inf]]),
        np.array([1.0, 0.0]),
        np.array([[1.0, 0.0], [-1.0, 0.0]]),
    ],
    ids=["none", "zero", "nan", "infinite", "one axis", "opposite"],
)
def test_centroid_of_nothing_is_refused(embeddings: Embedding) -> None:
    with pytest.raises(ValueError, match="embedding"):
        make_centroid(embeddings)


@given(SEEDS)
def test_similarity_is_a_symmetric_cosine(seed: int) -> None:
    first, second = directions(np.random.default_rng(seed), 2)

    assert -1 <= similarity(first, second) <= 1
    assert similarity(first, second) == similarity(second, first)
    assert similarity(first, first) == pytest.approx(1, abs=1e-6)
    assert similarity(first, -first) == pytest.approx(-1, abs=1e-6)


# --- decisions


@given(SEEDS, st.integers(1, 6), st.floats(-1, 1), st.floats(0, 0.5))
def test_decision_follows_threshold_and_margin(
    seed: int, count: int, threshold: float, margin: float
) -> None:
    random = np.random.default_rng(seed)
    known = voices(random, count, threshold)
    spoken = directions(random, 1)[0]
    ranked = sorted((similarity(spoken, v.centroid) for v in known.values()), reverse=True)

    decision = decide(spoken, known, margin)

    assert decision.similarity == ranked[0]
    if ranked[0] < threshold:
        assert (decision.owner, decision.reason) == (None, DecisionReason.GUEST)
    elif count > 1 and ranked[0] - ranked[1] < margin:
        assert (decision.owner, decision.reason) == (None, DecisionReason.UNSURE)
    else:
        assert decision.reason is DecisionReason.ACCEPTED
        assert decision.owner is not None
        assert similarity(spoken, known[decision.owner].centroid) == ranked[0]


@given(SEEDS, st.integers(1, 5), st.floats(-1, 1))
def test_decision_does_not_depend_on_the_order_of_the_owners(
    seed: int, count: int, threshold: float
) -> None:
    random = np.random.default_rng(seed)
    known = voices(random, count, threshold)
    spoken = directions(random, 1)[0]
    decisions = {
        decide(spoken, dict(order)) for order in itertools.permutations(known.items(), count)
    }

    assert len(decisions) == 1


@given(SEEDS, st.integers(1, 5), st.floats(-1, 1), st.floats(0, 1))
def test_stricter_threshold_never_gives_a_clip_to_anyone_else(
    seed: int, count: int, threshold: float, more: float
) -> None:
    random = np.random.default_rng(seed)
    known = voices(random, count, threshold)
    stricter = {n: EnrolledVoice(v.centroid, v.threshold + more) for n, v in known.items()}
    spoken = directions(random, 1)[0]

    assert decide(spoken, stricter).owner in {None, decide(spoken, known).owner}


@given(SEEDS, st.floats(-1, 1))
def test_another_owner_never_turns_a_refusal_into_the_first_ones_clip(
    seed: int, threshold: float
) -> None:
    random = np.random.default_rng(seed)
    known = voices(random, 3, threshold)
    fewer = {name: known[name] for name in ("owner0", "owner1")}
    spoken = directions(random, 1)[0]

    if decide(spoken, fewer).owner is None:
        assert decide(spoken, known).owner in {None, "owner2"}


def test_nobody_enrolled_means_a_guest() -> None:
    decision = decide(directions(np.random.default_rng(1), 1)[0], {})

    assert (decision.owner, decision.similarity) == (None, -1.0)
    assert decision.reason is DecisionReason.GUEST


def test_same_voice_enrolled_twice_is_unsure() -> None:
    voice = directions(np.random.default_rng(1), 1)[0]
    known = {name: EnrolledVoice(voice, DEFAULT_THRESHOLD) for name in ("anna", "ben")}

    assert decide(voice, known, DEFAULT_MARGIN).reason is DecisionReason.UNSURE


def test_embedding_that_is_not_a_number_is_accepted_by_nobody() -> None:
    known = voices(np.random.default_rng(1), 2, -1.0)

    assert decide(np.full(DIMENSIONS, np.nan, np.float32), known).owner is None


def test_owner_with_the_best_similarity_but_a_higher_threshold_is_not_replaced() -> None:
    """The second owner's lower threshold does not give them the first one's speech."""
    axes = np.eye(2, dtype=np.float32)
    spoken = np.array([0.8, 0.6], np.float32)
    known = {"anna": EnrolledVoice(axes[0], 0.9), "ben": EnrolledVoice(axes[1], 0.1)}

    assert decide(spoken, known).reason is DecisionReason.GUEST


# --- calibration


def enrolment(seed: int, spread: float, recordings: int = 6, copies: int = 4) -> list[Embedding]:
    voice = directions(np.random.default_rng(seed), 1)[0]
    return [
        np.concatenate(
            [
                near(voice, spread, 1, seed + index),
                near(voice, 2 * spread, copies - 1, seed + 100 + index),
            ]
        )
        for index in range(recordings)
    ]


@given(SEEDS, st.floats(0.05, 1.0), st.integers(0, 20), st.integers(0, 3))
def test_calibrated_threshold_refuses_every_background_voice(
    seed: int, spread: float, background: int, household: int
) -> None:
    random = np.random.default_rng(seed)
    own = enrolment(seed, spread)
    cohort, others = directions(random, background), directions(random, household)

    calibration = calibrate_threshold(own, cohort, others)

    voice = EnrolledVoice(make_centroid(np.concatenate(own)), calibration.threshold)
    assert calibration.threshold >= DEFAULT_THRESHOLD
    for stranger in (*cohort, *others):
        # As stored: 32 bits.
        assert similarity(stranger, voice.centroid) < calibration.threshold + 1e-6
    assert calibration.wrong.count == 0
    assert calibration.wrong.trials == background + household


@given(SEEDS, st.floats(0.05, 1.0))
def test_threshold_lies_the_drop_below_the_owners_consistency(seed: int, spread: float) -> None:
    own = enrolment(seed, spread)
    consistency = measure_consistency(own)
    assert consistency is not None

    calibration = calibrate_threshold(own, np.zeros((0, DIMENSIONS), np.float32))

    assert calibration.threshold == pytest.approx(
        max(DEFAULT_THRESHOLD, consistency - DEFAULT_DROP)
    )


@given(SEEDS, st.floats(0.05, 1.0), st.integers(1, 20))
def test_more_background_voices_never_lower_the_threshold(
    seed: int, spread: float, count: int
) -> None:
    own = enrolment(seed, spread)
    cohort = directions(np.random.default_rng(seed), count)

    fewer = calibrate_threshold(own, cohort[: count // 2]).threshold
    # The order of the sums in a product of matrices depends on their size.
    assert calibrate_threshold(own, cohort).threshold >= fewer - 1e-12


def test_expected_refusals_count_each_recording_with_its_copies() -> None:
    axis = np.eye(3, dtype=np.float32)
    # Of the third recording both copies, but not the recording, are another voice.
    own = [axis[[0, 0, 0]], axis[[0, 0, 0]], axis[[0, 1, 1]]]

    calibration = calibrate_threshold(own, np.zeros((0, 3), np.float32), least=0.5)

    assert calibration.refused.trials == 3
    assert calibration.refused.count == pytest.approx(2 / 3)
    assert calibration.refused.value == pytest.approx(2 / 9)


def test_recording_is_left_out_with_its_copies() -> None:
    """Copies of one recording resemble it; they would hide that the others do not."""
    axis = np.eye(3, dtype=np.float32)

    assert measure_consistency([axis[[0, 0]], axis[[1, 1]]]) == pytest.approx(0)


def test_single_recording_says_nothing_about_refusals() -> None:
    own = [directions(np.random.default_rng(1), 1)]

    calibration = calibrate_threshold(own, np.zeros((0, DIMENSIONS), np.float32))

    assert measure_consistency(own) is None
    assert calibration.threshold == DEFAULT_THRESHOLD
    assert (calibration.refused.trials, calibration.refused.value) == (0, 0.0)
    assert (calibration.refused.low, calibration.refused.high) == (0.0, 1.0)


def test_nearest_other_owner_raises_the_threshold() -> None:
    axis = np.eye(2, dtype=np.float32)
    other = np.array([[0.95, np.sqrt(1 - 0.95**2)]], np.float32)
    own = [axis[[0]], axis[[0]]]

    assert calibrate_threshold(own, axis[[1]]).threshold == pytest.approx(1 - DEFAULT_DROP)
    assert calibrate_threshold(own, axis[[1]], other).threshold == pytest.approx(0.95)


@pytest.mark.parametrize(
    "own",
    [[], [np.zeros((0, 4))], [np.zeros((1, 4))], [np.ones(4)]],
    ids=["none", "empty", "zero", "one axis"],
)
def test_calibration_without_embeddings_is_refused(own: list[Embedding]) -> None:
    with pytest.raises(ValueError, match="embedding"):
        calibrate_threshold(own, np.zeros((0, 4), np.float32))


# --- intervals


@given(st.integers(0, 500), st.integers(1, 500), st.floats(0.5, 0.999))
def test_score_interval_equals_that_of_scipy(count: int, trials: int, confidence: float) -> None:
    count = min(count, trials)
    expected = stats.binomtest(count, trials).proportion_ci(confidence, "wilson")

    low, high = score_interval(count, trials, confidence)

    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= low <= count / trials <= high <= 1


def test_score_interval_without_trials_excludes_nothing() -> None:
    assert score_interval(0, 0) == (0.0, 1.0)
