"""The archive's own MQTT messages: log head and clock, numbers, erasures, settings, consents."""

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from listener.archive.context import ArchiveContext
from listener.archive.devices import AcceptedNumbers
from listener.archive.pending_messages import share_message
from listener.archive.storage_interfaces import OwnerRecords
from listener.archive.voice_consents import consent_messages, is_void
from listener.mqtt import retention, topics
from listener.mqtt.client import Message
from listener.owner.roster import ARCHIVE, Roster
from listener.rights import receipts
from listener.rights.hash_chain import LogHead
from listener.storage.access_log import LogEntry

if TYPE_CHECKING:
    from listener.archive.archive_clock import ClockStatus

MOST_ERASURES_PER_TURN: Final = 20

_log = logging.getLogger(__name__)


class ArchivePublisher:
    """Publisher of the log head, and of what devices are told: numbers, erasures, settings.

    A published head reveals a log that was truncated or rewritten. The archive checks it too: a
    retained head that its log does not contain means that an older copy of the home was restored.

    Args:
        context: the access log, the erased clips and the owners' settings.
        is_elected: returns True if this process publishes what all processes share: the head and
            the settings. Each process publishes the numbers and the erasures that it caused.
    """

    topic: Final = topics.STATUS.name(device=ARCHIVE)

    def __init__(
        self, context: ArchiveContext, is_elected: Callable[[], bool] = lambda: True
    ) -> None:
        self._context = context
        self._is_elected = is_elected
        self._was_elected = True
        self._unchecked: LogHead | None = None
        self._published_row = -1
        self._published_clock: ClockStatus | None = None
        self._published_version = -1
        self._is_head_checked = False
        self._roster_of_consents: Roster | None = None
        self._numbers = AcceptedNumbers(context.store, context.roster, context.key.sign, is_elected)

    def on_connected(self) -> None:
        """Publish everything again on a new connection."""
        self._published_row = self._published_version = -1
        self._numbers.reset()

    def on_message(self, message: Message) -> None:
        """Compare the retained head with the log. Only the first one: later ones are our own.

        Raises:
            Unavailable: the log cannot be used.
        """
        if self._is_head_checked or not message.retain:
            return
        self._is_head_checked = True
        try:
            head = receipts.parse_head(message.payload, self._context.key.public_key()).unsigned()
        except receipts.BadSignature:
            return
        self._unchecked = LogHead(n=head.n, hash=head.hash)
        if self._is_elected():
            self._check_head()

    def _check_head(self) -> None:
        """Compare the retained head with the log, and report a difference to each owner."""
        if (head := self._unchecked) is None:
            return
        if self._context.log.hash_at(head.n) != head.hash:
            _log.error(
                "the access log does not contain the head published for row %d:"
                " an older copy of this home was restored, or the log was changed",
                head.n,
            )
            for owner in self._context.roster().owners:
                self._context.log.append(
                    LogEntry(owner=owner.name, op="restored", outcome="failed")
                )
        self._unchecked = None

    def on_status(self, message: Message) -> None:
        """Store which consents a device follows, as it states in its status."""
        device = (topics.STATUS.levels(message.topic) or {}).get("device", "")
        self._context.voice_statuses.take(device, message.payload, self._context.roster())

    def append_due_rows(self) -> None:
        """Append the rows of the access log that are due.

        Raises:
            Unavailable: the log cannot be written.
        """
        self._context.append_due_rows()

    def pending_messages(self) -> Iterator[Message]:
        """Yield the messages to publish now.

        Raises:
            Unavailable: the log or the owners' settings cannot be read.
        """
        self.append_due_rows()
        if self._is_elected():
            if not self._was_elected:  # another process published before
                self.on_connected()
            self._was_elected = True
            self._check_head()
            yield from self._shared_messages()
        else:
            self._was_elected = False
            yield from self.pending_numbers()
        for _ in range(min(MOST_ERASURES_PER_TURN, len(self._context.erased_clips))):
            erased = self._context.erased_clips.popleft()
            answer = topics.ArchiveAnswer(erased.sha256, topics.ERASED).encode()
            topic = topics.ACK.name(device=erased.device, clip=erased.clip)
            yield Message(topic, answer, topics.ACK.qos, topics.ACK.retain)

    def _shared_messages(self) -> Iterator[Message]:
        """Yield the head, the numbers and the settings, as far as they have changed."""
        end = self._context.log.head().n
        clock = None if self._context.clock is None else self._context.clock.status()
        if (end, clock) != (self._published_row, self._published_clock):
            self._published_row, self._published_clock = end, clock
            fields = self._context.head() | ({} if clock is None else {"clock": clock})
            status = msgspec.json.encode(fields, order="sorted")
            yield Message(self.topic, status, topics.STATUS.qos, topics.STATUS.retain)
        yield from self.pending_numbers()
        owner_state = self._context.store.owner_state
        self._remove_void_consents(owner_state)
        if owner_state.version != self._published_version:
            self._published_version = owner_state.version
            yield from self._settings(owner_state)

    def pending_numbers(self) -> Iterator[Message]:
        """Yield the statements of the highest accepted numbers that are to be published now.

        Raises:
            Unavailable: the index cannot be read.
        """
        return self._numbers.pending_messages()

    def _settings(self, owner_state: OwnerRecords) -> Iterator[Message]:
        for limit in owner_state.retention_limits():
            payload = retention.encode(limit, self._context.key.sign)
            topic = topics.RETENTION.name(owner=limit.owner)
            yield Message(topic, payload, topics.RETENTION.qos, topics.RETENTION.retain)
        owners = {owner.name for owner in self._context.roster().owners}
        for device, rotations in owner_state.pending_keys().items():
            current = [rotation for rotation in rotations if rotation.owner in owners]
            known = {name for name in owners if self._context.store.has_sealed(name, device)}
            payload = f"[{','.join(share_message(current, known))}]".encode()
            topic = topics.KEYS.name(device=device)
            yield Message(topic, payload, topics.KEYS.qos, topics.KEYS.retain)
        messages = consent_messages(
            owner_state, self._context.roster(), self._context.store.has_sealed
        )
        for device, texts in messages.items():
            payload = f"[{','.join(texts)}]".encode()
            topic = topics.CONSENTS.name(device=device)
            yield Message(topic, payload, topics.CONSENTS.qos, topics.CONSENTS.retain)

    def _remove_void_consents(self, owner_state: OwnerRecords) -> None:
        """Remove the consents of removed owners and devices, and of keys that were replaced.

        The retained message of a device is published again without them.
        """
        roster = self._context.roster()
        if roster is not self._roster_of_consents:
            owner_state.remove_consents(lambda consent: is_void(consent, roster))
            self._roster_of_consents = roster
