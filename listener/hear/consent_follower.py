"""Consents of the owners on this device: applies what send stored, after verifying the proofs.

Send stores the consents from the archive in the spool without verifying them. They are verified
here, in the only process that makes command copies, and kept in a file of hear's own. The listen
loop looks at the state of three files, which costs microseconds, and reads them when one has
changed; the sealer thread writes.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.errors import EarmarkError, VoiceError
from listener.owner.roster import Roster
from listener.spool.files import CONSENTS
from listener.storage.atomic import FileVersion, read_plain_file, read_version
from listener.storage.home import CONSENT_TABLE, WITHDRAWAL_TABLE, Home
from listener.voice.consent import Consent, parse_consents, verify_consent
from listener.voice.consent_table import ConsentTable, KeptConsent
from listener.voice.limits import LONGEST_CONSENTS_BYTES

_log = logging.getLogger(__name__)


class ConsentFollower:
    """Consents that count on this device. For the thread of the listen loop, except `save`."""

    def __init__(
        self,
        home: Home,
        device: str,
        key: Ed25519PrivateKey,
        keeper: str | None,
        save_soon: Callable[[Callable[[], object]], object],
    ) -> None:
        """Read nothing yet.

        Args:
            home: installation with the consents, the roster and the spool.
            device: name of this device.
            key: private key of this device.
            keeper: name of the device's keeper.
            save_soon: runs `save` in another thread; see `sealer.Sealer.run_soon`.
        """
        self._home: Final = home
        self._device: Final = device
        self._key: Final = key
        self._keeper: Final = keeper
        self._save_soon: Final = save_soon
        self._said: tuple[Consent, ...] = ()
        self._versions: tuple[FileVersion | None, ...] | None = None
        self._roster = Roster()
        self._is_error_logged = False
        self.active: Mapping[str, KeptConsent] = {}
        """The last consent of each active owner under their active key, on or off, by name."""
        self.counting: Mapping[str, KeptConsent] = {}
        """Consents by which command copies may be made, by owner."""
        self.ignored = 0
        """Consents in the stored message that do not count: no proof, another device or key, an
        older number."""

    def follow(self) -> bool:
        """Apply changes of the files; return whether `active` or `counting` has changed.

        Never raises: while a file cannot be read or is damaged, no consent counts.
        """
        paths = (
            self._home.path / "spool" / CONSENTS,
            self._home.path / CONSENT_TABLE,
            self._home.path / WITHDRAWAL_TABLE,
            self._home.path / "roster.json",
        )
        versions = tuple(read_version(path) for path in paths)
        if versions == self._versions:
            return False
        before = self.active, self.counting
        try:
            self._said = self._read_said(paths[0])
            self._roster = self._home.roster()
            kept = self._home.consents()
            table = self._apply(kept)
        except EarmarkError as error:
            # Tried again in the next turn: the files may be replaced or the disk may return.
            if not self._is_error_logged:
                _log.error("no consent to voice control counts: %s", error)
            self._is_error_logged = True
            self._versions = None
            self.active, self.counting = {}, {}
            return before != (self.active, self.counting)
        self._is_error_logged, self._versions = False, versions
        if self.ignored:
            _log.warning(
                "%d consents to voice control are ignored: not proven to this device by an active"
                " owner, or older than the last one",
                self.ignored,
            )
        self.active = table.of_active_keys(self._roster)
        self.counting = table.counting(self._roster, self._keeper)
        if table != kept:
            self._save_soon(self.save)
        return before != (self.active, self.counting)

    def save(self) -> None:
        """Write the consents that were taken. For the sealer thread.

        Raises:
            ConfigError: the file is damaged.
            Unavailable: it cannot be written; the consents count until hear ends, and are taken
                again at its next start.
        """
        self._home.change_consents(self._apply)

    def _apply(self, kept: ConsentTable) -> ConsentTable:
        table, self.ignored = kept.taking(self._said, self._roster, self._device, self._is_proven)
        return table

    def _is_proven(self, consent: Consent) -> bool:
        try:
            verify_consent(consent, self._roster.owner(consent.owner), self._device, self._key)
        except VoiceError:
            return False
        return True

    def _read_said(self, path: Path) -> tuple[Consent, ...]:
        try:
            # send may write in this folder: never wait for what it puts there.
            return parse_consents(read_plain_file(path, LONGEST_CONSENTS_BYTES))
        except FileNotFoundError:
            return ()
        except OSError as error:
            _log.warning("cannot read the consents: %s", error.strerror)
        except VoiceError as error:
            _log.warning("%s", error)
        return ()
