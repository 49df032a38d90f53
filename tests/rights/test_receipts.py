"""What the archive signs is checked by its key, and by openssl."""

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from listener.envelope import keys
from listener.rights import receipts
from listener.rights.hash_chain import LogHead


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def made(key: Ed25519PrivateKey) -> receipts.Receipt:
    return receipts.Receipt(
        kind="erase",
        owner="ada",
        t="2026-11-22T08:00:00.000Z",
        request_sha256="0" * 64,
        clips=("00000000-0000-4000-8000-000000000000",),
        count=1,
        head=LogHead(n=1, hash="1" * 64),
        archive=keys.device_text(key.public_key()),
    )


def test_signed_receipt_round_trip(key: Ed25519PrivateKey) -> None:
    data = json.dumps(receipts.sign(made(key), key)).encode()

    assert receipts.parse_receipt(data, key.public_key()) == made(key)


@pytest.mark.parametrize("damage", ["count", "signer", "signature", "archive"])
def test_changed_receipt_has_a_bad_signature(key: Ed25519PrivateKey, damage: str) -> None:
    other = Ed25519PrivateKey.generate()
    fields = receipts.sign(made(key), other if damage == "signer" else key)
    match damage:
        case "count":
            fields["receipt"]["count"] = 2
        case "signature":
            fields["signature"] = "AAAA"
        case "archive":
            fields["receipt"]["archive"] = keys.device_text(other.public_key())
        case _:
            pass  # signed by another

    with pytest.raises(receipts.BadSignature):
        receipts.parse_receipt(json.dumps(fields).encode(), key.public_key())


@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_raise_one_error(data: bytes) -> None:
    with pytest.raises(receipts.BadSignature):
        receipts.parse_head(data, Ed25519PrivateKey.generate().public_key())


def test_openssl_verifies_a_receipt(key: Ed25519PrivateKey, tmp_path: Path) -> None:
    fields = receipts.sign(made(key), key)
    spelt = json.dumps(fields["receipt"], sort_keys=True, separators=(",", ":"))
    (tmp_path / "m").write_text(spelt, "ascii")
    (tmp_path / "s").write_bytes(base64.b64decode(fields["signature"]))
    (tmp_path / "key.pem").write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )

    words = "pkeyutl -verify -pubin -inkey key.pem -rawin -in m -sigfile s"
    done = subprocess.run(
        ["openssl", *words.split()],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


FILES = {"READ-ME-FIRST.html": "a" * 64, "manifest.jsonl": "b" * 64}


def exported(key: Ed25519PrivateKey) -> dict[str, Any]:
    """``receipt.json`` of an export."""
    return receipts.sign(made(key), key) | receipts.sign_contents(made(key), FILES, key)


def test_signed_contents_round_trip(key: Ed25519PrivateKey) -> None:
    data = json.dumps(exported(key)).encode()

    contents = receipts.parse_contents(data, made(key), key.public_key())

    assert receipts.parse_receipt(data, key.public_key()) == made(key)
    assert contents is not None
    assert contents.files == FILES


def test_receipt_without_contents_is_of_an_older_archive(key: Ed25519PrivateKey) -> None:
    data = json.dumps(receipts.sign(made(key), key)).encode()

    assert receipts.parse_contents(data, made(key), key.public_key()) is None


@pytest.mark.parametrize(
    "damage", ["files", "signature", "no signature", "no contents", "receipt", "signer"]
)
def test_changed_contents_have_a_bad_signature(key: Ed25519PrivateKey, damage: str) -> None:
    fields = exported(key)
    receipt = made(key)
    match damage:
        case "files":
            fields["contents"]["files"]["READ-ME-FIRST.html"] = "c" * 64
        case "signature":
            fields["contents_signature"] = fields["signature"]
        case "no signature":
            del fields["contents_signature"]
        case "no contents":
            del fields["contents"]
        case "receipt":
            receipt = msgspec.structs.replace(receipt, count=2)
        case _:
            fields |= receipts.sign_contents(receipt, FILES, Ed25519PrivateKey.generate())

    with pytest.raises(receipts.BadSignature):
        receipts.parse_contents(json.dumps(fields).encode(), receipt, key.public_key())


def test_receipt_with_a_name_twice_is_refused(key: Ed25519PrivateKey) -> None:
    """Readers that take the first of two names would see another receipt under the signature."""
    text = json.dumps(exported(key))
    count = '"count": 1'
    assert count in text

    for twice in (
        '{"receipt": {}, ' + text[1:],
        text.replace(count, f'"count": 2, {count}'),
    ):
        with pytest.raises(receipts.BadSignature):
            receipts.parse_receipt(twice.encode(), key.public_key())
