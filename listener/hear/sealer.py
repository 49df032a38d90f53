"""Sealer thread: attributes each clip to its owner, encrypts it, and writes it to the spool.

Where an owner allows voice control, and assist has answered the ask, the command copy is made
between the encryption of the clip and its way into the spool: the owner is the same for both, the
sequence number of the clip is on the disk by then, and no disk delays the copy.

The listen loop does not wait for the disk: the queue holds two clips, and a clip for which there is
no slot is wiped and counted. `offer`, `run_soon`, `wipe` and `close` are for the thread of the
listen loop; all other work is done in the sealer thread. `seal_clip` is pure.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Literal, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.audio.clip import Clip, encode_clip
from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.envelope import format as form
from listener.envelope import keys, seal
from listener.errors import EarmarkError
from listener.hear.command_sealer import CommandOrder, CommandSealer
from listener.hear.counters import ClipOutcome, Counters, PendingClip
from listener.hear.events import Event, NotKeptEvent, SealedEvent
from listener.hear.memory import ClipBuffers
from listener.hear.open_ask import NoCopyReason
from listener.owner.attribution import Attribution, AttributionResult, NoOwner
from listener.owner.records import Owner


@dataclass(frozen=True, slots=True, kw_only=True)
class SealingContext:
    """Values common to all envelopes of one run."""

    device: str
    """Name of the device."""
    key: Ed25519PrivateKey
    """Private key of the device."""
    next_seq: Callable[[], int]
    """Returns a sequence number that this device has not used; raises `EarmarkError` on failure."""
    new_clip_id: Callable[[], str]
    """Returns a new UUID, version 4."""
    boot: str
    """Random id of this run, 16 hexadecimal digits."""
    ttl_s: int
    """Retention period in the archive, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedClip:
    """Finished clip with its wake, before encryption."""

    clip: Clip
    word: str
    model_sha256: str
    score: float
    began: datetime
    """Begin of the clip, with time zone."""
    pending: PendingClip
    """The clip's samples in the counters."""
    command: CommandOrder | None = None
    """Order for a command copy; None if there is none to make."""


def seal_clip(
    capture: CapturedClip, attributed: AttributionResult, context: SealingContext, seq: int
) -> tuple[form.PublicHeader, bytes]:
    """Encrypt a clip to its owner; return the public header and the envelope.

    Args:
        capture: the clip. If its buffer is wiped meanwhile, the envelope contains zeros.
        attributed: owner of the clip.
        context: values common to all envelopes of this run.
        seq: sequence number of the envelope, from `SealingContext.next_seq`.

    Raises:
        BadEnvelope: the owner could not open an envelope of this clip and these keys.
        ConfigError: the owner's recipient is not a valid key.
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
"""Clip buffers: one for the recorder, one for the clip that is sealed, and the queue's."""
LONGEST_S: Final = 8.0
"""Longest time from the end of a clip to its encryption, in seconds; then the clip is wiped."""

_POLL_S: Final = 0.5

_log = logging.getLogger(__name__)


class EnvelopeSink(Protocol):
    """Destination of envelopes; see `spool.files.Spool`."""

    def put(self, clip: str, owner: str, seq: int, data: bytes) -> object:
        """Store an envelope durably.

        Raises:
            SpoolFull: there is no space for it.
        """


class ComparisonProcess(Protocol):
    """Process that compares voices; see `embedding_client.EmbeddingClient`."""

    def permit(self) -> None:
        """Permit the process to run, from a wake on."""

    def start(self) -> None:
        """Start the process, in the sealer thread; raises `Unavailable` if that is not possible."""

    def kill(self) -> None:
        """Kill the process, with all audio in it, and refuse requests until `permit`."""


@dataclass(slots=True, eq=False)
class _Job:
    """Clip in the queue or in the sealer thread. The sealer's lock guards the flags."""

    capture: CapturedClip
    wipes: int
    """Number of wipes before the offer."""
    due_s: float
    """Time at which it is wiped if it is not encrypted."""
    seq: int = 0
    """Sequence number of its envelope; 0 without one."""
    is_decided: bool = False
    """Whether its outcome is counted and published."""
    is_released: bool = False
    """Whether its buffer is wiped and belongs to another clip."""
    is_sealed: bool = False
    """Whether its envelope is made; its audio may still be needed for the command copy."""
    is_late: bool = False
    """Whether its audio was wiped because the command copy took too long."""
    is_copy_decided: bool = False
    """Whether the end of its order for a command copy is reported."""


@dataclass(slots=True, eq=False)
class _PartJob:
    """Provisional part in the queue or in the sealer thread. The sealer's lock guards the flags."""

    clip: Clip
    word: str
    command: CommandOrder
    wipes: int
    due_s: float
    is_late: bool = False


class _Chores:
    """Mark in the queue: the sealer thread runs the waiting chores."""


_NO_COPY: Final[Mapping[str, NoCopyReason]] = {
    "busy": "no-place",
    "muted": "muted",
    "unattributed": "not-allowed",
    "refused": "not-sealed",
}
"""Reason for which there is no command copy, by the reason for which the clip is not kept."""


class Sealer:
    """Sealer thread and its queue."""

    def __init__(  # noqa: PLR0913 - owner, envelope, spool, memory and counters meet here
        self,
        *,
        attribution: Attribution,
        context: SealingContext,
        spool: EnvelopeSink,
        counters: Counters,
        buffers: ClipBuffers,
        publish: Callable[[Event], None],
        is_blocking: bool,
        monotonic_s: Callable[[], float] = time.monotonic,
        commands: CommandSealer | None = None,
        part_buffers: ClipBuffers | None = None,
        comparison: ComparisonProcess | None = None,
        longest_s: float = LONGEST_S,
    ) -> None:
        """Start the sealer thread.

        Args:
            attribution: finds the owner of a clip; called in the sealer thread only.
            context: values common to all envelopes.
            spool: stores envelopes; called in the sealer thread only.
            counters: count the outcome of every clip.
            buffers: take back the buffer of every clip.
            publish: publishes `SealedEvent` and `NotKeptEvent`; called from both threads.
            is_blocking: True if `offer` waits until the clip is sealed. Only for recordings that
                are processed as fast as possible: a live microphone does not wait.
            monotonic_s: monotonic clock, in seconds.
            commands: makes command copies; None if no clip has an order for one.
            part_buffers: one buffer, for the provisional part that is sealed; None without parts.
            comparison: the process that compares voices for the attribution; None without one.
            longest_s: longest time from the end of a clip to its encryption, in seconds.
        """
        self._longest_s = longest_s
        self._comparison = comparison
        self._part_buffers = part_buffers
        self._part: _PartJob | None = None
        self._commands = commands
        self._attribution = attribution
        self._context = context
        self._spool = spool
        self._counters = counters
        self._buffers = buffers
        self._publish = publish
        self._is_blocking = is_blocking
        self._monotonic_s = monotonic_s
        # Slots more than clips, for `_Chores` and one `_PartJob`, which never displace a clip.
        self._queue: queue.Queue[_Job | _PartJob | _Chores | None] = queue.Queue(QUEUE_CLIPS + 2)
        self._chores: list[Callable[[], object]] = []
        self._lock = threading.Lock()
        self._current: _Job | None = None
        """Clip of the sealer thread, while it is not encrypted."""
        self._wipes = 0
        self._thread = threading.Thread(target=self._work, name="sealer", daemon=True)
        self._thread.start()

    def offer(self, capture: CapturedClip) -> None:
        """Queue a clip; wipe it if the queue is full.

        Raises:
            RuntimeError: the sealer thread ended because of an unexpected error.
        """
        job = _Job(capture, self._wipes, self._monotonic_s() + self._longest_s)
        while True:
            if not self._thread.is_alive():
                raise RuntimeError("the sealer thread ended unexpectedly")
            try:
                self._put(job)
            except queue.Full:
                if self._is_blocking:
                    self.expire()
                    continue
                _log.warning("a clip was discarded: the sealer queue is full")
                self._drop(job, "busy")
            if self._is_blocking:
                self._settle()
            return

    def take_part_buffer(self) -> Samples | None:
        """Return the buffer for a provisional part; None while another part is being sealed."""
        return None if self._part_buffers is None else self._part_buffers.take()

    def release_part_buffer(self, samples: Samples) -> None:
        """Take back a buffer that is not used."""
        if self._part_buffers is not None:
            self._part_buffers.release(samples)

    def offer_part(self, clip: Clip, word: str, command: CommandOrder) -> None:
        """Queue a provisional part; its end is reported, and no envelope is made of it.

        Args:
            clip: the part, a view of the buffer that `take_part_buffer` returned.
            word: wake word.
            command: order for the part.
        """
        part = _PartJob(clip, word, command, self._wipes, self._monotonic_s() + self._longest_s)
        with self._lock:
            self._part = part
        # There is a slot: the buffer is the only one.
        self._queue.put_nowait(part)
        if self._is_blocking:
            self._settle()

    def prepare(self) -> None:
        """Start the process that compares voices, if there is one: a wake has begun a clip."""
        if self._comparison is not None:
            self._comparison.permit()
            self.run_soon(self._comparison.start)

    def run_soon(self, chore: Callable[[], object]) -> None:
        """Run something in the sealer thread, after the clips that wait already.

        Args:
            chore: raises nothing but `EarmarkError`, which is logged. One that waits already is not
                added again.
        """
        with self._lock:
            if chore in self._chores:
                return
            self._chores.append(chore)
            if len(self._chores) > 1:
                return
        self._queue.put_nowait(_Chores())

    def wipe(self) -> None:
        """Wipe every clip that is not encrypted yet, including the one that is being sealed.

        A clip that was sealed before is still written to the spool. Its command copy is removed if
        send has not taken it.
        """
        with self._lock:
            self._wipes += 1
            if self._current is not None:
                # The thread may be reading it; an envelope of zeros is not spooled.
                self._buffers.wipe(self._current.capture.clip.samples)
            self._wipe_part()
        if self._comparison is not None:
            self._comparison.kill()
        if self._commands is not None:
            self._commands.clear()
        kept: list[_PartJob | _Chores | None] = []
        while True:
            try:
                waiting = self._queue.get_nowait()
            except queue.Empty:
                break
            self._queue.task_done()
            if isinstance(waiting, _Job):
                self._drop(waiting, "muted")
            else:
                kept.append(waiting)
        for each in kept:  # such as the request to end; a part is released in its turn
            self._queue.put_nowait(each)

    def expire(self) -> None:
        """Wipe and count as lost every clip that is not encrypted in time, see ``longest_s``.

        So a disk or a process that stops the sealer thread cannot keep audio in memory. To be
        called in every turn of the loop.
        """
        now_s = self._monotonic_s()
        with self._lock, self._queue.mutex:
            held = [self._current, *self._queue.queue]
            jobs = [job for job in held if isinstance(job, _Job)]
            late = [job for job in jobs if not job.is_decided and now_s >= job.due_s]
            for job in late:
                self._buffers.wipe(job.capture.clip.samples)
                job.is_late = True
            late = [job for job in late if not job.is_sealed]
            if self._part is not None and now_s >= self._part.due_s:
                self._part.is_late = True
                self._wipe_part()
        for job in late:
            _log.error("a clip is lost: it was not encrypted within %g s", self._longest_s)
            self._decide(job, "refused", ClipOutcome.LOST)

    def close(self) -> None:
        """Seal all queued clips, then end the sealer thread."""
        while self._thread.is_alive():
            try:
                self._queue.put(None, timeout=_POLL_S)
            except queue.Full:
                self.expire()
                continue
            break
        while self._thread.is_alive():
            self.expire()
            self._thread.join(_POLL_S)

    def _put(self, job: _Job) -> None:
        """Add a clip; raise `queue.Full` if there are `QUEUE_CLIPS` clips, or after a wait."""
        if not self._is_blocking:
            # Only this thread adds clips, so there is room afterwards too.
            with self._queue.mutex:
                clips = sum(isinstance(other, _Job) for other in self._queue.queue)
            if clips >= QUEUE_CLIPS:
                raise queue.Full
        self._queue.put(job, block=self._is_blocking, timeout=_POLL_S)

    def _settle(self) -> None:
        """Wait until the queue is empty, so that a clip is published before later events."""
        while self._thread.is_alive():
            with self._queue.all_tasks_done:
                if not self._queue.unfinished_tasks:
                    return
                self._queue.all_tasks_done.wait(_POLL_S)
            self.expire()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            if isinstance(job, _Chores):
                self._run_chores()
                self._queue.task_done()
                continue
            if isinstance(job, _PartJob):
                try:
                    self._seal_part(job)
                finally:
                    self._release_part(job)
                    self._queue.task_done()
                continue
            with self._lock:
                self._current = job
            try:
                self._seal(job)
            finally:
                self._forget_audio(job)
                self._queue.task_done()

    def _run_chores(self) -> None:
        with self._lock:
            chores, self._chores = self._chores, []
        for chore in chores:
            try:
                chore()
            except EarmarkError as error:
                _log.error("%s%s", error, f"; {error.hint}" if error.hint else "")

    def _seal(self, job: _Job) -> None:
        try:
            encrypted = self._encrypt(job)
            # From here on this thread holds only ciphertext, however long the disk takes.
            self._forget_audio(job)
            if encrypted is None:
                return
            header, data = encrypted
            self._spool.put(header.clip, header.owner, header.seq, data)
        except EarmarkError as error:
            # Hear continues: the disk may work again at the next clip.
            self._forget_audio(job)
            _log.error("a clip is lost: %s%s", error, f"; {error.hint}" if error.hint else "")
            self._decide(job, "refused", ClipOutcome.LOST)
            return
        capture = job.capture
        self._counters.set_outcome(capture.pending, ClipOutcome.SEALED, header.seq)
        self._publish(
            SealedEvent(
                time_s=capture.clip.first_sample / SAMPLE_RATE_HZ,
                length_s=capture.clip.length_s,
                word=capture.word,
                owner=header.owner,
                clip=header.clip,
                seq=header.seq,
                bytes=len(data),
                end_reason=capture.clip.end_reason,
            )
        )

    def _encrypt(self, job: _Job) -> tuple[form.PublicHeader, bytes] | None:
        """Encrypt a clip and make its command copy; return the header and the envelope.

        Returns:
            None if there is no owner, or after a wipe.
        """
        try:
            attributed = self._attribution.attribute(job.capture.clip)
        except EarmarkError as error:
            _log.error("cannot attribute a clip to an owner: %s", error)
            attributed = None
        if isinstance(attributed, NoOwner):
            with self._lock:
                is_whole = self._is_whole(job)
            if not is_whole:  # a mute ended the comparison
                self._decide(job, "muted", ClipOutcome.ABANDONED)
                return None
            self._counters.count_no_owner(attributed)
            attributed = None
        if attributed is None:
            self._decide(job, "unattributed", ClipOutcome.UNATTRIBUTED)
            return None
        if attributed.kept is not None:
            self._trim(job, *attributed.kept)
        job.seq = self._context.next_seq()
        envelope = seal_clip(job.capture, attributed, self._context, job.seq)
        with self._lock:
            # A wipe after this has no effect on the envelope: the clip is encrypted.
            job.is_sealed = self._is_whole(job)
            if not job.is_sealed or job.capture.command is None:
                self._current = None
        if not job.is_sealed:
            self._decide(job, "muted", ClipOutcome.ABANDONED)
            return None
        self._make_copy(job, attributed.owner)
        return envelope

    def _trim(self, job: _Job, first: int, end: int) -> None:
        """Wipe what of a clip is not kept: another voice speaks there."""
        capture = job.capture
        with self._lock:
            self._buffers.wipe_except(capture.clip.samples, first, end)
        self._counters.narrow_clip(
            capture.pending, capture.clip.first_sample + first, capture.clip.first_sample + end
        )
        job.capture = replace(
            capture,
            clip=_cut_clip(capture.clip, first, end),
            began=capture.began + timedelta(seconds=first / SAMPLE_RATE_HZ),
        )

    def _make_copy(self, job: _Job, owner: Owner) -> None:
        """Make the command copy if there is an order for one; after a wipe there is none."""
        order = job.capture.command
        if order is not None and self._commands is not None:
            reason = self._commands.make(
                job.capture.clip, job.capture.word, owner, order, lambda: self._is_whole(job)
            )
            if reason == "muted" and job.is_late:
                reason = "not-sealed"
            self._decide_copy(job, owner.name, reason)

    def _seal_part(self, part: _PartJob) -> None:
        """Make a provisional part, and report its end."""
        if self._commands is None:
            return
        try:
            attributed = self._attribution.attribute(part.clip)
        except EarmarkError as error:
            _log.error("cannot attribute a provisional part to an owner: %s", error)
            attributed = None
        if not isinstance(attributed, AttributionResult):
            # The clip as a whole is counted at its end, not the parts of it.
            self._commands.report(part.command, "", "not-allowed")
            return
        kept = attributed.kept
        reason = self._commands.make(
            part.clip if kept is None else _cut_clip(part.clip, *kept),
            part.word,
            attributed.owner,
            part.command,
            lambda: self._wipes == part.wipes and not part.is_late,
        )
        self._commands.report(part.command, attributed.owner.name, reason)

    def _wipe_part(self) -> None:
        """Wipe the part that is not sealed; the caller has the lock."""
        if self._part is not None and self._part_buffers is not None:
            self._part_buffers.wipe(self._part.clip.samples)

    def _release_part(self, part: _PartJob) -> None:
        with self._lock:
            self._part = None
        self.release_part_buffer(part.clip.samples)

    def _is_whole(self, job: _Job) -> bool:
        """Return whether the audio of a clip has not been wiped."""
        return self._wipes == job.wipes and not job.is_decided and not job.is_late

    def _decide_copy(self, job: _Job, owner: str, reason: NoCopyReason | None) -> None:
        """Report the end of an order for a command copy, unless it is reported.

        Args:
            job: the clip.
            owner: its owner; empty if it has none.
            reason: reason for which there is no copy; None if it was made.
        """
        order = job.capture.command
        if order is None or self._commands is None:
            return
        with self._lock:
            if job.is_copy_decided:
                return
            job.is_copy_decided = True
        self._commands.report(order, owner, reason)

    def _forget_audio(self, job: _Job) -> None:
        """Wipe and release the clip's buffer, once."""
        with self._lock:
            self._current = None
        if not job.is_released:
            job.is_released = True
            self._buffers.release(job.capture.clip.samples)

    def _drop(self, job: _Job, reason: Literal["busy", "muted"]) -> None:
        self._buffers.release(job.capture.clip.samples)
        self._decide(job, reason, ClipOutcome.ABANDONED)

    def _decide(
        self,
        job: _Job,
        reason: Literal["busy", "muted", "unattributed", "refused"],
        outcome: ClipOutcome,
    ) -> None:
        """Count and publish the outcome of a clip that is not kept, unless it has one."""
        with self._lock:
            if job.is_decided:
                return
            job.is_decided = True
        self._decide_copy(job, "", _NO_COPY[reason])
        self._counters.set_outcome(job.capture.pending, outcome, job.seq)
        first_sample = job.capture.clip.first_sample
        self._publish(NotKeptEvent(time_s=first_sample / SAMPLE_RATE_HZ, reason=reason))


def _cut_clip(clip: Clip, first: int, end: int) -> Clip:
    """Return a part of a clip; the samples are a view of it.

    Args:
        clip: the clip.
        first: first sample of the part, in the clip.
        end: end of the part, in the clip.
    """
    return replace(
        clip,
        samples=clip.samples[first:end],
        first_sample=clip.first_sample + first,
        end_sample=clip.first_sample + end,
        pre_roll_samples=min(max(0, clip.pre_roll_samples - first), end - first),
    )
