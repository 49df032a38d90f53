from pathlib import Path

import msgspec
import pytest

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.evaluate.metrics.intervals import poisson
from listener.ipc.notices import Tally
from listener.send.false_wakes import FILE, WRITE_PAUSE_S, FalseWakes, poisson_interval

HOUR_SAMPLES = 3600 * SAMPLE_RATE_HZ


def tally(hours: float, boot: str = "0" * 16) -> Tally:
    return Tally(device="hall", boot=boot, seq=0, heard_samples=round(hours * HOUR_SAMPLES))


@pytest.mark.parametrize("count", [0, 1, 2, 5, 30, 1000, 20_000])
def test_interval_equals_that_of_the_evaluation(count: int) -> None:
    expected = poisson(count, 1.0)

    assert poisson_interval(count) == pytest.approx((expected.low, expected.high), rel=1e-6)


def test_each_wake_is_marked_once(tmp_path: Path) -> None:
    false_wakes = FalseWakes(tmp_path)

    assert not false_wakes.mark_last()
    false_wakes.on_wake()
    assert [false_wakes.mark_last(), false_wakes.mark_last()] == [True, False]
    false_wakes.on_wake()
    false_wakes.on_wake()
    assert [false_wakes.mark_last(), false_wakes.mark_last()] == [True, False]
    assert false_wakes.rate().marked == 2


def test_rate_covers_every_start_of_hear_and_send(tmp_path: Path) -> None:
    now_s = 0.0
    first = FalseWakes(tmp_path, lambda: now_s)
    first.on_tally(tally(1))
    now_s = WRITE_PAUSE_S
    first.on_tally(tally(10))
    first.on_tally(tally(10))  # repeated
    second = FalseWakes(tmp_path, lambda: now_s)  # send was restarted
    second.on_tally(tally(12))
    second.on_tally(tally(8, boot="1" * 16))  # hear was restarted
    second.on_wake()
    assert second.mark_last()

    rate = FalseWakes(tmp_path).rate()

    assert (rate.marked, rate.hours, rate.per_hour) == (1, 20.0, 0.05)
    expected = poisson(1, 20.0)
    assert (rate.low, rate.high) == pytest.approx((expected.low, expected.high), rel=0.01)


def test_rate_has_no_value_before_the_first_hour(tmp_path: Path) -> None:
    false_wakes = FalseWakes(tmp_path)
    false_wakes.on_tally(tally(0.9))

    assert false_wakes.rate().per_hour is None


@pytest.mark.parametrize("content", [b"", b"{}x", b'{"v":2}', b'{"marked":-1}', b"[" * 9000])
def test_damaged_file_starts_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "send").mkdir()
    (tmp_path / FILE).write_bytes(content)

    assert FalseWakes(tmp_path).rate().marked == 0


def test_file_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "send").write_text("not a folder")
    false_wakes = FalseWakes(tmp_path)
    false_wakes.on_wake()

    assert false_wakes.mark_last()
    assert false_wakes.rate().marked == 1


def test_file_holds_counts_only(tmp_path: Path) -> None:
    false_wakes = FalseWakes(tmp_path)
    false_wakes.on_tally(tally(2))

    stored = msgspec.json.decode((tmp_path / FILE).read_bytes())
    assert stored == {
        "v": 1,
        "marked": 0,
        "samples": 2 * HOUR_SAMPLES,
        "boot": "0" * 16,
        "heard": 2 * HOUR_SAMPLES,
    }
