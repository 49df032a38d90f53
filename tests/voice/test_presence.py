"""The proof of an owner at the speaker: it says what it allows, and counts once."""

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from listener.envelope import keys
from listener.errors import ConfigError, EarmarkError
from listener.owner.records import CHALLENGE_S, Owner
from listener.owner.roster import Roster
from listener.voice.presence import PresenceChallenge

ADA = pyrage.x25519.Identity.generate()
HALL, KITCHEN = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
ASSIST, OTHER = (keys.device_text(Ed25519PrivateKey.generate().public_key()) for _ in range(2))
NOW_S = 1_800_000_000


def owner_with(identity: pyrage.x25519.Identity, name: str = "ada") -> Owner:
    roster = Roster().with_owner(name, str(identity.to_public())).with_challenge(name, "x", 0)
    return roster.with_confirmation(name, "x", 0).known_owner(name)


def challenge(
    identity: pyrage.x25519.Identity = ADA,
    name: str = "ada",
    device: str = "hall",
    key: Ed25519PrivateKey = HALL,
    assist: str = ASSIST,
    last_n: int = 3,
) -> PresenceChallenge:
    return PresenceChallenge(owner_with(identity, name), device, key, assist, last_n)


def answer_to(text: str, identity: pyrage.x25519.Identity = ADA) -> str:
    return bytes(pyrage.decrypt(text.encode(), [identity])).decode()


ANSWER = answer_to(challenge().encrypt(NOW_S))


def test_answer_says_owner_speaker_and_assist_and_is_accepted() -> None:
    fingerprint = keys.device_id(keys.parse_device(ASSIST))

    assert ANSWER.startswith(f"ada:voice-on-at-hall:{fingerprint}:{NOW_S + CHALLENGE_S}:")
    assert ANSWER.endswith("\n")
    challenge().check(ANSWER, NOW_S)
    challenge().check(f"  {ANSWER}  ", NOW_S + CHALLENGE_S - 1)


@pytest.mark.parametrize(
    "other",
    [
        challenge(last_n=4),  # a consent was given since: the answer was used
        challenge(last_n=2),
        challenge(assist=OTHER),
        challenge(device="kitchen"),
        challenge(key=KITCHEN),
        challenge(pyrage.x25519.Identity.generate()),  # the owner's key was replaced
        challenge(name="bob"),
    ],
)
def test_answer_is_for_one_consent_only(other: PresenceChallenge) -> None:
    with pytest.raises(EarmarkError, match="not the answer"):
        other.check(ANSWER, NOW_S)


@pytest.mark.parametrize("now_s", [0, NOW_S - 1, NOW_S + CHALLENGE_S, 1 << 40])
def test_answer_expires_also_by_a_clock_that_was_set_back(now_s: int) -> None:
    with pytest.raises(EarmarkError, match="expired"):
        challenge().check(ANSWER, now_s)


def test_every_letter_of_the_answer_counts() -> None:
    text = ANSWER.strip()
    for at, letter in enumerate(text):
        changed = text[:at] + ("b" if letter != "b" else "c") + text[at + 1 :]
        with pytest.raises(EarmarkError):
            challenge().check(changed, NOW_S)


@given(text=st.text(max_size=200))
def test_arbitrary_text_is_not_an_answer(text: str) -> None:
    with pytest.raises(EarmarkError):
        challenge().check(text, NOW_S)


def test_assist_must_be_a_public_key() -> None:
    with pytest.raises(ConfigError):
        challenge(assist="ed25519:" + "A" * 5)
