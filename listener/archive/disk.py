"""The archive's disk: the space that new clips leave free, the reserve, and the index's log."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from listener.archive.store import FileStore
from listener.errors import Unavailable
from listener.storage.free_space import free_bytes, least_free_bytes
from listener.storage.reserve import Reserve, find_reserve

UPKEEP_PAUSE_S: Final = 60.0


class ArchiveDisk:
    """Guard of the disk's free space. For one thread.

    Args:
        store: the clip store.
        folder: its folder, in the home.
        bound_bytes: the configuration ``archive.least_free_bytes``.
        monotonic_s: monotonic clock, in seconds.
    """

    def __init__(
        self,
        store: FileStore,
        folder: Path,
        bound_bytes: int,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._folder = folder
        self._bound_bytes = bound_bytes
        self._monotonic_s = monotonic_s
        # The databases of the home may be on another disk than the clips.
        self._reserves = (Reserve(folder.parent), find_reserve(folder))
        self._due_s = float("-inf")

    def check_room(self) -> None:
        """Check that a new clip leaves enough room for erasures.

        Raises:
            Unavailable: it does not, or the disk cannot be used.
        """
        try:
            free = free_bytes(self._folder)
            least = least_free_bytes(self._folder, self._bound_bytes)
        except OSError as error:
            raise Unavailable(f"cannot use {self._folder}: {error.strerror}") from error
        if free < least:
            raise Unavailable(
                f"the disk of {self._folder} is almost full: {free >> 20} MiB are free, and new"
                f" clips wait until {least >> 20} MiB are",
                "free some space on that disk",
            )

    def upkeep(self) -> None:
        """Make the reserve again and retry what a reader prevented, at most once a minute.

        Raises:
            Unavailable: the index cannot be used.
        """
        now_s = self._monotonic_s()
        if now_s < self._due_s:
            return
        self._due_s = now_s + UPKEEP_PAUSE_S
        for reserve in self._reserves:
            reserve.refill()
        self._store.retry_overwriting_log()
