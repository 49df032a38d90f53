"""Comparison of an owner's consents: as given, as stored, and as the speakers follow them. Pure.

Nothing that the archive returns is believed. A stored consent counts if the owner's own key made
its code, and a speaker's status if the speaker's pinned key signed it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from listener.clips.schema import VoiceReply
from listener.clips.voice_record import GivenConsent
from listener.digests import compare_digests
from listener.envelope import keys
from listener.envelope.open import Identity
from listener.errors import ConfigError, EarmarkError, UsageError
from listener.voice.consent import Consent, make_consent
from listener.voice.messages import VoiceStatus

LAST_NUMBER: Final = 1 << 53

VoiceState = Literal["none", "follows", "behind", "unconfirmed", "changed", "refused"]
"""``none``: the owner gave no consent, and the speaker follows none. ``follows``: the speaker
follows the last consent. ``behind``: it follows an earlier one. ``unconfirmed``: it stated nothing.
``changed``: it follows a later one, which was given at the speaker. ``refused``: it has the last
consent, which is on, and makes no command copies: its keeper allows no assist, or another one."""


@dataclass(frozen=True, slots=True)
class SpeakerConsent:
    """One speaker's part of the comparison.

    Attributes:
        speaker: its name.
        key: its public key.
        given: the owner's last consent, as recorded here or as stored with their own code.
        is_recorded: whether ``given`` was recorded on this machine.
        is_forwarded: whether the archive has and forwards ``given``.
        status: what the speaker signed, or None.
    """

    speaker: str
    key: Ed25519PublicKey
    given: GivenConsent | None
    is_recorded: bool
    is_forwarded: bool
    status: VoiceStatus | None

    @property
    def state(self) -> VoiceState:
        """Return how the speaker's status compares with the last consent."""
        given, status = self.given, self.status
        if given is None:
            return "changed" if status is not None and status.on else "none"
        if status is None:
            return "unconfirmed"
        if status.n != given.n:
            return "behind" if status.n < given.n else "changed"
        if (status.on, status.assist) == (given.on, fingerprint_of(given.assist)):
            return "follows"
        return "changed" if status.on else "refused"

    @property
    def is_on(self) -> bool:
        """Whether the owner's last word is on; what a speaker alone states never makes it so."""
        given, status = self.given, self.status
        if given is None or not given.on:
            return False
        return status is None or status.n <= given.n or bool(status.on)

    def next_number(self, now_s: float) -> int:
        """Return the number of the next consent: above every earlier one, and at least the time.

        With the time, a machine without the record continues above what an operator withholds, and
        an off at the speaker, which uses its own clock, is above the consents before it.

        Args:
            now_s: seconds since 1970.

        Raises:
            UsageError: there is no higher number.
        """
        last = max(
            0 if self.given is None else self.given.n, 0 if self.status is None else self.status.n
        )
        if last >= LAST_NUMBER:
            raise UsageError(
                f"the consents for {self.speaker} have used the last number",
                "set up the speaker with a new key: earmark household add-device",
            )
        return min(max(last + 1, int(now_s)), LAST_NUMBER)

    def make(
        self, owner: str, identity: Identity, *, on: bool, assist: str, now_s: float
    ) -> Consent:
        """Return the owner's next consent for this speaker, with its code.

        Args:
            owner: name of the owner.
            identity: the key that the speaker has, or will have when it reads the consent.
            on: whether the speaker may send command copies.
            assist: public key of the assist service, ``ed25519:…``.
            now_s: seconds since 1970.

        Raises:
            ConfigError: a key cannot be used.
            UsageError: there is no higher number.
        """
        consent = Consent(
            assist=assist,
            device=self.speaker,
            n=self.next_number(now_s),
            okey=identity.okey,
            on=int(on),
            owner=owner,
        )
        return make_consent(consent, identity.agreement(), self.key)


def compare_consents(
    reply: VoiceReply,
    recorded: Mapping[str, GivenConsent],
    devices: Mapping[str, Ed25519PublicKey],
    owner: str,
    identities: Sequence[Identity],
) -> list[SpeakerConsent]:
    """Return the comparison for each speaker, by name.

    Args:
        reply: of the archive, unverified.
        recorded: the owner's record.
        devices: pinned public keys of the speakers.
        owner: name of the owner.
        identities: the owner's secret keys.
    """
    stored = {one.device: one for one in reply.consents if _is_own(one, devices, owner, identities)}
    found = []
    for speaker, key in sorted(devices.items()):
        given, is_recorded = recorded.get(speaker), speaker in recorded
        other = stored.get(speaker)
        if other is not None and (given is None or other.n > given.n):
            given, is_recorded = GivenConsent.of(other), False
        is_stored = other is not None and given == GivenConsent.of(other)
        signed = reply.status.get(speaker)
        found.append(
            SpeakerConsent(
                speaker,
                key,
                given,
                is_recorded,
                is_stored and speaker in reply.forwarded,
                None if signed is None else signed.verify(owner, speaker, key),
            )
        )
    return found


def _is_own(
    consent: Consent,
    devices: Mapping[str, Ed25519PublicKey],
    owner: str,
    identities: Sequence[Identity],
) -> bool:
    """Return True if one of the owner's keys made the code of a consent."""
    key = devices.get(consent.device)
    identity = next((one for one in identities if one.okey == consent.okey), None)
    if key is None or identity is None or consent.owner != owner:
        return False
    try:
        unproven = msgspec.structs.replace(consent, code="")
        code = make_consent(unproven, identity.agreement(), key).code
    except EarmarkError:
        return False
    return compare_digests(code.encode(), consent.code.encode())


def parse_assist(text: str) -> str:
    """Return the public key of an assist service as consents name it.

    Raises:
        ConfigError: it is not a public key.
    """
    return keys.device_text(keys.parse_device(text))


def fingerprint_of(assist: str) -> str | None:
    """Return the fingerprint of an assist service's key; None if it is not a key."""
    try:
        return keys.device_id(keys.parse_device(assist))
    except ConfigError:
        return None
