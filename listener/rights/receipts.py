"""What the archive signs: receipts for what it did, and the head of its log. Pure, both sides.

The signature is over canonical JSON, as everywhere here, so ``jq -cjS`` and ``openssl`` check it.
"""

import base64
import binascii
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta

from listener.envelope import keys
from listener.envelope.format import ClipId, Moment, Sha256, ShortName
from listener.errors import ConfigError, EarmarkError
from listener.rights.hash_chain import LogHead

_LONGEST_BYTES: Final = 64 << 20
_ArchiveKey = Annotated[str, Meta(max_length=64)]


class Receipt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the archive says it did for an owner."""

    v: Literal[1] = 1
    kind: Literal["erase", "export"]
    owner: ShortName
    t: Moment
    request_sha256: Sha256
    clips: tuple[ClipId, ...] = ()
    """For ``erase``: the ids that went."""
    count: Annotated[int, Meta(ge=0)]
    manifest_sha256: Sha256 | None = None
    """For ``export``: of the list that lies beside it."""
    head: LogHead
    """Where the log ended with this request's row in it."""
    archive: _ArchiveKey


class SignedHead(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the log ends, for everyone to hold."""

    kind: Literal["head"] = "head"
    n: Annotated[int, Meta(ge=0)]
    hash: Sha256
    t: Moment
    archive: _ArchiveKey

    def unsigned(self) -> LogHead:
        """Return it without who says so."""
        return LogHead(n=self.n, hash=self.hash)


class BadSignature(EarmarkError):
    """It is not what this archive signed: believe nothing of it."""


def sign(what: Receipt | SignedHead, key: Ed25519PrivateKey) -> dict[str, Any]:
    """Return JSON's fields with the signature beside them."""
    name = "receipt" if isinstance(what, Receipt) else "head"
    signature = base64.b64encode(key.sign(canonical(what))).decode("ascii")
    return {name: msgspec.to_builtins(what), "signature": signature}


def canonical(what: Receipt | SignedHead) -> bytes:
    """Return the bytes that are signed."""
    return msgspec.json.encode(what, order="sorted")


def parse_receipt(data: bytes, key: Ed25519PublicKey) -> Receipt:
    """Read and check a receipt.

    Args:
        data: JSON with ``receipt`` and ``signature``.
        key: the archive's, known from elsewhere.

    Raises:
        Forged: it is none, or another key signed it.
    """
    return _parse(data, "receipt", Receipt, key)


def parse_head(data: bytes, key: Ed25519PublicKey) -> SignedHead:
    """Read and check a published head; see ``parse_receipt``.

    Raises:
        Forged: it is none, or another key signed it.
    """
    return _parse(data, "head", SignedHead, key)


_Signed = TypeVar("_Signed", Receipt, SignedHead)


def _parse(data: bytes, name: str, kind: type[_Signed], key: Ed25519PublicKey) -> _Signed:
    if len(data) > _LONGEST_BYTES:
        raise BadSignature(f"the {name} is longer than {_LONGEST_BYTES} bytes")
    try:
        fields = msgspec.json.decode(data, type=dict[str, Any])
        what = msgspec.convert(fields.get(name), kind)
        signature = base64.b64decode(str(fields.get("signature")), validate=True)
        if keys.parse_device(what.archive).public_bytes_raw() != key.public_bytes_raw():
            raise BadSignature(f"the {name} names another archive's key")
        key.verify(signature, canonical(what))
    except (ValueError, RecursionError, binascii.Error, ConfigError) as error:
        raise BadSignature(f"this is not a valid {name}") from error
    except InvalidSignature as error:
        raise BadSignature(f"the signature of the {name} is not valid") from error
    return what
