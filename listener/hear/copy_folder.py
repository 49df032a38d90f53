"""Folder in memory from which send takes command copies: two files, ten seconds, no disk.

The folder is a tmpfs, so no copy reaches a disk; with the memory limits of both units its pages are
not swapped either. Hear removes what send has not taken in time, and everything when the microphone
is muted: a copy that is still there then never leaves.
"""

import contextlib
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from listener.errors import Unavailable
from listener.storage import atomic
from listener.storage.atomic import PART

MOST_COPIES: Final = 2
LONGEST_LIFE_S: Final = 10.0
"""Seconds after which a copy that send has not taken is removed."""

_FOLDER_MODE: Final = 0o700
_READ_ONLY_FOR_GROUP: Final = 0o640  # the group may read a copy and remove it

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _LaidCopy:
    name: str
    ask: str
    laid_s: float


class CopyFolder:
    """Hear's end of the folder. Safe for use by several threads.

    Args:
        path: the folder; what a previous run left in it is removed.
        boottime_s: running time of the machine, in seconds (CLOCK_BOOTTIME).

    Raises:
        Unavailable: the folder cannot be created or emptied.
    """

    def __init__(self, path: Path, boottime_s: Callable[[], float]) -> None:
        self._path = path
        self._boottime_s = boottime_s
        self._lock = threading.Lock()
        self._laid: list[_LaidCopy] = []
        with atomic.translate_os_errors(path):
            atomic.make_folders(path, _FOLDER_MODE)
            if not stat.S_ISDIR(path.lstat().st_mode):
                raise Unavailable(f"{path} is not a folder", "remove it, and start hear again")
            self._remove_all()

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

        Args:
            ask: nonce of the ask.
            part: number of the copy.
            data: the sealed copy.
            is_allowed: called last, while no `clear` runs: a copy that is laid after it has
                returned True is removed by each later `clear`.
            is_last: False for a provisional part, which has a place only while no copy waits, so
                that the last part finds one.

        Raises:
            Unavailable: it cannot be written.
        """
        name = f"{ask}.{part}"
        with atomic.translate_os_errors(self._path), self._open() as folder:
            hidden = f".{name}{PART}"
            with self._lock:
                self._forget_taken(folder)
                if len(self._laid) >= (MOST_COPIES if is_last else 1):
                    return False
            mode = atomic.shared_mode(folder) & _READ_ONLY_FOR_GROUP
            with contextlib.ExitStack() as on_failure:
                on_failure.callback(_unlink, hidden, folder)
                with atomic.create_file(hidden, folder=folder, is_durable=False) as file:
                    file.write(data)
                    os.fchmod(file.fileno(), mode)
                with self._lock:
                    if not is_allowed():
                        return False
                    os.rename(hidden, name, src_dir_fd=folder, dst_dir_fd=folder)
                    self._laid.append(_LaidCopy(name, ask, self._boottime_s()))
                    on_failure.pop_all()
        return True

    def clear(self) -> tuple[str, ...]:
        """Remove every copy that send has not taken; return the nonces of their asks.

        Never raises: what cannot be removed is logged.
        """
        with self._lock:
            return self._remove(lambda _copy: True)

    def expire(self) -> tuple[str, ...]:
        """Remove every copy that send has not taken in time; return the nonces of their asks."""
        with self._lock:
            if not self._laid:
                return ()
            since_s = self._boottime_s() - LONGEST_LIFE_S
            return self._remove(lambda copy: copy.laid_s < since_s)

    def _remove(self, is_due: Callable[[_LaidCopy], bool]) -> tuple[str, ...]:
        due = [copy for copy in self._laid if is_due(copy)]
        if not due:
            return ()
        removed = []
        try:
            with self._open() as folder:
                removed = [copy.ask for copy in due if _unlink(copy.name, folder)]
        except OSError as error:
            _log.error("cannot remove command copies from %s: %s", self._path, error.strerror)
        self._laid = [copy for copy in self._laid if copy not in due]
        return tuple(removed)

    def _forget_taken(self, folder: int) -> None:
        self._laid = [copy for copy in self._laid if _exists(copy.name, folder)]

    def _remove_all(self) -> None:
        with self._open() as folder:
            for name in os.listdir(folder):  # noqa: PTH208 - a descriptor, not a path
                _unlink(name, folder)

    @contextlib.contextmanager
    def _open(self) -> Iterator[int]:
        folder = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            yield folder
        finally:
            os.close(folder)


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _unlink(name: str, folder: int) -> bool:
    """Remove a file; return whether it was there."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True
