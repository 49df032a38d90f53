from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from listener.errors import Unavailable
from listener.evaluate.survey.parquet import read_parquet, write_parquet
from listener.evaluate.survey.reader import Spans, merge
from listener.storage.journal import read_lines
from listener.wakeword import trace
from tests.evaluate.made_traces import rises, write_trace


def made(path: Path) -> list[trace.Line]:
    rng = np.random.default_rng(3)
    noisy = [float(score) for score in rng.random(1700, np.float32) ** 8]
    write_trace(path, {"alexa": rises(1700, 30, 1600), "timer": noisy}, gaps=(0, 400))
    write_trace(path, {"alexa": rises(10, 5)}, device="attic")
    return [trace.decode(line) for line in read_lines(path)]


def test_parquet_round_trip_keeps_every_line(tmp_path: Path) -> None:
    lines = made(tmp_path / "a.trace")

    rows = write_parquet(lines, tmp_path / "a.parquet")

    assert list(read_parquet(tmp_path / "a.parquet")) == lines
    assert rows == pq.read_metadata(tmp_path / "a.parquet").num_rows
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_merging_parquet_equals_merging_the_trace(tmp_path: Path) -> None:
    write_parquet(made(tmp_path / "a.trace"), tmp_path / "a.parquet")

    one = merge([tmp_path / "a.trace"], Spans(), Spans())
    other = merge([tmp_path / "a.parquet"], Spans(), Spans())

    assert one.heard_s == other.heard_s
    assert one.words == other.words
    for a, b in zip(one.chains, other.chains, strict=True):
        assert (a.device, a.word) == (b.device, b.word)
        assert np.array_equal(a.scores, b.scores)
        assert np.array_equal(a.ends, b.ends)


def test_wakes_can_be_queried_with_pyarrow_alone(tmp_path: Path) -> None:
    write_parquet(made(tmp_path / "a.trace"), tmp_path / "a.parquet")

    table = pq.read_table(tmp_path / "a.parquet").to_pylist()

    wakes = [row for row in table if row["kind"] == "wake" and row["word"] == "alexa"]
    assert len(wakes) == 3
    assert {row["device"] for row in wakes} == {"hall", "attic"}
    assert all(row["utc"].tzinfo is not None for row in wakes)
    levels = [row for row in table if row["kind"] == "level"]
    assert {row["value"] for row in levels} == {-50.0}


def test_the_same_trace_gives_the_same_file(tmp_path: Path) -> None:
    lines = made(tmp_path / "a.trace")

    write_parquet(lines, tmp_path / "a.parquet")
    write_parquet(lines, tmp_path / "b.parquet")

    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_trace_without_audio_keeps_its_opening_line(tmp_path: Path) -> None:
    write_trace(tmp_path / "a.trace", {"alexa": []})
    lines = [trace.decode(line) for line in read_lines(tmp_path / "a.trace")]

    assert write_parquet(lines, tmp_path / "a.parquet") == 0

    assert list(read_parquet(tmp_path / "a.parquet")) == lines


def test_file_that_is_not_a_trace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not at all")
    pq.write_table(pa.table({"device": ["hall"]}), tmp_path / "b.parquet")

    for name in ("a.parquet", "b.parquet", "missing.parquet"):
        with pytest.raises(Unavailable, match="cannot read"):
            list(read_parquet(tmp_path / name))


@pytest.mark.parametrize("seed", range(20))
def test_damaged_file_raises_one_error(tmp_path: Path, seed: int) -> None:
    write_parquet(made(tmp_path / "a.trace"), tmp_path / "a.parquet")
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    rng = np.random.default_rng(seed)
    for place in rng.integers(0, len(data), 20).tolist():
        data[place] ^= 0x55
    (tmp_path / "b.parquet").write_bytes(bytes(data))

    try:
        list(read_parquet(tmp_path / "b.parquet"))
    except Unavailable as error:
        assert "cannot read" in str(error)  # noqa: PT017 - some damage cannot be seen


def test_unwritable_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot write"):
        write_parquet([], tmp_path / "missing" / "a.parquet")
