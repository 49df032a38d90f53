"""The MAC of an index row."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.archive.records import ClipRecord, RowMac

RECORD = ClipRecord("clip", "ada", "hall", 1, "2026-11-22T08:00:00.000Z", 60, 7, 8, 9)


@pytest.mark.parametrize("field", ClipRecord.__dataclass_fields__)
def test_mac_covers_every_field(field: str) -> None:
    row_mac = RowMac(b"secret")
    value = getattr(RECORD, field)
    other = ClipRecord(
        **(msgspec.to_builtins(RECORD) | {field: value + (1 if field in NUMBERS else "x")})
    )

    assert row_mac.compute(other) != row_mac.compute(RECORD)


NUMBERS = {"seq", "ttl_s", "size_bytes", "received_s", "expires_s"}


def test_mac_differs_between_archives() -> None:
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()

    assert RowMac.for_key(key).compute(RECORD) == RowMac.for_key(key).compute(RECORD)
    assert RowMac.for_key(key).compute(RECORD) != RowMac.for_key(other).compute(RECORD)
    assert RowMac.for_key(key).secret != key.private_bytes_raw()
