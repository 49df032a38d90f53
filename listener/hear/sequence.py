"""Sequence numbers of envelopes, above those that the archive accepted of this device's key.

A card that is restored from a copy brings an older number back; envelopes with a used number are
refused for ever. So the archive states the highest number it accepted, and send stores the
statement in the spool. The signature is verified here: send could otherwise use up the numbers.
"""

import logging
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from listener.envelope import keys
from listener.errors import ConfigError
from listener.mqtt import sequence
from listener.mqtt.signed_statement import LONGEST_BYTES
from listener.spool.files import ACCEPTED
from listener.storage.atomic import read_plain_file
from listener.storage.home import Home

MOST_SKIPPED: Final = 1_000_000
"""Numbers skipped for one envelope: a hostile archive can cause gaps, but not use them all up."""

_log = logging.getLogger(__name__)


class SequenceNumbers:
    """Source of a device's sequence numbers. For one thread.

    Args:
        home: installation with the sequence number, the pinned key of the archive and the spool.
        device: name of this device.
        key: public key of this device.
    """

    def __init__(self, home: Home, device: str, key: Ed25519PublicKey) -> None:
        self._home = home
        self._device = device
        self._dkey = keys.device_id(key)
        self._path = home.path / "spool" / ACCEPTED
        self._read: bytes = b""
        self._accepted = 0
        self._reserved = 0

    def reserve(self) -> None:
        """Take the number of the next envelope now, durably; `next_seq` returns it.

        For a clip that has an open ask: the number is on the disk before a command copy of the clip
        can leave, so an envelope that is never stored is a gap in the numbers. It also takes the
        disk out of the time from the endpoint to the command copy. A number that is reserved
        already stays reserved.

        Raises:
            ConfigError: as `next_seq`.
            Unavailable: as `next_seq`.
        """
        if not self._reserved:
            self._reserved = self._take()

    def next_seq(self) -> int:
        """Return a number that this device has not used and the archive has not accepted.

        Raises:
            ConfigError: the number on disk is missing or damaged, or the numbers are used up.
            Unavailable: the disk is full or not accessible.
        """
        reserved, self._reserved = self._reserved, 0
        # The archive may have stated a higher number since the reservation.
        if reserved and reserved > self._find_accepted():
            return reserved
        return self._take()

    def _take(self) -> int:
        """Skip the numbers that the archive has accepted, and take the next one, durably."""
        if accepted := self._find_accepted():
            skipped = self._home.skip_seqs(accepted, MOST_SKIPPED)
            if skipped:
                _log.warning(
                    "the archive has accepted number %d of this device's key: skipped %d numbers;"
                    " this card was restored from a copy, or another machine has the same key",
                    accepted,
                    skipped,
                )
        return self._home.next_seq()

    def _find_accepted(self) -> int:
        """Return the highest number that the archive accepted; 0 without a valid statement."""
        try:
            data = read_plain_file(self._path, LONGEST_BYTES)
        except OSError:
            return 0
        if data != self._read:
            self._read = data
            self._accepted = self._parse(data)
        return self._accepted

    def _parse(self, data: bytes) -> int:
        try:
            archive = self._home.pinned_archive()
        except ConfigError as error:
            _log.warning("%s", error)
            return 0

        def verify(signature: bytes, signed: bytes) -> bool:
            if archive is None:
                return False
            try:
                archive.verify(signature, signed)
            except InvalidSignature:
                return False
            return True

        stated = sequence.parse(data, verify)
        if stated is None or (stated.device, stated.dkey) != (self._device, self._dkey):
            return 0
        return stated.seq
