import io
import logging
import threading

import numpy as np
import pytest
import soundfile

from listener.audio.clip import Clip
from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ
from listener.errors import Unavailable
from listener.hear import events
from listener.hear.sealer import BUFFERS, LONGEST_S, CapturedClip, Sealer, seal_clip
from listener.ipc.notices import SpooledNotice
from listener.owner.attribution import AttributionResult, NoOwner
from tests.fakes import told
from tests.hear.pipeline_fixture import BOOT, LENGTH, PipelineFixture, SpoolBarrier


def test_clip_is_sealed_to_its_owner_spooled_and_published() -> None:
    pipeline = PipelineFixture()

    pipeline.sealer.offer(pipeline.capture())
    pipeline.sealer.close()

    (envelope,) = pipeline.spool.envelopes
    assert pipeline.device.open(envelope).header.owner == "ada"
    (told,) = pipeline.events
    assert isinstance(told, events.SealedEvent)
    assert (told.owner, told.bytes, told.seq) == ("ada", len(envelope), 1)
    assert pipeline.post.notices == [SpooledNotice()]
    assert pipeline.free_buffers() == BUFFERS


@pytest.mark.parametrize("keeper", ["nobody", "bo"])
def test_clip_without_an_active_owner_is_discarded(keeper: str) -> None:
    pipeline = PipelineFixture(keeper=keeper)
    device = pipeline.device
    device.roster = device.roster.with_owner("bo", "age1" + _other_recipient())

    pipeline.sealer.offer(pipeline.capture())
    pipeline.sealer.close()

    assert pipeline.spool.envelopes == []
    assert pipeline.counters.tally().unattributed == 1
    assert pipeline.kinds() == ["NotKeptEvent"]
    assert pipeline.free_buffers() == BUFFERS


def _other_recipient() -> str:
    return str(PipelineFixture().device.identity.to_public()).removeprefix("age1")


def test_full_spool_loses_the_clip_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    pipeline = PipelineFixture()
    pipeline.spool.fill()

    with caplog.at_level(logging.ERROR):
        pipeline.sealer.offer(pipeline.capture())
        pipeline.sealer.close()

    assert pipeline.counters.tally().lost == 1
    assert pipeline.kinds() == ["NotKeptEvent"]
    assert caplog.messages == ["a clip is lost: the spool is full; make room"]
    assert pipeline.free_buffers() == BUFFERS


def test_clip_after_a_full_spool_is_sealed_again() -> None:
    pipeline = PipelineFixture(is_blocking=False)
    barrier = SpoolBarrier(pipeline.spool)
    pipeline.spool.fill()
    pipeline.sealer.offer(pipeline.capture())
    barrier.wait_until_reached()

    barrier.open()
    pipeline.spool.call_before_put(pipeline.spool.make_room)
    pipeline.sealer.offer(pipeline.capture())
    pipeline.sealer.close()

    assert len(pipeline.spool.envelopes) >= 1
    tally = pipeline.counters.tally()
    assert tally.sealed + tally.lost == 2


def test_failed_disk_loses_the_clip_and_hear_continues() -> None:
    pipeline = PipelineFixture()
    pipeline.device.is_disk_gone = True

    pipeline.sealer.offer(pipeline.capture())
    pipeline.sealer.close()

    assert pipeline.counters.tally().lost == 1


def test_blocking_offer_returns_after_sealing() -> None:
    pipeline = PipelineFixture()

    pipeline.sealer.offer(pipeline.capture())
    sealed = pipeline.counters.tally().sealed
    pipeline.sealer.close()

    assert sealed == 1


def test_full_queue_wipes_the_clip_without_blocking() -> None:
    pipeline = PipelineFixture(is_blocking=False)
    barrier = SpoolBarrier(pipeline.spool)
    pipeline.sealer.offer(pipeline.capture())
    barrier.wait_until_reached()
    pipeline.sealer.offer(pipeline.capture())
    pipeline.sealer.offer(pipeline.capture())

    extra = pipeline.capture()
    pipeline.sealer.offer(extra)

    assert not extra.clip.samples.any(), "what finds no place must be wiped at once"
    assert [e.reason for e in pipeline.events if isinstance(e, events.NotKeptEvent)] == ["busy"]
    barrier.open()
    pipeline.sealer.close()
    assert (pipeline.counters.tally().sealed, pipeline.counters.tally().abandoned) == (3, 1)
    assert pipeline.free_buffers() == BUFFERS


def test_mute_wipes_queued_clips_but_not_sealed_ones() -> None:
    pipeline = PipelineFixture(is_blocking=False)
    barrier = SpoolBarrier(pipeline.spool)
    pipeline.sealer.offer(pipeline.capture())
    barrier.wait_until_reached()
    waiting = pipeline.capture()
    pipeline.sealer.offer(waiting)

    pipeline.sealer.wipe()

    assert not waiting.clip.samples.any()
    barrier.open()
    pipeline.sealer.close()
    tally = pipeline.counters.tally()
    assert (tally.sealed, tally.abandoned) == (1, 1)
    assert pipeline.free_buffers() == BUFFERS


def test_mute_during_sealing_discards_the_envelope() -> None:
    pipeline = PipelineFixture()
    one = pipeline.capture()
    pipeline.device.call_before_seq(pipeline.sealer.wipe)

    pipeline.sealer.offer(one)
    pipeline.sealer.close()

    assert pipeline.spool.envelopes == []
    assert not np.asarray(one.clip.samples).any()
    assert [e.reason for e in pipeline.events if isinstance(e, events.NotKeptEvent)] == ["muted"]
    assert pipeline.counters.tally().abandoned == 1


def test_unreadable_roster_leaves_the_clip_unattributed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pipeline = PipelineFixture()
    pipeline.device.lose_the_roster()

    pipeline.sealer.offer(pipeline.capture())
    pipeline.sealer.close()

    assert pipeline.counters.tally().unattributed == 1
    assert caplog.messages == ["cannot attribute a clip to an owner: the roster is damaged"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_offer_raises_after_the_sealer_thread_failed() -> None:
    pipeline = PipelineFixture()
    pipeline.device.call_before_seq(lambda: 1 // 0)
    pipeline.sealer.offer(pipeline.capture())
    pipeline.sealer.close()

    with pytest.raises(RuntimeError, match="ended unexpectedly"):
        pipeline.sealer.offer(pipeline.capture())


def made(pipeline: PipelineFixture, capture: CapturedClip) -> bytes:
    """Ada's envelope of a clip, with the number 7."""
    owner = pipeline.device.roster.owner("ada")
    assert owner is not None
    header, envelope = seal_clip(capture, AttributionResult(owner, None), pipeline.context, 7)
    assert pipeline.device.open(envelope).header == header
    return envelope


def test_envelope_has_all_header_and_private_fields() -> None:
    pipeline = PipelineFixture()
    one = pipeline.capture()

    opened = pipeline.device.open(made(pipeline, one))

    header, private = opened.header, opened.private
    assert (header.owner, header.device, header.seq, header.ttl_s) == ("ada", "speaker", 7, 86_400)
    assert header.t == "2026-03-04T05:06:07.000Z"
    assert (private.word, private.model, private.score) == ("alexa", "ab" * 32, 0.9877)
    assert (private.pre_ms, private.ms, private.rate) == (1_500, 2_000, SAMPLE_RATE_HZ)
    assert (private.end_reason, private.boot, private.spk) == ("no-speech", BOOT, None)
    with soundfile.SoundFile(io.BytesIO(opened.flac)) as file:
        assert (file.read(dtype="int16") == one.clip.samples).all()


def test_envelope_of_a_wiped_clip_contains_zeros() -> None:
    pipeline = PipelineFixture()
    one = pipeline.capture()
    pipeline.buffers.wipe(one.clip.samples)

    opened = pipeline.device.open(made(pipeline, one))

    with soundfile.SoundFile(io.BytesIO(opened.flac)) as file:
        assert not np.any(file.read(dtype="int16"))


def test_clip_that_is_not_encrypted_in_time_is_wiped_and_counted_at_once() -> None:
    """The sealer thread waits for the disk, without end."""
    pipeline = PipelineFixture(is_blocking=False)
    reached, resumed = threading.Event(), threading.Event()

    def hang() -> None:
        reached.set()
        assert resumed.wait(60)

    pipeline.device.call_before_seq(hang)
    first, second = pipeline.capture(), pipeline.capture()
    pipeline.sealer.offer(first)
    assert reached.wait(60)
    pipeline.sealer.offer(second)

    pipeline.clock_s += LONGEST_S - 0.1
    pipeline.sealer.expire()
    assert first.clip.samples.any()
    assert pipeline.kinds() == []

    pipeline.clock_s += 0.2
    pipeline.sealer.expire()
    pipeline.sealer.expire()

    assert not first.clip.samples.any()
    assert not second.clip.samples.any()
    assert pipeline.kinds() == ["NotKeptEvent", "NotKeptEvent"]
    assert pipeline.counters.tally().lost == 2
    resumed.set()
    pipeline.sealer.close()
    assert pipeline.spool.envelopes == [], "an envelope of zeros is not stored"
    assert pipeline.kinds() == ["NotKeptEvent", "NotKeptEvent"]
    assert pipeline.counters.tally().lost == 2
    assert pipeline.free_buffers() == BUFFERS


def test_audio_is_wiped_before_the_spool_is_waited_for() -> None:
    pipeline = PipelineFixture(is_blocking=False)
    barrier = SpoolBarrier(pipeline.spool)
    one = pipeline.capture()
    pipeline.sealer.offer(one)
    barrier.wait_until_reached()

    assert not one.clip.samples.any()

    pipeline.clock_s += 10 * LONGEST_S
    pipeline.sealer.expire()
    assert pipeline.kinds() == [], "what is encrypted is not lost, however long the disk takes"
    barrier.open()
    pipeline.sealer.close()
    (envelope,) = pipeline.spool.envelopes
    assert pipeline.device.open(envelope).header.owner == "ada"
    assert pipeline.counters.tally().sealed == 1
    assert pipeline.free_buffers() == BUFFERS


def test_chore_runs_in_the_sealer_thread_once_and_survives_a_wipe() -> None:
    pipeline = PipelineFixture(is_blocking=False)
    barrier = SpoolBarrier(pipeline.spool)
    pipeline.sealer.offer(pipeline.capture())
    barrier.wait_until_reached()
    ran: list[str] = []

    def chore() -> None:
        ran.append(threading.current_thread().name)

    pipeline.sealer.run_soon(chore)
    pipeline.sealer.run_soon(chore)
    pipeline.sealer.wipe()

    assert ran == []
    barrier.open()
    pipeline.sealer.close()
    assert ran == ["sealer"]


def test_chore_takes_no_place_of_a_clip() -> None:
    pipeline = PipelineFixture(is_blocking=False)
    barrier = SpoolBarrier(pipeline.spool)
    pipeline.sealer.offer(pipeline.capture())
    barrier.wait_until_reached()
    pipeline.sealer.run_soon(bool)
    pipeline.sealer.run_soon(int)

    pipeline.sealer.offer(pipeline.capture())
    pipeline.sealer.offer(pipeline.capture())
    pipeline.sealer.offer(pipeline.capture())

    assert [e.reason for e in pipeline.events if isinstance(e, events.NotKeptEvent)] == ["busy"]
    barrier.open()
    pipeline.sealer.close()
    assert pipeline.counters.tally().sealed == 3


def test_chore_that_fails_is_logged_and_the_next_one_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pipeline = PipelineFixture(is_blocking=False)
    ran = threading.Event()

    def fail() -> None:
        raise Unavailable("the disk is gone", "repair it")

    barrier = SpoolBarrier(pipeline.spool)
    pipeline.sealer.offer(pipeline.capture())
    barrier.wait_until_reached()
    pipeline.sealer.run_soon(fail)
    pipeline.sealer.run_soon(ran.set)
    barrier.open()
    pipeline.sealer.close()

    assert ran.is_set()
    assert "the disk is gone; repair it" in caplog.messages


class ScriptedVoice:
    """Attribution by voice with a given result, and the process that it uses."""

    def __init__(
        self, *, reason: NoOwner | None = None, kept: tuple[int, int] | None = None
    ) -> None:
        self.reason = reason
        self.kept = kept
        self.calls: list[str] = []
        self.sealer_to_wipe: Sealer | None = None
        self.pipeline = PipelineFixture(attribution=self, comparison=self)

    def attribute(self, clip: Clip) -> AttributionResult | NoOwner:
        del clip
        if self.sealer_to_wipe is not None:
            self.sealer_to_wipe.wipe()
        if self.reason is not None:
            return self.reason
        owner = self.pipeline.device.roster.owner("ada")
        assert owner is not None
        return AttributionResult(owner, spk=0.75, kept=self.kept)

    def permit(self) -> None:
        self.calls.append("permit")

    def start(self) -> None:
        self.calls.append(f"start in {threading.current_thread().name}")

    def kill(self) -> None:
        self.calls.append("kill")


def test_similarity_is_in_the_envelope_and_in_no_event() -> None:
    voice = ScriptedVoice()
    pipeline = voice.pipeline

    pipeline.sealer.offer(pipeline.capture())
    pipeline.sealer.close()

    (envelope,) = pipeline.spool.envelopes
    assert pipeline.device.open(envelope).private.spk == 0.75
    assert b"0.75" not in envelope
    (event,) = pipeline.events
    assert "0.75" not in events.to_json(event)


@pytest.mark.parametrize("reason", NoOwner)
def test_clip_of_a_voice_without_an_owner_is_counted_and_wiped(reason: NoOwner) -> None:
    pipeline = ScriptedVoice(reason=reason).pipeline

    pipeline.sealer.offer(pipeline.capture())
    pipeline.sealer.close()

    voices = pipeline.counters.voices()
    assert pipeline.spool.envelopes == []
    assert pipeline.counters.tally().unattributed == 1
    assert (voices.guests, voices.unsure, voices.bystanders) == (
        reason is NoOwner.GUEST,
        reason is NoOwner.UNSURE,
        reason is NoOwner.BYSTANDER,
    )
    assert [e.reason for e in pipeline.events if isinstance(e, events.NotKeptEvent)] == [
        "unattributed"
    ]
    assert pipeline.free_buffers() == BUFFERS


def test_process_starts_in_the_sealer_thread_at_a_wake_and_is_killed_at_a_mute() -> None:
    voice = ScriptedVoice()

    voice.pipeline.sealer.prepare()
    voice.pipeline.sealer.wipe()
    voice.pipeline.sealer.close()

    assert voice.calls[0] == "permit"
    assert set(voice.calls) == {"permit", "start in sealer", "kill"}


def test_mute_during_the_comparison_abandons_the_clip() -> None:
    voice = ScriptedVoice(reason=NoOwner.UNSURE)
    pipeline = voice.pipeline
    one = pipeline.capture()
    voice.sealer_to_wipe = pipeline.sealer

    pipeline.sealer.offer(one)
    pipeline.sealer.close()

    assert not np.asarray(one.clip.samples).any()
    assert pipeline.counters.tally().abandoned == 1
    assert pipeline.counters.voices().unsure == 0
    assert [e.reason for e in pipeline.events if isinstance(e, events.NotKeptEvent)] == ["muted"]


def test_trimmed_clip_holds_the_part_of_the_owner_alone() -> None:
    voice = ScriptedVoice(kept=(8_000, 20_000))
    pipeline = voice.pipeline
    one = pipeline.capture()
    for frame in told(LENGTH // FRAME_SAMPLES):
        pipeline.counters.count_frame(frame, frame.end_sample)
    seen: list[bool] = []

    def look() -> None:
        samples = np.asarray(one.clip.samples)
        parts = samples[:8_000].any(), samples[20_000:].any(), samples[8_000:20_000].all()
        seen.extend(map(bool, parts))

    pipeline.device.call_before_seq(look)
    pipeline.sealer.offer(one)
    pipeline.sealer.close()

    (envelope,) = pipeline.spool.envelopes
    opened = pipeline.device.open(envelope)
    assert seen == [False, False, True], "the other voice is wiped before the envelope is made"
    assert opened.header.t == "2026-03-04T05:06:07.500Z"
    assert (opened.private.ms, opened.private.pre_ms) == (750, 750)
    with soundfile.SoundFile(io.BytesIO(opened.flac)) as file:
        audio = file.read(dtype="int16")
    assert (audio == 1_234).all()
    assert len(audio) == 12_000
    tally = pipeline.counters.tally()
    assert (tally.sealed_samples, tally.held_samples) == (12_000, 0)
    assert tally.discarded_samples == LENGTH - 12_000
    (sealed,) = (event for event in pipeline.events if isinstance(event, events.SealedEvent))
    assert (sealed.time_s, sealed.length_s) == (0.5, 0.75)
    assert pipeline.free_buffers() == BUFFERS
