"""Worker processes: order of the reports, and bounded batches."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from listener.evaluate.corpus.items import Item
from listener.evaluate.job import ItemReport
from listener.evaluate.pool import BATCH_ITEMS, Processes

pytestmark = pytest.mark.system  # real processes

HERE = Path("x")


def slow_first(item: Item) -> ItemReport:
    if item.name == "0":
        time.sleep(0.3)
    return ItemReport(item)


@pytest.mark.parametrize("jobs", [1, 2])
def test_reports_come_in_the_order_of_the_items(jobs: int) -> None:
    items = [Item(str(number), HERE) for number in range(20)]

    reports = Processes(jobs).map(slow_first, items)

    assert [report.item for report in reports] == items


_KEPT: list[bytearray] = []


def grow(item: Item) -> ItemReport:
    """Keep 310 MB at one item, as a neural voice does; joblib looks once a second."""
    time.sleep(0.3)
    if item.name == "4":
        _KEPT.append(bytearray(b"\1") * 310_000_000)
    return ItemReport(item)


def test_worker_that_grows_is_replaced_without_a_warning() -> None:
    items = [Item(str(number), HERE) for number in range(24)]

    # A warning of joblib's thread would be an error here.
    reports = Processes(2).map(grow, items)

    assert [report.item for report in reports] == items


@pytest.mark.parametrize("jobs", [1, 2])
def test_items_are_read_lazily(jobs: int) -> None:
    taken = []

    def endless() -> Iterator[Item]:
        number = 0
        while True:
            taken.append(number)
            yield Item(str(number), HERE)
            number += 1
            if number == 100_000:
                return

    reports = Processes(jobs).map(ItemReport, endless())
    for _ in range(BATCH_ITEMS):
        next(reports)

    assert len(taken) == BATCH_ITEMS
