"""Consent: proven by the owner's active key, to one speaker, once."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.envelope import keys
from listener.errors import ConfigError, VoiceError
from listener.owner import key_rotation
from listener.owner.records import Owner
from listener.voice import consent
from listener.voice.consent import Consent
from listener.voice.limits import LONGEST_CONSENTS_BYTES
from tests.voice.conftest import World, make_identity


def refusal(
    world: World, one: Consent, owner: Owner | None = None, last_n: int = 0, device: str = "hall"
) -> str:
    with pytest.raises(VoiceError) as caught:
        consent.verify_consent(one, owner or world.owner, device, world.hall, last_n)
    return caught.value.reason


def test_proven_consent_is_accepted(world: World) -> None:
    one = world.consent()

    consent.verify_consent(one, world.owner, "hall", world.hall, last_n=6)

    assert one.assist_id == world.assist_id
    assert consent.parse_consents(consent.encode_consents([one])) == (one,)


@pytest.mark.parametrize(
    "changes",
    [{"on": 0}, {"n": 8}, {"assist": keys.device_text(Ed25519PrivateKey.generate().public_key())}],
)
def test_code_covers_each_field(world: World, changes: dict[str, object]) -> None:
    changed = msgspec.structs.replace(world.consent(), **changes)

    assert refusal(world, changed) == "code"
    consent.verify_consent(world.consent(**changes), world.owner, "hall", world.hall)


def test_consent_for_another_speaker_owner_or_key_is_refused(world: World) -> None:
    one = world.consent()
    bob = make_identity()

    assert refusal(world, one, device="kitchen") == "device"
    assert refusal(world, msgspec.structs.replace(one, device="kitchen")) == "device"
    assert refusal(world, msgspec.structs.replace(one, owner="bob")) == "owner"
    assert refusal(world, one, Owner(name="ada", recipient=bob.recipient, active=True)) == "owner"
    assert refusal(world, one, Owner(name="ada", recipient=world.ada.recipient)) == "owner"
    with pytest.raises(VoiceError) as caught:
        consent.verify_consent(one, None, "hall", world.hall)
    assert caught.value.reason == "owner"
    other = Ed25519PrivateKey.generate()
    elsewhere = consent.make_consent(
        world.bare_consent(), world.ada.agreement(), other.public_key()
    )
    assert refusal(world, elsewhere) == "code"
    forged = consent.make_consent(world.bare_consent(), bob.agreement(), world.hall.public_key())
    assert refusal(world, forged) == "code"


def test_consent_is_accepted_once(world: World) -> None:
    assert refusal(world, world.consent(), last_n=7) == "old"
    assert refusal(world, world.consent(), last_n=8) == "old"


def test_consent_to_something_that_is_no_key_is_refused(world: World) -> None:
    # Well formed as text, but its last character has bits that no encoder sets.
    text = world.bare_consent().assist[:-2] + "B="

    with pytest.raises(ConfigError):
        world.consent(assist=text)
    assert refusal(world, msgspec.structs.replace(world.consent(), assist=text)) == "assist"


def test_code_of_a_key_rotation_proves_no_consent(world: World) -> None:
    rotation = key_rotation.KeyRotation(
        owner="ada", device="hall", old=world.ada.okey, new=make_identity().recipient
    )
    proven = key_rotation.prove_rotation(
        rotation, world.ada.agreement(), make_identity().agreement(), world.hall.public_key()
    )

    one = msgspec.structs.replace(world.bare_consent(), code=proven.old_proof)
    assert refusal(world, one) == "code"


def test_list_of_consents_is_bounded_and_has_one_reading(world: World) -> None:
    one = world.consent()
    data = consent.encode_consents([one])

    for bad in (
        data + b" ",
        data[:-1],
        b"[" + data[1:-1] + b"," + data[1:-1] + b"]",
        data.replace(b'"on":1', b'"on":true'),
        data.replace(b'"on":1', b'"on":1,"on":1'),
        data.replace(b'"on":1', b'"on":2'),
        data.replace(b'"v":1', b'"v":1,"w":1'),
        b"[" * 5_000,
        b"[" + b" " * LONGEST_CONSENTS_BYTES + b"]",
        b"",
    ):
        with pytest.raises(VoiceError) as caught:
            consent.parse_consents(bad)
        assert caught.value.reason == "form"
    assert consent.parse_consents(b"[]") == ()
    with pytest.raises(VoiceError):
        consent.encode_consents([one] * 40)
