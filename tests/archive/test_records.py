"""The code of a row."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.archive.records import ClipRecord, RowMac

KEPT = ClipRecord("clip", "ada", "hall", 1, "2026-11-22T08:00:00.000Z", 60, 7, 8, 9)


@pytest.mark.parametrize("field", ClipRecord.__dataclass_fields__)
def test_every_field_of_a_row_counts(field: str) -> None:
    voucher = RowMac(b"secret")
    value = getattr(KEPT, field)
    other = ClipRecord(
        **(msgspec.to_builtins(KEPT) | {field: value + (1 if field in NUMBERS else "x")})
    )

    assert voucher.compute(other) != voucher.compute(KEPT)


NUMBERS = {"seq", "ttl_s", "size_bytes", "received_s", "expires_s"}


def test_two_archives_make_different_codes_and_one_the_same() -> None:
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()

    assert RowMac.for_key(key).compute(KEPT) == RowMac.for_key(key).compute(KEPT)
    assert RowMac.for_key(key).compute(KEPT) != RowMac.for_key(other).compute(KEPT)
    assert RowMac.for_key(key).secret != key.private_bytes_raw()
