"""The household's roster, reloaded when its file changes."""

import logging
import threading

from listener.errors import ConfigError, Unavailable
from listener.owner.roster import Roster
from listener.storage.atomic import read_version
from listener.storage.home import Home

_log = logging.getLogger(__name__)


class ReloadingRoster:
    """The household's roster, reloaded when its file changes. Safe for several threads.

    A roster file that is damaged while the archive runs leaves the last good roster in force, so
    that damaging the file grants no access.

    Raises:
        ConfigError: the roster is damaged at construction.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._path = home.path / "roster.json"
        self._lock = threading.Lock()
        self._version = read_version(self._path, follow_links=True)
        self._roster = home.roster()

    def __call__(self) -> Roster:
        """Return the current roster."""
        # Without the lock, a second thread would use the previous roster while the first one reads.
        with self._lock:
            version = read_version(self._path, follow_links=True)
            if version != self._version:
                self._version = version
                try:
                    self._roster = self._home.roster()
                except (ConfigError, Unavailable) as error:
                    _log.warning(
                        "cannot reload the roster; the previous one stays in force: %s", error
                    )
            return self._roster
