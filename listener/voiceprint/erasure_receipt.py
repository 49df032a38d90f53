"""Receipt for an erased voiceprint, signed by the speaker that erased it. Pure."""

import base64
import binascii
from typing import Annotated, Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta

from listener import strict_json
from listener.envelope import keys
from listener.envelope.format import Moment, Sha256, ShortName
from listener.errors import ConfigError, EarmarkError

_CONTEXT: Final = b"EARMARK/VOICEPRINT-ERASED/1\n"


class ErasureReceipt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a speaker erased, and when."""

    v: Literal[1] = 1
    owner: ShortName
    sha256: Sha256 | None
    """SHA-256 of the erased file; None if it could not be read."""
    t: Moment
    device: str
    """Public key of the speaker, ``ed25519:…``."""

    def signed_bytes(self) -> bytes:
        """Return the bytes that the speaker signs."""
        return _CONTEXT + msgspec.json.encode(self, order="sorted")


class _SignedReceipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    receipt: ErasureReceipt
    signature: Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]{86}==\Z")]


def sign_erasure(receipt: ErasureReceipt, key: Ed25519PrivateKey) -> str:
    """Return the receipt as a line of JSON without its end."""
    signature = base64.b64encode(key.sign(receipt.signed_bytes())).decode("ascii")
    return msgspec.json.encode(_SignedReceipt(receipt, signature), order="sorted").decode("ascii")


def parse_erasure(data: bytes) -> ErasureReceipt:
    """Parse a receipt, and verify the signature by the speaker that it names.

    Args:
        data: any bytes are safe.

    Raises:
        EarmarkError: it is not a receipt, or its signature is not valid.
    """
    try:
        signed = strict_json.decode(data, _SignedReceipt)
        key = keys.parse_device(signed.receipt.device)
        key.verify(base64.b64decode(signed.signature), signed.receipt.signed_bytes())
    except (ValueError, binascii.Error, ConfigError) as error:
        raise EarmarkError("this is not a receipt for an erased voiceprint") from error
    except InvalidSignature as error:
        raise EarmarkError("the signature of the receipt is not valid") from error
    return signed.receipt
