"""Which of several speakers is answered, whatever is delayed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.assist.arbitration import Arbitration, Candidate, Decision
from listener.voice import timing

SAME_WORD_S = 0.5


def candidate(
    nonce: str, device: str, arrived_s: float, since_ms: int = 0, level_db: float = -30
) -> Candidate:
    return Candidate(nonce, device, arrived_s, since_ms, level_db)


@pytest.fixture
def home() -> Arbitration:
    return Arbitration(lambda _device: "home", lambda _device: False)


def verdicts(decisions: list[Decision]) -> dict[str, str]:
    return {decision.nonce: decision.verdict for decision in decisions}


def test_lone_speaker_is_answered_at_once() -> None:
    alone = Arbitration(lambda _device: "home", lambda _device: True)

    assert verdicts(alone.add(candidate("a", "kitchen", 1))) == {"a": "speak"}
    assert alone.next_due_s() == float("inf")


def test_earliest_wake_wins_even_if_its_ask_came_later(home: Arbitration) -> None:
    assert home.add(candidate("a", "kitchen", 1.0, since_ms=50)) == []
    assert home.next_due_s() == pytest.approx(1.25)
    assert home.add(candidate("b", "bedroom", 1.1, since_ms=200)) == []
    assert home.decide_due(1.2) == []

    assert verdicts(home.decide_due(1.25)) == {"a": "elsewhere", "b": "speak"}


def test_loudest_wins_among_equals(home: Arbitration) -> None:
    home.add(candidate("a", "kitchen", 1.0, level_db=-40))
    home.add(candidate("b", "bedroom", 1.0, level_db=-20))

    assert verdicts(home.decide_due(2)) == {"a": "elsewhere", "b": "speak"}


def test_other_speaker_within_three_and_a_half_seconds_is_told_elsewhere(home: Arbitration) -> None:
    home.add(candidate("a", "kitchen", 1.0))
    home.decide_due(1.3)

    assert verdicts(home.add(candidate("b", "bedroom", 4.5))) == {"b": "elsewhere"}
    assert home.add(candidate("c", "bedroom", 4.6)) == []
    assert verdicts(home.decide_due(4.9)) == {"c": "speak"}


def test_winner_that_wakes_again_is_answered_at_once_and_keeps_the_others_away(
    home: Arbitration,
) -> None:
    home.add(candidate("a", "kitchen", 1.0))
    home.decide_due(1.3)

    assert verdicts(home.add(candidate("b", "kitchen", 4.0))) == {"b": "speak"}
    assert verdicts(home.add(candidate("c", "bedroom", 7.4))) == {"c": "elsewhere"}


def test_second_ask_of_a_speaker_in_a_round_replaces_its_first(home: Arbitration) -> None:
    home.add(candidate("a", "kitchen", 1.0))
    home.add(candidate("b", "kitchen", 1.1))

    assert verdicts(home.decide_due(1.3)) == {"a": "elsewhere", "b": "speak"}


def test_groups_do_not_wait_for_each_other() -> None:
    floors = Arbitration(lambda device: device[0], lambda _device: False)
    floors.add(candidate("a", "up-1", 1.0))
    floors.add(candidate("b", "down-1", 1.0))

    assert verdicts(floors.decide_due(1.25)) == {"a": "speak", "b": "speak"}


@given(
    wakes=st.lists(
        st.tuples(st.floats(0, SAME_WORD_S), st.floats(0, 6), st.floats(0, 3)),
        min_size=2,
        max_size=4,
    ),
    loop_s=st.floats(0.01, 0.3),
)
def test_one_sentence_is_never_answered_at_two_speakers(
    wakes: list[tuple[float, float, float]], loop_s: float
) -> None:
    """Each ask and each answer is delayed by any time; answers after 3 s are not taken."""
    home = Arbitration(lambda _device: "home", lambda _device: False)
    arrivals = sorted((woke_s + ask_s, number) for number, (woke_s, ask_s, _) in enumerate(wakes))
    answered: dict[str, float] = {}
    now_s = 0.0
    while now_s < 10:
        for arrived_s, number in tuple(arrivals):
            if arrived_s <= now_s:
                arrivals.remove((arrived_s, number))
                decisions = home.add(candidate(str(number), f"d{number}", now_s))
                answered |= {one.nonce: now_s for one in decisions if one.verdict == "speak"}
        decisions = home.decide_due(now_s)
        answered |= {one.nonce: now_s for one in decisions if one.verdict == "speak"}
        now_s += loop_s

    taken = [
        number
        for number, (woke_s, _, answer_s) in enumerate(wakes)
        if str(number) in answered and answered[str(number)] + answer_s - woke_s <= timing.ANSWER_S
    ]
    assert len(taken) <= 1
