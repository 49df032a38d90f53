"""The second thread: whose clip is it, seal it to her, put it into the spool.

The ear never waits for a disk: behind a queue of two, a clip that finds no place is wiped and
counted. One thread offers and wipes, the worker does the rest.

A finished clip becomes an envelope: its tag is filled in, and it is sealed to its one owner.

No thread, queue or disk: `keeping` says when, and where the envelope goes.
"""

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final, Literal, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.audio.clip import Clip, encode_clip
from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.envelope import format as form
from listener.envelope import keys, seal
from listener.errors import EarmarkError
from listener.hear.counters import ClipOutcome, Counters, PendingClip
from listener.hear.events import Event, NotKeptEvent, SealedEvent
from listener.hear.memory import ClipBuffers
from listener.owner.attribution import Attribution, AttributionResult


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
    pending: PendingClip
    """The clip's samples in the counters."""


def seal_clip(
    capture: CapturedClip, attributed: AttributionResult, context: SealingContext, seq: int
) -> tuple[form.PublicHeader, bytes]:
    """Seal a clip; return the envelope's public header and the envelope.

    Args:
        capture: what was heard. A buffer that is wiped meanwhile makes an envelope of zeros.
        attributed: whose it is.
        context: what the envelope has in common with all others of this run.
        seq: the envelope's own number, from `SealingContext.next_seq`.

    Raises:
        BadEnvelope: clip, owner and keys do not make an envelope that she could open.
        ConfigError: the owner's recipient is no key.
    """
    clip, owner = capture.clip, attributed.owner
    header = form.PublicHeader(
        clip=context.new_clip_id(),
        device=context.device,
        dkey=keys.device_id(context.key.public_key()),
        owner=owner.name,
        okey=owner.okey,
        seq=seq,
        t=form.format_timestamp(capture.began),
        ttl_s=context.ttl_s,
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
        boot=context.boot,
    )
    encode = partial(encode_clip, clip.samples)
    return header, seal.seal(header, private, encode, owner.recipient, context.key)


QUEUE_CLIPS: Final = 2
BUFFERS: Final = QUEUE_CLIPS + 2
"""One clip is being made, one is being sealed, the others wait."""

_POLL_S: Final = 0.5

_log = logging.getLogger(__name__)


class EnvelopeSink(Protocol):
    """Where envelopes go: the spool, as far as hear knows it."""

    def put(self, clip: str, owner: str, seq: int, data: bytes) -> object:
        """Take an envelope in, durably.

        Raises:
            SpoolFull: it could not be taken.
        """


class Sealer:
    """The worker and its queue."""

    def __init__(  # noqa: PLR0913 - what meets here: owner, envelope, spool, memory, numbers
        self,
        *,
        attribution: Attribution,
        context: SealingContext,
        spool: EnvelopeSink,
        counters: Counters,
        buffers: ClipBuffers,
        publish: Callable[[Event], None],
        is_blocking: bool,
    ) -> None:
        """Start the worker.

        Args:
            attribution: says whose a clip is; asked by the worker only.
            context: for the envelopes.
            spool: takes them; used by the worker only.
            counters: learn the outcome of every clip.
            buffers: get every clip's buffer back, wiped.
            publish: hears of it; called from both threads.
            is_blocking: whether an offer waits until the clip is sealed. Right only where sound
                waits too: a recording that is heard as fast as possible.
        """
        self._attribution = attribution
        self._context = context
        self._spool = spool
        self._counters = counters
        self._buffers = buffers
        self._publish = publish
        self._is_blocking = is_blocking
        self._queue: queue.Queue[tuple[int, CapturedClip] | None] = queue.Queue(QUEUE_CLIPS)
        self._lock = threading.Lock()
        self._at_work: CapturedClip | None = None
        self._wipes = 0
        self._thread = threading.Thread(target=self._work, name="sealer", daemon=True)
        self._thread.start()

    def offer(self, capture: CapturedClip) -> None:
        """Hand over a clip; when there is no place for it, wipe it.

        Raises:
            RuntimeError: the worker died of a fault of the program.
        """
        while True:
            if not self._thread.is_alive():
                raise RuntimeError("the thread that seals has died")
            try:
                self._queue.put((self._wipes, capture), block=self._is_blocking, timeout=_POLL_S)
            except queue.Full:
                if self._is_blocking:
                    continue
                _log.warning("a clip was dropped: sealing does not keep up")
                self._drop(capture, "busy")
            if self._is_blocking:
                self._settle()
            return

    def wipe(self) -> None:
        """Drop and wipe every clip that is still in the clear, also the one being sealed.

        What had been sealed before is spooled.
        """
        with self._lock:
            self._wipes += 1
            if self._at_work is not None:
                # The worker may be reading it: what it makes of zeros is never spooled.
                self._buffers.wipe(self._at_work.clip.samples)
        while True:
            try:
                waiting = self._queue.get_nowait()
            except queue.Empty:
                return
            self._queue.task_done()
            if waiting is None:
                self._queue.put(None)  # the end stays asked for
                return
            self._drop(waiting[1], "muted")

    def close(self) -> None:
        """Seal what waits, then end the worker."""
        while self._thread.is_alive():
            try:
                self._queue.put(None, timeout=_POLL_S)
            except queue.Full:
                continue
            break
        self._thread.join()

    def _settle(self) -> None:
        """Wait until nothing is left to seal, so that no later moment overtakes a clip."""
        with self._queue.all_tasks_done:
            while self._queue.unfinished_tasks and self._thread.is_alive():
                self._queue.all_tasks_done.wait(_POLL_S)

    def _work(self) -> None:
        while (taken := self._queue.get()) is not None:
            wipes, capture = taken
            with self._lock:
                self._at_work = capture
            try:
                self._seal(capture, wipes)
            finally:
                with self._lock:
                    self._at_work = None
                self._buffers.release(capture.clip.samples)
                self._queue.task_done()

    def _seal(self, capture: CapturedClip, wipes: int) -> None:
        try:
            attributed = self._attribution.attribute(capture.clip)
        except EarmarkError as error:
            _log.error("nobody can be told to own a clip: %s", error)
            attributed = None
        if attributed is None:
            self._decide(capture, "unattributed", ClipOutcome.UNATTRIBUTED)
            return
        seq = 0
        try:
            seq = self._context.next_seq()
            header, data = seal_clip(capture, attributed, self._context, seq)
            if self._was_wiped(wipes):
                self._decide(capture, "muted", ClipOutcome.ABANDONED, seq)
                return
            self._spool.put(header.clip, header.owner, seq, data)
        except EarmarkError as error:
            # The ear goes on: the next clip may find a disk that is mended.
            _log.error("a clip is lost: %s%s", error, f"; {error.hint}" if error.hint else "")
            self._decide(capture, "refused", ClipOutcome.LOST, seq)
            return
        self._counters.set_outcome(capture.pending, ClipOutcome.SEALED, seq)
        self._publish(
            SealedEvent(
                time_s=capture.clip.first_sample / SAMPLE_RATE_HZ,
                length_s=capture.clip.length_s,
                word=capture.word,
                owner=header.owner,
                clip=header.clip,
                seq=seq,
                bytes=len(data),
                end_reason=capture.clip.end_reason,
            )
        )

    def _was_wiped(self, wipes: int) -> bool:
        """Tell whether mute came first; behind this point it comes too late, all is sealed."""
        with self._lock:
            return self._wipes != wipes

    def _drop(self, capture: CapturedClip, reason: Literal["busy", "muted"]) -> None:
        self._buffers.release(capture.clip.samples)
        self._decide(capture, reason, ClipOutcome.ABANDONED)

    def _decide(
        self,
        capture: CapturedClip,
        reason: Literal["busy", "muted", "unattributed", "refused"],
        outcome: ClipOutcome,
        seq: int = 0,
    ) -> None:
        self._counters.set_outcome(capture.pending, outcome, seq)
        self._publish(
            NotKeptEvent(time_s=capture.clip.first_sample / SAMPLE_RATE_HZ, reason=reason)
        )
