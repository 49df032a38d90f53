"""Boot partition: the file that sets the speaker up, and the files with the result.

It is a FAT file system: without owners and permissions, readable on every computer, and with
rename as the only protection against power cuts.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from listener.errors import Unavailable
from listener.storage.atomic import open_plain_file, read_plain_file, sync_folder

NAME: Final = "earmark.toml"
NAMES: Final = (NAME, "earmark.toml.txt")
"""Accepted names; some editors add the second ending where endings are hidden."""
TAKEN: Final = "earmark.taken"
"""Name of a file that was applied but not removed yet; it is removed without being read."""
RESULT: Final = "earmark-result.txt"
CHALLENGE: Final = "earmark-challenge.txt"
_OTHER_NAME: Final = re.compile(
    r"[^.]*earmark.*?(\.(toml|tml|txt|conf|cfg|ini)[\w.]*|toml)\s*", re.IGNORECASE | re.DOTALL
)
"""Names that someone may have given to the file for the speaker."""
_FRESH: Final = "earmark.new"


class Partition:
    """Earmark's files on the boot partition.

    Args:
        folder: its mount point.

    Raises:
        Unavailable: from every method, when it is not mounted, full, or may not be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder

    def read(self, limit_bytes: int) -> tuple[str, bytes] | None:
        """Return the name and the content of the file that sets the speaker up, or None.

        Args:
            limit_bytes: at most one byte more than this is returned.
        """
        with _available(self.folder):
            self.folder.stat()
            for name in NAMES:
                with (
                    contextlib.suppress(FileNotFoundError),
                    open_plain_file(self.folder / name) as file,
                ):
                    return name, file.read(limit_bytes + 1)
        return None

    def other_names(self) -> list[str]:
        """Return the files whose name is almost that of the file for the speaker, sorted."""
        known = {*NAMES, TAKEN, RESULT, CHALLENGE, _FRESH}
        with _available(self.folder):
            return sorted(
                file.name
                for file in self.folder.iterdir()
                if _OTHER_NAME.fullmatch(file.name) and file.name not in known and file.is_file()
            )

    def mark_applied(self, name: str) -> None:
        """Rename a file that was applied, so that it is not read again."""
        with _available(self.folder):
            self._rename(name, TAKEN)

    def clear(self) -> None:
        """Overwrite an applied file in place, and remove it."""
        path = self.folder / TAKEN
        with _available(self.folder):
            try:
                flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                file = os.open(path, flags)
            except FileNotFoundError:
                return
            try:
                os.pwrite(file, b"\n" * os.fstat(file).st_size, 0)
                os.fsync(file)
            finally:
                os.close(file)
            path.unlink()
            sync_folder(self.folder)

    def write(self, name: str, text: str) -> None:
        """Write a text file with CRLF line ends, unless it has this content already."""
        data = text.replace("\n", "\r\n").encode("utf-8")
        path = self.folder / name
        with _available(self.folder):
            with contextlib.suppress(OSError):  # whatever is there, it is replaced
                if read_plain_file(path, len(data)) == data:
                    return
            fresh = self.folder / _FRESH
            fresh.unlink(missing_ok=True)
            with fresh.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            self._rename(fresh.name, name)

    def remove(self, name: str) -> None:
        """Remove a file that holds no secret."""
        with _available(self.folder):
            (self.folder / name).unlink(missing_ok=True)

    def _rename(self, name: str, to: str) -> None:
        """Rename durably.

        On FAT the length of a file is in its directory entry, and the new entry has none until the
        file is synced again; without that, a card removed too early has an empty file.
        """
        path = self.folder / to
        (self.folder / name).replace(path)
        with open_plain_file(path) as file:
            os.fsync(file.fileno())
        sync_folder(self.folder)


@contextlib.contextmanager
def _available(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"cannot use the boot partition {path}: {error.strerror}",
            "mount it read-write",
        ) from error
