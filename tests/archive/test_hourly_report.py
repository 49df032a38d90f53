"""One log line an hour about excessive use."""

import logging

import pytest

from listener.archive.hourly_report import HourlyReport
from listener.system.systemd import Notifier
from tests.archive.conftest import FakeClock


class FakeNotifier(Notifier):
    """Keeps the status."""

    def __init__(self) -> None:
        super().__init__({}, lambda: 0.0)
        self.told = ""

    def status(self, status: str) -> None:
        self.told = status


def test_counts_are_reported_after_a_minute_and_then_hourly(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    counts = {"connections refused": 0}
    service = FakeNotifier()
    report = HourlyReport(lambda: counts, clock, service)

    with caplog.at_level(logging.WARNING):
        for _ in range(3 * 3600):
            counts["connections refused"] += 10
            clock.now_s += 1
            report.run_if_due()

    assert [record.getMessage() for record in caplog.records] == [
        "since the last report: 600 connections refused",
        "since the last report: 36000 connections refused",
        "since the last report: 36000 connections refused",
    ]
    assert service.told == "since the start: 72600 connections refused"


def test_nothing_is_reported_when_nothing_happened(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    report = HourlyReport(lambda: {"connections refused": 0}, clock)

    for _ in range(10):
        clock.now_s += 3600
        report.run_if_due()

    assert caplog.records == []
