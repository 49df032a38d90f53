"""Takes of a person: recorded, checked, repeated; with the real process on recordings."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from listener.config import Config, MicrophoneSettings, MuteSettings
from listener.errors import Unavailable
from listener.hear.takes.take_client import TakeClient
from listener.hear.takes.take_reply import TakeReply
from listener.storage.recordings import read_recording
from listener.train.takes import TRIES, TakeRefused, collect_takes, record_takes
from listener.voiceprint.enrolment import RecordingProblem

SOUND = np.arange(1000, dtype=np.int16)
GOOD = TakeReply(level_dbfs=-25, noise_dbfs=-60, speech_s=0.7, samples=SOUND.tobytes())
LOUD = TakeReply(level_dbfs=-1, noise_dbfs=-60, speech_s=0.7, problem=RecordingProblem.CLIPPED)


class Recorder:
    def __init__(self, *replies: TakeReply) -> None:
        self._replies = list(replies)

    def record(self) -> TakeReply:
        return self._replies.pop(0)


def test_take_with_a_problem_is_repeated() -> None:
    said: list[str] = []

    takes = collect_takes(2, "hey lumen", Recorder(LOUD, GOOD, GOOD), said.append)

    assert len(takes) == 2
    assert all(np.array_equal(take, SOUND) for take in takes)
    assert said[0] == "say: hey lumen"
    assert said[1] == (
        "1 of 2: level -1 dBFS, noise -60 dBFS, 0.7 s of speech: too loud; move away from the"
        " microphone, or lower its gain"
    )
    assert said[-1].startswith("2 of 2: ")
    assert said[-1].endswith("accepted")


def test_takes_are_refused_after_four_problems() -> None:
    with pytest.raises(TakeRefused, match="4 recordings of one take"):
        collect_takes(1, "hey lumen", Recorder(*[LOUD] * TRIES), lambda _: None)


def configuration(tmp_path: Path, sound: np.ndarray[tuple[int], np.dtype[np.int16]]) -> Config:
    file = tmp_path / "takes.wav"
    soundfile.write(file, sound, 16_000)
    return Config(
        home=str(tmp_path),
        microphone=MicrophoneSettings(files=(str(file),)),
        mute=MuteSettings(switch="none"),
    )


def speech() -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """Return a second of real speech at a moderate level."""
    fixture = Path(__file__).parents[1] / "fixtures"
    recording = next(fixture.rglob("*alexa*.flac"), None) or next(fixture.rglob("*.flac"))
    return read_recording(recording, 16_000 * 3)


@pytest.mark.system
def test_process_records_takes_of_a_wake_word(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(0, 15, 32_000).astype(np.int16)
    settings = configuration(tmp_path, np.concatenate([noise, speech(), noise] * 2))

    takes = record_takes(2, "alexa", settings, lambda _: None)

    assert len(takes) == 2
    assert all(16_000 < len(take) <= 160_000 for take in takes)
    assert all(np.abs(take.astype(int)).max() > 1_000 for take in takes)


@pytest.mark.system
def test_process_reports_the_end_of_the_recordings(tmp_path: Path) -> None:
    settings = configuration(tmp_path, np.zeros(16_000, np.int16))

    with pytest.raises(Unavailable, match="the recordings have ended"), TakeClient(settings) as one:
        one.record()


@pytest.mark.system
def test_process_that_fails_is_an_error(tmp_path: Path) -> None:
    settings = configuration(tmp_path, np.zeros(16_000, np.int16))

    with (
        pytest.raises(Unavailable, match="the recording process failed"),
        TakeClient(settings, ("/bin/false",)) as one,
    ):
        one.record()
