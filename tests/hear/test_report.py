import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener import notices
from listener.hear import report
from listener.hear.herald import Herald
from listener.hear.microphone.records import Cause
from listener.sound.pcm import GapReason
from tests.fakes import FakePost

EVENTS: tuple[report.Event, ...] = (
    report.Started(
        files=("scène.flac",),
        device=None,
        words=("alexa",),
        thresholds={"alexa": 0.5},
        keeper="ada",
        switch="none",
        fast=False,
    ),
    report.Wake(time_s=12.48, word="alexa", score=0.97),
    report.NearMiss(time_s=1.0, word="alexa", score=0.3),
    report.Sealed(
        time_s=11.0,
        length_s=3.2,
        word="alexa",
        owner="ada",
        clip="972f65a6-2da0-4f23-938c-f28584275226",
        seq=1,
        bytes=70_900,
        end_reason="silence",
    ),
    report.NotKept(time_s=1.0, reason="muted"),
    report.Muted(time_s=40.0, cause="hardware"),
    report.Unmuted(time_s=50.0, muted_s=10.0),
    report.Interrupted(time_s=3.0, reason=GapReason.START),
    report.MicrophoneOpen(time_s=0.0, rate_hz=48_000, channels=2),
    report.MicrophoneLost(time_s=4.0, cause=Cause.GONE),
    report.Ended(
        heard_s=50.0,
        discarded_s=46.8,
        sealed_s=3.2,
        muted_s=10.0,
        wakes=1,
        near_misses=1,
        sealed=1,
        unattributed=0,
        abandoned=0,
        lost=0,
        broken=0,
        losses=0,
        overruns=0,
    ),
)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_event_is_one_line_of_json_and_comes_back(event: report.Event) -> None:
    line = report.to_json(event)

    assert "\n" not in line
    assert report.from_json(line) == event
    assert msgspec.json.decode(line)["event"]


def test_every_event_has_its_words_for_people() -> None:
    lines = [report.to_text(event) for event in EVENTS]

    assert lines[0] == (
        "hear     scène.flac in real time; no mute switch; listens for alexa; keeper ada"
    )
    assert lines[1] == "wake        12.48 s  alexa  0.97"
    assert lines[-1] == (
        "total    heard 50.00 s: 46.80 s thrown away, 3.20 s sealed in 1 clip; muted 10.00 s"
    )
    assert len(set(lines)) == len(lines)


@given(st.binary(max_size=200))
def test_what_is_no_event_is_refused_with_one_error(data: bytes) -> None:
    try:
        report.from_json(data)
    except ValueError as error:
        assert "not an event" in str(error)  # noqa: PT017 - any bytes, mostly none


def test_fields_that_nobody_knows_are_refused() -> None:
    with pytest.raises(ValueError, match="not an event"):
        report.from_json('{"event":"muted","time_s":1,"cause":"hardware","sound":"aGVsbG8="}')


def test_more_thresholds_than_fit_a_notice_are_left_out() -> None:
    many = {"a" * 31 + str(number): 0.123456789012345678 for number in range(7)}
    some = dict(list(many.items())[:6])
    post = FakePost()
    herald = Herald(bool, post, lambda _: b"0" * 64, on_nobody_reads=bool)

    for thresholds in (some, many):
        started = report.Started(
            files=(),
            device=None,
            words=(),
            thresholds=thresholds,
            keeper="ada",
            switch="none",
            fast=False,
        )
        herald.tell(started)

    assert post.notices == [
        notices.Started(thresholds=some, switch="none"),
        notices.Started(switch="none"),
    ]
    assert len(notices.encode(post.notices[0])) <= notices.LONGEST_BYTES


def test_only_what_send_may_know_becomes_a_notice() -> None:
    post = FakePost()
    herald = Herald(bool, post, lambda _: b"0" * 64, on_nobody_reads=bool)

    for event in EVENTS:
        herald.tell(event)

    assert post.notices == [
        notices.Started(thresholds={"alexa": 0.5}, switch="none"),
        notices.Wake(word="alexa", score=0.97),
        notices.NearMiss(word="alexa", score=0.3),
        notices.Spooled(),
        notices.Mute(state="hardware"),
        notices.Mute(state="open"),
        notices.Microphone(state="open"),
        notices.Microphone(state="lost", cause="gone", losses=1),
        notices.Stopped(),
    ]


def test_losses_are_counted_once_and_overruns_each() -> None:
    post = FakePost()
    herald = Herald(bool, post, lambda _: b"0" * 64, on_nobody_reads=bool)
    overrun = report.Interrupted(time_s=2.0, reason=GapReason.OVERRUN)

    herald.tell(overrun)  # of a recording: there is no device
    herald.tell(report.MicrophoneOpen(time_s=0.0, rate_hz=16_000, channels=1))
    herald.tell(overrun)
    herald.tell(overrun)
    for cause in (Cause.GONE, Cause.MISSING):
        herald.tell(report.MicrophoneLost(time_s=4.0, cause=cause))
    herald.tell(report.MicrophoneOpen(time_s=9.0, rate_hz=16_000, channels=1))

    assert (herald.losses, herald.overruns) == (1, 2)
    assert post.notices[-1] == notices.Microphone(state="open", losses=1, overruns=2)
    assert len(post.notices) == 6


def test_a_device_that_was_never_there_is_lost_too() -> None:
    post = FakePost()
    herald = Herald(bool, post, lambda _: b"0" * 64, on_nobody_reads=bool)

    herald.tell(report.MicrophoneLost(time_s=0.0, cause=Cause.MISSING))

    assert post.notices == [notices.Microphone(state="lost", cause="missing", losses=1)]


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_has_words_and_fits_a_notice(cause: Cause) -> None:
    notice = notices.Microphone(
        state="lost", cause=cause.value, losses=999_999_999, overruns=999_999_999
    )

    assert report.CAUSES[cause]
    assert notices.decode(notices.encode(notice)) == notice


def test_a_device_is_named_where_no_recording_is() -> None:
    started = msgspec.structs.replace(EVENTS[0], files=(), device="usb mic", switch="input")

    assert report.to_text(started) == (
        "hear     usb mic; mute switch: input; listens for alexa; keeper ada"
    )


def test_a_reader_who_left_is_said_once_and_notices_go_on() -> None:
    post, asked = FakePost(), list[int]()

    def closed(event: report.Event) -> None:
        del event
        raise BrokenPipeError

    herald = Herald(closed, post, lambda _: b"0" * 64, on_nobody_reads=lambda: asked.append(1))
    herald.tell(report.Muted(time_s=1.0, cause="hardware"))
    herald.tell(report.Unmuted(time_s=2.0, muted_s=1.0))

    assert herald.is_unread
    assert asked == [1]
    assert len(post.notices) == 2
