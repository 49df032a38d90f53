"""The operations of an owner on their clips, after the request was proven.

Each operation writes one row to the access log, and a row for both owners if a file did not verify
as the requester's. The module is independent of HTTP, decrypts nothing, and has no parameter for a
recipient.
"""

import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from listener.archive.challenges import ChallengeResult, KeyReplaced, RequestChallenge
from listener.archive.context import ArchiveContext
from listener.archive.devices import describe
from listener.archive.erase import Eraser
from listener.archive.export import Exporter
from listener.archive.verified_access import ClipFinder, ClipNotFound, VerifiedReader, WrongOwner
from listener.archive.voice_consents import consent_messages, is_void, make_pending
from listener.envelope import keys
from listener.errors import UsageError
from listener.owner.key_rotation import KeyRotation
from listener.owner.roster import Roster
from listener.rights import requests
from listener.storage.access_log import LogEntry
from listener.storage.wrong_attributions import WRONG_ATTRIBUTIONS, WrongAttributions


@dataclass(frozen=True, slots=True)
class SealedClip:
    """One envelope to send."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ZipStream:
    """A ZIP to send piece by piece; an exception from the generator ends the response."""

    pieces: Generator[bytes, None, None]


Result = dict[str, Any] | SealedClip | ZipStream


class Operations:
    """Carries out proven requests. Safe for several threads.

    Args:
        context: the archive.
    """

    def __init__(self, context: ArchiveContext) -> None:
        self._context = context
        self._store = context.store
        self._log = context.log
        self._reader = VerifiedReader(context.store, context.roster)
        self._exporter = Exporter(context, self._reader)
        counts = WrongAttributions(context.home.path / "archive" / WRONG_ATTRIBUTIONS)
        self._eraser = Eraser(context, self._reader, counts)
        self._finder = ClipFinder(context.store, self._reader)
        self._new_key_lock = threading.Lock()

    def log_refusal(self, result: ChallengeResult) -> None:
        """Log an answer that authorised nothing.

        Raises:
            Unavailable: the log cannot be written.
        """
        ticket = result.ticket
        other = result.crossed if result.crossed != ticket.owner else None
        self._context.append_to_log(
            LogEntry(
                owner=ticket.owner,
                op=ticket.request.op,
                outcome="refused" if other is None else "crossed",
                other=other,
                request_sha256=ticket.request_sha256,
                count=1,
            )
        )

    def execute(self, ticket: RequestChallenge) -> Result:
        """Carry out a proven request, if its key is still the owner's active one.

        Raises:
            OwnerNotActive: the owner is no longer active.
            KeyReplaced: the owner's key was replaced since the ticket was issued; it is logged.
            ClipNotFound: the owner has no such clip.
            WrongOwner: a file is not the owner's; it is logged for both owners.
            UsageError: the new key is already in use, or the log has no such row.
            Unavailable: disk, index or log cannot be used.
        """
        try:
            ticket.check_roster(self._context.roster())
            return self._carry_out(ticket)
        except KeyReplaced:
            self.log_refusal(ChallengeResult(ticket, is_proven=False))
            raise

    def _carry_out(self, ticket: RequestChallenge) -> Result:
        result: Result
        match ticket.request:
            case requests.ListRequest() as request:
                result = self._list(ticket, request)
            case requests.PlayRequest(clip=clip):
                result = self._play(ticket, clip)
            case requests.ExportRequest() as request:
                logged_files = self._exporter.check(ticket, request)
                result = ZipStream(self._exporter.pieces(ticket, request, logged_files))
            case requests.EraseRequest() as request:
                result = self._eraser.erase(ticket, request)
            case requests.RetentionRequest(days=days):
                result = self._retention(ticket, days)
            case requests.LogRequest() as request:
                result = self._read_log(ticket, request)
            case requests.NewKeyRequest() as request:
                result = self._new_key(ticket, request)
            case requests.VoiceRequest() as request:
                result = self._voice(ticket, request)
            case _:
                result = self._keys(ticket)
        return result

    def _list(self, ticket: RequestChallenge, request: requests.ListRequest) -> dict[str, Any]:
        rows, foreign = self._finder.find(ticket.owner, request)
        shown = rows[: request.limit]
        for other, number in foreign.items():
            self._context.log_outcome(ticket, number, outcome="not-hers", other=other)
        self._context.log_outcome(ticket, len(shown))
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
            "quarantined": self._store.count_quarantined(ticket.owner),
        }

    def _play(self, ticket: RequestChallenge, clip: str) -> SealedClip:
        try:
            verified = self._reader.fetch(ticket.owner, clip)
        except ClipNotFound as error:
            self._context.log_outcome(ticket)
            if error.other is not None:
                self._context.report_foreign_request(ticket, error.other)
            raise
        except WrongOwner as error:
            self._context.log_outcome(ticket, 1, outcome="not-hers", other=error.other)
            raise
        self._context.log_outcome(ticket, 1)
        return SealedClip(verified.data)

    def _retention(self, ticket: RequestChallenge, days: int | None) -> dict[str, Any]:
        if days is not None:
            self._store.owner_state.set_retention(ticket.owner, days)
        self._context.log_outcome(ticket)
        return {
            "owner": ticket.owner,
            "days": self._store.owner_state.retention_of(ticket.owner),
            "longest": "what each envelope's ttl_s allows",
        }

    def _read_log(self, ticket: RequestChallenge, request: requests.LogRequest) -> dict[str, Any]:
        self._context.log_outcome(ticket)
        before = self._log.hash_at(request.after, ticket.owner)
        if before is None:
            raise UsageError(f"the access log has no row {request.after}", "read it from row 0")
        rows = self._log.page(ticket.owner, request.after, request.limit)
        head = self._context.head(ticket.owner)
        last = rows[-1]["n"] if rows else request.after
        return {
            "rows": rows,
            "before": before,
            "next": last if last < head["head"]["n"] else None,
            "head": head,
        }

    def _new_key(self, ticket: RequestChallenge, request: requests.NewKeyRequest) -> dict[str, Any]:
        """Change the owner's key here, and store the proofs for the speakers, which verify them."""
        name, recipient = ticket.owner, request.recipient

        def edit(roster: Roster) -> Roster:
            ticket.check_roster(roster)
            return roster.with_new_key(name, recipient)

        with self._new_key_lock:  # rotations are stored in the order in which the keys follow
            after = self._context.home.change_roster(edit)
            self._store_rotations(ticket, request, after)
            okey = after.known_owner(name).okey
            self._store_consents(ticket.owner, okey, request.consents, after)
        return self._keys(ticket)

    def _voice(self, ticket: RequestChallenge, request: requests.VoiceRequest) -> dict[str, Any]:
        """Store the owner's consents for the speakers, which verify them; return the stored ones.

        The log's row says ``voice-on`` or ``voice-off``; ``voice`` is a request that changed none.
        """
        owner, stated = ticket.owner, request.consents
        with self._new_key_lock:  # none is stored for a key that another thread replaces
            roster = self._context.home.roster()
            ticket.check_roster(roster)
            if stated:
                self._store_consents(owner, ticket.okey, stated, roster)
        op = f"voice-{'on' if stated[0].on else 'off'}" if stated else None
        self._context.log_outcome(ticket, len(stated), op=op)
        messages = consent_messages(self._store.owner_state, roster, self._store.has_sealed)
        current = [
            consent
            for consent in self._store.owner_state.consents()
            if consent.owner == owner and not is_void(consent, roster)
        ]
        return {
            "owner": owner,
            "consents": [msgspec.json.decode(consent.text) for consent in current],
            "forwarded": sorted(
                consent.device for consent in current if consent.text in messages[consent.device]
            ),
            "status": self._context.voice_statuses.of_owner(owner),
        }

    def _store_consents(
        self, owner: str, okey: str, stated: Sequence[requests.VoiceConsent], roster: Roster
    ) -> None:
        dkeys = {device.name: device.dkey for device in roster.devices}
        self._store.owner_state.set_consents(
            [
                make_pending(owner, okey, dkeys[one.device], one)
                for one in stated
                if one.device in dkeys
            ]
        )

    def _store_rotations(
        self, ticket: RequestChallenge, request: requests.NewKeyRequest, roster: Roster
    ) -> None:
        name, recipient = ticket.owner, request.recipient
        known = {device.name for device in roster.devices}
        messages = {
            proof.device: KeyRotation(
                owner=name,
                device=proof.device,
                old=ticket.okey,
                new=recipient,
                old_proof=proof.old,
                new_proof=proof.new,
            )
            for proof in request.proofs
            if proof.device in known
        }
        self._store.owner_state.set_pending_keys(
            name, {device: message.encode().decode() for device, message in messages.items()}
        )

    def _keys(self, ticket: RequestChallenge) -> dict[str, Any]:
        self._context.log_outcome(ticket)
        roster = self._context.home.roster()
        owner = roster.known_owner(ticket.owner)
        return {
            "owner": owner.name,
            "active": owner.okey,
            "retired": [keys.owner_id(key) for key in owner.retired],
            "devices": {device.name: device.key for device in roster.devices},
            "retired_devices": list(map(describe, roster.retired_devices)),
            "sealed_to": {
                device.name: self._sealed_to(owner.name, device.name) for device in roster.devices
            },
            "forwarded": self._store.owner_state.devices_with_pending_key(
                owner.name, owner.recipient
            ),
        }

    def _sealed_to(self, owner: str, device: str) -> str | None:
        """Return the key of the owner's newest clip from a speaker, or None."""
        clip = self._store.newest(owner, device)
        if clip is None:
            return None
        try:
            return self._reader.fetch(owner, clip).envelope.header.okey
        except (ClipNotFound, WrongOwner):
            return None  # a list or an export reports it
