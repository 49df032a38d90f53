import hashlib
from pathlib import Path

import msgspec
import pyrage
import pytest

from listener.errors import EarmarkError
from listener.firstboot.owner_challenge import OpenChallenge, OwnerChallenge
from listener.firstboot.plan import OwnerRequest
from listener.storage.home import Home
from tests.firstboot.cards import decrypt_challenge

NOW_S = 1_800_000_000


@pytest.fixture
def ada() -> pyrage.x25519.Identity:
    return pyrage.x25519.Identity.generate()


@pytest.fixture
def challenge(tmp_path: Path, home: Path) -> OwnerChallenge:
    return OwnerChallenge(tmp_path, Home(home))


def test_correct_answer_activates_the_key_at_any_clock(
    challenge: OwnerChallenge, ada: pyrage.x25519.Identity, home: Path
) -> None:
    recipient = str(ada.to_public())
    assert not challenge.note("ada", recipient)
    answer = decrypt_challenge(challenge.challenge("ada", recipient).text, ada)

    # The card was flashed; between the question and the answer the clock jumped by years.
    assert challenge.answer(OwnerRequest(answer=f" {answer}\n"), NOW_S) == "ada"

    owner = Home(home).roster().known_owner("ada")
    assert owner.active
    assert owner.challenge is None
    # Cut off here, it is answered once more.
    assert challenge.answer(OwnerRequest(answer=answer), 0) == "ada"
    challenge.close("ada")
    assert challenge.open() is None
    assert challenge.answer(OwnerRequest(answer=answer), 0) == "ada"


def test_challenge_stays_until_it_is_answered(
    challenge: OwnerChallenge, ada: pyrage.x25519.Identity, tmp_path: Path
) -> None:
    first = challenge.challenge("ada", str(ada.to_public()))

    assert challenge.challenge("ada", str(ada.to_public())) == first
    kept = (tmp_path / "challenge.json").read_text()
    answer = decrypt_challenge(first.text, ada)
    assert answer not in kept
    assert hashlib.sha256(answer.encode()).hexdigest() in kept


@pytest.mark.parametrize(
    ("owner_request", "why"),
    [
        (OwnerRequest(answer="ada:nonsense"), "not ada's answer"),
        (OwnerRequest(name="bob", answer="ada:nonsense"), "for ada, not for bob"),
    ],
)
def test_wrong_answer_changes_nothing(
    owner_request: OwnerRequest,
    why: str,
    challenge: OwnerChallenge,
    ada: pyrage.x25519.Identity,
    home: Path,
) -> None:
    challenge.note("ada", str(ada.to_public()))
    made = challenge.challenge("ada", str(ada.to_public()))

    with pytest.raises(EarmarkError, match=why):
        challenge.answer(owner_request, NOW_S)

    assert challenge.open() == made
    assert not Home(home).roster().known_owner("ada").active


def test_answer_without_a_challenge_is_an_error(challenge: OwnerChallenge) -> None:
    with pytest.raises(EarmarkError, match="but no challenge"):
        challenge.answer(OwnerRequest(answer="ada:x"), NOW_S)


def test_only_an_unconfirmed_key_can_be_replaced(
    challenge: OwnerChallenge, ada: pyrage.x25519.Identity, home: Path
) -> None:
    right, slip = (str(one.to_public()) for one in (ada, pyrage.x25519.Identity.generate()))
    challenge.note("ada", slip)
    old = decrypt_challenge(challenge.challenge("ada", slip).text, None)
    challenge.note("ada", right)
    answer = decrypt_challenge(challenge.challenge("ada", right).text, ada)

    assert challenge.answer(OwnerRequest(answer=answer), NOW_S) == "ada"

    assert old == ""
    assert challenge.note("ada", right)
    with pytest.raises(EarmarkError, match="has another key"):
        challenge.note("ada", slip)
    assert Home(home).roster().known_owner("ada").recipient == right


def test_answer_for_a_changed_key_is_refused(
    challenge: OwnerChallenge, ada: pyrage.x25519.Identity, home: Path
) -> None:
    challenge.note("ada", str(ada.to_public()))
    answer = decrypt_challenge(challenge.challenge("ada", str(ada.to_public())).text, ada)
    other = str(pyrage.x25519.Identity.generate().to_public())
    Home(home).change_roster(lambda roster: roster.without_owner("ada").with_owner("ada", other))

    with pytest.raises(EarmarkError, match="was changed after the challenge"):
        challenge.answer(OwnerRequest(answer=answer), NOW_S)


def test_damaged_challenge_file_is_ignored(challenge: OwnerChallenge, tmp_path: Path) -> None:
    (tmp_path / "challenge.json").write_text("{")

    assert challenge.open() is None
    challenge.close("ada")


def test_stored_challenge_keeps_its_field_name() -> None:
    stored = OpenChallenge(owner="ada", recipient="age1x", sha256="0" * 64, text="armored")

    assert msgspec.json.decode(msgspec.json.encode(stored))["riddle"] == "armored"
