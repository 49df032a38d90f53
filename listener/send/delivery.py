"""Delivery of clips with retries: the order, the acknowledgement and the quarantine. No sockets.

A clip leaves the spool only when the archive answers with the SHA-256 of exactly its bytes. One
clip is in flight at a time. A clip that can never be delivered must not block the others, and an
absent broker or archive must not cost a clip; so failures have two classes:

* **caused by the clip**: larger than the broker accepts, refused by the archive, or the connection
  broke three times between its publication and the broker's acknowledgement, each time on a proven
  connection. The clip is quarantined.
* **of unknown cause**: published, and not answered. The next clip in the spool is tried, and the
  timeout grows. If others are acknowledged after each of three such failures, the clip is the
  cause.

A clip for which the archive answers that it has to wait, such as one of an owner it does not know,
stays in the spool; it is published again after a pause of its own, and no failure is counted.

An archive, or its impostor, that refuses clip after clip is not the clips' fault either: after
``suspension.MOST_REFUSALS`` refusals without an acknowledgement in between, publication is
suspended, and clips that are refused then stay in the spool.
"""

import hashlib
import logging
from dataclasses import dataclass, field
from typing import Final

from listener.errors import Unavailable
from listener.mqtt import topics
from listener.mqtt.client import PACKET_TOO_LARGE, BrokerLimits, Message
from listener.mqtt.wait_reasons import UNKNOWN, WAIT_REASONS
from listener.send.suspension import Suspension
from listener.spool.files import SpoolEntry
from listener.spool.queue import Spool

MOST_STRIKES: Final = 3
LONGEST_PAUSE_S: Final = 60.0
"""Longest pause of a clip that the archive does not store yet; the first is the first timeout, and
each is twice as long as the one before."""
LONGEST_WAIT_S: Final = 30.0
_OWNER: Final = "owner"
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
    """Failures of one clip."""

    sha256: str
    entry: SpoolEntry
    cut_off: int = 0
    ignored: int = 0
    unanswered: bool = field(default=False)
    waits_for: str = ""
    """Reason of the archive for which the clip has to wait; one word."""
    pause_s: float = 0.0
    retry_s: float = float("-inf")
    """Time on the monotonic clock before which the clip is not published again."""


class ClipDelivery:
    """Delivery of the spool's clips, one at a time. For one thread.

    Args:
        spool: the queue.
        device: this speaker's name.
        retry_s: first timeout of the archive's answer, in seconds.
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
        self._recorded = spool.not_stored()
        self.suspension: Final = Suspension(spool)
        """Pause of publication."""
        self.quarantined = 0
        """Clips quarantined by this object."""
        self.arrived = 0
        """Clips acknowledged by the archive."""
        self.erased = 0
        """Clips of the spool that the archive had erased by their owner's order: when they were
        published, or before."""

    def next(self, now_s: float, limits: BrokerLimits) -> Message | None:
        """Return the clip to publish now, or None; then call ``on_published``."""
        if self._flight is not None:
            if now_s - self._flight.since_s < self._answer_timeout_s():
                return None
            self._answer_timed_out(self._flight)
        if not self.suspension.may_publish(now_s):
            return None
        for entry in self._order_entries():
            if (past := self._past.get(entry.clip)) is not None and now_s < past.retry_s:
                continue
            data = self._read(entry)
            if data is None:
                continue
            topic = topics.CLIP.name(owner=entry.owner, device=self.device, clip=entry.clip)
            waited_s = self.spool.waited_s(entry)
            message = Message(
                *(topic, data, topics.CLIP.qos, topics.CLIP.retain),
                expiry_s=topics.CLIP_EXPIRY_S,
                waited_s=waited_s,
            )
            if not limits.accepts(message):
                self._quarantine(
                    entry,
                    f"its {len(data)} bytes exceed the broker's limit of {limits.packet_bytes}",
                )
                continue
            sha256 = hashlib.sha256(data).hexdigest()
            self._flight = _InFlight(entry, sha256, now_s)
            self._past.setdefault(entry.clip, _DeliveryHistory(sha256, entry))
            return message
        return None

    def on_published(self, ticket: int) -> None:
        """Record the client's ticket of the clip in flight."""
        if self._flight is not None:
            self._flight.ticket = ticket

    def is_in_flight(self, ticket: int) -> bool:
        """Return whether this is the client's ticket of the clip in flight."""
        return self._flight is not None and self._flight.ticket == ticket

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
            self._quarantine(flight.entry, f"the broker rejected it: {reason}")
        else:
            # Permissions and quotas concern every clip: wait for the answer, with growing timeouts.
            _log.warning("the broker rejected a clip: %s", reason)
            flight.accepted = True

    def on_connection_lost(self, code: int | None, *, proven: bool) -> None:
        """Handle the loss of the connection.

        Args:
            code: the broker's reason code, if it sent one.
            proven: whether the broker had acknowledged a message on this connection.
        """
        flight, self._flight = self._flight, None
        if flight is None or flight.accepted:
            return
        if code == PACKET_TOO_LARGE:
            self._quarantine(flight.entry, "the broker reported that it is too large")
        elif proven:
            past = self._past[flight.entry.clip]
            past.cut_off += 1
            if past.cut_off >= MOST_STRIKES:
                self._quarantine(
                    flight.entry, f"the broker closed the connection on it {MOST_STRIKES} times"
                )

    def on_answer(self, clip: str, payload: bytes) -> None:
        """Handle an answer to a clip, from the archive or another sender on its topic."""
        answer = topics.parse_answer(payload)
        past = self._past.get(clip)
        if answer is not None and past is None and answer.refused == topics.ERASED:
            self._delete_erased(clip, answer.sha256)
            return
        if answer is None or past is None or answer.sha256 != past.sha256:
            return  # not this device's clip, not sent yet, or not these bytes
        since_s = None
        if self._flight is not None and self._flight.entry.clip == clip:
            since_s = self._flight.since_s
            self._flight = None
        if answer.waiting:
            self._wait(past, answer.waiting, since_s)
            return
        if answer.is_deferred:
            self.suspension.on_deferred()
            return
        if answer.refused and answer.refused != topics.ERASED:
            self._on_refused(past.entry, answer.refused)
            return
        self.suspension.on_stored()
        self._misses = 0
        self._after = None
        is_erased = answer.refused == topics.ERASED
        self.erased += is_erased
        self.arrived += not is_erased
        del self._past[clip]
        for other in self._past.values():
            # The archive stores clips of this device now; of another owner it said nothing.
            if other.entry.owner == past.entry.owner or other.waits_for != _OWNER:
                other.retry_s = float("-inf")
        self._record_not_stored()
        try:
            self.spool.remove(past.entry, erased=is_erased)
        except OSError as error:
            _log.warning("cannot delete a clip from the spool: %s", error.strerror)
            self._stuck.add(clip)
        self._count_failures()

    def _on_refused(self, entry: SpoolEntry, reason: str) -> None:
        if self.suspension.on_refused():
            self._after = entry  # the next attempt is made with another clip
            return
        self._quarantine(entry, f"the archive refused it: {reason}")
        if reason == topics.REPLAY:
            self._count_replay(entry.clip)

    def _wait(self, past: _DeliveryHistory, reason: str, since_s: float | None) -> None:
        """Keep a clip that the archive does not store yet, and deliver the others."""
        if past.waits_for != reason:
            if reason != self.not_stored:
                _log.warning("a clip waits: %s", WAIT_REASONS.get(reason, UNKNOWN).text)
            past.waits_for = reason
        if since_s is None:
            return  # a second answer to one publication
        past.pause_s = max(self._retry_s, min(LONGEST_PAUSE_S, 2 * past.pause_s))
        past.retry_s = since_s + past.pause_s
        past.unanswered = False
        self._record_not_stored()

    @property
    def not_stored(self) -> str:
        """Reason for which the archive does not store a clip of the spool; empty if there is none.

        One word, which the archive chose.
        """
        return next((past.waits_for for past in self._past.values() if past.waits_for), "")

    def _record_not_stored(self) -> None:
        reason = self.not_stored
        if reason == self._recorded:
            return
        try:
            self.spool.set_not_stored(reason)
            self._recorded = reason
        except Unavailable as error:
            _log.warning("cannot record why a clip waits: %s", error)

    def _delete_erased(self, clip: str, sha256: str) -> None:
        """Delete a clip that its owner erased before this object published it.

        The answer counts only with the hash of the exact bytes in the spool, which a sender who has
        not seen the envelope does not know. A broker has seen what it carried; for that it could
        forge an acknowledgement as well (docs/decisions/0021).
        """
        for entry in self.spool.waiting():
            data = self._read(entry) if entry.clip == clip else None
            if data is None or hashlib.sha256(data).hexdigest() != sha256:
                continue
            try:
                self.erased += self.spool.remove(entry, erased=True)
            except OSError as error:
                _log.warning("cannot delete a clip from the spool: %s", error.strerror)
                self._stuck.add(clip)
        try:
            self.spool.delete_erased(clip, sha256)
        except OSError as error:
            _log.warning("cannot delete a clip from the quarantine: %s", error.strerror)

    def waiting(self) -> int:
        """Return the number of clips that are still to be delivered."""
        return sum(entry.clip not in self._stuck for entry in self.spool.waiting())

    def _answer_timeout_s(self) -> float:
        grown_s = self._retry_s * (1 << min(self._misses, 10))
        return min(grown_s, max(self._retry_s, LONGEST_WAIT_S))

    def _order_entries(self) -> list[SpoolEntry]:
        """Return the waiting clips, oldest first, starting after one that was not answered."""
        entries = [entry for entry in self.spool.waiting() if entry.clip not in self._stuck]
        present = {entry.clip for entry in entries}
        self._past = {clip: past for clip, past in self._past.items() if clip in present}
        self._record_not_stored()
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
        """After an acknowledgement, count a failure of each clip that was not answered before."""
        for past in list(self._past.values()):
            if past.unanswered:
                past.unanswered = False
                past.ignored += 1
                if past.ignored >= MOST_STRIKES:
                    self._quarantine(
                        past.entry,
                        f"it was not answered {MOST_STRIKES} times while other clips were",
                    )

    def _read(self, entry: SpoolEntry) -> bytes | None:
        try:
            return self.spool.read(entry)
        except OSError as error:
            self._quarantine(entry, f"cannot read it: {error.strerror}")
            return None

    def _count_replay(self, clip: str) -> None:
        try:
            self.spool.count_replay(clip)
        except OSError as error:
            _log.warning("cannot write the list of refused clips: %s", error.strerror)

    def _quarantine(self, entry: SpoolEntry, why: str) -> None:
        _log.warning("quarantined clip %d: %s", entry.seq, why)
        self._past.pop(entry.clip, None)
        self.quarantined += 1
        try:
            self.spool.quarantine(entry)
        except OSError as error:
            _log.warning("cannot quarantine it: %s", error.strerror)
            self._stuck.add(entry.clip)
