"""What an owner can do with her clips, once she has proved that she is the owner.

Each operation ends in one row of the log, and whatever did not verify as hers in a row for both
owners. Nothing here knows HTTP, decrypts, or could be told a recipient.
"""

import hashlib
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.accesslog import AccessLog, Entry
from listener.archive.door import Door, Missing, NotHers
from listener.archive.export import Exporter
from listener.archive.orders import Tombstone
from listener.archive.store import FileStore
from listener.archive.tickets import Ticket, Verdict
from listener.envelope import keys
from listener.envelope.format import timestamp
from listener.errors import UsageError
from listener.home import Home
from listener.owner.roster import Roster
from listener.rights import request as requests
from listener.rights.chain import Head
from listener.rights.receipt import Receipt, SignedHead, signed

_BATCH: Final = 500
_MOST_TOLD: Final = 20_000
_FREE_REFUSALS: Final = 20
_REFUSALS_A_ROW: Final = 100
_REFUSALS_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Gone:
    """An erased clip, as its device's spool may still know it."""

    device: str
    clip: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Sealed:
    """One envelope that goes out."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Stream:
    """A ZIP that goes out piece by piece; an exception from it means: break off."""

    pieces: Iterator[bytes]


Result = dict[str, Any] | Sealed | Stream


@dataclass(slots=True)
class _Wrong:
    """Wrong answers in one owner's name, in the hour that is running."""

    since_s: float
    number: int = 0
    unwritten: int = 0


@dataclass(frozen=True, slots=True)
class Archive:
    """What the operations work on."""

    home: Home
    store: FileStore
    log: AccessLog
    roster: Callable[[], Roster]
    key: Ed25519PrivateKey
    wall_s: Callable[[], float] = time.time
    gone: deque[Gone] = field(default_factory=lambda: deque(maxlen=_MOST_TOLD))
    """Erased clips of which the devices are still to be told."""

    @property
    def name(self) -> str:
        """The archive's public key as people carry it."""
        return keys.device_text(self.key.public_key())

    def now(self) -> str:
        """Return the time as headers spell it."""
        return timestamp(datetime.fromtimestamp(self.wall_s(), UTC))

    def head(self) -> dict[str, Any]:
        """Return the head of the log, signed."""
        end = self.log.head()
        said = SignedHead(n=end.n, hash=end.hash, t=self.now(), archive=self.name)
        return signed(said, self.key)


class Rights:
    """Carry requests out. Safe for use by several threads.

    Args:
        archive: what they are about.
        monotonic_s: a clock that never jumps.
    """

    def __init__(self, archive: Archive, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._archive = archive
        self._store = archive.store
        self._log = archive.log
        self._door = Door(archive.store, archive.roster)
        self._exporter = Exporter(self._door, archive.log, archive.roster, self._export_receipt)
        self._monotonic_s = monotonic_s
        self._wrong: dict[str, _Wrong] = {}

    def refuse(self, verdict: Verdict) -> None:
        """Note an answer that proved nothing.

        Raises:
            Unavailable: the log cannot be written.
        """
        ticket = verdict.ticket
        entry = Entry(
            owner=ticket.owner,
            op=ticket.request.op,
            outcome="refused",
            request_sha256=ticket.request_sha256,
            count=1,
        )
        if verdict.crossed is not None and verdict.crossed != ticket.owner:
            self._log.append(replace(entry, outcome="crossed", other=verdict.crossed))
        elif (number := self._worth_a_row(ticket.owner)) > 0:
            self._log.append(replace(entry, count=number))

    def carry_out(self, ticket: Ticket) -> Result:
        """Do what was proven.

        Raises:
            Missing: there is no such clip of hers.
            NotHers: what lies there is somebody else's; both logs say so.
            UsageError: the new key is taken.
            Unavailable: disk, index or log cannot be used.
        """
        match ticket.request:
            case requests.List() as asked:
                return self._list(ticket, asked)
            case requests.Play(clip=clip):
                return self._play(ticket, clip)
            case requests.Export() as asked:
                return Stream(self._exporter.pieces(ticket, asked))
            case requests.Erase() as asked:
                return self._erase(ticket, asked)
            case requests.Retention(days=days):
                return self._retention(ticket, days)
            case requests.Log() as asked:
                return self._read_log(ticket, asked)
            case requests.NewKey(recipient=recipient):
                name = ticket.owner
                self._archive.home.change_roster(lambda old: old.with_new_key(name, recipient))
                return self._keys(ticket)
            case _:
                return self._keys(ticket)

    def _list(self, ticket: Ticket, asked: requests.List) -> dict[str, Any]:
        found = self._store.page(
            ticket.owner,
            requests.span(asked),
            device=asked.device,
            after=asked.after or "",
            limit=asked.limit + 1,
        )
        shown = found[: asked.limit]
        self._done(ticket, len(shown))
        more = len(found) > len(shown)
        return {
            "clips": [
                {
                    "clip": one.clip,
                    "device": one.device,
                    "seq": one.seq,
                    "t": one.t,
                    "ttl_s": one.ttl_s,
                    "size_bytes": one.size_bytes,
                    "received": one.received_s,
                    "expires": one.expires_s,
                }
                for one in shown
            ],
            "next": f"{shown[-1].t}/{shown[-1].clip}" if more else None,
        }

    def _play(self, ticket: Ticket, clip: str) -> Sealed:
        try:
            passed = self._door.fetch(ticket.owner, clip)
        except NotHers as error:
            self._done(ticket, 1, outcome="not-hers", other=error.other)
            raise
        self._done(ticket, 1)
        return Sealed(passed.data)

    def _erase(self, ticket: Ticket, asked: requests.Erase) -> dict[str, Any]:
        owner = ticket.owner
        if asked.clips is None:
            # First, so that what arrives from now on is refused and what arrived before is found.
            now_s = self._archive.wall_s()
            self._store.orders.sweep(owner, requests.span(asked), asked.device, now_s)
        foreign: Counter[str | None] = Counter()
        erased: list[str] = []
        batch: list[Tombstone] = []
        for clip in self._chosen(owner, asked):
            try:
                if (stone := self._tombstone(owner, clip)) is not None:
                    batch.append(stone)
            except NotHers as error:
                foreign[error.other] += 1
            if len(batch) == _BATCH:
                erased += self._bury(owner, batch)
        erased += self._bury(owner, batch)
        for other, number in foreign.items():
            self._done(ticket, number, outcome="not-hers", other=other)
        head = self._done(ticket, len(erased))
        return self._receipt(ticket, "erase", len(erased), head, clips=tuple(erased))

    def _chosen(self, owner: str, asked: requests.Erase) -> list[str]:
        if asked.clips is not None:
            return list(dict.fromkeys(asked.clips))
        if asked.all and asked.device is None:
            return list(self._door.candidates(owner))
        chosen: list[str] = []
        after = ""
        span = requests.span(asked)
        while page := self._store.page(owner, span, device=asked.device, after=after):
            chosen += [one.clip for one in page]
            after = f"{page[-1].t}/{page[-1].clip}"
        return chosen

    def _tombstone(self, owner: str, clip: str) -> Tombstone | None:
        """Return a clip's, or None when there is nothing of hers to erase."""
        try:
            passed = self._door.fetch(owner, clip)
        except Missing:
            row = self._store.row(clip)
        except NotHers as error:
            # Damaged, and by the index hers: it goes. Verified as another's: it stays.
            row = self._store.row(clip)
            if error.other is not None or row is None or row[0] != owner:
                raise
        else:
            header = passed.envelope.header
            self._archive.gone.append(Gone(header.device, header.clip, passed.sha256))
            return passed.tombstone
        return row[1] if row is not None and row[0] == owner else None

    def _bury(self, owner: str, batch: list[Tombstone]) -> list[str]:
        self._store.erase(owner, batch)
        gone = [one.clip for one in batch]
        batch.clear()
        return gone

    def _retention(self, ticket: Ticket, days: int | None) -> dict[str, Any]:
        if days is not None:
            self._store.orders.set_retention(ticket.owner, days)
        self._done(ticket)
        return {
            "owner": ticket.owner,
            "days": self._store.orders.retention_days().get(ticket.owner),
            "longest": "what each envelope's ttl_s allows",
        }

    def _read_log(self, ticket: Ticket, asked: requests.Log) -> dict[str, Any]:
        self._done(ticket)
        before = self._log.hash_at(asked.after)
        if before is None:
            raise UsageError("the log has no such row")
        rows = self._log.page(ticket.owner, asked.after, asked.limit)
        head = self._archive.head()
        last = rows[-1]["n"] if rows else asked.after
        return {
            "rows": rows,
            "before": before,
            "next": last if last < head["head"]["n"] else None,
            "head": head,
        }

    def _keys(self, ticket: Ticket) -> dict[str, Any]:
        self._done(ticket)
        owner = self._archive.home.roster().known_owner(ticket.owner)
        return {
            "owner": owner.name,
            "active": owner.okey,
            "retired": [keys.owner_id(one) for one in owner.retired],
        }

    def _export_receipt(
        self, ticket: Ticket, count: int, manifest_sha256: str, head: Head
    ) -> dict[str, Any]:
        return self._receipt(ticket, "export", count, head, manifest_sha256=manifest_sha256)

    def _receipt(
        self, ticket: Ticket, kind: Any, count: int, head: Head, **more: Any
    ) -> dict[str, Any]:
        said = Receipt(
            kind=kind,
            owner=ticket.owner,
            t=self._archive.now(),
            request_sha256=ticket.request_sha256,
            count=count,
            head=head,
            archive=self._archive.name,
            **more,
        )
        return signed(said, self._archive.key)

    def _done(
        self, ticket: Ticket, count: int = 0, *, outcome: Any = "done", other: str | None = None
    ) -> Head:
        return self._log.append(
            Entry(
                owner=ticket.owner,
                op=ticket.request.op,
                outcome=outcome,
                other=other,
                okey=ticket.okey,
                count=count,
                request_sha256=ticket.request_sha256,
            )
        )

    def _worth_a_row(self, owner: str) -> int:
        """Say how many wrong answers the next row stands for; 0 when none is due.

        Whoever floods must not grow the log.
        """
        now_s = self._monotonic_s()
        wrong = self._wrong.setdefault(owner, _Wrong(now_s))
        if now_s - wrong.since_s >= _REFUSALS_S:
            wrong = self._wrong[owner] = _Wrong(now_s, unwritten=wrong.unwritten)
        wrong.number += 1
        wrong.unwritten += 1
        if wrong.number > _FREE_REFUSALS and wrong.unwritten < _REFUSALS_A_ROW:
            return 0
        due, wrong.unwritten = wrong.unwritten, 0
        return due
