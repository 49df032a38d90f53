"""List of the clips that the archive refused because another clip has their number.

Such a clip can never be stored: its number is signed. It stays in the quarantine, and is released
once: the refusal may have been forged. After the second one it is not released any more.

The caller holds the folder's lock.
"""

import contextlib
import os
from typing import Final

import msgspec

from listener.spool.files import REPLAYED
from listener.storage import atomic

MOST_LISTED: Final = 1000
MOST_REFUSALS: Final = 2
"""Refusals after which a clip is not released any more."""
_LONGEST_BYTES: Final = 128 << 10


def read_replays(folder: int) -> dict[str, int]:
    """Return the number of refusals by clip id; empty if the list is missing or damaged.

    Args:
        folder: a descriptor of the spool's folder.
    """
    try:
        data = atomic.read_plain_file(REPLAYED, _LONGEST_BYTES, folder)
        return msgspec.json.decode(data, type=dict[str, int])
    except (OSError, ValueError, RecursionError):
        return {}


def count_replay(folder: int, clip: str) -> None:
    """Count a refusal of a clip; the oldest entries of a long list are dropped.

    Raises:
        OSError: the list cannot be written.
    """
    replays = read_replays(folder)
    replays[clip] = replays.pop(clip, 0) + 1
    _write(folder, dict(list(replays.items())[-MOST_LISTED:]))


def forget_replay(folder: int, clip: str) -> None:
    """Remove a clip that its owner erased from the list.

    Raises:
        OSError: the list cannot be written.
    """
    replays = read_replays(folder)
    if replays.pop(clip, None) is not None:
        _write(folder, replays)


def _write(folder: int, replays: dict[str, int]) -> None:
    part = REPLAYED + atomic.PART
    with contextlib.suppress(FileNotFoundError):
        os.unlink(part, dir_fd=folder)
    with atomic.create_file(part, folder=folder) as file:
        file.write(msgspec.json.encode(replays))
        file.flush()
        atomic.chown_to_parent(file.fileno(), folder)
        os.fchmod(file.fileno(), atomic.shared_mode(folder))
    os.rename(part, REPLAYED, src_dir_fd=folder, dst_dir_fd=folder)
