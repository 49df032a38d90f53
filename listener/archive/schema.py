"""Response schemas of the HTTP API, and the error words of each status.

They specify every field that the archive sends; ``openapi`` publishes them. The client has its own
schemas, ``clips.schema``, which accept fields that a newer archive may add.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from listener.envelope.format import ClipId, KeyId, Moment, Sha256, ShortName
from listener.rights.hash_chain import LogBody
from listener.rights.receipts import Receipt, SignedHead
from listener.rights.requests import Cursor
from listener.voice.consent import Consent
from listener.voice.messages import VoiceStatus

_Count = Annotated[int, Meta(ge=0)]
_Key = Annotated[str, Meta(pattern=r"^ed25519:[A-Za-z0-9+/]{43}=\Z")]
_Signature = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]{86}==\Z")]
_Age = Annotated[str, Meta(pattern=r"^-----BEGIN AGE ENCRYPTED FILE-----\n")]

ERRORS: Final = {
    400: ("request",),
    403: ("network", "proof"),
    404: ("owner", "ticket", "clip", "path"),
    405: ("method",),
    408: ("slow",),
    409: ("not-hers", "key"),
    413: ("size",),
    415: ("type",),
    422: ("request",),
    431: ("size",),
    503: ("unavailable",),
}
"""The values of ``error`` for each HTTP status."""


class _Answer(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A JSON response."""


class HeadAnswer(_Answer, kw_only=True):
    """Signed head of the access log."""

    head: SignedHead
    signature: _Signature


class About(_Answer, kw_only=True):
    """Public key of the archive and head of its access log."""

    v: Literal[1]
    archive: _Key
    head: HeadAnswer


class HealthAnswer(_Answer, kw_only=True):
    """State of the archive process."""

    v: Literal[1]
    ok: bool
    """Whether it stores clips and answers requests."""
    loop: bool
    """Whether the loop that receives clips runs."""
    storage: bool
    """Whether disk, database and access log can be used."""
    brokers_connected: _Count
    brokers: _Count


class Ticket(_Answer, kw_only=True):
    """A ticket and its challenge, encrypted to the owner's key."""

    ticket: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{22,15000}\Z")]
    challenge: _Age
    request_sha256: Sha256
    expires_s: Literal[300]
    new_challenge: _Age | msgspec.UnsetType = msgspec.UNSET


class Listed(_Answer, kw_only=True):
    """A clip, with the fields of its signed header."""

    clip: ClipId
    device: ShortName
    seq: Annotated[int, Meta(ge=1)]
    t: Moment
    ttl_s: Annotated[int, Meta(ge=1)]
    size_bytes: _Count
    received: _Count
    expires: _Count


class ListAnswer(_Answer, kw_only=True):
    """A page of clips."""

    clips: list[Listed]
    next: Cursor | None
    quarantined: _Count


class ReceiptAnswer(_Answer, kw_only=True):
    """Signed receipt of an erasure or an export."""

    receipt: Receipt
    signature: _Signature


class RetentionAnswer(_Answer, kw_only=True):
    """Retention limit of an owner, in days."""

    owner: ShortName
    days: Annotated[int, Meta(ge=1, le=3650)] | None
    longest: str


class OwnRow(_Answer, kw_only=True):
    """A row of the access log that concerns the requester."""

    n: Annotated[int, Meta(ge=1)]
    hash: Sha256
    body: LogBody


class BlindedRow(_Answer, kw_only=True):
    """A row of the access log that concerns other owners only."""

    n: Annotated[int, Meta(ge=1)]
    hash: Sha256
    body_sha256: Sha256


class LogAnswer(_Answer, kw_only=True):
    """A page of the access log."""

    rows: list[dict[str, Any]]
    before: Sha256
    next: _Count | None
    head: HeadAnswer


class RetiredKeyAnswer(_Answer, kw_only=True):
    """Key of a speaker that was removed or replaced; clips stored before stay valid."""

    name: ShortName
    key: _Key
    retired: _Count
    """Time of the removal, seconds since 1970."""
    last_seq: _Count | None
    """Highest number that the archive accepted of the key; None until it has set it."""


class KeysAnswer(_Answer, kw_only=True):
    """Keys of the requester and of the devices."""

    owner: ShortName
    active: KeyId
    retired: list[KeyId]
    devices: dict[str, _Key]
    retired_devices: list[RetiredKeyAnswer]
    sealed_to: dict[str, KeyId | None]
    forwarded: list[ShortName]


class VoiceStatusAnswer(_Answer, kw_only=True):
    """The consent that a speaker follows, signed by it and not verified by the archive."""

    signature: _Signature
    voice: VoiceStatus


class VoiceAnswer(_Answer, kw_only=True):
    """The requester's stored consents to voice control, and what the speakers follow."""

    owner: ShortName
    consents: list[Consent]
    forwarded: list[ShortName]
    """Speakers for which the consent is in the message that the archive publishes."""
    status: dict[str, VoiceStatusAnswer]
    """The last status of each speaker."""


class Problem(_Answer, kw_only=True):
    """An error: its word, message and hint."""

    error: Annotated[str, Meta(pattern=r"^[a-z-]{1,32}\Z")]
    message: str
    hint: str
    clips: list[ClipId] | msgspec.UnsetType = msgspec.UNSET
