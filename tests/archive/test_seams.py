"""Attacks where two protections meet: clock and quarantine, bounds and repair, orders and index."""

import io
import os
import uuid
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import msgspec
import pytest

from listener.archive.archive_clock import ArchiveClock, read_clocks
from listener.archive.devices import RetiredKeys
from listener.archive.elapsed_time import ArchiveTime
from listener.archive.log_budget import EVENTS_A_ROW, MOST_SINGLE_ROWS
from listener.archive.owner_state import ORDER_LAPSES_S
from listener.archive.publisher import ArchivePublisher
from listener.archive.quota import REPORT_PAUSE_S, DeferralReport
from listener.archive.receiver import Receiver
from listener.archive.service import ArchiveService, ExpirySweep
from listener.archive.short_tickets import MOST_NAMES, ShortTickets
from listener.archive.store import FileStore
from listener.envelope import format as form
from listener.envelope import keys
from listener.errors import BadEnvelope, DiskFull, Unavailable
from listener.storage.access_log import LogEntry
from tests.archive.computer import Computer, make_clock, run
from tests.archive.conftest import NOON_S, ClipFactory, FakeClock, OwnerClient
from tests.archive.stored_clips import T_S, store_clip
from tests.archive.tampering import delete_rows, update_rows
from tests.archive.test_devices import message_of

if TYPE_CHECKING:
    from listener.archive.context import ArchiveContext
    from tests.archive.fake_broker import FakeBroker
    from tests.conftest import Household

DAY_S = 86_400
LATEST_MTIME_S = 1 << 40


def unknown(_: bytes) -> form.Envelope:
    raise BadEnvelope("unknown device")


def fail(*_: object, **__: object) -> NoReturn:
    raise PermissionError(1, "Operation not permitted")


def full(*_: object, **__: object) -> NoReturn:
    raise DiskFull("disk")


# Clock and quarantine.


def test_clock_ahead_expires_no_quarantined_file_of_an_archive_without_clips(
    keyed_store: FileStore, household: "Household", computer: Computer
) -> None:
    store_clip(keyed_store, household)
    delete_rows(keyed_store)
    keyed_store.repair(unknown)
    assert keyed_store.count_quarantined() == 1
    clock = ArchiveClock(keyed_store, computer.wall_s, computer)

    computer.error_s = 365 * DAY_S
    run(clock, computer, 7200)

    assert keyed_store.expire(int(clock.accepted_s())) == 0
    assert keyed_store.count_quarantined() == 1


@pytest.mark.parametrize("arrived_s", [LATEST_MTIME_S, -LATEST_MTIME_S])
def test_no_time_of_a_quarantined_file_prevents_erasure_or_expiry(
    ada: OwnerClient,
    clip_factory: ClipFactory,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    arrived_s: int,
) -> None:
    place = folder / "quarantine" / "ada"
    place.mkdir(parents=True)
    (place / "x.earmark").write_bytes(b"not an envelope")
    clip_factory.put()
    stat = Path.stat

    def stat_with_time(path: Path, **more: bool) -> os.stat_result:
        fields = list(stat(path, **more))
        if path.name == "x.earmark":
            fields[8] = arrived_s  # as a file system with wide times stores it
        return os.stat_result(fields)

    monkeypatch.setattr(Path, "stat", stat_with_time)

    assert ada.request("erase", all=True).status_code == 200
    assert clip_factory.store.count_quarantined() == 0


# Clock and files.


def test_files_whose_time_cannot_be_set_leave_clock_and_rows_together(
    keyed_store: FileStore,
    household: "Household",
    computer: Computer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computer.error_s = 365 * DAY_S
    clock = ArchiveClock(keyed_store, computer.wall_s, computer)
    store_clip(keyed_store, household, received_s=int(clock.accepted_s()))
    computer.error_s = 0
    run(clock, computer, 60)
    monkeypatch.setattr(os, "utime", fail)  # a file that root restored

    keyed_store.add_confirmation(msgspec.json.encode(read_clocks(computer.wall_s, computer)))
    run(clock, computer, 3600)

    assert clock.report().unproven_s == 0
    (record,) = keyed_store.clips()
    assert record.received_s == pytest.approx(T_S, abs=1)


def test_no_clip_is_stored_before_the_start_of_the_computer_is_recorded(
    keyed_store: FileStore,
    household: "Household",
    computer: Computer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ArchiveClock(keyed_store, computer.wall_s, computer)
    computer.switch_off(30 * DAY_S)
    with monkeypatch.context() as patch:
        patch.setattr(keyed_store, "save_time", full)
        clock = ArchiveClock(keyed_store, computer.wall_s, computer)
    receiver = Receiver(keyed_store, household.home.roster, clock.accepted_s, None, clock)
    header = household.header(7)
    data = household.seal(header)
    answer = receiver.receive(message_of(header, data))
    assert answer is not None
    assert answer.payload.startswith(b"waiting:unavailable:")
    assert list(keyed_store.clips()) == []
    run(clock, computer, 30)
    answer = receiver.receive(message_of(header, data))
    assert answer is not None
    assert not answer.payload.startswith(b"waiting:")
    assert keyed_store.newest_start() == 2


# Retired keys and the quarantine.


def test_key_that_is_retired_again_restores_its_clips_from_the_quarantine(
    keyed_store: FileStore, household: "Household"
) -> None:
    made = store_clip(keyed_store, household, 5)
    delete_rows(keyed_store)
    keyed_store.repair(unknown)
    text = keys.device_text(household.device_key.public_key())
    household.home.change_roster(
        lambda roster: msgspec.structs.replace(roster, devices=()).with_retired_key("hall", text, 9)
    )
    receiver = Receiver(keyed_store, household.home.roster, lambda: T_S)
    retired = RetiredKeys(
        household.home, keyed_store, lambda: keyed_store.repair(receiver.verify_stored)
    )

    retired.set_bounds(household.home.roster())
    keyed_store.repair(receiver.verify_stored)

    assert [one.last_seq for one in household.home.roster().retired_devices] == [5]
    assert [record.clip for record in keyed_store.clips()] == [made.clip]
    assert keyed_store.count_quarantined() == 0


def test_bound_waits_for_a_repair(keyed_store: FileStore, household: "Household") -> None:
    store_clip(keyed_store, household, 5)
    delete_rows(keyed_store)
    household.home.change_roster(lambda roster: roster.without_device("hall", T_S))
    receiver = Receiver(keyed_store, household.home.roster, lambda: T_S)

    RetiredKeys(household.home, keyed_store, full).set_bounds(household.home.roster())
    assert [one.last_seq for one in household.home.roster().retired_devices] == [None]
    repair = partial(keyed_store.repair, receiver.verify_stored)
    RetiredKeys(household.home, keyed_store, repair).set_bounds(household.home.roster())

    assert [one.last_seq for one in household.home.roster().retired_devices] == [5]
    assert len(list(keyed_store.clips())) == 1


# Erase orders and a lost index.


def test_erase_order_outlives_the_record_of_running_time(
    store: FileStore, household: "Household"
) -> None:
    before = ArchiveTime(NOON_S, 200 * DAY_S, NOON_S)
    store_clip(store, household, 5)
    store.refuse_span("ada", ("", "A"), None, before)
    after = ArchiveTime(NOON_S + 60, 60.0, NOON_S + 60)

    orders = store.owner_state
    assert orders.is_refused(household.header(4), 0, after)
    assert not orders.is_refused(household.header(6), 0, after)
    store.refuse_span("bob", ("", "A"), None, after)
    assert orders.is_refused(household.header(4), 0, after), "another owner's order ended it"
    late = ArchiveTime(NOON_S, 120.0 + ORDER_LAPSES_S, NOON_S)
    assert not orders.is_refused(household.header(4), 0, late)


def test_erase_all_destroys_files_that_no_repair_has_moved_to_the_quarantine(
    ada: OwnerClient, household: "Household", clip_factory: ClipFactory
) -> None:
    lost, kept = clip_factory.put(), clip_factory.put("bob")
    delete_rows(clip_factory.store)
    household.home.change_roster(lambda roster: msgspec.structs.replace(roster, devices=()))

    receipt = ada.request("erase", all=True).json()["receipt"]

    assert receipt["clips"] == [lost.clip]
    assert not clip_factory.path(lost).exists()
    assert clip_factory.path(kept).exists()
    assert clip_factory.store.count_quarantined("ada") == 0


def test_erase_by_id_destroys_a_file_that_no_repair_has_moved_to_the_quarantine(
    ada: OwnerClient, household: "Household", clip_factory: ClipFactory
) -> None:
    lost, other = clip_factory.put(), clip_factory.put()
    delete_rows(clip_factory.store)
    household.home.change_roster(lambda roster: msgspec.structs.replace(roster, devices=()))

    receipt = ada.request("erase", clips=[lost.clip]).json()["receipt"]

    assert receipt["clips"] == [lost.clip]
    assert not clip_factory.path(lost).exists()
    assert clip_factory.path(other).exists()


# Full disk.


def test_list_on_a_full_disk_repairs_a_row_with_the_reserve(
    ada: OwnerClient, clip_factory: ClipFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = clip_factory.put()
    store = clip_factory.store
    update_rows(store, "t = '2026-11-22T08:00:00.001Z'")
    assert store.reserve.is_whole
    add, calls = store._index.add, []  # noqa: SLF001 - a full disk at this write

    def add_if_room(*given: object, **named: object) -> object:
        calls.append(given)
        if store.reserve.is_whole:
            raise DiskFull("disk")
        return add(*given, **named)  # type: ignore[arg-type] # forwarded as they are

    monkeypatch.setattr(store._index, "add", add_if_room)  # noqa: SLF001 - the test looks at the database itself

    reply = ada.request("list")

    assert [clip["clip"] for clip in reply.json()["clips"]] == [header.clip]
    assert len(calls) == 2


# Access log.


PLAY = LogEntry(owner="ada", op="play", outcome="done", count=1)


def test_summary_that_could_not_be_written_is_written_later(
    context: "ArchiveContext", monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(MOST_SINGLE_ROWS + EVENTS_A_ROW - 1):
        context.append_to_log(PLAY)

    def out_of_space(*_: object) -> NoReturn:
        raise Unavailable("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(type(context.log), "append", out_of_space)
        with pytest.raises(Unavailable):
            context.append_to_log(PLAY)
    context.append_due_rows(at_end=True)

    rows = [row["body"] for row in context.log.page("ada", MOST_SINGLE_ROWS, 10)]
    assert [(row["op"], row["count"]) for row in rows] == [("more-play", EVENTS_A_ROW)]


def test_hidden_and_visible_reports_are_never_one_row(context: "ArchiveContext") -> None:
    hidden = LogEntry(
        owner="ada", op="play", outcome="not-hers", other="bob", count=1, is_hidden_from_other=True
    )
    visible = LogEntry(owner="ada", op="export", outcome="not-hers", other="bob", count=1)
    for _ in range(MOST_SINGLE_ROWS + EVENTS_A_ROW - 1):
        context.append_to_log(hidden)
    context.append_to_log(visible)
    context.append_due_rows(at_end=True)

    seen = [row["body"] for row in context.log.page("bob", 0, 1000) if "body" in row]
    assert [(row["op"], row["count"]) for row in seen] == [("export", 1)]


def test_rows_are_written_while_the_broker_is_away(
    context: "ArchiveContext", broker: "FakeBroker", receiver: Receiver, clock: FakeClock
) -> None:
    for _ in range(MOST_SINGLE_ROWS + 7):
        context.append_to_log(PLAY)
    sweep = ExpirySweep(context.store, lambda: 0, make_clock(lambda: NOON_S, clock))
    service = ArchiveService(
        broker, receiver, sweep, publisher=ArchivePublisher(context), monotonic_s=clock
    )
    clock.now_s += 2 * 3600

    service.turn(0)

    rows = [row["body"] for row in context.log.page("ada", MOST_SINGLE_ROWS, 10)]
    assert [(row["op"], row["count"]) for row in rows] == [("more-play", 7)]


# Floods.


def test_one_ipv6_network_displaces_no_other_peers_short_ticket() -> None:
    names = ShortTickets()
    first = names.add("ada's", "192.168.1.5")
    second = names.add("bob's", "fd00::1:2")

    for number in range(2 * MOST_NAMES):
        names.add("flood", f"fd00:0:0:9::{number:x}")

    assert names.take(first) == "ada's"
    assert names.take(second) == "bob's"


# Files that cannot be overwritten.


def test_file_of_another_user_prevents_no_erasure_and_no_expiry(
    ada: OwnerClient, clip_factory: ClipFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    restored, own = clip_factory.put(), clip_factory.put()
    really_open = os.open

    def open_as_archive(path: Path | str, flags: int, *more: int, **named: int) -> int:
        if flags & os.O_WRONLY and Path(path) == clip_factory.path(restored):
            raise PermissionError(13, "Permission denied")  # root's, readable by all
        return really_open(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", open_as_archive)

    receipt = ada.request("erase", all=True).json()["receipt"]

    assert set(receipt["clips"]) == {restored.clip, own.clip}
    assert not clip_factory.path(restored).exists()
    assert not clip_factory.path(own).exists()


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_what_is_not_a_file_stops_neither_repair_nor_expiry(
    clip_factory: ClipFactory, receiver: Receiver, tmp_path: Path, kind: str
) -> None:
    erased, part = clip_factory.put(), clip_factory.put()
    store = clip_factory.store
    outside = tmp_path / "outside"
    outside.write_bytes(b"keep")
    store.erase("ada", [row[1] for row in (store.row(erased.clip), store.row(part.clip)) if row])
    for path in (clip_factory.path(erased), clip_factory.path(part).with_suffix(".part")):
        match kind:
            case "pipe":
                os.mkfifo(path)
            case "link":
                path.symlink_to(outside)
            case _:
                path.mkdir()
    due = clip_factory.put("bob")

    store.repair(receiver.verify_stored)
    store.expire(int(NOON_S) + 400 * DAY_S)

    assert not clip_factory.path(due).exists()
    assert outside.read_bytes() == b"keep"


def test_unreadable_file_prevents_no_erasure_of_the_others(
    ada: OwnerClient, clip_factory: ClipFactory
) -> None:
    lost, own = clip_factory.put(), clip_factory.put()
    clip_factory.path(lost).unlink()
    os.mkfifo(clip_factory.path(lost))

    receipt = ada.request("erase", all=True).json()["receipt"]

    assert set(receipt["clips"]) == {lost.clip, own.clip}
    assert not os.path.lexists(clip_factory.path(lost))
    assert not clip_factory.path(own).exists()


# Databases of the version before.

EARLIER_INSERT = "insert into clip values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
EARLIER_CLIP = (
    *("0b0f6c9e-3d0e-4c6e-9a41-2f6d3a1c7e55", "ada", "hall", "key", 7, "2026-11-22T08:00:00.000Z"),
    *(DAY_S, 9, "0" * 64, "1" * 64, T_S, T_S + DAY_S, ""),
)


def test_earlier_version_can_store_and_erase_after_a_rollback(
    keyed_store: FileStore, household: "Household", computer: Computer
) -> None:
    ArchiveClock(keyed_store, computer.wall_s, computer)
    rows = keyed_store._index.rows  # noqa: SLF001 - as the earlier version uses the file
    rows.execute(EARLIER_INSERT, EARLIER_CLIP)
    rows.execute("delete from clip")
    rows.execute(EARLIER_INSERT, EARLIER_CLIP)
    orders = keyed_store.owner_state._orders  # noqa: SLF001 - the test looks at the database itself
    orders.execute("create table if not exists swept (owner text)")
    orders.execute("insert into tombstone values ('c', 's', 't', 'k', 1)")
    orders.execute("insert into retention values ('ada', 9, 1)")
    orders.execute("insert into following (device, said) values ('hall', '{}')")

    computer.switch_off(30 * DAY_S)
    ArchiveClock(keyed_store, computer.wall_s, computer)
    store_clip(keyed_store, household, received_s=T_S)

    assert keyed_store.newest_start() == 2
    starts = rows.execute("select start from clip_start order by start").fetchall()
    assert starts == [(1,), (2,)]
    assert keyed_store.owner_state.pending_keys().keys() == {"hall"}


def test_start_of_a_clip_is_erased_with_it(ada: OwnerClient, clip_factory: ClipFactory) -> None:
    clip_factory.put()
    assert ada.request("erase", all=True).status_code == 200

    rows = clip_factory.store._index.rows  # noqa: SLF001 - nothing else reads it
    assert rows.execute("select * from clip_start").fetchall() == []


# Erase orders and clocks that are both behind.


def offer(
    receiver: Receiver, household: "Household", waited_s: int, made_s: float, seq: int = 9
) -> bytes:
    """Offer a clip made at ``made_s`` by its speaker's clock; return the answer."""
    t = form.format_timestamp(datetime.fromtimestamp(made_s, UTC))
    header = household.header(seq, t=t)
    message = replace(message_of(header, household.seal(header)), waited_s=waited_s)
    answer = receiver.receive(message)
    return b"" if answer is None else answer.payload


def test_clip_made_after_an_order_is_kept_while_both_clocks_are_behind(
    keyed_store: FileStore, household: "Household", computer: Computer
) -> None:
    clock = ArchiveClock(keyed_store, computer.wall_s, computer)
    store_clip(keyed_store, household, 1, received_s=int(clock.accepted_s()))
    run(clock, computer, 3600)
    ordered_s = computer.wall_s()
    keyed_store.refuse_span("ada", ("", "A"), None, clock.now())
    run(clock, computer, 900)
    # The household has no power for three days, and then no time server.
    computer.switch_off(3 * DAY_S)
    computer.error_s = ordered_s + 300 - computer.true_s
    clock = ArchiveClock(keyed_store, computer.wall_s, computer)
    receiver = Receiver(keyed_store, household.home.roster, clock.accepted_s, None, clock)

    assert offer(receiver, household, 2 * 3600, ordered_s + 60).startswith(b"deferred:")
    computer.error_s = 0
    run(clock, computer, 2 * DAY_S)
    assert clock.report().settled

    assert b":" not in offer(receiver, household, 2 * DAY_S + 2 * 3600, ordered_s + 60)


def test_order_is_in_force_again_when_the_off_time_is_decided(
    keyed_store: FileStore, household: "Household", computer: Computer
) -> None:
    clock = ArchiveClock(keyed_store, computer.wall_s, computer)
    store_clip(keyed_store, household, 1, received_s=int(clock.accepted_s()))
    run(clock, computer, 2 * DAY_S)
    made_s = computer.wall_s() - 3600
    keyed_store.refuse_span("ada", ("", "A"), None, clock.now())
    assert offer(
        Receiver(keyed_store, household.home.roster, clock.accepted_s, None, clock),
        household,
        4000,
        made_s,
    ).startswith(b"refused:erased:")
    computer.switch_off(DAY_S)
    clock = ArchiveClock(keyed_store, computer.wall_s, computer)
    receiver = Receiver(keyed_store, household.home.roster, clock.accepted_s, None, clock)

    assert offer(receiver, household, DAY_S + 4000, made_s, 10).startswith(b"deferred:")
    run(clock, computer, 2 * DAY_S)
    waited_s = 3 * DAY_S + 4000
    assert offer(receiver, household, waited_s, made_s, 10).startswith(b"refused:erased:")


def test_order_under_a_clock_that_was_ahead_refuses_no_later_clip(
    keyed_store: FileStore, household: "Household", computer: Computer
) -> None:
    computer.error_s = 365 * DAY_S
    clock = ArchiveClock(keyed_store, computer.wall_s, computer)
    store_clip(keyed_store, household, 1, received_s=int(clock.accepted_s()))
    run(clock, computer, 3600)
    keyed_store.refuse_span("ada", ("", "A"), None, clock.now())
    computer.error_s = 0
    run(clock, computer, 60)
    keyed_store.add_confirmation(msgspec.json.encode(read_clocks(computer.wall_s, computer)))
    run(clock, computer, 60)
    computer.switch_off(2 * DAY_S)
    clock = ArchiveClock(keyed_store, computer.wall_s, computer)
    run(clock, computer, 2 * DAY_S)
    receiver = Receiver(keyed_store, household.home.roster, clock.accepted_s, None, clock)

    answer = offer(receiver, household, 3 * DAY_S, computer.true_s - 3 * DAY_S)

    assert b":" not in answer, "it was made a day after the order"


def test_unreadable_file_is_left_out_of_an_export(
    ada: OwnerClient, clip_factory: ClipFactory
) -> None:
    lost, own = clip_factory.put(), clip_factory.put()
    clip_factory.path(lost).unlink()
    os.mkfifo(clip_factory.path(lost))

    reply = ada.request("export")

    assert reply.status_code == 200
    with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
        assert [Path(name).stem for name in archive.namelist() if "clips/" in name] == [own.clip]
        assert lost.clip.encode() in archive.read("left-out.jsonl")


def test_erase_all_goes_on_after_an_unreadable_file_without_a_row(
    ada: OwnerClient, clip_factory: ClipFactory
) -> None:
    own = clip_factory.put()
    pipe = clip_factory.path(own).with_name(f"{uuid.uuid4()}.earmark")
    os.mkfifo(pipe)

    assert ada.request("erase", all=True).status_code == 200

    assert not clip_factory.path(own).exists()
    assert [row["outcome"] for row in ada.log_rows() if row["op"] == "erase"] == [
        "not-hers",
        "done",
    ]


def test_repair_that_fails_does_not_end_expiry(
    clip_factory: ClipFactory, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    due = clip_factory.put()

    def cannot() -> int:
        raise Unavailable("cannot move a file")

    computer_clock = make_clock(lambda: NOON_S, clock)
    clock.now_s += 40 * DAY_S
    assert ExpirySweep(clip_factory.store, cannot, computer_clock).run_if_due() == 1

    assert not clip_factory.path(due).exists()
    assert "cannot repair the index before the expiry" in caplog.text


def test_deferrals_that_could_not_be_logged_are_logged_later(
    context: "ArchiveContext",
    household: "Household",
    folder: Path,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report = DeferralReport(context.log, folder, lambda: NOON_S, clock)

    def out_of_space(*_: object) -> NoReturn:
        raise Unavailable("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(type(context.log), "append", out_of_space)
        report.add(household.header(1))
    report.add(household.header(2))
    clock.now_s += REPORT_PAUSE_S
    report.add(household.header(3))

    rows = [row["body"] for row in context.log.page("ada", 0, 10)]
    assert [(row["op"], row["count"]) for row in rows] == [("deferred", 3)]
