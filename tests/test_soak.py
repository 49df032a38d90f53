"""Whether the soak would see what it looks for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.soak.accounts import MOST_GROWTH_BYTES, Accounts, check_end
from benchmarks.soak.tape import Tape
from listener.ipc.notices import Tally

MIB = 1 << 20


@pytest.fixture(scope="module")
def tape() -> Tape:
    return Tape(1, 40)


def tally(**counts: int) -> Tally:
    return Tally(device="hall", boot="0" * 16, seq=0, **counts)  # type: ignore[arg-type] # no count is called v


def ended(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of an event
    made = {
        "event": "ended",
        "heard_s": 20.0,
        "discarded_s": 15.0,
        "sealed_s": 5.0,
        "sealed": 2,
        "lost": 0,
        "unattributed": 0,
        "broken": 0,
    }
    return made | changes


def sealed(clip: str, time_s: float, length_s: float) -> dict[str, Any]:
    return {"event": "sealed", "clip": clip, "time_s": time_s, "length_s": length_s}


EVENTS = [sealed("a", 2.0, 3.0), sealed("b", 4.0, 3.0)]  # they overlap by a second


def test_a_good_end_has_nothing_wrong() -> None:
    assert check_end([*EVENTS, ended()], ["b", "a"]) == []


@pytest.mark.parametrize(
    ("events", "archived", "what"),
    [
        ([*EVENTS, ended()], ["a"], "of 2 sealed clips 1 are lost, 0 are extra"),
        ([*EVENTS, ended()], ["a", "b", "c"], "0 are lost, 1 are extra"),
        ([*EVENTS, ended(heard_s=20.1)], ["a", "b"], "is not discarded and sealed"),
        ([*EVENTS, ended(sealed=3)], ["a", "b"], "3 clips were counted and 2 reported"),
        ([*EVENTS, ended(sealed_s=6.0, discarded_s=14.0)], ["a", "b"], "the clips cover 80000"),
        ([*EVENTS, ended(lost=1)], ["a", "b"], "1 lost"),
        (EVENTS, ["a", "b"], "hear's last event was sealed"),
    ],
)
def test_failed_checks_at_the_end_are_reported(
    events: list[dict[str, Any]], archived: list[str], what: str
) -> None:
    assert any(what in line for line in check_end(events, archived))


def test_counters_that_do_not_add_up_are_seen() -> None:
    accounts = Accounts()

    accounts.count(tally(heard_samples=100, discarded_samples=60, held_samples=40), 0)
    assert accounts.wrong == []
    accounts.count(tally(heard_samples=101, discarded_samples=60, held_samples=40), 0)
    accounts.count(tally(lost=1), 0)

    assert len(accounts.wrong) == 2
    assert accounts.tallies == 3


def test_growth_is_the_rise_of_the_peak_after_the_first_hour() -> None:
    accounts = Accounts()
    for hour in range(8):
        for rss in (90 * MIB + hour * MIB // 2, 80 * MIB):
            accounts.count(tally(heard_samples=hour * 3_600 * 16_000 + 16_000), 0)
            accounts.memory.append((hour * 3_600 + 1, rss))

    assert accounts.growth_bytes() == 7 * MIB // 2 > MOST_GROWTH_BYTES
    assert accounts.peaks()[-1] == 90 * MIB + 7 * MIB // 2
    assert Accounts().growth_bytes() == 0


def test_contiguous_clip_is_found_at_any_position(tape: Tape) -> None:
    around = np.concatenate([tape.samples[-20_000:], tape.samples[:20_000]])

    assert tape.contains(tape.samples[12_345:60_000])
    assert tape.contains(around)


def test_a_clip_with_a_hole_or_a_strange_sample_is_not(tape: Tape) -> None:
    hole = np.concatenate([tape.samples[1_000:30_000], tape.samples[30_001:50_000]])
    strange = tape.samples[1_000:50_000].copy()
    strange[-1] += 1

    assert not tape.contains(hole)
    assert not tape.contains(strange)
    assert not tape.contains(strange[::-1])


def test_the_same_lots_make_the_same_tape(tape: Tape, tmp_path: Path) -> None:
    tape.write(tmp_path / "tape.raw")

    assert (tmp_path / "tape.raw").read_bytes() == Tape(1, 40).samples.tobytes()
    assert not np.array_equal(Tape(2, 40).samples[:1_000], tape.samples[:1_000])
