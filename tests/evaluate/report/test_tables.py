"""Output files of a run."""

import csv
import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from listener.errors import Unavailable
from listener.evaluate.report import tables
from listener.evaluate.report.latex import latex_table
from listener.evaluate.report.png import has_font
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


FILES = {"result.json", "rates.csv", "curve.csv", "events.csv", "table.tex", "report.html"}


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_all_output_files_are_written_deterministically(tmp_path: Path) -> None:
    write_outputs(result("a.wav"), tmp_path / "one" / "deep")
    write_outputs(result("a.wav"), tmp_path / "two")

    found = files_of(tmp_path / "two")
    assert {name for name in found if "/" not in name} == FILES
    assert files_of(tmp_path / "one" / "deep") == found
    assert json.loads(found["result.json"])["format"] == "earmark-evaluation/1"


def test_unwritable_output_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")

    with pytest.raises(Unavailable, match=r"cannot write .*taken"):
        write_outputs(result("a.wav"), tmp_path / "taken")


def test_each_figure_is_a_file_as_svg_and_png_with_its_data(tmp_path: Path) -> None:
    write_outputs(result("a.wav"), tmp_path)

    found = files_of(tmp_path / "figures")
    numbers = set(re.findall(r"<b>Figure (\d+)\.", (tmp_path / "report.html").read_text("utf-8")))
    stems = {name.rpartition(".")[0] for name in found}
    assert numbers == {str(int(stem.split("-")[1])) for stem in stems}
    assert found.keys() == {f"{stem}.{end}" for stem in stems for end in ("svg", "csv", "png")}
    assert "figure-01-det-alexa-clean" in stems
    for stem in stems:
        assert found[f"{stem}.png"].startswith(b"\x89PNG\r\n")
        assert ET.fromstring(found[f"{stem}.svg"]).tag.endswith("svg")
        assert rows(found[f"{stem}.csv"].decode())
    points = rows(found["figure-01-det-alexa-clean.csv"].decode())
    expected = [point for word in result("a.wav").words for point in word.curve]
    assert [float(row["misses_low"]) for row in points] == [p.misses.low for p in expected]


def test_figures_of_an_earlier_run_are_removed(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    for name in ("figure-99-det-other.svg", "README.txt", "mine.svg"):
        (tmp_path / "figures" / name).write_text("old")

    write_outputs(result("a.wav"), tmp_path)

    left = files_of(tmp_path / "figures")
    assert not left.keys() & {"figure-99-det-other.svg", "README.txt"}
    assert left["mine.svg"] == b"old"


def test_png_shows_text_and_colour_or_is_absent_with_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert has_font()
    monkeypatch.setattr(tables, "has_font", lambda: False)

    found = tables.figure_files(result("a.wav"))

    assert b"apt install" in found["README.txt"]
    assert not [name for name in found if name.endswith(".png")]


def test_latex_table_has_a_row_for_each_engine_and_escapes_names() -> None:
    hostile = msgspec.structs.replace(
        sample.result("a.wav").words[0], engine="100%_a & b\\input{x}\x07$", condition="{~^#}"
    )
    found = msgspec.structs.replace(
        sample.result("a.wav"), words=(*sample.result("a.wav").words, hostile)
    )

    lines = latex_table(found).splitlines()

    assert lines[-2:] == [r"\bottomrule", r"\end{tabular}"]
    body = lines[lines.index(r"\midrule") + 1 : -2]
    assert len(body) == 3
    columns = lines[2].removeprefix(r"\begin{tabular}{").removesuffix("}")
    for row in body:
        assert len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1
    assert body[0].startswith("earmark & alexa & clean & 0.5 & 3.0 (0.0 to 7.4) &")
    assert r"100\%\_a \& b\textbackslash{}input\{x\}\$ &" in body[2]
