"""Messages of joining a household: invitation line, request, answer, and the file on a boot card.

A person carries the invitation line to the machine that joins. The line holds the address of the
join server, the fingerprint of its certificate, and a token that is valid once. The joining
machine generates its own secret keys; they are never sent. A speaker without a keyboard gets the
line in a file on its boot card, which ``earmark first-boot`` reads (docs/guides/first-boot.md).
Only `check_card` and `write_card` touch the disk.
"""

import base64
import binascii
import hashlib
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta

from listener import strict_json
from listener.config import BrokerAddress
from listener.envelope import keys
from listener.envelope.format import Sha256
from listener.errors import EarmarkError, Unavailable, UsageError
from listener.household import identity
from listener.household.identity import HouseholdIdentity
from listener.owner.records import Owner
from listener.storage.atomic import PUBLIC_MODE, create_file, sync_folder

PREFIX: Final = "earmark-join-1:"
LONGEST_BYTES: Final = 16 << 10
"""Longest request or answer in bytes; both usually have a few hundred."""
NAME: Final = "earmark.toml"
"""File on the boot card."""
_LONGEST_LINE: Final = 2048
_CONTEXT: Final = b"EARMARK/JOIN/1\n"


class _JoinMessage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Message between two machines; unknown fields are refused."""


_Any = TypeVar("_Any", bound=_JoinMessage)


class Invitation(_JoinMessage, frozen=True, kw_only=True):
    """Contents of an invitation line."""

    cn: str
    host: Annotated[str, Meta(min_length=1, max_length=253)]
    port: Annotated[int, Meta(ge=1, le=65535)]
    fingerprint: Sha256
    """SHA-256 of the join server's certificate in DER, hex."""
    token: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{22,64}\Z")]
    archive: Annotated[str, Meta(max_length=64)]
    """Key with which the archive signs receipts and log heads, ``ed25519:…``. It comes with the
    line, so that the first answer of the archive can be verified."""

    @property
    def archive_key(self) -> Ed25519PublicKey:
        """The archive's key, parsed.

        Raises:
            ConfigError: ``archive`` is not a key.
        """
        return keys.parse_device(self.archive)

    @property
    def identity(self) -> HouseholdIdentity:
        """Identity that is invited."""
        return identity.parse(self.cn)

    def line(self) -> str:
        """Return the line: `PREFIX` and JSON in base64url without padding (RFC 4648)."""
        packed = base64.urlsafe_b64encode(msgspec.json.encode(self)).decode("ascii")
        return PREFIX + packed.rstrip("=")


class JoinRequest(_JoinMessage, frozen=True, kw_only=True):
    """Request of a joining machine."""

    v: Literal[1] = 1
    token: Annotated[str, Meta(max_length=64)]
    csr: Annotated[str, Meta(max_length=4096)]
    """Certificate signing request in PEM; only its key is used."""
    device_key: Annotated[str, Meta(max_length=128)] | None = None
    """Key with which a device signs envelopes, ``ed25519:…``."""
    proof: Annotated[str, Meta(max_length=128)] | None = None
    """Signature by ``device_key`` over the request's key, base64."""


class JoinAnswer(_JoinMessage, frozen=True, kw_only=True, omit_defaults=True):
    """Answer of the join server."""

    v: Literal[1] = 1
    refused: Annotated[str, Meta(max_length=256)] = ""
    ca: Annotated[str, Meta(max_length=4096)] = ""
    certificate: Annotated[str, Meta(max_length=4096)] = ""
    broker_host: Annotated[str, Meta(max_length=253)] = ""
    broker_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    brokers: Annotated[tuple[BrokerAddress, ...], Meta(max_length=8)] = ()
    """Addresses of all brokers, where the household has several, as in ``broker.hosts``."""


def parse_line(text: str) -> Invitation:
    """Parse an invitation line.

    Args:
        text: as pasted; white space, such as a terminal's line breaks, is ignored.

    Raises:
        UsageError: the text is not an invitation. The message does not repeat it, since it holds
            a secret.
    """
    line = "".join(text.split())
    wrong = UsageError(
        "this is not an invitation",
        f"copy the whole line that begins with {PREFIX}, as earmark household printed it",
    )
    if not line.startswith(PREFIX) or len(line) > _LONGEST_LINE:
        raise wrong
    packed = line.removeprefix(PREFIX)
    try:
        data = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
        invitation = strict_json.decode(data, Invitation)
        _ = invitation.identity, invitation.archive_key
    except (ValueError, RecursionError, EarmarkError, binascii.Error) as error:
        raise wrong from error
    return invitation


def build_request(
    token: str, key: ec.EllipticCurvePrivateKey, signer: Ed25519PrivateKey | None
) -> JoinRequest:
    """Build a request for a certificate.

    Args:
        token: from the invitation.
        key: TLS key to be signed.
        signer: a device's key for envelopes; None for an owner, who seals none.
    """
    # The subject is empty on purpose: the token determines the identity.
    csr = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, hashes.SHA256())
    request = JoinRequest(token=token, csr=csr.public_bytes(serialization.Encoding.PEM).decode())
    if signer is None:
        return request
    signature = signer.sign(_CONTEXT + csr.public_bytes(serialization.Encoding.DER))
    return msgspec.structs.replace(
        request,
        device_key=keys.device_text(signer.public_key()),
        proof=base64.b64encode(signature).decode("ascii"),
    )


def decode_request(data: bytes) -> JoinRequest:
    """Decode a request from untrusted bytes.

    Raises:
        EarmarkError: the bytes are not a request. Nothing else is raised.
    """
    return _decode(data, JoinRequest)


def decode_answer(data: bytes) -> JoinAnswer:
    """Decode an answer from untrusted bytes.

    Raises:
        EarmarkError: the bytes are not an answer. Nothing else is raised.
    """
    return _decode(data, JoinAnswer)


def verify_request(request: JoinRequest) -> tuple[ec.EllipticCurvePublicKey, str | None]:
    """Return the TLS key and the device's key after verifying a signature made with each.

    Raises:
        EarmarkError: a key or a signature is not valid. Nothing else is raised.
    """
    try:
        csr = x509.load_pem_x509_csr(request.csr.encode("ascii"))
        public = csr.public_key()
        if (
            not csr.is_signature_valid
            or not isinstance(public, ec.EllipticCurvePublicKey)
            or not isinstance(public.curve, ec.SECP256R1)
        ):
            raise ValueError("not proved")  # noqa: TRY301 - every fault is reported in one place
        if request.device_key is None:
            return public, None
        signer = keys.parse_device(request.device_key)
        proof = base64.b64decode(request.proof or "", validate=True)
        signer.verify(proof, _CONTEXT + csr.public_bytes(serialization.Encoding.DER))
    except (ValueError, TypeError, EarmarkError, InvalidSignature) as error:
        raise EarmarkError("a key in this request has no valid signature") from error
    return public, keys.device_text(signer)


def fingerprint_of_pem(pem: bytes) -> str:
    """Return the fingerprint of a certificate in PEM; see `fingerprint`."""
    certificate = x509.load_pem_x509_certificate(pem)
    return fingerprint(certificate.public_bytes(serialization.Encoding.DER))


def fingerprint(der: bytes) -> str:
    """Return the SHA-256 of a certificate in DER, as hex."""
    return hashlib.sha256(der).hexdigest()


def card_text(line: str, keeper: Owner | None) -> str:
    """Return the file for a boot card.

    Args:
        line: invitation line of the speaker.
        keeper: owner of the clips, once they have confirmed their key on the speaker; or None.
    """
    text = f'[household]\nline = "{line}"\n'
    if keeper is not None:
        # Taken from the roster, so that the key is not retyped.
        text += f'\n[owner]\nname = "{keeper.name}"\nkey = "{keeper.recipient}"\n'
    return text


def check_card(folder: Path) -> None:
    """Check that the folder of a card exists and has no such file yet.

    Raises:
        UsageError: the folder does not exist, or has the file already.
    """
    if not folder.is_dir():
        raise UsageError(
            f"there is no folder {folder}", "name the folder where the boot partition is mounted"
        )
    if (folder / NAME).exists():
        raise UsageError(
            f"{folder / NAME} exists already", "remove it, or add the missing lines by hand"
        )


def write_card(folder: Path, text: str) -> None:
    """Write the file and sync it, so that the card can be removed.

    Raises:
        Unavailable: the file cannot be written.
    """
    try:
        # The partition is FAT, which has no hard links and so no write_once.
        with create_file(folder / NAME, PUBLIC_MODE) as file:
            file.write(text.encode("utf-8"))
        sync_folder(folder)
    except OSError as error:
        raise Unavailable(f"cannot write {folder / NAME}: {error.strerror}") from error


def _decode(data: bytes, kind: type[_Any]) -> _Any:
    try:
        if len(data) > LONGEST_BYTES:
            raise ValueError("too long")  # noqa: TRY301 - every fault is reported in one place
        return strict_json.decode(data, kind)
    except ValueError as error:
        raise EarmarkError("this is not a join message") from error
