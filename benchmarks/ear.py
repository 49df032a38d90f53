"""The real ear with nobody behind it: clips are nobody's, nothing is sealed, spooled or sent."""

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
from listener.hear.counters import Counters
from listener.hear.loop import Listener
from listener.hear.memory import ClipBuffers
from listener.hear.publisher import EventPublisher
from listener.hear.sealer import Sealer, SealingContext
from listener.inference.build import build_detector
from listener.inference.catalogue import Catalogue
from listener.inference.onnx import SpeechNet


def whole_ear(folder: Path, settings: config.Config, memory: Samples) -> tuple[Listener, Sealer]:
    """Build an ear with its real detector, and what stands in for all behind it.

    Args:
        folder: where models would have been added.
        settings: of the wake word and the clip.
        memory: of its ring, int16, ``settings.clip.ring_s`` long.
    """
    catalogue = Catalogue(folder)
    words = [catalogue.load(name) for name in settings.wake.words]
    ring = Ring(memory)
    buffers = ClipBuffers(4, longest_samples(settings.clip))
    counters = Counters("bench", "0" * 16)
    herald = EventPublisher(lambda _event: None, _NoPost(), lambda _data: bytes(64), lambda: None)
    keeping = Sealer(
        attribution=_NobodysClips(),
        stamp=_useless_stamp(),
        border=_NoBorder(),
        counters=counters,
        buffers=buffers,
        tell=herald.publish,
        is_patient=False,
    )
    ear = Listener(
        detector=build_detector(words, catalogue.embedding(), settings.wake),
        models={word.name: word.manifest.sha256 for word in words},
        ring=ring,
        recorder=Recorder(ring, SpeechNet(catalogue.speech()), settings.clip, buffers),
        keeping=keeping,
        counters=counters,
        herald=herald,
        now=partial(datetime.now, UTC),
        monotonic_s=time.monotonic,
    )
    return ear, keeping


class _NobodysClips:
    def attribute(self, _clip: object) -> None:
        return None


class _NoPost:
    def send(self, _notice: object) -> bool:
        return True


class _NoBorder:
    def put(self, clip: str, owner: str, seq: int, data: bytes) -> object:
        raise Unavailable(f"nothing is spooled here: {clip} {owner} {seq} {len(data)}")


def _useless_stamp() -> SealingContext:
    """Return a stamp that has no number for any envelope: nothing is sealed here."""

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
