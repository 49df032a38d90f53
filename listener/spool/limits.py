"""Which envelopes have to go: beyond the spool's bounds, or their owner's. Pure, the oldest first.

Age is counted in time that the machine was seen running, not by the wall clock: a computer without
a battery-backed clock is years off until it finds a time server, and a spool that believed it would
throw everything away. Each file's modification time holds that running time (so ``ls`` shows 1970),
and is its stamp here. One that lies ahead, as in a restored backup, is of no age and is kept.

What cannot pass is set aside: a folder within the spool's. Its user holds the spool's lock.
"""

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from listener.config import SpoolSettings
from listener.spool.files import QUARANTINE, SpoolEntry, open_directory, scan
from listener.storage import atomic

Stamped: TypeAlias = Sequence[tuple[SpoolEntry, float]]
"""Entries with their stamps, the oldest first, as ``scan`` returns them."""


def select_over_limit(  # noqa: PLR0913 - what is to come, by size, number and share; nothing, as a rule
    entries: Stamped,
    settings: SpoolSettings,
    lived_s: float,
    *,
    size_bytes: int = 0,
    clips: int = 0,
    share: int = 1,
) -> list[SpoolEntry]:
    """Say which entries must go so that this much more fits.

    Args:
        entries: what is there.
        settings: the bounds.
        lived_s: for how long the machine was seen running.
        size_bytes: of what is to come.
        clips: how many are to come.
        share: the part of the bounds that counts here, as a divisor; not of the age.
    """
    total_bytes = size_bytes + sum(entry.size_bytes for entry, _ in entries)
    number = clips + len(entries)
    gone = []
    for entry, stamp_s in entries:
        if (
            total_bytes > settings.longest_bytes // share
            or number > max(1, settings.most_clips // share)
            or lived_s - stamp_s > settings.oldest_s
        ):
            gone.append(entry)
            total_bytes -= entry.size_bytes
            number -= 1
    return gone


def select_expired(
    entries: Stamped, longest_s: Mapping[str, float], lived_s: float
) -> list[SpoolEntry]:
    """Say which entries waited for longer than their owner lets them.

    Args:
        entries: what is there.
        longest_s: by owner; who is not in it lets them wait.
        lived_s: for how long the machine was seen running.
    """
    return [
        entry
        for entry, stamp_s in entries
        if lived_s - stamp_s > longest_s.get(entry.owner, float("inf"))
    ]


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
        with atomic.open_plain_file(entry.name, aside) as file:
            data = file.read(longest_bytes)
        if hashlib.sha256(data).hexdigest() == sha256:
            os.unlink(entry.name, dir_fd=aside)
            return True
    return False
