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


def other_processes() -> tuple[Process, ...]:
    """Processes of which none has the FIFO open."""
    return ()


def test_virtual_device_waits_for_a_reader(tmp_path: Path) -> None:
    source = AlsaSource(tmp_path, SOUND)

    played = [source.played_s(other_processes()) for _ in range(5)]

    source.close()
    assert played == [0.0] * 5


def test_virtual_device_supplies_one_chunk_at_a_time(
    tmp_path: Path,
) -> None:
    source = AlsaSource(tmp_path, SOUND)
    reader = Reader(tmp_path)
    # The source has it open too, so this process counts as a reader.
    ours = process_tree(os.getpid())[:1]

    given = source.played_s(ours)
    first = os.read(reader.file, 10_000)
    taken = source.played_s(ours)
    source.played_s(ours)
    time.sleep(0.1)
    source.played_s(ours)
    second = os.read(reader.file, 10_000)
    reader.close()
    source.close()

    assert (given, taken) == (0.0, 0.08)
    assert first == SOUND[:1_280].tobytes()
    assert second == SOUND[1_280:2_560].tobytes()


def test_rest_of_a_killed_reader_is_discarded(tmp_path: Path) -> None:
    source = AlsaSource(tmp_path, SOUND)
    reader = Reader(tmp_path)
    ours = process_tree(os.getpid())[:1]
    source.played_s(ours)
    os.read(reader.file, 1_000)

    after_s = source.played_s(other_processes())
    os.set_blocking(reader.file, False)
    with pytest.raises(BlockingIOError):
        os.read(reader.file, 1)

    reader.close()
    source.close()
    assert after_s == 0.08


def test_last_chunk_is_padded(tmp_path: Path) -> None:
    source = AlsaSource(tmp_path, SOUND[:1_000])
    reader = Reader(tmp_path)
    ours = process_tree(os.getpid())[:1]

    source.played_s(ours)
    last = os.read(reader.file, 10_000)
    time.sleep(0.1)
    source.played_s(ours)
    source.played_s(ours)
    os.set_blocking(reader.file, False)
    with pytest.raises(BlockingIOError):
        os.read(reader.file, 1)

    reader.close()
    source.close()
    assert len(last) == CHUNK_BYTES
    assert last[:2_000] == SOUND[:1_000].tobytes()


def test_virtual_device_is_configured_for_alsa_and_hear(tmp_path: Path) -> None:
    source = AlsaSource(tmp_path, SOUND)

    config = Path(source.environ["ALSA_CONFIG_PATH"]).read_text("utf-8")

    source.close()
    source.close()
    assert f'infile "{tmp_path / "microphone"}"' in config
    assert "pcm.watermark {" in config
    assert list(source.arguments) == ["--device", "watermark"]
    assert not source.is_scripted


def test_missing_requirement_is_named() -> None:
    why = sources.explain_unavailable()

    assert why == "" or "not installed" in why or "no configuration" in why


def test_scene_with_a_second_mute_is_muted_twice(tmp_path: Path) -> None:
    once = compose(Watermark(1), np.zeros(100, np.int16), 2.0, 2.0)
    twice = compose(Watermark(1), np.zeros(100, np.int16), 2.0, 2.0, mutes_twice=True)

    spans = [RecordingSource(tmp_path, scene).arguments[-1].split(",") for scene in (once, twice)]

    assert [len(span) for span in spans] == [1, 2]
    assert spans[0] == spans[1][:1]
    assert twice.second_mute_s is not None
    begin_s, end_s = map(float, spans[1][1].split("-"))
    assert begin_s == pytest.approx(twice.second_mute_s, abs=1e-3)
    assert twice.sealed_s < begin_s < twice.length_s - 5 < end_s


def test_recording_position_is_the_read_position(tmp_path: Path) -> None:
    scene = compose(Watermark(1), np.zeros(100, np.int16), 2.0, 2.0)
    sound = set_up(tmp_path, ClipSettings()).write_sound("scene.wav", scene.samples)
    source = RecordingSource(sound, scene)
    ours = process_tree(os.getpid())[:1]

    before_s = source.played_s(ours)
    with sound.open("rb", 0) as file:
        file.read(44 + 2 * 24_000)
        during_s = source.played_s(ours)
    after_s = source.played_s(ours)
    source.close()

    assert (before_s, during_s, after_s) == (0.0, 1.5, 1.5)


def test_recording_is_muted_by_the_scene(tmp_path: Path) -> None:
    scene = compose(Watermark(1), np.zeros(100, np.int16), 2.0, 2.0)
    sound = set_up(tmp_path, ClipSettings()).write_sound("scene.wav", scene.samples)

    source = RecordingSource(sound, scene)

    assert source.is_scripted
    assert list(source.arguments) == [
        "--microphone",
        str(sound),
        "--mute",
        f"{scene.mute_s:.3f}-{scene.unmute_s:.3f}",
    ]
    assert source.environ == {}
