"""What hear repeats for a send that missed it."""

from collections.abc import Callable, Sequence

import pytest

from listener.audio.pcm import FRAME_SAMPLES, Gap, GapReason, Sound
from listener.hear.state_feed import StateFeed
from listener.ipc import notices
from listener.ipc.notices import MuteState, StateNotice
from tests.fakes import FakePost, told


class Room:
    """A feed, with a frame or gap each second."""

    def __init__(self, sink: FakePost) -> None:
        self.now_s = 100.0
        self.cause: MuteState = "open"
        self.feed = StateFeed(sink, lambda: self.now_s)

    def listen(self, sounds: Sequence[Sound], after: Callable[[], object] = bool) -> None:
        for _ in self.feed.observe(sounds, lambda: self.cause):
            self.now_s += 1
            after()


def states(post: FakePost) -> list[StateNotice]:
    return [notice for notice in post.notices if isinstance(notice, StateNotice)]


def gap(reason: GapReason) -> Gap:
    return Gap(reason, 0, FRAME_SAMPLES)


def test_state_is_sent_with_the_first_sound_and_repeated() -> None:
    post = FakePost()
    room = Room(post)
    started = notices.StartedNotice(thresholds={"alexa": 0.5}, switch="gpio")
    opened = notices.MicrophoneNotice(state="open", losses=2, overruns=3)
    counted = notices.sign_tally(
        notices.Tally(device="hall", boot="0" * 16, seq=3), lambda _: b"s" * 64
    )
    for notice in (started, opened, counted):
        room.feed.send(notice)

    room.listen(told(10))

    state = StateNotice(
        mute="open",
        microphone="open",
        losses=2,
        overruns=3,
        thresholds={"alexa": 0.5},
        switch="gpio",
    )
    assert post.notices == [
        started,
        opened,
        counted,
        *[state, notices.DetectorNotice(), counted] * 2,
    ]


def test_detections_are_not_repeated() -> None:
    post = FakePost()
    room = Room(post)
    room.feed.send(notices.WakeNotice(word="alexa", score=0.9))

    room.listen(told(10))

    assert [type(notice) for notice in post.notices] == [
        notices.WakeNotice,
        *[StateNotice, notices.DetectorNotice] * 2,
    ]


@pytest.mark.parametrize("cause", ["hardware", "software", "fault"])
def test_mute_at_the_start_is_known_without_a_notice(cause: MuteState) -> None:
    for reason in (GapReason.MUTED, GapReason.LOST):
        post = FakePost()
        room = Room(post)
        room.cause = cause

        room.listen([gap(reason)])

        assert [state.mute for state in states(post)] == [cause]
        assert states(post)[0].microphone is None


def test_line_that_is_released_in_the_gap_counts_as_the_switch() -> None:
    post = FakePost()
    Room(post).listen([gap(GapReason.MUTED)])

    assert [state.mute for state in states(post)] == ["hardware"]


def test_frame_ends_the_mute() -> None:
    post = FakePost()
    room = Room(post)
    room.cause = "software"
    room.listen([gap(GapReason.MUTED)])
    room.feed.send(notices.MuteNotice(state="open"))

    room.listen(told(1))

    assert [state.mute for state in states(post)] == ["software", "open"]


def test_gap_between_recordings_changes_nothing() -> None:
    post = FakePost()
    room = Room(post)
    room.listen([gap(GapReason.START), *told(5), gap(GapReason.OVERRUN)])

    assert [(state.mute, state.microphone) for state in states(post)] == [
        (None, None),
        ("open", "open"),
    ]


def test_lost_microphone_is_repeated_until_it_opens() -> None:
    post = FakePost()
    room = Room(post)
    room.feed.send(notices.MicrophoneNotice(state="lost", cause="busy", losses=1))
    room.listen([gap(GapReason.LOST)])
    room.feed.send(notices.MicrophoneNotice(state="open", losses=1))
    room.listen(told(1))

    assert [state.microphone for state in states(post)] == ["busy", "open"]


def test_new_run_starts_without_a_state() -> None:
    post = FakePost()
    room = Room(post)
    room.feed.send(notices.MuteNotice(state="software"))
    room.feed.send(notices.StartedNotice(switch="none"))

    room.listen([gap(GapReason.START)])

    assert states(post) == [StateNotice(switch="none")]


def test_changed_thresholds_are_sent_within_a_second_and_no_more_often() -> None:
    post = FakePost()
    room = Room(post)
    room.feed.send(notices.StartedNotice(thresholds={"alexa": 0.5}))
    changes = iter([0.6, 0.7, 0.8])

    def change() -> None:
        room.now_s -= 0.75  # four sounds a second
        if (threshold := next(changes, None)) is not None:
            room.feed.set_thresholds({"alexa": threshold})

    room.listen(told(12), change)

    shown = [state.thresholds["alexa"] for state in states(post)]
    assert shown == [0.6, 0.8]


def test_state_of_the_detector_is_repeated_with_the_state() -> None:
    post = FakePost()
    room = Room(post)
    detector = notices.DetectorNotice(only="alexa", p99_ms=7.5, cpu_percent=12.0)

    for _ in room.feed.observe(told(1), lambda: "open", lambda: detector):
        pass

    assert [type(notice) for notice in post.notices] == [StateNotice, notices.DetectorNotice]
    assert post.notices[1] == detector
