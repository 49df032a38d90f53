from pathlib import Path

import numpy as np

from listener import config
from listener.config import parse_settings
from listener.selftest.stage import KEEPER, set_up
from listener.storage.home import Home
from listener.storage.recordings import open_recording


def test_a_stage_is_a_home_whose_keeper_has_proved_a_key_that_nobody_has(tmp_path: Path) -> None:
    stage = set_up(tmp_path, config.ClipSettings())

    assert Home(stage.home).keeper(KEEPER) == KEEPER
    everything = b"".join(path.read_bytes() for path in stage.files())
    assert b"AGE-SECRET-KEY" not in everything


def test_a_stage_has_the_devices_ring_and_reaches_no_broker(tmp_path: Path) -> None:
    stage = set_up(tmp_path, config.ClipSettings(ring_s=3.5))

    settings = parse_settings(stage.settings.read_text("utf-8"), "the stage")

    assert settings.clip.ring_s == 3.5
    assert settings.broker.host == "127.0.0.1"
    assert settings.mute.switch == "none"


def test_sound_is_written_bit_for_bit(tmp_path: Path) -> None:
    samples = np.arange(-800, 800, dtype=np.int16)

    path = set_up(tmp_path, config.ClipSettings()).write_sound("sound.wav", samples)

    with open_recording(path) as recording:
        read = recording.read(2_000)
    assert read is not None
    assert read.tolist() == samples.tolist()
    assert path.stat().st_size == 44 + 2 * len(samples), "as far as it was read is known by bytes"
