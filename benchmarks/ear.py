"""Listener with the real detector and without owners: no clip is sealed, stored or sent."""

import time
import uuid
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener import config
from listener.audio.clip import Recorder, longest_samples
from listener.audio.pcm import Samples
from listener.audio.ring_buffer import Ring
from listener.errors import Unavailable
from listener.hear.clip_capture import ClipCapture
from listener.hear.counters import Counters
from listener.hear.loop import Listener
from listener.hear.memory import ClipBuffers
from listener.hear.publisher import EventPublisher
from listener.hear.sealer import Sealer, SealingContext
from listener.hear.voice_control import VoiceControl
from listener.inference.build import build_detector
from listener.inference.catalogue import Catalogue
from listener.inference.onnx import SpeechNet


def build_listener(
    folder: Path, settings: config.Config, memory: Samples, voice: VoiceControl | None = None
) -> tuple[Listener, Sealer]:
    """Build a listener with its real detector and stubs for the parts after the clip.

    Args:
        folder: data directory.
        settings: configuration of wake word and clip.
        memory: memory of the ring buffer, int16, ``settings.clip.ring_s`` long.
        voice: voice control, if it is part of the measurement.
    """
    catalogue = Catalogue(folder)
    words = [catalogue.load(name) for name in settings.wake.words]
    ring = Ring(memory)
    buffers = ClipBuffers(4, longest_samples(settings.clip))
    counters = Counters("bench", "0" * 16)
    publisher = EventPublisher(
        lambda _event: None, _NoticeStub(), lambda _data: bytes(64), lambda: None
    )
    sealer = Sealer(
        attribution=_NoOwner(),
        context=_sealing_stub(),
        spool=_SpoolStub(),
        counters=counters,
        buffers=buffers,
        publish=publisher.publish,
        is_blocking=False,
    )
    capture = ClipCapture(
        recorder=Recorder(ring, SpeechNet(catalogue.speech()), settings.clip, buffers),
        sealer=sealer,
        counters=counters,
        publish=publisher.publish,
        models={word.name: word.manifest.sha256 for word in words},
        now=partial(datetime.now, UTC),
        voice=voice,
    )
    listener = Listener(
        detector=build_detector(words, catalogue.embedding(), settings.wake),
        ring=ring,
        capture=capture,
        counters=counters,
        publisher=publisher,
        monotonic_s=time.monotonic,
        voice=voice,
    )
    return listener, sealer


class _NoOwner:
    def attribute(self, _clip: object) -> None:
        return None


class _NoticeStub:
    def send(self, _notice: object) -> bool:
        return True


class _SpoolStub:
    def put(self, clip: str, owner: str, seq: int, data: bytes) -> object:
        raise Unavailable(f"nothing is spooled here: {clip} {owner} {seq} {len(data)}")


def _sealing_stub() -> SealingContext:
    """Return a sealing context without sequence numbers: nothing is sealed."""

    def next_seq() -> int:
        raise Unavailable("nothing is sealed here")

    return SealingContext(
        device="bench",
        key=Ed25519PrivateKey.generate(),
        next_seq=next_seq,
        new_clip_id=lambda: str(uuid.uuid4()),
        boot="0" * 16,
        ttl_s=1,
    )
