import io

import numpy as np
import soundfile

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.hear.sealing import CapturedClip, seal_clip
from listener.owner.attribution import AttributionResult
from tests.hear.workshop import BOOT, Workshop


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
