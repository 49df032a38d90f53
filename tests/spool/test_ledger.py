"""The spool's counts outlive damage."""

import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Final

import pytest

from listener.config import SpoolSettings
from listener.spool.files import SpoolEntry
from listener.spool.ledger import Counts, KernelClock
from listener.spool.queue import Spool
from tests.spool.machine import FakeClock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(folder: Path) -> Spool:
    return Spool(folder, SpoolSettings())


def put(spool: Spool, seq: int) -> SpoolEntry:
    return spool.put(str(uuid.UUID(int=seq)), "ada", seq, b"sealed")


@pytest.mark.parametrize(
    "damage",
    [b"", b"\0" * 1024, b"ffffffff {}" + b" " * 1000, os.urandom(4096)],
    ids=["empty", "zeros", "padded", "random"],
)
def test_damaged_ledger_restarts_and_keeps_the_clips(
    spool: Spool, folder: Path, damage: bytes
) -> None:
    entry = put(spool, 1)
    (folder / "counts").write_bytes(damage)

    put(spool, 2)

    assert spool.oldest() == entry
    assert spool.counts() == Counts(spooled=1)


_HOLD_LEASE: Final = """
import fcntl, os, signal, sys, time
signal.signal(signal.SIGIO, signal.SIG_IGN)
file = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("held", flush=True)
time.sleep(600)
"""


@pytest.mark.timeout(30)
def test_lease_of_another_process_delays_no_clip(spool: Spool, folder: Path) -> None:
    """The kernel would let an open of the file wait for 45 s, each time."""
    put(spool, 1)
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD_LEASE, str(folder / "counts")], stdout=subprocess.PIPE
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"

            put(spool, 2)

            assert [entry.seq for entry in spool.waiting()] == [1, 2]
        finally:
            holder.kill()
    put(spool, 3)
    assert spool.counts() == Counts(spooled=3)


@pytest.mark.parametrize("kind", ["pipe", "folder", "link"])
def test_ledger_that_is_not_a_file_keeps_the_clips(spool: Spool, folder: Path, kind: str) -> None:
    entry = put(spool, 1)
    counts = folder / "counts"
    counts.unlink()
    if kind == "pipe":
        os.mkfifo(counts)
    elif kind == "folder":
        counts.mkdir()
    else:
        counts.symlink_to("/dev/full")

    put(spool, 2)

    assert spool.oldest() == entry
    assert spool.counts() == Counts(spooled=1)


def test_ledger_without_erased_clips_reads_as_before(spool: Spool, folder: Path) -> None:
    put(spool, 1)
    assert b"erased" not in (folder / "counts").read_bytes()

    entry = spool.oldest()
    assert entry is not None
    assert spool.remove(entry, erased=True)
    assert spool.counts() == Counts(spooled=1, erased=1)


def test_time_waited_is_running_time(tmp_path: Path) -> None:
    clock = FakeClock()
    spool = Spool(tmp_path / "spool", SpoolSettings(), clock)
    entry = put(spool, 1)
    clock.now_s += 90
    assert spool.waited_s(entry) == 90

    spool.trim()
    clock.reboot()
    clock.now_s = 30
    assert spool.waited_s(entry) == 120
    spool.remove(entry)
    assert spool.waited_s(entry) == 0


def test_torn_ledger_page_loses_one_count_at_most(spool: Spool, folder: Path) -> None:
    for seq in range(1, 4):
        put(spool, seq)
    ledger = folder / "counts"
    data = bytearray(ledger.read_bytes())
    newest = 0 if b'"spooled":3' in data[:512] else 512
    data[newest + 20 : newest + 60] = bytes(40)
    ledger.write_bytes(data)

    assert spool.counts().spooled == 2


def test_unwritable_ledger_keeps_counts_in_memory(spool: Spool, folder: Path) -> None:
    folder.mkdir()
    (folder / "counts").mkdir()
    put(spool, 1)

    assert spool.counts() == Counts(spooled=1)

    (folder / "counts").rmdir()
    put(spool, 2)
    assert Spool(folder, SpoolSettings()).counts() == Counts(spooled=2)


def test_kernel_clock_advances_within_one_boot() -> None:
    clock = KernelClock()

    first, second = clock.running_s(), clock.running_s()

    assert 0 < first <= second
    assert clock.boot() == clock.boot()
