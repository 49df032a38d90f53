"""Check of the archive's files on this machine: clips, quarantine, free space, limits, counts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from listener.config import Config
from listener.quantities import quantity
from listener.storage.free_space import free_bytes, least_free_bytes
from listener.storage.locations import CLIPS, QUARANTINE, walk
from listener.storage.over_limit import OVER_LIMIT, read_over_limit
from listener.storage.reserve import Reserve, find_reserve
from listener.storage.wrong_attributions import WRONG_ATTRIBUTIONS, WrongAttributions
from listener.system.findings import Check, Finding

_NAME: Final = "archive"


def check_archive(config: Config, now_s: float) -> Iterator[Finding]:
    """Check the archive's files; without an archive here, yield nothing.

    Args:
        config: of the installation; names its data directory.
        now_s: seconds since 1970.
    """
    folder = Path(config.home) / "archive"
    if not folder.is_dir():
        return
    try:
        yield _check_files(folder, config.archive.least_free_bytes)
    except OSError as error:
        yield Check(_NAME).fail(
            f"{folder} cannot be read: {error.strerror}", "run doctor as the user of the archive"
        )
        return
    yield _check_limits(folder, int(now_s))
    yield from _check_attributions(folder)


def _check_files(folder: Path, bound_bytes: int) -> Finding:
    clips = sum(1 for _ in walk(folder, CLIPS))
    quarantined = sum(1 for _ in walk(folder, QUARANTINE))
    free, least = free_bytes(folder), least_free_bytes(folder, bound_bytes)
    text = f"{quantity(clips, 'clip')}, {quarantined} in quarantine, {free >> 20} MiB are free"
    hint = ""
    if free < least:
        text = f"the disk is almost full: {text}; new clips wait until {least >> 20} MiB are"
        hint = "free some space on that disk; do not move the archive's files away"
    elif not (find_reserve(folder).is_whole or Reserve(folder.parent).is_whole):
        text = f"{text}; there is no reserve for a full disk"
        hint = "start the archive, which makes the reserve"
    elif quarantined:
        hint = (
            "tell the owners: earmark clips list shows how many are theirs; clips of a device or"
            " owner that is added again return to the archive"
        )
    return Check(_NAME).finding(
        "warn" if hint else "ok",
        text,
        hint,
        clips=clips,
        quarantined=quarantined,
        free_bytes=free,
    )


def _check_limits(folder: Path, now_s: int) -> Finding:
    check = Check("device-limits")
    devices = sorted(each.device for each in read_over_limit(folder / OVER_LIMIT, now_s))
    if not devices:
        return check.ok("no device exceeded its limits in the last day")
    return check.finding(
        "warn",
        f"clips were deferred in the last day, of: {', '.join(devices)}",
        "find out why the device makes so many clips; if they are wanted, raise"
        " archive.clips_per_hour or archive.bytes_per_day",
        devices=len(devices),
    )


def _check_attributions(folder: Path) -> Iterator[Finding]:
    """Report the clips of another person that owners erased as such; nothing without any."""
    counts = WrongAttributions(folder / WRONG_ATTRIBUTIONS).read()
    total = sum(counts.values())
    if total:
        speakers = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        yield Check("attributions").ok(
            f"owners reported {quantity(total, 'clip')} of another person, by speaker: {speakers}",
            clips=total,
        )
