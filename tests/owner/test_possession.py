"""Challenges for an owner's key that others carry."""

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import EarmarkError
from listener.owner.possession import PossessionChallenge, check_plaintext
from listener.owner.records import CHALLENGE_S, Owner

NOW_S = 1_800_000_000
SECRET = pyrage.x25519.Identity.generate()
RECIPIENT = str(SECRET.to_public())
ADA = Owner(name="ada", recipient=RECIPIENT)
KEY = Ed25519PrivateKey.generate()


def plaintext(owner: Owner = ADA, place: str = "hall", now_s: int = NOW_S) -> bytes:
    text = PossessionChallenge(owner, place, KEY).encrypt(now_s)
    decrypted: bytes = pyrage.decrypt(text.encode(), [SECRET])
    return decrypted


def test_answer_is_valid_for_a_day_at_its_place() -> None:
    answer = check_plaintext(plaintext(), "ada", "hall", RECIPIENT)
    challenge = PossessionChallenge(ADA, "hall", KEY)

    assert answer.startswith(f"ada:owner-at-hall:{ADA.okey}:{NOW_S + CHALLENGE_S}:")
    assert challenge.is_answer(answer, NOW_S)
    assert challenge.is_answer(answer, NOW_S + CHALLENGE_S - 1)
    assert not challenge.is_answer(answer, NOW_S + CHALLENGE_S)
    assert not challenge.is_answer(answer, NOW_S - 1)


@pytest.mark.parametrize(
    "other",
    [
        PossessionChallenge(Owner(name="bob", recipient=RECIPIENT), "hall", KEY),
        PossessionChallenge(ADA, "bath", KEY),
        PossessionChallenge(ADA, "hall", Ed25519PrivateKey.generate()),
        PossessionChallenge(
            Owner(name="ada", recipient=str(pyrage.x25519.Identity.generate().to_public())),
            "hall",
            KEY,
        ),
    ],
)
def test_answer_counts_nowhere_else(other: PossessionChallenge) -> None:
    answer = plaintext().decode().strip()

    assert not other.is_answer(answer, NOW_S)


@given(st.data())
def test_every_changed_character_is_refused(data: st.DataObject) -> None:
    answer = plaintext().decode().strip()
    at = data.draw(st.integers(0, len(answer) - 1))
    other = data.draw(st.sampled_from("az27:-").filter(lambda text: text != answer[at]))

    changed = answer[:at] + other + answer[at + 1 :]

    assert not PossessionChallenge(ADA, "hall", KEY).is_answer(changed, NOW_S)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff" * 100,
        b"ada:6f1c0c8fd4c1e95bhfkrlxpq\n",
        b"ada:erase:0123456789abcdef:abcdefghijklmnopqrstuvwxyz\n",
        b"ada:voice-on-at-hall:abcdefghijklmnopqrstuvwx:1800000000:abcdefghijklmnopqrstuvwxyz\n",
        plaintext(place="bath"),
        plaintext(Owner(name="bob", recipient=RECIPIENT)),
        plaintext() + plaintext(),
        plaintext() + b"x",
        b" " + plaintext(),
    ],
    # Not by their values: keys of this process, and each worker has its own.
    ids=[f"plaintext{number}" for number in range(10)],
)
def test_any_other_plaintext_stays_with_the_owner(text: bytes) -> None:
    with pytest.raises(EarmarkError) as refused:
        check_plaintext(text, "ada", "hall", RECIPIENT)

    shown = f"{refused.value} {refused.value.hint}"
    assert not text.strip() or text.decode("ascii", "replace").strip() not in shown
