"""Limits of one device: a flood is deferred, other devices and a backlog are not refused."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from listener.archive.disk import ArchiveDisk
from listener.archive.quota import DeferralReport, DeviceQuota, OverLimit
from listener.archive.receiver import IntakeLimits, Receiver, Refusal
from listener.archive.store import FileStore
from listener.config import ArchiveSettings, SpoolSettings
from listener.errors import Unavailable
from listener.mqtt.client import Message
from listener.storage.access_log import AccessLog
from listener.storage.over_limit import OVER_LIMIT, read_over_limit
from tests.archive.conftest import NOON_S, FakeClock

if TYPE_CHECKING:
    from tests.conftest import Household

MIB = 1 << 20


def stored(quota: DeviceQuota, device: str, clips: int, size_bytes: int = 1000) -> int:
    """Offer clips; return how many are admitted."""
    number = 0
    for _ in range(clips):
        try:
            quota.check(device, size_bytes)
        except OverLimit:
            continue
        quota.charge(device, size_bytes)
        number += 1
    return number


def test_device_is_limited_by_the_hour_and_refilled(clock: FakeClock) -> None:
    quota = DeviceQuota(60, 0, clock)

    assert stored(quota, "hall", 100) == 60
    clock.now_s += 60
    assert stored(quota, "hall", 100) == 1
    clock.now_s += 7200
    assert stored(quota, "hall", 100) == 60


def test_device_is_limited_by_bytes_a_day(clock: FakeClock) -> None:
    quota = DeviceQuota(0, 10 * MIB, clock)

    assert stored(quota, "hall", 30, MIB) == 10
    clock.now_s += 86_400 / 10
    assert stored(quota, "hall", 30, MIB) == 1


def test_flood_of_one_device_takes_nothing_from_another(clock: FakeClock) -> None:
    quota = DeviceQuota(60, 10 * MIB, clock)

    stored(quota, "hall", 10_000)

    assert stored(quota, "kitchen", 60) == 60


def test_limits_of_zero_admit_everything(clock: FakeClock) -> None:
    assert stored(DeviceQuota(0, 0, clock), "hall", 5000, MIB) == 5000


def test_clip_larger_than_the_limit_is_admitted_when_the_bucket_is_full(clock: FakeClock) -> None:
    quota = DeviceQuota(0, 1000, clock)

    assert stored(quota, "hall", 3, MIB) == 1
    clock.now_s += 86_400
    assert stored(quota, "hall", 3, MIB) == 1


def test_clock_that_stands_or_goes_back_grants_nothing(clock: FakeClock) -> None:
    quota = DeviceQuota(10, 0, clock)
    stored(quota, "hall", 10)

    clock.now_s -= 5000

    assert stored(quota, "hall", 10) == 0


def test_full_default_spool_is_stored_at_once(clock: FakeClock) -> None:
    """A speaker that was offline for a week delivers what its spool holds without a deferral."""
    archive, spool = ArchiveSettings(), SpoolSettings()
    quota = DeviceQuota(archive.clips_per_hour, archive.bytes_per_day, clock)

    sizes = spool.longest_bytes // spool.most_clips

    assert stored(quota, "hall", spool.most_clips, sizes) == spool.most_clips


def test_largest_backlog_is_stored_in_time(clock: FakeClock) -> None:
    """5,000 clips of a raised spool limit take less than nine hours; none is refused for good."""
    archive = ArchiveSettings()
    quota = DeviceQuota(archive.clips_per_hour, archive.bytes_per_day, clock)
    left = 5000
    minutes = 0

    while left:
        left -= stored(quota, "hall", min(left, 100), 20_000)
        clock.now_s += 60
        minutes += 1

    assert minutes < 9 * 60


class Flood:
    """A device that offers clips to a receiver with limits."""

    def __init__(
        self, household: "Household", store: FileStore, log: AccessLog, clock: FakeClock
    ) -> None:
        self.household = household
        folder = household.home.path / "archive"
        self.disk = ArchiveDisk(store, folder, 0, clock)
        wall = FakeClock(NOON_S)
        self.receiver = Receiver(
            store,
            household.home.roster,
            wall,
            IntakeLimits(
                self.disk,
                DeviceQuota(3, 0, clock),
                DeferralReport(log, folder, wall, clock),
            ),
        )
        self.seq = 0

    def offer(self, change: bytes = b"") -> Message | None:
        """Offer one more clip of ada's from the hall, changed at its end; return the answer."""
        self.seq += 1
        header = self.household.header(self.seq)
        self.last = Message(
            f"earmark/v1/clips/ada/hall/{header.clip}",
            self.household.seal(header, lambda _: b"fLaC" + bytes(100)) + change,
        )
        return self.receiver.receive(self.last)


@pytest.fixture
def flood(household: "Household", store: FileStore, log: AccessLog, clock: FakeClock) -> Flood:
    return Flood(household, store, log, clock)


def test_clip_over_the_limit_is_deferred_and_stored_later(
    flood: Flood, store: FileStore, clock: FakeClock
) -> None:
    for _ in range(3):
        flood.offer()
    answer = flood.offer()

    assert answer is not None
    assert answer.payload.startswith(b"deferred:")
    assert len(list(store.clips())) == 3
    assert flood.receiver.refused == {Refusal.QUOTA: 1}

    clock.now_s += 3600
    assert flood.receiver.receive(flood.last) is not None
    assert len(list(store.clips())) == 4


def test_forged_clips_do_not_use_up_a_devices_limit(flood: Flood, store: FileStore) -> None:
    for _ in range(20):
        flood.offer(b"changed")

    answer = flood.offer()

    assert answer is not None
    assert len(answer.payload) == 64
    assert len(list(store.clips())) == 1


def test_repeated_clips_do_not_use_up_a_devices_limit(flood: Flood, store: FileStore) -> None:
    flood.offer()
    for _ in range(20):
        flood.receiver.receive(flood.last)

    flood.offer()

    assert len(list(store.clips())) == 2


def test_owner_gets_one_row_an_hour_with_the_number(
    flood: Flood, log: AccessLog, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    def rows(owner: str) -> list[tuple[str, str, int]]:
        bodies = [row["body"] for row in log.page(owner, 0, 100) if "body" in row]
        return [(body["op"], body["outcome"], body["count"]) for body in bodies]

    for _ in range(3 + 50):
        flood.offer()
    assert rows("ada") == [("deferred", "refused", 1)]
    assert caplog.text.count("is over its limits") == 1

    clock.now_s += 3600
    for _ in range(3 + 10):
        flood.offer()
    assert rows("ada")[1:] == [("deferred", "refused", 50)]
    assert rows("bob") == []


def test_device_over_its_limit_is_reported_for_a_day(flood: Flood, home: Path) -> None:
    for _ in range(5):
        flood.offer()
    path = home / "archive" / OVER_LIMIT

    assert [each.device for each in read_over_limit(path, int(NOON_S))] == ["hall"]
    assert read_over_limit(path, int(NOON_S) + 90_000) == []
    path.write_bytes(b"[")
    assert read_over_limit(path, int(NOON_S)) == []


def test_clip_is_deferred_when_the_report_cannot_be_written(
    flood: Flood, log: AccessLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.close()

    for _ in range(3):
        flood.offer()
    answer = flood.offer()

    assert answer is not None
    assert answer.payload.startswith(b"deferred:")
    assert "cannot report" in caplog.text


def test_new_clips_wait_while_the_disk_is_almost_full(
    flood: Flood,
    store: FileStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse() -> None:
        raise Unavailable("the disk is almost full")

    monkeypatch.setattr(flood.disk, "check_room", refuse)

    waiting = flood.offer()
    assert waiting is not None
    assert waiting.payload.startswith(b"waiting:unavailable:")
    assert list(store.clips()) == []
    assert "almost full" in caplog.text

    monkeypatch.undo()
    stored = flood.receiver.receive(flood.last)
    assert stored is not None
    assert not stored.payload.startswith(b"waiting:")
