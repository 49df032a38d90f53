"""Which clip flies, when it has arrived, and when to give it up. No sockets here.

A clip leaves the spool when the archive answers with the SHA-256 of exactly its bytes, and for
nothing less. One is in flight at a time. A clip that cannot pass must not hold up the others for
ever, and a broker or an archive that is away must cost no clip; so failures are told apart:

* **its own**: larger than the broker takes, refused by the archive, or the connection broke
  three times between its publication and the broker's receipt, each time on a connection that had
  proven itself. It goes to quarantine.
* **nobody knows**: published, and no answer. The next one in the spool is tried, and the wait
  grows. Only when others are acknowledged after each of three such failures is it the clip's own.
"""

import hashlib
import logging
from dataclasses import dataclass, field
from typing import Final

from listener.mqtt import topics
from listener.mqtt.client import PACKET_TOO_LARGE, BrokerLimits, Message
from listener.spool.files import SpoolEntry
from listener.spool.queue import Spool

MOST_STRIKES: Final = 3
LONGEST_WAIT_S: Final = 30.0
EXPIRY_S: Final = 60
"""A broker need not hold a clip for longer than we wait for its answer: it comes again."""
_TOPIC_NAME_INVALID: Final = 0x90
_PAYLOAD_INVALID: Final = 0x99
_OWN_FAULT: Final = {_TOPIC_NAME_INVALID, PACKET_TOO_LARGE, _PAYLOAD_INVALID}

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _InFlight:
    entry: SpoolEntry
    sha256: str
    since_s: float
    ticket: int = 0
    accepted: bool = False


@dataclass(slots=True)
class _DeliveryHistory:
    """What a clip has been through."""

    sha256: str
    entry: SpoolEntry
    cut_off: int = 0
    ignored: int = 0
    unanswered: bool = field(default=False)


class ClipDelivery:
    """Take clips from the spool one by one. For one thread.

    Args:
        spool: the queue.
        device: this speaker's name.
        retry_s: how long to wait for the archive's answer at first.
    """

    def __init__(self, spool: Spool, device: str, retry_s: float) -> None:
        self.spool = spool
        self.device = device
        self._retry_s = retry_s
        self._flight: _InFlight | None = None
        self._past: dict[str, _DeliveryHistory] = {}
        self._stuck: set[str] = set()
        self._after: SpoolEntry | None = None
        self._misses = 0
        self.quarantined = 0
        """Clips set aside by this courier."""
        self.arrived = 0
        """Clips that this courier saw acknowledged."""

    def next(self, now_s: float, limits: BrokerLimits) -> Message | None:
        """Return the clip to publish now, if there is one; then call ``on_published``."""
        if self._flight is not None:
            if now_s - self._flight.since_s < self._answer_timeout_s():
                return None
            self._answer_timed_out(self._flight)
        for entry in self._order_entries():
            data = self._read(entry)
            if data is None:
                continue
            topic = topics.CLIP.name(owner=entry.owner, device=self.device, clip=entry.clip)
            message = Message(topic, data, topics.CLIP.qos, topics.CLIP.retain, EXPIRY_S)
            if not limits.accepts(message):
                self._quarantine(
                    entry, f"with {len(data)} bytes it is over the broker's {limits.packet_bytes}"
                )
                continue
            sha256 = hashlib.sha256(data).hexdigest()
            self._flight = _InFlight(entry, sha256, now_s)
            self._past.setdefault(entry.clip, _DeliveryHistory(sha256, entry))
            return message
        return None

    def on_published(self, ticket: int) -> None:
        """Say by which ticket the broker's client speaks of the clip in flight."""
        if self._flight is not None:
            self._flight.ticket = ticket

    def on_delivered(self, ticket: int) -> None:
        """Record that the broker accepted the message with this ticket."""
        if self._flight is not None and self._flight.ticket == ticket:
            self._flight.accepted = True

    def on_rejected(self, ticket: int, code: int, reason: str) -> None:
        """Handle the broker's refusal of the message with this ticket."""
        flight = self._flight
        if flight is None or flight.ticket != ticket:
            return
        if code in _OWN_FAULT:
            self._flight = None
            self._quarantine(flight.entry, f"the broker refuses it: {reason}")
        else:
            # Rights and quotas are no clip's own; the wait for the answer goes on and grows.
            _log.warning("the broker refuses clips: %s", reason)
            flight.accepted = True

    def on_connection_lost(self, code: int | None, *, proven: bool) -> None:
        """Handle the loss of the connection.

        Args:
            code: the broker's reason, if it gave one.
            proven: whether it had carried anything on this connection before.
        """
        flight, self._flight = self._flight, None
        if flight is None or flight.accepted:
            return
        if code == PACKET_TOO_LARGE:
            self._quarantine(flight.entry, "the broker says that it is too large")
        elif proven:
            past = self._past[flight.entry.clip]
            past.cut_off += 1
            if past.cut_off >= MOST_STRIKES:
                self._quarantine(
                    flight.entry, f"the broker hung up on it {MOST_STRIKES} times in a row"
                )

    def on_answer(self, clip: str, payload: bytes) -> None:
        """Handle an answer to a clip, from the archive or another sender on its topic."""
        answer = topics.parse_answer(payload)
        past = self._past.get(clip)
        if answer is not None and past is None and answer.refused == topics.ERASED:
            self._delete_erased(clip, answer.sha256)
            return
        if answer is None or past is None or answer.sha256 != past.sha256:
            return  # not ours, not yet, or not the bytes that we hold
        if self._flight is not None and self._flight.entry.clip == clip:
            self._flight = None
        if answer.refused and answer.refused != topics.ERASED:
            self._quarantine(past.entry, f"the archive refuses it: {answer.refused}")
            return
        self._misses = 0
        self._after = None
        self.arrived += 1
        del self._past[clip]
        try:
            self.spool.remove(past.entry)
        except OSError as error:
            _log.warning("cannot take a clip out of the spool: %s", error.strerror)
            self._stuck.add(clip)
        self._count_failures()

    def _delete_erased(self, clip: str, sha256: str) -> None:
        """Let go of a clip that its owner erased, though it never flew from here.

        The tombstone counts only where it names the exact bytes in the spool, which who has never
        seen the envelope cannot know. A broker has seen what it carried; of that it could forge the
        plain acknowledgement as well (docs/decisions/0021).
        """
        for entry in self.spool.waiting():
            data = self._read(entry) if entry.clip == clip else None
            if data is None or hashlib.sha256(data).hexdigest() != sha256:
                continue
            try:
                self.spool.remove(entry)
            except OSError as error:
                _log.warning("cannot take a clip out of the spool: %s", error.strerror)
                self._stuck.add(clip)
        try:
            self.spool.delete_erased(clip, sha256)
        except OSError as error:
            _log.warning("cannot take a clip out of the quarantine: %s", error.strerror)

    def waiting(self) -> int:
        """Return how many clips are still to go."""
        return sum(entry.clip not in self._stuck for entry in self.spool.waiting())

    def _answer_timeout_s(self) -> float:
        grown_s = self._retry_s * (1 << min(self._misses, 10))
        return min(grown_s, max(self._retry_s, LONGEST_WAIT_S))

    def _order_entries(self) -> list[SpoolEntry]:
        """Return what waits: the oldest first, but after one without answer the one behind it."""
        entries = [entry for entry in self.spool.waiting() if entry.clip not in self._stuck]
        present = {entry.clip for entry in entries}
        self._past = {clip: past for clip, past in self._past.items() if clip in present}
        if self._after is None:
            return entries
        later = [entry for entry in entries if entry > self._after]
        return later + entries[: len(entries) - len(later)]

    def _answer_timed_out(self, flight: _InFlight) -> None:
        self._flight = None
        self._after = flight.entry
        self._misses += 1
        if (past := self._past.get(flight.entry.clip)) is not None:
            past.unanswered = True

    def _count_failures(self) -> None:
        """One clip came through: those that did not, before it, have one failure of their own."""
        for past in list(self._past.values()):
            if past.unanswered:
                past.unanswered = False
                past.ignored += 1
                if past.ignored >= MOST_STRIKES:
                    self._quarantine(
                        past.entry, f"{MOST_STRIKES} times it got no answer where others did"
                    )

    def _read(self, entry: SpoolEntry) -> bytes | None:
        try:
            return self.spool.read(entry)
        except OSError as error:
            self._quarantine(entry, f"the disk does not give it back: {error.strerror}")
            return None

    def _quarantine(self, entry: SpoolEntry, why: str) -> None:
        _log.warning("clip %d cannot pass and is set aside: %s", entry.seq, why)
        self._past.pop(entry.clip, None)
        self.quarantined += 1
        try:
            self.spool.quarantine(entry)
        except OSError as error:
            _log.warning("cannot set it aside: %s", error.strerror)
            self._stuck.add(entry.clip)
