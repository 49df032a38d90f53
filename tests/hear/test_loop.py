import io
from collections.abc import Iterator

import numpy as np
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.audio.pcm import FRAME_SAMPLES, Frame, Gap, GapReason, Sound
from listener.config import ClipSettings
from listener.hear import events
from listener.hear.sealer import BUFFERS
from listener.ipc import notices
from listener.wakeword.detector import NearMiss, Wake
from tests.fakes import told
from tests.hear.pipeline_fixture import PipelineFixture

LOUD, QUIET = 5_000, 3


def wake_at(frame: int) -> Wake:
    """A wake at the end of that frame, counted from 1."""
    return Wake("alexa", 0.9, frame * FRAME_SAMPLES, 0.5)


def said(loud: int, quiet: int, first_frame: int = 0) -> list[Frame]:
    at = first_frame * FRAME_SAMPLES
    return told(loud, at, LOUD) + told(quiet, at + loud * FRAME_SAMPLES, QUIET)


def end_of(frames: list[Frame]) -> int:
    return frames[-1].end_sample


def hear(pipeline: PipelineFixture, *sounds: Sound) -> None:
    pipeline.loop.listen(sounds, alive=bool)
    pipeline.sealer.close()


def test_wake_and_speech_are_sealed_and_the_rest_discarded() -> None:
    pipeline = PipelineFixture(wake_at(30))
    frames = told(20, value=QUIET) + said(25, 30, 20)

    hear(pipeline, *frames, Gap(GapReason.END, end_of(frames)))

    assert pipeline.kinds() == ["WakeEvent", "SealedEvent"]
    opened = pipeline.device.open(pipeline.spool.envelopes[0])
    with soundfile.SoundFile(io.BytesIO(opened.flac)) as file:
        sound = file.read(dtype="int16")
    everything = np.concatenate([frame.samples for frame in frames])
    first = 30 * FRAME_SAMPLES - 24_000
    assert (sound == everything[first : first + len(sound)]).all()
    tally = pipeline.counters.tally()
    assert tally.sealed_samples == len(sound)
    assert tally.discarded_samples == len(everything) - len(sound)
    assert (tally.held_samples, tally.wakes) == (0, 1)
    # 20 + 25 frames until the last loud one; the clip began earlier and now() is its end's time.
    assert opened.header.t < "2026-03-04T05:06:07.000Z"


def test_wake_inside_a_clip_is_counted_without_a_second_clip() -> None:
    pipeline = PipelineFixture(wake_at(10), wake_at(40))
    frames = said(50, 30)

    hear(pipeline, *frames, Gap(GapReason.END, end_of(frames)))

    assert pipeline.kinds() == ["WakeEvent", "WakeEvent", "SealedEvent"]
    assert pipeline.counters.tally().wakes == 2


def test_near_miss_is_published_without_a_clip() -> None:
    pipeline = PipelineFixture(NearMiss("alexa", 0.4, 5 * FRAME_SAMPLES))

    hear(pipeline, *said(5, 5))

    assert pipeline.kinds() == ["NearMissEvent"]
    assert pipeline.post.notices == [notices.NearMissNotice(word="alexa", score=0.4)]


def test_mute_during_a_clip_wipes_all_plaintext() -> None:
    pipeline = PipelineFixture(wake_at(10))
    frames = said(20, 0)
    mute = Gap(GapReason.MUTED, end_of(frames), 1_280)

    def sounds() -> Iterator[Sound]:
        yield from frames
        yield mute
        assert not pipeline.ring_memory.any(), "the ring is wiped before the next sound"
        assert pipeline.free_buffers() == BUFFERS
        assert pipeline.speech.resets > 1
        yield Gap(GapReason.MUTED, mute.first_sample + 1_280, 1_280)
        yield from told(2, mute.first_sample + 2_560, QUIET)

    hear(pipeline, *[])
    pipeline = PipelineFixture(wake_at(10))
    pipeline.loop.listen(sounds(), alive=bool)
    pipeline.sealer.close()

    assert pipeline.kinds() == ["WakeEvent", "NotKeptEvent", "MutedEvent", "UnmutedEvent"]
    muted, unmuted = pipeline.events[2:]
    assert isinstance(muted, events.MutedEvent)
    assert isinstance(unmuted, events.UnmutedEvent)
    assert (muted.time_s, unmuted.time_s, unmuted.muted_s) == (1.6, 1.76, 0.16)
    assert pipeline.post.notices[-2:] == [
        notices.MuteNotice(state="hardware"),
        notices.MuteNotice(state="open"),
    ]
    assert pipeline.spool.envelopes == []
    assert pipeline.detector.gaps == 1, "a second gap changes nothing"
    tally = pipeline.counters.tally()
    assert (tally.abandoned, tally.muted_samples, tally.sealed_samples) == (1, 2_560, 0)


def test_lost_device_abandons_the_clip_and_is_published() -> None:
    pipeline = PipelineFixture(wake_at(10))
    frames = said(20, 0)

    hear(pipeline, *frames, Gap(GapReason.LOST, end_of(frames)))

    assert pipeline.kinds() == ["WakeEvent", "NotKeptEvent", "InterruptedEvent"]
    assert pipeline.spool.envelopes == []


def test_device_loss_is_published_once_per_loss() -> None:
    pipeline = PipelineFixture()
    lost = [Gap(GapReason.LOST, at * FRAME_SAMPLES, FRAME_SAMPLES) for at in range(2, 5)]

    hear(pipeline, *told(2), *lost, *told(1, 5 * FRAME_SAMPLES), Gap(GapReason.LOST, 7_680))

    assert pipeline.kinds() == ["InterruptedEvent", "InterruptedEvent"]
    assert pipeline.detector.gaps == 2
    tally = pipeline.counters.tally()
    assert tally.heard_samples == tally.discarded_samples == 3 * FRAME_SAMPLES
    assert tally.muted_samples == 0


def test_end_of_a_recording_finishes_the_clip() -> None:
    pipeline = PipelineFixture(wake_at(10))
    frames = said(20, 0)

    hear(pipeline, *frames, Gap(GapReason.START, end_of(frames)), *told(1, end_of(frames)))

    (sealed,) = [event for event in pipeline.events if isinstance(event, events.SealedEvent)]
    assert sealed.end_reason == "end"


def test_stop_during_a_clip_wipes_all_plaintext() -> None:
    pipeline = PipelineFixture(wake_at(10))

    hear(pipeline, *said(20, 0))

    assert pipeline.kinds() == ["WakeEvent", "NotKeptEvent"]
    assert not pipeline.ring_memory.any()
    assert pipeline.free_buffers() == BUFFERS
    assert pipeline.counters.tally().held_samples == 0


def test_wake_without_a_free_buffer_is_counted_as_abandoned() -> None:
    pipeline = PipelineFixture(wake_at(10))
    taken = [pipeline.buffers.take() for _ in range(BUFFERS)]

    hear(pipeline, *said(20, 0))

    assert len(taken) == BUFFERS
    assert pipeline.kinds() == ["WakeEvent", "NotKeptEvent"]
    assert pipeline.counters.tally().abandoned == 1


def test_signed_counters_are_sent_every_minute() -> None:
    pipeline = PipelineFixture()

    def sounds() -> Iterator[Sound]:
        for frame in said(4, 0):
            yield frame
            pipeline.clock_s += 31

    pipeline.loop.listen(sounds(), alive=bool)
    pipeline.sealer.close()

    counted = [n for n in pipeline.post.notices if isinstance(n, notices.CountersNotice)]
    assert [n.tally.heard_samples for n in counted] == [3 * FRAME_SAMPLES]


def test_watchdog_is_called_for_every_frame_and_gap() -> None:
    pipeline = PipelineFixture()
    beats: list[int] = []

    pipeline.loop.listen(
        [*said(3, 0), Gap(GapReason.MUTED, 3 * FRAME_SAMPLES, 1_280)], lambda: beats.append(1)
    )

    assert len(beats) == 4
    pipeline.sealer.close()


@settings(max_examples=40)
@given(st.data())
def test_counters_add_up_and_no_plaintext_is_left(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 120))
    wakes = [wake_at(n) for n in data.draw(st.lists(st.integers(1, 200), max_size=6))]
    pipeline = PipelineFixture(*wakes, settings=ClipSettings(longest_s=2, no_speech_s=0.5))
    sounds: list[Sound] = []
    at = 0
    for _ in range(count):
        reason = data.draw(st.sampled_from([None] * 12 + [*GapReason]))
        if reason is None:
            sounds += told(1, at, data.draw(st.sampled_from([LOUD, QUIET])))
            at += FRAME_SAMPLES
        else:
            sounds.append(Gap(reason, at, 1_000, 7))
            at += 1_000

    def watched() -> Iterator[Sound]:
        for sound in sounds:
            yield sound
            tally = pipeline.counters.tally()
            assert tally.heard_samples == (
                tally.discarded_samples + tally.sealed_samples + tally.held_samples
            )

    pipeline.loop.listen(watched(), alive=bool)
    pipeline.sealer.close()

    tally = pipeline.counters.tally()
    frames = sum(isinstance(sound, Frame) for sound in sounds)
    assert tally.heard_samples == frames * FRAME_SAMPLES + 7 * (len(sounds) - frames)
    assert tally.held_samples == 0
    assert tally.sealed == len(pipeline.spool.envelopes)
    assert pipeline.free_buffers() == BUFFERS
    assert not pipeline.ring_memory.any()
