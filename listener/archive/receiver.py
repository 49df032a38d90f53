"""Every check between a message and the store. Nothing here can decrypt; no clock, no socket.

The order is that of ``docs/reference/mqtt.md``: form and sizes, device, signature, owner, hash,
topic, replay. What fails one goes nowhere, is counted under one of a few reasons, and is said in
one line of log that quotes nothing of it.
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
    """Why an envelope is not kept."""

    TOPIC = "topic"
    """The topic is none of ours, or says something else than the header."""
    FORM = "form"
    """It is not a well-formed envelope."""
    DEVICE = "device"
    """No device of this name and key is known here."""
    OWNER = "owner"
    """No active owner of this name and key is known here."""
    SEAL = "seal"
    """The signature does not fit, or the ciphertext is not the one that was signed."""
    REPLAY = "replay"
    """Other bytes than those archived under the same id, ciphertext or number."""
    ERASED = "erased"
    """It was here and is gone for good."""
    UNAVAILABLE = "unavailable"
    """The store cannot take it now."""


SILENT: Final = frozenset({Refusal.DEVICE, Refusal.OWNER, Refusal.UNAVAILABLE})
"""What may pass: the household has yet to add them, the disk has yet to be mended. The device is
not told, keeps the clip and tries again."""


class Receiver:
    """Judge messages and keep what is true. For one thread.

    Args:
        store: where to.
        roster: returns the household's roster as it is now.
        wall_s: returns the time in seconds since 1970.
    """

    def __init__(
        self, store: Store, roster: Callable[[], Roster], wall_s: Callable[[], float]
    ) -> None:
        self._store = store
        self._roster = roster
        self._wall_s = wall_s
        self.stored = 0
        self.repeated = 0
        """The same bytes once more."""
        self.refused: Counter[Refusal] = Counter()

    def receive(self, message: Message) -> Message | None:
        """Keep what the message carries, and return the answer to publish, if there is any.

        The answer to a kept envelope may go out at once: it is on the disk.
        """
        levels = topics.CLIP.levels(message.topic)
        if levels is None:
            self._refuse(Refusal.TOPIC, "the topic is none of ours")
            return None
        refusal = self._answer(levels, message.payload)
        if refusal in SILENT:
            return None
        answer = topics.Answer(hashlib.sha256(message.payload).hexdigest(), refusal or "")
        return Message(
            topics.ACK.name(device=levels["device"], clip=levels["clip"]),
            answer.encode(),
            topics.ACK.qos,
            topics.ACK.retain,
        )

    def verify(self, data: bytes) -> form.Envelope:
        """Verify an envelope against the roster as it is now.

        Raises:
            BadEnvelope: it does not hold.
        """
        roster = self._roster()
        return verify(data, roster.device_keys(), roster.owner_keys())

    def _answer(self, levels: dict[str, str], data: bytes) -> Refusal | None:
        try:
            envelope = self.verify(data)
        except BadEnvelope as error:
            return self._refuse(self._reason(data), str(error))
        header = envelope.header
        if levels != {"owner": header.owner, "device": header.device, "clip": header.clip}:
            return self._refuse(Refusal.TOPIC, "the topic says something else than the header")
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
        """Say which check it was that ``verify`` stopped at."""
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

    def _refuse(self, reason: Refusal, why: str) -> Refusal:
        self.refused[reason] += 1
        _log.warning("refused an envelope (%s): %s", reason, why)
        return reason
