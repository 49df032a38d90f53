"""What is said when somebody joins: the line that invites, the request, the answer. Pure.

The line is carried by a person and holds where to ask, the fingerprint of who must answer, and a
token that counts once. Secret keys are made by whoever joins and never travel.

The file by which a speaker without keyboard joins: put on its card, and taken in from there.

What takes it in is ``earmark first-boot``; docs/guides/first-boot.md has the whole road.
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

from listener.envelope import keys
from listener.envelope.format import Sha256
from listener.errors import EarmarkError, Unavailable, UsageError
from listener.household import identity
from listener.household.identity import HouseholdIdentity
from listener.owner.records import Owner
from listener.storage.atomic import PUBLIC_MODE, create_file, sync_folder

PREFIX: Final = "earmark-join-1:"
LONGEST_BYTES: Final = 16 << 10
"""Of a request or an answer; both are a few hundred."""
_LONGEST_LINE: Final = 2048
_CONTEXT: Final = b"EARMARK/JOIN/1\n"


class _JoinMessage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that crosses between two machines; unknown fields are refused."""


_Any = TypeVar("_Any", bound=_JoinMessage)


class Invitation(_JoinMessage, frozen=True, kw_only=True):
    """The line, unfolded."""

    cn: str
    host: Annotated[str, Meta(min_length=1, max_length=253)]
    port: Annotated[int, Meta(ge=1, le=65535)]
    fingerprint: Sha256
    """SHA-256 of the certificate that must answer there."""
    token: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{22,64}\Z")]
    archive: Annotated[str, Meta(max_length=64)]
    """With what the archive signs receipts and the head of its log, ``ed25519:…``. A person
    carries it here, so that the first thing the archive ever says can be checked."""

    @property
    def archive_key(self) -> Ed25519PublicKey:
        """The same, as a key.

        Raises:
            ConfigError: it is none.
        """
        return keys.parse_device(self.archive)

    @property
    def identity(self) -> HouseholdIdentity:
        """Who is invited."""
        return identity.parse(self.cn)

    def line(self) -> str:
        """Return it as people carry it."""
        packed = base64.urlsafe_b64encode(msgspec.json.encode(self)).decode("ascii")
        return PREFIX + packed.rstrip("=")


class JoinRequest(_JoinMessage, frozen=True, kw_only=True):
    """What a guest sends."""

    v: Literal[1] = 1
    token: Annotated[str, Meta(max_length=64)]
    csr: Annotated[str, Meta(max_length=4096)]
    """Certificate signing request in PEM; of it only the key counts."""
    device_key: Annotated[str, Meta(max_length=128)] | None = None
    """With what a device signs envelopes, ``ed25519:…``."""
    proof: Annotated[str, Meta(max_length=128)] | None = None
    """Signature by ``device_key`` over the request's key, base64."""


class JoinAnswer(_JoinMessage, frozen=True, kw_only=True, omit_defaults=True):
    """What the household says to it."""

    v: Literal[1] = 1
    refused: Annotated[str, Meta(max_length=256)] = ""
    ca: Annotated[str, Meta(max_length=4096)] = ""
    certificate: Annotated[str, Meta(max_length=4096)] = ""
    broker_host: Annotated[str, Meta(max_length=253)] = ""
    broker_port: Annotated[int, Meta(ge=0, le=65535)] = 0


def parse_line(text: str) -> Invitation:
    """Read the line that invites.

    Args:
        text: as pasted; white space within it, as a terminal's wrapping leaves it, does not count.

    Raises:
        UsageError: it is none. The message does not repeat it: it holds a secret.
    """
    line = "".join(text.split())
    wrong = UsageError(
        "this is no invitation",
        f"it is one line that begins with {PREFIX} and was printed by earmark household",
    )
    if not line.startswith(PREFIX) or len(line) > _LONGEST_LINE:
        raise wrong
    packed = line.removeprefix(PREFIX)
    try:
        data = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
        invitation = msgspec.json.decode(data, type=Invitation)
        _ = invitation.identity, invitation.archive_key
    except (ValueError, RecursionError, EarmarkError, binascii.Error) as error:
        raise wrong from error
    return invitation


def build_request(
    token: str, key: ec.EllipticCurvePrivateKey, signer: Ed25519PrivateKey | None
) -> JoinRequest:
    """Ask for a certificate.

    Args:
        token: from the line.
        key: for TLS.
        signer: a device's key for envelopes; None for who seals none.
    """
    # The subject is empty on purpose: who it is for, the household knows by the token.
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
    """Read a request from bytes of any origin.

    Raises:
        EarmarkError: they are none. Nothing else is raised.
    """
    return _decode(data, JoinRequest)


def decode_answer(data: bytes) -> JoinAnswer:
    """Read an answer from bytes of any origin.

    Raises:
        EarmarkError: they are none. Nothing else is raised.
    """
    return _decode(data, JoinAnswer)


def verify_request(request: JoinRequest) -> tuple[ec.EllipticCurvePublicKey, str | None]:
    """Return the key to sign and the device's key, each proved by its holder's signature.

    Raises:
        EarmarkError: something is no key, or not proved. Nothing else is raised.
    """
    try:
        csr = x509.load_pem_x509_csr(request.csr.encode("ascii"))
        public = csr.public_key()
        if (
            not csr.is_signature_valid
            or not isinstance(public, ec.EllipticCurvePublicKey)
            or not isinstance(public.curve, ec.SECP256R1)
        ):
            raise ValueError("not proved")  # noqa: TRY301 - every fault is told in one place
        if request.device_key is None:
            return public, None
        signer = keys.parse_device(request.device_key)
        proof = base64.b64decode(request.proof or "", validate=True)
        signer.verify(proof, _CONTEXT + csr.public_bytes(serialization.Encoding.DER))
    except (ValueError, TypeError, EarmarkError, InvalidSignature) as error:
        raise EarmarkError("a key of this request is not proved") from error
    return public, keys.device_text(signer)


def fingerprint_of_pem(pem: bytes) -> str:
    """Return the same of a certificate in PEM."""
    certificate = x509.load_pem_x509_certificate(pem)
    return fingerprint(certificate.public_bytes(serialization.Encoding.DER))


def fingerprint(der: bytes) -> str:
    """Return what a line says of the certificate that must answer."""
    return hashlib.sha256(der).hexdigest()


def _decode(data: bytes, kind: type[_Any]) -> _Any:
    try:
        if len(data) > LONGEST_BYTES:
            raise ValueError("too long")  # noqa: TRY301 - every fault is told in one place
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError) as error:
        raise EarmarkError("what was said is not how one joins") from error


NAME: Final = "earmark.toml"


def card_text(line: str, keeper: Owner | None) -> str:
    """Return what the file says.

    Args:
        line: invites the speaker.
        keeper: whose clips it is to make, once she has proved her key to it.
    """
    text = f'[household]\nline = "{line}"\n'
    if keeper is not None:
        # From the roster and not retyped: what is proved again there is a slip less here.
        text += f'\n[owner]\nname = "{keeper.name}"\nkey = "{keeper.recipient}"\n'
    return text


def check_card(folder: Path) -> None:
    """See that a card is there, and that nothing on it is in the way.

    Raises:
        UsageError: it is not so.
    """
    if not folder.is_dir():
        raise UsageError(
            f"there is no folder {folder}", "the card's boot partition, where it is mounted"
        )
    if (folder / NAME).exists():
        raise UsageError(
            f"{folder / NAME} is there already", "remove it, or add to it by hand what it lacks"
        )


def write_card(folder: Path, text: str) -> None:
    """Write the file, so that the card can be pulled out afterwards.

    Raises:
        Unavailable: it cannot be written.
    """
    try:
        # The partition is FAT, which has no hard links and so no write_once.
        with create_file(folder / NAME, PUBLIC_MODE) as file:
            file.write(text.encode("utf-8"))
        sync_folder(folder)
    except OSError as error:
        raise Unavailable(f"cannot write {folder / NAME}: {error.strerror}") from error
