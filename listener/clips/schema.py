"""What the archive answers, by its schemas. Pure: text that was received is never believed.

Unknown fields pass, so that a newer archive is understood; a field that is not what it must be is
refused with all the rest.
"""

from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from listener.envelope.format import ClipId, KeyId, Moment, Sha256, ShortName
from listener.errors import Unavailable

ANSWER_LIMIT_BYTES: Final = 8 << 20
_Count = Annotated[int, Meta(ge=0, le=1 << 53)]
_KeyText = Annotated[str, Meta(pattern=r"^ed25519:[A-Za-z0-9+/]{43}=\Z")]


class _Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an answer."""


class TicketReply(_Reply, frozen=True, kw_only=True):
    """A question that only the owner's key can read."""

    ticket: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
    challenge: Annotated[str, Meta(max_length=4096)]
    new_challenge: Annotated[str, Meta(max_length=4096)] | None = None


class ErrorReply(_Reply, frozen=True, kw_only=True):
    """Why not."""

    error: Annotated[str, Meta(pattern=r"^[a-z-]{1,32}\Z")]
    message: Annotated[str, Meta(max_length=1000)]
    hint: Annotated[str, Meta(max_length=1000)] = ""


class ListedClip(_Reply, frozen=True, kw_only=True):
    """A clip as the archive sees it from outside."""

    clip: ClipId
    device: ShortName
    seq: _Count
    t: Moment
    ttl_s: _Count
    size_bytes: _Count
    received: _Count
    expires: _Count


class ListReply(_Reply, frozen=True, kw_only=True):
    """A page of clips."""

    clips: Annotated[tuple[ListedClip, ...], Meta(max_length=1000)]
    next: Annotated[str, Meta(pattern=r"^[0-9TZ:.-]{24}/[0-9a-f-]{36}\Z")] | None = None


class RetentionReply(_Reply, frozen=True, kw_only=True):
    """How long clips are kept at most; None where only each clip's own time counts."""

    owner: ShortName
    days: _Count | None = None


class KeysReply(_Reply, frozen=True, kw_only=True):
    """Which keys count as hers, and those of the devices."""

    owner: ShortName
    active: KeyId
    retired: tuple[KeyId, ...] = ()
    devices: dict[ShortName, _KeyText] = {}
    sealed_to: dict[ShortName, KeyId | None] = {}
    """To which key each device sealed the newest clip of hers that the archive has."""


class ArchiveReply(_Reply, frozen=True, kw_only=True):
    """Which archive this is, and where its log ends, signed."""

    archive: _KeyText
    head: dict[str, Any]


class LogReply(_Reply, frozen=True, kw_only=True):
    """A page of the access log."""

    rows: Annotated[list[dict[str, Any]], Meta(max_length=1000)]
    before: Sha256
    head: dict[str, Any]
    next: _Count | None = None


class ManifestLine(_Reply, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One clip of an export."""

    clip: ClipId
    device: ShortName
    seq: _Count
    t: Moment
    ttl_s: _Count
    okey: KeyId
    bytes: _Count
    sha256: Sha256


_Any = TypeVar("_Any")


def parse(data: bytes, kind: type[_Any]) -> _Any:
    """Read an answer.

    Args:
        data: any bytes at all.
        kind: what it must be.

    Raises:
        Unavailable: it is anything else. Nothing else is ever raised.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError) as error:
        raise Unavailable(
            "the archive's answer is not what it must be",
            "is it an archive of earmark, and of this version?",
        ) from error


def sanitize(text: str) -> str:
    """Return words of a stranger as a terminal can take them: one line, nothing that steers it."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:300]).strip()
