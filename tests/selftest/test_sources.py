import os
import time
from pathlib import Path

import numpy as np
import pytest

from listener.config import ClipSettings
from listener.selftest import sources
from listener.selftest.processes import Process, process_tree
from listener.selftest.setup import compose, set_up
from listener.selftest.sources import AlsaSource, RecordingSource
from listener.selftest.watermark import Watermark

SOUND = np.arange(4_000, dtype=np.int16)
CHUNK_BYTES = 2_560


class Reader:
    """This process, with the FIFO open as a microphone's process has it."""

    def __init__(self, folder: Path) -> None:
        self.file = os.open(folder / "microphone", os.O_RDONLY)

    def close(self) -> None:
        os.close(self.file)


def elsewhere() -> tuple[Process, ...]:
    """Processes of which none has the FIFO open."""
    return ()


def test_nothing_is_played_before_somebody_listens(tmp_path: Path) -> None:
    road = AlsaSource(tmp_path, SOUND)

    played = [road.played_s(elsewhere()) for _ in range(5)]

    road.close()
    assert played == [0.0] * 5


def test_sound_comes_in_whole_chunks_one_at_a_time_and_is_played_when_it_is_read(
    tmp_path: Path,
) -> None:
    road = AlsaSource(tmp_path, SOUND)
    reader = Reader(tmp_path)
    # The road has it open too, so this process counts as a reader.
    ours = process_tree(os.getpid())[:1]

    given = road.played_s(ours)
    first = os.read(reader.file, 10_000)
    taken = road.played_s(ours)
    road.played_s(ours)
    time.sleep(0.1)
    road.played_s(ours)
    second = os.read(reader.file, 10_000)
    reader.close()
    road.close()

    assert (given, taken) == (0.0, 0.08)
    assert first == SOUND[:1_280].tobytes()
    assert second == SOUND[1_280:2_560].tobytes()


def test_what_a_killed_reader_left_is_not_heard_by_the_next(tmp_path: Path) -> None:
    road = AlsaSource(tmp_path, SOUND)
    reader = Reader(tmp_path)
    ours = process_tree(os.getpid())[:1]
    road.played_s(ours)
    os.read(reader.file, 1_000)

    after_s = road.played_s(elsewhere())
    os.set_blocking(reader.file, False)
    with pytest.raises(BlockingIOError):
        os.read(reader.file, 1)

    reader.close()
    road.close()
    assert after_s == 0.08


def test_the_last_chunk_is_filled_up_and_then_comes_no_more(tmp_path: Path) -> None:
    road = AlsaSource(tmp_path, SOUND[:1_000])
    reader = Reader(tmp_path)
    ours = process_tree(os.getpid())[:1]

    road.played_s(ours)
    last = os.read(reader.file, 10_000)
    time.sleep(0.1)
    road.played_s(ours)
    road.played_s(ours)
    os.set_blocking(reader.file, False)
    with pytest.raises(BlockingIOError):
        os.read(reader.file, 1)

    reader.close()
    road.close()
    assert len(last) == CHUNK_BYTES
    assert last[:2_000] == SOUND[:1_000].tobytes()


def test_alsa_is_told_where_the_sound_is_and_hear_which_device(tmp_path: Path) -> None:
    road = AlsaSource(tmp_path, SOUND)

    config = Path(road.environ["ALSA_CONFIG_PATH"]).read_text("utf-8")

    road.close()
    road.close()
    assert f'infile "{tmp_path / "microphone"}"' in config
    assert "pcm.watermark {" in config
    assert list(road.arguments) == ["--device", "watermark"]
    assert not road.is_scripted


def test_a_machine_that_lacks_something_is_told_what() -> None:
    why = sources.explain_unavailable()

    assert why == "" or "not installed" in why or "no configuration" in why


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
