"""Recording of one sentence at a time."""

from collections.abc import Generator, Sequence

import numpy as np
import pytest

from listener.audio.pcm import FRAME_SAMPLES, Frame, Gap, GapReason, Samples, Sound
from listener.errors import Unavailable
from listener.hear.enrolment.sentence_recorder import LONGEST_S, SentenceRecorder


class LevelModel:
    """A voice activity detector that takes what is loud for speech."""

    def probability(self, samples: Samples) -> float:
        return float(np.abs(samples).max() > 500)

    def reset(self) -> None:
        pass


class Room:
    """A gate's stream; a negative number of frames is quiet, a positive one speech."""

    def __init__(self, *parts: int | GapReason) -> None:
        self._parts: Sequence[int | GapReason] = parts
        self.opened = 0
        self.closed = 0

    def open(self) -> Generator[Sound, None, None]:
        self.opened += 1
        at = 0
        try:
            for part in self._parts:
                if isinstance(part, GapReason):
                    yield Gap(part, at)
                    continue
                for _ in range(abs(part)):
                    value = 3_000 if part > 0 else 3
                    yield Frame(np.full(FRAME_SAMPLES, value, np.int16), at)
                    at += FRAME_SAMPLES
        finally:
            self.closed += 1


def test_silence_after_enough_speech_ends_the_sentence() -> None:
    room = Room(-10, 20, -12, 20, -100)
    recorder = SentenceRecorder(room.open, LevelModel())

    recorded = recorder.record()

    assert len(recorded) == (10 + 20 + 12) * FRAME_SAMPLES
    assert (room.opened, room.closed) == (1, 1)


def test_pause_in_a_short_beginning_does_not_end_it() -> None:
    recorder = SentenceRecorder(Room(5, -30, 19, -50).open, LevelModel())

    assert len(recorder.record()) == (5 + 30 + 19 + 12) * FRAME_SAMPLES


def test_recording_ends_at_the_longest_length() -> None:
    recorder = SentenceRecorder(Room(-1_000).open, LevelModel())

    assert len(recorder.record()) == LONGEST_S * 16_000


def test_each_sentence_opens_and_closes_the_microphone() -> None:
    room = Room(20, -20)
    recorder = SentenceRecorder(room.open, LevelModel())

    recorder.record()
    recorder.record()

    assert (room.opened, room.closed) == (2, 2)


def test_recordings_go_on_after_a_sentence() -> None:
    room = Room(20, -12, 25, -12)
    recorder = SentenceRecorder(room.open, LevelModel(), keeps_open=True)

    lengths = [len(recorder.record()) // FRAME_SAMPLES for _ in range(2)]
    recorder.close()

    assert lengths == [32, 37]
    assert (room.opened, room.closed) == (1, 1)


def test_recording_is_wiped() -> None:
    recorder = SentenceRecorder(Room(20, -20).open, LevelModel())
    recorded = recorder.record()
    assert recorded.any()

    recorder.wipe()

    assert not recorded.any()


def test_gap_starts_the_sentence_anew() -> None:
    recorder = SentenceRecorder(Room(15, GapReason.OVERRUN, 20, -20).open, LevelModel())

    assert len(recorder.record()) == 32 * FRAME_SAMPLES


def test_mute_ends_the_recording() -> None:
    room = Room(10, GapReason.MUTED, 20, -20)
    recorder = SentenceRecorder(room.open, LevelModel())

    with pytest.raises(Unavailable, match="the microphone is muted"):
        recorder.record()

    assert room.closed == 1


@pytest.mark.parametrize("end", [(), (GapReason.END,)])
def test_end_of_the_audio_is_an_error(end: tuple[GapReason, ...]) -> None:
    with pytest.raises(Unavailable, match=r"ended|no more audio"):
        SentenceRecorder(Room(10, *end).open, LevelModel()).record()
