"""The folder of a training that has not ended: batches and heads that are done.

Each file is written whole or not at all, and its name is that of the work. A file that is damaged
counts as missing. The folder's name has the digest of the recipe, so that the files of another
recipe are never used.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from listener.errors import Unavailable
from listener.storage.atomic import make_folders, single_instance, write_atomic

Content = TypeVar("Content")

SUFFIX: Final = ".npz"
_DIGEST_CHARACTERS: Final = 16


class WorkFolder:
    """Files of one training. One process at a time."""

    def __init__(self, place: Path, name: str, digest: str) -> None:
        """Name the folder; nothing is created.

        Args:
            place: folder of all trainings that have not ended.
            name: name of the model.
            digest: of the recipe, in hexadecimal.
        """
        self.path: Final = place / f"{name}-{digest[:_DIGEST_CHARACTERS]}"

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Create the folder, and keep other trainings of this recipe out while the block runs.

        Raises:
            Unavailable: one runs already, or the folder cannot be written.
        """
        make_folders(self.path)
        with single_instance(self.path, "train"):
            yield

    def file(self, name: str) -> Path:
        """Return the path of a file."""
        return self.path / f"{name}{SUFFIX}"

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all.

        Raises:
            Unavailable: it cannot be written.
        """
        write_atomic(self.file(name), data)

    def read(self, name: str, unpack: Callable[[bytes], Content]) -> Content | None:
        """Return the content of a file; None if it is missing or damaged.

        Args:
            name: name of the work.
            unpack: parses the file; raises ValueError if it is damaged.

        Raises:
            Unavailable: it cannot be read.
        """
        file = self.file(name)
        try:
            return unpack(file.read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        except OSError as error:
            raise Unavailable(f"cannot read {file}: {error.strerror}") from error

    def require(self, name: str, unpack: Callable[[bytes], Content]) -> Content:
        """Return the content of a file that was written before; see ``read``.

        Raises:
            Unavailable: it is missing, damaged, or cannot be read.
        """
        content = self.read(name, unpack)
        if content is None:
            raise Unavailable(
                f"{self.file(name)} was removed or damaged meanwhile", "run the command again"
            )
        return content

    def remove(self) -> None:
        """Remove the folder and what is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
