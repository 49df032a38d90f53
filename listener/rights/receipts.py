"""Signed statements of the archive: receipts and heads of its log. Pure, for both sides.

The Ed25519 signature is over canonical JSON, so that ``jq -cjS`` and ``openssl`` can verify it.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta

from listener import digests, strict_json
from listener.envelope import keys
from listener.envelope.format import ClipId, Moment, Sha256, ShortName
from listener.errors import ConfigError, EarmarkError
from listener.rights.hash_chain import LogHead

_LONGEST_BYTES: Final = 64 << 20
_ArchiveKey = Annotated[str, Meta(max_length=64)]


class Receipt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A receipt: the archive's signed statement of what it did for an owner."""

    v: Literal[1] = 1
    kind: Literal["erase", "export"]
    owner: ShortName
    t: Moment
    request_sha256: Sha256
    clips: tuple[ClipId, ...] = ()
    """Ids of the erased clips, for ``erase``."""
    count: Annotated[int, Meta(ge=0)]
    manifest_sha256: Sha256 | None = None
    """SHA-256 of the exported manifest, for ``export``."""
    head: LogHead
    """Head of the log after this request's row."""
    archive: _ArchiveKey


class SignedHead(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The head of the log as the archive publishes it."""

    kind: Literal["head"] = "head"
    n: Annotated[int, Meta(ge=0)]
    hash: Sha256
    t: Moment
    archive: _ArchiveKey

    def unsigned(self) -> LogHead:
        """Return the head without time and archive."""
        return LogHead(n=self.n, hash=self.hash)


class ExportContents(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The archive's signed statement of the files of an export, beside its receipt.

    It is a statement of its own because clients before it accept no further field in a receipt.
    """

    kind: Literal["contents"] = "contents"
    receipt_sha256: Sha256
    """SHA-256 of the canonical receipt."""
    files: dict[str, Sha256]
    """SHA-256 by name, of each file but the clips, which the manifest lists, and the receipt."""
    archive: _ArchiveKey


class BadSignature(EarmarkError):
    """A statement without a valid signature of this archive; use nothing of it."""


_Signed = TypeVar("_Signed", Receipt, SignedHead, ExportContents)


def sign(statement: Receipt | SignedHead, key: Ed25519PrivateKey) -> dict[str, Any]:
    """Return the fields of the JSON message: the statement and its signature."""
    name = "receipt" if isinstance(statement, Receipt) else "head"
    signature = base64.b64encode(key.sign(canonical(statement))).decode("ascii")
    return {name: msgspec.to_builtins(statement), "signature": signature}


def sign_contents(
    receipt: Receipt, files: Mapping[str, str], key: Ed25519PrivateKey
) -> dict[str, Any]:
    """Return the fields that ``receipt.json`` of an export has beside ``sign``'s.

    Args:
        receipt: the receipt of this export.
        files: SHA-256 in hex by name; see ``ExportContents``.
        key: the archive's key.
    """
    contents = ExportContents(
        receipt_sha256=digests.sha256(canonical(receipt)).hex(),
        files=dict(files),
        archive=receipt.archive,
    )
    signature = base64.b64encode(key.sign(canonical(contents))).decode("ascii")
    return {"contents": msgspec.to_builtins(contents), "contents_signature": signature}


def canonical(statement: Receipt | SignedHead | ExportContents) -> bytes:
    """Return the signed bytes: canonical JSON."""
    return msgspec.json.encode(statement, order="sorted")


def parse_receipt(data: bytes, key: Ed25519PublicKey) -> Receipt:
    """Parse and verify a receipt.

    Args:
        data: JSON with ``receipt`` and ``signature``; any bytes are safe.
        key: public key of the archive, known from another source.

    Raises:
        BadSignature: the bytes are not a receipt, or another key signed it.
    """
    return _parse(data, "receipt", Receipt, key)


def parse_head(data: bytes, key: Ed25519PublicKey) -> SignedHead:
    """Parse and verify a published head; see ``parse_receipt``.

    Raises:
        BadSignature: the bytes are not a head, or another key signed it.
    """
    return _parse(data, "head", SignedHead, key)


def parse_contents(data: bytes, receipt: Receipt, key: Ed25519PublicKey) -> ExportContents | None:
    """Parse and verify the statement of an export's files; see ``parse_receipt``.

    Args:
        data: JSON of ``receipt.json``.
        receipt: the verified receipt in it.
        key: public key of the archive.

    Returns:
        None if an archive before this statement made the export.

    Raises:
        BadSignature: it is not such a statement, it is for another export, or another key signed
            it.
    """
    fields = _decode(data, "receipt")
    if "contents" not in fields and "contents_signature" not in fields:
        return None
    contents = _parse(data, "contents", ExportContents, key, "contents_signature")
    if contents.receipt_sha256 != digests.sha256(canonical(receipt)).hex():
        raise BadSignature("the list of files is of another export than the receipt")
    return contents


def _parse(
    data: bytes,
    name: str,
    kind: type[_Signed],
    key: Ed25519PublicKey,
    signature_name: str = "signature",
) -> _Signed:
    if len(data) > _LONGEST_BYTES:
        raise BadSignature(f"the {name} is longer than {_LONGEST_BYTES} bytes")
    fields = _decode(data, name)
    try:
        statement = msgspec.convert(fields.get(name), kind)
        signature = base64.b64decode(str(fields.get(signature_name)), validate=True)
        if keys.parse_device(statement.archive).public_bytes_raw() != key.public_bytes_raw():
            raise BadSignature(f"the {name} names another archive's key")
        key.verify(signature, canonical(statement))
    except (ValueError, RecursionError, binascii.Error, ConfigError) as error:
        raise BadSignature(f"this is not a valid {name}") from error
    except InvalidSignature as error:
        raise BadSignature(f"the signature of the {name} is not valid") from error
    return statement


def _decode(data: bytes, name: str) -> dict[str, Any]:
    """Decode a JSON object; a name that occurs twice in any object is refused.

    Two readers could take different ones of them, each under the same signature.
    """
    try:
        return strict_json.decode_object(data)
    except ValueError as error:
        raise BadSignature(f"this is not a valid {name}") from error
