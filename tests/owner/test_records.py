import msgspec
import pyrage
import pytest

from listener.errors import EarmarkError
from listener.owner.records import CHALLENGE_S, Owner

NOON_S = 1_800_000_000


@pytest.fixture
def ada() -> Owner:
    """The owner ada, who has not confirmed a key."""
    return Owner(name="ada", recipient=str(pyrage.x25519.Identity.generate().to_public()))


def test_wrong_answer_does_not_activate_the_owner(ada: Owner) -> None:
    challenged = ada.with_challenge("answer", NOON_S)

    with pytest.raises(EarmarkError, match="not the answer"):
        challenged.with_confirmation("answe", NOON_S)

    assert not challenged.active


def test_only_the_newest_challenge_is_valid(ada: Owner) -> None:
    challenged = ada.with_challenge("first", NOON_S).with_challenge("second", NOON_S)

    with pytest.raises(EarmarkError, match="not the answer"):
        challenged.with_confirmation("first", NOON_S)


def test_answer_is_valid_once(ada: Owner) -> None:
    confirmed = ada.with_challenge("answer", NOON_S).with_confirmation("answer", NOON_S)

    with pytest.raises(EarmarkError, match="already confirmed"):
        confirmed.with_confirmation("answer", NOON_S)
    with pytest.raises(EarmarkError, match="already confirmed"):
        confirmed.with_challenge("again", NOON_S)
    assert b"answer" not in msgspec.json.encode(confirmed)


def test_answer_without_a_challenge_is_refused(ada: Owner) -> None:
    with pytest.raises(EarmarkError, match="has no open challenge"):
        ada.with_confirmation("answer", NOON_S)


@pytest.mark.parametrize("late_s", [CHALLENGE_S, 10 * CHALLENGE_S, -1, -NOON_S])
def test_answer_outside_the_challenge_lifetime_is_refused(late_s: int, ada: Owner) -> None:
    challenged = ada.with_challenge("answer", NOON_S)

    with pytest.raises(EarmarkError, match="has expired"):
        challenged.with_confirmation("answer", NOON_S + late_s)


def test_challenge_record_does_not_contain_the_answer(ada: Owner) -> None:
    assert b"open sesame" not in msgspec.json.encode(ada.with_challenge("open sesame", NOON_S))
