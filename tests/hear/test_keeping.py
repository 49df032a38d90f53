import io
import logging

import numpy as np
import pytest
import soundfile

from listener.hear import report
from listener.hear.keeping import BUFFERS, Capture
from listener.notices import Spooled
from listener.sound.clip import Clip, EndReason
from listener.sound.pcm import SAMPLE_RATE_HZ
from tests.hear.workshop import BOOT, NOW, Door, Workshop

LENGTH = 2 * SAMPLE_RATE_HZ


def capture(workshop: Workshop, value: int = 1_234) -> Capture:
    """A finished clip in a buffer of the workshop's, with its place claimed."""
    buffer = workshop.buffers.take()
    assert buffer is not None
    buffer[:LENGTH] = value
    samples = buffer[:LENGTH]
    samples.flags.writeable = False
    claim = workshop.counters.claim(0)
    workshop.counters.close(claim, LENGTH)
    return Capture(
        clip=Clip(
            samples=samples,
            first_sample=0,
            wake_sample=24_000,
            end_sample=LENGTH,
            pre_roll_samples=24_000,
            end_reason=EndReason.NO_SPEECH,
        ),
        word="alexa",
        model_sha256="ab" * 32,
        score=0.98765,
        began=NOW,
        claim=claim,
    )


def test_a_clip_is_sealed_to_its_owner_with_everything_its_tag_needs() -> None:
    workshop = Workshop()
    one = capture(workshop)
    sound = one.clip.samples.copy()

    workshop.keeping.offer(one)
    workshop.keeping.close()

    (envelope,) = workshop.spool.envelopes
    opened = workshop.household.open(envelope)
    header, private = opened.header, opened.private
    assert (header.owner, header.device, header.seq, header.ttl_s) == ("ada", "speaker", 1, 86_400)
    assert header.t == "2026-03-04T05:06:07.000Z"
    assert (private.word, private.model, private.score) == ("alexa", "ab" * 32, 0.9877)
    assert (private.pre_ms, private.ms, private.rate) == (1_500, 2_000, SAMPLE_RATE_HZ)
    assert (private.end_reason, private.boot, private.spk) == ("no-speech", BOOT, None)
    with soundfile.SoundFile(io.BytesIO(opened.flac)) as file:
        assert (file.read(dtype="int16") == sound).all()
    (told,) = workshop.events
    assert isinstance(told, report.Sealed)
    assert (told.owner, told.bytes, told.seq) == ("ada", len(envelope), 1)
    assert workshop.post.notices == [Spooled()]
    assert workshop.free_buffers() == BUFFERS


@pytest.mark.parametrize("keeper", ["nobody", "bo"])
def test_without_an_active_owner_there_is_no_clip(keeper: str) -> None:
    workshop = Workshop(keeper=keeper)
    household = workshop.household
    household.roster = household.roster.with_owner("bo", "age1" + _other_recipient())

    workshop.keeping.offer(capture(workshop))
    workshop.keeping.close()

    assert workshop.spool.envelopes == []
    assert workshop.counters.tally().unattributed == 1
    assert workshop.kinds() == ["NotKept"]
    assert workshop.free_buffers() == BUFFERS


def _other_recipient() -> str:
    return str(Workshop().household.identity.to_public()).removeprefix("age1")


def test_a_full_spool_is_counted_said_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    workshop = Workshop()
    workshop.spool.fill()

    with caplog.at_level(logging.ERROR):
        workshop.keeping.offer(capture(workshop))
        workshop.keeping.close()

    assert workshop.counters.tally().lost == 1
    assert workshop.kinds() == ["NotKept"]
    assert caplog.messages == ["a clip is lost: the spool is full; make room"]
    assert workshop.free_buffers() == BUFFERS


def test_the_next_clip_finds_a_spool_that_was_mended() -> None:
    workshop = Workshop(is_patient=False)
    door = Door(workshop.spool)
    workshop.spool.fill()
    workshop.keeping.offer(capture(workshop))
    door.wait_for_somebody()

    door.open()
    workshop.spool.call_before_put(workshop.spool.make_room)
    workshop.keeping.offer(capture(workshop))
    workshop.keeping.close()

    assert len(workshop.spool.envelopes) >= 1
    tally = workshop.counters.tally()
    assert tally.sealed + tally.lost == 2


def test_a_lost_disk_is_a_lost_clip_and_not_a_dead_ear() -> None:
    workshop = Workshop()
    workshop.household.is_disk_gone = True

    workshop.keeping.offer(capture(workshop))
    workshop.keeping.close()

    assert workshop.counters.tally().lost == 1


def test_a_patient_offer_returns_when_the_clip_is_sealed() -> None:
    workshop = Workshop()

    workshop.keeping.offer(capture(workshop))
    sealed = workshop.counters.tally().sealed
    workshop.keeping.close()

    assert sealed == 1


def test_a_full_queue_never_stalls_the_ear() -> None:
    workshop = Workshop(is_patient=False)
    door = Door(workshop.spool)
    workshop.keeping.offer(capture(workshop))
    door.wait_for_somebody()
    workshop.keeping.offer(capture(workshop))
    workshop.keeping.offer(capture(workshop))

    extra = capture(workshop)
    workshop.keeping.offer(extra)

    assert not extra.clip.samples.any(), "what finds no place must be wiped at once"
    assert [e.reason for e in workshop.events if isinstance(e, report.NotKept)] == ["busy"]
    door.open()
    workshop.keeping.close()
    assert (workshop.counters.tally().sealed, workshop.counters.tally().abandoned) == (3, 1)
    assert workshop.free_buffers() == BUFFERS


def test_mute_wipes_what_waits_and_what_was_sealed_before_is_kept() -> None:
    workshop = Workshop(is_patient=False)
    door = Door(workshop.spool)
    workshop.keeping.offer(capture(workshop))
    door.wait_for_somebody()
    waiting = capture(workshop)
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
    one = capture(workshop)
    workshop.household.call_before_seq(workshop.keeping.wipe)

    workshop.keeping.offer(one)
    workshop.keeping.close()

    assert workshop.spool.envelopes == []
    assert not np.asarray(one.clip.samples).any()
    assert [e.reason for e in workshop.events if isinstance(e, report.NotKept)] == ["muted"]
    assert workshop.counters.tally().abandoned == 1


def test_a_roster_that_cannot_be_read_makes_no_clip_and_no_dead_ear(
    caplog: pytest.LogCaptureFixture,
) -> None:
    workshop = Workshop()
    workshop.household.lose_the_roster()

    workshop.keeping.offer(capture(workshop))
    workshop.keeping.close()

    assert workshop.counters.tally().unattributed == 1
    assert caplog.messages == ["nobody can be told to own a clip: the roster is damaged"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_died_of_a_fault_ends_the_ear() -> None:
    workshop = Workshop()
    workshop.household.call_before_seq(lambda: 1 // 0)
    workshop.keeping.offer(capture(workshop))
    workshop.keeping.close()

    with pytest.raises(RuntimeError, match="has died"):
        workshop.keeping.offer(capture(workshop))
