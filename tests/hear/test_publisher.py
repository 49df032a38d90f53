import pytest

from listener.audio.pcm import GapReason
from listener.hear import events
from listener.hear.microphone.protocol import Cause
from listener.hear.publisher import EventPublisher
from listener.ipc import notices
from tests.fakes import FakePost
from tests.hear.events import EVENTS


def test_thresholds_too_large_for_a_notice_are_omitted() -> None:
    many = {"a" * 31 + str(number): 0.123456789012345678 for number in range(7)}
    some = dict(list(many.items())[:6])
    post = FakePost()
    herald = EventPublisher(bool, post, lambda _: b"0" * 64, on_reader_gone=bool)

    for thresholds in (some, many):
        started = events.StartedEvent(
            files=(),
            device=None,
            words=(),
            thresholds=thresholds,
            keeper="ada",
            switch="none",
            fast=False,
        )
        herald.publish(started)

    assert post.notices == [
        notices.StartedNotice(thresholds=some, switch="none"),
        notices.StartedNotice(switch="none"),
    ]
    assert len(notices.encode(post.notices[0])) <= notices.LONGEST_BYTES


def test_notices_contain_only_allowed_data() -> None:
    post = FakePost()
    herald = EventPublisher(bool, post, lambda _: b"0" * 64, on_reader_gone=bool)

    for event in EVENTS:
        herald.publish(event)

    assert post.notices == [
        notices.StartedNotice(thresholds={"alexa": 0.5}, switch="none"),
        notices.WakeNotice(word="alexa", score=0.97),
        notices.NearMissNotice(word="alexa", score=0.3),
        notices.SpooledNotice(),
        notices.MuteNotice(state="hardware"),
        notices.MuteNotice(state="open"),
        notices.MicrophoneNotice(state="open"),
        notices.MicrophoneNotice(state="lost", cause="gone", losses=1),
        notices.StoppedNotice(),
    ]


def test_losses_and_overruns_are_counted() -> None:
    post = FakePost()
    herald = EventPublisher(bool, post, lambda _: b"0" * 64, on_reader_gone=bool)
    overrun = events.InterruptedEvent(time_s=2.0, reason=GapReason.OVERRUN)

    herald.publish(overrun)  # of a recording: there is no device
    herald.publish(events.MicrophoneOpenEvent(time_s=0.0, rate_hz=16_000, channels=1))
    herald.publish(overrun)
    herald.publish(overrun)
    for cause in (Cause.GONE, Cause.MISSING):
        herald.publish(events.MicrophoneLostEvent(time_s=4.0, cause=cause))
    herald.publish(events.MicrophoneOpenEvent(time_s=9.0, rate_hz=16_000, channels=1))

    assert (herald.losses, herald.overruns) == (1, 2)
    assert post.notices[-1] == notices.MicrophoneNotice(state="open", losses=1, overruns=2)
    assert len(post.notices) == 6


def test_device_missing_at_start_counts_as_lost() -> None:
    post = FakePost()
    herald = EventPublisher(bool, post, lambda _: b"0" * 64, on_reader_gone=bool)

    herald.publish(events.MicrophoneLostEvent(time_s=0.0, cause=Cause.MISSING))

    assert post.notices == [notices.MicrophoneNotice(state="lost", cause="missing", losses=1)]


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_fits_a_notice(cause: Cause) -> None:
    notice = notices.MicrophoneNotice(
        state="lost", cause=cause.value, losses=999_999_999, overruns=999_999_999
    )

    assert notices.decode(notices.encode(notice)) == notice


def test_closed_reader_is_reported_once_and_notices_continue() -> None:
    post, asked = FakePost(), list[int]()

    def closed(event: events.Event) -> None:
        del event
        raise BrokenPipeError

    herald = EventPublisher(
        closed, post, lambda _: b"0" * 64, on_reader_gone=lambda: asked.append(1)
    )
    herald.publish(events.MutedEvent(time_s=1.0, cause="hardware"))
    herald.publish(events.UnmutedEvent(time_s=2.0, muted_s=1.0))

    assert herald.is_unread
    assert asked == [1]
    assert len(post.notices) == 2


def test_end_sends_counters_and_totals_in_seconds() -> None:
    post, told = FakePost(), list[events.Event]()
    herald = EventPublisher(told.append, post, lambda _: b"0" * 64, on_reader_gone=bool)
    herald.publish(events.MicrophoneLostEvent(time_s=0.0, cause=Cause.GONE))
    tally = notices.Tally(
        device="hall", boot="0" * 16, seq=3, heard_samples=32_000, discarded_samples=32_000, wakes=1
    )

    herald.publish_end(tally, broken=2)

    assert [type(notice) for notice in post.notices[1:]] == [
        notices.CountersNotice,
        notices.StoppedNotice,
    ]
    ended = told[-1]
    assert isinstance(ended, events.EndedEvent)
    assert (ended.heard_s, ended.discarded_s, ended.sealed_s) == (2.0, 2.0, 0.0)
    assert (ended.wakes, ended.broken, ended.losses) == (1, 2, 1)


def test_counts_of_voices_follow_the_counters_where_voices_are_compared() -> None:
    post, told = FakePost(), list[events.Event]()
    publisher = EventPublisher(told.append, post, lambda _: b"0" * 64, on_reader_gone=bool)
    tally = notices.Tally(device="hall", boot="0" * 16, seq=3)
    voices = notices.AttributionNotice(guests=2, unsure=1)

    publisher.send_counters(tally, voices)
    publisher.publish_end(tally, broken=0, voices=voices)
    publisher.publish_end(tally, broken=0)

    kinds = [type(notice) for notice in post.notices]
    counted = [notices.CountersNotice, notices.AttributionNotice]
    stopped = notices.StoppedNotice
    assert kinds == [*counted, *counted, stopped, notices.CountersNotice, stopped]
    with_voices, without = map(events.to_json, told)
    assert '"guests":2,"unsure":1,"bystanders":0' in with_voices
    assert not any(name in without for name in ("guests", "unsure", "bystanders"))
