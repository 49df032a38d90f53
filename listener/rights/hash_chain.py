"""Hash chain of the access log: each row's hash covers the hash before it. Pure, for both sides.

A row has a body, which only the owners it concerns receive, and the body's hash, which every owner
receives. So an owner can recompute the whole chain and read their own rows; a salt in each body
prevents guessing the others.
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
    """The content of a row: owner, operation, time and outcome; no clip and no audio."""

    n: Annotated[int, Meta(ge=1)]
    """Number of the row, from 1."""
    t: Moment
    """Time, UTC."""
    owner: ShortName
    """The owner whom the row concerns."""
    other: ShortName | None = None
    """A second owner whom the row concerns."""
    op: Annotated[str, Meta(pattern=r"^[a-z-]{1,16}\Z")]
    """Name of the operation."""
    outcome: Outcome
    """Outcome of the operation."""
    okey: KeyId | None = None
    """Fingerprint of the key that proved the request; None if none did."""
    count: Annotated[int, Meta(ge=0)] = 0
    """Number of clips, or of refused answers."""
    request_sha256: Sha256 | None = None
    """SHA-256 of the request in canonical JSON."""
    salt: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]

    def canonical(self) -> bytes:
        """Return canonical JSON: sorted keys, no spaces, every field."""
        return msgspec.json.encode(self, order="sorted")


class LogHead(msgspec.Struct, frozen=True, kw_only=True):
    """The end of the chain at some time; its holder detects a log that lacks it."""

    n: Annotated[int, Meta(ge=0)]
    hash: Sha256


@dataclass(frozen=True, slots=True)
class LogRow:
    """A row as an owner receives it: with its body, or with the body's hash only."""

    n: int
    """Number of the row, from 1."""
    body_sha256: str
    """SHA-256 of the body in canonical JSON."""
    hash: str | None = None
    """The claimed hash of the row."""
    body: LogBody | None = None
    """The body, if the row concerns the receiver."""


class BrokenChain(EarmarkError):
    """The log differs from what was written; the message names the first wrong row.

    Attributes:
        n: number of that row.
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
        n: number of the row, from 1.
        before: hash of the previous row, or ``ORIGIN``.
        body_sha256: SHA-256 of the canonical body.
    """
    return hashlib.sha256(f"{n}:{before}:{body_sha256}".encode()).hexdigest()


def parse_row(fields: Mapping[str, Any]) -> LogRow:
    """Parse a row of the JSON that ``log`` and an export contain.

    Raises:
        BrokenChain: the fields are not a row.
    """
    n = fields.get("n")
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise BrokenChain(0, "a row has no number")
    try:
        claimed = msgspec.convert(fields.get("hash"), Sha256)
        if "body" not in fields:
            return LogRow(n, msgspec.convert(fields.get("body_sha256"), Sha256), claimed)
        body = msgspec.convert(fields["body"], LogBody)
        body_sha256 = hashlib.sha256(body.canonical()).hexdigest()
        if fields.get("body_sha256", body_sha256) != body_sha256:
            raise BrokenChain(n, "its body has another hash than it says")
    except msgspec.ValidationError as error:
        raise BrokenChain(n, "it is not a valid row") from error
    if body.n != n:
        raise BrokenChain(n, "its body has another number")
    return LogRow(n, body_sha256, claimed, body)


def parse_start(fields: Mapping[str, Any]) -> LogHead | None:
    """Parse the first line of a log that does not begin with row 1: the head before its rows.

    Returns:
        None if the line is something else, such as a row.
    """
    if fields.keys() != {"n", "hash"}:
        return None
    try:
        return msgspec.convert(fields, LogHead)
    except msgspec.ValidationError:
        return None


def verify_chain(
    rows: Iterable[LogRow], heads: Iterable[LogHead] = (), *, before: LogHead | None = None
) -> LogHead:
    """Recompute the chain and return its head.

    Args:
        rows: rows in order; iterated once.
        heads: heads known from other sources: receipts, the published head. Those before the first
            row are not verified, except ``before``.
        before: head that the first row follows; None for a log from its start.

    Raises:
        BrokenChain: a row is missing or doubled, or the chain lacks a known head. A changed row is
            detected by its own hash; if all later hashes were recomputed, too, by the first known
            head after it.
    """
    known: dict[int, str] = {}
    for head in heads:
        if known.setdefault(head.n, head.hash) != head.hash:
            raise BrokenChain(head.n, "two heads of one number differ")
    end = before or LogHead(n=0, hash=ORIGIN)
    if known.get(end.n, end.hash) != end.hash:
        raise BrokenChain(end.n, "its hash differs from the published head")
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
