"""The roster, moved on to the keys that owners proved to this speaker.

Send lays what the archive carried beside the clips. Nobody has judged it before: the proof
is looked at here, by the one process that seals, and what is not proven changes nothing.
"""

import logging

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.errors import EarmarkError
from listener.owner import key_rotation
from listener.owner.roster import Roster
from listener.spool.files import FOLLOWING
from listener.storage.home import Home

_log = logging.getLogger(__name__)


class RosterUpdater:
    """Called for the roster as it is now. For one thread.

    Args:
        home: where roster and spool lie.
        device: this speaker's name.
        key: this speaker's.
    """

    def __init__(self, home: Home, device: str, key: Ed25519PrivateKey) -> None:
        self._home = home
        self._device = device
        self._key = key
        self._path = home.path / "spool" / FOLLOWING
        self._seen: tuple[int, int, int] | None = None

    def __call__(self) -> Roster:
        """Follow what is new, and return the roster.

        Raises:
            ConfigError: the roster is damaged.
            Unavailable: it cannot be read.
        """
        stamp = self._read()
        if stamp is not None and stamp != self._seen:
            # One that cannot be followed now may be with the next clip: noted once it is done.
            self._apply()
            self._seen = stamp
        return self._home.roster()

    def _apply(self) -> None:
        try:
            with self._path.open("rb") as file:
                rotation = key_rotation.parse(file.read(key_rotation.LONGEST_BYTES + 1))
        except OSError as error:
            _log.warning("cannot read what was said of keys: %s", error.strerror)
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
                    "the key of %s is another from now on, as the one before proved: %s",
                    owner.name,
                    owner.okey,
                )

    def _read(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size
