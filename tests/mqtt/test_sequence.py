"""The signed statement of the highest accepted number."""

import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from listener.mqtt import sequence
from listener.mqtt.sequence import AcceptedSequence
from listener.mqtt.signed_statement import LONGEST_BYTES

ARCHIVE = Ed25519PrivateKey.generate()
STATED = AcceptedSequence(device="hall", dkey="a" * 24, seq=7)


def verify(signature: bytes, data: bytes) -> bool:
    try:
        ARCHIVE.public_key().verify(signature, data)
    except InvalidSignature:
        return False
    return True


def test_statement_is_signed_as_canonical_json() -> None:
    payload = sequence.encode(STATED, ARCHIVE.sign)

    fields = json.loads(payload)
    assert sequence.parse(payload, verify) == STATED
    assert fields["sequence"] == {
        "device": "hall",
        "dkey": "a" * 24,
        "kind": "sequence",
        "seq": 7,
        "v": 1,
    }
    assert (
        STATED.canonical()
        == json.dumps(fields["sequence"], sort_keys=True, separators=(",", ":")).encode()
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"seq": 8},
        {"seq": 0},
        {"seq": 1_000_000_000_000},
        {"seq": "7"},
        {"device": "bath"},
        {"device": "../hall"},
        {"dkey": "b" * 24},
        {"dkey": "a"},
        {"kind": "retention"},
        {"more": 1},
    ],
)
def test_changed_statement_is_refused(changed: dict[str, object]) -> None:
    fields = json.loads(sequence.encode(STATED, ARCHIVE.sign))
    fields["sequence"] |= changed

    assert sequence.parse(json.dumps(fields).encode(), verify) is None


def test_statement_of_another_key_is_refused() -> None:
    payload = sequence.encode(STATED, Ed25519PrivateKey.generate().sign)

    assert sequence.parse(payload, verify) is None


@given(st.binary(max_size=200) | st.just(b"[" * (LONGEST_BYTES + 1)) | st.just(b"[" * 1000))
def test_any_bytes_are_no_statement(data: bytes) -> None:
    assert sequence.parse(data, lambda _signature, _data: True) is None
