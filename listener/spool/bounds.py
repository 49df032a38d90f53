"""Which envelopes have to go: beyond the spool's bounds, or their owner's. Pure, the oldest first.

Age is counted in time that the machine was seen running, not by the wall clock: a computer without
a battery-backed clock is years off until it finds a time server, and a spool that believed it would
throw everything away. Each file's modification time holds that running time (so ``ls`` shows 1970),
and is its stamp here. One that lies ahead, as in a restored backup, is of no age and is kept.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from listener.config import SpoolSettings
from listener.spool.entries import SpoolEntry

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
