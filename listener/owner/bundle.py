"""The challenges of all places to one owner in one file, and the answers to them in another. Pure.

The household makes the first file, the owner the second. Neither holds a secret key.
"""

from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from listener import strict_json
from listener.config import ShortName
from listener.envelope import keys
from listener.errors import EarmarkError

LONGEST_BYTES: Final = 1 << 20
MOST_PLACES: Final = 256

_KeyText = Annotated[str, Meta(pattern=r"^ed25519:[A-Za-z0-9+/]{43}=\Z")]
_Line = Annotated[str, Meta(pattern=r"^[a-z0-9:-]{1,160}\Z")]


class _BundlePart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a file; unknown fields are refused."""


_Any = TypeVar("_Any", bound=_BundlePart)


class ArchiveContact(_BundlePart, frozen=True, kw_only=True):
    """How the owner's computer reaches the archive."""

    address: Annotated[str, Meta(pattern=r"^https://[\x21-\x7e]{1,260}\Z")] | None = None
    """None where the archive is not reachable over the network."""
    key: _KeyText
    """Key with which the archive signs receipts."""
    ca: Annotated[str, Meta(max_length=4096)]
    """Certificate of the household's authority, PEM."""


class PlaceChallenge(_BundlePart, frozen=True, kw_only=True):
    """The statement of one speaker, or of the archive, with its key."""

    place: ShortName
    """Name of the speaker, or ``archive``."""
    key: _KeyText
    """Public key of the speaker, or of the archive."""
    statement: Annotated[str, Meta(max_length=4096)]
    """``owner_challenges.OwnerStatement`` with its signature, as it was signed."""


class OwnerBundle(_BundlePart, frozen=True, kw_only=True):
    """File that the household makes for one owner."""

    v: Literal[1] = 1
    kind: Literal["owner-bundle"] = "owner-bundle"
    owner: ShortName
    recipient: Annotated[str, Meta(pattern=r"^age1[a-z0-9]{58}\Z")]
    archive: ArchiveContact
    challenges: Annotated[tuple[PlaceChallenge, ...], Meta(max_length=MOST_PLACES)] = ()


class PlaceAnswer(_BundlePart, frozen=True, kw_only=True):
    """The owner's answer to the challenge of one place."""

    place: ShortName
    answer: _Line


class OwnerAnswers(_BundlePart, frozen=True, kw_only=True):
    """File that the owner makes."""

    v: Literal[1] = 1
    kind: Literal["owner-answers"] = "owner-answers"
    owner: ShortName
    answers: Annotated[tuple[PlaceAnswer, ...], Meta(max_length=MOST_PLACES)]


def encode(file: OwnerBundle | OwnerAnswers) -> bytes:
    """Return the file: indented JSON."""
    return msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n"


def parse_bundle(data: bytes) -> OwnerBundle:
    """Parse a bundle.

    Args:
        data: any bytes are safe.

    Raises:
        EarmarkError: the bytes are not one. Nothing else is raised.
    """
    found = _parse(
        data, OwnerBundle, "a bundle of challenges", "make one: earmark household add-owner NAME"
    )
    keys.parse_recipient(found.recipient)
    return found


def parse_answer_file(data: bytes) -> OwnerAnswers:
    """Parse a file of answers.

    Args:
        data: any bytes are safe.

    Raises:
        EarmarkError: the bytes are not one. Nothing else is raised.
    """
    return _parse(data, OwnerAnswers, "a file of answers", "make one: earmark owner answer BUNDLE")


def _parse(data: bytes, kind: type[_Any], noun: str, hint: str) -> _Any:
    try:
        if len(data) > LONGEST_BYTES:
            raise ValueError("too long")  # noqa: TRY301 - every fault is reported in one place
        return strict_json.decode(data, kind)
    except ValueError as error:
        raise EarmarkError(f"this is not {noun}", hint) from error
