"""Verification of incoming envelopes, from MQTT message to store. Pure but for the store.

The order of the checks is that of ``docs/reference/mqtt.md``: form and sizes, device, signature,
owner, hash, topic, replay. A refused envelope is not stored; it is counted by reason and logged in
one line that contains nothing of it. Nothing here can decrypt.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from listener.archive.records import Erased, Replayed, Store
from listener.envelope import format as form
from listener.envelope import keys
from listener.envelope.verify import matches_owner, verify
from listener.errors import BadEnvelope, Unavailable
from listener.mqtt import topics
from listener.mqtt.client import Message
from listener.owner.roster import Roster

_log = logging.getLogger(__name__)


class Refusal(StrEnum):
    """Reason for which an envelope is not stored; the value is sent in the acknowledgement."""

    TOPIC = "topic"
    """The topic is not a clip topic, or differs from the header."""
    FORM = "form"
    """The envelope is malformed."""
    DEVICE = "device"
    """The roster has no device of this name and key."""
    OWNER = "owner"
    """The roster has no active owner of this name and key."""
    SEAL = "seal"
    """The signature is invalid, or the ciphertext is not the signed one."""
    REPLAY = "replay"
    """Other bytes are archived under the same id, ciphertext or sequence number."""
    ERASED = "erased"
    """The clip was erased."""
    UNAVAILABLE = "unavailable"
    """The store cannot be used now."""


UNANSWERED: Final = frozenset({Refusal.DEVICE, Refusal.OWNER, Refusal.UNAVAILABLE})
"""Temporary reasons: a device or owner that is not added yet, a disk to repair. Without an answer
the device keeps the clip and sends it again."""


class Receiver:
    """Verifies incoming envelopes and stores the valid ones. For one thread.

    Args:
        store: the clip store.
        roster: returns the household's current roster.
        wall_s: returns the time in seconds since 1970.
    """

    def __init__(
        self, store: Store, roster: Callable[[], Roster], wall_s: Callable[[], float]
    ) -> None:
        self._store = store
        self._roster = roster
        self._wall_s = wall_s
        self.stored = 0
        """Number of envelopes stored."""
        self.repeated = 0
        """Number of envelopes received again with the same bytes."""
        self.refused: Counter[Refusal] = Counter()
        """Number of refused envelopes by reason."""

    def refused_counts(self) -> dict[str, int]:
        """Return the numbers of refused envelopes since the start, in words for the log."""
        return {f"envelopes refused ({reason})": count for reason, count in self.refused.items()}

    def receive(self, message: Message) -> Message | None:
        """Verify and store a message's envelope; return the acknowledgement to publish, if any.

        The acknowledgement of a stored envelope may be published at once: it is on disk.
        """
        levels = topics.CLIP.levels(message.topic)
        if levels is None:
            self._refuse(Refusal.TOPIC, "the topic is not a clip topic")
            return None
        refusal = self._store_verified(levels, message.payload)
        if refusal in UNANSWERED:
            return None
        answer = topics.Answer(hashlib.sha256(message.payload).hexdigest(), refusal or "")
        return Message(
            topics.ACK.name(device=levels["device"], clip=levels["clip"]),
            answer.encode(),
            topics.ACK.qos,
            topics.ACK.retain,
        )

    def verify(self, data: bytes) -> form.Envelope:
        """Verify an envelope against the current roster.

        Raises:
            BadEnvelope: it is malformed, or a signature, hash, device or owner is wrong.
        """
        roster = self._roster()
        return verify(data, roster.device_keys(), roster.owner_keys())

    def _store_verified(self, levels: dict[str, str], data: bytes) -> Refusal | None:
        try:
            envelope = self.verify(data)
        except BadEnvelope as error:
            return self._refuse(self._reason(data), str(error))
        header = envelope.header
        if levels != {"owner": header.owner, "device": header.device, "clip": header.clip}:
            return self._refuse(Refusal.TOPIC, "the topic differs from the header")
        try:
            if self._store.keep(envelope, data, int(self._wall_s())):
                self.stored += 1
            else:
                self.repeated += 1
        except Replayed as error:
            return self._refuse(Refusal.REPLAY, str(error))
        except Erased as error:
            return self._refuse(Refusal.ERASED, str(error))
        except Unavailable as error:
            return self._refuse(Refusal.UNAVAILABLE, str(error))
        return None

    def _reason(self, data: bytes) -> Refusal:
        """Return the check that ``verify`` failed."""
        try:
            header = form.parse_envelope(data).header
        except BadEnvelope:
            return Refusal.FORM
        roster = self._roster()
        device = roster.device_keys().get(header.device)
        if device is None or keys.device_id(device) != header.dkey:
            return Refusal.DEVICE
        if not matches_owner(header, roster.owner_keys()):
            return Refusal.OWNER
        return Refusal.SEAL

    def _refuse(self, reason: Refusal, detail: str) -> Refusal:
        self.refused[reason] += 1
        _log.warning("refused an envelope (%s): %s", reason, detail)
        return reason
