from pathlib import Path

import numpy as np
import pytest

from listener.config import ClipSettings
from listener.errors import EarmarkError
from listener.selftest.harness import Harness
from listener.selftest.processes import process_tree
from listener.selftest.setup import compose, set_up
from listener.selftest.sources import RecordingSource
from listener.selftest.watermark import Watermark

pytestmark = pytest.mark.system


def test_a_hear_that_does_not_start_is_told_with_its_own_words(tmp_path: Path) -> None:
    stage = set_up(tmp_path, ClipSettings())
    (stage.home / "roster.json").unlink()
    scene = compose(Watermark(1), np.zeros(100, np.int16), 2.0, 2.0)
    road = RecordingSource(stage.write_sound("scene.wav", scene.samples), scene)

    with (
        pytest.raises(EarmarkError, match="not in the roster"),
        Harness(stage, road, scene, None),
    ):
        raise AssertionError("it must not start")


def test_nobody_is_left_when_it_is_over(tmp_path: Path) -> None:
    stage = set_up(tmp_path, ClipSettings())
    scene = compose(Watermark(1), np.zeros(100, np.int16), 2.0, 2.0)
    road = RecordingSource(stage.write_sound("scene.wav", scene.samples), scene)

    with Harness(stage, road, scene, None) as listening:
        during = listening.processes()
        listening.wait_until_played(0.1)

    assert {process.name for process in during} == {"hear", "send"}
    assert not any(process_tree(process.pid) for process in during)
