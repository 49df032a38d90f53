"""Rules of time at their edges."""

import pytest

from listener.voice import timing


@pytest.mark.parametrize(
    ("since_s", "expected"), [(-0.001, False), (0, True), (3.0, True), (3.001, False)]
)
def test_answer_is_used_within_3_s_of_the_wake(since_s: float, expected: bool) -> None:  # noqa: FBT001 - a case
    assert timing.is_answer_in_time(100.0, 100.0 + since_s) is expected


@pytest.mark.parametrize(
    ("age_ms", "since_s", "expected"),
    [
        (0, 6.97, True),
        (0, 7.0, False),
        (15_000, 21.9, True),
        (15_000, 22.0, False),
        (15_000, 25.1, False),
        (5_000, -1.0, False),
    ],
)
def test_act_is_at_most_7_s_after_the_answer_less_the_age(
    age_ms: int,
    since_s: float,
    expected: bool,  # noqa: FBT001 - a case
) -> None:
    assert timing.may_act(100.0, age_ms, 100.0 + since_s) is expected


def test_copy_cannot_be_older_than_its_ask() -> None:
    assert timing.is_age_possible(100.0, 4_000, 101.0)
    assert not timing.is_age_possible(100.0, 4_001, 101.0)
    assert not timing.is_age_possible(100.0, 15_001, 200.0)
    assert not timing.is_age_possible(100.0, -1, 200.0)


def test_lives_end() -> None:
    assert timing.is_key_alive(5.0, 30.0)
    assert not timing.is_key_alive(5.0, 30.1)
    assert timing.is_copy_fresh(5.0, 15.0)
    assert not timing.is_copy_fresh(5.0, 15.1)
    assert not timing.is_copy_fresh(5.0, 4.9)
    assert timing.is_outcome_awaited(5.0, 20.0)
    assert not timing.is_outcome_awaited(5.0, 20.1)
    assert timing.may_play(5.0, 0, 14.9)
    assert timing.may_play(5.0, 30_000, 44.9)
    assert not timing.may_play(5.0, 0, 15.0)
    assert not timing.may_play(5.0, 0, 4.9)


def test_clock_that_was_set_or_stopped_is_noticed() -> None:
    assert not timing.clock_moved(10, 1_000, 20, 1_010.9)
    assert timing.clock_moved(10, 1_000, 20, 1_011.1)
    assert timing.clock_moved(10, 1_000, 20, 1_008.9)
    assert timing.clock_moved(10, 0, 20, 1.7e9), "first setting of a speaker's clock"
    assert timing.clock_moved(20, 1_000, 10, 990), "another boot"


def latest_act_s(age_ms: int, hear_rate: float, assist_rate: float) -> float:
    """Return the longest true time from a sealing to an act, by the rules, in steps of 0.1 ms.

    The ask is signed at the wake, at 0; its answer is used at the last moment, and the copy is
    acted on at the last moment.
    """
    answered_s = next(
        step / 10_000
        for step in range(30_100, 0, -1)
        if timing.is_answer_in_time(0, step / 10_000 * hear_rate)
    )
    # The age is rounded down: the sealing may be almost a millisecond later on hear's clock.
    sealed_s = age_ms / 1000 / hear_rate
    last_s = answered_s + (age_ms / 1000 + timing.ACT_S + 0.1) / assist_rate
    while not timing.may_act(0, age_ms, (last_s - answered_s) * assist_rate):
        last_s -= 0.0001
    return last_s - sealed_s


@pytest.mark.parametrize("hear_rate", [1 - 200e-6, 1, 1 + 200e-6])
@pytest.mark.parametrize("assist_rate", [1 - 200e-6, 1, 1 + 200e-6])
def test_no_drift_of_200_ppm_makes_an_act_later_than_10_s(
    hear_rate: float, assist_rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    latest = [latest_act_s(age_ms, hear_rate, assist_rate) for age_ms in (0, 7_000, 15_000)]

    assert 9.9 < max(latest) < 10.0
    if (hear_rate, assist_rate) == (1 + 200e-6, 1 - 200e-6):
        monkeypatch.setattr(timing, "DRIFT_S", 0.0)
        assert latest_act_s(15_000, hear_rate, assist_rate) > 10.005, "the margin is needed"


def test_assist_does_not_answer_just_after_its_start() -> None:
    assert not timing.may_answer(100.0, 103.5)
    assert timing.may_answer(100.0, 103.6)
