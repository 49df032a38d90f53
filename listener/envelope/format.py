"""The envelope's format: header, private fields, canonical JSON and the age file inside.

``docs/reference/envelope.md`` is the specification; this module is its grammar. Parsing refuses
everything that it would not have written itself: a missing or unknown field, a value out of its
range, another spelling of the same JSON. A parsed envelope is well formed; ``verify`` checks its
signature.

Canonical JSON gives each value one spelling, so that the signer and the verifier see the same
bytes: sorted keys, no spaces, ASCII, and fractions with 1 to 4 decimals.

The ciphertext is an age file (https://age-encryption.org/v1); this module checks its recipients
and its length from outside and cannot decrypt it.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from listener.errors import BadEnvelope

MAGIC: Final = b"EARMARK/1\n"
HEADER_LIMIT_BYTES: Final = 2048
SEAL_LIMIT_BYTES: Final = 128
SIGNATURE_BASE64_BYTES: Final = 88
CIPHERTEXT_LIMIT_BYTES: Final = 1 << 20
PRIVATE_LIMIT_BYTES: Final = 4096
ENVELOPE_LIMIT_BYTES: Final = (
    len(MAGIC)
    + HEADER_LIMIT_BYTES
    + SEAL_LIMIT_BYTES
    + SIGNATURE_BASE64_BYTES
    + 3  # newlines
    + CIPHERTEXT_LIMIT_BYTES
)

# Patterns end in \Z, for $ would let a newline through.
ShortName = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}\Z")]
KeyId = Annotated[str, Meta(pattern=r"^[a-z2-7]{24}\Z")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
ClipId = Annotated[
    str, Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
]
Moment = Annotated[
    str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z\Z")
]

AGE_HEADER_LIMIT_BYTES: Final = 512
AGE_OVERHEAD_BYTES: Final = 32  # a nonce and one tag, even around nothing

# 43 characters are 32 bytes; the last carries two bits that must be zero.
_KEY = rb"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]"
_AGE_HEADER: Final = re.compile(
    rb"age-encryption\.org/v1\n"
    rb"-> X25519 " + _KEY + rb"\n" + _KEY + rb"\n"
    # rage's grease: a type of up to 9 characters, up to 4 arguments, up to 100 bytes.
    rb"(?:-> [!-~]{0,9}-grease(?: [!-~]{1,9}){0,4}\n"
    rb"(?:[A-Za-z0-9+/]{64}\n){0,2}[A-Za-z0-9+/]{0,63}\n)?"
    rb"--- " + _KEY + rb"\n"
)


class Fields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A set of fields with types and ranges; unknown fields are refused."""


_AnyFields = TypeVar("_AnyFields", bound=Fields)


class PublicHeader(Fields, frozen=True, kw_only=True):
    """The public header: readable by everyone who carries the envelope, signed by the device.

    Ranges are checked when a header is parsed or sealed, not when it is constructed.
    """

    v: Literal[1] = 1
    clip: ClipId
    """Id of the clip: UUID version 4, lower case."""
    device: ShortName
    """Name of the device."""
    dkey: KeyId
    """Fingerprint of the device's public key; see ``keys.device_id``."""
    owner: ShortName
    """Name of the owner."""
    okey: KeyId
    """Fingerprint of the owner's public key; see ``keys.owner_id``."""
    seq: Annotated[int, Meta(ge=1, le=999_999_999_999)]
    """Sequence number of the device's clip, never reused: a gap is a missing clip."""
    t: Moment
    """Start of the clip, UTC; see ``format_timestamp``."""
    ttl_s: Annotated[int, Meta(ge=1, le=3650 * 86_400)]
    """Retention in seconds from ``t``; the archive erases the clip after it."""
    codec: Literal["flac"] = "flac"
    """Encoding of the audio."""


class PrivateFields(Fields, frozen=True, kw_only=True):
    """The private fields: encrypted, readable by the owner; floats have at most four decimals."""

    word: ShortName
    """Name of the wake word."""
    model: Sha256
    """SHA-256 of the wake-word model's file."""
    score: Annotated[float, Meta(ge=0, le=1)]
    """Score of the wake, 0 to 1."""
    spk: Annotated[float, Meta(ge=-1, le=1)] | None
    """Similarity to the owner's voiceprint, -1 to 1; None if no voice was compared."""
    pre_ms: Annotated[int, Meta(ge=0, le=60_000)]
    """Part of the clip before the wake, in ms."""
    ms: Annotated[int, Meta(ge=1, le=60_000)]
    """Length of the clip in ms, rounded down."""
    rate: Annotated[int, Meta(ge=8_000, le=48_000)]
    """Sample rate in Hz."""
    end_reason: Annotated[str, Meta(pattern=r"^[a-z-]{1,32}\Z")]
    """Reason for the end of the clip."""
    boot: Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
    """Random id of one run of the hear process; its clips share one clock."""


class Seal(Fields, frozen=True, kw_only=True):
    """The signed length and hash of the ciphertext."""

    bytes: Annotated[int, Meta(ge=1, le=CIPHERTEXT_LIMIT_BYTES)]
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class Envelope:
    """A well-formed envelope; untrusted until ``verify`` has returned it."""

    header: PublicHeader
    seal: Seal
    signed: bytes
    """Lines 1 to 3 with their newlines."""
    signature: bytes
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class SealedLines:
    """The four lines and the ciphertext of any sealed and signed file; nothing is verified."""

    header: bytes
    """Line 2 without its newline."""
    seal: Seal
    signed: bytes
    """Lines 1 to 3 with their newlines."""
    signature: bytes
    ciphertext: bytes


def format_timestamp(moment: datetime) -> str:
    """Return ``moment`` in the format of the header: UTC, RFC 3339 with milliseconds and a Z.

    Args:
        moment: with a time zone.
    """
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_envelope(data: bytes) -> Envelope:
    """Parse an envelope; verify nothing.

    Args:
        data: any bytes are safe.

    Raises:
        BadEnvelope: the bytes are not a well-formed envelope. Nothing else is raised.
    """
    lines = parse_lines(data, MAGIC, ENVELOPE_LIMIT_BYTES)
    return Envelope(
        header=parse_header(lines.header),
        seal=lines.seal,
        signed=lines.signed,
        signature=lines.signature,
        ciphertext=lines.ciphertext,
    )


def parse_lines(data: bytes, magic: bytes, limit_bytes: int) -> SealedLines:
    """Split a sealed file into its lines and its ciphertext; verify nothing.

    Args:
        data: any bytes are safe.
        magic: first line of this kind of file, with its newline.
        limit_bytes: length of the longest file.

    Raises:
        BadEnvelope: the bytes do not have this form. Nothing else is raised.
    """
    if not data.startswith(magic):
        raise BadEnvelope(f"not an {magic.decode().rstrip()} envelope")
    if len(data) > limit_bytes:
        raise BadEnvelope(f"the envelope is longer than {limit_bytes} bytes")
    header_line, after = _line(data, len(magic), HEADER_LIMIT_BYTES, "header")
    seal_line, signed_end = _line(data, after, SEAL_LIMIT_BYTES, "seal")
    signature_line, body = _line(data, signed_end, SIGNATURE_BASE64_BYTES, "signature")
    return SealedLines(
        header=header_line,
        seal=read_fields(seal_line, Seal, "seal"),
        signed=data[:signed_end],
        signature=_signature(signature_line),
        ciphertext=data[body:],
    )


def parse_header(line: bytes) -> PublicHeader:
    """Parse a public header.

    Args:
        line: canonical JSON without its newline.

    Raises:
        BadEnvelope: the line is not a public header in canonical JSON.
    """
    if len(line) > HEADER_LIMIT_BYTES:
        raise BadEnvelope("the header is too long")
    header = read_fields(line, PublicHeader, "header")
    try:
        datetime.fromisoformat(header.t)
    except ValueError as error:
        raise BadEnvelope("the header has a time that does not exist") from error
    return header


def parse_comment(text: bytes) -> tuple[PublicHeader, PrivateFields]:
    """Parse the comment inside a clip: public header and private fields in one object.

    Args:
        text: canonical JSON.

    Raises:
        BadEnvelope: the text is not these fields in canonical JSON.
    """
    if len(text) > PRIVATE_LIMIT_BYTES:
        raise BadEnvelope("the clip's comment is too long")
    try:
        fields = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError) as error:
        raise BadEnvelope("the clip's comment is not JSON") from error
    public = {name: fields.pop(name) for name in PublicHeader.__struct_fields__ if name in fields}
    header = parse_header(encode_object(public))
    private = read_fields(encode_object(fields), PrivateFields, "clip's comment")
    if build_comment(header, private) != text:
        raise BadEnvelope("the clip's comment is not canonical JSON")
    if private.pre_ms > private.ms:
        raise BadEnvelope("the clip's wake is after its end")
    return header, private


def build_comment(header: PublicHeader, private: PrivateFields) -> bytes:
    """Encode the comment inside a clip: both sets of fields in one canonical object."""
    both = msgspec.structs.asdict(header) | msgspec.structs.asdict(private)
    # A score may be a number type of the model's library, such as numpy's float32.
    both |= {name: float(both[name]) for name in ("score", "spk") if both[name] is not None}
    return encode_object({name: encode_value(value) for name, value in both.items()})


def check_age(ciphertext: bytes) -> None:
    """Check from outside that an age file has exactly one recipient, an X25519 key.

    One grease stanza after it is accepted: rage, which pyrage wraps, always adds one, and every
    age implementation ignores it.

    Args:
        ciphertext: any bytes are safe.

    Raises:
        BadEnvelope: the bytes are not an age file, or it has another recipient.
    """
    match = _AGE_HEADER.match(ciphertext[:AGE_HEADER_LIMIT_BYTES])
    if match is None:
        raise BadEnvelope("the ciphertext is not an age file with exactly one X25519 recipient")
    if len(ciphertext) < match.end() + AGE_OVERHEAD_BYTES:
        raise BadEnvelope("the ciphertext is truncated")


def canonical_json(fields: Fields) -> bytes:
    """Encode ``fields`` as canonical JSON: sorted keys, no spaces, 1 to 4 decimals."""
    return encode_object(
        {name: encode_value(value) for name, value in msgspec.structs.asdict(fields).items()}
    )


def read_fields(line: bytes, kind: type[_AnyFields], name: str) -> _AnyFields:
    """Decode fields from canonical JSON.

    Args:
        line: any bytes are safe.
        kind: the type of the fields.
        name: name of the fields in messages.

    Raises:
        BadEnvelope: the bytes are not these fields in canonical JSON. Nothing else is raised.
    """
    try:
        fields = msgspec.json.decode(line, type=kind)
    except (ValueError, RecursionError) as error:
        # msgspec's text may quote foreign bytes; the names of our own fields are safe to repeat.
        known = re.search(r"at `\$\.([a-z0-9_]{1,16})`\Z", str(error))
        where = f"{name}: {known[1]}" if known else name
        raise BadEnvelope(f"the {where} is missing, unknown or out of its range") from error
    if canonical_json(fields) != line:
        raise BadEnvelope(f"the {name} is not canonical JSON")
    return fields


def encode_object(values: dict[str, msgspec.Raw]) -> bytes:
    """Encode an object whose values are encoded already: sorted keys, no spaces."""
    return msgspec.json.encode(values, order="sorted")


def encode_value(value: object) -> msgspec.Raw:
    """Encode one value: a float with 1 to 4 decimals, anything else as JSON does."""
    if isinstance(value, float):
        # A fixed number of digits gives the same text in every language: 0.93, 1.0, never 1e-05.
        digits = f"{value + 0.0:.4f}".rstrip("0")
        return msgspec.Raw(
            ("0.0" if digits == "-0." else digits + "0" * digits.endswith(".")).encode()
        )
    return msgspec.Raw(msgspec.json.encode(value))


def _line(data: bytes, start: int, limit_bytes: int, name: str) -> tuple[bytes, int]:
    end = data.find(b"\n", start, start + limit_bytes + 1)
    if end < 0:
        raise BadEnvelope(f"the {name} line has no end within {limit_bytes} bytes")
    return data[start:end], end + 1


def _signature(line: bytes) -> bytes:
    try:
        signature = base64.b64decode(line, validate=True)
    except binascii.Error as error:
        raise BadEnvelope("the signature is not base64") from error
    # base64 has spare bits in its last character; only one encoding is accepted.
    if base64.b64encode(signature) != line or len(line) != SIGNATURE_BASE64_BYTES:
        raise BadEnvelope("the signature is not 64 bytes in canonical base64")
    return signature
