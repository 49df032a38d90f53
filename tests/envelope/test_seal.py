from collections.abc import Callable

import msgspec
import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.envelope import format as form
from listener.envelope import keys
from listener.envelope.format import AGE_HEADER_LIMIT_BYTES
from listener.envelope.open import Identity, OpenedClip
from listener.envelope.seal import encrypt_to
from listener.errors import BadEnvelope, ConfigError

Sealing = Callable[..., bytes]
Opening = Callable[..., OpenedClip]


def test_only_the_public_header_is_unencrypted(sealed: bytes, private: form.PrivateFields) -> None:
    outside = sealed[: sealed.index(b"age-encryption")]

    assert b'"owner":"ada"' in outside
    for name in private.__struct_fields__:
        assert f'"{name}"'.encode() not in outside
    assert b"alexa" not in sealed
    assert b"fLaC" not in sealed


def test_sealing_twice_gives_different_ciphertexts(sealed: bytes, sealing: Sealing) -> None:
    again = sealing()

    assert form.parse_envelope(again).ciphertext != form.parse_envelope(sealed).ciphertext


@pytest.mark.parametrize(
    "changes",
    [
        {"owner": "Ada"},
        {"owner": "ada\n"},
        {"seq": 0},
        {"seq": True},
        {"t": "2026-11-22 08:00:00"},
        {"t": "2026-02-30T08:00:00.000Z"},
        {"clip": "7B0C38CC-8B6C-4F43-9D3A-0D5A4AD4E1F1"},
        {"ttl_s": 10**9},
        {"v": 2},
    ],
)
def test_invalid_header_is_not_sealed(
    changes: dict[str, object], header: form.PublicHeader, sealing: Sealing
) -> None:
    wrong = msgspec.structs.replace(header, **changes)

    with pytest.raises(BadEnvelope):
        sealing(header=wrong)


@pytest.mark.parametrize(
    "changes",
    [
        {"score": float("nan")},
        {"score": 1.01},
        {"spk": float("inf")},
        {"spk": -2.0},
        {"pre_ms": 300},
        {"model": "alexa"},
        {"boot": ""},
        {"end_reason": "Ende"},
    ],
)
def test_invalid_private_fields_are_not_sealed(
    changes: dict[str, object], private: form.PrivateFields, sealing: Sealing
) -> None:
    wrong = msgspec.structs.replace(private, **changes)

    with pytest.raises(BadEnvelope):
        sealing(private=wrong)


def test_key_that_differs_from_the_header_is_not_sealed(
    bob: Identity, hall: Ed25519PrivateKey, sealing: Sealing
) -> None:
    with pytest.raises(BadEnvelope, match="another key than the recipient's"):
        sealing(recipient=bob.recipient)
    with pytest.raises(BadEnvelope, match="another key than the device's"):
        sealing(device_key=hall)


def test_clip_over_the_size_limit_is_not_sealed(
    sealing: Sealing,
) -> None:
    with pytest.raises(BadEnvelope, match="longer than 1048576 bytes"):
        sealing(encode=lambda _: bytes(1 << 20))


def test_clip_at_the_size_limit_is_sealed(sealing: Sealing, opening: Opening) -> None:
    room = form.CIPHERTEXT_LIMIT_BYTES - AGE_HEADER_LIMIT_BYTES - 1024
    data = sealing(encode=lambda _: bytes(room))

    with pytest.raises(BadEnvelope, match="not a FLAC file"):
        opening(data)


def test_armored_text_decrypts_with_the_same_key(ada: Identity) -> None:
    text = encrypt_to(ada.recipient, b"a nonce", armored=True)

    assert text.startswith(b"-----BEGIN AGE ENCRYPTED FILE-----\n")
    assert pyrage.decrypt(text, [ada.secret]) == b"a nonce"


def test_encrypting_to_an_invalid_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="not an age public key"):
        encrypt_to("age1", b"a nonce")


def test_fingerprints_are_24_lower_case_alphanumerics(
    ada: Identity, kitchen: Ed25519PrivateKey
) -> None:
    for text in (ada.okey, keys.device_id(kitchen.public_key())):
        assert len(text) == 24
        assert text.isalnum()
        assert text == text.lower()
