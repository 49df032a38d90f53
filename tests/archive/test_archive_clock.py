"""The archive's clock: its record, a person's confirmation, its report, and the command."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from listener.archive.archive_clock import (
    SAVE_PAUSE_S,
    ArchiveClock,
    parse_state,
    read_clocks,
    read_report,
)
from listener.archive.context import ArchiveContext
from listener.archive.publisher import ArchivePublisher
from listener.archive.records import RowMac
from listener.archive.store import FileStore
from listener.cli import archive_clock as command
from listener.cli import main
from listener.config import Config
from listener.rights import receipts
from tests.archive.computer import Computer, MemoryTimeStore, run
from tests.archive.stored_clips import T_S, store_clip

if TYPE_CHECKING:
    from tests.conftest import Household

DAY_S = 86_400


@pytest.mark.parametrize("damage", ["state = '{}'", "state = 'x'", "start = 7", "code = ''"])
def test_changed_record_is_not_used(
    keyed_store: FileStore, household: "Household", computer: Computer, damage: str
) -> None:
    ArchiveClock(keyed_store, computer.wall_s, computer)
    store_clip(keyed_store, household)
    keyed_store._index.rows.execute(f"update time set {damage}")  # noqa: S608, SLF001 - damage

    assert keyed_store.load_time() is None
    computer.run(DAY_S)
    assert ArchiveClock(keyed_store, computer.wall_s, computer).accepted_s() == T_S


@pytest.mark.parametrize("data", [b"", b"{}", b"[" * 9000, b'{"v":2}', b"\xff"])
def test_arbitrary_record_is_refused(data: bytes) -> None:
    assert parse_state(data) is None


def test_accepted_time_is_stored_at_a_bounded_rate_and_at_a_jump(computer: Computer) -> None:
    store = MemoryTimeStore(T_S)
    clock = ArchiveClock(store, computer.wall_s, computer)
    writes = store.writes
    for _ in range(3600):
        computer.run(1)
        clock.update()
    assert store.writes - writes <= 3600 / SAVE_PAUSE_S + 1

    writes = store.writes
    computer.error_s = DAY_S
    run(clock, computer, 60)
    assert store.writes == writes + 1
    assert clock.report().jumps == 1


def test_clip_after_the_last_write_proves_that_the_computer_ran(computer: Computer) -> None:
    store = MemoryTimeStore(T_S)
    clock = ArchiveClock(store, computer.wall_s, computer)
    computer.run(300)
    store.newest_s = int(clock.accepted_s())
    computer.switch_off(0)

    after = ArchiveClock(store, computer.wall_s, computer)

    assert after.accepted_s() == pytest.approx(computer.true_s, abs=1)


def test_full_disk_delays_credits_and_not_running_time(
    computer: Computer, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryTimeStore(T_S)
    store.is_full = True
    clock = ArchiveClock(store, computer.wall_s, computer)
    run(clock, computer, DAY_S)
    assert clock.accepted_s() == pytest.approx(T_S + DAY_S)
    assert caplog.text.count("cannot store the elapsed time") == 1

    store.is_full = False
    run(clock, computer, 60)
    assert store.writes == 1
    assert clock.accepted_s() == pytest.approx(T_S + DAY_S + 60)

    computer.switch_off(3 * DAY_S)
    clock = ArchiveClock(store, computer.wall_s, computer)
    store.is_full = True
    run(clock, computer, 2 * DAY_S)
    assert clock.accepted_s() == pytest.approx(computer.true_s - 3 * DAY_S, abs=1)
    store.is_full = False
    run(clock, computer, 60)
    assert clock.accepted_s() == pytest.approx(computer.true_s, abs=1)


def test_archive_without_clips_follows_the_clock(computer: Computer) -> None:
    store = MemoryTimeStore()
    computer.error_s = -1e9
    clock = ArchiveClock(store, computer.wall_s, computer)
    run(clock, computer, 60)
    computer.error_s = 0
    run(clock, computer, 60)

    assert clock.accepted_s() == computer.true_s
    assert clock.report().unproven_s == 0


def test_confirmation_credits_off_time_only_while_the_clock_stands(
    keyed_store: FileStore, household: "Household", computer: Computer
) -> None:
    clock = ArchiveClock(keyed_store, computer.wall_s, computer)
    store_clip(keyed_store, household)
    run(clock, computer, 900)
    computer.switch_off(3 * DAY_S)
    clock = ArchiveClock(keyed_store, computer.wall_s, computer)
    assert clock.report().unproven_s == 3 * DAY_S
    assert clock.report().suspended_from_s is not None

    other = msgspec.structs.replace(read_clocks(computer.wall_s, computer), boot="other")
    keyed_store.add_confirmation(msgspec.json.encode(other))
    run(clock, computer, 60)
    assert clock.report().unproven_s == 3 * DAY_S
    keyed_store.add_confirmation(b"{}")
    run(clock, computer, 60)
    assert clock.report().unproven_s == 3 * DAY_S

    keyed_store.add_confirmation(msgspec.json.encode(read_clocks(computer.wall_s, computer)))
    run(clock, computer, 60)
    assert clock.report().unproven_s == 0
    assert clock.accepted_s() == pytest.approx(computer.true_s, abs=1)
    assert keyed_store.count_expired(int(clock.accepted_s())) == 1


def test_confirming_an_earlier_time_changes_no_clips_age(
    keyed_store: FileStore, household: "Household", computer: Computer
) -> None:
    computer.error_s = 365 * DAY_S
    clock = ArchiveClock(keyed_store, computer.wall_s, computer)
    store_clip(keyed_store, household, received_s=int(clock.accepted_s()))
    run(clock, computer, 3600)
    computer.error_s = 0
    run(clock, computer, 60)
    assert clock.report().unproven_s == -365 * DAY_S

    keyed_store.add_confirmation(msgspec.json.encode(read_clocks(computer.wall_s, computer)))
    run(clock, computer, 60)

    (record,) = keyed_store.clips()
    assert record.received_s == pytest.approx(T_S, abs=1)
    assert keyed_store.path("ada", record.clip).stat().st_mtime == record.received_s
    ((_, has_valid_mac),) = keyed_store.page_with_mac_check("ada", ("", "A"))
    assert has_valid_mac
    assert keyed_store.expire(int(clock.accepted_s())) == 0


def test_shifted_row_without_a_valid_mac_stays_unverified(
    keyed_store: FileStore, household: "Household"
) -> None:
    store_clip(keyed_store, household)
    keyed_store._index.rows.execute("update clip set owner = 'bob'")  # noqa: SLF001 - tampering
    keyed_store.save_time(b"{}", 1, relabel_s=-5)

    ((_, has_valid_mac),) = keyed_store.page_with_mac_check("bob", ("", "A"))
    assert not has_valid_mac


def test_index_of_an_earlier_version_gets_its_columns(
    household: "Household", folder: Path, computer: Computer
) -> None:
    store = FileStore(folder)
    store_clip(store, household)
    rows = store._index.rows  # noqa: SLF001 - makes the earlier form
    rows.executescript(
        "drop trigger clip_added; drop trigger clip_removed; drop table clip_start; drop table time"
    )
    store.owner_state._orders.execute("create table swept (owner text)")  # noqa: SLF001 - the test looks at the database itself
    store.close()

    store = FileStore(folder)
    clock = ArchiveClock(store, computer.wall_s, computer)
    assert clock.accepted_s() == T_S
    assert store.newest_start() == 0
    assert [record.received_s for record in store.clips()] == [T_S]
    store.close()


def test_clock_is_published_beside_the_head(context: ArchiveContext, computer: Computer) -> None:
    clock = ArchiveClock(MemoryTimeStore(T_S), computer.wall_s, computer)
    given = {name: getattr(context, name) for name in ("home", "store", "log", "roster", "key")}
    publisher = ArchivePublisher(ArchiveContext(**given, wall_s=context.wall_s, clock=clock))
    (before,) = publisher.pending_messages()
    assert list(publisher.pending_messages()) == []

    computer.error_s = 31 * DAY_S
    run(clock, computer, 60)
    (after,) = publisher.pending_messages()

    assert json.loads(before.payload)["clock"] == {
        "jumps": 0,
        "suspended_from_s": None,
        "unproven_s": 0,
    }
    assert json.loads(after.payload)["clock"]["unproven_s"] == 31 * DAY_S
    assert receipts.parse_head(after.payload, context.key.public_key()).n == 0


def test_command_shows_confirms_and_counts(
    home: Path, household: "Household", folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = FileStore(folder, row_mac=RowMac.for_key(household.home.archive_key()))
    now_s = int(datetime.now(UTC).timestamp())
    store_clip(store, household, received_s=now_s - 30 * DAY_S)
    clock = ArchiveClock(store)
    clock.testify("hall", now_s, 0)
    words = ["archive", "clock", "--home", str(home)]

    assert main.main([*words, "--json"]) == 1
    fields = json.loads(capsys.readouterr().out)
    assert fields["unproven_s"] == pytest.approx(30 * DAY_S, abs=60)
    assert fields["waiting"] == 1

    assert main.main(words) == 1
    text = capsys.readouterr().out
    assert "1 clip waits to expire" in text
    assert "--confirm" in text
    (finding,) = command.check_archive(Config(home=str(home)))
    assert (finding.verdict, finding.facts["jumps"]) == ("warn", 1)

    assert main.main([*words, "--confirm"]) == 0
    clock = ArchiveClock(store)
    assert main.main(words) == 0
    assert "the clocks agree" in capsys.readouterr().out
    (finding,) = command.check_archive(Config(home=str(home)))
    assert finding.verdict == "ok"
    store.close()


def test_command_without_an_archive_names_the_folder(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["archive", "clock", "--home", str(home)]) == 69
    assert "there is no archive" in capsys.readouterr().err
    assert list(command.check_archive(Config(home=str(home)))) == []


def test_damaged_index_is_a_finding(household: "Household", home: Path, folder: Path) -> None:
    household.home.archive_key()
    folder.mkdir(parents=True)
    (folder / "index.sqlite").write_bytes(b"not a database" * 100)

    (finding,) = command.check_archive(Config(home=str(home)))

    assert finding.verdict == "warn"
    assert "cannot read" in finding.text


def test_report_of_an_archive_that_never_ran_is_none(computer: Computer) -> None:
    assert read_report(MemoryTimeStore(), computer.wall_s, computer) is None
