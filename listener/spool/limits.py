"""Limits of the spool: selection of the envelopes to delete, oldest first, and the quarantine.

Age is measured in observed running time, not by the wall clock: a computer without a battery-backed
clock may be years off until it reaches a time server, and would expire everything. A file's
modification time holds the running time at which it was stored (so ``ls`` shows 1970). A time in
the future, as in a restored backup, counts as age 0.

The quarantine is a folder in the spool's. Callers hold the spool's lock.
"""

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, TypeAlias

from listener.config import SpoolSettings
from listener.spool.files import QUARANTINE, SpoolEntry, open_directory, scan
from listener.storage import atomic

Stamped: TypeAlias = Sequence[tuple[SpoolEntry, float]]
"""Entries with their modification times, oldest first, as ``scan`` returns them."""


def select_over_limit(  # noqa: PLR0913 - the last three have defaults
    entries: Stamped,
    settings: SpoolSettings,
    lived_s: float,
    *,
    size_bytes: int = 0,
    clips: int = 0,
    share: int = 1,
) -> list[SpoolEntry]:
    """Return the entries to delete so that more envelopes fit.

    Args:
        entries: the stored envelopes.
        settings: the limits.
        lived_s: observed running time of the machine, in seconds.
        size_bytes: size of the envelopes to add.
        clips: number of envelopes to add.
        share: divisor of the limits of size and number; not of age.
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
    """Return the entries that waited for longer than their owner's limit.

    Args:
        entries: the stored envelopes.
        longest_s: limit by owner, in seconds; other owners have none.
        lived_s: observed running time of the machine, in seconds.
    """
    return [
        entry
        for entry, stamp_s in entries
        if lived_s - stamp_s > longest_s.get(entry.owner, float("inf"))
    ]


_SHARE: Final = 4  # the quarantine's limits are a quarter of the spool's


@contextlib.contextmanager
def open_quarantine(folder: int) -> Iterator[int]:
    """Open the quarantine for the block, created if missing; yield its descriptor.

    Args:
        folder: a descriptor of the spool's folder.

    Raises:
        OSError: it cannot be created or opened.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(QUARANTINE, 0o700, dir_fd=folder)
        with open_directory(QUARANTINE, folder) as fresh:
            atomic.chown_to_parent(fresh, folder)
            # The setgid bit is inherited from the folder.
            shared = stat.S_IMODE(os.fstat(fresh).st_mode) & ~0o777
            os.fchmod(fresh, shared | atomic.shared_mode(folder, 0o700))
    with open_directory(QUARANTINE, folder) as aside:
        yield aside


def quarantine(folder: int, aside: int, entry: SpoolEntry) -> bool:
    """Move an envelope from the queue to the quarantine; return whether it was there."""
    try:
        os.rename(entry.name, entry.name, src_dir_fd=folder, dst_dir_fd=aside)
    except FileNotFoundError:
        return False
    return True


def select_over_quarantine_limit(
    aside: int, settings: SpoolSettings, lived_s: float
) -> list[SpoolEntry]:
    """Return the oldest envelopes of a quarantine over its limits; the caller counts them."""
    return select_over_limit(scan(aside)[0], settings, lived_s, share=_SHARE)


def restore(folder: int, aside: int, without: AbstractSet[str] = frozenset()) -> int:
    """Move quarantined envelopes back to the queue; return their number.

    Args:
        folder: a descriptor of the spool's folder.
        aside: a descriptor of the quarantine.
        without: ids of clips that stay.
    """
    entries = [entry for entry, _ in scan(aside)[0] if entry.clip not in without]
    for entry in entries:
        os.rename(entry.name, entry.name, src_dir_fd=aside, dst_dir_fd=folder)
    return len(entries)


def delete_erased(aside: int, clip: str, sha256: str, longest_bytes: int) -> bool:
    """Delete a quarantined clip with this SHA-256; return whether it was there.

    Args:
        aside: a descriptor of the quarantine.
        clip: its id.
        sha256: hash of the envelope, in hex.
        longest_bytes: upper limit of an envelope.
    """
    # Only send calls this. Hear uses the spool too, and its memory limit excludes hashlib, as
    # send's excludes listener.digests.
    import hashlib  # noqa: PLC0415 - hear must not load it

    for entry, _ in scan(aside)[0]:
        if entry.clip != clip:
            continue
        with atomic.open_plain_file(entry.name, aside) as file:
            data = file.read(longest_bytes)
        if hashlib.sha256(data).hexdigest() == sha256:
            os.unlink(entry.name, dir_fd=aside)
            return True
    return False
