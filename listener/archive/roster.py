"""Whom the archive believes: the household's roster, as its file says at this moment."""

import logging

from listener.errors import ConfigError, Unavailable
from listener.owner.roster import Roster
from listener.storage.home import Home

_log = logging.getLogger(__name__)


class ReloadingRoster:
    """The roster as the file says now, read again only when the file has changed.

    A roster that is damaged while we run leaves the last good one in force: nobody gains a right
    by damaging a file.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._path = home.path / "roster.json"
        self._stamp = self._reload()
        self._roster = home.roster()

    def __call__(self) -> Roster:
        """Return it."""
        stamp = self._reload()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._roster = self._home.roster()
            except (ConfigError, Unavailable) as error:
                _log.warning("the roster as it was stays in force: %s", error)
        return self._roster

    def _reload(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size
