"""What cannot pass is set aside: a folder within the spool's. Its user holds the spool's lock."""

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import Final

from listener import belonging
from listener.config import SpoolSettings
from listener.spool.bounds import overdue
from listener.spool.entries import QUARANTINE, Entry, directory, scan
from listener.spool.folder import plain_file

_SHARE: Final = 4  # the quarantine may hold a quarter of what the spool may


@contextlib.contextmanager
def made(folder: int) -> Iterator[int]:
    """Hold the quarantine open, and make it where there is none; yield its descriptor.

    Args:
        folder: a descriptor of the spool's.

    Raises:
        OSError: it cannot be made or opened.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(QUARANTINE, 0o700, dir_fd=folder)
        with directory(QUARANTINE, folder) as fresh:
            belonging.chown_to_parent(fresh, folder)
            # The setgid bit came with the folder.
            shared = stat.S_IMODE(os.fstat(fresh).st_mode) & ~0o777
            os.fchmod(fresh, shared | belonging.shared_mode(folder, 0o700))
    with directory(QUARANTINE, folder) as aside:
        yield aside


def set_aside(folder: int, aside: int, entry: Entry) -> bool:
    """Move an envelope out of the queue; say whether it was there."""
    try:
        os.rename(entry.name, entry.name, src_dir_fd=folder, dst_dir_fd=aside)
    except FileNotFoundError:
        return False
    return True


def trim(aside: int, settings: SpoolSettings, lived_s: float) -> None:
    """Let the oldest go where the quarantine is over its bounds: its part of the spool's."""
    for entry in overdue(scan(aside)[0], settings, lived_s, share=_SHARE):
        os.unlink(entry.name, dir_fd=aside)


def bring_back(folder: int, aside: int) -> int:
    """Move all that was set aside into the queue again; return how many came."""
    entries = [entry for entry, _ in scan(aside)[0]]
    for entry in entries:
        os.rename(entry.name, entry.name, src_dir_fd=aside, dst_dir_fd=folder)
    return len(entries)


def bury(aside: int, clip: str, sha256: str, longest_bytes: int) -> bool:
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
        with plain_file(entry.name, aside) as file:
            data = file.read(longest_bytes)
        if hashlib.sha256(data).hexdigest() == sha256:
            os.unlink(entry.name, dir_fd=aside)
            return True
    return False
