"""The ear: for each sound from the gate, remember it, judge it, and keep what follows the word."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol

from listener.audio.clip import Clip, Recorder
from listener.audio.pcm import SAMPLE_RATE_HZ, Frame, Gap, GapReason, Sound
from listener.audio.ring_buffer import Ring
from listener.hear import events
from listener.hear.counters import ClipOutcome, Counters, PendingClip
from listener.hear.indicators.chime import AFTER_S, Chime
from listener.hear.indicators.led import Lamp, NoLamp
from listener.hear.publisher import EventPublisher
from listener.hear.sealer import CapturedClip, Sealer
from listener.ipc.notices import LampState, MuteState
from listener.wakeword.detector import NearMiss, Wake

COUNT_EVERY_S: Final = 60.0


class WakeDetector(Protocol):
    """What finds wakes; see `wakeword.detector.StreamDetector`."""

    def push(self, sound: Sound) -> tuple[Wake | NearMiss, ...]:
        """Take the next frame, or the gap before it; return what was found, oldest first."""


class Listener:
    """The loop's state between two sounds. One thread."""

    def __init__(  # noqa: PLR0913 - what meets here: word, memory, clip, numbers, signs
        self,
        *,
        detector: WakeDetector,
        models: Mapping[str, str],
        ring: Ring,
        recorder: Recorder,
        keeping: Sealer,
        counters: Counters,
        herald: EventPublisher,
        now: Callable[[], datetime],
        monotonic_s: Callable[[], float],
        muted_by: Callable[[], MuteState] = lambda: "hardware",
        lamp: Lamp | None = None,
        chime: Chime | None = None,
    ) -> None:
        """Join the parts.

        Args:
            detector: finds wakes.
            models: SHA-256 of each word's model file.
            ring: the last seconds.
            recorder: makes clips from the ring.
            keeping: attributes, seals and spools them.
            counters: what became of all sound.
            herald: tells it.
            now: the wall clock with its time zone; asked once a clip.
            monotonic_s: a clock in seconds that never goes back.
            muted_by: tells what mutes; asked while the sounds say that something does.
            lamp: shows what goes on; without one, nothing does.
            chime: sounds after a wake; then the clip begins after it, and the recorder's settings
                have no pre-roll.
        """
        self._detector = detector
        self._models = models
        self._ring = ring
        self._recorder = recorder
        self._keeping = keeping
        self._counters = counters
        self._herald = herald
        self._now = now
        self._monotonic_s = monotonic_s
        self._counted_s = monotonic_s()
        self._wake: tuple[Wake, PendingClip] | None = None
        self._chime = chime
        self._chimed: Wake | None = None
        self._begin_sample: int | None = None
        self._muted_by = muted_by
        self._lamp = lamp or NoLamp()
        self._muted_since: int | None = None
        self._mute: MuteState = "open"
        self._is_lost = False
        self._position_samples = 0

    @property
    def lamp_state(self) -> LampState:
        """What the lamp shows: a fault before a mute, and that before the hearing after a wake."""
        if self._mute == "fault":
            return "fault"
        if self._muted_since is not None:
            return "muted"
        is_hearing = self._recorder.is_recording or self._chimed is not None
        return "hearing" if is_hearing else "idle"

    def listen(self, sounds: Iterable[Sound], alive: Callable[[], object]) -> None:
        """Hear everything, until nothing comes any more; then hold nothing in the clear.

        Args:
            sounds: from the gate; a frame's samples are not kept beyond its turn.
            alive: called once a sound, for the watchdog.
        """
        self._lamp.show("muted")  # as it is until the switch was read
        for sound in sounds:
            alive()
            if isinstance(sound, Frame):
                self._open_if_muted(sound.first_sample)
                self._is_lost = False
                self._position_samples = sound.end_sample
                self._frame(sound)
            else:
                self._gap(sound)
                self._position_samples = sound.first_sample + sound.length_samples
            self._lamp.show(self.lamp_state)
            now_s = self._monotonic_s()
            if now_s - self._counted_s >= COUNT_EVERY_S:
                self._counted_s = now_s
                self._herald.send_counters(self._counters.tally())
        self._abandon("stopped")
        self._ring.wipe()
        self._counters.count_wipe()

    def _frame(self, frame: Frame) -> None:
        self._ring.push(frame)
        self._counters.count_frame(frame, self._ring.first_sample)
        clip = self._recorder.push(frame)
        if clip is not None:
            self._keep(clip)
        self._start_after_chime(frame)
        for detection in self._detector.push(frame):
            time_s = detection.end_sample / SAMPLE_RATE_HZ
            if isinstance(detection, Wake):
                self._counters.count_wake()
                self._herald.publish(
                    events.WakeEvent(time_s=time_s, word=detection.word, score=detection.score)
                )
                self._start(detection)
            else:
                self._counters.count_near_miss()
                self._herald.publish(
                    events.NearMissEvent(time_s=time_s, word=detection.word, score=detection.score)
                )

    def _start(self, wake: Wake) -> None:
        if self._recorder.is_recording or self._chimed is not None:
            return  # One breath, one clip: this wake is inside it.
        if self._chime is None:
            self._record(wake, wake.end_sample)
            return
        self._chime.play()
        self._chimed = wake

    def _start_after_chime(self, frame: Frame) -> None:
        """Begin the clip with the first frame that has nothing of the chime."""
        if self._chimed is None or self._chime is None or self._chime.is_playing:
            return
        if self._begin_sample is None:
            self._begin_sample = frame.end_sample + round(AFTER_S * SAMPLE_RATE_HZ)
        if frame.first_sample >= self._begin_sample:
            wake, self._chimed, self._begin_sample = self._chimed, None, None
            self._record(wake, frame.first_sample)

    def _record(self, wake: Wake, at_sample: int) -> None:
        if self._recorder.start(at_sample):
            self._wake = wake, self._counters.begin_clip(self._recorder.first_sample)
            return
        self._drop_wake(at_sample, "busy")

    def _drop_wake(
        self, at_sample: int, reason: Literal["busy", "muted", "gap", "stopped"]
    ) -> None:
        """Count a wake after which no clip began."""
        self._counters.set_outcome(self._counters.begin_clip(at_sample), ClipOutcome.ABANDONED)
        self._herald.publish(events.NotKeptEvent(time_s=at_sample / SAMPLE_RATE_HZ, reason=reason))

    def _keep(self, clip: Clip) -> None:
        if self._wake is None:
            raise RuntimeError("a clip without a wake")
        (wake, claim), self._wake = self._wake, None
        self._counters.end_clip(claim, clip.end_sample)
        ago_s = (self._position_samples - clip.first_sample) / SAMPLE_RATE_HZ
        self._keeping.offer(
            CapturedClip(
                clip=clip,
                word=wake.word,
                model_sha256=self._models[wake.word],
                score=wake.score,
                began=self._now() - timedelta(seconds=ago_s),
                claim=claim,
            )
        )

    def _gap(self, gap: Gap) -> None:
        if gap.reason is GapReason.LOST and self._muted_by() == "open":
            self._open_if_muted(gap.first_sample)  # nothing comes, but not because of the switch
        if gap.reason is GapReason.MUTED:
            if self._muted_since is not None:
                self._counters.count_gap(gap)  # More of the same: there is nothing left to wipe.
                self._report_mute(gap.first_sample)
                return
            self._abandon("muted")
            self._keeping.wipe()
        elif gap.reason is GapReason.LOST and self._is_lost:
            self._counters.count_gap(gap)
            return
        elif gap.reason in (GapReason.START, GapReason.END):
            # A recording that was heard to its end holds all of what was said.
            clip = self._recorder.finish()
            if clip is not None:
                self._keep(clip)
            self._abandon("gap")  # a clip that had not begun for the chime
        else:
            self._abandon("gap")
        self._ring.wipe()
        self._detector.push(gap)
        self._counters.count_gap(gap)
        self._is_lost = gap.reason is GapReason.LOST
        since = gap.first_sample + gap.cut_samples
        if gap.reason is GapReason.MUTED:
            self._muted_since = since
            self._report_mute(since)
            return
        if gap.reason is not GapReason.END:
            self._herald.publish(
                events.InterruptedEvent(time_s=since / SAMPLE_RATE_HZ, reason=gap.reason)
            )

    def _abandon(self, reason: Literal["muted", "gap", "stopped"]) -> None:
        self._recorder.abandon()
        if self._chimed is not None:
            wake, self._chimed, self._begin_sample = self._chimed, None, None
            self._drop_wake(wake.end_sample, reason)
        if self._wake is None:
            return
        (_, claim), self._wake = self._wake, None
        self._counters.set_outcome(claim, ClipOutcome.ABANDONED)
        self._herald.publish(
            events.NotKeptEvent(time_s=claim.first_sample / SAMPLE_RATE_HZ, reason=reason)
        )

    def _report_mute(self, at_sample: int) -> None:
        """Tell what mutes, if that is news."""
        mute = self._muted_by()
        cause = "hardware" if mute == "open" else mute
        if cause != self._mute:
            self._mute = cause
            self._herald.publish(events.MutedEvent(time_s=at_sample / SAMPLE_RATE_HZ, cause=cause))

    def _open_if_muted(self, at_sample: int) -> None:
        if self._muted_since is None:
            return
        muted_s = (at_sample - self._muted_since) / SAMPLE_RATE_HZ
        self._muted_since, self._mute = None, "open"
        self._herald.publish(
            events.UnmutedEvent(time_s=at_sample / SAMPLE_RATE_HZ, muted_s=max(0.0, muted_s))
        )
