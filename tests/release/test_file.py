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


def test_what_was_signed_is_read_again_with_where_the_parts_begin() -> None:
    head = file.sign(manifest(summary="quieter"), KEY)

    found, start = file.parse(head + b"abxyz", TRUSTED)

    assert found == manifest(summary="quieter")
    assert start == len(head)
    assert found.total_bytes == 5


def test_any_of_the_pinned_keys_may_have_signed() -> None:
    head = file.sign(manifest(), KEY)

    assert file.parse(head, (OTHER.public_key(), *TRUSTED))[0] == manifest()


@pytest.mark.parametrize("trusted", [(), (OTHER.public_key(),)])
def test_a_key_that_is_not_pinned_counts_for_nothing(
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
def test_a_manifest_that_contradicts_itself_is_not_even_signed(change: dict[str, Any]) -> None:
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
def test_what_is_signed_and_out_of_range_is_refused(field: str, value: object) -> None:
    line = msgspec.json.encode(msgspec.to_builtins(manifest()) | {field: value}, order="sorted")

    with pytest.raises(BadRelease, match="not one that this version can read"):
        file.parse(signed(line), TRUSTED)


@pytest.mark.parametrize("line", [b"", b"{", b"[" * 5000, b"\xff", b'{"v":1e999}', b"1" * 5000])
def test_a_signed_line_that_is_no_manifest_is_refused(line: bytes) -> None:
    with pytest.raises(BadRelease):
        file.parse(signed(line), TRUSTED)


def test_a_manifest_without_an_end_is_not_searched_for_one() -> None:
    with pytest.raises(BadRelease, match="truncated"):
        file.parse(file.MAGIC + b"x" * file.HEAD_LIMIT_BYTES, TRUSTED)


@given(data=st.data())
def test_no_changed_byte_is_taken(data: st.DataObject) -> None:
    head = bytearray(file.sign(manifest(), KEY))
    at = data.draw(st.integers(0, len(head) - 1))
    head[at] ^= data.draw(st.integers(1, 255))

    with pytest.raises(BadRelease):
        file.parse(bytes(head), TRUSTED)


@given(cut=st.integers(0, 500))
def test_no_part_of_it_passes_for_the_whole(cut: int) -> None:
    head = file.sign(manifest(), KEY)

    with pytest.raises(BadRelease):
        file.parse(head[: min(cut, len(head) - 1)], TRUSTED)


@given(tail=st.binary(max_size=300), magic=st.booleans())
def test_any_bytes_are_a_release_or_refused(tail: bytes, *, magic: bool) -> None:
    with pytest.raises(BadRelease):
        file.parse((file.MAGIC if magic else b"") + tail, TRUSTED)


@given(line=st.binary(max_size=200))
def test_any_bytes_that_are_signed_are_a_manifest_or_refused(line: bytes) -> None:
    with pytest.raises(BadRelease):
        file.parse(signed(line), TRUSTED)
