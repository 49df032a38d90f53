"""The access log as a chain: each row's hash holds the one before it. Pure, for both sides.

A row has a body, which is for those it concerns, and the body's hash, which is for everyone. So an
owner recomputes the whole chain and reads her own rows; a salt keeps the others from being guessed.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from listener.envelope.format import KeyId, Moment, Sha256, ShortName
from listener.errors import EarmarkError

ORIGIN: Final = "0" * 64
"""The hash before the first row."""

Outcome = Literal["done", "refused", "crossed", "not-hers", "failed"]


class LogBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one row says: who, what, when and how it ended; never a clip, never a sound."""

    n: Annotated[int, Meta(ge=1)]
    t: Moment
    owner: ShortName
    other: ShortName | None = None
    """The second owner whom it concerns."""
    op: Annotated[str, Meta(pattern=r"^[a-z-]{1,16}\Z")]
    outcome: Outcome
    okey: KeyId | None = None
    """The key that proved the request; None where nothing was proved."""
    count: Annotated[int, Meta(ge=0)] = 0
    """How many clips, or refused answers."""
    request_sha256: Sha256 | None = None
    salt: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]

    def canonical(self) -> bytes:
        """Spell it: keys sorted, no spaces, every field."""
        return msgspec.json.encode(self, order="sorted")


class LogHead(msgspec.Struct, frozen=True, kw_only=True):
    """Where the chain ended at some time: whoever holds one notices a log without it."""

    n: Annotated[int, Meta(ge=0)]
    hash: Sha256


@dataclass(frozen=True, slots=True)
class LogRow:
    """A row as somebody received it: with its body, or with the body's hash alone."""

    n: int
    body_sha256: str
    hash: str | None = None
    """What it is said to be."""
    body: LogBody | None = None


class BrokenChain(EarmarkError):
    """The chain is not what was written. Its message names the first wrong row.

    Attributes:
        n: the number of that row.
    """

    def __init__(self, n: int, why: str) -> None:
        super().__init__(
            f"the access log is wrong at row {n}: {why}",
            "keep the log and the receipts as evidence: the log was changed after it was written",
        )
        self.n = n


def row_hash(n: int, before: str, body_sha256: str) -> str:
    """Return the hash of row ``n``.

    Args:
        n: from 1 on.
        before: the hash of the row before, or ``ORIGIN``.
        body_sha256: of the row's canonical body.
    """
    return hashlib.sha256(f"{n}:{before}:{body_sha256}".encode()).hexdigest()


def parse_row(fields: Mapping[str, Any]) -> LogRow:
    """Read one row of the JSON that ``log`` and an export carry.

    Raises:
        Broken: it is none, or its body is not spelled as it was written.
    """
    n = fields.get("n")
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise BrokenChain(0, "a row has no number")
    try:
        said = msgspec.convert(fields.get("hash"), Sha256)
        if "body" not in fields:
            return LogRow(n, msgspec.convert(fields.get("body_sha256"), Sha256), said)
        body = msgspec.convert(fields["body"], LogBody)
    except msgspec.ValidationError as error:
        raise BrokenChain(n, "it is not a valid row") from error
    if body.n != n:
        raise BrokenChain(n, "its body has another number")
    return LogRow(n, hashlib.sha256(body.canonical()).hexdigest(), said, body)


def verify_chain(
    rows: Iterable[LogRow], heads: Iterable[LogHead] = (), *, before: LogHead | None = None
) -> LogHead:
    """Recompute the chain and return where it ends.

    Args:
        rows: in order; each is looked at once.
        heads: every head that is known from elsewhere: receipts, the published one.
        before: the head that the first row follows; none for a log from its beginning.

    Raises:
        Broken: a row is missing or doubled, or the chain does not pass through a known head. A
            rewritten row shows at its own hash; where all hashes behind it were made anew too, at
            the first known head behind it.
    """
    known: dict[int, str] = {}
    for head in heads:
        if known.setdefault(head.n, head.hash) != head.hash:
            raise BrokenChain(head.n, "two heads of one number differ")
    end = before or LogHead(n=0, hash=ORIGIN)
    for row in rows:
        if row.n != end.n + 1:
            raise BrokenChain(end.n + 1, "it is missing")
        end = LogHead(n=row.n, hash=row_hash(row.n, end.hash, row.body_sha256))
        if row.hash not in {None, end.hash}:
            raise BrokenChain(row.n, "its hash differs from that of its content and the row before")
        if known.get(row.n, end.hash) != end.hash:
            raise BrokenChain(row.n, "its hash differs from the published head")
    if late := [n for n in known if n > end.n]:
        raise BrokenChain(end.n + 1, f"it is missing; the published head is row {max(late)}")
    return end
