"""Signed documents have one reading: a document that two readers could read differently is refused.

In the same document one JSON reader takes the first of two equal names and another the last. Every
parser of such a document refuses it at each name, or accepts one spelling only.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.audio.clip import encode_clip
from listener.clips import exports
from listener.envelope import format as form
from listener.envelope import keys
from listener.envelope.open import open_envelope, parse_identities
from listener.envelope.seal import seal
from listener.errors import BadEnvelope, EarmarkError
from listener.household import ca, invitation
from listener.mqtt import retention, sequence
from listener.release import file as release
from listener.rights import hash_chain, receipts, requests
from tests.audio.test_flac import samples_of
from tests.conftest import PRIVATE_FIELDS
from tests.household.test_invitation import INVITED, TOKEN
from tests.mqtt import test_retention, test_sequence
from tests.release import test_file
from tests.rights.test_hash_chain import made as made_log
from tests.rights.test_receipts import FILES
from tests.rights.test_receipts import made as made_receipt
from tests.test_docs import ROOT

Parse = Callable[[bytes], object]

KEY = Ed25519PrivateKey.generate()
DEVICE = Ed25519PrivateKey.generate()
IDENTITY = pyrage.x25519.Identity.generate()
RECIPIENT = str(IDENTITY.to_public())
HEADER = form.PublicHeader(
    clip="7b0c38cc-8b6c-4f43-9d3a-0d5a4ad4e1f1",
    device="hall",
    dkey=keys.device_id(DEVICE.public_key()),
    owner="ada",
    okey=keys.owner_id(RECIPIENT),
    seq=7,
    t="2026-11-22T08:00:00.123Z",
    ttl_s=86_400,
)
HEAD = receipts.SignedHead(
    n=1, hash="1" * 64, t="2026-11-22T08:00:00.000Z", archive=keys.device_text(KEY.public_key())
)


def dumped(fields: object) -> bytes:
    return json.dumps(fields).encode()


def signed_envelope(header: bytes) -> bytes:
    """An envelope whose header line is not checked by the signer, signed by its device."""
    ciphertext = pyrage.encrypt(b"x", [IDENTITY.to_public()])
    return signed_parts(header, ciphertext)


def signed_parts(header: bytes, ciphertext: bytes) -> bytes:
    content = form.canonical_json(
        form.Seal(bytes=len(ciphertext), sha256=hashlib.sha256(ciphertext).hexdigest())
    )
    signed = form.MAGIC + header + b"\n" + content + b"\n"
    return signed + base64.b64encode(DEVICE.sign(signed)) + b"\n" + ciphertext


def parse_retention(data: bytes) -> object:
    limit = retention.parse(data, test_retention.verify)
    if limit is None:
        raise ValueError("refused")
    return limit


def parse_sequence(data: bytes) -> object:
    stated = sequence.parse(data, test_sequence.verify)
    if stated is None:
        raise ValueError("refused")
    return stated


def parse_contents(data: bytes) -> object:
    contents = receipts.parse_contents(data, made_receipt(KEY), KEY.public_key())
    assert contents is not None
    return contents


def parse_log(data: bytes) -> object:
    lines = exports.parse_lines(iter([data]))
    return hash_chain.verify_chain(map(hash_chain.parse_row, lines))


def invited(data: bytes) -> object:
    return invitation.parse_line(invitation.PREFIX + base64.urlsafe_b64encode(data).decode())


DOCUMENTS: dict[str, tuple[bytes, Parse]] = {
    "header": (
        form.canonical_json(HEADER),
        lambda data: form.parse_envelope(signed_envelope(data)),
    ),
    "comment": (form.build_comment(HEADER, PRIVATE_FIELDS), form.parse_comment),
    "seal": (
        form.canonical_json(form.Seal(bytes=1, sha256="0" * 64)),
        lambda data: form.read_fields(data, form.Seal, "seal"),
    ),
    "receipt": (
        dumped(receipts.sign(made_receipt(KEY), KEY)),
        lambda data: receipts.parse_receipt(data, KEY.public_key()),
    ),
    "contents": (
        dumped(receipts.sign_contents(made_receipt(KEY), FILES, KEY)),
        parse_contents,
    ),
    "head": (
        dumped(receipts.sign(HEAD, KEY)),
        lambda data: receipts.parse_head(data, KEY.public_key()),
    ),
    "retention": (
        retention.encode(test_retention.TERM, test_retention.KEY.sign),
        parse_retention,
    ),
    "accepted sequence": (
        sequence.encode(test_sequence.STATED, test_sequence.ARCHIVE.sign),
        parse_sequence,
    ),
    "release": (
        msgspec.json.encode(test_file.manifest(), order="sorted"),
        lambda data: release.parse(test_file.signed(data), test_file.TRUSTED),
    ),
    "invitation": (msgspec.json.encode(INVITED), invited),
    "join request": (
        msgspec.json.encode(invitation.build_request(TOKEN, ca.new_key(), DEVICE)),
        invitation.decode_request,
    ),
    "join answer": (dumped({"v": 1}), invitation.decode_answer),
    "request": (
        dumped({"owner": "ada", "request": {"op": "erase", "all": True, "device": "hall"}}),
        requests.parse,
    ),
    "row of the log": (dumped(made_log(1)[0]), parse_log),
}


def twice(data: bytes) -> list[bytes]:
    """The document with each of its names a second time, before it and with another value."""
    text = data.decode()
    return [
        (text[: match.start()] + f"{match[1]}:0," + text[match.start() :]).encode()
        for match in re.finditer(r'(?<=[{,])\s*("[^"\\]+")\s*:', text)
    ]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_document_with_a_name_twice_is_refused(name: str) -> None:
    data, parse = DOCUMENTS[name]
    parse(data)
    variants = twice(data)

    assert variants
    for variant in variants:
        json.loads(variant)  # a reader that takes the last sees the document
        with pytest.raises((EarmarkError, ValueError)):
            parse(variant)


def test_row_of_the_log_with_another_hash_of_its_body_is_refused() -> None:
    """Some readers take the body, others its hash."""
    row: dict[str, Any] = made_log(1)[0]
    right = hash_chain.parse_row(row).body_sha256

    assert hash_chain.parse_row(row | {"body_sha256": right}) == hash_chain.parse_row(row)
    with pytest.raises(hash_chain.BrokenChain, match="another hash"):
        hash_chain.parse_row(row | {"body_sha256": "0" * 64})


def open_own(data: bytes) -> object:
    return open_envelope(
        data,
        parse_identities(f"{IDENTITY}\n".encode(), "a test key"),
        {"hall": DEVICE.public_key()},
        {"ada": RECIPIENT},
    )


def test_ciphertext_has_nothing_behind_its_last_chunk() -> None:
    """A device that was taken over signs what age readers might skip."""
    whole = seal(
        HEADER,
        PRIVATE_FIELDS,
        lambda text: encode_clip(samples_of("hum", 4000), text),
        RECIPIENT,
        DEVICE,
    )
    header, ciphertext = form.canonical_json(HEADER), whole.split(b"\n", 4)[4]

    open_own(signed_parts(header, ciphertext))
    for changed in (ciphertext + b"x", ciphertext + ciphertext, ciphertext[:-1]):
        with pytest.raises(BadEnvelope):
            open_own(signed_parts(header, changed))


@pytest.mark.parametrize(
    "stanza",
    [
        b"-> hidden a\nAAAA\n",
        b"-> X25519-grease AAAA\n"
        + b"A" * 64
        + b"\n"
        + b"A" * 64
        + b"\n"
        + b"A" * 64
        + b"\nAAAA\n",
        b"-> ssh-ed25519 AAAA AAAA\nAAAA\n",
        b"-> a-grease a b c d e\nAAAA\n",
    ],
)
def test_age_file_has_no_stanza_of_another_kind(stanza: bytes) -> None:
    ciphertext = bytes(pyrage.encrypt(b"x", [IDENTITY.to_public()]))
    recipient = ciphertext[: ciphertext.index(b"\n", ciphertext.index(b"-> X25519") + 60) + 1]
    rest = ciphertext[ciphertext.index(b"--- ") :]

    form.check_age(recipient + rest)
    with pytest.raises(BadEnvelope):
        form.check_age(recipient + stanza + rest)


def test_no_other_parser_of_signed_json_is_lenient() -> None:
    """A module that checks signatures and decodes JSON belongs in the list above."""
    reviewed = {
        "listener/send/inbound.py",  # its own file; statements by mqtt/signed_statement.py
        "listener/voice/messages.py",  # refuses what it would not write byte for byte
        "listener/voiceprint/record.py",  # the same
    }
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "listener").rglob("*.py")
        if re.search(r"InvalidSignature|hmac_sha256\(", text := Path(path).read_text("utf-8"))
        and re.search(r"(?<!strict_)json\.(decode|loads?)\(", text)
    }

    assert found == reviewed
