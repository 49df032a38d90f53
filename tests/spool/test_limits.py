"""The oldest go beyond a bound, and the wall clock has no say.

What is set aside is kept, within bounds, and can come back.
"""

import os
from pathlib import Path

import pytest

from listener.config import SpoolSettings
from listener.spool.ledger import Counts
from listener.spool.queue import Spool
from tests.spool.machine import MIB, FakeClock, put


def test_oldest_are_dropped_over_the_limit_of_clips(spool: Spool) -> None:
    for seq in range(1, 9):
        put(spool, seq)

    assert [entry.seq for entry in spool.waiting()] == [4, 5, 6, 7, 8]
    assert spool.counts() == Counts(spooled=8, dropped=3)


def test_oldest_are_dropped_over_the_limit_of_bytes(spool: Spool) -> None:
    put(spool, 1, bytes(MIB // 2))
    put(spool, 2, bytes(MIB // 4))

    put(spool, 3, bytes(MIB // 2))

    assert [entry.seq for entry in spool.waiting()] == [2, 3]
    assert spool.counts().dropped == 1


def test_clip_over_the_age_limit_is_dropped(spool: Spool, clock: FakeClock) -> None:
    put(spool, 1)
    clock.now_s += 3000
    put(spool, 2)
    clock.now_s += 700

    dropped = spool.trim()

    assert dropped == 1
    assert [entry.seq for entry in spool.waiting()] == [2]
    assert spool.counts().dropped == 1


def test_age_counts_running_time_over_reboots(spool: Spool, folder: Path, clock: FakeClock) -> None:
    put(spool, 1)
    clock.now_s += 3000
    spool.trim()
    clock.reboot()
    again = Spool(folder, SpoolSettings(oldest_s=3600), clock)
    clock.now_s = 500

    assert again.trim() == 0

    clock.now_s = 700
    assert again.trim() == 1


def test_wall_clock_does_not_change_age(spool: Spool, folder: Path) -> None:
    put(spool, 1)
    put(spool, 2)
    for path, stamp_s in zip(sorted(folder.glob("*.earmark")), (4e9, 1.8e9), strict=True):
        os.utime(path, (stamp_s, stamp_s))

    assert spool.trim() == 0
    assert len(spool.waiting()) == 2


def test_clip_of_a_lost_ledger_ages_from_then_on(spool: Spool, folder: Path) -> None:
    put(spool, 1)
    (path,) = folder.glob("*.earmark")
    os.utime(path, (4e9, 4e9))

    spool.trim()

    assert path.stat().st_mtime < 4e9


def test_quarantine_and_restore(spool: Spool, folder: Path) -> None:
    entry = put(spool, 1, b"poison")

    assert spool.quarantine(entry)
    assert not spool.quarantine(entry)
    assert spool.oldest() is None
    assert (folder / "quarantine" / entry.name).read_bytes() == b"poison"

    assert spool.restore() == 1
    assert spool.oldest() == entry
    assert spool.counts() == Counts(spooled=1, quarantined=1, released=1)


def test_quarantine_has_limits(folder: Path, clock: FakeClock) -> None:
    spool = Spool(folder, SpoolSettings(most_clips=8), clock)

    for seq in range(1, 6):
        spool.quarantine(put(spool, seq))

    assert len(list((folder / "quarantine").iterdir())) == 2
    assert spool.counts().quarantined == 5


def test_clips_dropped_from_the_quarantine_are_counted_first(
    folder: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(folder, SpoolSettings(most_clips=8), clock)
    for seq in range(1, 201):
        spool.quarantine(put(spool, seq))

    assert spool.counts().dropped == 198
    assert len(spool.quarantined()) == spool.restore() == 2

    for entry in spool.waiting():
        spool.quarantine(entry)
    last = put(spool, 201)
    durably = []
    written = os.fdatasync

    def sync(handle: int) -> None:
        durably.append(handle)
        written(handle)

    monkeypatch.setattr(os, "fdatasync", sync)
    monkeypatch.setattr(os, "unlink", _killed)
    with pytest.raises(KeyboardInterrupt):
        spool.quarantine(last)

    assert durably
    assert Spool(folder, SpoolSettings(most_clips=8), clock).counts().dropped == 199


def test_old_quarantined_clips_are_dropped_and_counted(folder: Path, clock: FakeClock) -> None:
    spool = Spool(folder, SpoolSettings(oldest_s=1000), clock)
    spool.quarantine(put(spool, 1))

    clock.now_s += 999
    assert spool.trim() == 0
    clock.now_s += 2
    assert spool.trim() == 1

    assert len(spool.quarantined()) == 0
    assert spool.counts() == Counts(spooled=1, quarantined=1, dropped=1)


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_suspension_survives_a_restart(spool: Spool, folder: Path) -> None:
    assert spool.suspended() == ""

    spool.set_suspended("refusals")
    assert Spool(folder, SpoolSettings()).suspended() == "refusals"
    assert spool.waiting() == []

    spool.set_suspended("")
    spool.set_suspended("")
    assert spool.suspended() == ""
