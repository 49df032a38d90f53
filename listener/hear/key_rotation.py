"""Key rotation on the device: replaces an owner's key in the roster after verifying the proof.

The send process stores the rotation message from the archive in the spool without verifying it.
The proof is verified here, in the only process that seals; without a valid proof the roster does
not change.
"""

import logging

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.errors import EarmarkError
from listener.owner import key_rotation
from listener.owner.roster import Roster
from listener.spool.files import FOLLOWING
from listener.storage.atomic import FileVersion, read_plain_file, read_version
from listener.storage.home import Home

_log = logging.getLogger(__name__)


class RosterUpdater:
    """Reader of the roster that applies new key rotations first. For one thread only.

    Args:
        home: installation with the roster and the spool.
        device: name of this device.
        key: private key of this device.
    """

    def __init__(self, home: Home, device: str, key: Ed25519PrivateKey) -> None:
        self._home = home
        self._device = device
        self._key = key
        self._path = home.path / "spool" / FOLLOWING
        self._applied: FileVersion | None = None

    def __call__(self) -> Roster:
        """Apply a new key rotation, if there is one, and return the roster.

        Raises:
            ConfigError: the roster is damaged.
            Unavailable: the roster cannot be read.
        """
        version = read_version(self._path)
        if version is not None and version != self._applied:
            # Noted only when applied: a failed attempt is repeated with the next clip.
            self._apply()
            self._applied = version
        return self._home.roster()

    def _apply(self) -> None:
        try:
            # send may write in this folder: never wait for what it puts there.
            rotation = key_rotation.parse(read_plain_file(self._path, key_rotation.LONGEST_BYTES))
        except OSError as error:
            _log.warning("cannot read the key rotation: %s", error.strerror)
            return
        except EarmarkError as error:
            _log.warning("%s", error)
            return
        before = self._home.roster()
        after = self._home.change_roster(
            lambda roster: key_rotation.apply_rotation(roster, rotation, self._device, self._key)
        )
        for owner in after.owners:
            if owner not in before.owners:
                _log.warning(
                    "the key of %s was replaced, as proved with the previous key: %s",
                    owner.name,
                    owner.okey,
                )
