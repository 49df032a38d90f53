"""What can be asked of the archive: one schema a request, and no field that names a recipient.

``docs/reference/http-api.md`` has the table. What is not exactly one of these is refused; a
field too many is a request for something else.
"""

import hashlib
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from listener.envelope.format import ClipId, Moment, ShortName
from listener.errors import UsageError

LONGEST_REQUEST_BYTES: Final = 16 << 10
MOST_LISTED: Final = 1000
MOST_NAMED: Final = 200
MOST_PROOFS: Final = 64

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
    """One operation with all its parameters."""

    @property
    def op(self) -> str:
        """Its name."""
        return str(self.__struct_config__.tag)


class ListRequest(_OperationRequest, frozen=True, kw_only=True, tag="list"):
    """Which clips are there."""

    day: Day | None = None
    """UTC; instead of ``from_t`` and ``until_t``."""
    from_t: Moment | None = msgspec.field(default=None, name="from")
    until_t: Moment | None = msgspec.field(default=None, name="until")
    device: ShortName | None = None
    after: Cursor | None = None
    limit: Limit = MOST_LISTED


class PlayRequest(_OperationRequest, frozen=True, kw_only=True, tag="play"):
    """One clip, sealed as it is."""

    clip: ClipId


class ExportRequest(_OperationRequest, frozen=True, kw_only=True, tag="export"):
    """All of them, or those of a time or a device."""

    from_t: Moment | None = msgspec.field(default=None, name="from")
    until_t: Moment | None = msgspec.field(default=None, name="until")
    device: ShortName | None = None


class EraseRequest(_OperationRequest, frozen=True, kw_only=True, tag="erase"):
    """Some, those of a time, or all: for good."""

    clips: Annotated[tuple[ClipId, ...], Meta(min_length=1, max_length=MOST_NAMED)] | None = None
    all: Literal[True] | None = None
    from_t: Moment | None = msgspec.field(default=None, name="from")
    until_t: Moment | None = msgspec.field(default=None, name="until")
    device: ShortName | None = None


class RetentionRequest(_OperationRequest, frozen=True, kw_only=True, tag="retention"):
    """How long clips are kept, at most; without ``days`` it is a question."""

    days: Annotated[int, Meta(ge=1, le=3650)] | None = None


class LogRequest(_OperationRequest, frozen=True, kw_only=True, tag="log"):
    """Who asked for what."""

    after: Annotated[int, Meta(ge=0, le=1 << 53)] = 0
    limit: Limit = MOST_LISTED


class KeysRequest(_OperationRequest, frozen=True, kw_only=True, tag="keys"):
    """Which keys count as hers."""


class KeyProof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one speaker needs to follow to the next key; the archive carries it and learns nothing.

    ``owner.succession`` has what it is made of.
    """

    device: ShortName
    old: Code
    new: Code


class NewKeyRequest(_OperationRequest, frozen=True, kw_only=True, tag="new-key"):
    """Another key instead of the active one, proven by both."""

    recipient: Annotated[str, Meta(pattern=r"^age1[a-z0-9]{58}\Z")]
    proofs: Annotated[tuple[KeyProof, ...], Meta(max_length=MOST_PROOFS)] = ()
    """For the speakers; one that has none here needs a person at the speaker."""


Request = (
    ListRequest
    | PlayRequest
    | ExportRequest
    | EraseRequest
    | RetentionRequest
    | LogRequest
    | KeysRequest
    | NewKeyRequest
)


class RightsRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who asks, and for what. Nothing is proven yet."""

    owner: ShortName
    request: Request


def parse(data: bytes) -> RightsRequest:
    """Read what somebody asks for.

    Args:
        data: any bytes at all.

    Raises:
        UsageError: they are no request. Nothing else is ever raised.
    """
    if len(data) > LONGEST_REQUEST_BYTES:
        raise UsageError("the request is too long")
    try:
        asked = msgspec.json.decode(data, type=RightsRequest)
    except (ValueError, RecursionError) as error:
        raise UsageError("this is not a valid request", "see docs/reference/http-api.md") from (
            error
        )
    _check_consistency(asked.request)
    return asked


def canonical(request: Request) -> bytes:
    """Spell a request in its one way: keys sorted, no spaces, nothing that is at its default."""
    fields: dict[str, Any] = msgspec.to_builtins(request)
    for field in msgspec.structs.fields(request):
        # msgspec compares defaults by identity, which is no spelling.
        if getattr(request, field.name) == field.default:
            fields.pop(field.encode_name, None)
    return msgspec.json.encode(fields, order="sorted")


def digest(request: Request) -> str:
    """Return the SHA-256 of the canonical spelling, to which a ticket is bound."""
    return hashlib.sha256(canonical(request)).hexdigest()


def time_span(request: ListRequest | ExportRequest | EraseRequest) -> tuple[str, str]:
    """Return the first moment and the one after the last, as envelopes spell them."""
    if isinstance(request, ListRequest) and request.day is not None:
        # Every moment of a day sorts between these two, whatever a calendar says.
        return f"{request.day}T00:00:00.000Z", f"{request.day}T99"
    return request.from_t or "", request.until_t or "A"


def _check_consistency(request: Request) -> None:
    match request:
        case ListRequest() if request.day is not None and (request.from_t or request.until_t):
            raise UsageError("day cannot be combined with from and until")
        case ListRequest() if request.day is not None:
            _check_calendar(f"{request.day}T00:00:00.000Z")
        case EraseRequest():
            ranged = request.from_t is not None or request.until_t is not None
            if (request.clips is not None) + (request.all is not None) + ranged != 1:
                raise UsageError("exactly one of clips, all, or from and until is required")
            if request.clips is not None and request.device is not None:
                raise UsageError("device cannot be combined with clips")
        case NewKeyRequest() if len({one.device for one in request.proofs}) < len(request.proofs):
            raise UsageError("two proofs for one device")
        case _:
            pass
    if isinstance(request, ListRequest | ExportRequest | EraseRequest):
        for moment in (request.from_t, request.until_t):
            if moment is not None:
                _check_calendar(moment)


def _check_calendar(moment: str) -> None:
    try:
        datetime.fromisoformat(moment)
    except ValueError as error:
        raise UsageError("this time does not exist") from error
