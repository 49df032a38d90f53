"""Schemas of the requests to the archive; no field names a recipient of clips.

``docs/reference/http-api.md`` lists them. Requests with unknown fields are refused.
"""

import hashlib
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from listener import strict_json
from listener.envelope.format import ClipId, Moment, ShortName
from listener.errors import UsageError
from listener.rights.hash_chain import LogHead

LONGEST_REQUEST_BYTES: Final = 16 << 10
MOST_LISTED: Final = 1000
MOST_NAMED: Final = 200
MOST_PROOFS: Final = 64
MOST_CONSENTS: Final = 32
"""Consents in one request; with 64 proofs they fit ``LONGEST_REQUEST_BYTES``."""

Limit = Annotated[int, Meta(ge=1, le=MOST_LISTED)]
Cursor = Annotated[str, Meta(pattern=r"^[0-9TZ:.-]{24}/[0-9a-f-]{36}\Z")]
Code = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]{43}=\Z")]
Day = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]


class _OperationRequest(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="op",
    omit_defaults=True,
):
    """An operation with its parameters."""

    @property
    def op(self) -> str:
        """Name of the operation."""
        return str(self.__struct_config__.tag)


class ListRequest(_OperationRequest, frozen=True, kw_only=True, tag="list"):
    """List the owner's clips."""

    day: Day | None = None
    """Day, UTC, in place of ``from`` and ``until``."""
    from_t: Moment | None = msgspec.field(default=None, name="from")
    until_t: Moment | None = msgspec.field(default=None, name="until")
    device: ShortName | None = None
    after: Cursor | None = None
    limit: Limit = MOST_LISTED


class PlayRequest(_OperationRequest, frozen=True, kw_only=True, tag="play"):
    """Return one clip, as a sealed envelope."""

    clip: ClipId


class ExportRequest(_OperationRequest, frozen=True, kw_only=True, tag="export"):
    """Export all clips, or those of a period or a device."""

    from_t: Moment | None = msgspec.field(default=None, name="from")
    until_t: Moment | None = msgspec.field(default=None, name="until")
    device: ShortName | None = None
    log_after: LogHead | None = None
    """A head of the access log, as in a receipt: only the rows after it are included."""


class EraseRequest(_OperationRequest, frozen=True, kw_only=True, tag="erase"):
    """Erase clips by id, those of a period, or all; this cannot be undone."""

    clips: Annotated[tuple[ClipId, ...], Meta(min_length=1, max_length=MOST_NAMED)] | None = None
    all: Literal[True] | None = None
    from_t: Moment | None = msgspec.field(default=None, name="from")
    until_t: Moment | None = msgspec.field(default=None, name="until")
    device: ShortName | None = None
    not_mine: Literal[True] | None = None
    """The named clips are of another person: the archive also counts them, by speaker alone."""


class RetentionRequest(_OperationRequest, frozen=True, kw_only=True, tag="retention"):
    """Set the maximum retention; without ``days``, return it."""

    days: Annotated[int, Meta(ge=1, le=3650)] | None = None


class LogRequest(_OperationRequest, frozen=True, kw_only=True, tag="log"):
    """Return the rows of the access log."""

    after: Annotated[int, Meta(ge=0, le=1 << 53)] = 0
    limit: Limit = MOST_LISTED


class KeysRequest(_OperationRequest, frozen=True, kw_only=True, tag="keys"):
    """Return the owner's keys."""


class KeyProof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The MACs that authorise a new key to one speaker; the archive forwards them unread.

    See ``listener/owner/key_rotation.py``.
    """

    device: ShortName
    old: Code
    new: Code


class VoiceConsent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The owner's consent to voice control for one speaker; the archive forwards it unread.

    Together with the owner's name and the fingerprint of their key it is a ``Consent`` of
    ``listener/voice/consent.py``: the request has neither field, so that an owner can send a
    consent in their own name only.
    """

    device: ShortName
    assist: Annotated[str, Meta(pattern=r"^ed25519:[A-Za-z0-9+/]{43}=\Z")]
    """Public key of the assist service that may receive the owner's commands."""
    n: Annotated[int, Meta(ge=1, le=1 << 53)]
    """Number of the consent; a speaker ignores one that is not above the last."""
    on: Literal[0, 1]
    code: Code
    """MAC by the owner's key."""


class VoiceRequest(_OperationRequest, frozen=True, kw_only=True, tag="voice"):
    """Give or withdraw the owner's consent to voice control; without ``consents``, return it."""

    consents: Annotated[tuple[VoiceConsent, ...], Meta(max_length=MOST_CONSENTS)] = ()


class NewKeyRequest(_OperationRequest, frozen=True, kw_only=True, tag="new-key"):
    """Replace the active key, with proof of both keys."""

    recipient: Annotated[str, Meta(pattern=r"^age1[a-z0-9]{58}\Z")]
    proofs: Annotated[tuple[KeyProof, ...], Meta(max_length=MOST_PROOFS)] = ()
    """A proof for each speaker; a speaker without one needs a confirmation on site."""
    consents: Annotated[tuple[VoiceConsent, ...], Meta(max_length=MOST_CONSENTS)] = ()
    """The owner's consents, made again with the new key: it makes the earlier ones void."""


Request = (
    ListRequest
    | PlayRequest
    | ExportRequest
    | EraseRequest
    | RetentionRequest
    | LogRequest
    | KeysRequest
    | NewKeyRequest
    | VoiceRequest
)


class RightsRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An owner's request, not yet proven."""

    owner: ShortName
    request: Request


def parse(data: bytes) -> RightsRequest:
    """Parse a request.

    Args:
        data: any bytes are safe.

    Raises:
        UsageError: the bytes are not a request. Nothing else is raised.
    """
    if len(data) > LONGEST_REQUEST_BYTES:
        raise UsageError("the request is too long")
    try:
        # The owner authorises a digest of what the archive reads: it must not mean another request.
        message = strict_json.decode(data, RightsRequest)
    except ValueError as error:
        raise UsageError("this is not a valid request", "see docs/reference/http-api.md") from (
            error
        )
    _check_consistency(message.request)
    return message


def canonical(request: Request) -> bytes:
    """Return canonical JSON of a request: sorted keys, no spaces, no defaults."""
    fields: dict[str, Any] = msgspec.to_builtins(request)
    for field in msgspec.structs.fields(request):
        # msgspec compares defaults by identity, so that equal values would remain.
        if getattr(request, field.name) == field.default:
            fields.pop(field.encode_name, None)
    return msgspec.json.encode(fields, order="sorted")


def digest(request: Request) -> str:
    """Return the SHA-256 of the canonical JSON, to which a challenge is bound."""
    return hashlib.sha256(canonical(request)).hexdigest()


def time_span(request: ListRequest | ExportRequest | EraseRequest) -> tuple[str, str]:
    """Return start and end of the period as text that sorts like envelopes' timestamps."""
    if isinstance(request, ListRequest) and request.day is not None:
        # Every timestamp of the day sorts between these two.
        return f"{request.day}T00:00:00.000Z", f"{request.day}T99"
    return request.from_t or "", request.until_t or "A"


def _check_consistency(request: Request) -> None:
    match request:
        case ListRequest() if request.day is not None and (request.from_t or request.until_t):
            raise UsageError("day cannot be combined with from and until")
        case ListRequest() if request.day is not None:
            _check_calendar(f"{request.day}T00:00:00.000Z")
        case EraseRequest():
            _check_selection(request)
        case NewKeyRequest() | VoiceRequest():
            _check_devices(request)
        case _:
            pass
    if isinstance(request, ListRequest | ExportRequest | EraseRequest):
        for moment in (request.from_t, request.until_t):
            if moment is not None:
                _check_calendar(moment)


def _check_selection(request: EraseRequest) -> None:
    ranged = request.from_t is not None or request.until_t is not None
    if (request.clips is not None) + (request.all is not None) + ranged != 1:
        raise UsageError("exactly one of clips, all, or from and until is required")
    if request.clips is not None and request.device is not None:
        raise UsageError("device cannot be combined with clips")
    if request.clips is None and request.not_mine is not None:
        raise UsageError("not_mine needs clips")


def _check_devices(request: NewKeyRequest | VoiceRequest) -> None:
    if isinstance(request, NewKeyRequest) and len({one.device for one in request.proofs}) < len(
        request.proofs
    ):
        raise UsageError("two proofs for one device")
    if len({one.device for one in request.consents}) < len(request.consents):
        raise UsageError("two consents for one device")
    # The row in the access log says one of the two.
    if isinstance(request, VoiceRequest) and len({one.on for one in request.consents}) > 1:
        raise UsageError("consents on and off cannot be combined")


def _check_calendar(moment: str) -> None:
    try:
        datetime.fromisoformat(moment)
    except ValueError as error:
        raise UsageError("this time does not exist") from error
