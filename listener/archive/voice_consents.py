"""Owners' consents to voice control, as the archive forwards them, and the speakers' replies.

The archive can neither make nor verify a consent: it stores what an owner sent with proof of their
key, and publishes for each speaker one message with the newest of each owner. A speaker signs which
consent it follows; the archive keeps the last such status for the owner, who verifies it.
"""

import threading
from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from listener.archive.owner_state import PendingConsent
from listener.archive.pending_messages import PendingMessage, share_message
from listener.archive.storage_interfaces import OwnerRecords
from listener.errors import VoiceError
from listener.owner.roster import Roster
from listener.rights.requests import VoiceConsent
from listener.voice.consent import Consent
from listener.voice.limits import LONGEST_CONSENTS_BYTES
from listener.voice.messages import parse_voice_status

MOST_STATUSES: Final = 64
"""Owners in the status of one speaker."""
_LONGEST_STATUS_BYTES: Final = 64 << 10


def make_pending(owner: str, okey: str, dkey: str, stated: VoiceConsent) -> PendingConsent:
    """Return a consent as it is stored.

    Args:
        owner: the owner who proved the request.
        okey: fingerprint of the key by which the consent is proven to the speaker.
        dkey: fingerprint of the speaker's key.
        stated: the consent in the request.
    """
    consent = Consent(
        assist=stated.assist,
        code=stated.code,
        device=stated.device,
        n=stated.n,
        okey=okey,
        on=stated.on,
        owner=owner,
    )
    text = msgspec.json.encode(consent, order="sorted").decode("ascii")
    return PendingConsent(owner, stated.device, okey, dkey, stated.n, text)


def is_void(consent: PendingConsent, roster: Roster) -> bool:
    """Return True if no speaker can follow a stored consent any more.

    The owner is not active or has another key, or the speaker was removed or has another key.
    """
    owner = roster.owner(consent.owner)
    if owner is None or not owner.active or owner.okey != consent.okey:
        return True
    return all(
        (device.name, device.dkey) != (consent.device, consent.dkey) for device in roster.devices
    )


def consent_messages(
    state: OwnerRecords, roster: Roster, has_sealed: Callable[[str, str], bool]
) -> dict[str, list[str]]:
    """Return the consents to publish, as JSON, for each speaker that ever had one.

    Args:
        state: the stored consents.
        roster: the household's roster; void consents are left out.
        has_sealed: returns whether a speaker, its second argument, has sealed a clip for an owner.

    Raises:
        Unavailable: the stored consents cannot be read.
    """
    pending: dict[str, list[PendingMessage]] = {name: [] for name in state.consent_devices()}
    for consent in state.consents():
        if not is_void(consent, roster):
            pending[consent.device].append(PendingMessage(consent.owner, consent.text))
    return {
        device: share_message(
            messages,
            {one.owner for one in messages if has_sealed(one.owner, device)},
            LONGEST_CONSENTS_BYTES,
        )
        for device, messages in pending.items()
    }


class _PublishedStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a speaker's status that concerns consents."""

    voice: Annotated[tuple[msgspec.Raw, ...], Meta(max_length=MOST_STATUSES)] = ()


class VoiceStatuses:
    """The last voice status of each owner and speaker, not verified. Safe for several threads.

    Only in memory: the broker retains each speaker's status.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_device: dict[str, dict[str, bytes]] = {}

    def take(self, device: str, payload: bytes, roster: Roster) -> None:
        """Store the voice statuses of a speaker of the roster.

        A payload without any, such as the last will, leaves the stored ones: the owner sees which
        consent a speaker that is off followed last.

        Args:
            device: name of the speaker, from the topic.
            payload: any bytes.
            roster: the household's roster.
        """
        if len(payload) > _LONGEST_STATUS_BYTES:
            return
        try:
            published = msgspec.json.decode(payload, type=_PublishedStatus).voice
            statuses = {parse_voice_status(bytes(one)).statement.owner: one for one in published}
        except (ValueError, RecursionError, VoiceError):
            return
        known = {one.name for one in roster.devices}
        with self._lock:
            if statuses and device in known:
                self._by_device[device] = {name: bytes(one) for name, one in statuses.items()}
            for gone in self._by_device.keys() - known:
                del self._by_device[gone]

    def of_owner(self, owner: str) -> dict[str, Any]:
        """Return the stored statuses of an owner with their signatures, by speaker."""
        with self._lock:
            return {
                device: msgspec.json.decode(statuses[owner])
                for device, statuses in sorted(self._by_device.items())
                if owner in statuses
            }
