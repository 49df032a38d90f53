"""What a run leaves in its folder."""

import json
from pathlib import Path

import pytest

from listener.errors import Unavailable
from listener.evaluate.report.outputs import write_outputs
from tests.evaluate.sample import result

FILES = {"result.json", "rates.csv", "curve.csv", "events.csv", "report.html"}


def test_a_result_leaves_everything_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    write_outputs(result("a.wav"), tmp_path / "one" / "deep")
    write_outputs(result("a.wav"), tmp_path / "two")

    found = {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()}
    assert found.keys() == FILES
    for name, data in found.items():
        assert (tmp_path / "one" / "deep" / name).read_bytes() == data
    assert json.loads(found["result.json"])["format"] == "earmark-evaluation/1"


def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")

    with pytest.raises(Unavailable, match=r"cannot write .*taken"):
        write_outputs(result("a.wav"), tmp_path / "taken")
