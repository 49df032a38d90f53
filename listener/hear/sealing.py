"""A finished clip becomes an envelope: its tag is filled in, and it is sealed to its one owner.

No thread, queue or disk: `keeping` says when, and where the envelope goes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.audio.clip import Clip, encode_clip
from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.envelope import format as form
from listener.envelope import keys, seal
from listener.hear.counters import PendingClip
from listener.owner.attribution import AttributionResult


@dataclass(frozen=True, slots=True, kw_only=True)
class SealingContext:
    """What all envelopes of this run have in common."""

    device: str
    """The device's name."""
    key: Ed25519PrivateKey
    """The device's."""
    next_seq: Callable[[], int]
    """A number that no envelope of this device ever had; `EarmarkError` when there is none."""
    new_clip_id: Callable[[], str]
    """A fresh UUID, version 4."""
    boot: str
    """Random, 16 hexadecimal digits, for this run."""
    ttl_s: int
    """How long the archive keeps a clip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedClip:
    """A finished clip and how it came to be."""

    clip: Clip
    word: str
    model_sha256: str
    score: float
    began: datetime
    """When the clip begins, with its time zone."""
    claim: PendingClip
    """On the clip's places in the counters."""


def seal_clip(
    capture: CapturedClip, attributed: AttributionResult, stamp: SealingContext, seq: int
) -> tuple[form.PublicHeader, bytes]:
    """Seal a clip; return the envelope's public header and the envelope.

    Args:
        capture: what was heard. A buffer that is wiped meanwhile makes an envelope of zeros.
        attributed: whose it is.
        stamp: what the envelope has in common with all others of this run.
        seq: the envelope's own number, from `SealingContext.next_seq`.

    Raises:
        BadEnvelope: clip, owner and keys do not make an envelope that she could open.
        ConfigError: the owner's recipient is no key.
    """
    clip, owner = capture.clip, attributed.owner
    header = form.PublicHeader(
        clip=stamp.new_clip_id(),
        device=stamp.device,
        dkey=keys.device_id(stamp.key.public_key()),
        owner=owner.name,
        okey=owner.okey,
        seq=seq,
        t=form.format_timestamp(capture.began),
        ttl_s=stamp.ttl_s,
    )
    private = form.PrivateFields(
        word=capture.word,
        model=capture.model_sha256,
        score=capture.score,
        spk=attributed.spk,
        pre_ms=clip.pre_roll_samples * 1_000 // SAMPLE_RATE_HZ,
        ms=len(clip.samples) * 1_000 // SAMPLE_RATE_HZ,
        rate=SAMPLE_RATE_HZ,
        end_reason=clip.end_reason.value,
        boot=stamp.boot,
    )
    encode = partial(encode_clip, clip.samples)
    return header, seal.seal(header, private, encode, owner.recipient, stamp.key)
