import hashlib
from pathlib import Path

import pyrage
import pytest

from listener.errors import EarmarkError
from listener.firstboot.owner_challenge import OwnerChallenge
from listener.firstboot.plan import OwnerRequest
from listener.storage.home import Home
from tests.firstboot.cards import read_riddle

NOW_S = 1_800_000_000


@pytest.fixture
def ada() -> pyrage.x25519.Identity:
    return pyrage.x25519.Identity.generate()


@pytest.fixture
def proof(tmp_path: Path, home: Path) -> OwnerChallenge:
    return OwnerChallenge(tmp_path, Home(home))


def test_a_right_answer_makes_the_key_active_whatever_the_clock_says(
    proof: OwnerChallenge, ada: pyrage.x25519.Identity, home: Path
) -> None:
    recipient = str(ada.to_public())
    assert not proof.note("ada", recipient)
    answer = read_riddle(proof.challenge("ada", recipient).riddle, ada)

    # The card was flashed; between the question and the answer the clock jumped by years.
    assert proof.answer(OwnerRequest(answer=f" {answer}\n"), NOW_S) == "ada"

    owner = Home(home).roster().known_owner("ada")
    assert owner.active
    assert owner.challenge is None
    # Cut off here, it is answered once more.
    assert proof.answer(OwnerRequest(answer=answer), 0) == "ada"
    proof.close("ada")
    assert proof.open() is None
    assert proof.answer(OwnerRequest(answer=answer), 0) == "ada"


def test_the_challenge_stays_until_it_is_answered(
    proof: OwnerChallenge, ada: pyrage.x25519.Identity, tmp_path: Path
) -> None:
    first = proof.challenge("ada", str(ada.to_public()))

    assert proof.challenge("ada", str(ada.to_public())) == first
    kept = (tmp_path / "challenge.json").read_text()
    answer = read_riddle(first.riddle, ada)
    assert answer not in kept
    assert hashlib.sha256(answer.encode()).hexdigest() in kept


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        (OwnerRequest(answer="ada:nonsense"), "not ada's answer"),
        (OwnerRequest(name="bob", answer="ada:nonsense"), "for ada, and not for bob"),
    ],
)
def test_a_wrong_answer_changes_nothing(
    wish: OwnerRequest, why: str, proof: OwnerChallenge, ada: pyrage.x25519.Identity, home: Path
) -> None:
    proof.note("ada", str(ada.to_public()))
    made = proof.challenge("ada", str(ada.to_public()))

    with pytest.raises(EarmarkError, match=why):
        proof.answer(wish, NOW_S)

    assert proof.open() == made
    assert not Home(home).roster().known_owner("ada").active


def test_an_answer_that_nobody_asked_for_is_said(proof: OwnerChallenge) -> None:
    with pytest.raises(EarmarkError, match="no challenge"):
        proof.answer(OwnerRequest(answer="ada:x"), NOW_S)


def test_a_key_that_was_never_confirmed_gives_way_and_one_that_was_does_not(
    proof: OwnerChallenge, ada: pyrage.x25519.Identity, home: Path
) -> None:
    right, slip = (str(one.to_public()) for one in (ada, pyrage.x25519.Identity.generate()))
    proof.note("ada", slip)
    old = read_riddle(proof.challenge("ada", slip).riddle, None)
    proof.note("ada", right)
    answer = read_riddle(proof.challenge("ada", right).riddle, ada)

    assert proof.answer(OwnerRequest(answer=answer), NOW_S) == "ada"

    assert old == ""
    assert proof.note("ada", right)
    with pytest.raises(EarmarkError, match="has another key"):
        proof.note("ada", slip)
    assert Home(home).roster().known_owner("ada").recipient == right


def test_an_answer_to_a_key_that_was_changed_meanwhile_is_refused(
    proof: OwnerChallenge, ada: pyrage.x25519.Identity, home: Path
) -> None:
    proof.note("ada", str(ada.to_public()))
    answer = read_riddle(proof.challenge("ada", str(ada.to_public())).riddle, ada)
    other = str(pyrage.x25519.Identity.generate().to_public())
    Home(home).change_roster(lambda roster: roster.without_owner("ada").with_owner("ada", other))

    with pytest.raises(EarmarkError, match="another key by now"):
        proof.answer(OwnerRequest(answer=answer), NOW_S)


def test_a_damaged_note_is_none(proof: OwnerChallenge, tmp_path: Path) -> None:
    (tmp_path / "challenge.json").write_text("{")

    assert proof.open() is None
    proof.close("ada")
