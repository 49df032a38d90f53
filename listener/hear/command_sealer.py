"""Command copies: seal a clip to the key of its ask, and lay the copy into the folder of send.

The rules that decide whether a clip has a copy at all are here: the consent of the clip's owner,
its length, the clock. Used by the sealer thread, except `CommandSealer.clear`.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.audio.clip import Clip
from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.envelope import keys
from listener.errors import EarmarkError
from listener.hear.open_ask import CommandGrant, Instant, NoCopyReason
from listener.owner.records import Owner
from listener.voice.command_copy import CopyFields, CopyHeader, seal_copy
from listener.voice.consent_table import KeptConsent
from listener.voice.limits import LONGEST_COMMAND_MS, LONGEST_PRE_ROLL_MS
from listener.voice.timing import LONGEST_AGE_MS

_SAMPLES_PER_MS: Final = SAMPLE_RATE_HZ // 1_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CommandOrder:
    """Order for a command copy: of one clip at its endpoint, or of a provisional part."""

    grant: CommandGrant
    consents: Mapping[str, KeptConsent]
    """Consents that counted at the endpoint, by owner."""


@dataclass(frozen=True, slots=True)
class CopyResult:
    """End of an order for a command copy."""

    ask: str
    """Nonce of the ask."""
    owner: str
    """Owner of the copy; empty if it was not made."""
    reason: NoCopyReason | None
    """Reason for which there is no copy; None if it lies ready for send."""
    at: Instant
    is_last: bool = True
    """False for a provisional part."""
    part: int = 1
    """Number of the part."""
    was_removed: bool = False
    """Whether the copy was laid, and removed before send took it."""


class CopySink(Protocol):
    """Destination of command copies; see `copy_folder.CopyFolder`."""

    def lay(
        self,
        ask: str,
        part: int,
        data: bytes,
        is_allowed: Callable[[], bool],
        *,
        is_last: bool = True,
    ) -> bool:
        """Write a copy for send; return False if there is no place or it is not allowed any more.

        Raises:
            Unavailable: it cannot be written.
        """

    def clear(self) -> tuple[str, ...]:
        """Remove every copy that send has not taken; return the nonces of their asks."""


class CommandSealer:
    """Maker of command copies. See the module for its threads."""

    def __init__(
        self,
        device: str,
        key: Ed25519PrivateKey,
        copies: CopySink,
        now: Callable[[], Instant],
        report: Callable[[CopyResult], object],
    ) -> None:
        """Prepare.

        Args:
            device: name of this device.
            key: private key of this device.
            copies: takes the copies.
            now: both clocks.
            report: takes the end of each order, from any thread; exactly one an order.
        """
        self._device = device
        self._key = key
        self._dkey = keys.device_id(key.public_key())
        self._copies = copies
        self._now = now
        self._report = report

    def make(
        self,
        clip: Clip,
        word: str,
        owner: Owner,
        order: CommandOrder,
        is_whole: Callable[[], bool],
    ) -> NoCopyReason | None:
        """Seal a clip to the key of its ask and lay the copy ready for send.

        Args:
            clip: the clip. If its buffer is wiped meanwhile, no copy is laid.
            word: wake word.
            owner: owner of the clip, as of its envelope.
            order: of the endpoint.
            is_whole: returns whether the clip's buffer has not been wiped.

        Returns:
            Reason for which there is no copy; None if it is laid.
        """
        consent = order.consents.get(owner.name)
        if consent is None or consent.okey != owner.okey:
            return "not-allowed"
        skipped = max(0, clip.pre_roll_samples - LONGEST_PRE_ROLL_MS * _SAMPLES_PER_MS)
        samples = clip.samples[skipped:]
        now, asked = self._now(), order.grant.asked
        age_ms = int((now.boot_s - asked.boot_s) * 1_000)
        if asked.has_moved(now):
            return "clock"
        if len(samples) > LONGEST_COMMAND_MS * _SAMPLES_PER_MS or age_ms > LONGEST_AGE_MS:
            return "too-long"
        header = CopyHeader(
            age_ms=age_ms,
            ask=order.grant.ask,
            device=self._device,
            dkey=self._dkey,
            key=keys.owner_id(order.grant.key),
            last=int(order.grant.is_last),
            part=order.grant.part,
        )
        private = CopyFields(
            assist=keys.device_id(keys.parse_device(consent.assist)),
            ms=len(samples) // _SAMPLES_PER_MS,
            n=consent.n,
            okey=consent.okey,
            owner=owner.name,
            pre_ms=(clip.pre_roll_samples - skipped) // _SAMPLES_PER_MS,
            word=word,
        )
        try:
            copy = seal_copy(header, private, samples, order.grant.key, self._key)
            grant = order.grant
            is_laid = self._copies.lay(grant.ask, grant.part, copy, is_whole, is_last=grant.is_last)
        except EarmarkError as error:
            _log.error("a command copy was not made: %s", error)
            return "not-sealed"
        if is_laid:
            return None
        return "no-place" if is_whole() else "muted"

    def report(self, order: CommandOrder, owner: str, reason: NoCopyReason | None) -> None:
        """Report the end of an order.

        Args:
            order: the order.
            owner: owner of the clip; empty if it has none.
            reason: as `make` returns it.
        """
        grant = order.grant
        self._report(
            CopyResult(
                grant.ask, owner, reason, self._now(), is_last=grant.is_last, part=grant.part
            )
        )

    def clear(self) -> None:
        """Remove every copy that send has not taken, and report their asks as muted.

        Safe for use by another thread.
        """
        for ask in self._copies.clear():
            self._report(CopyResult(ask, "", "muted", self._now(), was_removed=True))
