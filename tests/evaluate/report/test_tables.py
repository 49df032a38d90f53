"""Output files of a run."""

import csv
import io
import json
from pathlib import Path

import pytest

from listener.errors import Unavailable
from listener.evaluate.report import tables
from listener.evaluate.report.tables import write_outputs
from tests.evaluate import sample
from tests.evaluate.sample import result


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_every_event_is_a_row() -> None:
    result = sample.result("a.flac", "b.flac")

    found = rows(tables.events_csv(result))

    assert len(found) == sum(len(word.events) for word in result.words)
    assert float(found[1]["at_s"]) == result.words[0].events[1].at_s
    assert found[0]["kind"] == "miss"


def test_every_threshold_is_a_row_that_reads_back_equal() -> None:
    result = sample.result("a.flac")

    found = rows(tables.curve_csv(result))

    points = [point for word in result.words for point in word.curve]
    assert [float(row["misses_low"]) for row in found] == [p.misses.low for p in points]
    assert [float(row["false_wakes_rate"]) for row in found] == [
        p.false_wakes.value for p in points
    ]


def test_total_comes_before_breakdowns() -> None:
    result = sample.result("a.flac")

    found = rows(tables.rates_csv(result))

    assert [row["of"] for row in found[:2]] == ["all", "speaker"]
    assert {row["name"] for row in found if row["of"] == "group"} == {"near"}
    assert len(found) == 2 * (1 + 9 + 1)


def test_names_are_escaped_against_csv_formulas() -> None:
    result = sample.result("=1+1", "@SUM(A1)", "-2", "+3", "\tx", "plain", "half \ud800")

    found = rows(tables.events_csv(result))

    items = {row["item"] for row in found}
    assert items == {"'=1+1", "'@SUM(A1)", "'-2", "'+3", "'\tx", "plain", "half ?"}


def test_name_with_commas_and_quotes_is_one_cell() -> None:
    result = sample.result('a "b", c\nd')

    found = rows(tables.events_csv(result))

    assert {row["item"] for row in found} == {'a "b", c\nd'}


FILES = {"result.json", "rates.csv", "curve.csv", "events.csv", "report.html"}


def test_all_output_files_are_written_deterministically(tmp_path: Path) -> None:
    write_outputs(result("a.wav"), tmp_path / "one" / "deep")
    write_outputs(result("a.wav"), tmp_path / "two")

    found = {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()}
    assert found.keys() == FILES
    for name, data in found.items():
        assert (tmp_path / "one" / "deep" / name).read_bytes() == data
    assert json.loads(found["result.json"])["format"] == "earmark-evaluation/1"


def test_unwritable_output_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")

    with pytest.raises(Unavailable, match=r"cannot write .*taken"):
        write_outputs(result("a.wav"), tmp_path / "taken")
