import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.wakeword.sensitivity import Sensitivity

CONFIGURED = {"alexa": 0.5, "timer": 0.25}


class Applied(dict[str, float | None]):
    def __call__(self, word: str, threshold: float | None) -> None:
        self[word] = threshold


def sensitivity(*, may_lower: bool = False) -> tuple[Sensitivity, Applied]:
    applied = Applied(CONFIGURED)
    return Sensitivity(CONFIGURED, may_lower=may_lower, apply=applied), applied


def test_threshold_is_raised_and_taken_back() -> None:
    changed, applied = sensitivity()

    assert changed.set_threshold("alexa", 0.8)
    assert applied == {"alexa": 0.8, "timer": 0.25}
    assert changed.set_threshold("alexa", 0.5)
    assert applied == CONFIGURED


@pytest.mark.parametrize("may_lower", [False, True])
def test_threshold_below_the_configuration_needs_permission(*, may_lower: bool) -> None:
    changed, applied = sensitivity(may_lower=may_lower)

    assert changed.set_threshold("alexa", 0.49) is may_lower
    assert applied["alexa"] == (0.49 if may_lower else 0.5)


def test_one_word_is_chosen_and_all_again() -> None:
    changed, applied = sensitivity()

    assert changed.choose("timer")
    assert applied == {"alexa": None, "timer": 0.25}
    assert changed.set_threshold("alexa", 0.9)
    assert applied["alexa"] is None, "it is not chosen"
    assert changed.choose(None)
    assert applied == {"alexa": 0.9, "timer": 0.25}


def test_unknown_word_changes_nothing() -> None:
    changed, applied = sensitivity(may_lower=True)

    assert not changed.set_threshold("jarvis", 0.9)
    assert not changed.choose("jarvis")
    assert (applied, changed.only) == (CONFIGURED, None)


REQUESTS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["alexa", "timer", "jarvis"]), st.floats(0.01, 0.99)),
        st.sampled_from(["alexa", "timer", "jarvis", None]),
    )
)


@given(REQUESTS)
def test_no_messages_make_it_more_sensitive_than_the_configuration(
    requests: list[tuple[str, float] | str | None],
) -> None:
    changed, applied = sensitivity()
    for request in requests:
        if isinstance(request, tuple):
            changed.set_threshold(*request)
        else:
            changed.choose(request)

    assert applied.keys() == CONFIGURED.keys()
    for word, threshold in applied.items():
        assert threshold is None or threshold >= CONFIGURED[word]
