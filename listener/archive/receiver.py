"""Verification of incoming envelopes, from MQTT message to store. Pure but for the store.

The order of the checks is that of ``docs/reference/mqtt.md``: form and sizes, device, signature,
owner, hash, topic, replay. A refused envelope is not stored; it is counted by reason and logged in
one line that contains nothing of it. Nothing here can decrypt.
"""

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from listener.archive.archive_clock import ArchiveClock
from listener.archive.disk import ArchiveDisk
from listener.archive.elapsed_time import Wait
from listener.archive.quota import DeferralReport, DeviceQuota, OverLimit
from listener.archive.records import Erased, Replayed, Store, Undecided
from listener.envelope import format as form
from listener.envelope import keys
from listener.envelope.verify import TrustedKey, matches_owner, verify
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
    QUOTA = "quota"
    """The device is over its limits; it is answered with a deferral."""
    UNDECIDED = "undecided"
    """Whether an erase order covers the clip is not decided yet; answered with a deferral."""


_WAITING: Final = frozenset({Refusal.DEVICE, Refusal.OWNER, Refusal.UNAVAILABLE})
"""Temporary reasons: a device or owner that is not added yet, a disk to repair. The device keeps
the clip, sends it again, and shows the reason."""


_ROUNDING_S: Final = 3.0
"""Time that is lost where a speaker, a broker and an archive count whole seconds."""

_DEFERRED: Final = frozenset({Refusal.QUOTA, Refusal.UNDECIDED})

_REASONS: Final = (
    (Replayed, Refusal.REPLAY),
    (Erased, Refusal.ERASED),
    (OverLimit, Refusal.QUOTA),
    (Undecided, Refusal.UNDECIDED),
    (Unavailable, Refusal.UNAVAILABLE),
)


@dataclass(frozen=True, slots=True)
class IntakeLimits:
    """Limits of what the archive stores."""

    disk: ArchiveDisk | None
    """None where the clips are not on a disk of this computer."""
    quota: DeviceQuota
    report: DeferralReport


@dataclass(frozen=True, slots=True)
class _RosterKeys:
    """The keys of a roster, parsed: thousands of devices take longer than the check of a clip."""

    roster: Roster
    devices: dict[str, Ed25519PublicKey]
    stored: dict[str, tuple[TrustedKey, ...]]
    owners: dict[str, tuple[str, ...]]


class Receiver:
    """Verifies incoming envelopes and stores the valid ones. For one thread.

    Args:
        store: the clip store.
        roster: returns the household's current roster.
        wall_s: returns the time of arrival in seconds since 1970: the archive's accepted time.
        limits: free space and limits of devices; none by default.
        clock: learns the signed times of stored clips; None where nothing expires.
        monotonic_s: the monotonic clock of the broker's client, in seconds.
    """

    def __init__(  # noqa: PLR0913 - collaborators; three are required
        self,
        store: Store,
        roster: Callable[[], Roster],
        wall_s: Callable[[], float],
        limits: IntakeLimits | None = None,
        clock: ArchiveClock | None = None,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._monotonic_s = monotonic_s
        self._roster = roster
        self._wall_s = wall_s
        self._limits = limits
        self._clock = clock
        self._known: _RosterKeys | None = None
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
        refusal = self._store_verified(levels, message)
        sha256 = hashlib.sha256(message.payload).hexdigest()
        if refusal in _DEFERRED:
            answer = topics.ArchiveAnswer(sha256, is_deferred=True)
        elif refusal in _WAITING:
            answer = topics.ArchiveAnswer(sha256, waiting=refusal)
        else:
            answer = topics.ArchiveAnswer(sha256, refusal or "")
        return Message(
            topics.ACK.name(device=levels["device"], clip=levels["clip"]),
            answer.encode(),
            topics.ACK.qos,
            topics.ACK.retain,
        )

    def verify(self, data: bytes) -> form.Envelope:
        """Verify a new envelope against the current roster.

        Raises:
            BadEnvelope: it is malformed, or a signature, hash, device or owner is wrong.
        """
        known = self._keys()
        return verify(data, known.devices, known.owners)

    def verify_stored(self, data: bytes) -> form.Envelope:
        """Verify the file of a stored envelope; the keys of removed devices are valid, too.

        Raises:
            BadEnvelope: as ``verify``.
        """
        known = self._keys()
        return verify(data, known.stored, known.owners)

    def _keys(self) -> "_RosterKeys":
        """Return the keys of the current roster; they are parsed once for each roster."""
        roster = self._roster()
        known = self._known
        if known is None or known.roster is not roster:
            known = self._known = _RosterKeys(
                roster, roster.device_keys(), roster.stored_device_keys(), roster.owner_keys()
            )
        return known

    def _store_verified(self, levels: dict[str, str], message: Message) -> Refusal | None:
        data = message.payload
        try:
            envelope = self.verify(data)
        except BadEnvelope as error:
            return self._refuse(self._reason(data), str(error))
        header = envelope.header
        if levels != {"owner": header.owner, "device": header.device, "clip": header.clip}:
            return self._refuse(Refusal.TOPIC, "the topic differs from the header")
        try:
            if self._clock is not None:
                self._clock.check_start()
            self._check_limits(header, len(data))
            now = None if self._clock is None else self._clock.now()
            received_s = int(self._wall_s() if now is None else now.accepted_s)
            wait = self._measure_wait(message)
            is_new = self._store.keep(envelope, data, received_s, wait=wait, now=now)
        except (Replayed, Erased, OverLimit, Undecided, Unavailable) as error:
            reason = next(reason for kind, reason in _REASONS if isinstance(error, kind))
            return self._refuse(reason, str(error))
        if not is_new:
            self.repeated += 1
            return None
        self.stored += 1
        if self._clock is not None:
            taken_s = datetime.fromisoformat(header.t).timestamp()
            self._clock.testify(header.device, taken_s, wait.waited_s)
        if self._limits is not None:
            self._limits.quota.charge(header.device, len(data))
        return None

    def _measure_wait(self, message: Message) -> Wait:
        """Return the time since a clip was sealed.

        The speaker measured the time before the publication, and the broker the time for which it
        kept the message. What the message spent unread in the connection is not measured, but it
        is not older than the moment at which the connection had nothing to read.
        """
        waited_s = message.waited_s + topics.kept_s(message.left_s)
        if message.left_s is None or message.unread_since_s is None:
            return Wait(waited_s)
        unread_s = max(0.0, self._monotonic_s() - message.unread_since_s)
        return Wait(waited_s, _ROUNDING_S + unread_s)

    def _check_limits(self, header: form.PublicHeader, size_bytes: int) -> None:
        """Check the limits of disk and device; report a device that is over them."""
        if self._limits is None:
            return
        if self._limits.disk is not None:
            self._limits.disk.check_room()
        try:
            self._limits.quota.check(header.device, size_bytes)
        except OverLimit:
            self._limits.report.add(header)
            raise

    def _reason(self, data: bytes) -> Refusal:
        """Return the check that ``verify`` failed."""
        try:
            header = form.parse_envelope(data).header
        except BadEnvelope:
            return Refusal.FORM
        known = self._keys()
        device = known.devices.get(header.device)
        if device is None or keys.device_id(device) != header.dkey:
            return Refusal.DEVICE
        if not matches_owner(header, known.owners):
            return Refusal.OWNER
        return Refusal.SEAL

    def _refuse(self, reason: Refusal, detail: str) -> Refusal:
        self.refused[reason] += 1
        if reason is not Refusal.QUOTA:  # reported once an hour
            _log.warning("refused an envelope (%s): %s", reason, detail)
        return reason
