"""Rotation of an owner's key, and the attempts of other parties to choose the next one."""

import msgspec
import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from listener.envelope import keys
from listener.envelope.open import Identity, parse_identities
from listener.errors import ConfigError, EarmarkError
from listener.owner import key_rotation
from listener.owner.key_rotation import KeyRotation
from listener.owner.roster import Roster


def identity() -> Identity:
    secret = str(pyrage.x25519.Identity.generate())
    return parse_identities(secret.encode(), "a test")[0]


ADA, BOB, NEXT = identity(), identity(), identity()
HALL, KITCHEN = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


def roster() -> Roster:
    made = Roster()
    for name, key in (("ada", ADA), ("bob", BOB)):
        made = made.with_owner(name, key.recipient)
        made = made.with_challenge(name, "x", 0).with_confirmation(name, "x", 0)
    return made


def said(
    now: Identity = ADA,
    then: Identity = NEXT,
    speaker: Ed25519PrivateKey = HALL,
    **fields: str,
) -> KeyRotation:
    bare = KeyRotation(owner="ada", device="hall", old=now.okey, new=then.recipient)
    bare = msgspec.structs.replace(bare, **fields)
    return key_rotation.prove_rotation(
        bare, now.agreement(), then.agreement(), speaker.public_key()
    )


def followed(*one: KeyRotation, device: str = "hall", key: Ed25519PrivateKey = HALL) -> Roster:
    return key_rotation.apply_rotation(roster(), one, device, key)


def test_rotation_proven_by_both_keys_retires_the_old_key() -> None:
    found = followed(said()).known_owner("ada")

    assert found.recipient == NEXT.recipient
    assert found.retired == (ADA.recipient,)


def test_rotations_apply_in_order_and_only_once() -> None:
    last = identity()
    chain = (said(), said(NEXT, last))

    assert followed(*chain).known_owner("ada").recipient == last.recipient
    assert followed(*chain, *chain) == followed(*chain)
    # Back to a key of before: a thief of it may have kept an earlier message.
    assert followed(*chain, said(last, ADA)) == followed(*chain)
    assert followed(said(NEXT, last)) == roster()


@pytest.mark.parametrize(
    "one",
    [
        said(BOB),  # another owner's key
        said(BOB, old=ADA.okey),
        said(identity(), old=ADA.okey),  # anybody's
        said(then=BOB),  # to a key that is somebody's
        said(speaker=KITCHEN),  # proven to another speaker
        said(owner="bob"),
        said(owner="nobody"),
        msgspec.structs.replace(said(), new=identity().recipient),
        msgspec.structs.replace(said(), new_proof=said(then=identity()).new_proof),
        msgspec.structs.replace(said(), old_proof=said().new_proof),
        msgspec.structs.replace(said(), new_proof=said().old_proof),
        msgspec.structs.replace(said(), new="age1" + "q" * 58),
    ],
)
def test_unproven_rotation_does_not_change_the_roster(one: KeyRotation) -> None:
    assert followed(one) == roster()


def test_rotation_proof_is_valid_for_one_device_only() -> None:
    assert followed(said(), device="kitchen", key=KITCHEN) == roster()
    assert followed(said(), device="hall", key=KITCHEN) == roster()
    renamed = msgspec.structs.replace(said(), device="kitchen")
    assert followed(renamed, device="kitchen", key=HALL) == roster()


def test_unconfirmed_owner_cannot_rotate_keys() -> None:
    unconfirmed = Roster().with_owner("ada", ADA.recipient)

    assert key_rotation.apply_rotation(unconfirmed, [said()], "hall", HALL) == unconfirmed


def test_archive_cannot_forge_a_rotation() -> None:
    archive = Ed25519PrivateKey.generate()
    bare = KeyRotation(owner="ada", device="hall", old=ADA.okey, new=NEXT.recipient)
    secret = keys.agreement_secret(archive)

    forged = key_rotation.prove_rotation(bare, secret, NEXT.agreement(), HALL.public_key())

    assert followed(forged) == roster()


def test_rotation_for_a_forged_device_key_is_ignored() -> None:
    archive = Ed25519PrivateKey.generate()

    assert followed(said(speaker=archive)) == roster()


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_one_error(data: bytes) -> None:
    with pytest.raises(EarmarkError):
        key_rotation.parse(data + b"x")


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_changed_bit_does_not_change_the_roster(at: int, bit: int) -> None:
    data = bytearray(b"[" + said().encode() + b"]")
    data[at % len(data)] ^= 1 << bit

    try:
        found = key_rotation.parse(bytes(data))
    except EarmarkError:
        return
    assert followed(*found) == roster()


def test_rotations_round_trip_within_the_size_limit() -> None:
    one, other = said(), said(NEXT, identity())

    data = b"[" + one.encode() + b"," + other.encode() + b"]"

    assert key_rotation.parse(data) == (one, other)
    with pytest.raises(EarmarkError):
        key_rotation.parse(b" " * (key_rotation.LONGEST_BYTES + 1))


def test_key_agreement_is_symmetric_and_uses_the_age_key() -> None:
    mine, theirs = ADA.agreement(), keys.agreement_public(HALL.public_key())

    assert mine.public_key().public_bytes_raw() == keys.age_bytes(ADA.recipient)
    assert mine.exchange(theirs) == keys.agreement_secret(HALL).exchange(mine.public_key())
    assert keys.agreement_secret(HALL).public_key() == theirs


@pytest.mark.parametrize(
    "text", ["", "age1", "age1" + "b" * 58, "age1" + "q" * 57, "age1" + "q" * 51 + "l" + "q" * 6]
)
def test_invalid_age_key_has_no_bytes(text: str) -> None:
    with pytest.raises(ConfigError):
        keys.age_bytes(text)
