"""A shorter time, as the archive signs it."""

import json

import msgspec
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from listener.mqtt import retention
from listener.mqtt.retention import RetentionLimit

KEY = Ed25519PrivateKey.generate()
TERM = RetentionLimit(owner="ada", days=2, n=3)


def verify(signature: bytes, said: bytes) -> bool:
    try:
        KEY.public_key().verify(signature, said)
    except InvalidSignature:
        return False
    return True


def test_signed_limit_is_parsed() -> None:
    payload = retention.encode(TERM, KEY.sign)

    assert retention.parse(payload, verify) == TERM
    assert json.loads(payload)["term"] == json.loads(TERM.canonical())


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_changed_bit_is_refused(at: int, bit: int) -> None:
    data = bytearray(retention.encode(TERM, KEY.sign))
    data[at % len(data)] ^= 1 << bit

    assert retention.parse(bytes(data), verify) in {None, TERM}


@pytest.mark.parametrize("changes", [{"days": 0}, {"days": 3651}, {"owner": "a/b"}, {"n": 0}])
def test_limit_out_of_range_is_refused(changes: dict[str, object]) -> None:
    term = msgspec.structs.replace(TERM, **changes)

    assert retention.parse(retention.encode(term, KEY.sign), verify) is None


@given(st.binary(max_size=1100))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    assert retention.parse(data, verify) is None
