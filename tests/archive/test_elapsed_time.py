"""Elapsed time by several witnesses, for any sequence of runs, pauses and wrong clocks."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.archive import elapsed_time
from listener.archive.elapsed_time import (
    AGREEMENT_S,
    CLAIM_S,
    MOST_CLAIMS,
    MOST_WITNESSES,
    STEADY_S,
    ArchiveTime,
    Change,
    Reading,
    TimeState,
)
from tests.archive.computer import Computer

TRUE_S = 1_795_334_400.0
HOUR_S = 3600.0


def read(computer: Computer) -> Reading:
    return Reading(boot=computer.boot(), running_s=computer.running_s(), wall_s=computer.wall_s())


def step(state: TimeState, computer: Computer, seconds: float) -> TimeState:
    """Run for some seconds and decide; the clock is read every quarter of an hour."""
    while seconds > 0:
        computer.run(min(seconds, 900))
        seconds -= 900
        state = elapsed_time.decide(elapsed_time.advance(state, read(computer))).state
    return state


ERRORS_S = st.sampled_from([0.0, 600.0, -600.0, 2.7e6, -2.7e6, 3.2e7, -3.2e7, -TRUE_S, 4e8])
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.floats(0.1, 8.0)),
        st.tuples(st.just("off"), st.floats(0.1, 100.0)),
        st.tuples(st.just("error"), ERRORS_S),
    ),
    max_size=12,
)


@given(events=EVENTS, speakers=st.integers(0, 3))
def test_honest_speakers_never_let_the_accepted_time_pass_the_true_time(
    events: list[tuple[str, float]], speakers: int
) -> None:
    computer = Computer(TRUE_S)
    state = elapsed_time.begin(read(computer), TRUE_S)
    for kind, value in events:
        match kind:
            case "run":
                # Half an hour at a time: the speakers are heard before each decision.
                for _ in range(int(value * 2) + 1):
                    for number in range(speakers):
                        state = elapsed_time.testify(
                            elapsed_time.advance(state, read(computer)),
                            f"speaker-{number}",
                            computer.true_s,
                            0.0,
                        )
                    state = step(state, computer, 1800)
            case "off":
                computer.switch_off(value * HOUR_S)
                # Without speakers a wrong clock at a start is not distinguishable from off time.
                computer.error_s = computer.error_s if speakers else 0.0
                state = elapsed_time.advance(state, read(computer))
            case _:
                computer.error_s = value
        if speakers:
            assert state.accepted_s <= computer.true_s + AGREEMENT_S
        assert state.accepted_s >= TRUE_S


@given(events=EVENTS)
def test_running_time_always_counts_and_accepted_time_never_goes_back(
    events: list[tuple[str, float]],
) -> None:
    computer = Computer(TRUE_S)
    state = elapsed_time.begin(read(computer), TRUE_S)
    for kind, value in events:
        before = state
        if kind == "run":
            state = step(state, computer, value * HOUR_S)
            assert state.accepted_s - before.accepted_s >= value * HOUR_S - 1
        elif kind == "off":
            computer.switch_off(value * HOUR_S)
            state = elapsed_time.advance(state, read(computer))
        else:
            computer.error_s = value
        assert state.accepted_s >= before.accepted_s
        assert state.lived_s >= before.lived_s
        assert len(state.claims) <= MOST_CLAIMS
        assert len(state.unproven) <= MOST_CLAIMS
        decoded = msgspec.json.decode(msgspec.json.encode(state), type=TimeState)
        assert decoded == state


@given(
    pauses=st.lists(st.tuples(st.floats(0.2, 30.0), st.floats(0.1, 200.0)), min_size=1, max_size=8)
)
def test_off_time_with_a_right_clock_is_accepted_after_a_day_of_running_time(
    pauses: list[tuple[float, float]],
) -> None:
    computer = Computer(TRUE_S)
    state = elapsed_time.begin(read(computer), TRUE_S)
    for run_h, off_h in pauses:
        state = step(state, computer, run_h * HOUR_S)
        computer.switch_off(off_h * HOUR_S)
        state = elapsed_time.advance(state, read(computer))
        assert state.accepted_s <= computer.true_s + 1
    state = step(state, computer, CLAIM_S + 900)

    assert computer.true_s - state.accepted_s <= 2


def test_step_after_a_decision_is_never_credited() -> None:
    computer = Computer(TRUE_S)
    state = elapsed_time.testify(elapsed_time.begin(read(computer), TRUE_S), "hall", TRUE_S, 0.0)
    state = step(state, computer, 2 * STEADY_S)
    assert state.settled

    computer.error_s = 1e7
    state = step(state, computer, 900)
    state = elapsed_time.testify(state, "hall", computer.wall_s(), 0.0)
    state = step(state, computer, 10 * CLAIM_S)

    assert state.jumps == 1
    assert state.accepted_s == pytest.approx(computer.true_s)
    assert state.suspended_from_s is not None

    computer.error_s = 0
    state = step(state, computer, 900)
    assert state.suspended_from_s is None
    assert state.jumps == 2


def test_slow_drift_beyond_a_minute_is_a_jump() -> None:
    computer = Computer(TRUE_S)
    state = elapsed_time.begin(read(computer), TRUE_S)
    for _ in range(10):
        computer.error_s += 30
        state = step(state, computer, 10)

    assert state.jumps == 3


def test_two_speakers_replace_a_disproved_clock_and_one_does_not() -> None:
    computer = Computer(TRUE_S)
    state = step(elapsed_time.begin(read(computer), TRUE_S), computer, HOUR_S)
    computer.switch_off(20 * HOUR_S)
    computer.error_s = -computer.true_s
    state = elapsed_time.advance(state, read(computer))
    state = elapsed_time.testify(state, "hall", computer.true_s, 0.0)
    state = step(state, computer, 2 * STEADY_S)
    assert state.accepted_s == pytest.approx(computer.true_s - 20 * HOUR_S)

    state = elapsed_time.testify(state, "bath", computer.true_s, 0.0)
    state = step(state, computer, 900)
    assert state.accepted_s == pytest.approx(computer.true_s, abs=1)


def test_number_of_witnesses_is_bounded() -> None:
    state = elapsed_time.begin(read(Computer(TRUE_S)), TRUE_S)
    for number in range(3 * MOST_WITNESSES):
        state = elapsed_time.testify(state, f"speaker-{number}", TRUE_S, 0.0)

    assert len(state.witnesses) == MOST_WITNESSES


@pytest.mark.parametrize("ahead_s", [-1e7, 1e7])
def test_confirmed_clock_is_accepted(ahead_s: float) -> None:
    computer = Computer(TRUE_S)
    computer.error_s = ahead_s
    state = elapsed_time.begin(read(computer), TRUE_S)
    if ahead_s < 0:
        state = msgspec.structs.replace(state, offset_s=TRUE_S)
    change = elapsed_time.confirm(state)

    assert isinstance(change, Change)
    assert (change.credited_s, change.relabel_s) == (max(0, ahead_s), min(0, ahead_s))
    assert change.state.is_agreed
    assert change.state.suspended_from_s is None


def test_time_since_is_the_longest_by_any_measure() -> None:
    before = ArchiveTime(100.0, 10.0, 1000.0)

    assert ArchiveTime(150.0, 30.0, 0.0).since_s(before) == 50
    assert ArchiveTime(150.0, 30.0, 9000.0).since_s(before) == 8000
