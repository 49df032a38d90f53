from hypothesis import given
from hypothesis import strategies as st

from listener.system.backoff import Backoff


def test_delays_double_up_to_the_limit() -> None:
    backoff = Backoff(0.5, 3.0)

    assert [backoff.next_delay_s() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_reset_restarts_with_the_first_delay() -> None:
    backoff = Backoff(0.5, 30.0)
    backoff.next_delay_s()
    backoff.next_delay_s()

    backoff.reset()

    assert [backoff.next_delay_s() for _ in range(2)] == [0.5, 1.0]


@given(spread=st.floats(0, 1), tries=st.integers(1, 20))
def test_spread_bounds_the_reduction_of_a_delay(spread: float, tries: int) -> None:
    spread_out, plain = Backoff(0.1, 30.0, spread=spread), Backoff(0.1, 30.0)

    for _ in range(tries):
        wait_s, most_s = spread_out.next_delay_s(), plain.next_delay_s()
        assert most_s * (1 - spread) <= wait_s <= most_s


def test_spread_separates_two_clients() -> None:
    one, other = Backoff(1.0, 30.0, spread=0.5), Backoff(1.0, 30.0, spread=0.5)

    assert [one.next_delay_s() for _ in range(5)] != [other.next_delay_s() for _ in range(5)]
