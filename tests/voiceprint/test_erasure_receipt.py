"""The receipt for an erased voiceprint."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from listener.envelope import keys
from listener.errors import EarmarkError
from listener.voiceprint.erasure_receipt import ErasureReceipt, parse_erasure, sign_erasure

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
RECEIPT = ErasureReceipt(
    owner="ada",
    sha256="5a" * 32,
    t="2026-01-02T03:04:05.678Z",
    device=keys.device_text(KEY.public_key()),
)


def test_receipt_is_verified() -> None:
    assert parse_erasure(sign_erasure(RECEIPT, KEY).encode()) == RECEIPT


def test_receipt_of_another_key_is_refused() -> None:
    signed = sign_erasure(RECEIPT, Ed25519PrivateKey.generate())

    with pytest.raises(EarmarkError, match="signature of the receipt is not valid"):
        parse_erasure(signed.encode())


def test_edited_receipt_is_refused() -> None:
    signed = sign_erasure(RECEIPT, KEY).replace('"ada"', '"bob"')

    with pytest.raises(EarmarkError, match="signature of the receipt is not valid"):
        parse_erasure(signed.encode())


@given(st.binary(max_size=400))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(EarmarkError, match="not a receipt"):
        parse_erasure(data)
