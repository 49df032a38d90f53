"""What is set aside is kept, within bounds, and can come back."""

from pathlib import Path

from listener.config import SpoolSettings
from listener.spool.ledger import Counts
from listener.spool.queue import Spool
from tests.spool.machine import FakeClock, put


def test_quarantine_sets_aside_and_release_brings_back(spool: Spool, folder: Path) -> None:
    entry = put(spool, 1, b"poison")

    assert spool.quarantine(entry)
    assert not spool.quarantine(entry)
    assert spool.oldest() is None
    assert (folder / "quarantine" / entry.name).read_bytes() == b"poison"

    assert spool.restore() == 1
    assert spool.oldest() == entry
    assert spool.counts() == Counts(spooled=1, quarantined=1, released=1)


def test_the_quarantine_is_bounded_too(folder: Path, clock: FakeClock) -> None:
    spool = Spool(folder, SpoolSettings(most_clips=8), clock)

    for seq in range(1, 6):
        spool.quarantine(put(spool, seq))

    assert len(list((folder / "quarantine").iterdir())) == 2
    assert spool.counts().quarantined == 5
