"""The boot partition: what a person put there, and what she finds there afterwards.

It is FAT: it knows no owners and no permissions, every computer can read it, and a rename is all
it offers against a power cut.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from listener.errors import Unavailable
from listener.storage.atomic import sync_folder

NAME: Final = "earmark.toml"
NAMES: Final = (NAME, "earmark.toml.txt")
"""The second is what an editor makes of the first where endings are hidden."""
TAKEN: Final = "earmark.taken"
"""What was taken in and not removed yet; it is removed unread."""
RESULT: Final = "earmark-result.txt"
CHALLENGE: Final = "earmark-challenge.txt"


class Partition:
    """The files on it that are ours.

    Args:
        folder: where it is mounted.

    Raises:
        Unavailable: from every method, when it is not there, full, or not ours to write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder

    def read(self, limit_bytes: int) -> tuple[str, bytes] | None:
        """Return the name and the content of what a person put there, or None.

        Args:
            limit_bytes: of what is longer, so much and one byte are returned.
        """
        with _available(self.folder):
            self.folder.stat()
            for name in NAMES:
                with (
                    contextlib.suppress(FileNotFoundError),
                    (self.folder / name).open("rb") as file,
                ):
                    return name, file.read(limit_bytes + 1)
        return None

    def mark_applied(self, name: str) -> None:
        """Note that a file was taken in: it is not read again."""
        with _available(self.folder):
            self._rename(name, TAKEN)

    def clear(self) -> None:
        """Overwrite what was taken in where it lies, and remove it."""
        path = self.folder / TAKEN
        with _available(self.folder):
            try:
                file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
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
        """Write a file as every system's editors show it, unless it is there already."""
        data = text.replace("\n", "\r\n").encode("utf-8")
        path = self.folder / name
        with _available(self.folder):
            with contextlib.suppress(FileNotFoundError):
                if path.read_bytes() == data:
                    return
            fresh = self.folder / "earmark.new"
            with fresh.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            self._rename(fresh.name, name)

    def remove(self, name: str) -> None:
        """Remove a file that is no secret."""
        with _available(self.folder):
            (self.folder / name).unlink(missing_ok=True)

    def _rename(self, name: str, to: str) -> None:
        """Rename durably.

        On FAT a file's length stands in its folder, and the new entry has none until the file is
        synced once more: without that, a card pulled out too early shows an empty file.
        """
        path = self.folder / to
        (self.folder / name).replace(path)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        sync_folder(self.folder)


@contextlib.contextmanager
def _available(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"cannot use the boot partition {path}: {error.strerror}",
            "is it mounted, to be written?",
        ) from error
