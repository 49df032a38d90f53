"""Keys of the household's devices in the archive: the highest number accepted of each.

Only the archive knows the last number that it accepted of a key. It sets this bound for a device
that was removed, in the thread that receives clips, so that no clip is accepted in between.
"""

import logging
from typing import Any

from listener.archive.store import FileStore
from listener.errors import ConfigError, Unavailable
from listener.owner.records import RetiredDevice
from listener.owner.roster import Roster
from listener.storage.home import Home

_log = logging.getLogger(__name__)


def describe(retired: RetiredDevice) -> dict[str, Any]:
    """Return a retired key as answers and exports list it."""
    return {
        "name": retired.name,
        "key": retired.key,
        "retired": retired.retired_s,
        "last_seq": retired.last_seq,
    }


class RetiredKeys:
    """The bounds of retired keys in the household's roster. For the thread that receives clips.

    Args:
        home: holds the roster.
        store: the clips.
    """

    def __init__(self, home: Home, store: FileStore) -> None:
        self._home = home
        self._store = store
        self._seen: Roster | None = None

    def set_bounds(self, roster: Roster) -> None:
        """Set the last accepted number of each retired key that lacks it.

        A roster that cannot be written is logged once; the next change of it is the next attempt.

        Args:
            roster: the one by which the thread receives clips.
        """
        if roster is self._seen:
            return
        self._seen = roster
        if all(retired.last_seq is not None for retired in roster.retired_devices):
            return
        try:
            self._home.change_roster(lambda now: now.with_last_seqs(self._store.highest_seq))
        except (ConfigError, Unavailable) as error:
            _log.warning("cannot write the last number of a removed device: %s", error)
