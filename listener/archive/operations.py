"""What an owner can do with her clips, once she has proved that she is the owner.

Each operation ends in one row of the log, and whatever did not verify as hers in a row for both
owners. Nothing here knows HTTP, decrypts, or could be told a recipient.
"""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, Final

from listener.archive.challenges import ChallengeResult, RequestChallenge
from listener.archive.context import ArchiveContext
from listener.archive.erase import Eraser
from listener.archive.export import Exporter
from listener.archive.verified_access import ClipFinder, ClipNotFound, VerifiedReader, WrongOwner
from listener.envelope import keys
from listener.errors import UsageError
from listener.owner.key_rotation import KeyRotation
from listener.rights import requests
from listener.storage.access_log import LogEntry

_FREE_REFUSALS: Final = 20
_REFUSALS_A_ROW: Final = 100
_REFUSALS_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class SealedClip:
    """One envelope that goes out."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ZipStream:
    """A ZIP that goes out piece by piece; an exception from it means: break off."""

    pieces: Generator[bytes, None, None]


Result = dict[str, Any] | SealedClip | ZipStream


@dataclass(slots=True)
class _WrongAnswers:
    """Wrong answers in one owner's name, in the hour that is running."""

    since_s: float
    number: int = 0
    unwritten: int = 0


class Operations:
    """Carry requests out. Safe for use by several threads.

    Args:
        holdings: what they are about.
        monotonic_s: a clock that never jumps.
    """

    def __init__(
        self, holdings: ArchiveContext, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._holdings = holdings
        self._store = holdings.store
        self._log = holdings.log
        self._door = VerifiedReader(holdings.store, holdings.roster)
        self._exporter = Exporter(holdings, self._door)
        self._eraser = Eraser(holdings, self._door)
        self._lister = ClipFinder(holdings.store, self._door)
        self._monotonic_s = monotonic_s
        self._wrong: dict[str, _WrongAnswers] = {}

    def log_refusal(self, verdict: ChallengeResult) -> None:
        """Note an answer that proved nothing.

        Raises:
            Unavailable: the log cannot be written.
        """
        ticket = verdict.ticket
        entry = LogEntry(
            owner=ticket.owner,
            op=ticket.request.op,
            outcome="refused",
            request_sha256=ticket.request_sha256,
            count=1,
        )
        if verdict.crossed is not None and verdict.crossed != ticket.owner:
            self._log.append(replace(entry, outcome="crossed", other=verdict.crossed))
        elif (number := self._wrong_answers_to_log(ticket.owner)) > 0:
            self._log.append(replace(entry, count=number))

    def execute(self, ticket: RequestChallenge) -> Result:  # noqa: PLR0911 - one for each request
        """Do what was proven.

        Raises:
            Missing: there is no such clip of hers.
            NotHers: what lies there is somebody else's; both logs say so.
            UsageError: the new key is taken.
            Unavailable: disk, index or log cannot be used.
        """
        match ticket.request:
            case requests.ListRequest() as asked:
                return self._list(ticket, asked)
            case requests.PlayRequest(clip=clip):
                return self._play(ticket, clip)
            case requests.ExportRequest() as asked:
                self._exporter.check(ticket)
                return ZipStream(self._exporter.pieces(ticket, asked))
            case requests.EraseRequest() as asked:
                return self._eraser.erase(ticket, asked)
            case requests.RetentionRequest(days=days):
                return self._retention(ticket, days)
            case requests.LogRequest() as asked:
                return self._read_log(ticket, asked)
            case requests.NewKeyRequest() as asked:
                return self._new_key(ticket, asked)
            case _:
                return self._keys(ticket)

    def _list(self, ticket: RequestChallenge, request: requests.ListRequest) -> dict[str, Any]:
        rows, foreign = self._lister.find(ticket.owner, request)
        shown = rows[: request.limit]
        for other, number in foreign.items():
            self._holdings.log_outcome(ticket, number, outcome="not-hers", other=other)
        self._holdings.log_outcome(ticket, len(shown))
        more = len(rows) > len(shown)
        return {
            "clips": [
                {
                    "clip": clip.clip,
                    "device": clip.device,
                    "seq": clip.seq,
                    "t": clip.t,
                    "ttl_s": clip.ttl_s,
                    "size_bytes": clip.size_bytes,
                    "received": clip.received_s,
                    "expires": clip.expires_s,
                }
                for clip in shown
            ],
            "next": f"{shown[-1].t}/{shown[-1].clip}" if more else None,
        }

    def _play(self, ticket: RequestChallenge, clip: str) -> SealedClip:
        try:
            passed = self._door.fetch(ticket.owner, clip)
        except ClipNotFound:
            self._holdings.log_outcome(ticket)
            raise
        except WrongOwner as error:
            self._holdings.log_outcome(ticket, 1, outcome="not-hers", other=error.other)
            raise
        self._holdings.log_outcome(ticket, 1)
        return SealedClip(passed.data)

    def _retention(self, ticket: RequestChallenge, days: int | None) -> dict[str, Any]:
        if days is not None:
            self._store.orders.set_retention(ticket.owner, days)
        self._holdings.log_outcome(ticket)
        return {
            "owner": ticket.owner,
            "days": self._store.orders.retention_days().get(ticket.owner),
            "longest": "what each envelope's ttl_s allows",
        }

    def _read_log(self, ticket: RequestChallenge, request: requests.LogRequest) -> dict[str, Any]:
        self._holdings.log_outcome(ticket)
        before = self._log.hash_at(request.after)
        if before is None:
            raise UsageError("the log has no such row")
        rows = self._log.page(ticket.owner, request.after, request.limit)
        head = self._holdings.head()
        last = rows[-1]["n"] if rows else request.after
        return {
            "rows": rows,
            "before": before,
            "next": last if last < head["head"]["n"] else None,
            "head": head,
        }

    def _new_key(self, ticket: RequestChallenge, request: requests.NewKeyRequest) -> dict[str, Any]:
        """Move on here, and carry what she says to her speakers, who judge it themselves."""
        name, recipient = ticket.owner, request.recipient
        after = self._holdings.home.change_roster(lambda old: old.with_new_key(name, recipient))
        known = {one.name for one in after.devices}
        messages = {
            one.device: KeyRotation(
                owner=name,
                device=one.device,
                old=ticket.okey,
                new=recipient,
                old_proof=one.old,
                new_proof=one.new,
            )
            for one in request.proofs
            if one.device in known
        }
        self._store.orders.set_pending_keys(
            {device: one.encode().decode() for device, one in messages.items()}
        )
        return self._keys(ticket)

    def _keys(self, ticket: RequestChallenge) -> dict[str, Any]:
        self._holdings.log_outcome(ticket)
        roster = self._holdings.home.roster()
        owner = roster.known_owner(ticket.owner)
        return {
            "owner": owner.name,
            "active": owner.okey,
            "retired": [keys.owner_id(key) for key in owner.retired],
            "devices": {key.name: key.key for key in roster.devices},
            "sealed_to": {
                key.name: self._sealed_to(owner.name, key.name) for key in roster.devices
            },
        }

    def _sealed_to(self, owner: str, device: str) -> str | None:
        """Return the key to which a speaker sealed the newest clip of hers that is here."""
        clip = self._store.newest(owner, device)
        if clip is None:
            return None
        try:
            return self._door.fetch(owner, clip).envelope.header.okey
        except (ClipNotFound, WrongOwner):
            return None  # a list or an export says more about it

    def _wrong_answers_to_log(self, owner: str) -> int:
        """Say how many wrong answers the next row stands for; 0 when none is due.

        Whoever floods must not grow the log.
        """
        now_s = self._monotonic_s()
        wrong = self._wrong.setdefault(owner, _WrongAnswers(now_s))
        if now_s - wrong.since_s >= _REFUSALS_S:
            wrong = self._wrong[owner] = _WrongAnswers(now_s, unwritten=wrong.unwritten)
        wrong.number += 1
        wrong.unwritten += 1
        if wrong.number > _FREE_REFUSALS and wrong.unwritten < _REFUSALS_A_ROW:
            return 0
        due, wrong.unwritten = wrong.unwritten, 0
        return due
