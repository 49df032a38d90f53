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


def test_error_of_a_failing_start_has_the_messages_of_hear(tmp_path: Path) -> None:
    setup = set_up(tmp_path, ClipSettings())
    (setup.home / "roster.json").unlink()
    scene = compose(Watermark(1), np.zeros(100, np.int16), 2.0, 2.0)
    source = RecordingSource(setup.write_sound("scene.wav", scene.samples), scene)

    with (
        pytest.raises(EarmarkError, match="not in the roster"),
        Harness(setup, source, scene, None),
    ):
        raise AssertionError("it must not start")


def test_no_process_is_left_after_the_run(tmp_path: Path) -> None:
    setup = set_up(tmp_path, ClipSettings())
    scene = compose(Watermark(1), np.zeros(100, np.int16), 2.0, 2.0)
    source = RecordingSource(setup.write_sound("scene.wav", scene.samples), scene)

    with Harness(setup, source, scene, None) as harness:
        during = harness.processes()
        harness.wait_until_played(0.1)

    assert {process.name for process in during} == {"hear", "send"}
    assert not any(process_tree(process.pid) for process in during)
