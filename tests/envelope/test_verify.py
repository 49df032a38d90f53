import base64
import hashlib

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.envelope import format as form
from listener.envelope import keys
from listener.envelope.format import canonical_json
from listener.envelope.verify import TrustedKey, verify
from listener.errors import BadEnvelope

Devices = dict[str, Ed25519PublicKey]
Owners = dict[str, str]


def refused(data: bytes, devices: Devices, owners: Owners, why: str | None = None) -> None:
    with pytest.raises(BadEnvelope, match=why):
        verify(data, devices, owners)


def lines(data: bytes) -> list[bytes]:
    return data.split(b"\n", 4)


def signed(header: form.PublicHeader, ciphertext: bytes, key: Ed25519PrivateKey) -> bytes:
    content = form.Seal(bytes=len(ciphertext), sha256=hashlib.sha256(ciphertext).hexdigest())
    text = form.MAGIC + canonical_json(header) + b"\n" + canonical_json(content) + b"\n"
    return text + base64.b64encode(key.sign(text)) + b"\n" + ciphertext


def test_sealed_clip_passes_verification(sealed: bytes, devices: Devices, owners: Owners) -> None:
    assert verify(sealed, devices, owners) == form.parse_envelope(sealed)


def test_changed_bit_before_the_ciphertext_is_refused(
    sealed: bytes, devices: Devices, owners: Owners
) -> None:
    body = len(sealed) - len(lines(sealed)[4])

    for position in range(body):
        for bit in range(8):
            changed = bytearray(sealed)
            changed[position] ^= 1 << bit
            refused(bytes(changed), devices, owners)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_bit_of_the_ciphertext_is_refused(
    data: st.DataObject, sealed: bytes, devices: Devices, owners: Owners
) -> None:
    body = len(sealed) - len(lines(sealed)[4])
    position = data.draw(st.integers(body, len(sealed) - 1))
    changed = bytearray(sealed)
    changed[position] ^= 1 << data.draw(st.integers(0, 7))

    refused(bytes(changed), devices, owners, "differs from the signed one")


def test_every_truncation_is_refused(sealed: bytes, devices: Devices, owners: Owners) -> None:
    body = len(sealed) - len(lines(sealed)[4])

    # Every length as far as the age header goes, then samples of the rest and its end.
    for length in [*range(body + 400), *range(body + 400, len(sealed), 97), len(sealed) - 1]:
        refused(sealed[:length], devices, owners)


@pytest.mark.parametrize("more", [b"\n", b"\0", b"EARMARK/1\n", bytes(1 << 20)])
def test_every_extension_is_refused(
    more: bytes, sealed: bytes, devices: Devices, owners: Owners
) -> None:
    refused(sealed + more, devices, owners)
    refused(more + sealed, devices, owners)


def test_changed_header_invalidates_the_signature(
    sealed: bytes, devices: Devices, owners: Owners, header: form.PublicHeader
) -> None:
    for label in (
        {"owner": "bob"},
        {"owner": "bob", "okey": keys.owner_id(owners["bob"])},
        {"seq": 8},
        {"ttl_s": 1},
    ):
        other = canonical_json(msgspec.structs.replace(header, **label))
        relabelled = sealed.replace(canonical_json(header), other, 1)

        refused(relabelled, devices, owners, "signature is not valid")


def test_signature_of_another_device_is_refused(
    sealed: bytes,
    devices: Devices,
    owners: Owners,
    header: form.PublicHeader,
    hall: Ed25519PrivateKey,
) -> None:
    forged = signed(header, lines(sealed)[4], hall)

    refused(forged, devices, owners, "signature is not valid")


def test_unknown_device_is_refused(
    sealed: bytes, devices: Devices, owners: Owners, hall: Ed25519PrivateKey
) -> None:
    refused(sealed, {"hall": devices["hall"]}, owners, "no device")
    refused(sealed, {"kitchen": hall.public_key()}, owners, "no device")


def test_inactive_owner_is_refused(sealed: bytes, devices: Devices, owners: Owners) -> None:
    refused(sealed, devices, {"bob": owners["bob"]}, "no active owner")
    refused(sealed, devices, {"ada": owners["bob"]}, "no active owner")


def test_signature_is_verified_before_the_ciphertext_is_read(
    sealed: bytes, devices: Devices, owners: Owners
) -> None:
    magic, header, content, _, _ = lines(sealed)
    forged = base64.b64encode(bytes(64))

    refused(b"\n".join((magic, header, content, forged, b"x")), devices, owners, "signature")


def test_signed_envelope_with_two_recipients_is_refused(
    sealed: bytes,
    devices: Devices,
    owners: Owners,
    header: form.PublicHeader,
    kitchen: Ed25519PrivateKey,
) -> None:
    ciphertext = lines(sealed)[4]
    stanza = ciphertext[ciphertext.index(b"\n-> X25519") : ciphertext.index(b"\n-> ", 40)]
    second = ciphertext.replace(stanza, stanza + stanza, 1)

    refused(signed(header, second, kitchen), devices, owners, "exactly one")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=2048))
def test_arbitrary_bytes_raise_one_error(data: bytes, devices: Devices, owners: Owners) -> None:
    refused(data, devices, owners)
    refused(form.MAGIC + data, devices, owners)


def test_retired_key_verifies_up_to_its_last_number(
    sealed: bytes, devices: Devices, owners: Owners
) -> None:
    header = form.parse_envelope(sealed).header
    key, other = devices[header.device], Ed25519PrivateKey.generate().public_key()

    for last_seq in (None, header.seq, header.seq + 1):
        keys_of = {header.device: [TrustedKey(other), TrustedKey(key, last_seq)]}
        assert verify(sealed, keys_of, owners).header == header
    below = {header.device: (TrustedKey(key, header.seq - 1), TrustedKey(other))}
    with pytest.raises(BadEnvelope, match="above the last one accepted of this retired key"):
        verify(sealed, below, owners)
    with pytest.raises(BadEnvelope, match="no device of this name and key"):
        verify(sealed, {header.device: (TrustedKey(other),)}, owners)
    with pytest.raises(BadEnvelope, match="no device of this name and key"):
        verify(sealed, {"other": (TrustedKey(key),)}, owners)
