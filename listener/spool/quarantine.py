"""What cannot pass is set aside: a folder within the spool's. Its user holds the spool's lock."""

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import Final

from listener.config import SpoolSettings
from listener.spool.bounds import select_over_limit
from listener.spool.entries import QUARANTINE, SpoolEntry, open_directory, scan
from listener.spool.folder import open_plain_file
from listener.storage import atomic

_SHARE: Final = 4  # the quarantine may hold a quarter of what the spool may


@contextlib.contextmanager
def open_quarantine(folder: int) -> Iterator[int]:
    """Hold the quarantine open, and make it where there is none; yield its descriptor.

    Args:
        folder: a descriptor of the spool's.

    Raises:
        OSError: it cannot be made or opened.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(QUARANTINE, 0o700, dir_fd=folder)
        with open_directory(QUARANTINE, folder) as fresh:
            atomic.chown_to_parent(fresh, folder)
            # The setgid bit came with the folder.
            shared = stat.S_IMODE(os.fstat(fresh).st_mode) & ~0o777
            os.fchmod(fresh, shared | atomic.shared_mode(folder, 0o700))
    with open_directory(QUARANTINE, folder) as aside:
        yield aside


def quarantine(folder: int, aside: int, entry: SpoolEntry) -> bool:
    """Move an envelope out of the queue; say whether it was there."""
    try:
        os.rename(entry.name, entry.name, src_dir_fd=folder, dst_dir_fd=aside)
    except FileNotFoundError:
        return False
    return True


def trim_quarantine(aside: int, settings: SpoolSettings, lived_s: float) -> None:
    """Let the oldest go where the quarantine is over its bounds: its part of the spool's."""
    for entry in select_over_limit(scan(aside)[0], settings, lived_s, share=_SHARE):
        os.unlink(entry.name, dir_fd=aside)


def restore(folder: int, aside: int) -> int:
    """Move all that was set aside into the queue again; return how many came."""
    entries = [entry for entry, _ in scan(aside)[0]]
    for entry in entries:
        os.rename(entry.name, entry.name, src_dir_fd=aside, dst_dir_fd=folder)
    return len(entries)


def delete_erased(aside: int, clip: str, sha256: str, longest_bytes: int) -> bool:
    """Remove a clip of these very bytes; say whether it was there.

    Args:
        aside: a descriptor of the quarantine.
        clip: its id.
        sha256: of the envelope.
        longest_bytes: no envelope is longer.
    """
    # Send alone asks for this: hear has a spool too, and no memory for what hashlib brings, as send
    # has none for what listener.digests rests on.
    import hashlib  # noqa: PLC0415 - so that neither process pays for the other

    for entry, _ in scan(aside)[0]:
        if entry.clip != clip:
            continue
        with open_plain_file(entry.name, aside) as file:
            data = file.read(longest_bytes)
        if hashlib.sha256(data).hexdigest() == sha256:
            os.unlink(entry.name, dir_fd=aside)
            return True
    return False
