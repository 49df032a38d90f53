import pytest

from listener.ipc import notices
from listener.ipc.notices import LevelNotice, WordScore
from listener.monitor.state import FRESH_S, HearState


def level(up_s: float, cpu_s: float = 0.0, **words: float) -> LevelNotice:
    return LevelNotice(
        level_dbfs=-40,
        floor_dbfs=-60,
        words=tuple(
            WordScore(name=name, score=score, threshold=0.5) for name, score in words.items()
        ),
        mute="open",
        lamp="idle",
        cpu_s=cpu_s,
        up_s=up_s,
    )


def counters(**counts: int) -> notices.CountersNotice:
    tally = notices.Tally(device="hall", boot="0" * 16, seq=0, **counts)  # type: ignore[arg-type] # no count is called v
    return notices.sign_tally(tally, lambda _: bytes(64))


def test_hear_is_not_running_without_recent_levels() -> None:
    picture = HearState()
    assert not picture.is_current(0)

    picture.update(level(1), 100)

    assert picture.is_current(100 + FRESH_S * 0.9)
    assert not picture.is_current(100 + FRESH_S)


def test_stopped_notice_takes_effect_at_once() -> None:
    picture = HearState()
    picture.update(level(1), 100)

    picture.update(notices.StoppedNotice(), 100)

    assert not picture.is_current(100)


def test_cpu_usage_is_of_the_last_seconds() -> None:
    picture = HearState()
    assert picture.cpu_percent is None
    picture.update(level(10, 5), 0)
    assert picture.cpu_percent == 50  # since its start, for want of better

    for second in range(1, 20):
        picture.update(level(10 + second, 5 + second * 0.03), second)

    assert picture.cpu_percent == pytest.approx(3)


def test_words_keep_their_order() -> None:
    picture = HearState()

    picture.update(level(1, alexa=0.1, timer=0.2), 0)
    picture.update(level(1, weather=0.3), 0)
    picture.update(level(1.2, alexa=0.4, timer=0.5), 0)

    assert [(word.name, word.score) for word in picture.words.values()] == [
        ("alexa", 0.4),
        ("timer", 0.5),
        ("weather", 0.3),
    ]


def test_every_notice_updates_the_state() -> None:
    picture = HearState()
    lost = notices.MicrophoneNotice(state="lost", cause="busy", losses=1)

    for notice in (
        notices.StartedNotice(),
        level(1, alexa=0.1),
        notices.WakeNotice(word="alexa", score=0.9),
        notices.SpooledNotice(),
        lost,
        counters(wakes=3),
        notices.MuteNotice(state="software"),
    ):
        picture.update(notice, 7)

    assert picture.detection is not None
    assert (picture.detection.kind, picture.detection.word, picture.detection.at_s) == (
        "wake",
        "alexa",
        7,
    )
    assert picture.microphone == lost
    assert picture.tally is not None
    assert picture.tally.wakes == 3
    assert picture.mute == "software"

    picture.update(notices.NearMissNotice(word="alexa", score=0.3), 8)
    assert picture.detection.kind == "near_miss"


def test_restart_of_hear_resets_the_state() -> None:
    picture = HearState()
    picture.update(level(50, 9, alexa=0.1), 0)
    picture.update(counters(wakes=3), 0)
    picture.update(notices.WakeNotice(word="alexa", score=0.9), 0)

    picture.update(level(0.5, 0.1, timer=0.2), 3)

    assert list(picture.words) == ["timer"]
    assert (picture.tally, picture.detection, picture.up_s) == (None, None, 0.5)
