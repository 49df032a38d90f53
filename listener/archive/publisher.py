"""What the archive publishes without being asked, and what it makes of what it once published."""

import logging
from collections.abc import Iterator
from typing import Final

import msgspec

from listener.archive.context import ArchiveContext
from listener.archive.owner_state import OwnerState
from listener.mqtt import retention, topics
from listener.mqtt.client import Message
from listener.owner.roster import ARCHIVE
from listener.rights import receipts
from listener.storage.access_log import LogEntry

MOST_TOLD_A_TURN: Final = 20

_log = logging.getLogger(__name__)


class ArchivePublisher:
    """What the archive says unasked: where its log ends, and which clips devices may let go of.

    Whoever holds a head notices a log that was cut or rewritten, the archive included: a head on
    the broker that is ahead of the log means that an older copy of this home was put back.

    Args:
        holdings: the log and the erased clips.
    """

    topic: Final = topics.STATUS.name(device=ARCHIVE)

    def __init__(self, holdings: ArchiveContext) -> None:
        self._holdings = holdings
        self._said = -1
        self._told = -1
        self._looked = False

    def on_connected(self) -> None:
        """Say everything anew on this connection."""
        self._said = self._told = -1

    def on_message(self, message: Message) -> None:
        """Compare what the broker has kept with the log; the first one counts, the rest is ours."""
        if self._looked or not message.retain:
            return
        self._looked = True
        try:
            kept = receipts.parse_head(message.payload, self._holdings.key.public_key()).unsigned()
        except receipts.BadSignature:
            return
        if self._holdings.log.hash_at(kept.n) != kept.hash:
            _log.error(
                "the access log does not hold the head that was published for row %d:"
                " an older copy of this home was put back, or the log was changed",
                kept.n,
            )
            for owner in self._holdings.roster().owners:
                self._holdings.log.append(
                    LogEntry(owner=owner.name, op="restored", outcome="failed")
                )

    def pending_messages(self) -> Iterator[Message]:
        """Yield what is to be published now."""
        end = self._holdings.log.head().n
        if end != self._said:
            self._said = end
            status = msgspec.json.encode(self._holdings.head(), order="sorted")
            yield Message(self.topic, status, topics.STATUS.qos, topics.STATUS.retain)
        orders = self._holdings.store.orders
        if orders.version != self._told:
            self._told = orders.version
            yield from self._orders(orders)
        for _ in range(min(MOST_TOLD_A_TURN, len(self._holdings.gone))):
            gone = self._holdings.gone.popleft()
            answer = topics.Answer(gone.sha256, topics.ERASED).encode()
            topic = topics.ACK.name(device=gone.device, clip=gone.clip)
            yield Message(topic, answer, topics.ACK.qos, topics.ACK.retain)

    def _orders(self, orders: OwnerState) -> Iterator[Message]:
        for term in orders.retention_limits():
            payload = retention.encode(term, self._holdings.key.sign)
            topic = topics.RETENTION.name(owner=term.owner)
            yield Message(topic, payload, topics.RETENTION.qos, topics.RETENTION.retain)
        for device, message in orders.pending_keys().items():
            payload = f"[{','.join(message)}]".encode()
            topic = topics.KEYS.name(device=device)
            yield Message(topic, payload, topics.KEYS.qos, topics.KEYS.retain)
