"""Results as data frames."""

import csv
import io
import sys
from pathlib import Path

import msgspec
import pytest

from listener import api
from listener.errors import Unavailable, UsageError
from listener.evaluate.report import tables
from tests.evaluate import sample


def test_frame_has_the_columns_and_rows_of_the_csv_file(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_bytes(msgspec.json.encode(sample.result("a.flac")))

    result = api.read_result(tmp_path / "result.json")

    assert result == sample.result("a.flac")
    for name in ("rates", "curve", "events"):
        frame = api.to_frame(result, name)
        rows = list(csv.reader(io.StringIO(tables.TABLES[name](result).csv())))
        assert list(frame.columns) == rows[0]
        assert len(frame) == len(rows) - 1
    rates = api.to_frame(result)
    total = rates[rates["of"] == "all"]
    assert total["misses_rate"].tolist() == [0.03, 0.06]


def test_unknown_table_and_missing_pandas_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="there is no table 'hits'"):
        api.to_frame(sample.result("a.flac"), "hits")  # type: ignore[arg-type] # the mistake
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="pandas is not installed") as caught:
        api.to_frame(sample.result("a.flac"))
    assert caught.value.hint == "pip install 'earmark[pandas]'"


def test_result_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot read"):
        api.read_result(tmp_path / "absent.json")
