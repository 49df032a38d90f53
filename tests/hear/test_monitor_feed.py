"""Levels and notices for a monitor of the same user only."""

import os
from collections import UserDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from listener.audio.pcm import FRAME_SAMPLES, Frame, Gap, GapReason, Samples, Sound
from listener.hear.monitor_feed import LEVEL_PAUSE_S, LOOK_PAUSE_S, MonitorFeed, Tee
from listener.ipc import notices
from listener.ipc.datagrams import Inbox
from listener.ipc.notice_socket import MONITOR_SOCKET
from listener.ipc.notices import LONGEST_BYTES, LampState, LevelNotice, MuteState, Shown

FRAME_S = 0.08


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Scores:
    """A detector that made this of the last frame."""

    def __init__(self, **thresholds: float) -> None:
        self.thresholds: Mapping[str, float] = thresholds or {"alexa": 0.5}
        self.scores: Mapping[str, float] = {}


class Monitor:
    """Takes what it is told."""

    def __init__(self, home: Path) -> None:
        self._inbox = Inbox(home / MONITOR_SOCKET, LONGEST_BYTES)
        self._told: list[Shown] = []

    def read(self) -> None:
        """Take what waits: the kernel keeps only a few datagrams."""
        self._told += [notices.decode_for_monitor(data) for data in self._inbox.receive()]

    def told(self) -> list[Shown]:
        self.read()
        return self._told

    def levels(self) -> list[LevelNotice]:
        return [notice for notice in self.told() if isinstance(notice, LevelNotice)]

    def close(self) -> None:
        self._inbox.close()


class Room:
    """Sounds that take their time, heard through a `MonitorFeed`."""

    def __init__(self, home: Path) -> None:
        self.clock = Clock()
        self.detector = Scores()
        self.watching = MonitorFeed(home, self.clock, lambda: 1.25)
        self.mute: MuteState = "open"
        self.lamp: LampState = "idle"
        self.counted = 0
        self.after_each: Callable[[], object] = bool
        self._at = 0

    def frame(self, value: int = 0) -> Frame:
        samples: Samples = np.full(FRAME_SAMPLES, value, np.int16)
        samples[::2] *= -1  # so that it is a sound and no offset
        self._at += FRAME_SAMPLES
        return Frame(samples, self._at - FRAME_SAMPLES)

    def gap(self, reason: GapReason) -> Gap:
        self._at += FRAME_SAMPLES
        return Gap(reason, self._at - FRAME_SAMPLES, FRAME_SAMPLES)

    def hear(self, *sounds: Sound, judge: Callable[[Sound], object] = bool) -> list[Sound]:
        passed = []
        for sound in self.watching.observe(
            self._passing(sounds),
            detector=self.detector,
            count=self._count,
            mute=lambda: self.mute,
            lamp=lambda: self.lamp,
        ):
            judge(sound)
            passed.append(sound)
        return passed

    def _passing(self, sounds: tuple[Sound, ...]) -> Iterator[Sound]:
        for sound in sounds:
            self.clock.now_s += FRAME_S
            self.after_each()
            yield sound

    def _count(self) -> notices.CountersNotice:
        self.counted += 1
        tally = notices.Tally(device="hall", boot="0" * 16, seq=0)
        return notices.sign_tally(tally, lambda _: bytes(64))


@pytest.fixture
def room(home: Path) -> Iterator[Room]:
    made = Room(home)
    yield made
    made.watching.close()


@pytest.fixture
def monitor(room: Room, home: Path) -> Iterator[Monitor]:
    made = Monitor(home)
    room.after_each = made.read
    yield made
    made.close()


def test_frames_and_gaps_pass_with_and_without_a_monitor(room: Room, home: Path) -> None:
    alone: list[Sound] = [room.frame(), room.gap(GapReason.LOST), room.frame()]
    assert room.hear(*alone) == alone
    monitor = Monitor(home)

    watched: list[Sound] = [room.frame(), room.gap(GapReason.MUTED), room.frame()]

    assert room.hear(*watched) == watched
    monitor.close()


def test_levels_are_sent_about_five_times_a_second(room: Room, monitor: Monitor) -> None:
    room.hear(*[room.frame(1000) for _ in range(50)])

    assert len(monitor.levels()) == pytest.approx(50 * FRAME_S / LEVEL_PAUSE_S, rel=0.25)


def test_level_is_the_peak_and_floor_the_minimum(room: Room, monitor: Monitor) -> None:
    room.hear(*[room.frame(33) for _ in range(30)], room.frame(32_767), room.frame(33))
    room.hear(*[room.frame(33) for _ in range(4)])

    levels = [level.level_dbfs for level in monitor.levels()]

    assert set(levels) == {-60, 0}


def test_level_is_measured_before_the_frame_is_wiped(room: Room, monitor: Monitor) -> None:
    def judge(sound: Sound) -> None:
        # The detector's scores are of this frame once it was judged, not before.
        room.detector.scores = {"alexa": 0.875 if isinstance(sound, Frame) else 0.0}

    room.hear(room.frame(3277), judge=judge)

    (level,) = monitor.levels()
    assert (level.level_dbfs, level.floor_dbfs) == (-20, -20)
    assert [(word.name, word.score) for word in level.words] == [("alexa", 0.875)]


def test_peak_between_two_levels_is_included(room: Room, monitor: Monitor) -> None:
    scores = iter([0.0, 0.9, 0.1, 0.2])
    room.hear(
        *[room.frame() for _ in range(4)],
        judge=lambda _: setattr(room.detector, "scores", {"alexa": next(scores)}),
    )

    assert [level.words[0].score for level in monitor.levels()] == [0.0, 0.9]


def test_missing_scores_count_as_zero(room: Room, monitor: Monitor) -> None:
    room.detector.scores = {}

    room.hear(room.frame())

    assert monitor.levels()[0].words[0].score == 0


def test_silence_has_the_lowest_level_and_a_gap_has_none(room: Room, monitor: Monitor) -> None:
    room.hear(room.frame(0), *[room.gap(GapReason.LOST) for _ in range(3)])

    assert [(level.level_dbfs, level.floor_dbfs) for level in monitor.levels()] == [
        (-96, -96),
        (None, None),
    ]


def test_mute_cause_is_sent_while_muted(room: Room, monitor: Monitor) -> None:
    room.mute, room.lamp = "software", "muted"

    room.hear(room.gap(GapReason.MUTED), *[room.frame() for _ in range(3)])

    assert [level.mute for level in monitor.levels()] == ["software", "open"]


def test_excess_words_are_sent_in_another_notice(room: Room, monitor: Monitor) -> None:
    room.detector = Scores(**{f"word-{n}": 0.5 for n in range(7)})

    room.hear(room.frame())

    assert [len(level.words) for level in monitor.levels()] == [3, 3, 1]


def test_counters_and_microphone_state_are_sent_every_second(room: Room, monitor: Monitor) -> None:
    lost = notices.MicrophoneNotice(state="lost", cause="busy", losses=2)
    room.watching.send(lost)

    room.hear(*[room.frame() for _ in range(26)])

    told = monitor.told()
    assert sum(isinstance(notice, notices.CountersNotice) for notice in told) == 2
    assert told.count(lost) == 2


def test_notices_are_sent_while_a_monitor_runs(room: Room, monitor: Monitor) -> None:
    wake = notices.WakeNotice(word="alexa", score=0.75)
    assert not room.watching.send(wake)
    room.hear(room.frame())

    assert room.watching.send(wake)

    assert monitor.told().count(wake) == 1


def test_monitor_is_searched_at_most_once_a_second(room: Room, home: Path) -> None:
    room.hear(*[room.frame() for _ in range(25)])
    monitor = Monitor(home)

    room.hear(*[room.frame() for _ in range(round(LOOK_PAUSE_S / FRAME_S) + 1)])

    assert 1 <= len(monitor.levels()) <= LOOK_PAUSE_S / LEVEL_PAUSE_S
    assert room.counted > 0
    monitor.close()


def test_nothing_is_measured_without_a_monitor(room: Room) -> None:
    asked = list[None]()
    room.hear(
        *[room.frame() for _ in range(25)],
        judge=lambda _: setattr(room.detector, "scores", _Watched(asked)),
    )

    assert room.counted == 0
    assert asked == []


class _Watched(UserDict[str, float]):
    """Scores that know when they are read."""

    def __init__(self, asked: list[None]) -> None:
        super().__init__(alexa=0.5)
        self._asked = asked

    def __iter__(self) -> Iterator[str]:
        self._asked.append(None)
        return super().__iter__()


def test_monitor_can_stop_and_start_again(room: Room, home: Path) -> None:
    first = Monitor(home)
    room.hear(room.frame())
    first.close()
    room.hear(*[room.frame() for _ in range(4)])
    second = Monitor(home)

    room.hear(*[room.frame() for _ in range(round(LOOK_PAUSE_S / FRAME_S) + 1)])

    assert second.levels() != []
    second.close()


def test_monitor_that_does_not_read_does_not_block(room: Room, monitor: Monitor) -> None:
    room.after_each = bool
    sounds: list[Sound] = [room.frame() for _ in range(30_000)]

    assert len(room.hear(*sounds)) == len(sounds)

    assert 0 < len(monitor.told()) < 3_000


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_socket_of_another_user_receives_nothing(room: Room, home: Path) -> None:
    monitor = Monitor(home)
    os.chown(home / MONITOR_SOCKET, os.geteuid() + 1, -1)

    room.hear(*[room.frame() for _ in range(30)])

    assert monitor.told() == []
    monitor.close()


def test_unreadable_home_is_ignored() -> None:
    room = Room(Path("/" + "n" * 300))
    sounds: list[Sound] = [room.frame() for _ in range(30)]

    assert room.hear(*sounds) == sounds
    room.watching.close()


def test_tee_sends_every_notice_to_both_sinks() -> None:
    class Post:
        def __init__(self, *, takes: bool) -> None:
            self.takes, self.got = takes, list[Shown]()

        def send(self, notice: Shown) -> bool:
            self.got.append(notice)
            return self.takes

    for takes in ((True, False), (False, True), (False, False), (True, True)):
        first, second = Post(takes=takes[0]), Post(takes=takes[1])

        assert Tee(first, second).send(notices.SpooledNotice()) is any(takes)

        assert first.got == second.got == [notices.SpooledNotice()]
