"""The border: durable, bounded, counted, and indifferent to the wall clock."""

import fcntl
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from listener.config import SpoolSettings
from listener.errors import SpoolFull
from listener.spool.files import SpoolEntry
from listener.spool.ledger import Counts
from listener.spool.queue import Spool
from tests.spool.machine import MIB, FakeClock, put


def test_waiting_returns_the_oldest_first(spool: Spool) -> None:
    second = put(spool, 2, b"two")
    first = put(spool, 1, b"one")

    assert spool.oldest() == first
    assert spool.waiting() == [first, second]
    assert spool.read(first) == b"one"


def test_entry_has_owner_clip_and_size(spool: Spool, folder: Path) -> None:
    clip = str(uuid.uuid4())

    spool.put(clip, "ada-lovelace", 7, b"12345")

    (found,) = spool.waiting()
    assert found == SpoolEntry(7, "ada-lovelace", clip, 5)
    assert (folder / f"000000000007.ada-lovelace.{clip}.earmark").read_bytes() == b"12345"


def test_missing_spool_is_empty(spool: Spool, folder: Path) -> None:
    assert spool.oldest() is None
    assert spool.counts() == Counts()
    assert spool.restore() == 0
    assert not folder.is_dir() or not list(folder.glob("*.earmark"))


@pytest.mark.parametrize(
    ("clip", "owner", "seq"),
    [
        ("../../x", "ada", 1),
        (str(uuid.UUID(int=1)).upper().replace("0", "A"), "ada", 1),
        (str(uuid.UUID(int=1)), "Ada", 1),
        (str(uuid.UUID(int=1)), "", 1),
        (str(uuid.UUID(int=1)), "a/b", 1),
        (str(uuid.UUID(int=1)), "ada\n", 1),
        (str(uuid.UUID(int=1)), "ada", 10**12),
        (str(uuid.UUID(int=1)), "ada", -1),
    ],
)
def test_invalid_file_name_is_refused(spool: Spool, clip: str, owner: str, seq: int) -> None:
    with pytest.raises(ValueError, match="not a valid name"):
        spool.put(clip, owner, seq, b"")


def test_clip_larger_than_the_spool_is_refused(spool: Spool) -> None:
    put(spool, 1)

    with pytest.raises(SpoolFull, match="larger than the whole spool"):
        put(spool, 2, bytes(MIB + 1))

    assert [entry.seq for entry in spool.waiting()] == [1]
    assert spool.counts() == Counts(spooled=1, refused=1)


def test_acknowledged_clip_is_removed_and_counted_once(spool: Spool) -> None:
    entry = put(spool, 1)

    assert spool.remove(entry)
    assert not spool.remove(entry)

    assert spool.oldest() is None
    assert spool.read(entry) is None
    assert spool.counts() == Counts(spooled=1, acked=1)


def test_foreign_files_are_kept_and_reported_once(
    spool: Spool, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entry = put(spool, 1)
    (folder / "notes.txt").write_text("mine")
    (folder / f"000000000002.ada.{uuid.UUID(int=2)}.earmark").symlink_to("/etc/passwd")
    os.mkfifo(folder / f"000000000003.ada.{uuid.UUID(int=3)}.earmark")
    (folder / f"000000000004.ada.{uuid.UUID(int=4)}.earmark").mkdir()

    assert spool.waiting() == [entry]
    assert spool.waiting() == [entry]

    assert caplog.text.count("4 foreign files") == 1
    assert "notes" not in caplog.text
    assert (folder / "notes.txt").exists()


def test_unwritable_spool_refuses_and_recovers(spool: Spool, folder: Path) -> None:
    folder.write_text("a file is in the way")

    with pytest.raises(SpoolFull, match="cannot store a clip") as caught:
        put(spool, 1)
    assert "counted" in caught.value.hint
    assert spool.counts() == Counts(refused=1)

    folder.unlink()
    put(spool, 2)
    assert spool.counts() == Counts(spooled=1, refused=1)
    assert spool.counts() == Spool(folder, SpoolSettings()).counts()


def test_processes_share_the_counts(folder: Path, clock: FakeClock) -> None:
    hear = Spool(folder, SpoolSettings(), clock)
    send = Spool(folder, SpoolSettings(), clock)

    for seq in range(1, 4):
        entry = put(hear, seq)
        send.remove(entry)

    assert hear.counts() == send.counts() == Counts(spooled=3, acked=3)


CHILD = """
import hashlib, sys, uuid
from pathlib import Path
from listener.config import SpoolSettings
from listener.spool.queue import Spool
spool = Spool(Path(sys.argv[1]), SpoolSettings(most_clips=100))
seq = int(sys.argv[2])
while True:
    seq += 1
    clip = str(uuid.uuid4())
    data = hashlib.sha256(clip.encode()).digest() * 2000
    spool.put(clip, "ada", seq, data)
    print(seq, clip, flush=True)
"""


@pytest.mark.system
def test_process_killed_at_any_time_loses_no_clip(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    seed = time.time_ns()
    moments = random.Random(seed)
    spool = Spool(folder, SpoolSettings(most_clips=100))
    seq = 0
    for _ in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder), str(seq)], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            told = [child.stdout.readline()]
            time.sleep(moments.uniform(0, 0.15))
            child.send_signal(signal.SIGKILL)
            told += child.stdout.readlines()
        promised = [line.split() for line in told if line.endswith("\n")]

        present = {(str(entry.seq), entry.clip) for entry in spool.waiting()}
        missing = [number for number, clip in promised if (number, clip) not in present]
        assert len(missing) <= spool.counts().dropped, f"seed {seed}"
        for entry in spool.waiting():
            assert spool.read(entry) == hashlib.sha256(entry.clip.encode()).digest() * 2000
        seq = max(entry.seq for entry in spool.waiting())
    put(spool, seq + 1)
    assert not list(folder.glob("*.part"))
    counts = spool.counts()
    gap = counts.spooled - counts.dropped - len(spool.waiting())
    assert abs(gap) <= 12, "each kill may cost one step's count"


class Ledger(RuleBasedStateMachine):
    """Whatever happens in whatever order: nothing is lost uncounted, and the bounds hold."""

    def __init__(self) -> None:
        super().__init__()
        self.area = tempfile.TemporaryDirectory()
        self.folder = Path(self.area.name) / "spool"
        self.clock = FakeClock()
        self.settings = SpoolSettings(most_clips=4, longest_bytes=MIB, oldest_s=1000)
        self.spool = Spool(self.folder, self.settings, self.clock)
        self.seq = 0
        self.contents: dict[int, bytes] = {}

    def teardown(self) -> None:
        self.area.cleanup()

    @rule(size=st.sampled_from([0, 1, 100, 400_000, MIB, MIB + 1]))
    def put(self, size: int) -> None:
        self.seq += 1
        data = self.seq.to_bytes(4, "big") * (size // 4 + 1)
        try:
            put(self.spool, self.seq, data)
        except SpoolFull:
            assert len(data) > MIB
        else:
            self.contents[self.seq] = data

    @precondition(lambda self: self.spool.oldest())
    @rule()
    def acknowledge(self) -> None:
        entry = self.spool.oldest()
        assert entry is not None
        assert self.spool.remove(entry)

    @precondition(lambda self: self.spool.oldest())
    @rule()
    def set_aside(self) -> None:
        entry = self.spool.oldest()
        assert entry is not None
        assert self.spool.quarantine(entry)

    @rule()
    def release(self) -> None:
        self.spool.restore()

    @rule(passed_s=st.sampled_from([1.0, 400.0, 2000.0]))
    def time_passes(self, passed_s: float) -> None:
        self.clock.now_s += passed_s
        self.spool.trim()
        lived = self.settings.oldest_s
        assert passed_s <= lived or self.spool.oldest() is None

    @rule()
    def restart(self) -> None:
        self.clock.reboot()
        self.spool = Spool(self.folder, self.settings, self.clock)

    @invariant()
    def every_clip_is_accounted_for(self) -> None:
        counts = self.spool.counts()
        waiting = self.spool.waiting()
        assert counts.spooled == (
            counts.acked + counts.dropped + len(waiting) + len(self.spool.quarantined())
        )
        assert counts.spooled + counts.refused == self.seq

    @invariant()
    def what_waits_is_whole_and_in_order(self) -> None:
        waiting = self.spool.waiting()
        assert waiting == sorted(waiting)
        for entry in waiting:
            assert self.spool.read(entry) == self.contents[entry.seq]


TestLedger = Ledger.TestCase
TestLedger.settings = hypothesis_settings(max_examples=25, stateful_step_count=25)


def test_lock_that_is_never_released_refuses_the_clip_and_counts_it(
    folder: Path, clock: FakeClock
) -> None:
    spool = Spool(folder, SpoolSettings(), clock, patience_s=0.01)
    folder.mkdir()
    holder = os.open(folder, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)

    with pytest.raises(SpoolFull, match="another process does not release its lock"):
        spool.put(str(uuid.uuid4()), "ada", 1, b"data")
    assert spool.counts().refused == 1
    os.close(holder)

    spool.put(str(uuid.uuid4()), "ada", 2, b"data")
    assert Spool(folder, SpoolSettings(), clock).counts().refused == 1
