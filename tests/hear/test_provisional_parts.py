"""Provisional parts: at a pause the command so far goes to assist, and the endpoint stays open."""

import io
import itertools
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, GapReason
from listener.hear.open_ask import Instant, OpenAsk
from listener.hear.part_schedule import PAUSE_S, PartSchedule
from listener.voice.limits import MOST_PARTS
from listener.voice.messages import Answer
from listener.voice.timing import PART_INTERVAL_S
from listener.wakeword.detector import Wake
from tests.hear.voice_fixture import CLIP, SILENCE, SPEECH, VoiceFixture

if TYPE_CHECKING:
    from listener.voice.open_copy import OpenedCopy

FIRST = 30
WITH_PARTS = msgspec.structs.replace(CLIP, silence_s=0.8, provisional_parts=True)
PAUSE, END = 5, 12
"""Frames of a pause with a part, and of an endpoint."""
CONFIRMED = 6
"""Frames of silence after which a part is confirmed."""
FAINT = 400
"""Level that the detector of the fixture does not count as speech."""


class Taking(VoiceFixture):
    """Pipeline whose send takes each copy after the frame in which it was laid."""

    def __init__(self, folder: Path, *, is_on: bool = True) -> None:
        self.taken: list[OpenedCopy] = []
        clip = msgspec.structs.replace(WITH_PARTS, provisional_parts=is_on)
        super().__init__(folder, Wake("alexa", 0.9, FIRST * FRAME_SAMPLES, 0.5), settings=clip)
        self.play(FIRST)
        self.arrive(self.answer())

    def play(self, count: int, value: int = SPEECH) -> None:
        for _ in range(count):
            super().play(1, value)
            self.taken += self.open_copies()
            for file in self.files():
                file.unlink()

    def numbers(self) -> list[tuple[int, int]]:
        """Part and last of each copy that was taken."""
        return [(copy.header.part, copy.header.last) for copy in self.taken]


@pytest.fixture
def pipeline(tmp_path: Path) -> Taking:
    """Pipeline after a wake and its answer."""
    return Taking(tmp_path)


def test_there_is_no_part_unless_it_is_configured(tmp_path: Path) -> None:
    pipeline = Taking(tmp_path, is_on=False)
    pipeline.play(10, SPEECH)
    pipeline.play(PAUSE, SILENCE)

    assert not pipeline.taken


def test_pause_makes_a_part_and_the_endpoint_the_last_one(pipeline: Taking) -> None:
    pipeline.play(10, SPEECH)
    pipeline.play(PAUSE, SILENCE)
    assert pipeline.numbers() == [(1, 0)]
    assert not pipeline.spool.envelopes

    pipeline.play(10, SPEECH)
    pipeline.play(END, SILENCE)

    # The pause before the endpoint is one, too.
    assert pipeline.numbers() == [(1, 0), (2, 0), (3, 1)]
    (envelope,) = pipeline.spool.envelopes
    sound, _ = soundfile.read(io.BytesIO(pipeline.device.open(envelope).flac), dtype="int16")
    whole = sound[SAMPLE_RATE_HZ // 2 :]
    first = pipeline.taken[0]
    np.testing.assert_array_equal(first.samples, whole[: len(first.samples)])
    ages = [copy.header.age_ms for copy in pipeline.taken]
    assert ages == sorted(ages)
    assert pipeline.statuses()[-1].copies == 3


def test_part_comes_a_quarter_of_a_second_after_the_speech(pipeline: Taking) -> None:
    pipeline.play(10, SPEECH)
    pipeline.play(3, SILENCE)
    assert not pipeline.taken

    pipeline.play(1, SILENCE)

    assert pipeline.numbers() == [(1, 0)]


def test_part_is_confirmed_once_after_a_longer_silence(pipeline: Taking) -> None:
    pipeline.play(10, SPEECH)
    pipeline.play(CONFIRMED - 1, SILENCE)
    assert pipeline.numbers() == [(1, 0)]
    assert pipeline.confirmed() == []

    pipeline.play(3, SILENCE)

    (ask,) = pipeline.asks()
    assert pipeline.confirmed() == [(ask.ask, 1)]
    assert not pipeline.spool.envelopes, "the endpoint is later"


def test_speech_after_a_part_leaves_it_unconfirmed(pipeline: Taking) -> None:
    pipeline.play(10, SPEECH)
    pipeline.play(PAUSE, SILENCE)
    pipeline.play(10, SPEECH)
    assert pipeline.confirmed() == []

    pipeline.play(END, SILENCE)

    assert [part for _, part in pipeline.confirmed()] == [2]


def test_level_alone_leaves_a_part_unconfirmed(pipeline: Taking) -> None:
    """What the voice activity detector does not count as speech yet, such as an "f"."""
    pipeline.play(10, SPEECH)
    pipeline.play(CONFIRMED - 1, SILENCE)
    pipeline.play(1, FAINT)

    assert pipeline.numbers() == [(1, 0)]
    assert pipeline.confirmed() == []


def test_part_that_send_cannot_take_or_that_has_its_outcome_is_not_confirmed(
    tmp_path: Path,
) -> None:
    pipeline = Taking(tmp_path)
    pipeline.play(10, SPEECH)
    pipeline.play(PAUSE, SILENCE)
    pipeline.arrive(pipeline.outcome())
    pipeline.play(END, SILENCE)

    assert pipeline.confirmed() == []


def test_outcome_of_a_part_ends_the_command_and_not_the_clip(pipeline: Taking) -> None:
    pipeline.play(10, SPEECH)
    pipeline.play(PAUSE, SILENCE)
    pipeline.arrive(pipeline.outcome())
    pipeline.play(1, SILENCE)
    assert pipeline.ends() == ["done"]

    pipeline.play(10, SPEECH)
    pipeline.play(END, SILENCE)

    assert pipeline.numbers() == [(1, 0)]
    assert pipeline.ends() == ["done"]
    assert len(pipeline.spool.envelopes) == 1


def test_outcome_before_any_part_is_ignored(pipeline: Taking) -> None:
    pipeline.play(10, SPEECH)
    pipeline.arrive(pipeline.outcome())
    pipeline.play(END, SILENCE)

    assert pipeline.ends() == []
    assert pipeline.numbers()[-1][1] == 1


def test_speaker_that_was_not_chosen_makes_no_part(tmp_path: Path) -> None:
    pipeline = Taking(tmp_path)
    pipeline.box.waiting[:] = [pipeline.answer("elsewhere")]
    pipeline.play(10, SPEECH)
    pipeline.play(END, SILENCE)

    assert not pipeline.taken
    assert pipeline.ends() == ["elsewhere"]


def test_after_a_part_an_interrupted_command_has_an_unknown_end(pipeline: Taking) -> None:
    pipeline.play(10, SPEECH)
    pipeline.play(PAUSE, SILENCE)
    pipeline.gap(GapReason.OVERRUN)

    assert pipeline.ends() == ["unknown"]


def test_mute_removes_a_part_that_send_has_not_taken(tmp_path: Path) -> None:
    pipeline = VoiceFixture(
        tmp_path, Wake("alexa", 0.9, FIRST * FRAME_SAMPLES, 0.5), settings=WITH_PARTS
    )
    pipeline.play(FIRST)
    pipeline.arrive(pipeline.answer())
    pipeline.play(10, SPEECH)
    pipeline.play(PAUSE, SILENCE)
    assert len(pipeline.files()) == 1

    pipeline.gap(GapReason.MUTED)
    pipeline.play(20, SILENCE)

    assert pipeline.files() == []
    assert pipeline.statuses()[-1].copies == 0
    assert pipeline.ends() == ["muted"]


def test_part_that_waits_leaves_the_last_part_its_place(tmp_path: Path) -> None:
    pipeline = VoiceFixture(
        tmp_path, Wake("alexa", 0.9, FIRST * FRAME_SAMPLES, 0.5), settings=WITH_PARTS
    )
    pipeline.play(FIRST)
    pipeline.arrive(pipeline.answer())
    for _ in range(3):
        pipeline.play(10, SPEECH)
        pipeline.play(PAUSE, SILENCE)
    pipeline.play(END, SILENCE)

    assert [(c.header.part, c.header.last) for c in pipeline.open_copies()] == [(1, 0), (3, 1)]
    assert pipeline.statuses()[-1].copies == 2


def test_part_that_is_being_sealed_displaces_no_clip_and_no_second_one_waits(
    tmp_path: Path,
) -> None:
    wakes = [Wake("alexa", 0.9, frame * FRAME_SAMPLES, 0.5) for frame in (FIRST, 80, 120)]
    pipeline = VoiceFixture(tmp_path, *wakes, settings=WITH_PARTS, is_blocking=False)
    is_sealed, may_go_on = threading.Event(), threading.Event()

    def hold() -> None:
        is_sealed.set()
        may_go_on.wait(10)

    pipeline.on_copy = hold
    pipeline.play(FIRST)
    pipeline.arrive(pipeline.answer())
    pipeline.play(10, SPEECH)
    pipeline.play(PAUSE, SILENCE)
    assert is_sealed.wait(10)

    pipeline.play(10, SPEECH)
    pipeline.play(80 - FIRST - 20 - PAUSE, SILENCE)
    pipeline.play(10, SPEECH)
    pipeline.play(30, SILENCE)
    may_go_on.set()
    pipeline.sealer.close()

    assert len(pipeline.spool.envelopes) == 2
    assert pipeline.counters.tally().sealed == 2
    assert [(c.header.part, c.header.last) for c in pipeline.open_copies()] == [(1, 0), (2, 1)]


STRETCHES = st.lists(
    st.tuples(st.integers(1, 12), st.sampled_from([SPEECH, SILENCE]), st.booleans()), max_size=12
)


@pytest.mark.timeout(300)  # six seconds on an idle core
@settings(deadline=None, max_examples=60)
@given(STRETCHES)
def test_any_speech_has_the_same_clip_with_parts_as_without(
    stretches: list[tuple[int, int, bool]],
) -> None:
    """Each stretch may begin with an outcome, which may arrive before there is any part."""
    found = []
    for is_on in (True, False):
        with TemporaryDirectory() as folder:
            pipeline = Taking(Path(folder), is_on=is_on)
            before_outcome = None
            for count, value, has_outcome in stretches:
                had = pipeline.numbers()
                if has_outcome:
                    pipeline.arrive(pipeline.outcome())
                pipeline.play(count, value)
                if had and before_outcome is not None:
                    assert pipeline.numbers() == before_outcome, "nothing after an outcome"
                if had and has_outcome and before_outcome is None:
                    before_outcome = pipeline.numbers()
            pipeline.play(20, SILENCE)
            numbers = pipeline.numbers()
            assert [part for part, _ in numbers] == sorted({part for part, _ in numbers})
            assert len(numbers) <= MOST_PARTS
            assert all(not last for _, last in numbers[:-1])
            if not is_on:
                assert all(last for _, last in numbers)
            found.append([pipeline.device.open(each).flac for each in pipeline.spool.envelopes])
    with_parts, without = found
    sounds = [
        [soundfile.read(io.BytesIO(flac), dtype="int16")[0].tolist() for flac in each]
        for each in (with_parts, without)
    ]
    assert sounds[0] == sounds[1]


def test_only_the_newest_part_of_an_ask_that_lies_ready_is_confirmed() -> None:
    now = Instant(1.0, 1.0)
    opened = OpenAsk("hall")
    opened.begin("0" * 32, now, now)
    key = "age1" + "q" * 58
    answer = Answer(ask="0" * 32, device="hall", key=key, verdict="speak")
    assert opened.take_answer(answer, lambda: True, now) is None
    assert opened.confirm_part(now) is None
    assert opened.grant_part(now) is not None
    assert opened.confirm_part(now) is None, "it is not laid"
    opened.lay_part("1" * 32, 1)
    assert opened.confirm_part(now) is None, "of another ask"
    opened.lay_part("0" * 32, 1)
    assert opened.confirm_part(Instant(1.0, 5.0)) is None, "the clock was set"
    assert opened.confirm_part(now) == 1
    assert opened.confirm_part(now) is None
    assert opened.grant_part(now) is not None
    assert opened.confirm_part(now) is None
    opened.lay_part("0" * 32, 2)
    assert opened.confirm_part(now) == 2
    assert opened.end()
    assert opened.confirm_part(now) is None


@example([(5, True), (4, False), (1, True), (4, False)])
@given(st.lists(st.tuples(st.integers(1, 25), st.booleans()), min_size=1, max_size=12))
def test_parts_of_a_clip_are_apart_and_one_for_each_pause(
    stretches: list[tuple[int, bool]],
) -> None:
    frames = [is_speech for count, is_speech in stretches for _ in range(count)]
    schedule, speech_end, due = PartSchedule(), 0, list[tuple[int, int]]()
    for number, is_speech in enumerate(frames, 1):
        now = number * FRAME_SAMPLES
        speech_end = now if is_speech else speech_end
        if schedule.is_due(now, speech_end):
            schedule.note(now, speech_end)
            due.append((now, speech_end))

    assert len(due) < MOST_PARTS
    assert all(now - end >= PAUSE_S * SAMPLE_RATE_HZ for now, end in due)
    for (first, first_end), (second, second_end) in itertools.pairwise(due):
        assert second - first >= PART_INTERVAL_S * SAMPLE_RATE_HZ
        assert second_end > first_end
