"""Budget of the access log: rows of an owner within an hour."""

from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import pytest

from listener.archive.log_budget import (
    EVENTS_A_ROW,
    MOST_SINGLE_ROWS,
    MOST_SUMMARIES,
    WINDOW_S,
    LogBudget,
)
from listener.errors import Unavailable
from listener.storage.access_log import LogEntry

if TYPE_CHECKING:
    from listener.archive.context import ArchiveContext
    from tests.archive.conftest import FakeClock

LIST = LogEntry(owner="ada", op="list", outcome="done", count=7, okey="k", request_sha256="r")
REFUSED = LogEntry(owner="ada", op="list", outcome="refused", count=1)
CROSSED = LogEntry(owner="ada", op="list", outcome="crossed", other="bob", count=1)


def rows_for(budget: LogBudget, entry: LogEntry) -> list[LogEntry]:
    """The rows that are written at an event, as ``ArchiveContext`` does."""
    return budget.rows_due(entry.owner) + budget.count(entry)


@pytest.fixture
def budget(clock: "FakeClock") -> LogBudget:
    return LogBudget(clock)


@pytest.mark.parametrize("entry", [LIST, REFUSED, CROSSED], ids=lambda entry: entry.outcome)
def test_flood_writes_a_bounded_number_of_rows_and_counts_all(
    budget: LogBudget, clock: "FakeClock", entry: LogEntry
) -> None:
    rows = [row for _ in range(3000) for row in rows_for(budget, entry)]
    assert rows[:MOST_SINGLE_ROWS] == [entry] * MOST_SINGLE_ROWS
    summaries = rows[MOST_SINGLE_ROWS:]
    assert [row.count for row in summaries] == [EVENTS_A_ROW] * MOST_SUMMARIES

    clock.now_s += WINDOW_S
    (last,) = budget.rows_due()

    assert last.count == 3000 - MOST_SINGLE_ROWS - MOST_SUMMARIES * EVENTS_A_ROW
    assert {row.op for row in (*summaries, last)} == {"more-list" if entry is LIST else "list"}
    assert {(row.owner, row.outcome, row.other) for row in (*rows, last)} == {
        (entry.owner, entry.outcome, entry.other)
    }
    assert all(row.okey is None and row.request_sha256 is None for row in summaries)
    assert budget.rows_due() == []
    assert rows_for(budget, entry) == [entry], "a new hour"


def test_flood_of_one_kind_leaves_each_other_its_rows(budget: LogBudget) -> None:
    for _ in range(500):
        rows_for(budget, LIST)
        rows_for(budget, CROSSED)

    others = [
        replace(LIST, op="export"),
        replace(LIST, op="new-key"),
        replace(LIST, owner="bob"),
        REFUSED,
        replace(CROSSED, other="eve"),
        replace(CROSSED, owner="bob", other="ada"),
        replace(LIST, outcome="not-hers", other="bob"),
    ]
    assert [rows_for(budget, entry) for entry in others] == [[entry] for entry in others]


def test_all_kinds_of_one_owner_are_bounded(budget: LogBudget, clock: "FakeClock") -> None:
    ops = ["list", "play", "export", "erase", "retention", "log", "keys", "new-key"]
    ops += ["voice", "voice-on", "voice-off"]
    number = 0
    for _ in range(1000):
        for op in ops:
            number += len(rows_for(budget, replace(LIST, op=op)))
    clock.now_s += WINDOW_S
    number += len(budget.rows_due())

    assert number <= len(ops) * (MOST_SINGLE_ROWS + MOST_SUMMARIES + 1)


def test_deferred_row_waits_for_the_owners_next_row(budget: LogBudget) -> None:
    foreign = LogEntry(
        owner="ada",
        op="play",
        outcome="not-hers",
        other="bob",
        count=1,
        is_hidden_from_other=True,
    )
    for _ in range(5):
        budget.defer(foreign)

    assert rows_for(budget, replace(LIST, owner="bob")) == [replace(LIST, owner="bob")]
    assert budget.rows_due() == []
    assert rows_for(budget, LIST) == [replace(foreign, count=5), LIST]
    assert rows_for(budget, LIST) == [LIST]


def test_deferred_rows_are_written_after_an_hour_and_at_the_end(
    budget: LogBudget, clock: "FakeClock"
) -> None:
    foreign = LogEntry(owner="ada", op="play", outcome="not-hers", other="bob", count=2)
    budget.defer(foreign)
    clock.now_s += WINDOW_S
    assert budget.rows_due() == [foreign]

    budget.defer(foreign)
    assert budget.rows_due() == []
    assert budget.rows_due(at_end=True) == [foreign]


def test_deferred_rows_of_two_owners_together_are_bounded(budget: LogBudget) -> None:
    foreign = LogEntry(owner="ada", op="play", outcome="not-hers", other="bob", count=1)
    number = 0
    for _ in range(2000):
        budget.defer(foreign)
        number += len(rows_for(budget, LIST))

    assert number <= 2 * (MOST_SINGLE_ROWS + MOST_SUMMARIES)


def test_row_that_could_not_be_written_is_written_later(
    budget: LogBudget, clock: "FakeClock"
) -> None:
    for _ in range(MOST_SINGLE_ROWS + 30):
        rows_for(budget, LIST)
    clock.now_s += WINDOW_S
    (summary,) = budget.rows_due()
    assert (summary.op, summary.count) == ("more-list", 30)
    budget.defer(summary)
    clock.now_s += WINDOW_S

    assert budget.rows_due() == [summary]


def test_full_disk_loses_no_count_of_requests(
    context: "ArchiveContext", clock: "FakeClock", monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(MOST_SINGLE_ROWS + 7):
        context.append_to_log(LIST)
    clock.now_s += WINDOW_S

    def fail(*_: object) -> NoReturn:
        raise Unavailable("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(type(context.log), "append", fail)
        with pytest.raises(Unavailable):
            context.append_due_rows()
        with pytest.raises(Unavailable):
            context.append_to_log(LIST)
    context.append_to_log(LIST)

    rows = [row["body"] for row in context.log.page("ada", MOST_SINGLE_ROWS, 10)]
    assert [(row["op"], row["count"]) for row in rows] == [("more-list", 7), ("list", 7)]
