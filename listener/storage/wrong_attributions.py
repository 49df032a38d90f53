"""Counts of clips that their owner reported as another person's: by speaker, and without a name.

The archive writes the file and ``earmark doctor`` reads it.
"""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from listener.storage.atomic import read_plain_file, write_atomic

WRONG_ATTRIBUTIONS: Final = "wrong-attributions.json"
"""Name of the file, in the archive's folder."""
_LONGEST_BYTES: Final = 1 << 20
_Count = Annotated[int, Meta(ge=0, le=1 << 53)]


class WrongAttributions:
    """The counts in a file. Safe for several threads.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def add(self, counts: Mapping[str, int]) -> None:
        """Add to the counts.

        Args:
            counts: number of clips by the speaker's name.

        Raises:
            Unavailable: they cannot be written.
        """
        with self._lock:
            total = self.read()
            for device, count in counts.items():
                total[device] = total.get(device, 0) + count
            write_atomic(self._path, msgspec.json.encode(total, order="sorted"))

    def read(self) -> dict[str, int]:
        """Return the number of clips by the speaker's name; nothing if the file is damaged."""
        try:
            data = read_plain_file(self._path, _LONGEST_BYTES)
            return msgspec.json.decode(data, type=dict[str, _Count])
        except (OSError, ValueError, RecursionError):
            return {}
