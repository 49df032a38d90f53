"""Wrong clocks of the archive and of its speakers erase nothing early and keep nothing for good."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.archive.owner_state import ORDER_LAPSES_S
from tests.adversary.simulated_archive import DAY_S, HOUR_S, TRUE_S, YEAR_S, SimulatedArchive

if TYPE_CHECKING:
    from tests.conftest import Household

Scenario = Callable[[SimulatedArchive], None]


@pytest.fixture
def archive(household: "Household") -> Iterator[SimulatedArchive]:
    made = SimulatedArchive(household, ("bath", "loft"))
    yield made
    made.close()


def jump(error_s: float) -> Scenario:
    """The clock jumps while the archive runs, and stays wrong."""

    def play(archive: SimulatedArchive) -> None:
        archive.run(3)
        archive.set_error(error_s)
        archive.run(36)

    return play


def jump_before_settling(error_s: float) -> Scenario:
    """The clock jumps ten hours after the start, before any speaker was heard, and back."""

    def play(archive: SimulatedArchive) -> None:
        archive.switch_off(1)
        archive.run(10)
        archive.set_error(error_s)
        archive.run(30)
        archive.set_error(0)
        archive.run(10)

    return play


def forged_once(archive: SimulatedArchive) -> None:
    """A forged answer of a time server, corrected after six hours."""
    archive.run(3)
    archive.set_error(YEAR_S)
    archive.run(6)
    archive.set_error(0)
    archive.run(6)


def old_clock_then_synchronised(archive: SimulatedArchive) -> None:
    """Off for three days; starts with the time it had then; clips arrive before NTP corrects it."""
    archive.run(3)
    archive.switch_off(72, error_s=-72 * HOUR_S)
    archive.send("hall", age_s=60, waited_s=5)
    archive.run(0.25)
    archive.set_error(0)
    archive.send("bath", age_s=60, waited_s=5)
    archive.run(3)


def old_clock_then_synchronised_unheard(archive: SimulatedArchive) -> None:
    """The same, and no speaker is heard after it."""
    archive.run(3)
    archive.switch_off(72, error_s=-72 * HOUR_S)
    archive.run(0.25)
    archive.set_error(0)


def old_clock_throughout(archive: SimulatedArchive) -> None:
    """Off for three days, then never corrected until the next start; clips arrive meanwhile."""
    archive.run(3)
    archive.switch_off(72, error_s=-72 * HOUR_S)
    for _ in range(3):
        archive.send("hall", age_s=4 * HOUR_S, waited_s=4 * HOUR_S)
        archive.run(2)
    archive.switch_off(1, error_s=0)
    archive.run(40)


def at_1970_throughout(archive: SimulatedArchive) -> None:
    """The same at 1970, twice."""
    for _ in range(2):
        archive.run(3)
        archive.switch_off(40, error_s=-archive.computer.true_s)
        archive.send("hall", age_s=30)
        archive.run(5)
    archive.switch_off(1, error_s=0)
    archive.run(40)


def ahead_before_a_restart(archive: SimulatedArchive) -> None:
    """A clock a year ahead survives restarts of the process and of the computer."""
    archive.run(3)
    archive.set_error(YEAR_S)
    archive.run(5)
    archive.restart()
    archive.run(5)
    archive.switch_off(1)
    archive.run(40)


def ahead_before_a_restart_then_corrected(archive: SimulatedArchive) -> None:
    """The same, and NTP corrects it two hours after the restart."""
    archive.run(3)
    archive.set_error(YEAR_S)
    archive.run(5)
    archive.switch_off(1)
    archive.run(2)
    archive.set_error(0)
    archive.run(5)


def wrong_from_a_start(archive: SimulatedArchive) -> None:
    """The clock is a year ahead from a start on, for ten hours."""
    archive.run(3)
    archive.switch_off(1, error_s=YEAR_S)
    archive.run(10)
    archive.set_error(0)
    archive.run(3)


def dead_clock_at_each_start(archive: SimulatedArchive) -> None:
    """The clock is at 1970 at each start, until NTP corrects it after a quarter of an hour."""
    for _ in range(4):
        archive.run(2)
        archive.switch_off(4, error_s=-archive.computer.true_s - 4 * HOUR_S)
        archive.run(0.25)
        archive.set_error(0)


def forged_again_and_again(archive: SimulatedArchive) -> None:
    """The clock alternates between true time and next month."""
    for _ in range(20):
        archive.set_error(31 * DAY_S)
        archive.run(1)
        archive.set_error(0)
        archive.run(1)


def power_cuts(archive: SimulatedArchive) -> None:
    """The power is cut every 25 minutes for a day."""
    for _ in range(50):
        archive.run(25 / 60)
        archive.switch_off(0.01)


def lost_record(archive: SimulatedArchive) -> None:
    """The record of elapsed time is damaged while the clock is a year ahead; then it is right."""
    archive.run(3)
    archive.set_error(YEAR_S)
    archive.run(1)
    archive.store._index.rows.execute("update time set state = 'damaged'")  # noqa: SLF001 - damage
    archive.restart()
    archive.run(5)
    archive.set_error(0)
    archive.run(5)


def lost_record_at_1970(archive: SimulatedArchive) -> None:
    """The record is lost, and the computer starts at 1970 and is corrected by NTP."""
    archive.run(3)
    archive.store._index.rows.execute("delete from time")  # noqa: SLF001 - damage
    archive.switch_off(1, error_s=-archive.computer.true_s)
    archive.run(0.5)
    archive.set_error(0)
    archive.run(5)


def lost_index(archive: SimulatedArchive) -> None:
    """The index is moved away, as the hint of its error says, while the clock is ahead."""
    archive.run(24)
    archive.set_error(31 * DAY_S)
    archive.close()
    for path in archive.folder.glob("index.sqlite*"):
        path.unlink()
    archive.open()
    archive.run(2)
    archive.set_error(0)
    archive.run(2)


SCENARIOS: dict[str, tuple[Scenario, int]] = {
    "10 minutes ahead": (jump(600), 1),
    "10 minutes behind": (jump(-600), 1),
    "31 days ahead": (jump(31 * DAY_S), 1),
    "31 days behind": (jump(-31 * DAY_S), 1),
    "a year ahead": (jump(YEAR_S), 1),
    "a year behind": (jump(-YEAR_S), 1),
    "at 1970": (jump(-TRUE_S), 1),
    "at 2040": (jump(2_208_988_800 - TRUE_S), 1),
    "a year ahead before settling": (jump_before_settling(YEAR_S), 2),
    "forged once": (forged_once, 2),
    "old clock, then NTP": (old_clock_then_synchronised, 1),
    "old clock, then NTP, unheard": (old_clock_then_synchronised_unheard, 1),
    "old clock throughout a start": (old_clock_throughout, 1),
    "1970 throughout a start": (at_1970_throughout, 2),
    "ahead before a restart": (ahead_before_a_restart, 1),
    "ahead before a restart, then NTP": (ahead_before_a_restart_then_corrected, 2),
    "wrong from a start": (wrong_from_a_start, 2),
    "1970 at each start": (dead_clock_at_each_start, 8),
    "forged again and again": (forged_again_and_again, 39),
    "power cuts": (power_cuts, 0),
    "lost record": (lost_record, 1),
    "lost record at 1970": (lost_record_at_1970, 1),
    "lost index": (lost_index, 1),
}


@pytest.mark.parametrize("every_h", [None, 5.0], ids=["silent speakers", "speakers"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_wrong_clock_erases_nothing_early_and_keeps_nothing(
    archive: SimulatedArchive, name: str, every_h: float | None
) -> None:
    scenario, jumps = SCENARIOS[name]
    for _ in range(4):
        archive.send("hall")
        archive.run(0.5)
    for speaker in archive.speakers.values():
        speaker.every_h = every_h

    scenario(archive)
    assert archive.clock.report().jumps >= jumps
    is_stored = archive.send("hall", age_s=30)
    archive.run_until_empty()

    assert archive.early == []
    assert archive.late == []
    assert all(clip.is_gone for clip in archive.clips)
    assert is_stored
    assert archive.refused == []


@pytest.mark.parametrize("every_h", [None, 5.0], ids=["silent speakers", "speakers"])
@pytest.mark.parametrize(("run_h", "off_h"), [(2.0, 22.0), (0.8, 23.2), (10.0, 14.0)])
def test_archive_that_runs_part_of_the_day_erases_in_time(
    archive: SimulatedArchive, run_h: float, off_h: float, every_h: float | None
) -> None:
    for speaker in archive.speakers.values():
        speaker.every_h = every_h
    for _ in range(4):
        archive.send("hall")
        archive.run(run_h)
        archive.switch_off(off_h)
    first = list(archive.clips)
    for _ in range(6 + int(50 / run_h)):  # with the speakers' clips
        archive.run(run_h)
        archive.switch_off(off_h)
    assert all(clip.is_gone for clip in first)
    archive.run_until_empty(run_h, off_h, most_days=100)

    assert (archive.early, archive.late, archive.refused) == ([], [], [])
    assert all(clip.is_gone for clip in archive.clips)


def test_archive_that_was_off_for_a_month_erases_at_most_two_days_later(
    archive: SimulatedArchive,
) -> None:
    archive.send("hall")
    archive.run(3)
    archive.switch_off(31 * 24)
    archive.send("hall")
    archive.run_until_empty()

    assert (archive.early, archive.late) == ([], [])
    assert archive.clips[0].is_gone


@pytest.mark.parametrize("error_s", [-TRUE_S, -YEAR_S, -3 * HOUR_S, 3 * HOUR_S, YEAR_S])
def test_false_clock_of_one_speaker_does_not_change_others_retention(
    archive: SimulatedArchive, error_s: float
) -> None:
    archive.speakers["loft"].error_s = error_s
    for speaker in archive.speakers.values():
        speaker.every_h = 5
    archive.run(10)
    for _ in range(5):
        archive.switch_off(20)
        archive.run(6)
    archive.run_until_empty(6, 18)

    assert (archive.early, archive.late, archive.refused) == ([], [], [])
    assert all(clip.is_gone for clip in archive.clips)


@pytest.mark.parametrize("error_s", [-YEAR_S, -3 * HOUR_S, YEAR_S])
def test_only_speaker_with_a_false_clock_keeps_no_clip_for_good(
    archive: SimulatedArchive, error_s: float
) -> None:
    for _ in range(3):
        archive.send("bath")
    archive.speakers["loft"].error_s = error_s
    archive.speakers["loft"].every_h = 5
    others = list(archive.clips)
    for _ in range(30):
        archive.run(6)
        archive.switch_off(18)

    assert archive.early == []
    assert all(clip.is_gone for clip in others)


def test_false_clocks_of_archive_and_one_speaker_erase_no_clip(
    archive: SimulatedArchive,
) -> None:
    for speaker in archive.speakers.values():
        speaker.every_h = 5
    archive.run(10)
    archive.speakers["loft"].error_s = YEAR_S
    archive.switch_off(1, error_s=YEAR_S)
    archive.run(4 * 24)

    assert archive.early == []


@pytest.mark.parametrize("behind_s", [600, DAY_S, 300 * DAY_S, 200 * DAY_S, TRUE_S])
def test_clip_made_after_erase_all_by_a_late_speaker_is_stored(
    archive: SimulatedArchive, behind_s: float
) -> None:
    archive.send("hall")
    archive.store.refuse_span("ada", ("", "A"), None, archive.clock.now())
    archive.speakers["hall"].error_s = -behind_s
    archive.run(1)

    assert archive.send("hall", age_s=5, waited_s=4)
    assert archive.send("hall", age_s=1800, waited_s=1800)


def test_clip_made_before_erase_all_is_refused_for_good_and_the_order_lapses(
    archive: SimulatedArchive,
) -> None:
    hall, bath = archive.speakers["hall"], archive.speakers["bath"]
    archive.send("hall")
    hall.seq += 5
    archive.send("hall")
    archive.store.refuse_span("ada", ("", "A"), None, archive.clock.now())
    archive.run(1)

    # In transit: not accepted before, and older than the order by both of the speaker's clocks.
    assert not archive.send("bath", age_s=2 * HOUR_S, waited_s=2 * HOUR_S)
    assert not archive.send("hall", age_s=2 * HOUR_S, waited_s=2 * HOUR_S)
    # By its running time alone, or by its wall clock alone, it is not.
    bath.error_s = DAY_S
    assert archive.send("bath", age_s=2 * HOUR_S, waited_s=2 * HOUR_S)
    assert archive.send("hall", age_s=2 * HOUR_S, waited_s=60)
    # A number below those that were accepted before the order.
    bath.error_s = 0
    hall.seq = 2
    assert not archive.send("hall")

    archive.run(ORDER_LAPSES_S / HOUR_S + 1)
    hall.seq = 3
    assert archive.send("hall", age_s=5)
    hall.seq = 2
    assert not archive.send("hall")
    assert archive.refused[-1].startswith(b"refused:replay")


def test_record_is_written_at_a_bounded_rate(archive: SimulatedArchive) -> None:
    archive.send("hall")
    archive.run(2)
    changes = archive.store._index.rows.total_changes  # noqa: SLF001 - counts the writes
    for _ in range(3600):
        archive.computer.run(1)
        archive.sweep.run_if_due()

    assert archive.store._index.rows.total_changes - changes <= 8  # noqa: SLF001 - the test looks at the database itself


def test_moved_file_keeps_the_start_of_its_retention(archive: SimulatedArchive) -> None:
    archive.send("hall")
    (path,) = archive.folder.glob("clips/*/*")

    assert path.stat().st_mtime == TRUE_S


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    error_s=st.one_of(st.floats(-float(TRUE_S), 3e8), st.floats(-7200.0, 7200.0)),
    ordered_h=st.floats(0.1, 100.0),
    made_h=st.floats(0.0, 1.0),
)
def test_clip_made_after_an_order_is_stored_whatever_its_speakers_clock_says(
    household: "Household", error_s: float, ordered_h: float, made_h: float
) -> None:
    archive = SimulatedArchive(household)
    hall = archive.speakers["hall"]
    # One archive for all examples: the numbers go on.
    hall.seq = max(archive.store._index.highest_numbers().values(), default=0)  # noqa: SLF001 - test
    archive.send("hall")
    archive.store.refuse_span("ada", ("", "A"), None, archive.clock.now())
    archive.computer.run(ordered_h * HOUR_S)
    hall.error_s = error_s
    age_s = made_h * ordered_h * HOUR_S

    assert archive.send("hall", age_s=age_s, waited_s=int(age_s))
    archive.close()
