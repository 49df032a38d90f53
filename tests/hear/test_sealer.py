import io
import logging

import numpy as np
import pytest
import soundfile

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.hear import events
from listener.hear.sealer import BUFFERS, CapturedClip, seal_clip
from listener.ipc.notices import SpooledNotice
from listener.owner.attribution import AttributionResult
from tests.hear.pipeline_fixture import BOOT, Door, Workshop


def test_a_clip_is_in_the_spool_sealed_to_its_owner_and_told() -> None:
    workshop = Workshop()

    workshop.keeping.offer(workshop.capture())
    workshop.keeping.close()

    (envelope,) = workshop.spool.envelopes
    assert workshop.household.open(envelope).header.owner == "ada"
    (told,) = workshop.events
    assert isinstance(told, events.SealedEvent)
    assert (told.owner, told.bytes, told.seq) == ("ada", len(envelope), 1)
    assert workshop.post.notices == [SpooledNotice()]
    assert workshop.free_buffers() == BUFFERS


@pytest.mark.parametrize("keeper", ["nobody", "bo"])
def test_without_an_active_owner_there_is_no_clip(keeper: str) -> None:
    workshop = Workshop(keeper=keeper)
    household = workshop.household
    household.roster = household.roster.with_owner("bo", "age1" + _other_recipient())

    workshop.keeping.offer(workshop.capture())
    workshop.keeping.close()

    assert workshop.spool.envelopes == []
    assert workshop.counters.tally().unattributed == 1
    assert workshop.kinds() == ["NotKeptEvent"]
    assert workshop.free_buffers() == BUFFERS


def _other_recipient() -> str:
    return str(Workshop().household.identity.to_public()).removeprefix("age1")


def test_a_full_spool_is_counted_said_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    workshop = Workshop()
    workshop.spool.fill()

    with caplog.at_level(logging.ERROR):
        workshop.keeping.offer(workshop.capture())
        workshop.keeping.close()

    assert workshop.counters.tally().lost == 1
    assert workshop.kinds() == ["NotKeptEvent"]
    assert caplog.messages == ["a clip is lost: the spool is full; make room"]
    assert workshop.free_buffers() == BUFFERS


def test_the_next_clip_finds_a_spool_that_was_mended() -> None:
    workshop = Workshop(is_patient=False)
    door = Door(workshop.spool)
    workshop.spool.fill()
    workshop.keeping.offer(workshop.capture())
    door.wait_for_somebody()

    door.open()
    workshop.spool.call_before_put(workshop.spool.make_room)
    workshop.keeping.offer(workshop.capture())
    workshop.keeping.close()

    assert len(workshop.spool.envelopes) >= 1
    tally = workshop.counters.tally()
    assert tally.sealed + tally.lost == 2


def test_a_lost_disk_is_a_lost_clip_and_not_a_dead_ear() -> None:
    workshop = Workshop()
    workshop.household.is_disk_gone = True

    workshop.keeping.offer(workshop.capture())
    workshop.keeping.close()

    assert workshop.counters.tally().lost == 1


def test_a_patient_offer_returns_when_the_clip_is_sealed() -> None:
    workshop = Workshop()

    workshop.keeping.offer(workshop.capture())
    sealed = workshop.counters.tally().sealed
    workshop.keeping.close()

    assert sealed == 1


def test_a_full_queue_never_stalls_the_ear() -> None:
    workshop = Workshop(is_patient=False)
    door = Door(workshop.spool)
    workshop.keeping.offer(workshop.capture())
    door.wait_for_somebody()
    workshop.keeping.offer(workshop.capture())
    workshop.keeping.offer(workshop.capture())

    extra = workshop.capture()
    workshop.keeping.offer(extra)

    assert not extra.clip.samples.any(), "what finds no place must be wiped at once"
    assert [e.reason for e in workshop.events if isinstance(e, events.NotKeptEvent)] == ["busy"]
    door.open()
    workshop.keeping.close()
    assert (workshop.counters.tally().sealed, workshop.counters.tally().abandoned) == (3, 1)
    assert workshop.free_buffers() == BUFFERS


def test_mute_wipes_what_waits_and_what_was_sealed_before_is_kept() -> None:
    workshop = Workshop(is_patient=False)
    door = Door(workshop.spool)
    workshop.keeping.offer(workshop.capture())
    door.wait_for_somebody()
    waiting = workshop.capture()
    workshop.keeping.offer(waiting)

    workshop.keeping.wipe()

    assert not waiting.clip.samples.any()
    door.open()
    workshop.keeping.close()
    tally = workshop.counters.tally()
    assert (tally.sealed, tally.abandoned) == (1, 1)
    assert workshop.free_buffers() == BUFFERS


def test_mute_while_a_clip_is_being_sealed_lets_no_envelope_out() -> None:
    workshop = Workshop()
    one = workshop.capture()
    workshop.household.call_before_seq(workshop.keeping.wipe)

    workshop.keeping.offer(one)
    workshop.keeping.close()

    assert workshop.spool.envelopes == []
    assert not np.asarray(one.clip.samples).any()
    assert [e.reason for e in workshop.events if isinstance(e, events.NotKeptEvent)] == ["muted"]
    assert workshop.counters.tally().abandoned == 1


def test_a_roster_that_cannot_be_read_makes_no_clip_and_no_dead_ear(
    caplog: pytest.LogCaptureFixture,
) -> None:
    workshop = Workshop()
    workshop.household.lose_the_roster()

    workshop.keeping.offer(workshop.capture())
    workshop.keeping.close()

    assert workshop.counters.tally().unattributed == 1
    assert caplog.messages == ["nobody can be told to own a clip: the roster is damaged"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_died_of_a_fault_ends_the_ear() -> None:
    workshop = Workshop()
    workshop.household.call_before_seq(lambda: 1 // 0)
    workshop.keeping.offer(workshop.capture())
    workshop.keeping.close()

    with pytest.raises(RuntimeError, match="has died"):
        workshop.keeping.offer(workshop.capture())


def made(workshop: Workshop, capture: CapturedClip) -> bytes:
    """Ada's envelope of a clip, with the number 7."""
    owner = workshop.household.roster.owner("ada")
    assert owner is not None
    header, envelope = seal_clip(capture, AttributionResult(owner, None), workshop.stamp, 7)
    assert workshop.household.open(envelope).header == header
    return envelope


def test_a_clip_is_sealed_to_its_owner_with_everything_its_tag_needs() -> None:
    workshop = Workshop()
    one = workshop.capture()

    opened = workshop.household.open(made(workshop, one))

    header, private = opened.header, opened.private
    assert (header.owner, header.device, header.seq, header.ttl_s) == ("ada", "speaker", 7, 86_400)
    assert header.t == "2026-03-04T05:06:07.000Z"
    assert (private.word, private.model, private.score) == ("alexa", "ab" * 32, 0.9877)
    assert (private.pre_ms, private.ms, private.rate) == (1_500, 2_000, SAMPLE_RATE_HZ)
    assert (private.end_reason, private.boot, private.spk) == ("no-speech", BOOT, None)
    with soundfile.SoundFile(io.BytesIO(opened.flac)) as file:
        assert (file.read(dtype="int16") == one.clip.samples).all()


def test_a_clip_that_was_wiped_is_an_envelope_of_zeros() -> None:
    workshop = Workshop()
    one = workshop.capture()
    workshop.buffers.wipe(one.clip.samples)

    opened = workshop.household.open(made(workshop, one))

    with soundfile.SoundFile(io.BytesIO(opened.flac)) as file:
        assert not np.any(file.read(dtype="int16"))
