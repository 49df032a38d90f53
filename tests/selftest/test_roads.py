import os
from pathlib import Path

import numpy as np

from listener.config import ClipSettings
from listener.selftest.processes import process_tree
from listener.selftest.roads import RecordingSource
from listener.selftest.scene import compose
from listener.selftest.stage import set_up
from listener.selftest.watermark import Watermark


def test_how_much_of_a_recording_was_heard_is_how_far_its_file_was_read(tmp_path: Path) -> None:
    scene = compose(Watermark(1), np.zeros(100, np.int16), 2.0, 2.0)
    sound = set_up(tmp_path, ClipSettings()).write_sound("scene.wav", scene.samples)
    road = RecordingSource(sound, scene)
    ours = process_tree(os.getpid())[:1]

    before_s = road.played_s(ours)
    with sound.open("rb", 0) as file:
        file.read(44 + 2 * 24_000)
        during_s = road.played_s(ours)
    after_s = road.played_s(ours)
    road.close()

    assert (before_s, during_s, after_s) == (0.0, 1.5, 1.5)


def test_a_recording_is_muted_by_its_own_clock(tmp_path: Path) -> None:
    scene = compose(Watermark(1), np.zeros(100, np.int16), 2.0, 2.0)
    sound = set_up(tmp_path, ClipSettings()).write_sound("scene.wav", scene.samples)

    road = RecordingSource(sound, scene)

    assert road.is_scripted
    assert list(road.arguments) == [
        "--microphone",
        str(sound),
        "--mute",
        f"{scene.mute_s:.3f}-{scene.unmute_s:.3f}",
    ]
    assert road.environ == {}
