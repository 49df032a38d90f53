import base64
import hashlib
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import BadRelease
from listener.release import file
from listener.release.file import Part, ReleaseManifest

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
TRUSTED = (KEY.public_key(),)
MAKER = Part(name="make-environment", bytes=2, sha256=hashlib.sha256(b"ab").hexdigest())


def manifest(**fields: object) -> ReleaseManifest:
    given_: dict[str, Any] = {
        "version": "0.2.0",
        "least": "0.1.0",
        "machine": "aarch64",
        "pythons": ("3.11", "3.13"),
        "parts": (MAKER, Part(name="wheels/a-1.whl", bytes=3, sha256="0" * 64)),
    }
    return ReleaseManifest(**(given_ | fields))


def signed(line: bytes) -> bytes:
    text = file.MAGIC + line + b"\n"
    return text + base64.b64encode(KEY.sign(text)) + b"\n"


def test_signed_manifest_round_trip_with_the_parts_offset() -> None:
    head = file.sign(manifest(summary="quieter"), KEY)

    found, start = file.parse(head + b"abxyz", TRUSTED)

    assert found == manifest(summary="quieter")
    assert start == len(head)
    assert found.total_bytes == 5


def test_signature_of_any_pinned_key_is_accepted() -> None:
    head = file.sign(manifest(), KEY)

    assert file.parse(head, (OTHER.public_key(), *TRUSTED))[0] == manifest()


@pytest.mark.parametrize("trusted", [(), (OTHER.public_key(),)])
def test_signature_of_an_unpinned_key_is_refused(
    trusted: tuple[Ed25519PublicKey, ...],
) -> None:
    head = file.sign(manifest(), KEY)

    with pytest.raises(BadRelease, match="no pinned release key"):
        file.parse(head, trusted)


@pytest.mark.parametrize(
    "change",
    [
        {"parts": (MAKER, MAKER)},
        {"parts": (Part(name="wheels/a-1.whl", bytes=3, sha256="0" * 64),)},
        {"least": "0.2.1"},
    ],
)
def test_inconsistent_manifest_is_not_signed(change: dict[str, Any]) -> None:
    with pytest.raises(BadRelease):
        file.sign(manifest(**change), KEY)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", "0.2"),
        ("version", "00.2.0"),
        ("version", "0.2.0\n"),
        ("version", "../../etc"),
        ("machine", "riscv64"),
        ("pythons", []),
        ("summary", "a\nb"),
        ("parts", []),
        ("parts", [{"name": "../x", "bytes": 1, "sha256": "0" * 64}]),
        ("parts", [{"name": "wheels/../../x.whl", "bytes": 1, "sha256": "0" * 64}]),
        ("parts", [{"name": "/etc/x.whl", "bytes": 1, "sha256": "0" * 64}]),
        ("parts", [{"name": "lock/a/b.txt", "bytes": 1, "sha256": "0" * 64}]),
        ("parts", [{"name": "make-environment", "bytes": 0, "sha256": "0" * 64}]),
        ("parts", [{"name": "make-environment", "bytes": 1, "sha256": "0" * 63}]),
        ("v", 2),
        ("more", 1),
    ],
)
def test_signed_field_out_of_range_is_refused(field: str, value: object) -> None:
    line = msgspec.json.encode(msgspec.to_builtins(manifest()) | {field: value}, order="sorted")

    with pytest.raises(BadRelease, match="not one that this version can read"):
        file.parse(signed(line), TRUSTED)


@pytest.mark.parametrize("line", [b"", b"{", b"[" * 5000, b"\xff", b'{"v":1e999}', b"1" * 5000])
def test_signed_line_that_is_not_a_manifest_is_refused(line: bytes) -> None:
    with pytest.raises(BadRelease):
        file.parse(signed(line), TRUSTED)


def test_unterminated_manifest_is_refused_at_the_size_limit() -> None:
    with pytest.raises(BadRelease, match="truncated"):
        file.parse(file.MAGIC + b"x" * file.HEAD_LIMIT_BYTES, TRUSTED)


@given(data=st.data())
def test_changed_byte_is_refused(data: st.DataObject) -> None:
    head = bytearray(file.sign(manifest(), KEY))
    at = data.draw(st.integers(0, len(head) - 1))
    head[at] ^= data.draw(st.integers(1, 255))

    with pytest.raises(BadRelease):
        file.parse(bytes(head), TRUSTED)


@given(cut=st.integers(0, 500))
def test_truncated_release_is_refused(cut: int) -> None:
    head = file.sign(manifest(), KEY)

    with pytest.raises(BadRelease):
        file.parse(head[: min(cut, len(head) - 1)], TRUSTED)


@given(tail=st.binary(max_size=300), magic=st.booleans())
def test_arbitrary_bytes_raise_bad_release(tail: bytes, *, magic: bool) -> None:
    with pytest.raises(BadRelease):
        file.parse((file.MAGIC if magic else b"") + tail, TRUSTED)


@given(line=st.binary(max_size=200))
def test_arbitrary_signed_bytes_raise_bad_release(line: bytes) -> None:
    with pytest.raises(BadRelease):
        file.parse(signed(line), TRUSTED)
